"""Moments of a session: `close-20m`, `open+5m`, or a line from an old crontab."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from daemon.core.model import Session

SUBMIT_UNTIL = "open+30m"
"""Deadline of the entries: design section 9."""


class Anchor(StrEnum):
    """The end of the session from which a moment keeps its distance."""

    OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Relative:
    """A moment at a fixed distance from the open or the close."""

    anchor: Anchor
    offset: timedelta


@dataclass(frozen=True, slots=True)
class Crontab:
    """A time of day in *zone*; *weekdays* as in ISO, Monday 1 to Sunday 7."""

    at: time
    weekdays: frozenset[int]
    zone: str


When = Relative | Crontab


@dataclass(frozen=True, slots=True)
class OrdinaryDay:
    """The hours of an ordinary session, counted from midnight of its date in *zone*."""

    zone: str
    open: timedelta
    close: timedelta


@dataclass(frozen=True, slots=True)
class Firing:
    """When a job fires in one session, all instants in UTC.

    *literal_at* is what a crontab line says by itself, None for a relative moment.
    *reason* says why that differs from the line's ordinary distance to the open or
    the close; it is empty where it does not.
    """

    at: datetime
    literal_at: datetime | None = None
    reason: str = ""

    @property
    def moved(self) -> bool:
        """Return whether the job fires at another moment than its line says."""
        return self.literal_at is not None and self.literal_at != self.at


def parse_when(text: str) -> When:
    """Return the moment that *text* asks for.

    Raises:
        ValueError: neither form fits; the text names the remedy.

    >>> parse_when("close-20m") == Relative(Anchor.CLOSE, timedelta(minutes=-20))
    True
    """
    words = text.split()
    if len(words) <= 1:
        return _relative(text.strip())
    return _crontab(text, words)


def instant(when: Relative, session: Session) -> datetime:
    """Return the instant in UTC at which *when* falls in *session*."""
    anchor = session.open if when.anchor is Anchor.OPEN else session.close
    return (anchor + when.offset).astimezone(UTC)


def exchange_date(now: datetime, zone: str) -> date:
    """Return the date at *now* in the exchange's *zone*.

    >>> exchange_date(datetime(2026, 2, 20, 2, tzinfo=UTC), "America/New_York")
    datetime.date(2026, 2, 19)
    """
    return now.astimezone(ZoneInfo(zone)).date()


def submit_deadline(session: Session) -> datetime:
    """Return the instant after which no entry of *session* is sent."""
    return instant(_relative(SUBMIT_UNTIL), session)


def ordinary_day(sessions: Iterable[Session], zone: str) -> OrdinaryDay:
    """Return the most common hours among the full *sessions*, in the exchange's zone.

    Raises:
        ValueError: there is no full session among them.
    """
    hours = Counter(
        _session_hours(session, zone) for session in sessions if not session.half_day
    )
    if not hours:
        raise ValueError("no full session among the given ones shows the ordinary day")
    (opening, closing), _ = hours.most_common(1)[0]
    return OrdinaryDay(zone, opening, closing)


def ordinary_session(day: date, ordinary: OrdinaryDay) -> Session:
    """Return the session that *day* would have with ordinary hours."""
    midnight = datetime.combine(day, time())
    tz = ZoneInfo(ordinary.zone)
    return Session(
        day,
        (midnight + ordinary.open).replace(tzinfo=tz).astimezone(UTC),
        (midnight + ordinary.close).replace(tzinfo=tz).astimezone(UTC),
    )


def _session_hours(session: Session, zone: str) -> tuple[timedelta, timedelta]:
    """Return open and close counted from midnight of the session's date in *zone*."""
    midnight = datetime.combine(session.date, time())
    tz = ZoneInfo(zone)
    return (
        session.open.astimezone(tz).replace(tzinfo=None) - midnight,
        session.close.astimezone(tz).replace(tzinfo=None) - midnight,
    )


def fire_time(
    when: When, session: Session, ordinary: OrdinaryDay, *, adjust: bool
) -> Firing | None:
    """Return when *when* fires in *session*, None on a weekday that it leaves out.

    A crontab line keeps the distance that it has on an ordinary day to the open or
    the close, whichever is nearer; with *adjust* off it stays literal.
    """
    if isinstance(when, Relative):
        return Firing(instant(when, session))
    relative, days = ordinary_place(when, session.date, ordinary)
    day = session.date + timedelta(days=days)
    if day.isoweekday() not in when.weekdays:
        return None
    local = datetime.combine(day, when.at, ZoneInfo(when.zone))
    literal, proper = local.astimezone(UTC), instant(relative, session)
    if literal == proper:
        return Firing(proper, literal)
    reason = _difference(when.zone, session, ordinary)
    return Firing(proper if adjust else literal, literal, reason)


def ordinary_place(
    when: When, day: date, ordinary: OrdinaryDay
) -> tuple[Relative, int]:
    """Return *when* as it falls on an ordinary day, and its date less the session's."""
    if isinstance(when, Relative):
        return when, 0
    ahead = usual_lead(when.zone, ordinary.zone, day.year)
    time_of_day = timedelta(hours=when.at.hour, minutes=when.at.minute) - ahead
    _, relative, days = min(
        (
            (abs(offset), Relative(anchor, offset), days)
            for days in (-1, 0, 1)
            # The close stands first: it wins where both are equally near.
            for anchor, moment in (
                (Anchor.CLOSE, ordinary.close),
                (Anchor.OPEN, ordinary.open),
            )
            for offset in [time_of_day + timedelta(days=days) - moment]
        ),
        key=lambda candidate: candidate[0],
    )
    return relative, days


@lru_cache(maxsize=64)
def usual_lead(zone: str, behind: str, year: int) -> timedelta:
    """Return how far clocks in *zone* are ahead of those in *behind*, most days."""
    first = datetime(year, 1, 1, 12, tzinfo=UTC)
    days = (first + timedelta(days=number) for number in range(365))
    return Counter(lead(zone, behind, day) for day in days).most_common(1)[0][0]


def lead(zone: str, behind: str, at: datetime) -> timedelta:
    """Return how far clocks in *zone* are ahead of those in *behind* at *at*."""
    return _offset(zone, at) - _offset(behind, at)


def skew(zone: str, session: Session, exchange_zone: str) -> str:
    """Return how the distance of the clocks is unusual in *session*, empty if not."""
    usual = usual_lead(zone, exchange_zone, session.date.year)
    today = lead(zone, exchange_zone, session.close)
    if today == usual:
        return ""
    hour = timedelta(hours=1)
    return (
        f"{zone} is {today / hour:+g} h from {exchange_zone},"
        f" usually {usual / hour:+g} h"
    )


def _difference(zone: str, session: Session, ordinary: OrdinaryDay) -> str:
    opening, closing = _session_hours(session, ordinary.zone)
    reasons = [skew(zone, session, ordinary.zone)]
    if opening != ordinary.open:
        reasons.append(f"the open is {_clock(opening)} {ordinary.zone}")
    if closing != ordinary.close:
        reasons.append(f"the close is {_clock(closing)} {ordinary.zone}")
    return "; ".join(reason for reason in reasons if reason)


def _clock(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _offset(zone: str, at: datetime) -> timedelta:
    return at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)


_RELATIVE = re.compile(r"(open|close)([+-])([0-9]{1,5})([smh])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}
_FARTHEST = timedelta(hours=12)
"""Beyond it a moment would belong to the neighbouring session."""

_FORMS = (
    "write `open+5m`, `close-20m`, or a crontab line with a zone,"
    " `40 21 * * 1-5 Europe/Budapest`"
)


def _relative(text: str) -> Relative:
    match = _RELATIVE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a moment of the session: {_FORMS}")
    sign = 1 if match[2] == "+" else -1
    offset = sign * timedelta(**{_UNITS[match[4]]: int(match[3])})
    if abs(offset) > _FARTHEST:
        raise ValueError(f"{text!r} is too far: stay within 12h of the {match[1]}")
    return Relative(Anchor(match[1]), offset)


def _crontab(text: str, words: list[str]) -> Crontab:
    if len(words) == 5:
        raise ValueError(
            f"{text!r} names no zone: write it behind the weekdays,"
            f" `{' '.join(words)} Europe/Budapest`"
        )
    if len(words) != 6:
        raise ValueError(
            f"{text!r} has {len(words)} words: keep minute, hour, `* *`, weekdays and"
            " the zone, without a command"
        )
    minute, hour, day, month, weekdays, zone = words
    if (day, month) != ("*", "*"):
        raise ValueError(
            f"{text!r} picks days of the month or months: write `* *` there,"
            " the exchange's calendar knows the days"
        )
    at = time(_number(text, "hour", hour, 23), _number(text, "minute", minute, 59))
    return Crontab(at, _weekdays(text, weekdays), zone_named(text, zone))


def _number(text: str, name: str, word: str, highest: int) -> int:
    if re.fullmatch(r"[0-9]{1,2}", word) is None or int(word) > highest:
        raise ValueError(
            f"{text!r}: the {name} {word!r} is not one number from 0 to {highest};"
            " a job runs once a session"
        )
    return int(word)


_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def _weekdays(text: str, words: str) -> frozenset[int]:
    """Return the ISO weekdays of a crontab field, where Sunday is 0 or 7."""
    if words == "*":
        return frozenset(range(1, 8))
    days: set[int] = set()
    for word in words.lower().split(","):
        first, dash, last = word.partition("-")
        start, end = _weekday(first), _weekday(last if dash else first)
        if start is None or end is None or start > end:
            raise ValueError(
                f"{text!r}: the weekdays {words!r} are not understood;"
                " write `1-5`, `1,3,5`, `mon-fri` or `*`"
            )
        days.update(range(start, end + 1))
    return frozenset(day or 7 for day in days)


def _weekday(word: str) -> int | None:
    if word in _DAYS:
        return _DAYS.index(word)
    return int(word) if re.fullmatch(r"[0-7]", word) else None


def zone_named(text: str, name: str) -> str:
    """Return *name*, a zone of the tz database that *text* asks for.

    Raises:
        ValueError: there is no such zone; the text says which may be meant.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(name, sorted(available_timezones()), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "write Europe/Budapest"
        raise ValueError(f"{text!r}: there is no zone {name!r}; {hint}") from None
    return name
