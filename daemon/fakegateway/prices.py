"""A seeded price path per symbol and session: the same answer in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, pairwise
from random import Random

from daemon.fakegateway.chance import draw
from daemon.fakegateway.sessions import EXCHANGE_ZONE
from daemon.fakegateway.values import Bar, MarketSession, Quote

STEP = timedelta(seconds=15)
"""The market moves this often."""
CENT = Decimal("0.01")
DAY_SIGMA = 0.012
"""Standard deviation of a day's move, as a fraction of the price."""
GAP_SHARE = 0.25
"""The step from the reference price to the open, as a fraction of a day's move."""
PATHS_KEPT = 512


@dataclass(frozen=True, slots=True)
class Waypoint:
    """A price that the path goes through; *at* a fraction of the session or a time.

    A time is New York time; *day* None means every session.
    """

    at: float | time
    price: Decimal
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Market:
    """Bid, ask and last of one step."""

    bid: Decimal
    ask: Decimal
    last: Decimal


@dataclass(frozen=True, slots=True)
class Path:
    """One session of one symbol: the last price at each step, in ticks.

    The first is the opening auction's, the last one the official close.
    """

    session: MarketSession
    tick: Decimal
    ticks: tuple[int, ...]
    half_spread: int
    """From the last price to bid and to ask, in ticks."""

    def step_at(self, at: datetime) -> int:
        """Return the step in force at *at*, the nearest one outside the session."""
        return min(max((at - self.session.open) // STEP, 0), len(self.ticks) - 1)

    def instant(self, step: int) -> datetime:
        """Return when *step* begins."""
        return self.session.open + step * STEP

    def last(self, step: int) -> Decimal:
        """Return the last price at *step*."""
        return self.ticks[step] * self.tick

    def market(self, step: int) -> Market:
        """Return the continuous market of *step*."""
        last, half = self.ticks[step], self.half_spread
        return Market(
            bid=(last - half) * self.tick,
            ask=(last + half) * self.tick,
            last=last * self.tick,
        )

    def auction(self, step: int) -> Market:
        """Return the one price at which an auction at *step* trades."""
        last = self.last(step)
        return Market(bid=last, ask=last, last=last)


class Prices:
    """The prices of every symbol, a pure function of seed, symbol, date and step.

    *bases* are reference prices in USD, *waypoints* force a path through them,
    *ticks* are minimum price variations other than a cent. A *sigma* of 0 gives
    straight lines from waypoint to waypoint.
    """

    def __init__(
        self,
        seed: int,
        *,
        bases: Mapping[str, Decimal] | None = None,
        waypoints: Mapping[str, Sequence[Waypoint]] | None = None,
        ticks: Mapping[str, Decimal] | None = None,
        sigma: float = DAY_SIGMA,
    ) -> None:
        self._seed = seed
        self._sigma = sigma
        self._bases = dict(bases or {})
        self._waypoints = {symbol: tuple(w) for symbol, w in (waypoints or {}).items()}
        self._ticks = dict(ticks or {})
        self._paths = lru_cache(maxsize=PATHS_KEPT)(self._build)

    def path(self, symbol: str, session: MarketSession) -> Path:
        """Return the path of *symbol* in *session*."""
        return self._paths(symbol, session)

    def base(self, symbol: str) -> Decimal:
        """Return the reference price of *symbol*, invented where nothing tells it."""
        if symbol in self._bases:
            return self._bases[symbol]
        if self._waypoints.get(symbol):
            return self._waypoints[symbol][0].price
        return Decimal(round(2000 + 16_000 * draw(self._seed, "base", symbol))) / 100

    def volume(self, symbol: str, session: MarketSession, step: int) -> int:
        """Return the shares traded in *step*."""
        liquidity = 200 + int(4000 * draw(self._seed, "liquidity", symbol))
        return 1 + int(
            2 * liquidity * draw(self._seed, "volume", symbol, session.date, step)
        )

    def quote(
        self,
        symbol: str,
        at: datetime,
        session: MarketSession,
        before: MarketSession | None = None,
    ) -> Quote:
        """Return the market at *at*; *before* gives the previous close."""
        path = self.path(symbol, session)
        step = path.step_at(at)
        market = path.market(step)
        so_far = path.ticks[: step + 1]
        size = self.volume(symbol, session, step)
        return Quote(
            bid=market.bid,
            ask=market.ask,
            last=market.last,
            bid_size=100 * (1 + size % 9),
            ask_size=100 * (1 + size % 7),
            last_size=100,
            volume=(step + 1) * self.volume(symbol, session, 0),
            high=max(so_far) * path.tick,
            low=min(so_far) * path.tick,
            open=path.last(0),
            close=self._previous_close(symbol, before),
        )

    def bars(
        self, symbol: str, session: MarketSession, until: datetime, bar_s: int
    ) -> list[Bar]:
        """Return the bars of *session* that began before *until*, oldest first."""
        path = self.path(symbol, session)
        width = max(bar_s // int(STEP.total_seconds()), 1)
        final = len(path.ticks) - 1
        ended = min(final, path.step_at(until)) if until >= session.open else -1
        return [
            self._bar(symbol, path, first, min(first + width, ended + 1, final + 1))
            for first in range(0, min(ended + 1, final), width)
            if path.instant(first) < until
        ]

    def _bar(self, symbol: str, path: Path, first: int, end: int) -> Bar:
        ticks = path.ticks[first:end]
        volume = self.volume(symbol, path.session, first) * len(ticks)
        average = Decimal(sum(ticks)) / len(ticks) * path.tick
        return Bar(
            start=path.instant(first),
            open=ticks[0] * path.tick,
            high=max(ticks) * path.tick,
            low=min(ticks) * path.tick,
            close=ticks[-1] * path.tick,
            volume=volume,
            wap=average.quantize(Decimal("0.0001")),
            count=len(ticks),
        )

    def _previous_close(self, symbol: str, before: MarketSession | None) -> Decimal:
        return (
            self.base(symbol) if before is None else self.path(symbol, before).last(-1)
        )

    def _build(self, symbol: str, session: MarketSession) -> Path:
        steps = (session.close - session.open) // STEP
        chance = Random(f"{self._seed}:path:{symbol}:{session.date}")
        noise = [_bell(chance) for _ in range(steps + 1)]
        walk = list(accumulate(noise[1:], initial=0.0))
        base = float(self.base(symbol))
        scale = base * self._sigma / steps**0.5
        anchors = self._anchors(symbol, session, steps)
        anchors.setdefault(0, base * (1 + GAP_SHARE * self._sigma * noise[0]))
        last_anchor = max(anchors)
        anchors.setdefault(
            steps, anchors[last_anchor] + scale * (walk[steps] - walk[last_anchor])
        )
        tick = self._ticks.get(symbol, CENT)
        half_spread = max(1, round(base * 0.00005 / float(tick)))
        unit = float(tick)
        return Path(
            session=session,
            tick=tick,
            ticks=tuple(
                max(round(price / unit), half_spread + 1)
                for price in _bridge(walk, anchors, scale)
            ),
            half_spread=half_spread,
        )

    def _anchors(
        self, symbol: str, session: MarketSession, steps: int
    ) -> dict[int, float]:
        return {
            _step_of(waypoint.at, session, steps): float(waypoint.price)
            for waypoint in self._waypoints.get(symbol, ())
            if waypoint.day in {None, session.date}
        }


def _bell(chance: Random) -> float:
    """Return roughly a normal deviate, without libm: the same on every host."""
    return 2 * (chance.random() + chance.random() + chance.random() - 1.5)


def _bridge(
    walk: list[float], anchors: Mapping[int, float], scale: float
) -> list[float]:
    """Return *walk*, scaled and bent so that it meets every anchor."""
    known = sorted(anchors)
    path = [anchors[known[0]]]
    for start, end in pairwise(known):
        span = end - start
        offset = anchors[start] - scale * walk[start]
        drift = (anchors[end] - scale * walk[end] - offset) / span
        path.extend(
            offset + scale * walk[step] + drift * (step - start)
            for step in range(start + 1, end + 1)
        )
    return path


def _step_of(at: float | time, session: MarketSession, steps: int) -> int:
    """Return the step nearest to *at*.

    Raises:
        ValueError: *at* lies outside the session.
    """
    if isinstance(at, time):
        moment = datetime.combine(session.date, at, EXCHANGE_ZONE)
        step = round((moment - session.open) / STEP)
    else:
        step = round(at * steps)
    if not 0 <= step <= steps:
        raise ValueError(
            f"waypoint {at} lies outside the session of {session.date}:"
            " give a fraction from 0 to 1 or a New York time between open and close"
        )
    return step
