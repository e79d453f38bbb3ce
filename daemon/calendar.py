"""The exchange's sessions from a table; exchange_calendars stops here.

The library brings pandas (41 MB, 300 ms): it runs only in a child process,
`python -P -m daemon.calendar XNYS 2025-01-01 2028-12-31`, which prints a table. The
one for XNYS ships as `daemon/data/xnys.json`, made by that very command.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import metadata, resources
from pathlib import Path

from daemon.core.model import Session
from daemon.errors import ConfigError, OutsideCalendar

MARGIN_DAYS = 90
"""A table that ends sooner is computed anew; a person hears of it then."""

YEARS = range(1990, 2101)
"""Years for which the library's rules say something."""

LOOK_BACK_DAYS = 10
"""Behind today there must be a previous session, whatever the holidays."""

_CHILD_TIMEOUT_S = 60.0
"""The child needs 0.4 s; a cold disk has been seen to need ten."""

_UNKNOWN_EXCHANGE = 3
"""Exit status of the child for a code that the library does not have."""


@dataclass(frozen=True, slots=True)
class Table:
    """What one table holds: the sessions from *first* to *last*, both included."""

    exchange: str
    time_zone: str
    first: date
    last: date
    source: str
    sessions: tuple[Session, ...]
    holidays: Mapping[date, str]


class TableCalendar:
    """The sessions of one exchange, looked up in a table (`daemon.ports.Calendar`).

    Raises:
        OutsideCalendar: a day outside the table; it is never "no session".
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._days = [session.date for session in table.sessions]
        self._by_day = dict(zip(self._days, table.sessions, strict=True))

    @property
    def exchange(self) -> str:
        """Return the exchange code, for example XNYS."""
        return self._table.exchange

    @property
    def time_zone(self) -> str:
        """Return the IANA name of the exchange's zone."""
        return self._table.time_zone

    @property
    def holidays(self) -> Mapping[date, str]:
        """Return the names of the holidays, as far as they are known."""
        return self._table.holidays

    def session(self, day: date) -> Session | None:
        """Return the session of *day*, None on a day without one."""
        self._require(day)
        return self._by_day.get(day)

    def sessions(self, first: date, last: date) -> tuple[Session, ...]:
        """Return the sessions from *first* to *last*, both included."""
        self._require(first)
        self._require(last)
        start, end = bisect_left(self._days, first), bisect_right(self._days, last)
        return self._table.sessions[start:end]

    def previous(self, day: date) -> Session:
        """Return the last session before *day*."""
        self._require(day)
        index = bisect_left(self._days, day)
        if index == 0:
            raise OutsideCalendar(self._text(f"a session before {day}"))
        return self._table.sessions[index - 1]

    def horizon_days(self, today: date) -> int:
        """Return for how many days after *today* the sessions are known."""
        return (self._table.last - today).days

    def _require(self, day: date) -> None:
        if not self._table.first <= day <= self._table.last:
            raise OutsideCalendar(self._text(str(day)))

    def _text(self, wanted: str) -> str:
        table = self._table
        return (
            f"the sessions of {table.exchange} are known from {table.first} to"
            f" {table.last}, {wanted} is outside; ask for a day inside, or restart"
            " the daemon to renew the table"
        )


def load_calendar(exchange: str, cache_dir: Path, today: date) -> TableCalendar:
    """Return the calendar of *exchange*, with a margin around *today*.

    XNYS comes from the shipped table while that lasts. Anything else is computed
    in a child process and kept in *cache_dir* until the margin or the library
    changes; a cached table that still covers *today* stands in for a failing child.

    Raises:
        ConfigError: the exchange is not known, or its table cannot be computed.
        OutsideCalendar: *today* lies in a year that no table can hold.
    """
    if today.year not in YEARS:
        raise OutsideCalendar(
            f"no sessions are known of {today}: ask for a day from {YEARS[0]} to"
            f" {YEARS[-1]}"
        )
    if exchange == "XNYS":
        shipped = shipped_table()
        if _covers(shipped, today, MARGIN_DAYS):
            return TableCalendar(shipped)
    path = cache_dir / f"calendar-{re.sub(r'[^A-Za-z0-9]+', '_', exchange)}.json"
    cached = _read(path)
    if cached and cached.source == _source() and _covers(cached, today, MARGIN_DAYS):
        return TableCalendar(cached)
    try:
        text = _run_child(exchange, today)
    except ConfigError:
        if cached and _covers(cached, today, 0):
            return TableCalendar(cached)
        raise
    _write(path, text)
    return TableCalendar(parse_table(text))


def shipped_table() -> Table:
    """Return the table of XNYS that comes with the program."""
    data = resources.files("daemon") / "data" / "xnys.json"
    return parse_table(data.read_text(encoding="utf-8"))


def parse_table(text: str) -> Table:
    """Return the table that the child printed.

    Raises:
        ValueError, KeyError, TypeError: *text* is not such a table.
    """
    raw = json.loads(text)
    return Table(
        exchange=str(raw["exchange"]),
        time_zone=str(raw["time_zone"]),
        first=date.fromisoformat(raw["first"]),
        last=date.fromisoformat(raw["last"]),
        source=str(raw["source"]),
        sessions=tuple(
            Session(
                date.fromisoformat(day),
                datetime.fromisoformat(opening),
                datetime.fromisoformat(closing),
                bool(half_day),
            )
            for day, opening, closing, half_day in raw["sessions"]
        ),
        holidays={
            date.fromisoformat(day): str(name) for day, name in raw["holidays"].items()
        },
    )


def compute_table(exchange: str, first: date, last: date) -> str:
    """Return the table as JSON, one session a line; for the child process only.

    Raises:
        ConfigError: the library has no such exchange.
    """
    # Only here, in the child: the daemon's process never loads pandas.
    import exchange_calendars as library  # noqa: PLC0415

    try:
        calendar = library.get_calendar(exchange, start=first, end=last)
    except library.errors.InvalidCalendarName as exc:
        names = library.get_calendar_names()
        near = difflib.get_close_matches(exchange.upper(), names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "for example XNYS, XETR"
        raise ConfigError(f"there is no exchange {exchange!r}; {hint}") from exc
    early = {moment.date() for moment in calendar.early_closes}
    sessions = [
        [
            moment.date().isoformat(),
            _utc(row["open"].to_pydatetime()),
            _utc(row["close"].to_pydatetime()),
            moment.date() in early,
        ]
        for moment, row in calendar.schedule.iterrows()
    ]
    names_of_days = {}
    if calendar.regular_holidays is not None:
        named = calendar.regular_holidays.holidays(first, last, return_name=True)
        names_of_days = {day.date().isoformat(): name for day, name in named.items()}
    head = {
        "exchange": calendar.name,
        "time_zone": str(calendar.tz),
        "first": first.isoformat(),
        "last": last.isoformat(),
        "source": _source(),
        "holidays": names_of_days,
    }
    lines = ",\n".join(f"  {json.dumps(session)}" for session in sessions)
    return f'{json.dumps(head, indent=1)[:-2]},\n "sessions": [\n{lines}\n ]\n}}\n'


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def _source() -> str:
    return f"exchange_calendars {metadata.version('exchange_calendars')}"


def _covers(table: Table, today: date, margin_days: int) -> bool:
    behind, ahead = timedelta(days=LOOK_BACK_DAYS), timedelta(days=margin_days)
    return table.first + behind <= today and today + ahead <= table.last


def _run_child(exchange: str, today: date) -> str:
    """Return the table from the first day of last year to the end of the next but one.

    Raises:
        ConfigError: the child refused the exchange, failed, or did not end in time.
    """
    first, last = date(today.year - 1, 1, 1), date(today.year + 2, 12, 31)
    # -P: nothing in the working directory may take the place of a module.
    command = [sys.executable, "-P", "-m", "daemon.calendar"]
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter and module
            [*command, exchange, str(first), str(last)],
            capture_output=True,
            text=True,
            timeout=_CHILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ConfigError(
            f"the sessions of {exchange} were not computed: {exc}"
        ) from exc
    if child.returncode == _UNKNOWN_EXCHANGE:
        raise ConfigError(f"calendar.exchange: {child.stderr.strip()}")
    if child.returncode != 0:
        reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(
            f"the sessions of {exchange} were not computed: {reason};"
            " is exchange_calendars installed?"
        )
    return child.stdout


def _read(path: Path) -> Table | None:
    """Return the cached table; a missing or torn file counts as none."""
    try:
        return parse_table(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(path: Path, text: str) -> None:
    """Replace the cached table in one step; readers see the old one or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _main(arguments: list[str]) -> int:
    exchange, first, last = arguments
    try:
        table = compute_table(
            exchange, date.fromisoformat(first), date.fromisoformat(last)
        )
    except ConfigError as exc:
        sys.stderr.write(f"{exc}\n")
        return _UNKNOWN_EXCHANGE
    sys.stdout.write(table)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
