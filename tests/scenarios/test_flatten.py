"""C: flat by the bell, never short."""

from __future__ import annotations

from datetime import time
from decimal import Decimal

import pytest

from daemon.fakegateway.prices import Waypoint

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
MRNA = "MRNA 82 at 44.15 stop 42.83 targets 45.47 46.80"
IRDM = "IRDM 190 at 20.00 stop 19.40 targets 20.60 21.20"
LION = "LION 537 at 9.00 stop 8.70 targets 9.30 9.60"
LATE_ENTRIES = "[rules]\nentries_die_before_close_s = 600.0\n"
"""Entries live until 15:50, so that the close job meets them."""


def path(*points):
    """Return the price's way: (New York time or fraction of the session, price)."""
    return [
        Waypoint(time.fromisoformat(at) if isinstance(at, str) else at, Decimal(price))
        for at, price in points
    ]


# --- what is carried over from an earlier day ---------------------------------


@pytest.fixture(scope="module")
def carried(play_once):
    async def deeds(hands):
        hands.carry("KMI", 611, "31.00")
        hands.carry("AVDL.CVR", 100, "0.30")

    return play_once(LH, deeds=deeds, state="carried")


def test_a_position_above_the_preset_is_closed_in_parts(carried):
    """B2: the MOC for KMI 611 was refused (383), and it stayed overnight."""
    assert carried.flat
    assert carried.problems == []
    assert carried.at_the_bell == {"KMI": 611, "LH": 22}
    parts = {
        order["order_ref"]: order["quantity"]
        for order in carried.records("placed", symbol="KMI")
    }
    assert parts == {
        "ibkrd:20260219:KMI:X:MOC.1": "500",
        "ibkrd:20260219:KMI:X:MOC.2": "111",
    }


def test_an_ignored_symbol_is_never_sold_and_shown_as_ignored(carried):
    """C13: AVDL.CVR cannot be sold."""
    assert carried.records("placed", symbol="AVDL.CVR") == []
    assert carried.verdict.positions_at_end == {("DU1234567", "AVDL.CVR"): 100}
    (close,) = carried.messages("Close 2026-02-19")
    assert "AVDL.CVR 100: on the ignore list" in close.body
    assert carried.report["certificate"]["flat"] is True
    assert carried.report["certificate"]["remainder"] == []
    assert carried.alarms == []


def test_closing_orders_are_routed_smart_on_the_rebuilt_contract(carried):
    """B1: orders on the contract copied from the position were refused (10311)."""
    errors = {record["code"] for record in carried.records("order_error")}
    assert errors == {202}


def test_an_unexpected_short_is_bought_back_and_told_at_once(play_day):
    """C10: FORM -29, from an order entered by hand that fired days later."""

    async def deeds(hands):
        hands.carry("FORM", -29, "93.00")

    day = play_day(LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    (order,) = day.records("placed", symbol="FORM")
    assert (order["side"], order["quantity"], order["order_type"]) == (
        "BUY",
        "29",
        "MOC",
    )
    (alarm,) = day.alarms
    assert f"{alarm.at:%H:%M}" == "15:40"
    assert alarm.body == "FORM: short 29; it is bought back"
    assert ("moc_close", "done") in day.jobs


# --- while the close job cancels ----------------------------------------------


def test_a_part_filled_parent_is_cancelled_and_exactly_its_shares_are_closed(play_day):
    """C5: IRDM's parent was half filled and kept filling; 63 were left.

    At 15:39:15 the price touches the limit for one step: A gets 36, B gets 27.
    """
    touched = path(
        (0.0, "20.30"),
        ("15:39", "20.30"),
        ("15:39:15", "19.99"),
        ("15:39:30", "20.20"),
        (1.0, "20.10"),
    )
    day = play_day(IRDM, paths={"IRDM": touched}, config=LATE_ENTRIES, seed=6)
    bought = day.records("executed", side="BUY")
    assert [one["quantity"] for one in bought] == ["36", "27"]
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"IRDM": 63}
    assert day.states["ibkrd:20260219:IRDM:A:EN"] == "cancelled"
    assert day.states["ibkrd:20260219:IRDM:B:EN"] == "cancelled"


def test_a_parent_that_fills_while_it_is_cancelled_is_closed_in_full(play_day):
    """C1, C3: entries filled after the close job had run.

    The price comes through the limit at 15:40:00, in the middle of the cancels.
    """
    falling = path(
        (0.0, "20.30"),
        ("15:39:45", "20.30"),
        ("15:40", "19.95"),
        ("15:40:15", "19.95"),
        (1.0, "20.10"),
    )
    day = play_day(IRDM, BLCO, paths={"IRDM": falling}, config=LATE_ENTRIES)
    bought = day.records("executed", side="BUY", symbol="IRDM")
    assert {one["at"][11:19] for one in bought} == {"20:40:00"}
    filled = sum(int(one["quantity"]) for one in bought)
    assert filled > 0
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "IRDM": filled}


@pytest.mark.parametrize("lag_s", [0.0, 1.5, 5.0])
@pytest.mark.parametrize("cascade", ["never", "always"])
def test_a_take_profit_that_fills_during_the_cancels_never_makes_a_short(
    play_day, lag_s, cascade
):
    """C2: the take-profit sold 177 of 537, the snapshot still said 537: short 177."""
    rising = path(
        (0.0, "9.05"),
        (0.035, "8.97"),
        (0.5, "9.10"),
        ("15:39:45", "9.20"),
        ("15:40", "9.33"),
        ("15:40:15", "9.33"),
        (1.0, "9.20"),
    )
    day = play_day(
        LION,
        paths={"LION": rising},
        settings={"position_lag_s": lag_s, "cancel_cascades": cascade},
    )
    taken = day.records("executed", order_ref="ibkrd:20260219:LION:A:TP")
    assert {one["at"][11:19] for one in taken} == {"20:40:00"}
    assert sum(int(one["quantity"]) for one in taken) == 177
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"LION": 360}
    lowest = min(int(one["quantity"]) for one in day.records("position"))
    assert lowest == 0


def test_no_closing_order_is_sent_before_every_exit_is_confirmed_dead(play_day):
    """C8: DTE -130: an exit sold the position while the stops were still live.

    The gateway takes its time with every answer; the close is one breath all the same.
    """
    day = play_day(BLCO, LH, settings={"latency_s": 1.5})
    assert day.flat
    assert day.problems == []
    statuses = zip(day.times("status"), day.records("status"), strict=True)
    dead = [at for at, record in statuses if record["status"] == "Cancelled"]
    assert len(dead) == 8
    assert max(dead) < min(day.times("placed", order_type="MOC")) < "15:40:05"


def test_auction_fills_that_come_minutes_late_alarm_nobody(play_day):
    """C12: positions were still shown at 22:00:06 after a good MOC."""
    day = play_day(BLCO, LH, settings={"auction_delay_s": 240.0})
    sold = day.times("executed", side="SELL")
    assert min(sold) > "16:04:00"
    assert day.flat
    assert day.problems == []
    assert day.alarms == []


def test_positions_that_lag_minutes_behind_are_asked_for_again(play_day):
    """C12: told at close+5m what is still shown, and then that it is gone."""
    day = play_day(BLCO, LH, settings={"position_lag_s": 330.0})
    assert day.flat
    assert day.problems == []
    (told,) = day.messages("NOT FLAT after the close")
    assert f"{told.at:%H:%M}" == "16:05"
    assert "BLCO: 270 shares" in told.body
    assert "LH: 22 shares" in told.body
    (report,) = day.messages("Report 2026-02-19")
    assert report.at > told.at
    assert report.subject.endswith("flat")
    assert day.report["certificate"]["certified"] is True


# --- what others do in the account --------------------------------------------


@pytest.fixture(scope="module")
def shared(play_once):
    """A day on which somebody else trades MRNA and EMN, and holds LH."""

    async def deeds(hands):
        hands.carry("LH", 10, "270.00")
        hands.carry("EMN", 36, "74.00")
        await hands.until("09:31")
        hands.by_hand(
            "BUY", 20, "MRNA", order_type="LMT", limit_price=Decimal(30), tif="GTC"
        )
        hands.by_hand(
            "SELL", 30, "EMN", order_type="LMT", limit_price=Decimal(99), tif="GTC"
        )

    return play_once(BLCO, LH, MRNA, deeds=deeds, state="shared")


def test_a_symbol_with_a_foreign_order_or_position_is_not_entered(shared):
    """A2: foreign orders are seen."""
    assert shared.rows == {"BLCO": "submitted", "LH": "skipped", "MRNA": "skipped"}
    assert shared.reason("LH") == "LH has a position already"
    assert shared.reason("MRNA") == "MRNA has a working order already"


def test_shares_under_a_foreign_closing_order_are_not_sold_but_told(shared):
    """C8: no exit is sent while another exit for the same shares is live."""
    assert shared.at_the_bell == {"BLCO": 270, "EMN": 6, "LH": 10}
    assert not shared.flat
    assert shared.problems == []
    (alarm,) = shared.messages("not everything will close")
    assert alarm.severity == "alarm"
    assert f"{alarm.at:%H:%M}" == "15:48"
    assert "EMN: 30 under order 2 of client 0 are not closed here" in alarm.body


def test_what_is_left_after_the_bell_is_named_exactly(shared):
    """C7: EVRG's MOC was sent, and 235 were still there the next day."""
    (alarm,) = shared.messages("NOT FLAT after the close of 2026-02-19")
    assert "EMN: 30 shares" in alarm.body
    certificate = shared.report["certificate"]
    assert certificate["certified"] is False
    assert certificate["remainder"] == [{"symbol": "EMN", "quantity": 30}]
    assert shared.jobs[-2:] == [("moc_close", "failed"), ("eod_report", "failed")]


def test_positions_closed_by_hand_are_not_closed_again(play_day):
    """C14: hand-entered brackets closed VLO and ON; the state kept both."""

    async def deeds(hands):
        await hands.until("11:00")
        for symbol, shares in (("BLCO", 270), ("LH", 22)):
            hands.by_hand("SELL", shares, symbol)

    day = play_day(BLCO, LH, MRNA, deeds=deeds)
    assert day.at_the_bell == {"MRNA": 82}
    assert day.flat
    assert day.verdict.positions_at_end == {}


def test_what_is_bought_by_hand_under_scope_account_is_closed_too(play_day):
    """C6: quantity comes from the broker, not from matching names."""

    async def deeds(hands):
        await hands.until("11:00")
        hands.by_hand("BUY", 183, "CNX")

    day = play_day(BLCO, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "CNX": 183}
    assert day.report["totals"]["executions"] == len(day.records("executed"))
