from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.bracket import build_brackets
from daemon.core.model import (
    Account,
    ConId,
    Contract,
    OrderType,
    RowOutcome,
    RowStatus,
    Session,
    Side,
)
from daemon.core.plan import PlanRow
from daemon.core.rules import TradingRules

SESSION = Session(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
RULES = TradingRules(account=Account("DU1234567"))
BLCO = Contract(ConId(4815747), "BLCO")
ROW = PlanRow(
    line=2,
    symbol="BLCO",
    limit_price=Decimal("16.429"),
    quantity=270,
    stop_loss=Decimal("15.801"),
    take_profit_1=Decimal("17.259"),
    take_profit_2=Decimal("17.999"),
)


def build(row=ROW, contract=BLCO, session=SESSION, rules=RULES):
    return build_brackets(row, session, rules, contract)


def test_a_row_becomes_two_families_in_wire_order():
    families = build()
    assert [
        [
            (o.order_ref, o.side, o.order_type, o.quantity, o.limit_price, o.stop_price)
            for o in family.orders
        ]
        for family in families
    ] == [
        [
            (
                "ibkrd:20260219:BLCO:A:EN",
                Side.BUY,
                OrderType.LIMIT,
                89,
                Decimal("16.42"),
                None,
            ),
            (
                "ibkrd:20260219:BLCO:A:TP",
                Side.SELL,
                OrderType.LIMIT,
                89,
                Decimal("17.25"),
                None,
            ),
            (
                "ibkrd:20260219:BLCO:A:SL",
                Side.SELL,
                OrderType.STOP,
                89,
                None,
                Decimal("15.81"),
            ),
        ],
        [
            (
                "ibkrd:20260219:BLCO:B:EN",
                Side.BUY,
                OrderType.LIMIT,
                181,
                Decimal("16.42"),
                None,
            ),
            (
                "ibkrd:20260219:BLCO:B:TP",
                Side.SELL,
                OrderType.LIMIT,
                181,
                Decimal("17.99"),
                None,
            ),
            (
                "ibkrd:20260219:BLCO:B:SL",
                Side.SELL,
                OrderType.STOP,
                181,
                None,
                Decimal("15.81"),
            ),
        ],
    ]


def test_only_the_last_leg_transmits_its_family():
    assert [[o.transmit for o in family.orders] for family in build()] == [
        [False, False, True],
        [False, False, True],
    ]


def test_the_exits_hang_on_their_own_entry_in_a_group_of_their_own():
    for family, letter in zip(build(), "AB", strict=True):
        assert (family.entry.parent_ref, family.entry.oca_group) == (None, "")
        assert family.entry.oca_type == 0
        for exit_order in (family.take_profit, family.stop_loss):
            assert exit_order.parent_ref == f"ibkrd:20260219:BLCO:{letter}:EN"
            assert exit_order.oca_group == f"20260219:BLCO:{letter}"
            assert exit_order.oca_type == 2


def test_an_entry_dies_half_an_hour_before_the_close_and_exits_are_for_the_day():
    for family in build():
        assert family.entry.tif == "GTD"
        assert family.entry.good_till == datetime(2026, 2, 19, 20, 30, tzinfo=UTC)
        for exit_order in (family.take_profit, family.stop_loss):
            assert (exit_order.tif, exit_order.good_till) == ("DAY", None)


def test_on_a_half_day_an_entry_dies_before_the_early_close():
    half_day = Session(
        date(2026, 11, 27),
        datetime(2026, 11, 27, 14, 30, tzinfo=UTC),
        datetime(2026, 11, 27, 18, 0, tzinfo=UTC),
        half_day=True,
    )
    family, _ = build(session=half_day)
    assert family.entry.good_till == datetime(2026, 11, 27, 17, 30, tzinfo=UTC)


def test_every_intent_expires_at_the_submit_deadline_and_names_the_account():
    orders = [order for family in build() for order in family.orders]
    assert len(orders) == 6
    for order in orders:
        assert order.expires_at == datetime(2026, 2, 19, 15, 0, tzinfo=UTC)
        assert order.account == "DU1234567"
        assert order.contract == BLCO


def test_prices_follow_the_tick_of_the_contract():
    nickel = replace(BLCO, min_tick=Decimal("0.05"))
    family, _ = build(contract=nickel)
    assert family.entry.limit_price == Decimal("16.40")
    assert family.stop_loss.stop_price == Decimal("15.85")
    assert family.take_profit.limit_price == Decimal("17.25")


def test_a_row_whose_prices_meet_in_ticks_is_refused_with_the_figures():
    row = replace(ROW, limit_price=Decimal("16.429"), stop_loss=Decimal("16.421"))
    assert build(row) == RowOutcome(
        2,
        "BLCO",
        RowStatus.REFUSED,
        "in ticks of 0.01 stop 16.43 < entry 16.42 < take-profit 17.25 does not hold",
    )


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, take_profit_1=Decimal("16.4299")),
        replace(ROW, take_profit_2=Decimal("16.4299")),
        replace(ROW, limit_price=Decimal("0.009"), stop_loss=Decimal("0.001")),
    ],
)
def test_every_price_keeps_its_side_after_rounding(row):
    assert build(row).status is RowStatus.REFUSED


def test_a_contract_without_a_tick_size_refuses_the_row():
    outcome = build(contract=replace(BLCO, min_tick=Decimal(0)))
    assert outcome.reason == "the gateway gives BLCO no tick size"


@pytest.mark.parametrize("quantity", [0, 1])
def test_too_few_shares_make_no_brackets(quantity):
    assert build(replace(ROW, quantity=quantity)).status is RowStatus.REFUSED


prices = st.decimals("0.02", 2000, places=4)


@given(
    st.lists(prices, min_size=3, max_size=3, unique=True).map(sorted),
    st.sampled_from([Decimal("0.01"), Decimal("0.005"), Decimal("0.05")]),
    st.integers(2, 1500),
)
def test_rounding_never_worsens_a_price_and_no_share_is_lost(ladder, tick, quantity):
    stop, entry, target = ladder
    row = replace(
        ROW,
        quantity=quantity,
        stop_loss=stop,
        limit_price=entry,
        take_profit_1=target,
        take_profit_2=target,
    )
    built = build(row, contract=replace(BLCO, min_tick=tick))
    if isinstance(built, RowOutcome):
        return
    assert sum(family.entry.quantity for family in built) == quantity
    for family in built:
        assert stop <= family.stop_loss.stop_price < stop + tick
        assert entry - tick < family.entry.limit_price <= entry
        assert target - tick < family.take_profit.limit_price <= target
        assert (
            family.stop_loss.stop_price
            < family.entry.limit_price
            < family.take_profit.limit_price
        )
