from __future__ import annotations

from decimal import Decimal

import pytest

from daemon.fakegateway.books import (
    Funds,
    Trade,
    account_values,
    after_trade,
    commission_of,
)
from daemon.fakegateway.values import Contract, Holding

NOTHING = Holding("DU1", Contract(con_id=1, symbol="A"), Decimal(0), Decimal(0))


def trade(quantity: str, price: str, commission: str = "0") -> Trade:
    return Trade(Decimal(quantity), Decimal(price), Decimal(commission))


@pytest.mark.parametrize(
    ("shares", "price", "commission"),
    [
        ("100", "50", "1.00"),
        ("1000", "50", "5"),
        ("1", "20", "0.20"),
        ("100", "0.5", "0.5"),
    ],
)
def test_commission_is_half_a_cent_at_least_a_dollar_at_most_a_percent(
    shares, price, commission
):
    value = Decimal(shares) * Decimal(price)
    assert commission_of(Decimal(shares), value) == Decimal(commission)


def test_buying_averages_the_cost_with_its_commission():
    held, realized = after_trade(NOTHING, trade("100", "10", "1"))
    held, again = after_trade(held, trade("100", "12", "1"))
    assert (held.quantity, held.average_cost) == (200, Decimal("11.01"))
    assert realized is again is None


def test_selling_realizes_net_of_both_commissions_and_keeps_the_cost():
    held, _ = after_trade(NOTHING, trade("100", "10", "1"))
    held, realized = after_trade(held, trade("-40", "11", "1"))
    assert realized == Decimal("38.6")
    assert (held.quantity, held.average_cost) == (60, Decimal("10.01"))


def test_selling_more_than_is_held_makes_a_short_position_at_the_price():
    held, _ = after_trade(NOTHING, trade("100", "10"))
    held, realized = after_trade(held, trade("-130", "11"))
    assert realized == 100
    assert (held.quantity, held.average_cost) == (-30, 11)
    held, realized = after_trade(held, trade("30", "10.5"))
    assert realized == 15
    assert (held.quantity, held.average_cost, held.realized_pnl) == (0, 0, 115)


def test_account_values_follow_from_cash_and_positions():
    funds = Funds(
        cash=Decimal(90_000),
        long_value=Decimal(20_000),
        short_value=Decimal(-10_000),
        unrealized=Decimal(5),
        realized=Decimal(7),
    )
    values = {each.tag: each.value for each in account_values("DU1", funds)}
    assert values["NetLiquidation"] == "100000.00"
    assert values["GrossPositionValue"] == "30000.00"
    assert values["AvailableFunds"] == "85000.00"
    assert values["ExcessLiquidity"] == "92500.00"
    assert values["BuyingPower"] == "340000.00"
    assert values["TotalCashValue"] == "90000.00"
    assert values["AccountCode"] == "DU1"
