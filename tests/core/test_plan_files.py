from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from daemon.core.model import Session
from daemon.core.plan_files import Choice, choose_plan, parse_stamp

SESSION = Session(
    date(2026, 4, 6),
    datetime(2026, 4, 6, 13, 30, tzinfo=UTC),
    datetime(2026, 4, 6, 20, 0, tzinfo=UTC),
)
PREVIOUS_CLOSE = datetime(2026, 4, 2, 20, 0, tzinfo=UTC)
DEADLINE = datetime(2026, 4, 6, 14, 0, tzinfo=UTC)

FRIDAY = "execution_plan_run_20260403_060000_aaaaaa.csv"
MORNING = "execution_plan_run_20260406_060000_0b1c2d.csv"
LATER = "execution_plan_run_20260406_101500_ffffff.csv"
YESTERDAY = "execution_plan_run_20260402_101500_ffffff.csv"
TOO_LATE = "execution_plan_run_20260406_140000_ffffff.csv"


def choose(*names):
    return choose_plan(names, SESSION, PREVIOUS_CLOSE, DEADLINE)


def test_the_newest_plan_of_this_session_counts_whatever_the_order():
    names = ("notes.txt", LATER, YESTERDAY, MORNING, FRIDAY)
    assert choose(*names) == choose(*reversed(names)) == Choice(LATER, "")


def test_a_plan_written_on_a_holiday_before_the_session_counts():
    assert choose(FRIDAY, YESTERDAY) == Choice(FRIDAY, "")


def test_a_plan_of_another_day_is_refused_by_name():
    assert choose("execution_plan_run_20260401_101500_ffffff.csv", YESTERDAY) == Choice(
        "",
        "no plan for the session 2026-04-06: the newest,"
        " execution_plan_run_20260402_101500_ffffff.csv, is of 2026-04-02 10:15:00 UTC,"
        " not after the previous session's close 2026-04-02 20:00:00 UTC",
    )


def test_a_plan_after_the_deadline_is_refused_by_name():
    assert choose(YESTERDAY, TOO_LATE) == Choice(
        "",
        "no plan for the session 2026-04-06: the newest,"
        " execution_plan_run_20260406_140000_ffffff.csv, is of 2026-04-06 14:00:00 UTC,"
        " after the submit deadline 2026-04-06 14:00:00 UTC",
    )


def test_a_plan_after_the_deadline_does_not_hide_the_one_before():
    assert choose(MORNING, TOO_LATE) == Choice(MORNING, "")


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("execution_plan_run_20260402_200000_aaaaaa.csv", False),
        ("execution_plan_run_20260402_200001_aaaaaa.csv", True),
        ("execution_plan_run_20260406_135959_aaaaaa.csv", True),
        ("execution_plan_run_20260406_140000_aaaaaa.csv", False),
    ],
)
def test_the_stamp_lies_strictly_between_last_close_and_deadline(name, fits):
    assert bool(choose(name).name) is fits


def test_without_any_plan_the_expected_name_is_told():
    assert choose("notes.txt").refusal == (
        "no plan for the session 2026-04-06: there is no file named"
        " execution_plan_run_YYYYMMDD_HHMMSS_xxxxxx.csv (UTC)"
    )


def test_a_name_that_is_nearly_right_is_told():
    assert choose("execution_plan_run_20260406.csv").refusal == (
        "no plan for the session 2026-04-06: execution_plan_run_20260406.csv is not"
        " named execution_plan_run_YYYYMMDD_HHMMSS_xxxxxx.csv (UTC)"
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "execution_plan_run_20260230_060000_aaaaaa.csv",
        "execution_plan_run_20260406_250000_aaaaaa.csv",
        "execution_plan_run_20260406_060000_aaaaaa.csv.part",
        "execution_plan_run_20260406_060000_aaaaa.csv",
        ".execution_plan_run_20260406_060000_aaaaaa.csv",
        "execution_plan_run_٢٠٢٦٠٤٠٦_060000_aaaaaa.csv",
    ],
)
def test_another_name_has_no_stamp(name):
    assert parse_stamp(name) is None
