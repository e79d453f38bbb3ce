"""How orders end: cancelled, rejected, discarded, filled, forgotten."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from daemon.fakegateway import refusals
from daemon.fakegateway.acceptance import frozen
from daemon.fakegateway.chance import draw
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.plot import FillBeyondCancel
from daemon.fakegateway.reports import Reports, Surroundings
from daemon.fakegateway.values import Refusal

REJECTED = 201


class Endings:
    """Takes orders out of the live ones and says so.

    *unwatch* ends their waiting for a price; *fill_after_all* trades an order that
    was called Cancelled.
    """

    def __init__(
        self,
        around: Surroundings,
        book: OrderBook,
        reports: Reports,
        *,
        unwatch: Callable[[Working], None],
        fill_after_all: Callable[[Working], None],
    ) -> None:
        self._around = around
        self._book = book
        self._reports = reports
        self._unwatch = unwatch
        self._fill_after_all = fill_after_all
        self._exchange = Lane(around.clock)

    # --- asked for ------------------------------------------------------------

    def cancel(self, working: Working) -> None:
        """Begin to cancel an order, or say why it cannot be."""
        order = working.order
        if not order.transmitted and not order.done:
            self.discard(working)
            return
        moc = order.ticket.order_type == "MOC"
        stuck = order.done or order.status == "PendingCancel"
        if stuck or (moc and frozen(self._around.clock.now(), working.session)):
            self._reports.order_error(
                order, refusals.cannot_cancel(order.order_id, order.status)
            )
            return
        order.status = "PendingCancel"
        self._reports.status(order)
        self._exchange.after(
            self._around.settings.fill_latency_s,
            partial(self._confirm_cancel, working),
        )

    def _confirm_cancel(self, working: Working) -> None:
        order = working.order
        if order.done:
            self._reports.order_error(
                order, refusals.cannot_cancel(order.order_id, order.status)
            )
            return
        siblings = self._book.siblings(working) if self._cascades(working) else []
        self.cancelled(working, refusals.CANCELLED)
        for sibling in siblings:
            self.cancelled(sibling, refusals.CANCELLED)
        beyond = self._around.plot.meet(FillBeyondCancel, order.ticket)
        if beyond is not None:
            fill = partial(self._fill_after_all, working)
            self._around.clock.call_later(beyond.after_s, fill)

    def _cascades(self, working: Working) -> bool:
        wanted = self._around.settings.cancel_cascades
        if wanted == "seed":
            return draw(self._around.seed, "cascade", working.order.perm_id) < 0.5
        return wanted == "always"

    # --- by the broker --------------------------------------------------------

    def reject(self, working: Working, refusal: Refusal) -> None:
        """End an order as Inactive before it ever worked."""
        self.finish(working, "Inactive", refusal.text)
        self._reports.both(working.order)
        self._reports.order_error(working.order, refusal)

    def refuse_late(self, working: Working, refusal: Refusal) -> None:
        """End an accepted order after all, and what hangs on it."""
        if working.order.done:
            return
        if refusal.code == REJECTED:
            self.reject(working, refusal)
            self._end_children(working, refusals.CANCELLED)
        else:
            self.cancelled(working, refusal)

    def cancelled(self, working: Working, refusal: Refusal) -> None:
        """End an order as Cancelled, and its children with it."""
        order = working.order
        if order.done:
            return
        self.finish(working, "Cancelled", "Cancelled by Trader")
        self._reports.status(order)
        self._reports.order_error(order, refusal)
        self._end_children(working, refusal)

    def _end_children(self, working: Working, refusal: Refusal) -> None:
        for child in list(working.children):
            if child.order.transmitted:
                self.cancelled(child, refusal)
            else:
                self.discard(child)

    # --- without ever having lived ----------------------------------------------

    def discard(self, working: Working) -> None:
        """Throw away an untransmitted order with its children: 202 and 161."""
        order = working.order
        for child in list(working.children):
            self.discard(child)
        self._remove(working, "discarded")
        answers = [refusals.DISCARDED, refusals.uncancellable(order.perm_id)]
        if draw(self._around.seed, "discard", order.perm_id) < 0.5:
            answers.reverse()
        for answer in answers:
            self._reports.order_error(order, answer)

    def forget(self, working: Working) -> None:
        """Lose an order that was never transmitted; nobody is told."""
        if self._book.called(working.order.perm_id) is not None:
            self._remove(working, "forgotten")

    def _remove(self, working: Working, event: str) -> None:
        self._book.remove(working)
        self._around.ledger.write(
            event,
            self._around.clock.now(),
            perm_id=working.order.perm_id,
            order_id=working.order.order_id,
        )

    # --- all of them ------------------------------------------------------------

    def finish(self, working: Working, status: str, text: str) -> None:
        """Take an order from the live ones with its last *status*."""
        order = working.order
        order.status = status
        order.why_held = ""
        order.active = False
        order.completed_at = self._around.clock.now()
        order.completed_status = text
        working.stop_timers()
        self._book.retire(working)
        self._unwatch(working)
