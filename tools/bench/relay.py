"""A cable with a pair of pliers: relay.py PORT passes bytes and cuts by command.

Prints the port on which it listens. `cut` on its input resets every connection on
both sides at once; `count` prints how many messages clients have sent since the last
such question.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from contextlib import suppress

HEAD = 4
GREETING = b"API\0"
LINGER_NOT = struct.pack("ii", 1, 0)
"""With it a close is a reset (RST), and nothing that waits is delivered."""


class Counter:
    """Counts the messages of one client's stream: a length, then so many bytes."""

    def __init__(self) -> None:
        self.count = 0
        self._bytes = b""

    def take(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._bytes += data
        self._bytes = self._bytes.removeprefix(GREETING)
        while len(self._bytes) >= HEAD:
            end = HEAD + int.from_bytes(self._bytes[:HEAD], "big")
            if len(self._bytes) < end:
                return
            self._bytes = self._bytes[end:]
            self.count += 1


class Relay:
    """Passes every connection on to the gateway at *port*."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._counters: list[Counter] = []

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass the bytes of one connection both ways until a side ends."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        both = {writer, far_writer}
        counter = Counter()
        self._counters.append(counter)
        self._writers |= both
        with suppress(OSError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass(reader, far_writer, counter))
                tasks.create_task(_pass(far_reader, writer, None))
        self._writers -= both

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            line: socket.socket = writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            writer.transport.abort()

    def take_count(self) -> int:
        """Return how many messages were passed to the gateway since the last time."""
        count = sum(counter.count for counter in self._counters)
        for counter in self._counters:
            counter.count = 0
        return count


async def _pass(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, counter: Counter | None
) -> None:
    try:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if counter is not None:
                    counter.take(data)
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()


async def _main(port: int) -> None:
    relay = Relay(port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    say("listening", port=server.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    words = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(words), sys.stdin.buffer
    )
    while word := (await words.readline()).decode().strip():
        if word == "cut":
            relay.cut()
            say("cut", at=time.monotonic())
        else:
            say("count", messages=relay.take_count())


def say(word: str, **more: object) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps({"event": word, **more}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
