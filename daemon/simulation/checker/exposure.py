"""Law I3: what our live exits can sell or buy at most, against the true position.

An OCA group or the children of one parent are one family: it counts once, at its
largest member. Children of a parent count at most what the parent has filled and the
family has not exited yet.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from daemon.simulation.checker.books import ZERO, Books, Key, Order

LATEST = sys.maxsize
"""After all records."""


def crossing(
    books: Books, order: Order, instants: Sequence[datetime], grace: timedelta
) -> str | None:
    """Return how *order*, just placed or modified, could cross zero; None if not.

    Its sender is judged by what he can have known: any state of the broker of the
    last *grace*. *instants* are those of all records so far. An order that leaves the
    exposure as it was or makes it smaller breaks nothing.
    """
    too_large = _larger_than_parent(order)
    if too_large is not None:
        return too_large
    now = len(instants) - 1
    finding: str | None = None
    for seen in _states(instants, grace):
        problem = _problem(books, order, now, seen)
        if problem is None:
            return None
        finding = finding or problem
    return finding


def live_exits(
    books: Books, key: Key, client_id: int, sign: int, types: frozenset[str]
) -> Decimal:
    """Return the shares that a client's live exits of *types* can trade now."""
    orders = [
        one
        for one in books.placed_in[key]
        if one.client_id == client_id
        and one.sign == sign
        and one.order_type in types
        and not one.is_entry
    ]
    return _exposure(orders, LATEST, LATEST, None)


def _states(instants: Sequence[datetime], grace: timedelta) -> Iterator[int]:
    """Yield the records after which the sender may have looked, newest first."""
    now = len(instants) - 1
    yield now
    for seen in range(now - 1, -2, -1):
        yield seen
        if seen < 0 or instants[seen] <= instants[now] - grace:
            return


def _larger_than_parent(order: Order) -> str | None:
    parent = order.parent
    if parent is None or parent.sign == order.sign or parent.ended.now:
        return None
    if order.asked.now <= parent.asked.now:
        return None
    return f"a child of {order.asked.now} for a parent of {parent.asked.now}"


def _problem(books: Books, order: Order, now: int, seen: int) -> str | None:
    position = books.position(order.key).at(seen)
    room = max(ZERO, -order.sign * position)
    neighbours = [
        one
        for one in books.placed_in[order.key]
        if one.sign == order.sign and one.client_id == order.client_id
    ]
    exits = [one for one in neighbours if not one.is_entry]
    after = _exposure(exits, now, seen, order)
    if order.is_entry:
        if not room:
            return None
        after += _entries(neighbours, seen)
    elif after <= _exposure(exits, now - 1, seen, None):
        return None
    if after <= room:
        return None
    return f"{after} can trade against a position of {position}"


def _entries(orders: Iterable[Order], seen: int) -> Decimal:
    live = (one for one in orders if one.is_entry and not one.ended.at(seen))
    return sum((one.quantity.now - one.filled.at(seen) for one in live), ZERO)


def _exposure(
    exits: Iterable[Order], sent: int, seen: int, judged: Order | None
) -> Decimal:
    """Return the shares that *exits* as sent by record *sent* can trade at most."""
    there = [one for one in exits if one.number <= sent]
    return sum(
        (
            max(
                (_reach(one, family, sent, seen, judged) for one in family),
                default=ZERO,
            )
            for family in _families(there)
        ),
        ZERO,
    )


def _reach(
    order: Order, family: Sequence[Order], sent: int, seen: int, judged: Order | None
) -> Decimal:
    """Return what one member of *family* can trade, the others standing still."""
    if order.ended.at(seen):
        return ZERO
    asked_at = order.asked.since_at(sent)
    by_siblings = sum(
        (
            one.filled.at(seen) - one.filled.at(asked_at)
            for one in family
            if one is not order and one.filled.at(seen) > one.filled.at(asked_at)
        ),
        ZERO,
    )
    asked = order.asked.at(sent) - by_siblings
    left = min(order.quantity.at(sent), asked) - order.filled.at(seen)
    parent = order.parent
    if parent is None or parent.sign == order.sign:
        return max(ZERO, left)
    if order is judged and parent.ended.at(seen):
        return max(ZERO, left)  # sent for a parent whose fills are final
    exited = sum((one.filled.at(seen) for one in parent.children), ZERO)
    return max(ZERO, min(left, parent.filled.at(seen) - exited))


def _families(orders: Iterable[Order]) -> list[list[Order]]:
    """Return *orders* in groups that share an OCA group or a parent."""
    families: list[tuple[set[object], list[Order]]] = []
    for order in orders:
        tokens = _tokens(order)
        joined = [family for family in families if family[0] & tokens]
        families = [family for family in families if not family[0] & tokens]
        members = [one for _, family in joined for one in family]
        families.append((tokens.union(*(t for t, _ in joined)), [*members, order]))
    return [members for _, members in families]


def _tokens(order: Order) -> set[object]:
    tokens: set[object] = set()
    if order.oca_group:
        tokens.add(("group", order.oca_group))
    if order.parent_id:
        tokens.add(("parent", order.parent_id))
    return tokens or {order}
