from __future__ import annotations

import pytest

from daemon.fakegateway.listings import (
    Directory,
    default_listings,
    invent,
    reference_prices,
)
from daemon.fakegateway.values import Contract, Listing


def test_every_default_listing_has_its_own_id_and_a_price():
    listings = default_listings()
    assert len({one.contract.con_id for one in listings}) == len(listings) >= 40
    assert {one.contract.symbol for one in listings} == set(reference_prices())
    assert min(reference_prices().values()) > 0


def test_the_right_that_cannot_be_sold_is_listed_and_not_tradable():
    untradable = [one.contract.symbol for one in default_listings() if not one.tradable]
    assert untradable == ["AVDL.CVR"]


@pytest.mark.parametrize("symbol", ["F", "GOOGL", "BF B", "XYZ.CVR"])
def test_a_plausible_symbol_is_invented_always_the_same(symbol):
    first, again = invent(symbol), invent(symbol)
    assert first == again is not None
    assert first.contract.symbol == symbol
    assert first.contract.con_id >= 700_000_000


@pytest.mark.parametrize("symbol", ["ZZTOP", "ZZ", "", "lower", "TOOLONGNAME", "A-B"])
def test_a_symbol_that_cannot_be_does_not_exist(symbol):
    assert invent(symbol) is None


def test_a_contract_is_found_by_its_id_or_by_its_symbol():
    directory = Directory(default_listings(), [].append)
    assert directory.find(Contract(con_id=265598)).contract.symbol == "AAPL"
    assert directory.find(Contract(symbol="BRK B")).contract.con_id == 72063691
    assert directory.find(Contract(local_symbol="AAPL")).contract.con_id == 265598
    assert directory.find(Contract(con_id=1, symbol="AAPL")) is None
    assert directory.find(Contract(symbol="AAPL", currency="EUR")) is None
    assert directory.find(Contract(symbol="AAPL", sec_type="OPT")) is None
    assert directory.find(Contract(symbol="ZZTOP")) is None


def test_a_listing_is_announced_once_and_then_known_by_its_id():
    announced: list[Listing] = []
    directory = Directory(default_listings()[:2], announced.append)
    listing = directory.find(Contract(symbol="PLTR"))
    assert directory.find(Contract(con_id=listing.contract.con_id)) == listing
    assert directory.find(Contract(symbol="PLTR")) == listing
    assert [one.contract.symbol for one in announced] == ["AAPL", "ADBE", "PLTR"]
