"""B: sent is not accepted is not filled, and every row is accounted for."""

from __future__ import annotations

from datetime import time
from decimal import Decimal

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
ZZTOP = "ZZTOP 90 at 10.00 stop 9.00 targets 11.00 12.00"
SBRA = "SBRA 560 at 20.10 stop 19.50 targets 20.90 21.60"


def assert_rows_add_up(day, **counts):
    """B7: rows = submitted + skipped + refused + unknown, in journal and report."""
    rows = day.report["rows"]
    assert {status: rows[status] for status in counts} == counts
    assert rows["total"] == len(day.rows) == sum(counts.values())
    assert (
        rows["submitted"] + rows["skipped"] + rows["refused"] + rows["unknown"]
        == rows["total"]
    )


def test_a_row_that_the_broker_does_not_know_is_refused_and_the_rest_goes_on(play_day):
    """B3: every refusal is reported with symbol and code."""
    day = play_day(ZZTOP, BLCO)
    assert day.flat
    assert day.problems == []
    assert day.rows == {"ZZTOP": "refused", "BLCO": "submitted"}
    assert_rows_add_up(day, submitted=1, skipped=0, refused=1, unknown=0)
    told = "200: No security definition has been found for the request"
    assert day.reason("ZZTOP") == told
    (submit,) = day.messages("Submit 2026-02-19")
    assert submit.severity == "alarm"
    assert submit.body == f"ZZTOP: refused: {told}"
    assert f"ZZTOP refused: {told}" in day.messages("Report 2026-02-19")[0].body


def test_a_leg_above_the_gateways_own_preset_is_named_with_its_remedy(play_day):
    """B6: on 04-09 SBRA's leg of 560 was refused (383), and nobody was told."""
    day = play_day(SBRA, LH, settings={"size_preset": 300})
    assert day.flat
    assert day.problems == []
    states = day.states
    assert states["ibkrd:20260219:SBRA:A:EN"] == "filled"
    assert states["ibkrd:20260219:SBRA:B:EN"] == "rejected"
    assert states["ibkrd:20260219:SBRA:B:TP"] == "rejected"
    assert states["ibkrd:20260219:SBRA:B:SL"] == "rejected"
    assert day.at_the_bell == {"LH": 22, "SBRA": 185}
    assert_rows_add_up(day, submitted=2, skipped=0, refused=0, unknown=0)
    assert "B EN refused: 383" in day.reason("SBRA")
    (told,) = day.messages("SBRA: submitted: B EN refused: 383")
    assert told.severity == "alarm"
    assert "raise the preset's size limit, or set size_preset to it" in told.body


def test_a_row_whose_entries_are_all_refused_is_refused(play_day):
    """B5: the log said "8 submitted", the broker had 0."""
    day = play_day(SBRA, LH, settings={"size_preset": 100})
    assert day.flat
    assert day.problems == []
    assert day.rows == {"SBRA": "refused", "LH": "submitted"}
    assert_rows_add_up(day, submitted=1, skipped=0, refused=1, unknown=0)
    assert day.at_the_bell == {"LH": 22}


def test_limits_of_the_row_and_of_the_day_skip_in_file_order(play_day):
    """E4: per-row and per-day limits are checked before anything is sent."""
    day = play_day(
        "NVDA 300 at 187.90 stop 180.00 targets 195.00 205.00",
        "VLO 240 at 203.70 stop 200.00 targets 210.00 220.00",
        "JPM 160 at 307.60 stop 300.00 targets 320.00 330.00",
        "MSFT 120 at 399.60 stop 390.00 targets 410.00 420.00",
        "SPY 70 at 686.30 stop 680.00 targets 690.00 700.00",
        "AAPL 180 at 265.40 stop 260.00 targets 270.00 275.00",
        BLCO,
    )
    assert day.flat
    assert day.problems == []
    assert_rows_add_up(day, submitted=5, skipped=2, refused=0, unknown=0)
    assert day.reason("NVDA") == (
        "300 x 187.90 = 56370.00 USD is above the row limit of 50000 USD"
    )
    assert day.reason("AAPL") == (
        "180 x 265.40 = 47772.00 USD on top of 194097.00 USD is above the day limit of "
        "200000 USD"
    )
    sent = {ref.split(":")[2] for ref in day.placed}
    assert sent == {"BLCO", "JPM", "MSFT", "SPY", "VLO"}


def test_a_row_that_the_account_cannot_pay_for_is_skipped(play_day):
    day = play_day(BLCO, LH, settings={"cash": Decimal(8000)})
    assert day.flat
    assert day.problems == []
    assert day.rows == {"BLCO": "submitted", "LH": "skipped"}
    assert day.reason("LH") == (
        "22 x 272.40 = 5992.80 USD on top of 4644.00 USD is above the available funds "
        "of 8000.00 USD"
    )


def test_a_plan_without_a_single_good_row_still_ends_in_a_full_account(play_day):
    """B7: CUK 377 stood in the plan, and there was no trace of an order."""
    day = play_day("CUK 1 at 31.20 stop 30.00 targets 32.00 33.00", ZZTOP)
    assert day.flat
    assert day.problems == []
    assert day.placed == []
    assert_rows_add_up(day, submitted=0, skipped=1, refused=1, unknown=0)
    (submit,) = day.messages("Submit 2026-02-19")
    assert "2 rows: 0 submitted, 1 skipped, 1 refused, 0 unknown" in submit.subject


def test_a_read_only_gateway_is_named_with_its_remedy(play_day):
    """B3: the message says what to change in the gateway's settings."""
    day = play_day(BLCO, settings={"read_only": True}, end=time(9, 2))
    (alarm,) = day.alarms
    assert f"{alarm.at:%H:%M:%S}" == "09:00:30"
    assert (
        "the gateway's API is read-only: clear 'Read-Only API' in its settings "
        "(Configure > API > Settings)"
    ) in alarm.body
    assert day.placed == []


def test_executions_in_many_parts_count_as_one_order(play_day):
    """B10: one order filled in many executions."""
    day = play_day(BLCO, LH, seed=3)
    assert day.flat
    assert day.problems == []
    entries = day.records("executed", side="BUY")
    assert len(entries) > 4
    assert day.report["totals"]["entries_filled"] == 4
    assert day.report["totals"]["bought_shares"] == 292


def test_commissions_that_come_a_minute_late_are_waited_for(play_day):
    """F6: three exits were booked 0.00 because their commissions came later."""
    day = play_day(BLCO, LH, settings={"commission_delay_s": 290.0})
    assert day.flat
    assert day.problems == []
    paid = sum(Decimal(one["amount"]) for one in day.records("commission"))
    assert Decimal(str(day.report["totals"]["commission"])) == paid > 0
    assert day.report["pending_commissions"] == []


def test_commissions_that_never_come_are_named_as_pending(play_day):
    """F6: what is pending is named, never booked as 0."""
    day = play_day(BLCO, settings={"commission_delay_s": 1200.0})
    assert day.flat
    assert day.problems == []
    (report,) = day.messages("Report 2026-02-19")
    assert f"{report.at:%H:%M}" == "16:10"
    assert report.severity == "warning"
    assert "Commission pending for" in report.body
