"""`ibkrd schedule`: the weeks in which only one side has changed its clocks."""

from __future__ import annotations

import json

import time_machine


def rows(ended):
    """Return the table's rows by date, as lists of cells."""
    assert ended.status == 0
    found = {}
    for line in ended.out.splitlines():
        cells = [cell.strip() for cell in line.split("   ") if cell.strip()]
        if cells and cells[0][4:8] == "2026":
            found[cells[0][4:]] = cells[1:]
    return found


ORDINARY = [
    "09:30 / 15:30",
    "16:00 / 22:00",
    "15:50 / 21:50",
    "09:35 / 15:35",
    "15:40 / 21:40",
    "16:05 / 22:05",
]
SKEWED = [
    "09:30 / 14:30",
    "16:00 / 21:00",
    "15:50 / 20:50",
    "09:35 / 14:35",
    "15:40 / 20:40",
    "16:05 / 21:05",
]
HALF_DAY = [
    "09:30 / 15:30",
    "13:00 / 19:00",
    "12:50 / 18:50",
    "09:35 / 15:35",
    "12:40 / 18:40",
    "13:05 / 19:05",
]


def test_the_skew_weeks_of_march_show_both_zones(ibkrd):
    shown = rows(ibkrd("schedule", "--from", "2026-03-02", "--to", "2026-03-31"))
    assert len(shown) == 22
    skewed = [day for day, cells in shown.items() if cells[:6] == SKEWED]
    assert skewed == [
        f"2026-03-{day:02}" for day in (*range(9, 14), *range(16, 21), *range(23, 28))
    ]
    others = [cells[:6] for day, cells in shown.items() if day not in skewed]
    assert others == [ORDINARY] * 7


def test_the_half_days_of_autumn_are_marked_and_their_jobs_moved(ibkrd):
    shown = rows(ibkrd("schedule", "--from", "2026-11-23", "--to", "2026-12-31"))
    halves = {day: cells for day, cells in shown.items() if cells[:6] == HALF_DAY}
    assert list(halves) == ["2026-11-27", "2026-12-24"]
    assert shown["2026-11-26"][0] == shown["2026-12-25"][0] == "-"
    assert "Thanksgiving" in shown["2026-11-26"][-1]
    ordinary = [cells for cells in shown.values() if cells[:6] == ORDINARY]
    assert len(ordinary) == len(shown) - 4


def test_json_says_the_same_as_the_table(ibkrd):
    asked = ("schedule", "--from", "2026-11-27", "--to", "2026-11-27")
    (row,) = json.loads(ibkrd(*asked, "--json").out)["days"]
    assert (row["date"], row["cutoff"]["exchange"]) == ("2026-11-27", "12:50")
    assert [(job["job"], job["exchange"], job["local"]) for job in row["jobs"]] == [
        ("submit", "09:35", "15:35"),
        ("moc_close", "12:40", "18:40"),
        ("eod_report", "13:05", "19:05"),
    ]


def test_a_pasted_crontab_line_is_moved_with_the_session_and_says_so(ibkrd):
    options = ibkrd.configured(
        '[schedule]\nmoc_close = "40 21 * * 1-5 Europe/Budapest"\n'
    )
    asked = (*options, "schedule", "--from", "2026-03-06", "--to", "2026-03-09")
    ended = ibkrd(*asked)
    shown = rows(ended)
    assert shown["2026-03-06"][4] == "15:40 / 21:40"
    assert shown["2026-03-09"][4] == "15:40 / 20:40"
    assert "2026-03-09 moc_close: " in ended.out


def test_today_is_the_exchanges_date(ibkrd):
    """At 21:00 in New York it is the next day already in UTC and in Budapest."""
    with time_machine.travel("2026-02-20T02:00:00Z", tick=False):
        shown = rows(ibkrd("schedule", "--days", "0"))
    assert list(shown) == ["2026-02-19"]


ALL_DAYS = "Mon Tue Wed Thu Fri Sat Sun"
WEEK, FRIDAY = "2026-02-16 2026-02-22", "2026-02-20 2026-02-20"


def windows(ended):
    """Return the lines of the planned windows, blanks made equal."""
    lines = [line.split() for line in ended.out.splitlines()]
    names = ("nightly reset", "weekend maintenance", "gateway restart", "weekly login")
    return [line for line in map(" ".join, lines) if line.startswith(names)]


def test_the_planned_windows_of_the_days_are_shown_in_both_zones(ibkrd):
    ended = ibkrd("schedule", "--from", "2026-02-16", "--to", "2026-02-22")
    assert windows(ended) == [
        f"nightly reset 00:15-01:45 06:15-07:45 Mon Tue Wed Thu Fri Sun {WEEK}",
        f"gateway restart 17:45-18:00 23:45-00:00+1d {ALL_DAYS} {WEEK}",
        f"weekend maintenance 23:00-03:00+1d 05:00+1d-09:00+1d Fri {FRIDAY}",
        "weekly login 01:00-12:00 07:00-18:00 Sun 2026-02-22 2026-02-22",
    ]


def test_a_window_in_a_skew_week_is_a_line_of_its_own(ibkrd):
    """New York changes on 2026-03-08: the reset comes an hour earlier in Budapest."""
    ended = ibkrd("schedule", "--from", "2026-03-05", "--to", "2026-03-10")
    resets = [line for line in windows(ended) if line.startswith("nightly reset")]
    assert resets == [
        "nightly reset 00:15-01:45 06:15-07:45 Thu Fri Sun 2026-03-05 2026-03-08",
        "nightly reset 00:15-01:45 05:15-06:45 Mon Tue 2026-03-09 2026-03-10",
    ]


def test_the_windows_stand_in_the_json_with_their_instants(ibkrd):
    asked = ("schedule", "--from", "2026-02-21", "--to", "2026-02-22", "--json")
    shown = json.loads(ibkrd(*asked).out)
    assert shown["days"] == []
    assert [(row["window"], row["from"], row["to"]) for row in shown["windows"]] == [
        (
            "gateway restart",
            "2026-02-21T17:45:00-05:00",
            "2026-02-21T18:00:00-05:00",
        ),
        ("nightly reset", "2026-02-22T00:15:00-05:00", "2026-02-22T01:45:00-05:00"),
        ("weekly login", "2026-02-22T01:00:00-05:00", "2026-02-22T12:00:00-05:00"),
        (
            "gateway restart",
            "2026-02-22T17:45:00-05:00",
            "2026-02-22T18:00:00-05:00",
        ),
    ]


def test_a_window_that_is_switched_off_is_not_shown(ibkrd):
    options = ibkrd.configured(
        '[windows]\nreset = ""\nothers = ["tue 10:00-11:00 Europe/Budapest"]\n'
    )
    asked = ("schedule", "--from", "2026-02-16", "--to", "2026-02-18")
    out = ibkrd(*options, *asked).out
    assert "nightly reset" not in out
    assert "tue 10:00-11:00 Europe/Budapest" in out
