"""The timetable: which job fires when in which session, and what is unusual."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from daemon.core.model import Session
from daemon.core.session import (
    Crontab,
    Firing,
    OrdinaryDay,
    When,
    fire_time,
    instant,
    ordinary_place,
    ordinary_session,
    skew,
)


@dataclass(frozen=True, slots=True)
class Timetable:
    """The jobs and what is needed to hang them on sessions.

    With *adjust* off, crontab lines stay literal and are warned of. The jobs named
    in *before_cutoff* are warned of when they fall at or behind the MOC cutoff.
    """

    jobs: Mapping[str, When]
    ordinary: OrdinaryDay
    adjust: bool = True
    before_cutoff: Collection[str] = ("submit", "moc_close")


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """One job in one session, instants in UTC.

    *literal_at* and *moved_reason* are those of a crontab line that falls wrong on
    this session, None and empty otherwise; *warnings* need the eye of a person.
    """

    job: str
    session: Session
    at: datetime
    literal_at: datetime | None = None
    moved_reason: str = ""
    warnings: tuple[str, ...] = field(default=())


def plan_schedule(
    timetable: Timetable, sessions: Iterable[Session]
) -> tuple[ScheduledJob, ...]:
    """Return every firing in *sessions*, by instant, then by name."""
    planned = [
        scheduled
        for session in sessions
        for scheduled in _session_jobs(timetable, session)
    ]
    return tuple(sorted(planned, key=lambda each: (each.at, each.job)))


def schedule_rows(
    timetable: Timetable,
    sessions: Iterable[Session],
    span: tuple[date, date],
    local_zone: str,
    holidays: Mapping[date, str],
) -> list[dict[str, object]]:
    """Return one row for each session and each weekday without one, ready for JSON.

    *span* is the first and the last day, *holidays* the known names of days without
    a session. Times of day are `HH:MM` in the exchange's zone and in *local_zone*,
    with the distance in days where the local date is another one.
    """
    first, last = span
    by_date = {session.date: session for session in sessions}
    rows: list[dict[str, object]] = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        session = by_date.get(day)
        if session is not None:
            rows.append(_session_row(timetable, session, local_zone))
        elif day.isoweekday() <= 5:
            rows.append(_holiday_row(timetable, day, local_zone, holidays.get(day)))
    return rows


def _session_jobs(timetable: Timetable, session: Session) -> list[ScheduledJob]:
    firings = {
        job: firing
        for job, when in timetable.jobs.items()
        if (firing := _fire(timetable, when, session)) is not None
    }
    return [
        ScheduledJob(
            job,
            session,
            firing.at,
            firing.literal_at if firing.moved else None,
            _moved(timetable, job, session, firing),
            (
                *_place_warnings(timetable, job, session, firing.at),
                *_literal_warnings(firing),
                *_clashes(job, firings),
            ),
        )
        for job, firing in firings.items()
    ]


def _fire(timetable: Timetable, when: When, session: Session) -> Firing | None:
    return fire_time(when, session, timetable.ordinary, adjust=timetable.adjust)


def _moved(timetable: Timetable, job: str, session: Session, firing: Firing) -> str:
    """Return what was done to a crontab line and why, empty where nothing was."""
    when = timetable.jobs[job]
    if not firing.moved or not isinstance(when, Crontab):
        return ""
    local = firing.at.astimezone(ZoneInfo(when.zone))
    place, _ = ordinary_place(when, session.date, timetable.ordinary)
    return (
        f"moved from {when.at:%H:%M} to {local:%H:%M} {when.zone} to stay"
        f" {_distance(place.offset)} the {place.anchor} ({firing.reason})"
    )


def _distance(offset: timedelta) -> str:
    side = "before" if offset < timedelta(0) else "after"
    hours, minutes = divmod(int(abs(offset).total_seconds()) // 60, 60)
    parts = [f"{hours} h"] if hours else []
    if minutes or not hours:
        parts.append(f"{minutes} min")
    return f"{' '.join(parts)} {side}"


def _literal_warnings(firing: Firing) -> Iterator[str]:
    if firing.reason and not firing.moved:
        yield f"kept literal: {firing.reason}"


def _clashes(job: str, firings: Mapping[str, Firing]) -> Iterator[str]:
    others = sorted(
        other
        for other, firing in firings.items()
        if firing.at == firings[job].at and other != job
    )
    if others:
        yield f"at the same time as {', '.join(others)}"


def _place_warnings(
    timetable: Timetable, job: str, session: Session, at: datetime
) -> Iterator[str]:
    """Yield what is wrong with the job's place between the open and the close."""
    usual, _ = ordinary_place(timetable.jobs[job], session.date, timetable.ordinary)
    usual_session = ordinary_session(session.date, timetable.ordinary)
    usual_place = _place(instant(usual, usual_session), usual_session)
    place = _place(at, session)
    zone = timetable.ordinary.zone
    text = f"{at.astimezone(ZoneInfo(zone)):%H:%M} {zone} is {place}"
    if place != usual_place:
        yield f"{text}, usually {usual_place}"
    elif job in timetable.before_cutoff and place in _TOO_LATE:
        yield text


_TOO_LATE = ("at or after the MOC cutoff", "at or after the close")


def _place(at: datetime, session: Session) -> str:
    if at >= session.close:
        return _TOO_LATE[1]
    if at >= session.cutoff:
        return _TOO_LATE[0]
    return "before the open" if at < session.open else "in the session"


def _session_row(
    timetable: Timetable, session: Session, local_zone: str
) -> dict[str, object]:
    exchange_zone = timetable.ordinary.zone
    notes = []
    marks = []
    skewed = skew(local_zone, session, exchange_zone)
    if skewed:
        marks.append("skew week")
        notes.append(skewed)
    if session.half_day:
        marks.append("half-day")
    clock = _Clock(session.date, exchange_zone, local_zone)
    return {
        **_day(session.date, clock),
        "session": True,
        "marks": marks,
        "notes": notes,
        "open": clock.both(session.open),
        "close": clock.both(session.close),
        "cutoff": clock.both(session.cutoff),
        "jobs": [
            {
                "job": scheduled.job,
                **clock.both(scheduled.at),
                "literal": None
                if scheduled.literal_at is None
                else clock.both(scheduled.literal_at),
                "moved": scheduled.moved_reason,
                "warnings": list(scheduled.warnings),
            }
            for scheduled in plan_schedule(timetable, [session])
        ],
    }


def _holiday_row(
    timetable: Timetable, day: date, local_zone: str, name: str | None
) -> dict[str, object]:
    lines = sorted(
        job
        for job, when in timetable.jobs.items()
        if isinstance(when, Crontab) and day.isoweekday() in when.weekdays
    )
    return {
        **_day(day, _Clock(day, timetable.ordinary.zone, local_zone)),
        "session": False,
        "marks": [name or "no session"],
        "notes": [f"not fired: {', '.join(lines)}"] if lines else [],
        "open": None,
        "close": None,
        "cutoff": None,
        "jobs": [],
    }


def _day(day: date, clock: _Clock) -> dict[str, object]:
    return {
        "date": day.isoformat(),
        "weekday": day.strftime("%a"),
        "exchange_zone": clock.exchange_zone,
        "local_zone": clock.local_zone,
    }


@dataclass(frozen=True, slots=True)
class _Clock:
    """Tells an instant in both zones, seen from the session's date."""

    day: date
    exchange_zone: str
    local_zone: str

    def both(self, at: datetime) -> dict[str, str]:
        return {
            "at": at.astimezone(ZoneInfo(self.exchange_zone)).isoformat(),
            "exchange": self._text(at, self.exchange_zone),
            "local": self._text(at, self.local_zone),
        }

    def _text(self, at: datetime, zone: str) -> str:
        local = at.astimezone(ZoneInfo(zone))
        days = (local.date() - self.day).days
        return f"{local:%H:%M}" + (f"{days:+d}d" if days else "")
