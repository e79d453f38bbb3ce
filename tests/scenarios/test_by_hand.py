"""What happens beside the close: by hand, on the wire, to the clock, to the journal."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"


def test_closing_orders_that_somebody_cancels_are_told_and_sent_again(play_day):
    async def deeds(hands):
        await hands.until("15:44")
        hands.gateway.global_cancel(0)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert {told.severity for told in day.messages("closing order cancelled")} == {
        "alarm"
    }
    assert "ibkrd:20260219:BLCO:X:MOC:2" in day.placed


def test_a_position_sold_by_hand_is_not_sold_again(play_day):
    """C14: hand-entered orders closed VLO and ON; the broker's truth wins."""

    async def deeds(hands):
        await hands.until("15:42")
        hands.by_hand("SELL", 270, "BLCO")

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.at_the_bell == {"LH": 22}
    assert day.verdict.positions_at_end.get(("DU1234567", "BLCO"), 0) == 0
    (told,) = day.messages("unexpected short position or excess")
    assert told.severity == "alarm"


def test_a_position_bought_by_hand_is_closed_too(play_day):
    async def deeds(hands):
        await hands.until("15:45")
        hands.by_hand("BUY", 100, "CNX")

    day = play_day(BLCO, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "CNX": 100}


def test_a_reference_of_ours_on_somebody_elses_order_covers_nothing(play_day):
    """C6: quantity comes from the broker, not from matching names."""

    async def deeds(hands):
        await hands.until("15:30")
        hands.by_hand(
            "SELL", 89, "BLCO", order_type="LMT", limit_price=30,
            order_ref="ibkrd:20260219:BLCO:X:MOC",
        )  # fmt: skip

    day = play_day(BLCO, deeds=deeds)
    (told,) = day.messages("not everything will close")
    assert told.severity == "alarm"
    assert "89 under order 1 of client 0" in told.body


def test_a_host_clock_that_is_ahead_sells_nothing_twice(play_day):
    """D: executions carry the broker's time."""

    async def deeds(hands):
        await hands.until("15:30")
        hands.step_clock(12)

    day = play_day(BLCO, LH, deeds=deeds, settings={"position_lag_s": 5.0})
    assert day.flat
    assert day.verdict.positions_at_end == {}


def test_a_lost_journal_sends_no_plan_twice(play_day):
    """I1: the completed and open orders carry our references."""

    async def deeds(hands):
        await hands.until("09:40")
        await hands.stop_daemon()
        for file in hands.stage.config.paths.state.glob("journal.sqlite*"):
            file.unlink()
        await hands.until("09:46")
        hands.start_daemon()

    day = play_day(BLCO, LH, deeds=deeds)
    assert [ref for ref in day.placed if ":EN" in ref] == sorted(
        {ref for ref in day.placed if ":EN" in ref}, key=day.placed.index
    )
    (told,) = day.messages("row(s) left alone")
    assert told.severity == "alarm"
    assert day.flat


def test_a_fill_that_the_positions_lack_is_waited_for(play_day):
    """C1: BHP and EGP filled after the close job had run."""

    async def deeds(hands):
        await hands.until("15:39:59.500")
        hands.by_hand("BUY", 190, "IRDM")

    day = play_day(BLCO, deeds=deeds, settings={"position_lag_s": 5.0})
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "IRDM": 190}


def test_a_closing_order_lost_on_the_way_is_proven_absent_and_replaced(play_day):
    async def deeds(hands):
        await hands.until("15:40:00.550")
        hands.connection.cut()
        await hands.until("15:40:09")
        hands.gateway.drop(10)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
