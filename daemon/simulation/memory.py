"""TCP on the loopback interface in memory: ordered bytes, delivered by the loop.

It behaves as TCP does where programs notice: bytes may be split or joined, what has
left the sender arrives even if the sender aborts, a peer that is frozen or cut off
looks alive, and a hole in the stream does not exist.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from socket import AF_INET, AF_INET6
from typing import cast

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""The hosts that stay in memory."""
FIRST_FREE_PORT = 49_152
"""Port 0 is answered from here on (RFC 6335, dynamic ports)."""
KERNEL_BYTES = 262_144
"""What has left the program though nobody read it; more waits in the sender."""
HIGH_WATER = 65_536
"""Unsent bytes above which the writer is told to pause (asyncio's default)."""
TICK_S = 2e-6
"""A loop may call this much before the time."""

Address = tuple[str, int] | tuple[str, int, int, int]
ProtocolFactory = Callable[[], asyncio.BaseProtocol]
Chunker = Callable[[int], int]
"""How many of *n* waiting bytes the next data_received() gets: 1 to n."""


def whole(waiting: int) -> int:
    """Deliver everything that has arrived, joined."""
    return waiting


def bytewise(waiting: int) -> int:  # noqa: ARG001 # a Chunker
    """Deliver one byte at a time."""
    return 1


def at_most(size: int) -> Chunker:
    """Return a chunker that delivers at most *size* bytes at a time."""
    return lambda waiting: min(size, waiting)


def ragged(seed: int) -> Chunker:
    """Return a chunker that cuts anywhere, by *seed*."""
    dice = random.Random(seed)
    return lambda waiting: dice.randint(1, waiting)


class End(Enum):
    """How a stream ends."""

    EOF = "eof"
    RESET = "reset"


class Pipe:
    """One direction of a connection: bytes in order, then an end.

    *latency_s* (loop seconds from write to arrival) and *chunker* (how arrived bytes
    are cut) may be changed at any time; bytes never overtake each other.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, latency_s: float, chunker: Chunker
    ) -> None:
        self.latency_s = latency_s
        self.chunker = chunker
        self.sender: MemoryTransport
        self.receiver: MemoryTransport
        self.pending = 0
        self._loop = loop
        self._frozen = False
        self._cut = False
        self._wire: deque[tuple[float, bytes | End]] = deque()
        self._last_due = 0.0
        self._inbox = bytearray()
        self._end: End | None = None

    @property
    def room(self) -> int:
        """Return how many bytes more leave the sender's program now."""
        return max(0, KERNEL_BYTES - self.pending)

    def freeze(self) -> None:
        """Let bytes arrive but stay unread, as with a stopped process."""
        self._frozen = True

    def thaw(self) -> None:
        """Read on: everything that has arrived is delivered."""
        self._frozen = False
        self._loop.call_soon(self.deliver)

    def cut(self) -> None:
        """Let nothing arrive, as with a pulled cable."""
        self._cut = True

    def heal(self) -> None:
        """Let what was held back arrive."""
        self._cut = False
        self._loop.call_soon(self._land)

    def send(self, item: bytes | End) -> None:
        """Put *item* on the wire behind all that is there."""
        now = self._loop.time()
        due = max(now + self.latency_s, self._last_due)
        self._last_due = due
        self._wire.append((due, item))
        if isinstance(item, bytes):
            self.pending += len(item)
        if due > now:
            self._loop.call_at(due, self._land)
        else:
            self._loop.call_soon(self._land)

    def reset(self) -> None:
        """End with RST behind what is on its way; on a cut line both are lost."""
        if self._cut:
            self._wire.clear()
        else:
            self.send(End.RESET)

    def deliver(self) -> None:
        """Hand over what has arrived, as long as the receiver reads."""
        while self._inbox and self._flows():
            size = self.chunker(len(self._inbox))
            data = bytes(self._inbox[:size])
            del self._inbox[:size]
            self.pending -= len(data)
            self.receiver.receive(data)
        if self._end is not None and not self._inbox and self._flows():
            end, self._end = self._end, None
            self.receiver.receive_end(end)
        self.sender.drain()

    def _flows(self) -> bool:
        return not self._frozen and not self.receiver.paused

    def _land(self) -> None:
        now = self._loop.time() + TICK_S
        while self._wire and self._wire[0][0] <= now and not self._cut:
            _, item = self._wire.popleft()
            if isinstance(item, End):
                self._end = item
            else:
                self._inbox += item
        self.deliver()


class MemoryTransport(asyncio.Transport):
    """One end of a connection, as asyncio's own socket transport behaves."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        out: Pipe,
        back: Pipe,
        names: tuple[Address, Address],
    ) -> None:
        super().__init__({"sockname": names[0], "peername": names[1], "socket": None})
        self.on_lost: Callable[[], None] = lambda: None
        self.paused = False
        self._loop = loop
        self._protocol = protocol
        self._out = out
        self._back = back
        self._buffer = bytearray()
        self._water = (HIGH_WATER // 4, HIGH_WATER)
        self._writer_paused = False
        self._closing = False
        self._ended = False
        self._end_sent = False
        self._refused = False
        self._lost = False
        out.sender = self
        back.receiver = self

    # --- asyncio.BaseTransport ---------------------------------------------------

    def is_closing(self) -> bool:
        """Return whether close() or abort() was called or the peer has gone."""
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let *protocol* hear what comes from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who hears what comes."""
        return self._protocol

    def close(self) -> None:
        """Read no more, send what is written, then end."""
        if self._closing:
            return
        self._closing = True
        self._back_to_reading()
        self.drain()

    # --- asyncio.ReadTransport -------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether bytes are handed over."""
        return not self.paused and not self._closing

    def pause_reading(self) -> None:
        """Leave arrived bytes where they are."""
        self.paused = not self._closing

    def resume_reading(self) -> None:
        """Read on, beginning with what has arrived."""
        if self.paused and not self._closing:
            self._back_to_reading()

    def _back_to_reading(self) -> None:
        self.paused = False
        self._loop.call_soon(self._back.deliver)

    # --- asyncio.WriteTransport ------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data* without waiting; nothing goes out after close()."""
        if self._ended and not self._closing:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        self._buffer += data
        self.drain()
        _, high = self._water
        if len(self._buffer) > high and not self._writer_paused:
            self._writer_paused = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """End our direction; the peer may go on."""
        if not self._closing and not self._ended:
            self._ended = True
            self.drain()

    def can_write_eof(self) -> bool:
        """Return True: a TCP connection closes by halves."""
        return True

    def abort(self) -> None:
        """End at once with RST; what has left the program already may still arrive.

        The peer reads it before it meets the reset (measured on Linux).
        """
        if not self._lost:
            self._buffer.clear()
            if not self._refused:
                self._out.reset()
            self.lose(None)

    def get_write_buffer_size(self) -> int:
        """Return the bytes that have not left the program."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark in bytes."""
        return self._water

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set the marks at which the writer is told to pause and to go on."""
        high = (HIGH_WATER if low is None else 4 * low) if high is None else high
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._water = (low, high)

    # --- called by the pipes ---------------------------------------------------------

    def drain(self) -> None:
        """Let out what has room, then the end if it is due."""
        size = min(len(self._buffer), self._out.room)
        if size:
            self._out.send(bytes(self._buffer[:size]))
            del self._buffer[:size]
        low, _ = self._water
        if self._writer_paused and len(self._buffer) <= low:
            self._writer_paused = False
            self._protocol.resume_writing()
        if self._buffer or self._lost:
            return
        if self._ended or self._closing:
            self._send_end()
        if self._closing:
            self.lose(None)

    def receive(self, data: bytes) -> None:
        """Take arrived *data*; whoever writes to a closed end is answered RST."""
        if self._closing:
            if not self._refused:
                self._refused = True
                self._out.reset()
            return
        try:
            self._reader().data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # noqa: BLE001 # told to the loop, as asyncio does
            self._fail(exc, "Fatal error: protocol.data_received() call failed.")

    def receive_end(self, end: End) -> None:
        """Take the end of what the peer sends."""
        if end is End.RESET:
            self._buffer.clear()
            self._refused = True
            self.lose(
                ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            )
        elif not self._closing:
            self._receive_eof()

    def _receive_eof(self) -> None:
        try:
            keep_open = self._reader().eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # noqa: BLE001 # told to the loop, as asyncio does
            self._fail(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    def lose(self, exc: BaseException | None) -> None:
        """Tell the protocol, on the loop's next turn, that the connection is gone."""
        if self._lost:
            return
        self._lost = self._closing = True
        self.paused = False
        self._loop.call_soon(self._tell_lost, exc)

    def _tell_lost(self, exc: BaseException | None) -> None:
        try:
            # asyncio hands on whatever a handler raised, Exception or not.
            self._protocol.connection_lost(cast("Exception | None", exc))
        finally:
            self.on_lost()

    def _reader(self) -> asyncio.Protocol:
        if not isinstance(self._protocol, asyncio.Protocol):
            raise TypeError(f"{self._protocol!r} is not an asyncio.Protocol")
        return self._protocol

    def _send_end(self) -> None:
        self._ended = True
        if not self._end_sent:
            self._end_sent = True
            self._out.send(End.EOF)

    def _fail(self, exc: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": exc,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._buffer.clear()
        self._out.reset()
        self.lose(exc)


@dataclass(eq=False, slots=True)
class Connection:
    """Both ends and both directions of one connection: the place for faults."""

    port: int
    client: MemoryTransport
    server: MemoryTransport
    to_server: Pipe
    to_client: Pipe

    def freeze(self) -> None:
        """Stop the reading at both ends, as if the server's process had stopped."""
        self.to_server.freeze()
        self.to_client.freeze()

    def thaw(self) -> None:
        """Read on at both ends."""
        self.to_server.thaw()
        self.to_client.thaw()

    def cut(self) -> None:
        """Pull the cable: both ends believe that the connection lives."""
        self.to_server.cut()
        self.to_client.cut()

    def heal(self) -> None:
        """Plug the cable in again: nothing was lost but time."""
        self.to_server.heal()
        self.to_client.heal()

    def reset(self) -> None:
        """Let both ends meet RST now."""
        self.client.receive_end(End.RESET)
        self.server.receive_end(End.RESET)


class MemoryServer(asyncio.AbstractServer):
    """A listening port, as asyncio.Server behaves since Python 3.12."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: ProtocolFactory,
        address: Address,
        release: Callable[[], None],
    ) -> None:
        self.factory = factory
        self._loop = loop
        self._address = address
        self._release = release
        self._serving = False
        self._closed = False
        self._attached: set[Connection] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._forever: asyncio.Future[None] | None = None

    @property
    def sockets(self) -> tuple[ListeningSocket, ...]:
        """Return one stand-in that knows its address, none once closed."""
        return () if self._closed else (ListeningSocket(self._address),)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that serves."""
        return self._loop

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return self._serving

    def begin(self) -> None:
        """Accept connections from now on."""
        self._serving = not self._closed

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        self.begin()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled, then close."""
        self.begin()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Give the port back; open connections go on."""
        if self._closed:
            return
        self._closed = True
        self._serving = False
        self._release()
        if self._forever is not None:
            self._forever.cancel()
        self._settle()

    async def wait_closed(self) -> None:
        """Wait until the port is given back and the last connection has ended."""
        if not self._closed or self._attached:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def close_clients(self) -> None:
        """Close each connection in order."""
        for connection in list(self._attached):
            connection.server.close()

    def abort_clients(self) -> None:
        """Abort each connection."""
        for connection in list(self._attached):
            connection.server.abort()

    def attach(self, connection: Connection) -> None:
        """Count *connection* until its server side is lost."""
        self._attached.add(connection)

    def detach(self, connection: Connection) -> None:
        """Count *connection* no more."""
        self._attached.discard(connection)
        self._settle()

    def _settle(self) -> None:
        if self._closed and not self._attached:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """What is asked of a server's socket: where it listens."""

    address: Address

    @property
    def family(self) -> int:
        """Return AF_INET or AF_INET6."""
        return AF_INET6 if ":" in self.address[0] else AF_INET

    def getsockname(self) -> Address:
        """Return host and port."""
        return self.address


class Network:
    """The loopback interface of one loop.

    *latency_s* and *chunker* are given to each new connection in both directions;
    *on_connect* is told of it before either end is, and may change it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.latency_s = 0.0
        self.chunker: Chunker = whole
        self.on_connect: Callable[[Connection], None] = lambda _: None
        self._loop = loop
        self._servers: dict[tuple[str, int], MemoryServer] = {}
        self._free_ports = itertools.count(FIRST_FREE_PORT)
        self._connections: list[Connection] = []

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Return the connections of which an end is alive, oldest first."""
        return tuple(self._connections)

    def listen(self, factory: ProtocolFactory, host: str, port: int) -> MemoryServer:
        """Take *port* on *host*, a free one for 0; OSError if it is taken."""
        key = (_numeric(host), port or next(self._free_ports))
        address = _address(*key)
        if key in self._servers:
            raise OSError(
                errno.EADDRINUSE,
                f"error while attempting to bind on address {address!r}: "
                "address already in use",
            )
        server = MemoryServer(self._loop, factory, address, lambda: self._release(key))
        self._servers[key] = server
        return server

    async def connect(
        self, factory: ProtocolFactory, host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to *port* on *host*; ConnectionRefusedError if nobody listens."""
        await asyncio.sleep(self.latency_s)
        server = self._servers.get((_numeric(host), port))
        if server is None or not server.is_serving():
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"Connect call failed {_address(host, port)!r}"
            )
        protocol = factory()
        connection = self._join(server, protocol, _numeric(host), port)
        made: asyncio.Future[None] = self._loop.create_future()
        self._loop.call_soon(protocol.connection_made, connection.client)
        self._loop.call_soon(self._accept, server, connection)
        self._loop.call_soon(_resolve, made)
        try:
            await made
        except asyncio.CancelledError:
            connection.client.abort()
            raise
        return connection.client, protocol

    def _join(
        self,
        server: MemoryServer,
        protocol: asyncio.BaseProtocol,
        host: str,
        port: int,
    ) -> Connection:
        there = Pipe(self._loop, self.latency_s, self.chunker)
        back = Pipe(self._loop, self.latency_s, self.chunker)
        here, near = _address(host, port), _address(host, next(self._free_ports))
        connection = Connection(
            port,
            MemoryTransport(self._loop, protocol, there, back, (near, here)),
            MemoryTransport(self._loop, asyncio.Protocol(), back, there, (here, near)),
            there,
            back,
        )
        alive = {connection.client, connection.server}

        def lost(end: MemoryTransport) -> None:
            alive.discard(end)
            if end is connection.server:
                server.detach(connection)
            if not alive:
                self._connections.remove(connection)

        connection.client.on_lost = lambda: lost(connection.client)
        connection.server.on_lost = lambda: lost(connection.server)
        self._connections.append(connection)
        server.attach(connection)
        self.on_connect(connection)
        return connection

    def _accept(self, server: MemoryServer, connection: Connection) -> None:
        try:
            protocol = server.factory()
        except BaseException:
            connection.server.abort()
            raise
        connection.server.set_protocol(protocol)
        protocol.connection_made(connection.server)

    def _release(self, key: tuple[str, int]) -> None:
        self._servers.pop(key, None)


def _numeric(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _address(host: str, port: int) -> Address:
    return (host, port, 0, 0) if ":" in host else (host, port)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
