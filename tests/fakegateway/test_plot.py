from __future__ import annotations

from decimal import Decimal

import pytest

from daemon.fakegateway.plot import (
    FillBeyondCancel,
    LateReject,
    Reject,
    Remark,
    Stick,
    Swallow,
    leg_of,
)
from daemon.fakegateway.values import GatewaySettings


@pytest.mark.parametrize(
    ("text", "more", "leg"),
    [
        ("BUY 1 LMT 99", {}, "EN"),
        ("SELL 1 LMT 102", {"parent_id": 1}, "TP"),
        ("SELL 1 STP 98", {"parent_id": 1}, "SL"),
        ("SELL 1 STP 98", {}, "SL"),
        ("SELL 1 MKT", {"parent_id": 1}, "TX"),
        ("SELL 1 MKT", {"good_after_time": "20260219 15:59:00 US/Eastern"}, "TX"),
        ("SELL 1 MKT", {}, "MKT"),
        ("SELL 1 MOC", {}, "MOC"),
    ],
)
def test_the_leg_is_told_from_the_terms(ticket_of, text, more, leg):
    assert leg_of(ticket_of(1, text, **more)) == leg


def test_a_plotted_refusal_meets_only_its_leg_and_symbol(stage):
    s = stage()
    s.world.plot(Reject(383, leg="TP", symbol="AAPL"))
    s.bracket("BUY 100 LMT 90")
    s.place(4, "SELL 100 LMT 110", symbol="WEC")
    s.run_for(1)
    assert [s.errors(n) for n in (1, 2, 3, 4)] == [[], [383], [], []]
    assert sorted(s.open()) == [1, 3, 4]


def test_a_plotted_refusal_of_201_may_leave_an_inactive_order(stage):
    left = set()
    for seed in range(8):
        s = stage(seed=seed)
        s.world.plot(Reject(201))
        s.place(1, "BUY 100 LMT 90")
        s.run_for(1)
        assert s.errors(1) == [201]
        left.add(tuple(s.statuses(1)))
    assert left == {("Inactive",), ()}


def test_a_fault_happens_as_often_as_it_says(stage):
    s = stage()
    s.world.plot(Reject(163, times=1))
    s.place(1, "BUY 100 LMT 90")
    s.place(2, "BUY 100 LMT 90")
    s.run_for(1)
    assert (s.errors(1), s.errors(2)) == ([163], [])


def test_a_fault_that_is_over_happens_no_more(stage):
    s = stage()
    fault = Reject(163)
    s.world.plot(fault)
    s.world.unplot(fault)
    s.place(1, "BUY 100 LMT 90")
    s.run_for(1)
    assert s.errors(1) == []


@pytest.mark.parametrize(
    ("code", "status"),
    [(354, "Cancelled"), (383, "Cancelled"), (163, "Cancelled"), (201, "Inactive")],
)
def test_a_late_refusal_ends_an_accepted_order_that_never_worked(stage, code, status):
    s = stage()
    s.world.plot(LateReject(code, after_s=2))
    s.place(1, "BUY 100 MKT")
    s.run_for(1.9)
    assert s.statuses(1) == ["PreSubmitted"]
    s.run_for(1)
    assert s.statuses(1) == ["PreSubmitted", status]
    assert s.errors(1) == [code]
    assert s.position == "0"


def test_a_late_refusal_of_the_entry_takes_its_children_along(stage):
    for code in (354, 201):
        s = stage()
        s.world.plot(LateReject(code, leg="EN"))
        s.bracket()
        s.run_for(5)
        assert s.open() == {}
        assert [s.statuses(n)[-1] for n in (2, 3)] == ["Cancelled", "Cancelled"]


@pytest.mark.parametrize("code", [354, 201])
def test_a_cancel_comes_before_the_late_refusal(stage, code):
    s = stage()
    s.world.plot(LateReject(code, after_s=2))
    s.place(1, "BUY 100 MKT")
    s.run_for(1)
    s.world.cancel(7, 1)
    s.run_for(5)
    assert s.errors(1) == [202]


def test_a_remark_stands_beside_an_order_that_lives_and_fills(stage):
    s = stage()
    s.world.plot(Remark(10349, after_s=0.03))
    s.place(1, "BUY 100 MKT")
    s.run_for(1)
    assert s.talk()[2] == "error 1 10349"
    assert s.statuses(1)[-1] == "Filled"


def test_a_swallowed_order_is_never_spoken_of(stage):
    s = stage()
    s.world.plot(Swallow(symbol="AAPL"))
    s.place(1, "BUY 100 MKT")
    s.run_for(600)
    assert s.talk() == []
    assert s.world.all_open_orders() == s.world.completed_orders() == []
    assert s.written("forgotten", "order_id") == [(1,)]
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.errors(1) == [10147]


def test_a_stuck_order_stays_presubmitted_until_it_is_cancelled(stage):
    s = stage()
    s.world.plot(Stick())
    s.place(1, "BUY 100 MKT")
    s.run_for(3600)
    assert s.statuses(1) == ["PreSubmitted"]
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.statuses(1)[-1] == "Cancelled"


def test_an_order_may_fill_after_it_was_called_cancelled(stage):
    s = stage()
    s.world.plot(FillBeyondCancel(after_s=3))
    s.place(1, "BUY 100 LMT 99.50")
    s.run_for(1)
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.statuses(1)[-1] == "Cancelled"
    assert s.position == "0"
    s.run_for(3)
    assert s.statuses(1)[-2:] == ["Cancelled", "Filled"]
    assert s.fills(1)[0][1:] == ("100", "99.50")
    assert s.position == "100"


# --- statuses --------------------------------------------------------------------


def whole(**more) -> GatewaySettings:
    return GatewaySettings(**{"partial_fills": False} | more)


def test_each_status_may_come_twice(stage):
    s = stage(settings=whole(duplicate_statuses=True))
    s.place(1, "BUY 100 MKT")
    s.run_for(1)
    assert s.statuses(1) == ["PreSubmitted", "PreSubmitted", "Filled", "Filled"]
    assert s.written("status", "status") == [("PreSubmitted",), ("Filled",)]


def test_statuses_may_be_missing_and_the_ledger_has_them(stage):
    s = stage(settings=whole(missing_statuses=1.0))
    s.place(1, "BUY 100 MKT")
    s.run_for(1)
    assert s.statuses(1) == []
    assert s.fills(1)
    assert s.written("status", "status") == [("PreSubmitted",), ("Filled",)]


def test_which_statuses_are_missing_is_left_to_the_seed(stage):
    kept = set()
    for seed in range(24):
        s = stage(seed=seed, settings=whole(missing_statuses=0.5))
        s.place(1, "BUY 100 MKT")
        s.run_for(1)
        kept.add(tuple(s.statuses(1)))
    assert kept == {
        ("PreSubmitted", "Filled"),
        ("PreSubmitted",),
        ("Filled",),
        (),
    }


def test_an_order_may_be_filled_before_its_execution_is_known(stage):
    s = stage(settings=whole(execution_lag_s=2.0))
    s.place(1, "BUY 100 MKT")
    s.run_for(1)
    assert s.talk()[-1] == "Commissioned"
    assert s.statuses(1)[-1] == "Filled"
    assert s.world.executions() == []
    s.run_for(2)
    assert "execDetails 1 100" in s.talk()
    assert len(s.world.executions()) == 1


# --- trades -------------------------------------------------------------------------


@pytest.fixture
def bought(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(5)
    s.hear_anew()
    return s


def exec_ids(s):
    return [one.exec_id for one in s.world.executions()]


def test_a_correction_is_the_next_revision_and_moves_the_position(bought):
    (first,) = exec_ids(bought)
    bought.world.correct(first, shares=Decimal(90), price=Decimal("100.02"))
    bought.run_for(5)
    assert bought.talk() == [
        "execDetails 1 90",
        "openOrder 1 Filled commission 1.000000",
        "Commissioned",
        "HoldingChanged",
    ]
    assert [one[-3:] for one in exec_ids(bought)] == [".01", ".02"]
    assert bought.position == "90"
    assert bought.written("executed", "exec_id", "quantity", "price")[1] == (
        f"{first[:-3]}.02",
        "90",
        "100.02",
    )


def test_a_bust_takes_the_shares_back(bought):
    (first,) = exec_ids(bought)
    bought.world.correct(first, shares=Decimal(0))
    bought.run_for(5)
    assert bought.position == "0"
    (order,) = bought.world.completed_orders()
    assert (order.status, order.filled) == ("Filled", 0)


def test_a_correction_can_be_corrected(bought):
    (first,) = exec_ids(bought)
    right = bought.world.correct(first, price=Decimal(99))
    again = bought.world.correct(right.exec_id, price=Decimal(98))
    assert again.exec_id.endswith(".03")
    bought.run_for(2)
    (cash,) = [
        one.value
        for one in bought.world.account_values("DU1234567")
        if one.tag == "TotalCashValue"
    ]
    assert cash == "990199.00"


def test_an_execution_that_is_unknown_cannot_be_corrected(bought):
    with pytest.raises(ValueError, match="no execution 'x'"):
        bought.world.correct("x")


def test_commissions_may_never_come(stage):
    s = stage(settings=whole(commission_delay_s=None))
    s.place(1, "BUY 100 MKT")
    s.run_for(3600)
    assert s.written("commission") == []


def test_commissions_may_be_told_again_at_each_start(bought):
    bought.world.settings.commissions_on_connect = True
    bought.world.detach(7)
    told = bought.wire().start(7)
    (commission,) = [one for one in told if one.startswith("59|")]
    assert commission.startswith(f"59|1|{exec_ids(bought)[0]}|1.")
    assert not [one for one in bought.wire().start(8) if one.startswith("59|")]


# --- a stranger on our client id -----------------------------------------------------


def test_a_stranger_under_our_id_raises_our_ids_and_can_cancel_our_orders(stage):
    s = stage()
    s.place(5, "BUY 100 LMT 90")
    s.run_for(1)
    s.world.detach(7)
    s.place(6, "BUY 10 LMT 91", order_ref="their own")
    s.world.cancel(7, 5)
    s.run_for(1)
    s.connect(7)
    assert s.world.next_valid_id(7) == 7
    assert {n: one.ticket.order_ref for n, one in s.open().items()} == {6: "their own"}


# --- the gateway's midnight -----------------------------------------------------


def test_a_client_that_was_away_over_midnight_finds_neither_trades_nor_orders(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(5)
    s.world.detach(7)
    s.clock.run_until(s.clock.now().replace(hour=5, minute=1, day=20))
    line = s.wire()
    line.start(7)
    assert line.ask("7|3|9|0||||||") == ["55|1|9"]
    assert line.ask("99|0") == ["102"]
    assert line.ask("61|1")[0].split("|")[14] == "100"
