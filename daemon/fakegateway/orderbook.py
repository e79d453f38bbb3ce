"""Every order that the broker knows, by client and id, with its family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from daemon.fakegateway.api import Handle
from daemon.fakegateway.values import BrokerOrder, Listing, MarketSession


@dataclass(slots=True, eq=False)
class Working:
    """One order with what only the broker knows of it."""

    order: BrokerOrder
    listing: Listing | None = None
    """None until the order is accepted."""
    session: MarketSession | None = None
    """The session for which it counts, None beyond the known ones."""
    good_after: datetime | None = None
    good_till: datetime | None = None
    parent: Working | None = None
    children: list[Working] = field(default_factory=list)
    executions: int = 0
    triggered: bool = False
    capped: bool = False
    """Whether it may sell only what its parent has bought so far."""
    stuck: bool = False
    """Whether it was accepted and is never worked."""
    timers: list[Handle] = field(default_factory=list)

    @property
    def symbol(self) -> str:
        """Return the symbol that it trades."""
        return self.order.ticket.contract.symbol

    @property
    def workable(self) -> Decimal:
        """Return the shares that the exchange may trade now."""
        if self.capped and self.parent is not None:
            return max(self.order.remaining - self.parent.order.remaining, Decimal(0))
        return self.order.remaining

    def stop_timers(self) -> None:
        """Forget every timer of this order."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    def family(self) -> list[Working]:
        """Return the order's whole family, parents before their children."""
        root = self
        while root.parent is not None:
            root = root.parent
        return list(root.tree())

    def tree(self) -> Iterator[Working]:
        """Yield the order and its descendants."""
        yield self
        for child in self.children:
            yield from child.tree()


class OrderBook:
    """The live orders, and the done ones of the day.

    An id finds the latest order of its client under it: ids may begin anew.
    """

    def __init__(self) -> None:
        self._by_id: dict[tuple[int, int], Working] = {}
        self._known: dict[int, Working] = {}
        self._live: dict[int, Working] = {}

    def find(self, client_id: int, order_id: int) -> Working | None:
        """Return the order that *client_id* knows as *order_id*."""
        return self._by_id.get((client_id, order_id))

    def called(self, perm_id: int) -> Working | None:
        """Return the order with *perm_id* if it is still known."""
        return self._known.get(perm_id)

    def add(self, working: Working) -> None:
        """Take *working* into the book."""
        order = working.order
        self._by_id[order.client_id, order.order_id] = working
        self._known[order.perm_id] = working
        self._live[order.perm_id] = working

    def retire(self, working: Working) -> None:
        """Take *working* from the live orders; it stays known."""
        self._live.pop(working.order.perm_id, None)

    def remove(self, working: Working) -> None:
        """Forget *working*, as if it had never been accepted."""
        self.retire(working)
        del self._known[working.order.perm_id]
        del self._by_id[working.order.client_id, working.order.order_id]
        if working.parent is not None:
            working.parent.children.remove(working)

    def live(self) -> list[Working]:
        """Return the orders that are not done, oldest first."""
        return list(self._live.values())

    def untransmitted(self, client_id: int | None = None) -> list[Working]:
        """Return the live orders that wait for a family member; None: everybody's."""
        return [
            one
            for one in self._live.values()
            if not one.order.transmitted and client_id in {None, one.order.client_id}
        ]

    def done(self) -> list[Working]:
        """Return the done orders, in the order in which they were placed."""
        return [working for working in self._known.values() if working.order.done]

    def forget_before(self, midnight: datetime) -> None:
        """Forget the orders that were done before *midnight*."""
        for working in self.done():
            at = working.order.completed_at
            if at is not None and at < midnight:
                self._forget(working)

    def forget_done(self) -> None:
        """Forget every order that is done."""
        for working in self.done():
            self._forget(working)

    def _forget(self, working: Working) -> None:
        del self._known[working.order.perm_id]
        key = working.order.client_id, working.order.order_id
        if self._by_id.get(key) is working:
            del self._by_id[key]

    def siblings(self, working: Working) -> list[Working]:
        """Return the live orders of which only *working* or they may fill.

        Children of one parent are such a group, and so are the orders of a client
        under one ocaGroup.
        """
        return [
            other
            for other in self._live.values()
            if other is not working
            and other.order.transmitted
            and (_same_parent(other, working) or _same_group(other, working))
        ]


def _same_parent(one: Working, other: Working) -> bool:
    return one.parent is not None and one.parent is other.parent


def _same_group(one: Working, other: Working) -> bool:
    mine, theirs = one.order.ticket, other.order.ticket
    return (
        bool(mine.oca_group)
        and mine.oca_group == theirs.oca_group
        and mine.account == theirs.account
        and one.order.client_id == other.order.client_id
    )
