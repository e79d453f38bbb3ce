"""D: the jobs keep their distance to the open and the close on every session."""

from __future__ import annotations

from datetime import date

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"


def plan_of(day):
    return f"execution_plan_run_{day:%Y%m%d}_130502_a1b2c3.csv"


def test_on_a_half_day_the_close_is_at_12_40(play_day):
    """D5: 2026-11-27 closes at 13:00; its cutoff is 12:50."""
    friday = date(2026, 11, 27)
    day = play_day(BLCO, LH, day=friday, plan_name=plan_of(friday))
    assert day.flat
    assert day.problems == []
    assert day.started == {
        "submit": "09:35",
        "moc_close": "12:40",
        "eod_report": "13:05",
    }
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert max(day.times("placed", order_type="MOC")) < "12:50:00"
    good_till = {order["good_till"] for order in day.records("placed", tif="GTD")}
    assert good_till == {"20261127-17:30:00"}


def test_in_the_weeks_when_only_new_york_has_changed_its_clocks_the_close_holds(
    play_day,
):
    """D2: from 03-08 to 03-28 a fixed 21:40 in Budapest was after the close."""
    tuesday = date(2026, 3, 10)
    day = play_day(BLCO, LH, day=tuesday, plan_name=plan_of(tuesday))
    assert day.flat
    assert day.problems == []
    assert day.started == {
        "submit": "09:35",
        "moc_close": "15:40",
        "eod_report": "16:05",
    }
    assert {order["at"][11:16] for order in day.records("placed")} == {
        "13:35",
        "19:40",
    }


def test_on_a_holiday_no_job_runs_and_the_daemon_lives(play_day):
    """D1: the scripts ran on Presidents' Day and on Good Friday."""
    thanksgiving = date(2026, 11, 26)
    day = play_day(BLCO, day=thanksgiving, plan_name=plan_of(thanksgiving))
    assert day.jobs == []
    assert day.placed == []
    assert day.told == []
    assert day.statuses == [0]
    assert day.times("connected") == ["09:00:00.000"]
    assert day.times("disconnected") == ["16:30:00.000"]
