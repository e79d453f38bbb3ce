"""Room on the disk that is given up when there is no other: a file of ballast."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 4 * 1024 * 1024
"""A day writes half a megabyte, and the write-ahead log holds one (see `engine`)."""
MARGIN_BYTES = 1024 * 1024
"""Left free beside a new reserve: a disk that it would fill is still a full one."""
_PIECE = 64 * 1024


class Reserve:
    """The file `journal.reserve` beside the journal: real, synced bytes."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self.path = path
        self._size = size

    def make(self) -> None:
        """Make the reserve, unless it is there whole.

        Raises:
            OSError: there is no room for it; what was begun of it is gone again.
        """
        if self._whole():
            return
        self.release()
        if self._free() < self._size + MARGIN_BYTES:
            raise OSError(f"less than {self._size + MARGIN_BYTES} bytes are free")
        try:
            self._write()
        except OSError:
            self.release()
            raise

    def release(self) -> bool:
        """Give the room back to the disk; return whether there was any."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True

    def _whole(self) -> bool:
        """Return whether every byte is there, and on the disk: no hole is room."""
        with suppress(OSError):
            found = self.path.stat()
            return found.st_size == self._size and found.st_blocks * 512 >= self._size
        return False

    def _free(self) -> int:
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

    def _write(self) -> None:
        """Write noise, which no file system keeps as a hole, and sync it."""
        noise = os.urandom(_PIECE)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            for start in range(0, self._size, _PIECE):
                file.write(noise[: self._size - start])
            file.flush()
            os.fsync(file.fileno())
