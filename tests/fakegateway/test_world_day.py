from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.fakegateway.ledger import to_line
from daemon.fakegateway.restart import RestartTerms
from daemon.fakegateway.values import (
    Broadcast,
    Commissioned,
    Contract,
    GatewaySettings,
    HoldingChanged,
    MarketSession,
    OrderTicket,
    Refusal,
)

FRIDAY = date(2026, 2, 20)
HALF_DAY = MarketSession(
    date(2026, 11, 27),
    datetime(2026, 11, 27, 14, 30, tzinfo=UTC),
    datetime(2026, 11, 27, 18, 0, tzinfo=UTC),
)
RISING = (("09:30", "101"), ("15:59", "109"), ("16:00", "110"))


# --- the opening and the closing bell ---------------------------------------------


def test_an_order_before_the_open_waits_and_trades_at_the_opening_price(stage):
    s = stage(at="09:00:00", path=RISING)
    s.place(1, "BUY 100 MKT")
    s.place(2, "BUY 100 LMT 101")
    s.place(3, "BUY 100 LMT 100")
    s.run_to("09:29:59")
    assert s.errors(1) == [399]
    assert "until 2026-02-19 09:30:00 US/Eastern" in s.error_text(1)
    assert s.open()[2].status == "PreSubmitted"
    s.run_to("09:31:00")
    assert s.fills(1) == [("09:30:00", "100", "101.00")]
    assert s.fills(2) == [("09:30:00", "100", "101.00")]
    assert s.open()[3].status == "Submitted"


def test_an_order_after_the_close_is_queued_for_the_next_session(stage):
    s = stage(at="16:01:00", path=(("09:30", "100"),))
    s.place(1, "SELL 100 MKT")
    s.run_for(60)
    assert s.errors(1) == [399]
    assert "until 2026-02-20 09:30:00" in s.error_text(1)
    assert s.open()[1].status == "PreSubmitted"
    s.run_to("09:31:00", FRIDAY)
    assert s.fills(1) == [("09:30:00", "100", "100.00")]


def test_a_queued_order_behind_the_known_sessions_waits_for_the_next_weekday(stage):
    s = stage()
    s.run_to("17:00:00", FRIDAY)
    s.place(1, "BUY 1 MKT")
    s.run_for(86_400)
    assert "until 2026-02-23 09:30:00" in s.error_text(1)
    assert list(s.open()) == [1]


def test_a_day_order_dies_at_the_bell_and_never_fills_behind_it(stage):
    s = stage(path=(("09:30", "100"), ("15:59:45", "100"), ("16:00", "90")))
    s.place(1, "BUY 100 LMT 95")
    s.run_to("15:59:59")
    assert list(s.open()) == [1]
    s.run_to("16:00:00")
    assert s.statuses(1)[-1] == "Cancelled"
    assert s.errors(1) == [202]
    s.run_to("16:00:00", FRIDAY)
    assert s.fills(1) == []


def test_a_good_till_cancelled_child_sleeps_over_night_and_fires_at_the_open(stage):
    s = stage(path=(("09:30", "103"), ("10:00", "100"), ("16:00", "100")))
    s.run_to("10:30:00")
    s.bracket("BUY 100 LMT 100.01", tif="GTC")
    s.run_to("16:01:00")
    assert sorted(s.open()) == [2, 3]
    s.run_to("09:31:00", FRIDAY)
    assert s.fills(2) == [("09:30:00", "100", "103.00")]
    assert s.statuses(3)[-1] == "Cancelled"


# --- timed orders --------------------------------------------------------------------


@pytest.mark.parametrize("text", ["20260219 15:59:00 US/Eastern", "20260219-20:59:00"])
def test_a_timed_order_sleeps_until_its_time(stage, text):
    s = stage()
    s.place(1, "SELL 100 MKT", good_after_time=text)
    s.run_to("15:58:59")
    assert s.talk() == ["openOrder 1 PreSubmitted", "orderStatus 1 PreSubmitted"]
    s.run_to("15:59:01")
    assert s.fills(1) == [("15:59:00", "100", "99.99")]


def test_a_timed_child_needs_both_its_parent_and_its_time(stage):
    s = stage()
    for order_id, entry in ((1, "BUY 100 LMT 100.01"), (11, "BUY 100 LMT 90")):
        s.place(order_id, entry, transmit=False)
        s.place(
            order_id + 1,
            "SELL 100 MKT",
            parent_id=order_id,
            good_after_time="20260219 15:59:00 US/Eastern",
        )
    s.run_to("15:59:30")
    assert s.fills(2) == [("15:59:00", "100", "99.99")]
    assert s.fills(12) == []
    s.run_to("16:00:01")
    assert s.statuses(12)[-1] == "Cancelled"


def test_a_timed_order_behind_the_close_is_queued_for_tomorrow(stage):
    s = stage(path=(("09:30", "100"),))
    s.place(1, "SELL 100 MKT", good_after_time="20260219 16:59:00 US/Eastern")
    s.run_to("16:58:00")
    assert s.open()[1].status == "PreSubmitted"
    s.run_to("17:00:00")
    assert s.errors(1) == [399]
    s.run_to("09:31:00", FRIDAY)
    assert s.fills(1) == [("09:30:00", "100", "100.00")]


def test_moving_a_timed_order_moves_its_time(stage):
    s = stage()
    s.place(1, "SELL 100 MKT", good_after_time="20260219 15:59:00 US/Eastern")
    s.run_for(1)
    s.place(1, "SELL 100 MKT", good_after_time="20260219 12:59:00 US/Eastern")
    s.run_to("16:10:00")
    assert s.fills(1) == [("12:59:00", "100", "99.99")]


def test_an_entry_that_is_good_till_a_time_dies_then_with_its_children(stage):
    s = stage()
    s.bracket("BUY 100 LMT 90")
    s.place(
        11, "BUY 100 LMT 90", tif="GTD", good_till_date="20260219 15:30:00 US/Eastern"
    )
    s.place(12, "SELL 100 STP 80", parent_id=11)
    s.run_to("15:29:59")
    assert sorted(s.open()) == [1, 2, 3, 11, 12]
    s.run_to("15:30:00")
    assert sorted(s.open()) == [1, 2, 3]
    assert s.errors(11) == s.errors(12) == [202]


# --- the closing auction -----------------------------------------------------------


def test_a_moc_order_trades_at_the_official_close_some_seconds_after_the_bell(stage):
    s = stage(path=RISING)
    s.place(1, "SELL 181 MOC")
    s.run_to("16:00:00")
    assert s.statuses(1) == ["PreSubmitted"]
    s.run_to("16:01:00")
    ((at, shares, price),) = s.fills(1)
    assert (shares, price) == ("181", "110.00")
    assert "16:00:05" <= at <= "16:00:44"
    assert s.written("executed", "exchange") == [("NASDAQ",)]


def test_the_closing_prints_of_several_symbols_come_one_after_the_other(stage):
    s = stage()
    for order_id, symbol in enumerate(("BLCO", "LH", "MRNA", "NOV"), start=1):
        s.place(order_id, "SELL 15 MOC", symbol=symbol)
    s.run_to("16:05:00")
    times = {s.fills(n)[0][0] for n in (1, 2, 3, 4)}
    assert len(times) == 4


def test_the_first_closing_print_waits_for_the_auction_s_delay(stage):
    s = stage(settings=GatewaySettings(partial_fills=False, auction_delay_s=120))
    s.place(1, "SELL 10 MOC")
    s.run_to("16:05:00")
    assert "16:02:01" <= s.fills(1)[0][0] <= "16:02:40"


@pytest.mark.parametrize(
    ("symbol", "at", "taken"),
    [
        ("WEC", "15:49:59", True),
        ("WEC", "15:50:00", False),
        ("SPY", "15:50:00", False),
        ("AAPL", "15:50:00", True),
        ("AAPL", "15:54:59", True),
        ("AAPL", "15:55:00", False),
    ],
)
def test_moc_orders_are_taken_until_the_exchange_s_cutoff(stage, symbol, at, taken):
    s = stage(at=at)
    s.place(1, "SELL 10 MOC", symbol=symbol)
    s.run_for(0.5)
    assert s.errors(1) == ([] if taken else [201])
    assert list(s.open()) == ([1] if taken else [])


def test_the_cutoff_of_a_half_day_is_ten_minutes_before_its_own_close(stage):
    s = stage(sessions=(HALF_DAY,))
    s.clock.run_until(datetime(2026, 11, 27, 17, 49, tzinfo=UTC))
    s.place(1, "SELL 10 MOC", symbol="WEC")
    s.clock.run_until(datetime(2026, 11, 27, 17, 50, tzinfo=UTC))
    s.place(2, "SELL 10 MOC", symbol="WEC")
    s.clock.run_until(datetime(2026, 11, 27, 18, 1, tzinfo=UTC))
    assert s.errors(2) == [201]
    assert s.fills(1)[0][0].startswith("13:00:")
    assert s.written("session", "cutoff") == [("2026-11-27T17:50:00.000000+00:00",)]


def test_a_frozen_moc_order_is_neither_cancelled_nor_changed_and_trades(stage):
    s = stage()
    s.place(1, "SELL 10 MOC")
    s.run_to("15:50:00")
    s.world.cancel(7, 1)
    s.place(1, "SELL 5 MOC")
    s.run_for(1)
    assert s.errors(1) == [10148, 201]
    assert s.open()[1].status == "PreSubmitted"
    s.run_to("16:01:00")
    assert s.fills(1)[0][1] == "10"


def test_a_moc_order_is_cancelled_before_the_freeze(stage):
    s = stage()
    s.place(1, "SELL 10 MOC")
    s.run_to("15:49:00")
    s.world.cancel(7, 1)
    s.run_to("16:01:00")
    assert s.errors(1) == [202]
    assert s.fills(1) == []


def test_a_moc_order_before_the_open_waits_for_the_same_day_s_close(stage):
    s = stage(at="08:00:00")
    s.place(1, "SELL 10 MOC")
    s.run_to("16:01:00")
    assert len(s.fills(1)) == 1


# --- positions, executions, the day of the gateway ---


def test_positions_are_told_late_and_written_at_once(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(1)
    assert s.position == "100"
    assert s.world.holdings() == []
    s.run_for(1)
    (held,) = s.world.holdings("DU1234567")
    assert (held.quantity, held.average_cost) == (100, Decimal("100.02"))
    assert [type(e) for e in s.heard[7]].count(HoldingChanged) == 1


def test_selling_more_than_is_held_goes_through_and_makes_a_short_position(stage):
    s = stage()
    s.world.endow("DU1234567", "AAPL", Decimal(100), Decimal(90))
    s.place(1, "SELL 130 MKT")
    s.run_for(5)
    assert s.position == "-30"
    assert s.errors(1) == []


def test_a_flat_position_stands_as_zero_until_midnight(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(5)
    s.place(2, "SELL 100 MKT")
    s.run_for(5)
    assert [held.quantity for held in s.world.holdings()] == [0]
    assert realized(s) == "-4.00"
    s.run_to("00:00:01", FRIDAY)
    assert s.world.holdings() == []
    assert realized(s) == "0.00"


def realized(s) -> str:
    values = s.world.account_values("DU1234567")
    return next(one.value for one in values if one.tag == "RealizedPnL")


def test_the_day_s_executions_and_orders_are_forgotten_at_midnight_ids_not(
    stage,
):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.place(2, "BUY 100 LMT 90")
    s.place(3, "BUY 100 LMT 90", tif="GTC")
    s.run_to("23:59:59")
    assert [one.order_id for one in s.world.executions()] == [1]
    assert [(one.order_id, one.status) for one in s.world.completed_orders()] == [
        (1, "Filled"),
        (2, "Cancelled"),
    ]
    s.run_to("00:00:00", FRIDAY)
    assert s.world.executions() == []
    assert s.world.completed_orders() == []
    assert list(s.open()) == [3]
    assert s.world.next_valid_id(7) == 4
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.errors(1) == [10147]


def test_the_gateway_s_midnight_is_that_of_its_own_zone(stage):
    settings = GatewaySettings(midnight_zone="Europe/Budapest")
    s = stage(settings=settings)
    s.place(1, "BUY 100 MKT")
    s.run_to("17:59:59")
    assert len(s.world.executions()) == 1
    s.run_to("18:00:00")
    assert s.world.executions() == []


def test_commissions_are_replayed_only_once_they_were_reported(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(0.2)
    executions = s.world.executions()
    assert len(executions) == 1
    assert s.world.commissions(executions) == []
    s.run_for(1)
    (report,) = s.world.commissions(executions)
    assert (report.commission, report.realized_pnl) == (1, None)


def test_a_closing_trade_reports_its_result_net_of_commissions(stage):
    s = stage(path=(("09:30", "100"), ("09:40", "100"), ("09:41", "110")))
    s.place(1, "BUY 100 MKT")
    s.run_to("09:45:00")
    s.place(2, "SELL 100 MKT")
    s.run_for(5)
    (report,) = s.world.commissions(s.world.executions(7)[1:])
    bought, sold = Decimal(s.fills(1)[0][2]), Decimal(s.fills(2)[0][2])
    assert report.realized_pnl == (sold - bought) * 100 - 2
    values = {one.tag: one.value for one in s.world.account_values("DU1234567")}
    assert values["NetLiquidation"] == f"{1_000_000 + report.realized_pnl:.2f}"


def test_working_entries_bind_funds_that_later_ones_lack(stage):
    s = stage()
    s.place(1, "BUY 15000 LMT 99")
    s.place(2, "BUY 5000 LMT 99")
    s.place(3, "BUY 5500 LMT 99")
    s.run_for(1)
    assert [s.errors(n) for n in (1, 2, 3)] == [[], [], [201]]


# --- clients ---


def test_orders_are_heard_by_their_owner_and_the_master_alone(stage):
    s = stage(settings=GatewaySettings(partial_fills=False, master_client_id=99))
    s.connect(8)
    s.connect(99)
    s.place(1, "BUY 100 MKT")
    s.place(2, "BUY 100 TRAIL")
    s.run_for(5)
    assert [type(event) for event in s.heard[8]] == [HoldingChanged]
    master = [type(event) for event in s.heard[99]]
    assert master.count(Commissioned) == 1
    assert "error 2 387" not in s.talk(99)
    assert s.talk(99) == [line for line in s.talk(7) if not line.startswith("error")]


def test_open_orders_are_one_s_own_and_all_open_orders_everybody_s(stage):
    s = stage()
    s.connect(8)
    s.place(1, "BUY 100 LMT 90")
    s.place(1, "BUY 100 LMT 91", client_id=8)
    s.run_for(1)
    assert [one.client_id for one in s.world.open_orders(7)] == [7]
    assert [one.client_id for one in s.world.all_open_orders()] == [7, 8]


def test_answers_are_copies(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 90")
    s.run_for(1)
    s.world.open_orders(7)[0].status = "Filled"
    assert s.world.open_orders(7)[0].status == "Submitted"


def test_orders_live_on_without_their_client_and_fills_are_not_told_later(stage):
    s = stage(path=(("09:30", "100"), ("10:00", "100"), ("10:10", "90")))
    s.place(1, "BUY 100 LMT 95")
    s.run_for(1)
    s.world.detach(7)
    s.run_to("10:10:00")
    assert s.connect(7)
    s.run_for(60)
    assert s.fills(1) == []
    assert [one.order_id for one in s.world.executions()] == [1]


def test_a_client_id_in_use_is_refused_and_freed_by_the_close(stage):
    s = stage()
    assert not s.connect(7)
    assert s.written("refused_client", "client_id") == [(7,)]
    s.world.detach(7)
    assert s.connect(7)
    assert s.written("disconnected", "client_id") == [(7,)]


def test_a_held_client_id_is_refused_for_so_long(stage):
    s = stage()
    s.world.hold_client_id(10, 40)
    assert not s.connect(10)
    s.run_for(39.9)
    assert not s.connect(10)
    s.run_for(0.1)
    assert s.connect(10)


def test_the_gateway_cuts_connections_by_the_callable_it_was_given(stage):
    s = stage()
    cut: list[int] = []
    s.world.attach(10, s.heard[7].append, disconnect=lambda: cut.append(10))
    s.world.drop(10)
    assert cut == [10]
    s.world.drop_clients()
    assert cut == [10, 10]
    assert s.written("dropped", "client_id") == [(10,), (7,), (10,)]
    assert s.connect(7)


def test_a_broadcast_reaches_every_session(stage):
    s = stage()
    s.connect(8)
    s.world.broadcast(Refusal(1100, "Connectivity lost"))
    assert (
        s.heard[7][-1]
        == s.heard[8][-1]
        == Broadcast(Refusal(1100, "Connectivity lost"))
    )
    assert s.written("notice", "code") == [(1100,)]


# --- contracts, prices, previews ---


def test_contracts_are_resolved_and_invented_once(stage):
    s = stage()
    (apple,) = s.world.resolve(Contract(con_id=265598))
    assert apple.contract.symbol == "AAPL"
    (new,) = s.world.resolve(Contract(symbol="PLTR"))
    assert s.world.resolve(Contract(con_id=new.contract.con_id)) == [new]
    assert s.world.resolve(Contract(symbol="ZZTOP")) == []
    assert [row for row in s.written("listing", "symbol") if row == ("PLTR",)] == [
        ("PLTR",)
    ]


def test_a_preview_shows_margin_and_commission_and_leaves_no_trace(stage):
    s = stage()
    asked = OrderTicket(
        9,
        Contract(con_id=265598),
        "BUY",
        Decimal(200),
        "LMT",
        Decimal(100),
        what_if=True,
    )
    before = len(s.ledger.records)
    shown = s.world.preview(7, asked)
    assert shown.margin.init_change == 10_000
    assert shown.commission == 1
    assert s.world.preview(7, replace_size(asked, "1.5")).code == 10318
    assert len(s.ledger.records) == before
    assert s.world.next_valid_id(7) == 1


def replace_size(asked: OrderTicket, quantity: str) -> OrderTicket:
    return OrderTicket(
        asked.order_id, asked.contract, "BUY", Decimal(quantity), "LMT", Decimal(100)
    )


def test_quotes_and_bars_follow_the_path(stage):
    s = stage(path=RISING)
    s.run_to("15:59:00")
    quote = s.world.quote("AAPL")
    assert (quote.bid, quote.last, quote.ask) == (
        Decimal("108.99"),
        Decimal("109.00"),
        Decimal("109.01"),
    )
    bars = s.world.bars("AAPL", s.clock.now(), 300, 60)
    assert len(bars) == 5
    assert bars[-1].close <= Decimal(109)


def test_bars_never_show_the_future(stage):
    s = stage(path=RISING)
    s.run_to("10:00:00")
    bars = s.world.bars("AAPL", datetime(2026, 2, 19, 21, 0, tzinfo=UTC), 86_400, 60)
    assert bars[-1].start < s.clock.now()
    assert len(bars) == 30


def test_hours_begin_with_the_exchange_s_today(stage):
    s = stage()
    (apple,) = s.world.resolve(Contract(symbol="AAPL"))
    trading, liquid = s.world.hours(apple)
    assert liquid.startswith("20260219:0930-20260219:1600;20260220:0930-20260220:1600;")
    assert "20260221:CLOSED" in liquid
    assert trading.startswith("20260219:0400-20260219:2000;")


# --- the whole day ---


def day(stage, seed: int):
    """Return a stage after a day of eight symbols with two brackets each, and MOCs."""
    s = stage(
        seed=seed,
        settings=GatewaySettings(child_activation="seed", cancel_cascades="seed"),
        path=(("09:30", "100"), ("12:00", "97"), ("14:00", "103"), ("16:00", "101")),
    )
    order_id = 1
    for symbol in ("AAPL", "BLCO", "LH", "MRNA", "NOV", "WEC", "KMI", "SPY"):
        price = s.world.quote(symbol).ask
        for quantity in (90, 181):
            tick = Decimal("0.01")
            target = (price * Decimal("1.02")).quantize(tick)
            stop = (price * Decimal("0.98")).quantize(tick)
            family = {"symbol": symbol}
            child = {"symbol": symbol, "parent_id": order_id}
            s.place(order_id, f"BUY {quantity} LMT {price}", transmit=False, **family)
            s.place(
                order_id + 1, f"SELL {quantity} LMT {target}", transmit=False, **child
            )
            s.place(order_id + 2, f"SELL {quantity} STP {stop}", **child)
            order_id += 3
    s.run_to("15:40:00")
    s.world.global_cancel(7)
    s.run_to("15:41:00")
    for held in s.world.holdings():
        if held.quantity > 0:
            s.place(order_id, f"SELL {held.quantity} MOC", symbol=held.contract.symbol)
            order_id += 1
    s.run_to("17:00:00")
    return s


def test_the_same_seed_and_calls_give_the_same_ledger_byte_for_byte(stage):
    one, other = ([*map(to_line, day(stage, 3).ledger.records)] for _ in range(2))
    assert one == other
    assert one != [*map(to_line, day(stage, 4).ledger.records)]


@pytest.mark.parametrize("seed", range(12))
def test_the_books_balance_on_every_seed(stage, seed):
    s = day(stage, seed)
    positions: dict[str, Decimal] = {}
    for symbol, side, quantity in s.written("executed", "symbol", "side", "quantity"):
        sign = 1 if side == "BUY" else -1
        positions[symbol] = positions.get(symbol, Decimal(0)) + sign * Decimal(quantity)
    last = dict(s.written("position", "symbol", "quantity"))
    assert {symbol: Decimal(quantity) for symbol, quantity in last.items()} == positions
    told = {held.contract.symbol: held.quantity for held in s.world.holdings()}
    assert told == positions
    executed = s.written("executed", "exec_id")
    assert (
        len(executed) == len(set(executed)) == len(s.written("commission", "exec_id"))
    )
    ordered = dict(s.written("placed", "perm_id", "quantity"))
    for perm_id, filled, remaining in s.written(
        "status", "perm_id", "filled", "remaining"
    ):
        assert Decimal(filled) + Decimal(remaining) <= Decimal(ordered[perm_id])
    assert s.world.all_open_orders() == []


def test_a_day_asks_the_clock_for_little_and_leaves_nothing_pending(stage):
    s = day(stage, 3)
    assert s.clock.calls < 600
    assert s.clock.pending == 0


def test_an_idle_world_asks_the_clock_for_nothing(stage):
    s = stage()
    assert s.clock.pending == 0
    s.place(1, "BUY 100 LMT 1")
    s.run_for(10)
    s.place(2, "BUY 9 LMT 1", tif="GTD", good_till_date="20260219 15:30:00 US/Eastern")
    s.place(3, "SELL 9 MKT", good_after_time="20260219 15:40:00 US/Eastern")
    s.run_for(10)
    assert s.clock.pending == 3
    s.world.global_cancel(7)
    s.run_for(1)
    assert s.clock.pending == 1
    s.run_to("16:00:00")
    assert s.clock.pending == 0


def reference() -> dict[str, list[str]]:
    """Return the fields of each event, as docs/reference/ledger.md lists them."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "ledger.md"
    rows = [
        line.split("|")[1:3]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    listed = {name.strip(" `"): re.findall(r"`(\w+)`", fields) for name, fields in rows}
    return {**listed, "modified": listed["placed"]}


def test_the_reference_lists_every_event_with_its_fields_in_order(stage):
    s = day(stage, 3)
    s.connect(7)
    s.place(900, "BUY 1 LMT 1", transmit=False)
    s.run_for(1)
    s.place(900, "BUY 2 LMT 1", transmit=False)
    s.world.cancel(7, 900)
    s.run_for(1)
    s.world.broadcast(Refusal(2103, "broken"))
    s.world.drop(7)
    s.world.lose_link()
    s.world.restore_link(data_lost=False)
    s.place(901, "BUY 1 LMT 1", transmit=False)
    s.world.restart(RestartTerms())
    written = {r["event"]: [*r][2:] for r in s.ledger.records}
    assert written == reference()
