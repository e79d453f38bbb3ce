"""B: sent is not accepted is not filled; each incident on a day of its own.

Where the log-books give no shares or price, a round number stands in for them.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from daemon.fakegateway.plot import (
    FillBeyondCancel,
    LateReject,
    Reject,
    Remark,
    Swallow,
)

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
NBIS = "NBIS 60 at 97.80 stop 94.80 targets 100.80 103.80"
ARMN = "ARMN 300 at 16.60 stop 16.10 targets 17.10 17.60"
CUK = "CUK 377 at 31.20 stop 30.20 targets 32.20 33.20"
LBRT = "LBRT 240 at 27.30 stop 26.30 targets 28.30 29.30"
EC = "EC 320 at 10.20 stop 9.80 targets 10.60 11.00"
VLO = "VLO 16 at 203.70 stop 198.00 targets 209.00 215.00"
ON = "ON 27 at 71.20 stop 69.00 targets 73.00 75.00"
CNC = "CNC 95 at 41.90 stop 40.50 targets 43.00 44.50"
EIGHT = (
    BLCO,
    LH,
    NBIS,
    ARMN,
    CUK,
    VLO,
    ON,
    CNC,
)
ALGO = (
    "Order rejected - reason:The Adaptive algorithm is not available for this contract."
)


def plotted(*faults):
    """Return the deeds that lay these faults before the morning's orders."""

    async def deeds(hands):
        for fault in faults:
            hands.gateway.plot(fault)

    return deeds


def rows_add_up(day):
    """Return the report's counts of rows, once they are their own sum."""
    rows = dict(day.report["rows"])
    total = rows.pop("total")
    outcomes = ("submitted", "skipped", "refused", "unknown")
    counts = {outcome: rows[outcome] for outcome in outcomes}
    assert sum(counts.values()) == total == len(day.rows)
    assert Counter(day.rows.values()) == +Counter(counts)
    return counts


# --- B3: refused, and silent ----------------------------------------------------------


def test_a_refused_entry_is_reported_with_symbol_leg_code_and_remedy(play_day):
    """B3: on 02-27 the entry of NBIS was refused (163), and nobody was told."""
    fault = Reject(leg="EN", symbol="NBIS", code=163)
    day = play_day(NBIS, LH, deeds=plotted(fault))
    assert day.flat
    assert day.problems == []
    assert day.rows == {"NBIS": "refused", "LH": "submitted"}
    (told,) = day.messages("Submit 2026-02-19")
    assert told.severity == "alarm"
    assert f"{told.at:%H:%M}" == "09:35"
    for words in (
        "NBIS: refused: A EN refused: 163 The following order violates the price",
        "B EN refused: 163",
        "163: gateway: widen Configuration > Presets > Stocks > Percentage",
    ):
        assert words in told.body
    assert "NBIS refused: A EN refused: 163" in day.messages("Report 2026")[0].body
    assert day.at_the_bell == {"LH": 22}


# --- B4: no order, no error -----------------------------------------------------------


def test_an_order_without_a_word_is_unknown_and_only_evidence_resolves_it(play_day):
    """B4: on 03-27 ARMN was "silently not submitted": no order, no error."""
    day = play_day(ARMN, LH, deeds=plotted(Swallow(symbol="ARMN")))
    assert day.flat
    assert day.problems == []
    unknown = day.sql(
        "SELECT order_ref, min(at) FROM order_states WHERE state = 'unknown'"
        " GROUP BY order_ref ORDER BY 1"
    )
    legs = ("A:EN", "A:SL", "A:TP", "B:EN", "B:SL", "B:TP")
    first = [(ref, at) for ref, at in unknown if not ref.endswith((":2", ":3"))]
    assert [ref for ref, _ in first] == [f"ibkrd:20260219:ARMN:{leg}" for leg in legs]
    assert {at[11:16] for _, at in first} == {"14:35"}
    (told, *_) = day.messages("6 order(s) of unknown fate")
    assert told.severity == "alarm"
    assert told.body.count("ibkrd:20260219:ARMN:") == 6
    assert f"{told.at:%H:%M}" == "09:35"
    # What goes out again is a new attempt, and not before the first one's absence
    # is proven by two complete answers ten seconds apart.
    again = [r for r in day.records("placed") if r["order_ref"].endswith(":2")]
    at = day.times("placed", order_ref="ibkrd:20260219:ARMN:A:EN")[0]
    assert at < "09:35:05"
    assert len(again) == 6
    assert min(time for r in again for time in _times(day, r)) > "09:35:42"
    assert max(Counter(day.placed).values()) == 1
    assert day.rows["LH"] == "submitted"
    assert day.rows["ARMN"] == "refused"
    assert "A EN never reached the broker (10147)" in day.reason("ARMN")
    assert rows_add_up(day)["submitted"] == 1


def _times(day, record):
    return day.times("placed", order_ref=record["order_ref"])


# --- B5: refused seconds after it was accepted ----------------------------------------


def test_eight_rows_that_are_refused_seconds_later_are_not_called_submitted(play_day):
    """B5: on 04-08 the log said "8 submitted", and the broker had 0."""
    fault = LateReject(leg="EN", code=201, after_s=3.0, text=ALGO)
    day = play_day(*EIGHT, deeds=plotted(fault), settings={"cash": Decimal(2_000_000)})
    assert day.flat
    assert day.problems == []
    assert day.records("executed") == []
    entries = [ref for ref in day.placed if ref.endswith(":EN")]
    assert len(entries) == 16
    late = [m for m in day.alarms if "order refused" in m.subject]
    assert sorted(m.body.partition(": ")[0] for m in late) == sorted(entries)
    assert {f"{m.at:%H:%M}" for m in late} == {"09:35"}
    assert {day.states[ref] for ref in entries} == {"rejected"}
    assert rows_add_up(day) == {
        "submitted": 0,
        "skipped": 0,
        "refused": 8,
        "unknown": 0,
    }
    report = day.messages("Report 2026-02-19")[0].body
    assert report.count("A EN refused: 201 Order rejected - reason:The Adaptive") == 8


# --- B7: no trace of a row ------------------------------------------------------------


def test_the_rows_of_the_plan_are_the_sum_of_their_outcomes(play_day):
    """B7: on 05-08 CUK 377 stood in the plan, and there was no trace of an order."""
    faults = Swallow(symbol="CUK"), Reject(leg="EN", symbol="NBIS", code=163)
    day = play_day(
        CUK,
        NBIS,
        LH,
        "NVDA 300 at 187.90 stop 180.00 targets 195.00 205.00",
        deeds=plotted(*faults),
    )
    assert day.flat
    assert day.problems == []
    assert sorted(day.rows) == ["CUK", "LH", "NBIS", "NVDA"]
    counts = rows_add_up(day)
    assert counts["submitted"] == 1
    assert counts["skipped"] == 1
    assert counts["refused"] + counts["unknown"] == 2
    assert day.reason("CUK")
    assert "CUK" in day.messages("Report 2026-02-19")[0].body


# --- B8: called cancelled, and filled -------------------------------------------------


def test_what_10349_calls_cancelled_fills_and_is_counted(play_day):
    """B8: on 05-18 LBRT and EC were reported Cancelled (10349), and all filled."""
    day = play_day(
        LBRT,
        EC,
        deeds=plotted(Remark(leg="EN", code=10349, after_s=0.1)),
        seed=4,
    )
    assert day.flat
    assert day.problems == []
    entries = [f"ibkrd:20260219:{s}:{b}:EN" for s in ("LBRT", "EC") for b in "AB"]
    assert {day.states[ref] for ref in entries} == {"filled"}
    never = day.sql(
        "SELECT order_ref, state FROM order_states WHERE order_ref LIKE '%:EN'"
        " AND state IN ('cancelled', 'rejected', 'unknown')"
    )
    assert never == []
    assert rows_add_up(day)["submitted"] == 2
    assert day.report["totals"]["bought_shares"] == 560
    assert day.at_the_bell == {"EC": 320, "LBRT": 240}
    assert day.alarms == []


def test_a_fill_after_cancelled_is_counted_and_closed(play_day):
    """B8: a late fill after "Cancelled" is legal.

    The close cancels the entries, and half a second later the broker fills them.
    """
    day = play_day(
        LBRT,
        EC,
        fates={"LBRT": "never_filled", "EC": "never_filled"},
        deeds=plotted(FillBeyondCancel(leg="EN", after_s=0.5)),
        config="[rules]\nentries_die_before_close_s = 600.0\n",
    )
    assert day.problems == []
    bought = {r["symbol"] for r in day.records("executed", side="BUY")}
    assert bought == {"EC", "LBRT"}
    assert day.flat
    assert day.report["totals"]["bought_shares"] == 560
    assert day.at_the_bell == {"EC": 320, "LBRT": 240}
    entries = [f"ibkrd:20260219:{s}:{b}:EN" for s in ("LBRT", "EC") for b in "AB"]
    assert {day.states[ref] for ref in entries} == {"filled"}


# --- B9: which code it was ------------------------------------------------------------


def test_the_message_names_the_code_that_ended_the_order_not_the_one_beside_it(
    play_day,
):
    """B9: on 05-20 354 cancelled VLO 16, ON 27 and CNC 95; 10349 stood beside it."""
    faults = (
        Remark(leg="EN", code=10349, after_s=0.2),
        LateReject(leg="EN", code=354, after_s=2.0),
    )
    day = play_day(VLO, ON, CNC, deeds=plotted(*faults))
    assert day.flat
    assert day.problems == []
    entries = [ref for ref in day.placed if ref.endswith(":EN")]
    assert len(entries) == 6
    query = "SELECT code FROM order_states WHERE order_ref = ? ORDER BY id DESC LIMIT 1"
    assert {day.sql(query, ref)[0][0] for ref in entries} == {354}
    assert {day.states[ref] for ref in entries} == {"rejected"}
    assert day.records("order_error", code=10349)
    for symbol in ("VLO", "ON", "CNC"):
        told = day.messages(f"{symbol}: order refused (354)")
        legs = {m.body.partition(": ")[0].split(":", 3)[3] for m in told}
        assert {"A:EN", "B:EN"} <= legs
        assert all("Bypass Order Precautions for API Orders" in m.body for m in told)
    assert [m for m in day.told if "10349" in m.text] == []
    assert day.rows == {"VLO": "refused", "ON": "refused", "CNC": "refused"}


# --- B10: one order, many executions --------------------------------------------------


@pytest.fixture(scope="module")
def parts(play_once):
    """A day of many partial executions, with a restart that repeats all of them."""

    async def deeds(hands):
        await hands.until("12:00")
        await hands.stop_daemon()
        await hands.until("12:05")
        hands.start_daemon()

    settings = {"commissions_on_connect": True}
    return play_once(BLCO, LH, seed=3, deeds=deeds, settings=settings, state="parts")


def test_quantities_and_commissions_are_summed_by_execution(parts):
    """B10: on 04-24 one order was filled in many executions."""
    assert parts.flat
    assert parts.problems == []
    executed = parts.records("executed")
    entries = [one for one in executed if one["order_ref"].endswith(":EN")]
    assert len(entries) > 4
    totals = parts.report["totals"]
    assert totals["executions"] == len(executed)
    assert totals["bought_shares"] == 292
    paid = sum(Decimal(one["amount"]) for one in parts.records("commission"))
    assert Decimal(str(totals["commission"])) == paid > 0


def test_counts_are_per_order_and_not_per_execution(parts):
    """B10: one order filled in many executions is one entry and one trade."""
    assert parts.report["totals"]["entries_filled"] == 4
    assert rows_add_up(parts)["submitted"] == 2
