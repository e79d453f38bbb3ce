"""Law I1: which entries may be for one row and bracket of one session."""

from __future__ import annotations

from collections import defaultdict

from daemon.simulation.checker.books import BEARING, Key, Order
from daemon.simulation.checker.references import Reference


class Entries:
    """Our entries, found by what they say of themselves, or else by their contract."""

    def __init__(self) -> None:
        self._named: defaultdict[Reference, list[Order]] = defaultdict(list)
        self._nameless: defaultdict[Key, list[Order]] = defaultdict(list)
        self._all: defaultdict[Key, list[Order]] = defaultdict(list)

    def add(self, order: Order) -> None:
        """Note *order*, an entry of ours."""
        self._all[order.key].append(order)
        if order.meaning is None:
            self._nameless[order.key].append(order)
        else:
            self._named[order.meaning].append(order)

    def rivals(self, order: Order) -> list[Order]:
        """Return the other entries that may be for the row and bracket of *order*.

        Of an entry whose reference cannot be read nobody knows the row: it may be any
        of its contract and day.
        """
        if order.meaning is None:
            rivals = [one for one in self._all[order.key] if _of_one_day(order, one)]
        else:
            nameless = self._nameless[order.key]
            rivals = [one for one in nameless if _of_one_day(order, one)]
            rivals += self._named[order.meaning]
        return [one for one in rivals if one is not order]


def _of_one_day(order: Order, other: Order) -> bool:
    return abs(order.at - other.at) < BEARING
