"""One-cancels-all groups: what a trade of one member does to the others."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial

from daemon.fakegateway import refusals
from daemon.fakegateway.endings import Endings
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.reports import Reports, Surroundings

REDUCE_WITHOUT_BLOCK = 3
"""ocaType of children of one parent, and of a group that names none."""
CANCEL_WITH_BLOCK = 1


class Groups:
    """Cancels or reduces the siblings of what has traded."""

    def __init__(
        self, around: Surroundings, book: OrderBook, reports: Reports, endings: Endings
    ) -> None:
        self._around = around
        self._book = book
        self._reports = reports
        self._endings = endings
        self._later = Lane(around.clock)

    def traded(self, working: Working, shares: Decimal) -> None:
        """Let the siblings of *working* feel that *shares* of it traded."""
        kind = working.order.ticket.oca_type or REDUCE_WITHOUT_BLOCK
        for sibling in self._book.siblings(working):
            if kind == CANCEL_WITH_BLOCK:
                self._endings.cancelled(sibling, refusals.CANCELLED)
            elif kind == REDUCE_WITHOUT_BLOCK:
                # Without block the sibling stays exposed until the word is out.
                self._later.after(
                    self._around.settings.fill_latency_s,
                    partial(self._reduce, sibling, shares),
                )
            else:
                self._reduce(sibling, shares)

    def _reduce(self, working: Working, shares: Decimal) -> None:
        order = working.order
        if order.done:
            return
        quantity = order.ticket.quantity - shares
        if quantity <= order.filled:
            self._endings.cancelled(working, refusals.CANCELLED)
            return
        order.ticket = replace(order.ticket, quantity=quantity)
        self._reports.both(order)
