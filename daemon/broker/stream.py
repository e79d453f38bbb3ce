"""The gateway's bytes, cut into messages; what cannot be one ends the stream.

ib_async believes every length, waits for as many bytes as it names, drops a last
field without its terminator and logs what it cannot decode: an answer then lacks a
message and looks complete. Here the first doubt ends the connection.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from ib_async.client import Client
from ib_async.connection import Connection
from ib_async.decoder import Decoder
from ib_async.wrapper import Wrapper

from daemon.broker import shapes
from daemon.broker.shapes import Unreadable

MAX_MESSAGE = 0xFFFFFF
"""Bytes of one message; the official clients' own limit."""
OLDEST, NEWEST = Client.MinClientVersion, Client.MaxClientVersion
_PREFIX = struct.Struct(">I")
_SURPLUS = 2
"""Fields that a later gateway may add to a message without harm."""
_NAMED = 40
"""Bytes of a foreign protocol that are shown."""

Doubt = Callable[[Sequence[str], Exception], None]
"""Takes the fields that cannot be read, none for bytes, and why."""


class Messages:
    """Cuts the stream of one connection, however it is segmented."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.version = 0
        """The server version; 0 until the gateway has greeted."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the frame of each message that *data* completes.

        Raises:
            Unreadable: the stream is not the protocol from here on.
        """
        self._buffer += data
        while (frame := self._next()) is not None:
            fields = _fields(frame[_PREFIX.size :])
            if self.version:
                shapes.check(fields, self.version)
            else:
                self._greet(fields)
            yield frame

    @property
    def unfinished(self) -> str:
        """Return how far the last message came; empty between two messages."""
        have = len(self._buffer)
        if have == 0:
            return ""
        if have < _PREFIX.size:
            return f"{have} of the {_PREFIX.size} bytes of a length"
        (length,) = _PREFIX.unpack_from(self._buffer)
        return f"{have - _PREFIX.size} of {length} bytes"

    def _next(self) -> bytes | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        (length,) = _PREFIX.unpack_from(self._buffer)
        if not 0 < length <= MAX_MESSAGE:
            seen = bytes(self._buffer[:_NAMED])
            raise Unreadable(f"a message of {length} bytes: {seen!r}")
        end = _PREFIX.size + length
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[:end])
        del self._buffer[:end]
        return frame

    def _greet(self, fields: list[str]) -> None:
        """Take the handshake: a version and a time; before it only an error."""
        if len(fields) == 2 and fields[0].isdecimal():
            version = int(fields[0])
            if not OLDEST <= version <= NEWEST:
                raise Unreadable(
                    f"server version {version} where {OLDEST} to {NEWEST} were "
                    "offered: update the gateway"
                )
            self.version = version
        elif fields[0] != str(shapes.ERROR):
            raise Unreadable("this is no handshake", fields)


class GuardedConnection(Connection):
    """ib_async's connection, which hands on whole, plausible messages only."""

    def __init__(self, plain: Connection, doubt: Doubt) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # ib_async's
        self.hasData = plain.hasData
        self.disconnected = plain.disconnected
        self._messages = Messages()
        self._doubt = doubt
        self._doubted = False
        # An exception of the client's own reading would only be logged.
        self.hasData.error_event += self._failed

    @property
    def unfinished(self) -> str:
        """Return how far the last message came when the stream ended."""
        return self._messages.unfinished

    def data_received(self, data: bytes) -> None:
        """Hand on what is complete; nothing any more after a doubt."""
        if self._doubted:
            return
        try:
            for frame in self._messages.feed(data):
                self.hasData.emit(frame)
                if self._doubted:
                    return
        except Unreadable as exc:
            self.doubt(exc.fields, exc)

    def doubt(self, fields: Sequence[str], exc: Exception) -> None:
        """Believe nothing more of this stream."""
        if not self._doubted:
            self._doubted = True
            self._doubt(fields, exc)

    def _failed(self, _source: object, exc: Exception) -> None:
        self.doubt((), exc)


class GuardedDecoder(Decoder):
    """ib_async's decoder, which does not keep a failure to itself."""

    def __init__(self, wrapper: Wrapper, doubt: Doubt) -> None:
        self._doubt = doubt
        super().__init__(wrapper, 0)

    def wrap(
        self,
        methodName: str,  # noqa: N803 # ib_async's
        types: Sequence[type],
        skip: int = 2,
    ) -> Callable[[list[str]], None]:
        """Return a handler that parses every field and raises what fails.

        Many more fields than there are types belong to another message.
        """
        method = getattr(self.wrapper, methodName, None)
        most = skip + len(types) + _SURPLUS

        def handler(fields: list[str]) -> None:
            if len(fields) > most:
                raise Unreadable(f"{len(fields)} fields, at most {most} are right")
            if method is not None:
                given = fields[skip : skip + len(types)]
                method(*map(_parsed, types, given))

        return handler

    def interpret(self, fields: list[str]) -> None:
        """Decode and hand on one message."""
        handler = self.handlers.get(int(fields[0]))
        if handler is None:
            self._doubt(fields, Unreadable("no message of this id is known"))
            return
        try:
            handler(fields)
        except Exception as exc:  # noqa: BLE001 # a decoder fails in any way
            self._doubt(fields, exc)


def _parsed(kind: type, text: str) -> object:
    if kind is str:
        return text
    value: object = int(text or 0) if kind is bool else kind(text or 0)
    return bool(value) if kind is bool else value


def _fields(payload: bytes) -> list[str]:
    fields = payload.decode(errors="backslashreplace").split("\0")
    if fields.pop():
        raise Unreadable("the last field has no end", fields)
    return fields
