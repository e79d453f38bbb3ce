"""One life of the daemon: the points that it passes, and the one at which it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

KINDS = ("journal", "broker", "notifier", "clock", "wire", "channel", "await")
"""What points lie around: the ports, each frame, each message, each await of a job."""


class Killed(BaseException):
    """The process is dead: whatever would act now does not.

    No Exception, so that nothing that handles errors handles it.
    """


@dataclass(frozen=True, slots=True)
class Point:
    """One instant at which the process may die: *where* in the n-th *call* of a kind.

    >>> Point("journal", "intend", 3, "after").name
    'journal.intend#3.after'
    """

    kind: str
    call: str
    number: int
    where: str

    @property
    def name(self) -> str:
        """Return what the command line calls the point."""
        return f"{self.kind}.{self.call}#{self.number}.{self.where}"


class Life:
    """From the start of one daemon to its end; everything around it reports here.

    Args:
        doom: the name of the point at which *strike* is called; None: never.
        strike: ends the daemon, or asks it to end.
        watch: is told each point as it is passed.
    """

    def __init__(
        self,
        doom: str | None = None,
        strike: Callable[[Life], None] = lambda _: None,
        watch: Callable[[Point], None] = lambda _: None,
    ) -> None:
        self.doom = doom
        self.struck = False
        """Whether the point was reached."""
        self.mute = False
        """Whether the process is dead: no port acts any more."""
        self.left = 0
        """How many things have left the process: commits, frames, messages."""
        self.blocks = 0
        """How many transactions stand open: what is in them has not left."""
        self._strike = strike
        self._watch = watch
        self._calls: Counter[tuple[str, str]] = Counter()

    def call(self, kind: str, name: str) -> Call:
        """Return the next call of *name*; it passes its points itself."""
        self.check()
        self._calls[kind, name] += 1
        return Call(self, kind, name, self._calls[kind, name])

    def check(self) -> None:
        """Let nothing act after the death.

        Raises:
            Killed: the process is dead.
        """
        if self.mute:
            raise Killed(self.doom)

    def reach(self, point: Point) -> None:
        """Pass *point*, or die there.

        Raises:
            Killed: the process is dead, by now or before.
        """
        self.check()
        self._watch(point)
        if point.name == self.doom and not self.struck:
            self.struck = True
            self._strike(self)
            self.check()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a port, one frame, one message or one task of a job."""

    life: Life
    kind: str
    name: str
    number: int

    def reach(self, where: str) -> None:
        """Pass the point *where* of this call, or die there."""
        self.life.reach(Point(self.kind, self.name, self.number, where))

    def sent(self) -> None:
        """Note that something has left the process."""
        self.life.left += 1

    def commit(self) -> None:
        """Note that something is in the journal, unless a transaction is open."""
        if not self.life.blocks:
            self.sent()
