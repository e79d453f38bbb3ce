"""The prices that stand at this moment, whatever session they are of."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from daemon.fakegateway.prices import Prices
from daemon.fakegateway.sessions import Sessions
from daemon.fakegateway.values import Bar, MarketSession, Quote

DAY_S = 86_400
"""The widest bar."""


class Tape:
    """*prices* over *sessions*: outside a session the last one's close stands."""

    def __init__(self, sessions: Sessions, prices: Prices) -> None:
        self._sessions = sessions
        self._prices = prices

    def last(self, symbol: str, now: datetime) -> Decimal:
        """Return the last price of *symbol*."""
        session = self._session(now)
        if session is None:
            return self._prices.base(symbol)
        path = self._prices.path(symbol, session)
        return path.last(path.step_at(now))

    def quote(self, symbol: str, now: datetime) -> Quote:
        """Return the market of *symbol*; empty where no session is known."""
        session = self._session(now)
        if session is None:
            return Quote()
        before = self._sessions.before(session)
        return self._prices.quote(symbol, now, session, before)

    def bars(
        self, symbol: str, begin: datetime, until: datetime, bar_s: int
    ) -> list[Bar]:
        """Return the bars that start between *begin* and *until*, oldest first."""
        return [
            bar
            for session in self._sessions
            if begin - timedelta(seconds=DAY_S) < session.open < until
            for bar in self._prices.bars(symbol, session, until, min(DAY_S, bar_s))
            if bar.start >= begin
        ]

    def _session(self, now: datetime) -> MarketSession | None:
        return self._sessions.last_opened(now) or self._sessions.taking_orders(now)
