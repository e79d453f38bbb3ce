"""One end of a connection in memory, as asyncio's own socket transport behaves."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import cast

from daemon.simulation.pipe import End, Pipe

HIGH_WATER = 65_536
"""Unsent bytes above which the writer is told to pause (asyncio's default)."""

Address = tuple[str, int] | tuple[str, int, int, int]
"""As the system names it: host and port, for IPv6 flow and scope as well."""

Put = Callable[[bytes], None]
"""Lets bytes leave the program."""


def straight(data: bytes, put: Put) -> None:
    """Let what is written leave as it is."""
    put(data)


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
        self.tap: Callable[[bytes, Put], None] = straight
        """Stands between the program that writes and the line."""
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
        self.tap(bytes(data), self._put)

    def _put(self, data: bytes) -> None:
        if self._closing:
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
        self._buffer.clear()
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
        self._out.reset()
        self.lose(exc)
