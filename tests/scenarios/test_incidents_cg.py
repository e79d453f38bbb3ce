"""C4, G1, G4: shares counted twice, states that nobody told, jobs in one minute."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal

import pytest

from daemon.fakegateway.prices import Waypoint

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
PLAN = "execution_plan_run_20260219_143900_a1b2c3.csv"
LASR = "LASR 51 at 21.40 stop 20.80 targets 22.00 22.60"
"""Where the log-books give no price, a round number stands in for it."""


def path(*points):
    return [
        Waypoint(time.fromisoformat(at) if isinstance(at, str) else at, Decimal(price))
        for at, price in points
    ]


def taken_at(moment):
    """LASR fills in the morning, and touches the first target at *moment*."""
    before = {"11:00": "10:59:45", "15:39:45": "15:39:30"}[moment]
    after = {"11:00": "11:00:15", "15:39:45": "15:40"}[moment]
    return path(
        (0.0, "21.50"),
        (0.035, "21.30"),
        (before, "21.80"),
        (moment, "22.05"),
        (after, "21.80"),
        (1.0, "21.80"),
    )


# --- C4: subtracted twice -------------------------------------------------------------


@pytest.mark.parametrize("moment", ["11:00", "15:39:45"])
@pytest.mark.parametrize("lag_s", [0.0, 5.0])
def test_a_fill_that_the_position_holds_already_is_not_subtracted_again(
    play_day, moment, lag_s
):
    """C4: the fill of LASR was in the position and was subtracted again: 17 left."""
    day = play_day(
        LASR,
        paths={"LASR": taken_at(moment)},
        settings={"position_lag_s": lag_s},
    )
    taken = day.records("executed", order_ref="ibkrd:20260219:LASR:A:TP")
    assert sum(int(one["quantity"]) for one in taken) == 17
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"LASR": 34}
    assert min(int(one["quantity"]) for one in day.records("position")) == 0
    assert day.alarms == []


# --- G1: states that nobody told ------------------------------------------------------


@pytest.fixture(scope="module")
def untouched(play_once):
    """LH never comes down to its limit; the gateway takes two seconds to answer."""
    return play_once(
        BLCO,
        LH,
        fates={"LH": "never_filled"},
        settings={"latency_s": 2.0},
        state="untouched",
    )


def test_an_entry_that_never_fills_never_has_a_guarded_position(untouched):
    """G1: "trail active" stood in the state of positions that had never filled."""
    assert untouched.flat
    assert untouched.problems == []
    states = "SELECT DISTINCT state FROM order_states WHERE order_ref LIKE '%:LH:%'"
    assert {state for (state,) in untouched.sql(states)} <= {
        "sent",
        "acknowledged",
        "working",
        "cancelled",
        "expired",
    }
    filled = "SELECT max(CAST(filled AS REAL)) FROM order_states WHERE order_ref LIKE ?"
    assert untouched.sql(filled, "%:LH:%") == [(0,)]
    assert untouched.at_the_bell == {"BLCO": 270}
    assert untouched.report["totals"]["entries_filled"] == 2
    assert [m.text for m in untouched.messages("LH: 22")] == []


def test_no_order_is_called_at_work_before_the_broker_says_so(untouched):
    """G1: state was written at submit, not when the broker spoke."""
    query = "SELECT min(at) FROM order_states WHERE order_ref = ? AND state = 'working'"
    entries = [ref for ref in untouched.placed if ":EN" in ref]
    assert len(entries) == 4
    for ref in entries:
        (placed,) = untouched.records("placed", order_ref=ref)
        ((working,),) = untouched.sql(query, ref)
        waited = datetime.fromisoformat(working) - datetime.fromisoformat(placed["at"])
        assert waited >= timedelta(seconds=2), ref


# --- G4: two jobs in one minute -------------------------------------------------------


def test_a_close_in_the_submits_minute_leaves_nothing_half_sent(play_day):
    """G4: on 05-19 two jobs of one minute overwrote each other's state.

    The close has the orders until the cutoff; what it keeps waiting for too long is
    told as failed, and sends nothing beside it.
    """
    same = '[schedule]\nsubmit = "open+5m"\nmoc_close = "open+5m"\n'

    async def deeds(hands):
        hands.carry("IRDM", 190)

    day = play_day(BLCO, LH, config=same, deeds=deeds)
    assert day.started["submit"] == day.started["moc_close"] == "09:35"
    assert day.placed == ["ibkrd:20260219:IRDM:X:MOC"]
    assert day.flat
    assert day.problems == []
    assert dict(day.jobs) == {
        "moc_close": "done",
        "submit": "failed",
        "eod_report": "done",
    }
    (told,) = day.alarms
    assert told.subject == "submit failed"


def test_a_close_that_is_due_while_the_submit_runs_waits_for_its_end(play_day):
    """G4: the plan comes late; what is closed is the whole of what was sent."""
    beside = '[schedule]\nsubmit = "open+5m"\nmoc_close = "open+6m"\n'

    async def deeds(hands):
        hands.carry("IRDM", 190)
        await hands.until("09:40")
        hands.write_plan(PLAN, hands.stage.spec.plan_text)

    day = play_day(BLCO, LH, plan_name="", config=beside, deeds=deeds)
    assert day.started["moc_close"] == "09:36"
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    assert dict(day.jobs) == dict.fromkeys(
        ("submit", "moc_close", "eod_report"), "done"
    )
    ((ended,),) = day.sql("SELECT ended_at FROM runs WHERE job = 'submit'")
    closing = day.records("placed", order_type="MOC")
    first = min(record["at"] for record in [*closing, *day.records("cancel_requested")])
    entries = [r["at"] for r in day.records("placed") if ":X:" not in r["order_ref"]]
    assert len(entries) == 12
    assert max(entries) < ended < first
    assert day.flat
    assert day.problems == []
