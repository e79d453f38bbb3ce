from __future__ import annotations

import ast
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import ib_async
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ib_async.util import UNSET_DOUBLE

from daemon import broker
from daemon.broker import convert
from daemon.core.model import (
    Account,
    Commission,
    ConId,
    Contract,
    Order,
    OrderId,
    OrderRef,
    OrderType,
    Side,
)

BLCO = Contract(con_id=ConId(526970210), symbol="BLCO", primary_exchange="NYSE")
ENTRY = Order(
    order_ref=OrderRef("ibkrd:20260219:BLCO:B:EN"),
    account=Account("DU1234567"),
    contract=BLCO,
    side=Side.BUY,
    quantity=181,
    order_type=OrderType.LIMIT,
    limit_price=Decimal("17.20"),
    tif="GTD",
    good_till=datetime.fromisoformat("2026-02-19T15:30:00-05:00"),
    oca_group="20260219:BLCO:B",
    oca_type=2,
    transmit=False,
)
STOCK = ib_async.Contract(secType="STK", conId=526970210, symbol="BLCO", currency="USD")


# --- numbers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "amount"),
    [
        (201.94, "201.94"),
        (0.1, "0.1"),
        (100.0, "100"),
        ("1E+2", "100"),
        (0.0, "0"),
        (-15.0, "-15"),
        (1e-05, "0.00001"),
        (Decimal("17.200"), "17.2"),
    ],
)
def test_an_amount_is_the_decimal_that_the_gateway_printed(given_, amount) -> None:
    assert convert.amount(given_) == Decimal(amount)


@given(st.decimals(min_value=0, max_value=10**6, places=4, allow_nan=False))
def test_a_price_survives_the_way_through_a_float(price: Decimal) -> None:
    assert convert.amount(float(price)) == price


@pytest.mark.parametrize("sentinel", [UNSET_DOUBLE, -UNSET_DOUBLE, 1e300])
def test_a_sentinel_is_not_known(sentinel: float) -> None:
    assert convert.known(sentinel) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e12])
def test_what_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="is no amount"):
        convert.known(value)


def test_zero_is_a_known_amount_but_no_price() -> None:
    assert convert.known(0.0) == 0
    assert convert.price_or_none(0.0) is None
    assert convert.price_or_none(UNSET_DOUBLE) is None
    assert convert.price_or_none(17.2) == Decimal("17.2")


def test_no_other_module_of_the_daemon_makes_a_float() -> None:
    folder = Path(broker.__file__).parents[0]
    makers = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "float"
    }
    assert makers == {"convert.py"}


# --- out ------------------------------------------------------------------------------


def test_a_contract_goes_out_routed_smart_with_its_con_id() -> None:
    sent = convert.to_contract(BLCO)
    assert (sent.conId, sent.secType, sent.exchange) == (526970210, "STK", "SMART")
    assert (sent.symbol, sent.primaryExchange, sent.currency) == ("BLCO", "NYSE", "USD")


def test_an_order_goes_out_as_it_is_meant() -> None:
    sent = convert.to_order(ENTRY, OrderId(11), OrderId(7))
    assert (sent.orderId, sent.parentId, sent.action) == (11, 7, "BUY")
    assert (sent.totalQuantity, sent.orderType, sent.lmtPrice) == (181, "LMT", 17.2)
    assert (sent.tif, sent.goodTillDate) == ("GTD", "20260219-20:30:00")
    assert (sent.ocaGroup, sent.ocaType) == ("20260219:BLCO:B", 2)
    assert (sent.account, sent.orderRef) == ("DU1234567", ENTRY.order_ref)
    assert sent.transmit is False
    assert sent.outsideRth is False


def test_a_price_that_an_order_has_not_is_unset_not_zero() -> None:
    market = replace(ENTRY, order_type=OrderType.MARKET_ON_CLOSE, limit_price=None)
    sent = convert.to_order(market, OrderId(11), OrderId(0))
    assert (sent.lmtPrice, sent.auxPrice) == (UNSET_DOUBLE, UNSET_DOUBLE)
    assert sent.goodAfterTime == ""


def test_an_instant_is_written_in_utc() -> None:
    moment = datetime.fromisoformat("2026-02-19T15:59:00-05:00")
    assert convert.instant(moment) == "20260219-20:59:00"


# --- in -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "side"),
    [
        ("BUY", Side.BUY),
        ("SELL", Side.SELL),
        ("SSHORT", Side.SELL),
    ],
)
def test_every_side_of_an_order_is_understood(word: str, side: Side) -> None:
    order = ib_async.Order(action=word, totalQuantity=5, orderType="LMT", clientId=3)
    working = convert.from_open_order(STOCK, order, "Submitted")
    assert working.side is side
    assert (working.client_id, working.remaining, working.filled) == (3, 5, 0)


def test_prices_that_are_not_set_on_an_open_order_are_none() -> None:
    order = ib_async.Order(
        action="SELL", totalQuantity=5, lmtPrice=0.0, auxPrice=16.655
    )
    working = convert.from_open_order(STOCK, order, "PreSubmitted")
    assert working.limit_price is None
    assert working.stop_price == Decimal("16.655")


@pytest.mark.parametrize(("word", "side"), [("BOT", Side.BUY), ("SLD", Side.SELL)])
def test_every_side_of_an_execution_is_understood(word: str, side: Side) -> None:
    execution = ib_async.Execution(
        execId="0000e1a1.01.01",
        time=datetime.fromisoformat("2026-02-19T10:00:01-05:00"),
        acctNumber="DU1234567",
        side=word,
        shares=12.0,
        price=17.185,
        orderRef="ibkrd:20260219:BLCO:B:EN",
    )
    fill = convert.from_execution(STOCK, execution)
    assert (fill.side, fill.quantity, fill.price) == (side, 12, Decimal("17.185"))
    assert fill.time == datetime(2026, 2, 19, 15, 0, 1, tzinfo=UTC)
    assert fill.time.tzinfo is UTC


@pytest.mark.parametrize("filled", [UNSET_DOUBLE, 2147483647, -1, float("nan")])
def test_a_completed_order_that_does_not_say_what_was_filled_is_refused(
    filled: float,
) -> None:
    """A field too many or too few before it: the gateway always names a quantity."""
    order = ib_async.Order(
        action="BUY", totalQuantity=181, filledQuantity=filled, permId=900001
    )
    with pytest.raises(ValueError, match=r"is no (amount|quantity)"):
        convert.from_completed(STOCK, order, "Cancelled")


@pytest.mark.parametrize("status", ["", "0", "1.7976931348623157E308", "None!"])
def test_an_order_whose_status_is_no_word_is_refused(status: str) -> None:
    order = ib_async.Order(action="BUY", totalQuantity=181, filledQuantity=0)
    with pytest.raises(ValueError, match="is no status"):
        convert.from_completed(STOCK, order, status)
    with pytest.raises(ValueError, match="is no status"):
        convert.from_open_order(STOCK, order, status)


def test_a_commission_keeps_what_is_known_of_it() -> None:
    told = ib_async.CommissionReport(
        execId="0000e1a1.01.01",
        commission=1.0,
        currency="USD",
        realizedPNL=UNSET_DOUBLE,
    )
    assert convert.from_commission(told) == Commission(
        "0000e1a1.01.01", Decimal(1), "USD", None
    )
    unknown = convert.from_commission(replace(told, commission=UNSET_DOUBLE))
    assert unknown.amount is None


def test_a_position_is_signed() -> None:
    told = ib_async.Position("DU1234567", STOCK, -15.0, 250.5)
    position = convert.from_position(told)
    assert (position.quantity, position.average_cost) == (-15, Decimal("250.5"))
    assert (position.sec_type, position.con_id) == ("STK", 526970210)


def test_details_without_a_contract_are_refused() -> None:
    with pytest.raises(ValueError, match="without a contract"):
        convert.from_details(ib_async.ContractDetails())


def test_what_is_kept_of_details_is_routed_smart() -> None:
    details = ib_async.ContractDetails(
        contract=replace(STOCK, exchange="IEX", primaryExchange="NYSE"),
        minTick=0.005,
        orderTypes="LMT,MOC,STP",
        liquidHours="20260219:0930-20260219:1600",
        timeZoneId="US/Eastern",
    )
    contract = convert.from_details(details)
    assert (contract.exchange, contract.primary_exchange) == ("SMART", "NYSE")
    assert contract.min_tick == Decimal("0.005")
    assert contract.order_types == {"LMT", "MOC", "STP"}
