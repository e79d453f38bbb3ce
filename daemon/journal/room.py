"""Whether there is room for entries: they may never take what the close needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from daemon.errors import DiskFull
from daemon.journal.reserve import Reserve


class Room:
    """The reserve, and why no entry may be intended without it.

    Args:
        folder: where the journal lies; named in what is told.
        reserve: given up once, when a write finds no other room.
        report: is told of each shortage once.
    """

    def __init__(
        self, folder: Path, reserve: Reserve, report: Callable[[DiskFull], None]
    ) -> None:
        self._folder = folder
        self._reserve = reserve
        self._report = report
        self.shortage = ""
        """Why entries are barred; empty while the reserve is whole."""

    def make(self) -> bool:
        """Make the reserve; return whether it is whole and entries are allowed."""
        try:
            self._reserve.make()
        except OSError as exc:
            self._bar(f"its reserve cannot be made ({exc.strerror or exc})")
            return False
        self.shortage = ""
        return True

    def give_up(self) -> bool:
        """Give the reserve to the writes that cannot wait; return whether it helps."""
        released = self._reserve.release()
        self._bar("the journal lives on its reserve")
        return released

    def _bar(self, cause: str) -> None:
        if not self.shortage:
            self.shortage = (
                f"the disk of {self._folder} is full: {cause}; no entry is sent until "
                f"there is room, closing and report go on: make 16 MiB of room there"
            )
            self._report(DiskFull(self.shortage))
