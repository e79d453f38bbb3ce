"""One daemon a host: a lock that the kernel frees when its holder dies (law I9)."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from daemon.errors import AnotherInstance, ConfigError


class InstanceLock:
    """Holds *path* locked from enter to exit.

    The lock itself counts, not the text in the file: that only helps a reader, and
    stays behind after a crash.

    Raises:
        AnotherInstance: another process holds it.
        ConfigError: the file cannot be made or locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def __enter__(self) -> Self:
        handle = self._open()
        try:
            self._lock(handle)
            os.ftruncate(handle, 0)
            os.write(handle, _introduction(handle).encode())
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The file stays: unlinking it would let two daemons lock two files.
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        """Return the file, readable by us alone, closed in every child (CLOEXEC)."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise self._unusable(exc) from exc
        return handle

    def _lock(self, handle: int) -> None:
        """Take the lock now or never; waiting would hide a second daemon."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AnotherInstance(
                f"another ibkrd ({_holder(handle)}) holds {self.path}: stop it first, "
                f"or give this one a state directory of its own"
            ) from exc
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, error: OSError) -> ConfigError:
        """Return the error for a place where no lock can be."""
        return ConfigError(
            f"{self.path} cannot be locked ({error.strerror}): correct the rights of "
            f"its directory, or choose a state directory on a local disk"
        )


def _introduction(handle: int) -> str:
    """Return what a second instance shall read: pid and start time.

    The time is the kernel's, of the truncation a moment ago.
    """
    started = datetime.fromtimestamp(int(os.fstat(handle).st_mtime), UTC)
    return f"pid {os.getpid()}, started {started.isoformat()}\n"


def _holder(handle: int) -> str:
    """Return what the holder wrote; it may not have come to it yet."""
    return os.pread(handle, 200, 0).decode(errors="replace").strip() or "just starting"
