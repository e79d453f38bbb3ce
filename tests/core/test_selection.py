from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from daemon.core.model import Account, Funds, RowOutcome, RowStatus
from daemon.core.plan import PlanRow
from daemon.core.rules import TradingRules
from daemon.core.selection import Circumstances, select_rows

RULES = TradingRules(
    account=Account("DU1"),
    row_limit_usd=Decimal(10_000),
    day_limit_usd=Decimal(25_000),
    loss_limit_usd=Decimal(5_000),
)
CALM = Circumstances(
    held=(),
    working=(),
    funds=Funds(net_liquidation=Decimal(100_000), available=Decimal(100_000)),
    cumulative=Decimal(0),
)


def row(symbol, quantity=100, price="50", line=2):
    return PlanRow(
        line=line,
        symbol=symbol,
        limit_price=Decimal(price),
        quantity=quantity,
        stop_loss=Decimal(40),
        take_profit_1=Decimal(60),
        take_profit_2=Decimal(70),
    )


def symbols(selection):
    return [chosen.symbol for chosen in selection.to_submit]


def reasons(selection):
    return {skip.symbol: skip.reason for skip in selection.skipped}


def only_reason(symbol_row, circumstances=CALM, rules=RULES):
    selection = select_rows([symbol_row], circumstances, rules)
    assert selection.to_submit == ()
    (skip,) = selection.skipped
    assert (skip.line, skip.symbol) == (symbol_row.line, symbol_row.symbol)
    assert skip.status is RowStatus.SKIPPED
    return skip.reason


def test_rows_that_fit_are_submitted_in_file_order():
    rows = [row("WEC"), row("KMI", line=3)]
    selection = select_rows(rows, CALM, RULES)
    assert selection.to_submit == tuple(rows)
    assert selection.skipped == ()


@pytest.mark.parametrize("quantity", [0, 1])
def test_a_quantity_below_two_is_skipped(quantity):
    assert only_reason(row("LH", quantity)) == (
        f"quantity {quantity} is below 2: it makes no two brackets"
    )


def test_a_symbol_on_the_ignore_list_is_skipped():
    assert only_reason(row("AVDL.CVR")) == "AVDL.CVR is on the ignore list (*.CVR)"


def test_a_symbol_with_a_position_is_skipped():
    now = replace(CALM, held={"WEC"})
    assert only_reason(row("WEC"), now) == "WEC has a position already"


def test_a_symbol_with_a_working_order_is_skipped():
    now = replace(CALM, working={"WEC"})
    assert only_reason(row("WEC"), now) == "WEC has a working order already"


def test_a_row_above_the_row_limit_is_skipped_with_the_figures():
    assert only_reason(row("KMI", 604, "17")) == (
        "604 x 17 = 10268 USD is above the row limit of 10000 USD"
    )


def test_a_row_at_the_row_limit_is_submitted():
    assert symbols(select_rows([row("KMI", 200)], CALM, RULES)) == ["KMI"]


def test_the_day_limit_is_spent_in_file_order_and_leaves_room_for_smaller_rows():
    rows = [row("A1", 200), row("A2", 200), row("A3", 101), row("A4", 100)]
    selection = select_rows(rows, CALM, RULES)
    assert symbols(selection) == ["A1", "A2", "A4"]
    assert reasons(selection) == {
        "A3": "101 x 50 = 5050 USD on top of 20000 USD is above the day limit"
        " of 25000 USD"
    }


def test_a_skipped_row_spends_nothing():
    rows = [row("A1", 200), row("A2", 1000), row("A3", 200), row("A4", 100)]
    assert symbols(select_rows(rows, CALM, RULES)) == ["A1", "A3", "A4"]


def test_the_plan_may_not_cost_more_than_the_available_funds():
    now = replace(CALM, funds=Funds(Decimal(50_000), available=Decimal(12_000)))
    selection = select_rows([row("A1", 200), row("A2", 41), row("A3", 40)], now, RULES)
    assert symbols(selection) == ["A1", "A3"]
    assert reasons(selection) == {
        "A2": "41 x 50 = 2050 USD on top of 10000 USD is above the available funds"
        " of 12000 USD"
    }


def test_unknown_funds_are_not_taken_for_any():
    now = replace(CALM, funds=Funds(Decimal(50_000), available=None))
    assert only_reason(row("WEC"), now) == (
        "the gateway did not say what funds are available"
    )


@pytest.mark.parametrize("cumulative", ["-5000.01", "-9000"])
def test_the_loss_breaker_stops_every_entry(cumulative):
    now = replace(CALM, cumulative=Decimal(cumulative))
    selection = select_rows([row("WEC"), row("KMI")], now, RULES)
    assert selection.to_submit == ()
    text = (
        f"the cumulative result {cumulative} USD is beyond the loss limit of 5000 USD"
    )
    assert reasons(selection) == {"WEC": text, "KMI": text}


@pytest.mark.parametrize("cumulative", ["-5000", "0", "333.37"])
def test_a_result_within_the_limit_stops_nothing(cumulative):
    now = replace(CALM, cumulative=Decimal(cumulative))
    assert symbols(select_rows([row("WEC")], now, RULES)) == ["WEC"]


@pytest.mark.parametrize("cumulative", [None, Decimal("NaN"), Decimal("-Infinity")])
def test_an_unreadable_history_counts_as_tripped(cumulative):
    assert only_reason(row("WEC"), replace(CALM, cumulative=cumulative)) == (
        "the cumulative result cannot be read: the loss limit of 5000 USD counts"
        " as reached"
    )


@pytest.mark.parametrize(
    "status", [RowStatus.SUBMITTED, RowStatus.REFUSED, RowStatus.UNKNOWN]
)
def test_a_row_that_ended_before_is_in_neither_list(status):
    now = replace(CALM, done=(RowOutcome(2, "WEC", status),), held={"WEC"})
    selection = select_rows([row("WEC")], now, RULES)
    assert (selection.to_submit, selection.skipped) == ((), ())


def test_a_row_that_was_skipped_before_is_judged_again():
    now = replace(CALM, done=(RowOutcome(2, "WEC", RowStatus.SKIPPED, "held"),))
    assert symbols(select_rows([row("WEC")], now, RULES)) == ["WEC"]


@pytest.mark.parametrize(
    ("status", "submitted"),
    [
        (RowStatus.SUBMITTED, []),
        (RowStatus.UNKNOWN, []),
        (RowStatus.REFUSED, ["A2"]),
    ],
)
def test_what_an_earlier_run_took_is_spent_unless_it_was_refused(status, submitted):
    rules = replace(RULES, day_limit_usd=Decimal(12_000))
    now = replace(CALM, done=(RowOutcome(2, "A1", status),))
    selection = select_rows([row("A1", 200), row("A2", 200)], now, rules)
    assert symbols(selection) == submitted


def test_a_row_begun_before_is_finished_whatever_its_own_orders_did():
    now = replace(
        CALM,
        held={"WEC"},
        working={"WEC"},
        begun={"WEC"},
        funds=Funds(Decimal(1), available=Decimal(1)),
    )
    selection = select_rows([row("WEC"), row("KMI")], now, RULES)
    assert symbols(selection) == ["WEC"]
    assert list(reasons(selection)) == ["KMI"]


def test_money_of_a_filled_row_has_left_the_available_funds_already():
    funds = Funds(Decimal(50_000), available=Decimal(6_000))
    now = replace(
        CALM, funds=funds, held={"A1"}, done=(RowOutcome(2, "A1", RowStatus.SUBMITTED),)
    )
    rows = [row("A1", 200), row("A2", 100)]
    assert symbols(select_rows(rows, now, RULES)) == ["A2"]
    assert symbols(select_rows(rows, replace(now, held=()), RULES)) == []


def test_every_row_is_accounted_for_once():
    rows = [row(f"S{number}", number * 40) for number in range(12)]
    selection = select_rows(rows, CALM, RULES)
    told = [*symbols(selection), *reasons(selection)]
    assert sorted(told) == sorted(each.symbol for each in rows)
