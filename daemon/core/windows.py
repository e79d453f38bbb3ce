"""Planned windows: when the gateway is expected to be away, across every clock change.

A window begins on certain weekdays at a time of day in its zone and ends at the next
such time: `sun-fri 00:15-01:45 America/New_York`, `fri 23:00-03:00 America/New_York`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from daemon.core.session import zone_named

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of ISO: Monday is 1."""

_DAY = timedelta(days=1)
_FORM = "write days, times and a zone, such as `fri 23:00-03:00 America/New_York`"
_MOMENT_FORM = "write a day, a time and a zone, such as `mon 08:00 Europe/Budapest`"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW = re.compile(rf"(\S+) +({_CLOCK})-({_CLOCK})(?: +(\S+))?")
_MOMENT = re.compile(rf"(\S+) +({_CLOCK})(?: +(\S+))?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of the week: *weekday* as in ISO, Monday 1 to Sunday 7."""

    weekday: int
    at: time
    zone: str


@dataclass(frozen=True, slots=True)
class Window:
    """A planned absence; *end* is on the next day where it is not after *begin*."""

    name: str
    days: frozenset[int]
    """ISO weekdays in *zone* on which it begins."""
    begin: time
    end: time
    zone: str
    again: Moment | None = None
    """Only for a window in which a person must log in: when it is asked for again."""


@dataclass(frozen=True, slots=True)
class Span:
    """One occurrence of a window, from *begin* until before *end*, in UTC."""

    window: Window
    begin: datetime
    end: datetime


def parse_window(name: str, text: str, zone: str) -> Window:
    """Return the window that *text* describes; without a zone of its own in *zone*.

    Raises:
        ValueError: it is none; the text names the remedy.
    """
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no window: {_FORM}")
    days, begin, end, named = match.groups()
    if begin == end:
        raise ValueError(f"{text!r} lasts a whole day: {_FORM}")
    return Window(
        name,
        _weekdays(text, days),
        time.fromisoformat(begin),
        time.fromisoformat(end),
        zone_named(text, named or zone),
    )


def parse_moment(text: str, zone: str) -> Moment:
    """Return the moment that *text* describes; without a zone of its own in *zone*.

    Raises:
        ValueError: it is none; the text names the remedy.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None or match[1].lower() not in DAYS:
        raise ValueError(f"{text!r} is no moment of the week: {_MOMENT_FORM}")
    weekday = DAYS.index(match[1].lower()) + 1
    return Moment(
        weekday, time.fromisoformat(match[2]), zone_named(text, match[3] or zone)
    )


def spans(window: Window, since: datetime, until: datetime) -> Iterator[Span]:
    """Yield the occurrences of *window* that touch [since, until], in order.

    Where a clock change makes a time of day ambiguous or leaves it out, the window
    is the longer one.
    """
    zone = ZoneInfo(window.zone)
    day = since.astimezone(zone).date() - _DAY
    last = until.astimezone(zone).date()
    while day <= last:
        if day.isoweekday() in window.days:
            end_day = day if window.end > window.begin else day + _DAY
            span = Span(
                window,
                min(_instants(day, window.begin, zone)),
                max(_instants(end_day, window.end, zone)),
            )
            if span.end > since and span.begin <= until:
                yield span
        day += _DAY


def covering(windows: Iterable[Window], at: datetime) -> Span | None:
    """Return the occurrence that *at* lies in; of several the one that ends last."""
    found = [
        span
        for window in windows
        for span in spans(window, at, at)
        if span.begin <= at < span.end
    ]
    return max(found, key=lambda span: span.end, default=None)


def next_moment(moment: Moment, after: datetime) -> datetime:
    """Return the first instant after *after* at which it is *moment*, in UTC."""
    zone = ZoneInfo(moment.zone)
    day = after.astimezone(zone).date()
    while True:
        if day.isoweekday() == moment.weekday:
            found = min(_instants(day, moment.at, zone))
            if found > after:
                return found
        day += _DAY


def window_rows(
    windows: Sequence[Window],
    days: tuple[date, date],
    zones: tuple[str, str],
) -> list[dict[str, str]]:
    """Return what begins on the *days* in the first of *zones*, ready for JSON.

    Times of day are shown in both zones, with the distance in days from the date.
    """
    exchange, local = map(ZoneInfo, zones)
    first, last = days
    since = datetime.combine(first, time(), exchange)
    until = datetime.combine(last + _DAY, time(), exchange)
    found = sorted(
        (span for window in windows for span in spans(window, since, until)),
        key=lambda span: (span.begin, span.window.name),
    )
    return [
        {
            "window": span.window.name,
            "date": f"{span.begin.astimezone(exchange):%Y-%m-%d}",
            "weekday": f"{span.begin.astimezone(exchange):%a}",
            "from": span.begin.astimezone(exchange).isoformat(),
            "to": span.end.astimezone(exchange).isoformat(),
            "exchange": _times(span, exchange, exchange),
            "local": _times(span, exchange, local),
        }
        for span in found
        if since <= span.begin < until
    ]


def _times(span: Span, exchange: ZoneInfo, zone: ZoneInfo) -> str:
    day = span.begin.astimezone(exchange).date()
    return "-".join(_time(at.astimezone(zone), day) for at in (span.begin, span.end))


def _time(local: datetime, day: date) -> str:
    days = (local.date() - day).days
    return f"{local:%H:%M}" + (f"{days:+d}d" if days else "")


def _instants(day: date, at: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return both readings of a time of day; they differ around a clock change."""
    local = datetime.combine(day, at, zone)
    return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)


def _weekdays(text: str, words: str) -> frozenset[int]:
    if words.lower() == "daily":
        return frozenset(range(1, 8))
    days: set[int] = set()
    for word in words.lower().split(","):
        first, dash, last = word.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(
                f"{text!r}: the days {words!r} are not understood; write `daily`,"
                " `fri`, `sun-fri` or `mon,thu`"
            )
        start = DAYS.index(first)
        length = (DAYS.index(last) - start) % 7 if dash else 0
        days.update((start + step) % 7 + 1 for step in range(length + 1))
    return frozenset(days)
