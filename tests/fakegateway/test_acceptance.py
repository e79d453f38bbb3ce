from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from daemon.fakegateway.acceptance import frozen, late_for_auction
from daemon.fakegateway.values import Contract, Listing, MarketSession

CLOSE = datetime(2026, 2, 19, 21, 0, tzinfo=UTC)
SESSION = MarketSession(date(2026, 2, 19), CLOSE - timedelta(hours=6.5), CLOSE)
ONE_US = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("exchange", "minutes"), [("NYSE", 10), ("AMEX", 10), ("ARCA", 10), ("NASDAQ", 5)]
)
def test_the_auction_takes_no_order_from_its_cutoff_on(exchange, minutes):
    listing = Listing(Contract(symbol="A", primary_exchange=exchange))
    cutoff = CLOSE - timedelta(minutes=minutes)
    assert not late_for_auction(listing, cutoff - ONE_US, SESSION)
    assert late_for_auction(listing, cutoff, SESSION)
    assert late_for_auction(listing, CLOSE - ONE_US, SESSION)
    assert not late_for_auction(listing, CLOSE, SESSION)


def test_an_order_in_the_auction_is_frozen_from_ten_minutes_before_the_close():
    freeze = CLOSE - timedelta(minutes=10)
    assert not frozen(freeze - ONE_US, SESSION)
    assert frozen(freeze, SESSION)
    assert not frozen(CLOSE, None)
