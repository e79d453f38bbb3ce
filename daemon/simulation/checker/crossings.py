"""Law I3, second half: a crossing of zero that happened all the same is alarmed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from daemon.simulation.checker.books import SIGNS, ZERO, Books, Key
from daemon.simulation.checker.records import Record
from daemon.simulation.checker.testimony import Message, names
from daemon.simulation.checker.values import Terms

ALARM_WITHIN = timedelta(seconds=60)
"""A crossing that the broker forces is alarmed within this."""


@dataclass(frozen=True, slots=True)
class _Crossing:
    at: datetime
    symbol: str
    before: Decimal
    after: Decimal

    def __str__(self) -> str:
        due = (self.at + ALARM_WITHIN).isoformat()
        change = f"{self.symbol} from {self.before} to {self.after}"
        return f"a fill of ours took {change}, and nobody was told by {due}"


class Crossings:
    """Positions that a fill of ours took across zero.

    A fill crosses if it ends on its own side of zero and began on the other; one of
    an exit also if it began at zero, because an exit opens nothing. Fills that lead
    further away from zero are no new crossing.
    """

    def __init__(self, terms: Terms, books: Books) -> None:
        self._terms = terms
        self._books = books
        self._found: list[_Crossing] = []

    def hear(self, number: int, record: Record, key: Key) -> None:
        """Look at what the execution in record *number* did to *key*'s position."""
        position = self._books.position(key)
        before, now = position.at(number - 1), position.now
        if record.whole("client_id") != self._terms.client_id:
            return
        side = 1 if now > before else -1
        from_zero = before == ZERO and not self._opens(record, side)
        if now * side > 0 and (before * side < 0 or from_zero):
            symbol = self._books.symbols[key[1]]
            self._found.append(_Crossing(record.at, symbol, before, now))

    def untold(
        self, alarms: tuple[Message, ...], end: datetime
    ) -> list[tuple[datetime, str]]:
        """Return the crossings that no alarm named in time, as far as *end* shows."""
        return [
            (one.at, str(one))
            for one in self._found
            if one.at + ALARM_WITHIN <= end and not _told(one, alarms)
        ]

    def _opens(self, record: Record, side: int) -> bool:
        """Return whether an entry's own execution may open a position on *side*."""
        order = self._books.order(record.whole("perm_id"))
        bought_or_sold = SIGNS[record.text("side")]
        return order is not None and order.is_entry and bought_or_sold == side


def _told(crossing: _Crossing, alarms: tuple[Message, ...]) -> bool:
    deadline = crossing.at + ALARM_WITHIN
    return any(
        crossing.at <= one.accepted_at <= deadline and names(one.text, crossing.symbol)
        for one in alarms
    )
