"""What happens to orders when a session opens and when it closes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Protocol

from daemon.fakegateway import exchange, refusals
from daemon.fakegateway.endings import Endings
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.prices import Market
from daemon.fakegateway.reports import Surroundings
from daemon.fakegateway.values import MarketSession


class Pit(Protocol):
    """Where orders trade."""

    def meet_auction(self, working: Working, market: Market, venue: str) -> None:
        """Let an order meet the opening auction."""

    def execute(self, working: Working, price: Decimal, venue: str) -> None:
        """Trade what the exchange takes of an order now, at *price*."""


class Bells:
    """Rings for the sessions for which it was armed."""

    def __init__(
        self, around: Surroundings, book: OrderBook, endings: Endings, pit: Pit
    ) -> None:
        self._around = around
        self._book = book
        self._endings = endings
        self._pit = pit
        self._armed: set[datetime] = set()

    def arm(self, session: MarketSession) -> None:
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
            venue = _listing_exchange(working)
            self._pit.meet_auction(working, path.auction(0), venue)

    def _close(self, session: MarketSession) -> None:
        self._armed.discard(session.open)
        symbols: list[str] = []
        for working in self._of(session):
            ticket, order = working.order.ticket, working.order
            if order.done:
                continue
            if ticket.order_type == "MOC" and order.active:
                symbols.append(working.symbol)
            elif ticket.tif == "DAY":
                self._endings.cancelled(working, refusals.CANCELLED)
            else:
                self._schedule_next(working)
        for symbol in dict.fromkeys(symbols):
            self._print_later(symbol, session)

    def _schedule_next(self, working: Working) -> None:
        """Carry an order that outlives the day into the next session."""
        now = self._around.clock.now()
        working.session = self._around.sessions.taking_orders(now)
        if working.session is not None:
            self.arm(working.session)

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
                self._pit.execute(working, price, _listing_exchange(working))
            self._endings.cancelled(working, refusals.CANCELLED)


def _listing_exchange(working: Working) -> str:
    return working.order.ticket.contract.primary_exchange or exchange.ORDINARY_VENUE
