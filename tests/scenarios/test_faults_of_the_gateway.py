"""B: what a gateway does to a day when it loses its broker, its memory or its order."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from daemon.fakegateway.faults import (
    CommissionLate,
    Correct,
    Drop,
    DuplicateStatus,
    ExecutionLate,
    LinkLost,
    MissingStatus,
    Refuse,
    Script,
    Temper,
)
from daemon.fakegateway.prices import Waypoint

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
NOV = "NOV 292 at 19.64 stop 19.05 targets 20.23 20.82"


def path(*points: tuple[str | float, str]) -> list[Waypoint]:
    """Return prices by New York time of day, or by fraction of the session."""
    return [
        Waypoint(time.fromisoformat(at) if isinstance(at, str) else at, Decimal(price))
        for at, price in points
    ]


LATE_FALL = path((0.0, "17.30"), ("09:59", "17.30"), ("10:05", "17.10"), (1.0, "17.15"))
"""BLCO's entry at 17.20 fills at about 10:02."""
LATE_STOP = path((0.0, "17.10"), ("09:59", "17.10"), ("10:05", "16.50"), (1.0, "16.40"))
"""BLCO fills in the morning and falls through its stop of 16.68 at about 10:04."""


def truth(day) -> dict[str, Decimal]:
    """Return what the broker traded and took, each execution by its last word."""
    last = {r["exec_id"].rpartition(".")[0]: r for r in day.records("executed")}
    costs = {r["exec_id"].rpartition(".")[0]: r for r in day.records("commission")}
    sums: Counter[str] = Counter()
    for record in last.values():
        shares, price = Decimal(record["quantity"]), Decimal(record["price"])
        verb = "bought" if record["side"] == "BUY" else "sold"
        sums[f"{verb}_shares"] += shares
        sums[f"{verb}_usd"] += shares * price
    sums["commission"] = sum(Decimal(one["amount"]) for one in costs.values())
    return {key: value.quantize(Decimal("0.01")) for key, value in sums.items()}


def executed(day) -> dict[str, int]:
    """Return the shares of each order of ours that was executed."""
    shares: Counter[str] = Counter()
    for record in day.records("executed"):
        shares[record["order_ref"]] += int(record["quantity"])
    return dict(shares)


def filled_at_most(day) -> dict[str, int]:
    """Return the most shares that the journal ever called executed, by order."""
    query = "SELECT order_ref, max(CAST(filled AS INT)) FROM order_states GROUP BY 1"
    return {ref: shares for ref, shares in day.sql(query) if shares}


def known_as_filled(day, ref: str) -> str:
    """Return the New York time at which the journal called *ref* filled in full."""
    query = (
        "SELECT min(at) FROM order_states JOIN intents USING (order_ref)"
        " WHERE order_ref = ? AND state = 'filled' AND CAST(filled AS INT) = quantity"
    )
    return new_york(day.sql(query, ref)[0][0])


def new_york(instant: str) -> str:
    at = datetime.fromisoformat(instant).astimezone(ZoneInfo("America/New_York"))
    return f"{at:%H:%M:%S.%f}"[:12]


def assert_whole(day) -> None:
    """Assert what every day owes: no law broken, flat, and books that are true."""
    assert day.problems == []
    assert day.flat
    totals, true = day.report["totals"], truth(day)
    assert {key: Decimal(str(totals[key])) for key in true} == true
    assert day.report["certificate"]["certified"] is True


# --- filled while nobody listened ---------------------------------------------


def test_a_fill_during_a_disconnect_is_booked_at_the_reconnect(play_day):
    day = play_day(
        BLCO, LH, paths={"BLCO": LATE_FALL}, faults=[Refuse(at="09:55", for_s=900)]
    )
    filled = min(day.times("executed", symbol="BLCO"))
    assert "09:59" < filled < "10:09"
    assert_whole(day)
    assert day.states["ibkrd:20260219:BLCO:A:EN"] == "filled"
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}


@pytest.mark.parametrize("data_lost", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_fill_while_the_link_is_lost_is_booked_at_its_restoration(
    play_day, data_lost, seed
):
    """1101 tells nothing of the meantime; 1102 tells it in an odd order."""
    lost = LinkLost(at="10:00", for_s=240, data_lost=data_lost)
    day = play_day(BLCO, LH, paths={"BLCO": LATE_FALL}, faults=[lost], seed=seed)
    assert len(day.records("connected")) == 1
    filled = day.times("executed", symbol="BLCO", side="BUY")
    assert "10:00" < min(filled) <= max(filled) < "10:04"
    assert_whole(day)
    assert "10:04:00" <= known_as_filled(day, "ibkrd:20260219:BLCO:B:EN") < "10:04:05"
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}


def test_a_link_that_is_lost_for_long_ends_the_session_and_costs_one_alert(play_day):
    day = play_day(
        BLCO, LH, paths={"BLCO": LATE_FALL}, faults=[LinkLost(at="09:55", for_s=1800)]
    )
    assert len(day.records("connected")) > 1
    assert_whole(day)
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert [one.subject for one in day.alarms] == ["No session to the gateway"]


@pytest.mark.parametrize("data_lost", [True, False])
def test_an_exit_that_fills_while_the_link_is_lost_leaves_nothing_to_sell(
    play_day, data_lost
):
    """The stop sleeps through the loss and trades when it is over."""
    lost = LinkLost(at="09:55", for_s=1200, data_lost=data_lost)
    day = play_day(BLCO, LH, paths={"BLCO": LATE_STOP}, faults=[lost])
    assert min(day.times("executed", symbol="BLCO", side="SELL")) > "10:15:00"
    assert_whole(day)
    assert day.at_the_bell == {"LH": 22}


@pytest.mark.parametrize("data_lost", [True, False])
def test_the_close_waits_for_the_link_and_is_sent_before_the_cutoff(
    play_day, data_lost
):
    lost = LinkLost(at="15:39", for_s=300, data_lost=data_lost)
    day = play_day(BLCO, LH, faults=[lost])
    sent = day.times("placed", order_type="MOC")
    assert "15:44" < min(sent) < "15:46"
    assert_whole(day)
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}


def test_a_plan_whose_morning_falls_into_a_lost_link_is_sent_after_it_once(play_day):
    lost = LinkLost(at="09:33", for_s=300)
    day = play_day(BLCO, LH, faults=[lost])
    assert min(day.times("placed")) > "09:38"
    assert len(day.placed) == 2 * 6 + 2
    assert_whole(day)


# --- commissions and corrections ----------------------------------------------


def test_commissions_told_again_at_each_reconnect_are_counted_once(play_day):
    drops = [Drop(at=at) for at in ("10:00", "11:00", "12:00", "15:55", "16:02")]
    day = play_day(BLCO, LH, faults=[*drops, Temper("commissions_on_connect", True)])
    assert len(day.records("connected")) == 6
    assert_whole(day)


def test_commissions_that_come_before_their_executions_are_booked(play_day):
    day = play_day(BLCO, LH, faults=[ExecutionLate(2.0)])
    assert_whole(day)


def test_commissions_that_come_minutes_late_are_waited_for(play_day):
    day = play_day(BLCO, LH, faults=[CommissionLate(for_s=60)])
    assert_whole(day)


@pytest.mark.parametrize("again", [True, False])
def test_a_corrected_price_replaces_the_first_one(play_day, again):
    day = play_day(
        BLCO,
        LH,
        faults=[
            Temper("corrected_commissions", again),
            Correct("LH", price="271.00", at="11:00"),
            Drop(at="12:00"),
        ],
    )
    (corrected,) = [
        one for one in day.records("executed") if one["exec_id"].endswith(".02")
    ]
    assert corrected["price"] == "271"
    assert_whole(day)


def test_a_corrected_quantity_moves_the_position_that_is_closed(play_day):
    day = play_day(LH, faults=[Correct("LH", shares=1, at="11:00")])
    bought = truth(day)["bought_shares"]
    assert bought < 22
    assert day.at_the_bell == {"LH": bought}
    assert_whole(day)


def test_a_bust_takes_the_shares_out_of_the_books(play_day):
    day = play_day(LH, faults=[Correct("LH", shares=0, at="11:00")])
    bought = truth(day)["bought_shares"]
    assert 0 < bought < 22
    assert day.at_the_bell == {"LH": bought}
    assert_whole(day)


# --- statuses -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        DuplicateStatus(),
        MissingStatus(0.5),
        MissingStatus(1.0),
        ExecutionLate(0.4),
    ],
)
@pytest.mark.parametrize("fate", ["drifting", "both_targets", "stopped"])
def test_statuses_twice_or_never_or_ahead_of_their_executions_change_nothing(
    play_day, fault, fate
):
    day = play_day(BLCO, LH, fates={"BLCO": fate}, faults=[fault])
    assert_whole(day)
    entry = "ibkrd:20260219:BLCO:A:EN"
    last = max(day.times("executed", order_ref=entry))
    assert (
        last <= known_as_filled(day, entry) < f"{last[:6]}{float(last[6:]) + 1:06.3f}"
    )
    assert filled_at_most(day) == executed(day)
    assert [one.subject for one in day.alarms] == []


@pytest.mark.announces("completedOrders")
def test_completed_orders_that_nobody_asked_for_change_nothing(play_day):
    day = play_day(
        BLCO,
        LH,
        fates={"BLCO": "both_targets"},
        faults=[Temper("unsolicited_completed_orders", True)],
    )
    assert_whole(day)
    assert len(day.records("connected")) == 1
    assert day.alarms == []


# --- a child that overtakes its parent ----------------------------------------


def test_a_child_that_missed_its_parent_is_sent_again_and_its_family_is_whole(play_day):
    day = play_day(BLCO, LH, faults=[Temper("missing_parent", "always")])
    missed = day.records("order_error", code=10006)
    assert len(missed) == 4
    assert day.states["ibkrd:20260219:BLCO:A:TP"] == "cancelled"
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert day.problems == []
    assert day.alarms == []


def test_a_child_whose_id_is_used_up_by_10006_is_refused_and_told(play_day):
    faults = [
        Temper("missing_parent", "always"),
        Temper("missing_parent_uses_id", value=True),
    ]
    day = play_day(BLCO, LH, faults=faults)
    assert len(day.records("order_error", code=103)) == 4
    assert day.flat
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert day.alarms


# --- a stranger under our client id -------------------------------------------


def test_ids_that_a_stranger_used_under_our_client_id_are_never_ours(play_day):
    stranger = Script(
        10, "BUY", 10, "NOV", "LMT", "10.00", "theirs", at="09:00:00.5", for_s=20
    )
    day = play_day(BLCO, LH, faults=[Drop(at="09:00:00.4"), stranger])
    (theirs,) = day.records("placed", order_ref="theirs")
    ours = [r for r in day.records("placed") if r["order_ref"].startswith("ibkrd:")]
    assert min(r["order_id"] for r in ours) > theirs["order_id"]
    assert 103 not in {r["code"] for r in day.records("order_error")}
    assert day.flat
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    # The checker takes every order under our client id for ours.
    assert [one for one in day.problems if "theirs" not in one] == []


def test_an_order_of_a_stranger_under_our_client_id_is_told(play_day):
    stranger = Script(
        10, "BUY", 10, "NOV", "LMT", "10.00", "theirs", at="11:00:00.1", for_s=20
    )
    day = play_day(BLCO, LH, faults=[Drop(at="11:00"), stranger])
    assert len(day.records("placed", order_ref="theirs")) == 1
    assert day.messages("NOV")


def test_a_stop_that_a_stranger_cancelled_is_told(play_day):
    stranger = Script(10, cancels=(8,), at="11:00:00.1", for_s=20)
    day = play_day(BLCO, LH, faults=[Drop(at="11:00"), stranger])
    assert day.states["ibkrd:20260219:BLCO:A:SL"] == "cancelled"
    told = [f"{one.at:%H:%M}" for one in day.messages("BLCO")]
    assert [at for at in told if "11:00" <= at < "11:10"]


# --- midnight -----------------------------------------------------------------


def test_the_gateways_midnight_while_the_daemon_is_down_is_survived(play_day):
    """What filled before midnight is in no answer afterwards; the positions are."""

    async def deeds(hands):
        await hands.until("09:50")
        await hands.stop_daemon()
        await hands.until("10:10")
        hands.start_daemon()

    day = play_day(BLCO, LH, deeds=deeds, settings={"midnight_zone": "Asia/Tokyo"})
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert_whole(day)


@pytest.fixture
def robbed(play_day):
    """Both targets fill while the daemon is down, and midnight passes after them."""

    async def deeds(hands):
        await hands.until("09:50")
        await hands.stop_daemon()
        await hands.until("10:30")
        hands.start_daemon()

    gone = path((0.0, "17.10"), ("09:52", "17.10"), ("09:56", "18.40"), (1.0, "18.40"))
    return play_day(
        BLCO,
        LH,
        paths={"BLCO": gone},
        deeds=deeds,
        settings={"midnight_zone": "Asia/Tokyo"},
    )


def test_trades_that_the_gateways_midnight_took_are_told_and_not_invented(robbed):
    assert robbed.problems == []
    assert robbed.flat
    assert robbed.at_the_bell == {"LH": 22}
    assert robbed.report["certificate"]["certified"] is False
    assert robbed.messages("BLCO: the broker holds 0, the books say 270")


def test_an_order_that_the_gateways_midnight_took_stays_unknown(robbed):
    assert robbed.states["ibkrd:20260219:BLCO:A:TP"] == "unknown"
