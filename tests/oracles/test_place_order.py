from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ibapi import order_condition
from ibapi.tag_value import TagValue
from official import MODERN, VERSIONS, Loose, order, stock

from daemon.fakegateway import decode_order
from daemon.fakegateway.decode import Fields
from daemon.fakegateway.values import OrderTicket


def placed(version: int, made: Any) -> OrderTicket:
    client = Loose(version)
    client.placeOrder(5, stock("NOV"), made)
    assert client.errors() == []
    ((kind, *fields),) = client.sent
    assert kind == "3"
    return decode_order.place_order(Fields(fields), version)


def price_condition() -> Any:
    condition = order_condition.Create(order_condition.OrderCondition.Price)
    condition.conId, condition.exchange, condition.isMore = 1, "SMART", True
    condition.triggerMethod, condition.price = 0, 3.0
    return condition


def time_condition() -> Any:
    condition = order_condition.Create(order_condition.OrderCondition.Time)
    condition.isMore, condition.time = True, "20260219 15:00:00"
    return condition


@pytest.mark.parametrize("version", VERSIONS)
def test_the_parser_reads_what_the_official_client_writes(version: int) -> None:
    made = order("SELL", 196, "STP LMT", lmtPrice=19.1, auxPrice=19.2)
    made.orderRef, made.parentId, made.transmit = "ref/1", 4, False
    made.ocaGroup, made.ocaType, made.account = "g", 1, "DU1234567"
    made.goodAfterTime, made.goodTillDate = "20260219 12:00:00", "20260219 15:00:00"
    made.whatIf, made.outsideRth = True, True
    ticket = placed(version, made)
    assert (ticket.order_id, ticket.contract.symbol, ticket.action) == (
        5,
        "NOV",
        "SELL",
    )
    assert (ticket.quantity, ticket.order_type) == (Decimal(196), "STP LMT")
    assert (ticket.limit_price, ticket.aux_price) == (Decimal("19.1"), Decimal("19.2"))
    assert (ticket.order_ref, ticket.parent_id, ticket.transmit) == ("ref/1", 4, False)
    assert (ticket.oca_group, ticket.oca_type, ticket.account) == ("g", 1, "DU1234567")
    assert ticket.good_after_time == "20260219 12:00:00"
    assert ticket.good_till_date == "20260219 15:00:00"
    assert (ticket.what_if, ticket.outside_rth, ticket.tif) == (True, True, "DAY")


@pytest.mark.parametrize("version", VERSIONS)
def test_sentinels_of_the_official_client_read_as_unset(version: int) -> None:
    ticket = placed(version, order("BUY", 1, "MKT"))
    assert (ticket.limit_price, ticket.aux_price) == (None, None)
    assert ticket.contract.strike == "0"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "fields",
    [
        {"algoStrategy": "Vwap", "algoParams": [TagValue("maxPctVol", "0.1")]},
        {"deltaNeutralOrderType": "MKT", "deltaNeutralConId": 5},
        {"scalePriceIncrement": 0.5},
        {"hedgeType": "D", "hedgeParam": "0.5"},
        {"orderType": "PEG BENCH"},
        {"orderType": "PEG BEST"},
        {"orderType": "PEG MID"},
        {"conditions": [price_condition(), time_condition()]},
        {"usePriceMgmtAlgo": True},
    ],
)
def test_conditional_fields_leave_nothing_over(
    version: int, fields: dict[str, Any]
) -> None:
    made = order("BUY", 1, "LMT", lmtPrice=2.0)
    for name, value in fields.items():
        setattr(made, name, value)
    assert placed(version, made).quantity == 1


@pytest.mark.parametrize("version", [v for v in VERSIONS if v >= 170])
def test_an_offset_up_to_the_middle_has_two_more_fields(version: int) -> None:
    made = order("BUY", 1, "PEG BEST", competeAgainstBestOffset=float("inf"))
    assert placed(version, made).quantity == 1


@pytest.mark.skipif(MODERN, reason="only 9.81 sets them by default")
def test_the_defaults_that_a_gateway_refuses_are_seen() -> None:
    made = order("BUY", 1, "MKT")
    made.eTradeOnly = made.firmQuoteOnly = True
    ticket = placed(157, made)
    assert (ticket.e_trade_only, ticket.firm_quote_only) == (True, True)
