"""Frames of the TWS wire: a four-byte length, then NUL-terminated fields."""

from __future__ import annotations

import struct
from collections.abc import Iterator

GREETING = b"API\0"
"""What every client sends before its first frame."""
MAX_FRAME = 0xFFFFFF
"""Bytes of payload; the official clients' own limit."""
_PREFIX = struct.Struct(">I")


class FrameError(Exception):
    """The bytes are not the TWS protocol: the session must end."""


def frame(*fields: str) -> bytes:
    r"""Return *fields* as one frame, each terminated by NUL.

    >>> frame("9", "1", "42")
    b'\x00\x00\x00\x079\x001\x0042\x00'
    """
    payload = "".join(f"{field}\0" for field in fields).encode()
    return _PREFIX.pack(len(payload)) + payload


def fields_of(payload: bytes) -> list[str]:
    r"""Return the fields of *payload*; each must have its terminator.

    >>> fields_of(b"71\x002\x007\x00\x00")
    ['71', '2', '7', '']
    """
    if not payload.endswith(b"\0"):
        raise FrameError(f"the last field of {payload[:40]!r} has no terminator")
    return payload[:-1].decode(errors="backslashreplace").split("\0")


class FrameSplitter:
    """Cut a client's byte stream into payloads, however it is segmented."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the payloads that *data* completes.

        Raises FrameError where the stream is not the protocol's, after the good
        payloads before that place: the segmentation makes no difference.
        """
        self._buffer += data
        if not self._greeted and not self._take_greeting():
            return
        while (payload := self._take_payload()) is not None:
            yield payload

    def _take_greeting(self) -> bool:
        start = bytes(self._buffer[: len(GREETING)])
        if not GREETING.startswith(start):
            raise FrameError(f"expected the greeting API and NUL, got {start!r}")
        if start != GREETING:
            return False
        del self._buffer[: len(GREETING)]
        self._greeted = True
        return True

    def _take_payload(self) -> bytes | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        (length,) = _PREFIX.unpack_from(self._buffer)
        if not 0 < length <= MAX_FRAME:
            raise FrameError(f"a frame of {length} bytes; 1 to {MAX_FRAME} are allowed")
        end = _PREFIX.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_PREFIX.size : end])
        del self._buffer[:end]
        return payload
