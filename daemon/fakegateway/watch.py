"""Orders that wait for their price: one timer per symbol, at the next crossing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from daemon.fakegateway import exchange
from daemon.fakegateway.api import Handle
from daemon.fakegateway.orderbook import Working
from daemon.fakegateway.prices import Market
from daemon.fakegateway.reports import Surroundings


class Watch:
    """Looks ahead on the path, so that steps without a trade cost nothing.

    *strike* is called for each waiting order at a step that may trade.
    """

    def __init__(
        self, around: Surroundings, strike: Callable[[Working, Market], None]
    ) -> None:
        self._around = around
        self._strike = strike
        self._waiting: dict[str, dict[int, Working]] = {}
        self._timers: dict[str, Handle] = {}

    def waits(self, working: Working) -> bool:
        """Return whether *working* waits for its price."""
        return working.order.perm_id in self._waiting.get(working.symbol, {})

    def add(self, working: Working) -> None:
        """Let *working* wait."""
        waiting = self._waiting.setdefault(working.symbol, {})
        waiting[working.order.perm_id] = working
        self._look_ahead(working.symbol)

    def remove(self, working: Working) -> None:
        """Let *working* wait no longer."""
        waiting = self._waiting.get(working.symbol, {})
        if waiting.pop(working.order.perm_id, None) is not None:
            self._look_ahead(working.symbol)

    def _look_ahead(self, symbol: str) -> None:
        timer = self._timers.pop(symbol, None)
        if timer is not None:
            timer.cancel()
        now = self._around.clock.now()
        session = self._around.sessions.open_at(now)
        waiting = [one for one in self._waiting[symbol].values() if one.workable]
        if session is None or not waiting:
            return
        path = self._around.prices.path(symbol, session)
        wanted = exchange.nearest(
            exchange.levels(one.order.ticket, path) for one in waiting
        )
        step = exchange.next_crossing(path, path.step_at(now) + 1, wanted)
        if step is not None:
            self._timers[symbol] = self._around.clock.call_at(
                path.instant(step), partial(self._meet, symbol, path.market(step))
            )

    def _meet(self, symbol: str, market: Market) -> None:
        del self._timers[symbol]
        if self._around.sessions.open_at(self._around.clock.now()) is None:
            return  # the host slept through the close
        for working in list(self._waiting[symbol].values()):
            if working.workable:
                self._strike(working, market)
        self._look_ahead(symbol)
