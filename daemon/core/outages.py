"""Outages of the session: which alert is due when, and what it says to a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from daemon.core.model import Message, Session, Severity
from daemon.core.windows import Span, Window, covering, next_moment, spans

PATIENCE = timedelta(seconds=30)
"""An outage shorter than this is not worth a message (design section 4)."""

GRACE = timedelta(minutes=5)
"""A gateway needs it to come back after a planned window."""

HELD = timedelta(seconds=60)
"""A half-open session of our own is dropped sooner: longer is another holder."""

SILENT = timedelta(seconds=30)
"""Attempts come every few seconds: without a 326 for this long the id is not held."""

FLAPS = 5
"""Short losses within `FLAP_SPAN` before they are an alarm together."""
FLAP_SPAN = timedelta(minutes=10)
STABLE = timedelta(minutes=10)
"""A link that stands for this long does not flap any more."""

TRADING_LEAD = timedelta(minutes=30)
"""Before the open; from here until `TRADING_TAIL` after the close no window counts."""
TRADING_TAIL = timedelta(minutes=15)

CUTOFF_NEAR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an outage means for the day, and when one is expected."""

    next_job: str = ""
    next_at: datetime | None = None
    cutoff: datetime | None = None
    """Of the current session; None on a day without one."""
    windows: tuple[Window, ...] = ()
    sessions: tuple[Session, ...] = ()
    """Those around now: near their hours no window excuses an outage."""


class Kind(StrEnum):
    """What an alert is about."""

    LOST = "lost"
    LOGIN = "login"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class Alert:
    """One message that becomes due at *at* if the outage lasts until then."""

    kind: Kind
    at: datetime
    span: Span | None = None
    """The planned window that it is about, or that the outage has outlasted."""

    @property
    def name(self) -> str:
        """Return its name within the outage, the same after a restart."""
        if self.kind is Kind.LOST:
            return self.kind.value
        return f"{self.kind}/{self.at:%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage and the names of the alerts that were told of it."""

    since: datetime
    told: frozenset[str] = frozenset()
    ended: datetime | None = None
    """Set before the all-clear is told, which a death in between must not lose."""

    def key(self, name: str) -> str:
        """Return the key by which a message about it is told only once."""
        return f"outage/{self.since.isoformat()}/{name}"

    def tell(self, names: Iterable[str]) -> Outage:
        """Return the outage with *names* among those told."""
        return replace(self, told=self.told | frozenset(names))


@dataclass(frozen=True, slots=True)
class Flaps:
    """Short losses that were told as one: since when, and how many."""

    since: datetime
    count: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """What must survive a restart in the middle of it."""

    outage: Outage | None = None
    flaps: Flaps | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the journal stores it."""
        outage, flaps = self.outage, self.flaps
        return {
            "outage": outage
            and {
                "since": outage.since.isoformat(),
                "told": sorted(outage.told),
                "ended": outage.ended and outage.ended.isoformat(),
            },
            "flaps": flaps
            and {
                "since": flaps.since.isoformat(),
                "count": flaps.count,
                "last": flaps.last.isoformat(),
            },
        }

    @classmethod
    def of_json(cls, stored: object) -> Memory:
        """Return what `as_json` made; nothing where nothing was stored."""
        if not isinstance(stored, Mapping):
            return cls()
        outage, flaps = stored["outage"], stored["flaps"]
        at = datetime.fromisoformat
        return cls(
            outage
            and Outage(
                at(outage["since"]),
                frozenset(outage["told"]),
                outage["ended"] and at(outage["ended"]),
            ),
            flaps and Flaps(at(flaps["since"]), flaps["count"], at(flaps["last"])),
        )


# --- what is due --------------------------------------------------------------------


def alerts(since: datetime, outlook: Outlook, until: datetime) -> list[Alert]:
    """Return every alert of an outage since *since* that is due by *until*, in order.

    Within a planned window there is no alarm; an outage that outlasts it is one. A
    missed weekly login is alarmed at the end of its window and again.
    """
    lost = _lost(since, outlook)
    found = [lost, *_of_logins(since, lost, outlook, until)]
    return sorted((a for a in found if a.at <= until), key=lambda alert: alert.at)


def planned(outlook: Outlook, at: datetime) -> Span | None:
    """Return the planned window that excuses an outage at *at*, if one does."""
    span = covering(outlook.windows, at)
    return None if span is None or _watchful(outlook.sessions, at) == at else span


def flapping(losses: Sequence[datetime], now: datetime) -> Flaps | None:
    """Return the short losses of the last minutes where they are too many."""
    recent = [at for at in losses if now - FLAP_SPAN <= at <= now]
    if len(recent) < FLAPS:
        return None
    return Flaps(recent[0], len(recent), recent[-1])


def _lost(since: datetime, outlook: Outlook) -> Alert:
    """Return the alert of the outage itself, moved behind the windows it began in."""
    at, outlasted = since + PATIENCE, None
    span = covering(outlook.windows, since) or covering(outlook.windows, at)
    while span is not None:
        at, outlasted = span.end + GRACE, span
        span = covering(outlook.windows, at)
    watchful = _watchful(outlook.sessions, since + PATIENCE)
    if watchful is not None and watchful < at:
        return Alert(Kind.LOST, watchful)
    return Alert(Kind.LOST, at, outlasted)


def _watchful(sessions: Iterable[Session], at: datetime) -> datetime | None:
    """Return the first instant from *at* on that lies near a session's hours."""
    found = [
        max(at, session.open - TRADING_LEAD)
        for session in sessions
        if at < session.close + TRADING_TAIL
    ]
    return min(found, default=None)


def _of_logins(
    since: datetime, lost: Alert, outlook: Outlook, until: datetime
) -> Iterator[Alert]:
    for window in outlook.windows:
        if window.again is None:
            continue
        for span in spans(window, since, until):
            asked = max(since, span.begin) + PATIENCE
            if asked < lost.at:
                yield Alert(Kind.LOGIN, asked, span)
            if lost.at < span.end:
                yield Alert(Kind.OVERDUE, span.end + GRACE, span)
            yield Alert(Kind.OVERDUE, next_moment(window.again, span.end), span)


# --- what is told --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Teller:
    """Words for a person: times in *zone*, what it means for the day at *now*."""

    now: datetime
    zone: tzinfo
    outlook: Outlook

    def alert(self, outage: Outage, alert: Alert, trouble: str) -> Message:
        """Return the message of *alert*; *trouble* says why no session stands."""
        key = outage.key(alert.name)
        since = f"since {self._since(outage)}: {trouble}"
        match alert.kind:
            case Kind.LOST:
                lines = [since, *self._outlasted(alert), *self.day()]
                subject = "No session to the gateway"
                return Message(Severity.ALARM, subject, "\n".join(lines), key)
            case Kind.LOGIN:
                lines = [since, *self._login(alert)]
                subject = "The gateway may wait for its weekly login"
                return Message(Severity.INFO, subject, "\n".join(lines), key)
            case Kind.OVERDUE:
                lines = [since, "Log in to the gateway now (second factor)."]
                subject = "Still no session to the gateway: was the login missed?"
                body = "\n".join([*lines, *self.day()])
                return Message(Severity.ALARM, subject, body, key)

    def held(self, outage: Outage, client_id: int, since: datetime) -> Message:
        """Return that somebody else keeps our client id; it never changes."""
        said = (
            f"The gateway has refused client id {client_id} as in use (326) since "
            f"{self._at(since)}: a half-open session of our own would be gone, so "
            "another host, another ibkrd or a script is alive with it."
        )
        remedy = (
            "End that program, or restart the gateway. The id is never changed: "
            "another one could not cancel our own orders."
        )
        subject = f"Client id {client_id} is held by another host or program"
        body = "\n".join([said, remedy, *self.day()])
        return Message(Severity.ALARM, subject, body, outage.key("held"))

    def restored(self, outage: Outage) -> Message:
        """Return that a session stands again."""
        ended = outage.ended or self.now
        lasted = span_text(ended - outage.since)
        body = f"at {self._at(ended)}, lost since {self._at(outage.since)} ({lasted})"
        subject = "Session to the gateway restored"
        return Message(Severity.INFO, subject, body, outage.key("restored"))

    def flaps(self, flaps: Flaps, trouble: str) -> Message:
        """Return that many short losses are one trouble."""
        said = (
            f"{flaps.count} losses since {self._at(flaps.since)}, each shorter than "
            f"{PATIENCE.total_seconds():.0f} s; the last: {trouble}"
        )
        key = f"flaps/{flaps.since.isoformat()}"
        body = "\n".join([said, *self.day()])
        return Message(Severity.ALARM, "The link to the gateway flaps", body, key)

    def stable(self, flaps: Flaps) -> Message:
        """Return that the flapping has ended."""
        body = (
            f"{flaps.count} losses from {self._at(flaps.since)} to "
            f"{self._at(flaps.last)}, none since"
        )
        key = f"flaps/{flaps.since.isoformat()}/stable"
        return Message(
            Severity.INFO, "The link to the gateway is stable again", body, key
        )

    def day(self) -> list[str]:
        """Return what a missing session means for the day."""
        it = self.outlook
        lines = []
        if it.next_at is not None:
            left = span_text(it.next_at - self.now)
            lines.append(f"Next: {it.next_job} at {self._at(it.next_at)}, in {left}.")
        if it.cutoff is not None and timedelta(0) < it.cutoff - self.now <= CUTOFF_NEAR:
            lines.append(
                f"No closing order is taken after {self._at(it.cutoff)}, in "
                f"{span_text(it.cutoff - self.now)}: without a session close by hand "
                "in TWS before that."
            )
        return lines

    def _outlasted(self, alert: Alert) -> list[str]:
        if alert.span is None:
            return []
        name, end = alert.span.window.name, self._at(alert.span.end)
        return [f"It has outlasted the planned window {name}, which ended at {end}."]

    def _login(self, alert: Alert) -> list[str]:
        if alert.span is None:
            return []
        name, end = alert.span.window.name, self._at(alert.span.end)
        return [f"Planned window {name}: log in (second factor) before {end}."]

    def _since(self, outage: Outage) -> str:
        return f"{self._at(outage.since)} ({span_text(self.now - outage.since)})"

    def _at(self, moment: datetime) -> str:
        """Return the time of day with its zone, and the date where it is another."""
        local = moment.astimezone(self.zone)
        date = "" if local.date() == self.now.astimezone(self.zone).date() else "%a %d "
        return f"{local:{date}%H:%M:%S %Z}"


def span_text(span: timedelta) -> str:
    """Return a span of time for a person, in two units at most.

    >>> [span_text(timedelta(seconds=n)) for n in (0, 30, 605, 7800, 200_000)]
    ['0 s', '30 s', '10 min', '2 h 10 min', '2 d 7 h']
    """
    seconds = max(0, round(span.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
