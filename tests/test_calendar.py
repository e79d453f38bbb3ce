from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib.resources import files

import pytest

from daemon.calendar import (
    TableCalendar,
    load_calendar,
    parse_table,
    shipped_table,
)
from daemon.core.model import Session
from daemon.errors import ConfigError, OutsideCalendar

TODAY = date(2026, 2, 19)


def python(*arguments):
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def child(*arguments):
    return python("-m", "daemon.calendar", *arguments)


@pytest.fixture(scope="module")
def calendar():
    return TableCalendar(shipped_table())


def test_the_shipped_table_is_what_the_library_says():
    fresh = json.loads(child("XNYS", "2025-01-01", "2028-12-31"))
    path = files("daemon") / "data" / "xnys.json"
    shipped = json.loads(path.read_text(encoding="utf-8"))
    fresh.pop("source")
    shipped.pop("source")
    assert shipped == fresh


def test_the_sessions_of_four_years_are_counted(calendar):
    counts = [
        len(calendar.sessions(date(year, 1, 1), date(year, 12, 31)))
        for year in (2025, 2026, 2027, 2028)
    ]
    assert counts == [250, 251, 251, 251]
    assert (calendar.exchange, calendar.time_zone) == ("XNYS", "America/New_York")


@pytest.mark.parametrize(
    "day",
    [
        date(
            2025, 1, 9
        ),  # President Carter's day of mourning, announced ten days before
        date(2026, 2, 16),
        date(2026, 4, 3),
        date(2026, 7, 3),
        date(2026, 11, 26),
        date(2027, 12, 24),
        date(2028, 4, 14),
        date(2026, 2, 21),
    ],
)
def test_a_closed_day_has_no_session(calendar, day):
    assert calendar.session(day) is None


def test_a_session_has_aware_hours_and_its_kind(calendar):
    assert calendar.session(date(2026, 3, 9)) == Session(
        date(2026, 3, 9),
        datetime(2026, 3, 9, 13, 30, tzinfo=UTC),
        datetime(2026, 3, 9, 20, 0, tzinfo=UTC),
        half_day=False,
    )
    assert calendar.session(date(2026, 12, 24)) == Session(
        date(2026, 12, 24),
        datetime(2026, 12, 24, 14, 30, tzinfo=UTC),
        datetime(2026, 12, 24, 18, 0, tzinfo=UTC),
        half_day=True,
    )


def test_the_half_days_are_those_of_the_exchange(calendar):
    sessions = calendar.sessions(date(2025, 1, 1), date(2028, 12, 31))
    assert [session.date for session in sessions if session.half_day] == [
        date(2025, 7, 3),
        date(2025, 11, 28),
        date(2025, 12, 24),
        date(2026, 11, 27),
        date(2026, 12, 24),
        date(2027, 11, 26),
        date(2028, 7, 3),
        date(2028, 11, 24),
    ]


def test_sessions_hold_both_ends(calendar):
    found = calendar.sessions(date(2026, 2, 13), date(2026, 2, 17))
    assert [session.date for session in found] == [
        date(2026, 2, 13),
        date(2026, 2, 17),
    ]


@pytest.mark.parametrize(
    ("day", "before"),
    [
        (date(2026, 2, 17), date(2026, 2, 13)),
        (date(2026, 2, 16), date(2026, 2, 13)),
        (date(2026, 2, 19), date(2026, 2, 18)),
        (date(2025, 1, 10), date(2025, 1, 8)),
    ],
)
def test_the_previous_session_skips_weekends_and_holidays(calendar, day, before):
    assert calendar.previous(day).date == before


def test_the_names_of_holidays_are_known(calendar):
    assert calendar.holidays[date(2026, 11, 26)] == "Thanksgiving"


@pytest.mark.parametrize(
    "ask",
    [
        lambda calendar: calendar.session(date(2029, 1, 2)),
        lambda calendar: calendar.session(date(2024, 12, 31)),
        lambda calendar: calendar.sessions(date(2028, 12, 20), date(2029, 1, 1)),
        lambda calendar: calendar.sessions(date(2024, 12, 31), date(2025, 2, 1)),
        lambda calendar: calendar.previous(date(2029, 1, 2)),
        lambda calendar: calendar.previous(date(2025, 1, 2)),
    ],
)
def test_a_day_outside_the_table_is_an_error_and_not_a_holiday(calendar, ask):
    with pytest.raises(OutsideCalendar, match="known from 2025-01-01 to 2028-12-31"):
        ask(calendar)


def test_the_horizon_is_counted_in_days(calendar):
    assert calendar.horizon_days(date(2028, 12, 1)) == 30


def test_the_new_york_exchange_needs_no_child_and_no_cache(tmp_path):
    calendar = load_calendar("XNYS", tmp_path / "state", TODAY)
    assert calendar.session(TODAY) is not None
    assert list(tmp_path.iterdir()) == []


def test_another_exchange_is_computed_once_and_kept(tmp_path):
    calendar = load_calendar("XETR", tmp_path / "state", TODAY)
    assert (calendar.exchange, calendar.time_zone) == ("XETR", "Europe/Berlin")
    assert calendar.session(date(2026, 4, 6)) is None  # Easter Monday
    assert calendar.session(TODAY).close == datetime(2026, 2, 19, 16, 30, tzinfo=UTC)
    assert calendar.horizon_days(TODAY) > 365
    (path,) = (tmp_path / "state").iterdir()
    kept = path.stat()
    load_calendar("XETR", tmp_path / "state", TODAY)
    assert path.stat().st_mtime_ns == kept.st_mtime_ns
    assert path.name == "calendar-XETR.json"


def test_a_torn_cache_is_computed_anew(tmp_path):
    path = tmp_path / "calendar-XETR.json"
    path.write_text('{"exchange": "XETR", ', encoding="utf-8")
    assert load_calendar("XETR", tmp_path, TODAY).exchange == "XETR"
    assert parse_table(path.read_text(encoding="utf-8")).exchange == "XETR"


def test_a_cache_of_another_library_version_is_computed_anew(tmp_path):
    path = tmp_path / "calendar-XETR.json"
    old = json.loads(child("XETR", "2025-01-01", "2028-12-31"))
    old.update(source="exchange_calendars 0.1", sessions=[])
    path.write_text(json.dumps(old), encoding="utf-8")
    assert load_calendar("XETR", tmp_path, TODAY).session(TODAY) is not None


def test_the_new_york_table_is_computed_when_the_shipped_one_runs_out(tmp_path):
    calendar = load_calendar("XNYS", tmp_path, date(2028, 12, 20))
    assert calendar.session(date(2029, 1, 2)) is not None
    assert calendar.horizon_days(date(2028, 12, 20)) > 365


def test_an_unknown_exchange_is_refused_with_near_names(tmp_path):
    with pytest.raises(ConfigError, match=r"no exchange 'XNYZ'; did you mean .*XNYS"):
        load_calendar("XNYZ", tmp_path, TODAY)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_child_is_covered_by_the_table_of_before(tmp_path):
    # No exchange has this code: the child refuses it, the cache still knows today.
    table = json.loads(child("XETR", "2025-01-01", "2026-03-01"))
    (tmp_path / "calendar-GONE.json").write_text(json.dumps(table), encoding="utf-8")
    assert load_calendar("GONE", tmp_path, TODAY).session(TODAY) is not None
    with pytest.raises(ConfigError):
        load_calendar("GONE", tmp_path, date(2026, 4, 1))


def test_nothing_in_the_working_directory_takes_the_childs_place(tmp_path, monkeypatch):
    for name in ("daemon", "json", "exchange_calendars"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert load_calendar("XETR", tmp_path / "state", TODAY).exchange == "XETR"


def test_the_daemon_never_loads_pandas():
    program = (
        "import sys; from datetime import date; from pathlib import Path;"
        "from daemon.calendar import load_calendar;"
        "import daemon.scheduler;"
        "load_calendar('XNYS', Path('unused'), date(2026, 2, 19));"
        "print([name for name in ('pandas', 'exchange_calendars', 'numpy')"
        " if name in sys.modules])"
    )
    assert python("-c", program) == "[]\n"
