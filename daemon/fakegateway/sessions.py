"""The exchange's sessions in order, and the hours that contract details show."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from daemon.fakegateway.values import MarketSession

MOC_FREEZE = timedelta(minutes=10)
"""No MOC is cancelled after close minus this: NYSE Rule 7.35(a)(8), Nasdaq 15:50."""
NASDAQ_ENTRY = timedelta(minutes=5)
"""Nasdaq takes MOC orders until close minus this: Equity 4 Rule 4702(b)(11)."""
HOURS_DAYS = 6
"""Contract details show today's hours and those of the next days."""
EXCHANGE_ZONE = ZoneInfo("America/New_York")
_SATURDAY = 5
_USUAL_OPEN, _USUAL_CLOSE = time(9, 30), time(16)
_EARLY_TRADING = time(4)
_LATE_TRADING = timedelta(hours=4)

Span = tuple[datetime, datetime] | None
"""Open and close of one day, None where the exchange is closed."""


class Sessions:
    """The sessions that the world knows, by time."""

    def __init__(self, sessions: Sequence[MarketSession]) -> None:
        self._all = tuple(sorted(sessions, key=lambda session: session.open))
        self._opens = [session.open for session in self._all]
        self._closes = [session.close for session in self._all]

    def __iter__(self) -> Iterator[MarketSession]:
        return iter(self._all)

    def open_at(self, now: datetime) -> MarketSession | None:
        """Return the session in which *now* lies: open <= now < close."""
        session = self.taking_orders(now)
        return session if session is not None and session.open <= now else None

    def taking_orders(self, now: datetime) -> MarketSession | None:
        """Return the session for which an order of *now* counts: close > now."""
        place = bisect_right(self._closes, now)
        return self._all[place] if place < len(self._all) else None

    def next_open(self, now: datetime) -> datetime:
        """Return the next open after *now*, a guess beyond the known sessions."""
        place = bisect_right(self._opens, now)
        if place < len(self._opens):
            return self._opens[place]
        day = now.astimezone(EXCHANGE_ZONE).date() + timedelta(days=1)
        while day.weekday() >= _SATURDAY:
            day += timedelta(days=1)
        return datetime.combine(day, _USUAL_OPEN, EXCHANGE_ZONE)

    def last_opened(self, now: datetime) -> MarketSession | None:
        """Return the latest session with open <= now."""
        place = bisect_right(self._opens, now)
        return self._all[place - 1] if place else None

    def before(self, session: MarketSession) -> MarketSession | None:
        """Return the session before *session*."""
        place = self._opens.index(session.open)
        return self._all[place - 1] if place else None

    def on(self, day: date) -> MarketSession | None:
        """Return the session of *day*."""
        return next((one for one in self._all if one.date == day), None)

    def covers(self, day: date) -> bool:
        """Return whether *day* lies within the known sessions."""
        return bool(self._all) and self._all[0].date <= day <= self._all[-1].date


def hours(sessions: Sessions, today: date, zone: ZoneInfo) -> tuple[str, str]:
    """Return tradingHours and liquidHours in *zone* for the days from *today* on."""
    days = [today + timedelta(days=n) for n in range(HOURS_DAYS)]
    liquid = [_liquid(sessions, day, zone) for day in days]
    trading = [_around(span) for span in liquid]
    return _spell(days, trading), _spell(days, liquid)


def _liquid(sessions: Sessions, day: date, zone: ZoneInfo) -> Span:
    session = sessions.on(day)
    if session is not None:
        return session.open.astimezone(zone), session.close.astimezone(zone)
    # Beyond the known sessions a weekday is taken to be an ordinary one.
    if sessions.covers(day) or day.weekday() >= _SATURDAY:
        return None
    return (
        datetime.combine(day, _USUAL_OPEN, zone),
        datetime.combine(day, _USUAL_CLOSE, zone),
    )


def _around(span: Span) -> Span:
    if span is None:
        return None
    start, end = span
    return datetime.combine(start.date(), _EARLY_TRADING, start.tzinfo), (
        end + _LATE_TRADING
    )


def _spell(days: Sequence[date], spans: Sequence[Span]) -> str:
    return ";".join(
        f"{day:%Y%m%d}:CLOSED"
        if span is None
        else f"{span[0]:%Y%m%d:%H%M}-{span[1]:%Y%m%d:%H%M}"
        for day, span in zip(days, spans, strict=True)
    )
