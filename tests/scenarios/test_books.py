"""The books: what was held before, whose shares they are, and what comes late."""

from __future__ import annotations

from decimal import Decimal

import pytest

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
OWN = '[rules]\nscope = "own"\n'


# --- what the account held before the first day ------------------------------------


@pytest.fixture(scope="module")
def carried(play_once):
    async def deeds(hands):
        hands.carry("IBM", 100, "250.00")

    return play_once(LH, deeds=deeds, state="carried")


def test_a_carried_position_that_is_closed_is_reconciled(carried):
    """F3: the books stood at IBM -100 against 0 at the broker, for ever."""
    assert carried.flat
    assert carried.problems == []
    assert carried.at_the_bell == {"IBM": 100, "LH": 22}
    certificate = carried.report["certificate"]
    assert certificate["differences"] == []
    assert certificate["certified"] is True
    assert carried.jobs[-1] == ("eod_report", "done")
    assert carried.alarms == []


def test_its_result_is_counted_from_its_average_cost(carried):
    (trade,) = [t for t in carried.report["trades"] if t["ticker"] == "IBM"]
    assert (trade["entry_price"], trade["quantity"]) == (250, 100)
    assert trade["exit_type"] == "MOC"
    assert carried.report["open"] == []


def test_the_report_names_the_opening(carried):
    (opening,) = carried.report["opening"]
    assert (opening["symbol"], opening["quantity"]) == ("IBM", 100)
    assert opening["average_cost"] == 250
    assert opening["as_of"].startswith("2026-02-19 09:00:0")


def test_executions_of_the_auction_are_not_called_late(carried):
    sold = carried.times("executed", side="SELL")
    assert min(sold) > "16:00:00"
    assert carried.report["late_fills"] == []
    assert carried.messages("after the close") == []


# --- scope own -----------------------------------------------------------------------


def test_with_scope_own_what_others_hold_alarms_nobody(play_day):
    """The account is shared: 36 EMN and what is done with them are not ours."""

    async def deeds(hands):
        hands.carry("EMN", 36, "74.00")
        await hands.until("11:00")
        hands.by_hand("SELL", 6, "EMN")
        hands.by_hand("BUY", 20, "IBM")

    day = play_day(BLCO, deeds=deeds, config=OWN)
    assert day.at_the_bell == {"BLCO": 270}
    assert day.messages("NOT FLAT") == []
    certificate = day.report["certificate"]
    assert certificate["remainder"] == []
    assert certificate["differences"] == []
    assert certificate["certified"] is True
    assert day.alarms == []
    assert day.jobs[-1] == ("eod_report", "done")


# --- what is no whole share ----------------------------------------------------------


def test_a_fraction_of_a_share_lets_the_close_end_well(play_day):
    async def deeds(hands):
        gateway = hands.gateway
        gateway.endow("DU1234567", "IBM", Decimal("100.5"), Decimal("250.00"))

    day = play_day(LH, deeds=deeds)
    assert day.at_the_bell == {"IBM": 100, "LH": 22}
    assert ("moc_close", "done") in day.jobs
    certificate = day.report["certificate"]
    assert (certificate["flat"], certificate["differences"]) == (True, [])
    (close,) = day.messages("Close 2026-02-19")
    assert "IBM: 0.5 of a share stays; close it by hand" in close.body
    assert day.alarms == []


# --- a late auction ------------------------------------------------------------------


def test_a_closing_order_that_waits_for_a_late_auction_is_left_alone(play_day):
    """C12: at close+5m the market-on-close orders still worked, and were cancelled."""
    day = play_day(BLCO, LH, settings={"auction_delay_s": 420.0})
    assert min(day.times("executed", side="SELL")) > "16:07:00"
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert day.logged("orders.left_over") == []
    assert day.verdict.positions_at_end == {}
    assert set(day.states.values()) == {"filled", "cancelled"}
    assert day.report["certificate"]["certified"] is True
