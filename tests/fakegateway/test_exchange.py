from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from daemon.fakegateway.exchange import (
    Levels,
    auction_print_delay_s,
    fill_price,
    levels,
    nearest,
    next_crossing,
    next_slice_delay_s,
    slice_quantity,
)
from daemon.fakegateway.prices import Market, Path
from daemon.fakegateway.values import Contract, MarketSession, OrderTicket

OPEN = datetime(2026, 2, 19, 14, 30, tzinfo=UTC)
DAY = MarketSession(date(2026, 2, 19), OPEN, OPEN + timedelta(minutes=2))
MARKET = Market(bid=Decimal("99.99"), ask=Decimal("100.01"), last=Decimal(100))


def order(text: str) -> OrderTicket:
    side, kind, *price = text.split()
    value = Decimal(price[0]) if price else None
    return OrderTicket(
        1,
        Contract(symbol="A"),
        side,
        Decimal(100),
        kind,
        limit_price=value if kind == "LMT" else None,
        aux_price=value if kind == "STP" else None,
    )


@pytest.mark.parametrize(
    ("text", "arriving", "resting"),
    [
        ("BUY MKT", "100.01", "100.01"),
        ("SELL MKT", "99.99", "99.99"),
        ("BUY LMT 100.01", "100.01", "100.01"),
        ("BUY LMT 100.00", None, None),
        ("BUY LMT 101", "100.01", "101"),
        ("SELL LMT 99.99", "99.99", "99.99"),
        ("SELL LMT 100.00", None, None),
        ("SELL LMT 98", "99.99", "98"),
        ("SELL STP 100", "99.99", "99.99"),
        ("SELL STP 99.99", None, None),
        ("BUY STP 100", "100.01", "100.01"),
        ("BUY STP 100.01", None, None),
        ("SELL MOC", None, None),
    ],
)
def test_an_order_trades_at_the_price_that_the_market_owes_it(text, arriving, resting):
    def price(*, comes: bool) -> str | None:
        found = fill_price(order(text), MARKET, arriving=comes)
        return None if found is None else str(found)

    assert price(comes=True) == arriving
    assert price(comes=False) == resting


def test_a_triggered_stop_is_a_market_order_wherever_the_price_went():
    above = Market(bid=Decimal(109), ask=Decimal(111), last=Decimal(110))
    stop = order("SELL STP 98")
    assert fill_price(stop, above, arriving=False) is None
    assert fill_price(stop, above, arriving=False, triggered=True) == Decimal(109)


PATH = Path(DAY, Decimal("0.01"), (10000, 10050, 9950, 10100, 9800, 9800, 1), 1)


@pytest.mark.parametrize(
    ("text", "wanted", "step"),
    [
        ("BUY LMT 99.51", Levels(low=9950), 2),
        ("BUY LMT 99.50", Levels(low=9949), 4),
        ("SELL LMT 100.99", Levels(high=10100), 3),
        ("SELL LMT 101", Levels(high=10101), None),
        ("SELL STP 98", Levels(low=9800), 4),
        ("BUY STP 100.50", Levels(high=10050), 1),
    ],
)
def test_a_resting_order_trades_at_the_first_step_that_meets_it(text, wanted, step):
    assert levels(order(text), PATH) == wanted
    assert next_crossing(PATH, 1, wanted) == step


def test_levels_agree_with_the_fill_rule_at_every_price():
    for text in ("BUY LMT 99.51", "SELL LMT 99.51", "BUY STP 99.51", "SELL STP 99.51"):
        for tick in range(9940, 9960):
            path = Path(DAY, Decimal("0.01"), (1, tick, 1), 1)
            wanted = levels(order(text), path)
            trades = fill_price(order(text), path.market(1), arriving=False)
            assert (next_crossing(path, 1, wanted) == 1) is (trades is not None), tick


def test_the_closing_price_is_not_part_of_continuous_trading():
    path = Path(DAY, Decimal("0.01"), (10000, 10000, 9000), 1)
    assert next_crossing(path, 0, Levels(low=9500)) is None


def test_the_nearest_levels_count():
    found = nearest([Levels(low=5), Levels(low=7, high=20), Levels(high=12)])
    assert found == Levels(low=7, high=12)
    assert nearest([]) == Levels()


def test_slices_are_whole_shares_and_add_up_for_every_seed():
    seen = set()
    for seed in range(300):
        left, executed = Decimal(196), 0
        while left:
            part = slice_quantity(left, seed, 42, executed)
            assert part == int(part) >= 1
            left, executed = left - part, executed + 1
        seen.add(executed)
    assert seen == {1, 2, 3, 4}


def test_one_share_is_not_divided():
    assert {slice_quantity(Decimal(1), seed, 1, 0) for seed in range(99)} == {
        Decimal(1)
    }


def test_pauses_and_auction_prints_keep_to_their_bounds_and_differ_by_symbol():
    pauses = [next_slice_delay_s(seed, 1, 1) for seed in range(200)]
    assert min(pauses) >= 0.1
    assert max(pauses) < 1.0
    prints = [auction_print_delay_s(1, f"S{n}", date(2026, 2, 19)) for n in range(99)]
    assert min(prints) >= 1
    assert max(prints) < 40
    assert len(set(prints)) == 99
