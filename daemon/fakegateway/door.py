"""How the gateway's process meets connections: open, shut, empty, deaf or frozen."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto


class Doorway(Enum):
    """What becomes of a connection that arrives."""

    OPEN = auto()
    SHUT = auto()
    """Refused: nothing listens."""
    EMPTY = auto()
    """Accepted and ended at once, as by a relay before a gateway that is down."""
    DEAF = auto()
    """Accepted, and never answered, not even later."""


class Door:
    """The state of the door; whoever watches is told of each change."""

    def __init__(self) -> None:
        self._doorway = Doorway.OPEN
        self._frozen = False
        self._watchers: list[Callable[[], None]] = []

    @property
    def doorway(self) -> Doorway:
        """Return what becomes of a connection that arrives now."""
        return self._doorway

    @property
    def frozen(self) -> bool:
        """Return whether the process stands still: it reads and writes nothing."""
        return self._frozen

    def turn(self, doorway: Doorway) -> None:
        """Treat connections from now on as *doorway* says."""
        self._doorway = doorway
        self._tell()

    def freeze(self) -> None:
        """Let the process stand still, as SIGSTOP does; connections look alive."""
        self._frozen = True
        self._tell()

    def thaw(self) -> None:
        """Let the process go on: what came meanwhile is processed now."""
        self._frozen = False
        self._tell()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call *watcher* after each change; return what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            watcher()
