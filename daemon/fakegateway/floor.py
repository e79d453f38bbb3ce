"""The life of accepted orders: released, active, traded, cancelled, expired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from daemon.fakegateway import exchange, refusals
from daemon.fakegateway.acceptance import frozen
from daemon.fakegateway.chance import draw
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.ordertimes import order_time
from daemon.fakegateway.prices import Market
from daemon.fakegateway.reports import Reports, Surroundings
from daemon.fakegateway.values import (
    ChildActivation,
    MarketSession,
    OrderTicket,
    Refusal,
)
from daemon.fakegateway.watch import Watch

REDUCE_WITHOUT_BLOCK = 3
"""ocaType of children of one parent, and of a group that names none."""
CANCEL_WITH_BLOCK = 1
ACTIVATIONS: tuple[ChildActivation, ...] = ("full_fill", "filled_part", "first_fill")
ORDINARY_VENUE = "IEX"


class Floor:
    """Works the orders of *book*; asks the clock only for what is sure to happen."""

    def __init__(self, around: Surroundings, book: OrderBook, reports: Reports) -> None:
        self._around = around
        self._book = book
        self._reports = reports
        self._exchange = Lane(around.clock)
        self._watch = Watch(around, partial(self._meet, arriving=False))
        self._armed: set[datetime] = set()

    # --- release --------------------------------------------------------------

    def release(self, working: Working) -> None:
        """Transmit the whole family of *working*."""
        fresh = [one for one in working.family() if not one.order.transmitted]
        now = self._around.clock.now()
        for one in fresh:
            one.order.transmitted = True
            self._around.ledger.write("released", now, perm_id=one.order.perm_id)
        for one in fresh:
            one.order.why_held = _why_held(one)
            self._schedule(one)
            self._reports.both(one.order)
        for one in fresh:
            self._start(one)

    def modify(self, working: Working, ticket: OrderTicket) -> None:
        """Put the terms of *ticket* in force for the live *working*."""
        order = working.order
        order.ticket = replace(
            order.ticket,
            quantity=ticket.quantity,
            limit_price=ticket.limit_price,
            aux_price=ticket.aux_price,
            tif=ticket.tif or "DAY",
            good_after_time=ticket.good_after_time,
            good_till_date=ticket.good_till_date,
            transmit=order.ticket.transmit or ticket.transmit,
        )
        set_times(working)
        if not order.transmitted:
            if ticket.transmit:
                self.release(working)
            return
        working.stop_timers()
        self._watch.remove(working)
        order.active = False
        self._schedule(working)
        self._reports.both(order)
        self._start(working)

    def _schedule(self, working: Working) -> None:
        """Find the session for which the order counts, and its timers."""
        clock, sessions = self._around.clock, self._around.sessions
        begins = max(clock.now(), working.good_after or clock.now())
        working.session = sessions.taking_orders(begins)
        if working.session is not None:
            self._arm(working.session)
        if working.good_till is not None:
            expire = partial(self._cancelled, working, refusals.CANCELLED)
            working.timers.append(clock.call_at(working.good_till, expire))

    # --- activation -----------------------------------------------------------

    def _start(self, working: Working) -> None:
        """Let the exchange work the order if its parent and its time allow it."""
        order, clock = working.order, self._around.clock
        if order.done or order.active or not self._parent_allows(working):
            return
        if working.good_after is not None and working.good_after > clock.now():
            start = partial(self._start, working)
            working.timers.append(clock.call_at(working.good_after, start))
            return
        order.active = True
        order.why_held = _why_held(working)
        if self._around.sessions.open_at(clock.now()) is None:
            self._warn_of_wait(working)
        else:
            self._attempt_soon(working)

    def _parent_allows(self, working: Working) -> bool:
        parent = working.parent
        if parent is None:
            return True
        activation = self._activation(parent)
        working.capped = activation == "filled_part"
        if activation == "full_fill":
            return parent.order.status == "Filled"
        return parent.order.filled > 0

    def _activation(self, parent: Working) -> ChildActivation:
        wanted = self._around.settings.child_activation
        if wanted != "seed":
            return wanted
        chance = draw(self._around.seed, "activation", parent.order.perm_id)
        return ACTIVATIONS[int(chance * len(ACTIVATIONS))]

    def _warn_of_wait(self, working: Working) -> None:
        ticket, now = working.order.ticket, self._around.clock.now()
        zone = working.listing.time_zone if working.listing else "UTC"
        until = self._around.sessions.next_open(now).astimezone(ZoneInfo(zone))
        text = f"{ticket.action} {ticket.quantity} {working.symbol} {ticket.order_type}"
        self._reports.order_error(working.order, refusals.will_wait(text, until, zone))

    def _wake_children(self, parent: Working) -> None:
        for child in list(parent.children):
            order = child.order
            if order.active and child.capped:
                self._attempt_soon(child)
            elif order.why_held == "child" and self._parent_allows(child):
                order.why_held = "" if order.ticket.order_type != "STP" else "trigger"
                if order.ticket.order_type != "LMT":
                    self._reports.status(order)
                self._start(child)

    # --- trading --------------------------------------------------------------

    def _attempt_soon(self, working: Working) -> None:
        delay_s = self._around.settings.fill_latency_s
        self._exchange.after(delay_s, partial(self._attempt, working))

    def _attempt(self, working: Working) -> None:
        """Let an arriving order meet the market of this moment."""
        now = self._around.clock.now()
        session = self._around.sessions.open_at(now)
        if session is None:
            return
        path = self._around.prices.path(working.symbol, session)
        market = path.market(path.step_at(now))
        self._meet(working, market, arriving=not self._watch.waits(working))

    def _meet(
        self,
        working: Working,
        market: Market,
        *,
        arriving: bool,
        venue: str = ORDINARY_VENUE,
    ) -> None:
        order = working.order
        if order.done or not order.active or order.ticket.order_type == "MOC":
            return
        price = exchange.fill_price(
            order.ticket, market, arriving=arriving, triggered=working.triggered
        )
        if price is None or not working.workable:
            self._rest(working)
        else:
            working.triggered = order.ticket.order_type == "STP"
            self._execute(working, price, venue)
            self._continue(working)

    def _execute(self, working: Working, price: Decimal, venue: str) -> None:
        order, seed = working.order, self._around.seed
        shares = working.workable
        if self._around.settings.partial_fills:
            shares = exchange.slice_quantity(
                shares, seed, order.perm_id, working.executions
            )
        self._reports.trade(working, shares, price, venue)
        working.executions += 1
        order.why_held = ""
        if order.remaining == 0:
            self._finish(working, "Filled", f"Filled Size: {order.filled}")
            self._reports.both(order)
        else:
            if order.status != "PendingCancel":
                order.status = "Submitted"
            self._reports.status(order)
        self._reduce_siblings(working, shares)
        self._wake_children(working)

    def _continue(self, working: Working) -> None:
        """Arrange for what an execution left over."""
        if working.order.done:
            return
        if working.order.ticket.order_type == "LMT":
            self._rest(working)
            return
        perm_id = working.order.perm_id
        delay_s = exchange.next_slice_delay_s(
            self._around.seed, perm_id, working.executions
        )
        self._around.clock.call_later(delay_s, partial(self._attempt, working))

    def _rest(self, working: Working) -> None:
        """Let the order wait for its price."""
        order = working.order
        if order.ticket.order_type == "LMT" and order.status == "PreSubmitted":
            order.status = "Submitted"
            self._reports.both(order)
        self._watch.add(working)

    # --- groups ---------------------------------------------------------------

    def _reduce_siblings(self, working: Working, shares: Decimal) -> None:
        kind = working.order.ticket.oca_type or REDUCE_WITHOUT_BLOCK
        for sibling in self._book.siblings(working):
            if kind == CANCEL_WITH_BLOCK:
                self._cancelled(sibling, refusals.CANCELLED)
            elif kind == REDUCE_WITHOUT_BLOCK:
                # Without block the sibling stays exposed until the word is out.
                self._exchange.after(
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
            self._cancelled(working, refusals.CANCELLED)
            return
        order.ticket = replace(order.ticket, quantity=quantity)
        self._reports.both(order)

    # --- the end of an order --------------------------------------------------

    def cancel(self, working: Working) -> None:
        """Begin to cancel an order, or say why it cannot be."""
        order = working.order
        if not order.transmitted and not order.done:
            self._discard(working)
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

    def reject(self, working: Working, refusal: Refusal) -> None:
        """End an order as Inactive before it ever worked."""
        self._finish(working, "Inactive", refusal.text)
        self._reports.both(working.order)
        self._reports.order_error(working.order, refusal)

    def _confirm_cancel(self, working: Working) -> None:
        order = working.order
        if order.done:
            self._reports.order_error(
                order, refusals.cannot_cancel(order.order_id, order.status)
            )
            return
        siblings = self._book.siblings(working) if self._cascades(working) else []
        self._cancelled(working, refusals.CANCELLED)
        for sibling in siblings:
            self._cancelled(sibling, refusals.CANCELLED)

    def _cascades(self, working: Working) -> bool:
        wanted = self._around.settings.cancel_cascades
        if wanted == "seed":
            return draw(self._around.seed, "cascade", working.order.perm_id) < 0.5
        return wanted == "always"

    def _cancelled(self, working: Working, refusal: Refusal) -> None:
        order = working.order
        if order.done:
            return
        self._finish(working, "Cancelled", "Cancelled by Trader")
        self._reports.status(order)
        self._reports.order_error(order, refusal)
        for child in list(working.children):
            if child.order.transmitted:
                self._cancelled(child, refusal)
            else:
                self._discard(child)

    def _discard(self, working: Working) -> None:
        """Throw away an untransmitted order with its children."""
        order = working.order
        for child in list(working.children):
            self._discard(child)
        self._book.remove(working)
        self._around.ledger.write(
            "discarded",
            self._around.clock.now(),
            perm_id=order.perm_id,
            order_id=order.order_id,
        )
        self._reports.order_error(order, refusals.DISCARDED)
        self._reports.order_error(order, refusals.uncancellable(order.perm_id))

    def _finish(self, working: Working, status: str, text: str) -> None:
        order = working.order
        order.status = status
        order.why_held = ""
        order.active = False
        order.completed_at = self._around.clock.now()
        order.completed_status = text
        working.stop_timers()
        self._book.retire(working)
        self._watch.remove(working)

    # --- the bells ------------------------------------------------------------

    def _arm(self, session: MarketSession) -> None:
        """Ask to be called at the bells of *session*, once."""
        if session.open in self._armed:
            return
        self._armed.add(session.open)
        clock = self._around.clock
        if clock.now() < session.open:
            clock.call_at(session.open, partial(self._open, session))
        clock.call_at(session.close, partial(self._close, session))

    def _of(self, session: MarketSession) -> Iterable[Working]:
        return [one for one in self._book.live() if one.session == session]

    def _open(self, session: MarketSession) -> None:
        for working in self._of(session):
            path = self._around.prices.path(working.symbol, session)
            market, venue = path.auction(0), _listing_exchange(working)
            self._meet(working, market, arriving=True, venue=venue)

    def _close(self, session: MarketSession) -> None:
        self._armed.discard(session.open)
        symbols: list[str] = []
        for working in self._of(session):
            ticket, order = working.order.ticket, working.order
            if order.done:
                continue
            if ticket.order_type == "MOC" and order.active:
                symbols.append(working.symbol)
            elif not order.transmitted:
                self._discard(working)
            elif ticket.tif == "DAY":
                self._cancelled(working, refusals.CANCELLED)
            else:
                self._schedule_next(working)
        for symbol in dict.fromkeys(symbols):
            self._print_later(symbol, session)

    def _schedule_next(self, working: Working) -> None:
        """Carry an order that outlives the day into the next session."""
        now = self._around.clock.now()
        working.session = self._around.sessions.taking_orders(now)
        if working.session is not None:
            self._arm(working.session)

    def _print_later(self, symbol: str, session: MarketSession) -> None:
        delay_s = self._around.settings.auction_delay_s
        delay_s += exchange.auction_print_delay_s(
            self._around.seed, symbol, session.date
        )
        self._around.clock.call_later(delay_s, partial(self._print, symbol, session))

    def _print(self, symbol: str, session: MarketSession) -> None:
        """Trade every MOC order of *symbol* at the official close."""
        price = self._around.prices.path(symbol, session).last(-1)
        for working in self._of(session):
            order = working.order
            if working.symbol != symbol or order.ticket.order_type != "MOC":
                continue
            while order.active and working.workable:
                self._execute(working, price, _listing_exchange(working))
            self._cancelled(working, refusals.CANCELLED)


def set_times(working: Working) -> None:
    """Read the order's times anew; they were checked on acceptance."""
    ticket, listing = working.order.ticket, working.listing
    zone = listing.time_zone if listing is not None else "America/New_York"
    working.good_after = order_time(ticket.good_after_time, zone)
    gtd = ticket.good_till_date if ticket.tif == "GTD" else ""
    working.good_till = order_time(gtd, zone)


def _why_held(working: Working) -> str:
    parent = working.parent
    if parent is not None and not working.order.active and not parent.order.done:
        return "child"
    return "trigger" if working.order.ticket.order_type == "STP" else ""


def _listing_exchange(working: Working) -> str:
    return working.order.ticket.contract.primary_exchange or ORDINARY_VENUE
