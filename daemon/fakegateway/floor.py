"""The life of accepted orders: released, active, traded."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from daemon.fakegateway import exchange, refusals
from daemon.fakegateway.bells import Bells
from daemon.fakegateway.chance import draw
from daemon.fakegateway.endings import Endings
from daemon.fakegateway.groups import Groups
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.ordertimes import order_time
from daemon.fakegateway.plot import LateReject, Remark, Stick, said
from daemon.fakegateway.prices import Market
from daemon.fakegateway.reports import Reports, Surroundings
from daemon.fakegateway.trades import Trades
from daemon.fakegateway.values import ChildActivation, OrderTicket
from daemon.fakegateway.watch import Watch

ACTIVATIONS: tuple[ChildActivation, ...] = ("full_fill", "filled_part", "first_fill")


class Floor:
    """Works the orders of *book*; asks the clock only for what is sure to happen."""

    def __init__(
        self, around: Surroundings, book: OrderBook, reports: Reports, trades: Trades
    ) -> None:
        self._around = around
        self._book = book
        self._reports = reports
        self._trades = trades
        self._exchange = Lane(around.clock)
        self._watch = Watch(around, partial(self._meet, arriving=False))
        self.endings = Endings(
            around,
            book,
            reports,
            unwatch=self._watch.remove,
            fill_after_all=self._fill_after_all,
        )
        self._groups = Groups(around, book, reports, self.endings)
        self._bells = Bells(around, book, self.endings, self)
        self._asleep: list[Working] = []

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
            self._plague(one)
            self._start(one)

    def _plague(self, working: Working) -> None:
        """Let what is plotted against an accepted order take its course."""
        plot, clock = self._around.plot, self._around.clock
        ticket = working.order.ticket
        remark = plot.meet(Remark, ticket)
        if remark is not None:
            tell = partial(self._reports.order_error, working.order, said(remark))
            clock.call_later(remark.after_s, tell)
        late = plot.meet(LateReject, ticket)
        if late is not None:
            end = partial(self.endings.refuse_late, working, said(late))
            clock.call_later(late.after_s, end)
        working.stuck = late is not None or plot.meet(Stick, ticket) is not None

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
            self._bells.arm(working.session)
        if working.good_till is not None:
            expire = partial(self.endings.cancelled, working, refusals.CANCELLED)
            working.timers.append(clock.call_at(working.good_till, expire))

    # --- activation -----------------------------------------------------------

    def _start(self, working: Working) -> None:
        """Let the exchange work the order if its parent and its time allow it."""
        order, clock = working.order, self._around.clock
        if order.done or order.active or working.stuck:
            return
        if not self._parent_allows(working):
            return
        if working.good_after is not None and working.good_after > clock.now():
            start = partial(self._start, working)
            working.timers.append(clock.call_at(working.good_after, start))
            return
        if working.good_after is not None and self._nobody_simulates:
            self._asleep.append(working)
            return
        order.active = True
        order.why_held = _why_held(working)
        if self._around.sessions.open_at(clock.now()) is None:
            self._warn_of_wait(working)
        else:
            self._attempt_soon(working)

    def wake(self) -> None:
        """Go on with what the broker simulates, now that the link is restored."""
        asleep, self._asleep = self._asleep, []
        for working in asleep:
            self._start(working)
        for working in self._book.live():
            if working.order.active and working.order.ticket.order_type == "STP":
                self._attempt_soon(working)

    @property
    def _nobody_simulates(self) -> bool:
        waits = self._around.settings.simulated_orders_wait
        return waits and not self._around.link.up

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

    def meet_auction(self, working: Working, market: Market, venue: str) -> None:
        """Let an order meet the opening auction."""
        self._meet(working, market, arriving=True, venue=venue)

    def _meet(
        self,
        working: Working,
        market: Market,
        *,
        arriving: bool,
        venue: str = exchange.ORDINARY_VENUE,
    ) -> None:
        order = working.order
        if order.done or not order.active or order.ticket.order_type == "MOC":
            return
        stop = order.ticket.order_type == "STP"
        if stop and not working.triggered and self._nobody_simulates:
            self._rest(working)
            return
        price = exchange.fill_price(
            order.ticket, market, arriving=arriving, triggered=working.triggered
        )
        if price is None or not working.workable:
            self._rest(working)
        else:
            working.triggered = stop
            self.execute(working, price, venue)
            self._continue(working)

    def execute(self, working: Working, price: Decimal, venue: str) -> None:
        """Trade what the exchange takes of an order now, at *price*."""
        order, seed = working.order, self._around.seed
        shares = working.workable
        if self._around.settings.partial_fills:
            shares = exchange.slice_quantity(
                shares, seed, order.perm_id, working.executions
            )
        self._trades.trade(working, shares, price, venue)
        working.executions += 1
        order.why_held = ""
        if order.remaining == 0:
            self.endings.finish(working, "Filled", f"Filled Size: {order.filled}")
            self._reports.both(order)
        else:
            if order.status != "PendingCancel":
                order.status = "Submitted"
            self._reports.status(order)
        self._groups.traded(working, shares)
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

    def _fill_after_all(self, working: Working) -> None:
        """Trade what was left of an order that was called Cancelled."""
        order, now = working.order, self._around.clock.now()
        session = self._around.sessions.open_at(now)
        if session is None or order.remaining <= 0:
            return
        path = self._around.prices.path(working.symbol, session)
        market = path.market(path.step_at(now))
        price = market.ask if order.ticket.action == "BUY" else market.bid
        shares = order.remaining
        self._trades.trade(
            working, shares, order.ticket.limit_price or price, exchange.ORDINARY_VENUE
        )
        working.executions += 1
        self.endings.finish(working, "Filled", f"Filled Size: {order.filled}")
        self._reports.both(order)
        self._groups.traded(working, shares)


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
