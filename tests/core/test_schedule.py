from __future__ import annotations

from collections import Counter
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from daemon.calendar import TableCalendar, shipped_table
from daemon.core.schedule import Timetable, plan_schedule, schedule_rows
from daemon.core.session import ordinary_day, parse_when

CALENDAR = TableCalendar(shipped_table())
NEW_YORK = ZoneInfo("America/New_York")
ALL = CALENDAR.sessions(date(2025, 1, 1), date(2028, 12, 31))
ORDINARY = ordinary_day(ALL, "America/New_York")

DEFAULTS = {
    "readiness": "open-5m",
    "submit": "open+5m",
    "risk": "close-40m",
    "moc_close": "close-20m",
    "eod_report": "close+5m",
}
PASTED = {
    "readiness": "25 15 * * 1-5 Europe/Budapest",
    "submit": "35 15 * * 1-5 Europe/Budapest",
    "risk": "20 21 * * 1-5 Europe/Budapest",
    "moc_close": "40 21 * * 1-5 Europe/Budapest",
    "eod_report": "5 22 * * 1-5 Europe/Budapest",
}
FULL = {
    "readiness": "09:25",
    "submit": "09:35",
    "risk": "15:20",
    "moc_close": "15:40",
    "eod_report": "16:05",
}
HALF = {
    "readiness": "09:25",
    "submit": "09:35",
    "risk": "12:20",
    "moc_close": "12:40",
    "eod_report": "13:05",
}
# Written by hand from the exchange's own list, not taken from the table.
HALF_DAYS = {
    date(2025, 7, 3),
    date(2025, 11, 28),
    date(2025, 12, 24),
    date(2026, 11, 27),
    date(2026, 12, 24),
    date(2027, 11, 26),
    date(2028, 7, 3),
    date(2028, 11, 24),
}


def timetable(jobs, *, adjust=True):
    moments = {job: parse_when(text) for job, text in jobs.items()}
    return Timetable(moments, ORDINARY, adjust=adjust)


def planned(jobs, first, last, *, adjust=True):
    sessions = CALENDAR.sessions(first, last)
    return plan_schedule(timetable(jobs, adjust=adjust), sessions)


def rows(jobs, first, last):
    return schedule_rows(
        timetable(jobs),
        CALENDAR.sessions(first, last),
        (first, last),
        "Europe/Budapest",
        CALENDAR.holidays,
    )


def times(row, zone):
    return {job["job"]: job[zone] for job in row["jobs"]}


@pytest.mark.parametrize("jobs", [DEFAULTS, PASTED], ids=["relative", "pasted"])
def test_no_job_misses_its_place_on_any_session_of_four_years(jobs):
    plan = plan_schedule(timetable(jobs), ALL)
    assert len(ALL) == 1003
    assert len(plan) == 5 * 1003
    for each in plan:
        expected = HALF if each.session.date in HALF_DAYS else FULL
        local = each.at.astimezone(NEW_YORK)
        assert f"{local:%H:%M}" == expected[each.job], each
        assert local.date() == each.session.date
        assert each.warnings == ()


def test_a_literal_line_closes_after_the_bell_on_77_sessions():
    plan = plan_schedule(
        timetable({"moc_close": PASTED["moc_close"]}, adjust=False), ALL
    )
    late = [each for each in plan if each.at >= each.session.close]
    assert Counter(each.session.date.year for each in late) == {
        2025: 23,
        2026: 22,
        2027: 15,
        2028: 17,
    }
    warned = {each.session.date for each in plan if each.warnings}
    assert warned == {each.session.date for each in late}


def test_a_pasted_line_is_moved_on_exactly_those_sessions():
    plan = plan_schedule(timetable({"moc_close": PASTED["moc_close"]}), ALL)
    moved = [each for each in plan if each.moved_reason]
    assert len(moved) == 77
    assert all(each.literal_at is not None for each in moved)
    assert all(each.literal_at is None for each in plan if not each.moved_reason)


def test_march_2026_keeps_new_york_time_through_the_skew_weeks():
    march = rows(DEFAULTS, date(2026, 3, 2), date(2026, 3, 31))
    assert len(march) == 22
    skew = [row["date"] for row in march if "skew week" in row["marks"]]
    assert (skew[0], skew[-1], len(skew)) == ("2026-03-09", "2026-03-27", 15)
    for row in march:
        assert row["session"] is True
        assert (row["open"]["exchange"], row["close"]["exchange"]) == ("09:30", "16:00")
        assert row["cutoff"]["exchange"] == "15:50"
        assert times(row, "exchange") == FULL
        if row["date"] in skew:
            assert (row["open"]["local"], row["close"]["local"]) == ("14:30", "21:00")
            assert row["cutoff"]["local"] == "20:50"
            assert times(row, "local") == {
                "readiness": "14:25",
                "submit": "14:35",
                "risk": "20:20",
                "moc_close": "20:40",
                "eod_report": "21:05",
            }
        else:
            assert (row["open"]["local"], row["close"]["local"]) == ("15:30", "22:00")
            assert row["cutoff"]["local"] == "21:50"
            assert times(row, "local")["moc_close"] == "21:40"


def test_the_holidays_and_half_days_of_late_2026_stand_in_the_table():
    late = rows(DEFAULTS, date(2026, 11, 23), date(2026, 12, 31))
    by_date = {row["date"]: row for row in late}
    closed = {row["date"]: row["marks"] for row in late if not row["session"]}
    assert closed == {"2026-11-26": ["Thanksgiving"], "2026-12-25": ["Christmas"]}
    half = [row["date"] for row in late if row["marks"] == ["half-day"]]
    assert half == ["2026-11-27", "2026-12-24"]
    for day in half:
        row = by_date[day]
        assert (row["close"]["exchange"], row["close"]["local"]) == ("13:00", "19:00")
        assert (row["cutoff"]["exchange"], row["cutoff"]["local"]) == ("12:50", "18:50")
        assert times(row, "exchange") == HALF
        assert times(row, "local")["moc_close"] == "18:40"
    assert times(by_date["2026-11-30"], "local")["moc_close"] == "21:40"
    assert len(late) == 29


def test_a_row_is_ready_for_json_and_carries_its_zones():
    (row,) = rows(
        {"moc_close": PASTED["moc_close"]}, date(2026, 11, 27), date(2026, 11, 27)
    )
    assert row == {
        "date": "2026-11-27",
        "weekday": "Fri",
        "exchange_zone": "America/New_York",
        "local_zone": "Europe/Budapest",
        "session": True,
        "marks": ["half-day"],
        "notes": [],
        "open": {
            "at": "2026-11-27T09:30:00-05:00",
            "exchange": "09:30",
            "local": "15:30",
        },
        "close": {
            "at": "2026-11-27T13:00:00-05:00",
            "exchange": "13:00",
            "local": "19:00",
        },
        "cutoff": {
            "at": "2026-11-27T12:50:00-05:00",
            "exchange": "12:50",
            "local": "18:50",
        },
        "jobs": [
            {
                "job": "moc_close",
                "at": "2026-11-27T12:40:00-05:00",
                "exchange": "12:40",
                "local": "18:40",
                "literal": {
                    "at": "2026-11-27T15:40:00-05:00",
                    "exchange": "15:40",
                    "local": "21:40",
                },
                "moved": "moved from 21:40 to 18:40 Europe/Budapest to stay 20 min"
                " before the close (the close is 13:00 America/New_York)",
                "warnings": [],
            }
        ],
    }


def test_a_skew_week_says_how_far_the_clocks_are_apart():
    (row,) = rows({"submit": PASTED["submit"]}, date(2026, 10, 26), date(2026, 10, 26))
    assert row["notes"] == [
        "Europe/Budapest is +5 h from America/New_York, usually +6 h"
    ]
    assert row["jobs"][0]["moved"] == (
        "moved from 15:35 to 14:35 Europe/Budapest to stay 5 min after the open"
        " (Europe/Budapest is +5 h from America/New_York, usually +6 h)"
    )


def test_a_holiday_names_the_pasted_lines_that_do_not_fire():
    jobs = {**DEFAULTS, "moc_close": PASTED["moc_close"]}
    (row,) = rows(jobs, date(2026, 4, 3), date(2026, 4, 3))
    assert row["marks"] == ["Good Friday"]
    assert row["notes"] == ["not fired: moc_close"]
    assert row["jobs"] == []
    assert row["close"] is None


def test_a_closure_without_a_name_is_marked_all_the_same():
    (row,) = rows(DEFAULTS, date(2025, 1, 9), date(2025, 1, 9))
    assert (row["session"], row["marks"]) == (False, ["no session"])


def test_a_weekend_makes_no_row():
    assert rows(DEFAULTS, date(2026, 2, 21), date(2026, 2, 22)) == []


def test_a_time_on_another_local_date_says_so():
    (row,) = schedule_rows(
        timetable(DEFAULTS),
        CALENDAR.sessions(date(2026, 6, 11), date(2026, 6, 11)),
        (date(2026, 6, 11), date(2026, 6, 11)),
        "Asia/Tokyo",
        {},
    )
    assert (row["open"]["local"], row["close"]["local"]) == ("22:30", "05:00+1d")


def warnings(jobs, day, *, adjust=True):
    return {
        each.job: list(each.warnings)
        for each in planned(jobs, day, day, adjust=adjust)
        if each.warnings
    }


def test_jobs_at_the_same_instant_are_named():
    jobs = {"submit": "open+5m", "probe": "35 9 * * 1-5 America/New_York"}
    assert warnings(jobs, date(2026, 2, 19)) == {
        "probe": ["at the same time as submit"],
        "submit": ["at the same time as probe"],
    }


@pytest.mark.parametrize(
    ("when", "warning"),
    [
        ("close-10m", "15:50 America/New_York is at or after the MOC cutoff"),
        ("close-1m", "15:59 America/New_York is at or after the MOC cutoff"),
        ("close+0m", "16:00 America/New_York is at or after the close"),
        ("40 16 * * 1-5 America/New_York", "16:40 America/New_York is at or after"),
    ],
)
def test_a_close_job_behind_the_cutoff_is_warned_of_every_day(when, warning):
    (text,) = warnings({"moc_close": when}, date(2026, 2, 19))["moc_close"]
    assert text.startswith(warning)


def test_a_close_job_just_before_the_cutoff_is_in_place():
    assert warnings({"moc_close": "close-11m"}, date(2026, 2, 19)) == {}


def test_a_report_behind_the_close_is_in_place():
    assert warnings({"eod_report": "close+0m"}, date(2026, 2, 19)) == {}


def test_a_job_that_a_half_day_pushes_out_of_the_session_is_warned_of():
    assert warnings({"noon": "open+5h", "early": "close-5h"}, date(2026, 11, 27)) == {
        "noon": [
            "14:30 America/New_York is at or after the close, usually in the session"
        ],
        "early": ["08:00 America/New_York is before the open, usually in the session"],
    }


def test_a_literal_line_is_warned_of_with_place_and_reason():
    jobs = {"moc_close": PASTED["moc_close"]}
    assert warnings(jobs, date(2026, 3, 9), adjust=False) == {
        "moc_close": [
            "16:40 America/New_York is at or after the close, usually in the session",
            "kept literal: Europe/Budapest is +5 h from America/New_York, usually +6 h",
        ]
    }


def test_firings_are_in_order_of_time_then_name():
    plan = planned(DEFAULTS, date(2026, 2, 19), date(2026, 2, 20))
    assert [each.job for each in plan] == [*DEFAULTS, *DEFAULTS]
    assert [each.at for each in plan] == sorted(each.at for each in plan)
