from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import ib_async
import pytest
from ib_async.decoder import Decoder
from ib_async.wrapper import Wrapper

from daemon.fakegateway import encode, encode_order
from daemon.fakegateway.frames import fields_of
from daemon.fakegateway.values import (
    AccountValue,
    Bar,
    BrokerOrder,
    CommissionReport,
    Contract,
    Execution,
    Holding,
    Listing,
    Margin,
    OrderTicket,
    Refusal,
)

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2026, 2, 19, 17, 0, 5, tzinfo=UTC)
VERSIONS = (157, 163, 164, 170, 173, 176, 177, 178)
DBL, INT, LONG = "1.7976931348623157E308", "2147483647", "9223372036854775807"
AAPL = Contract(
    con_id=265598,
    symbol="AAPL",
    primary_exchange="NASDAQ",
    local_symbol="AAPL",
    trading_class="NMS",
)
TICKET = OrderTicket(
    order_id=5,
    contract=AAPL,
    action="BUY",
    quantity=Decimal(100),
    order_type="MKT",
    account="DU1234567",
)
ORDER = BrokerOrder(ticket=TICKET, client_id=100, perm_id=600745656)
EXECUTION = Execution(
    exec_id="00025b49.64a2f2b5.01.01",
    perm_id=600745656,
    client_id=100,
    order_id=5,
    order_ref="r1",
    account="DU1234567",
    contract=AAPL,
    side="BOT",
    shares=Decimal(100),
    price=Decimal("201.94"),
    cum_quantity=Decimal(100),
    average_price=Decimal("201.94"),
    time=NOON,
)
HOLDING = Holding("DU1234567", AAPL, Decimal(100), Decimal("200.5"), Decimal("1.25"))
VALUE = AccountValue("DU1234567", "NetLiquidation", "1000000.00", "USD")
LISTING = Listing(contract=AAPL, long_name="Société Apple")
BAR = Bar(
    start=datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    open=Decimal("9.5"),
    high=Decimal(10),
    low=Decimal(9),
    close=Decimal("9.75"),
    volume=1200,
    wap=Decimal("9.6"),
    count=14,
)

OPEN_ORDER_178 = (
    "5|5|265598|AAPL|STK||0|?||SMART|USD|AAPL|NMS|BUY|100|MKT|0.0|0.0|DAY||DU1234567"
    "||0||100|600745656|0|0|0||600745656.0/DU1234567/100|||||||||0||-1|0||||||"
    f"{INT}|0|0|0||3|0|0||0|0||0|None||0||||?|0|0||0|0||||||0|0|0|{INT}|{INT}"
    f"|||0||IB|0|0||0|0|PreSubmitted|{DBL}|{DBL}|{DBL}|{DBL}|{DBL}|{DBL}|{DBL}|{DBL}"
    f"|{DBL}||||||0|0|0|None|{DBL}|{DBL}|{DBL}|{DBL}|{DBL}|{DBL}|0||||0|1|0|0|0|||0"
    "||100|0.02||"
)
COMPLETED_178 = (
    "101|265598|AAPL|STK||0|||SMART|USD|AAPL|NMS|BUY|100|MKT|0.0|0.0|DAY||DU1234567"
    "||0||600745656|0|0|0||||||||||0||-1|||||||0|0||3|0||0|None||0|0|0||0|0|||"
    "|0|0|0|||||"
    f"|IB|0|0||0|Filled|0|0|0|||0|0|0||100|{INT}|0||0|0|{LONG}"
    f"|20260219 12:00:05 America/New_York|Filled Size: 100||{INT}|||"
)


def row(message: bytes) -> list[str]:
    return fields_of(message[4:])


def of(names: encode_order.Table, message: bytes, version: int) -> dict[str, str]:
    present = [each.name for each in names if each.since <= version < each.until]
    return dict(zip(present, row(message), strict=True))


# --- the field tables -----------------------------------------------------------


def test_open_order_at_178_is_the_captured_row() -> None:
    assert row(encode_order.open_order(ORDER, 178)) == OPEN_ORDER_178.split("|")


@pytest.mark.parametrize(
    ("version", "count"),
    [
        (157, 128),
        (158, 129),
        (160, 130),
        (162, 131),
        (170, 136),
        (176, 136),
        (177, 135),
    ],
)
def test_open_order_grows_with_the_version(version: int, count: int) -> None:
    assert len(row(encode_order.open_order(ORDER, version))) == count


def test_completed_order_at_178_is_the_table() -> None:
    order = replace(
        ORDER,
        status="Filled",
        filled=Decimal(100),
        completed_at=NOON,
        completed_status="Filled Size: 100",
    )
    message = encode_order.completed_order(order, 178, NEW_YORK)
    assert row(message) == COMPLETED_178.split("|")


def test_the_advisor_profile_ends_with_177() -> None:
    assert len(row(encode_order.completed_order(ORDER, 176, NEW_YORK))) == 101
    assert len(row(encode_order.completed_order(ORDER, 177, NEW_YORK))) == 100


def test_an_unknown_name_is_refused_by_the_table() -> None:
    with pytest.raises(ValueError, match="noSuchField"):
        encode_order.fill(encode_order.OPEN_ORDER, {"noSuchField": "1"}, 178)


def test_an_order_is_echoed_with_what_it_said() -> None:
    ticket = replace(
        TICKET,
        action="SELL",
        quantity=Decimal("10.0"),
        order_type="LMT",
        limit_price=Decimal("12.30"),
        tif="GTC",
        oca_group="g",
        oca_type=1,
        order_ref="ref/1",
        parent_id=4,
        outside_rth=True,
        good_after_time="20260219 12:00:00 US/Eastern",
        good_till_date="20260219 15:00:00 US/Eastern",
    )
    message = encode_order.open_order(replace(ORDER, ticket=ticket), 178)
    fields = of(encode_order.OPEN_ORDER, message, 178)
    assert {name: fields[name] for name in ECHOED} == ECHOED


ECHOED = {
    "action": "SELL",
    "totalQuantity": "10",
    "orderType": "LMT",
    "lmtPrice": "12.3",
    "auxPrice": "0.0",
    "tif": "GTC",
    "ocaGroup": "g",
    "ocaType": "1",
    "orderRef": "ref/1",
    "parentId": "4",
    "outsideRth": "1",
    "goodAfterTime": "20260219 12:00:00 US/Eastern",
    "goodTillDate": "20260219 15:00:00 US/Eastern",
    "clientId": "100",
    "permId": "600745656",
}


def test_a_known_commission_is_in_the_open_order() -> None:
    order = replace(ORDER, status="Filled", commission=Decimal(1))
    fields = of(encode_order.OPEN_ORDER, encode_order.open_order(order, 178), 178)
    assert (fields["commission"], fields["commissionCurrency"]) == ("1.0", "USD")


def test_a_preview_carries_margins_and_no_sentinel() -> None:
    margin = Margin(
        init_before=Decimal(10), init_change=Decimal(5), equity_before=Decimal(7)
    )
    order = replace(ORDER, ticket=replace(TICKET, what_if=True), margin=margin)
    fields = of(encode_order.OPEN_ORDER, encode_order.open_order(order, 178), 178)
    assert fields["whatIf"] == "1"
    assert fields["initMarginBefore"] == "10.0"
    assert fields["initMarginChange"] == "5.0"
    assert fields["initMarginAfter"] == "15.0"
    assert fields["equityWithLoanAfter"] == "7.0"


def test_order_status_has_twelve_fields() -> None:
    order = replace(
        ORDER,
        status="Submitted",
        filled=Decimal(40),
        average_price=Decimal("201.94"),
        last_price=Decimal(202),
        why_held="child",
    )
    assert "|".join(row(encode_order.order_status(order))) == (
        "3|5|Submitted|40|60|201.94|600745656|0|202.0|100|child|0"
    )


@pytest.mark.parametrize(
    ("version", "time", "tail"),
    [
        (157, "20260219  12:00:05", "2"),
        (174, "20260219 12:00:05 America/New_York", "2"),
        (178, "20260219 12:00:05 America/New_York", "2|0"),
    ],
)
def test_exec_details_by_version(version: int, time: str, tail: str) -> None:
    message = encode.exec_details(-1, EXECUTION, version, NEW_YORK)
    assert "|".join(row(message)) == (
        "11|-1|5|265598|AAPL|STK||0|||SMART|USD|AAPL|NMS|00025b49.64a2f2b5.01.01|"
        f"{time}|DU1234567|IEX|BOT|100|201.94|600745656|100|0|100|201.94|r1||||{tail}"
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (encode.next_valid_id(7), "9|1|7"),
        (encode.managed_accounts(("A1", "A2")), "15|1|A1,A2"),
        (encode.error(3, Refusal(201, "no"), 165), "4|2|3|201|no"),
        (encode.error(3, Refusal(201, "no"), 166), "4|2|3|201|no|"),
        (encode.current_time(NOON), "49|1|1771520405"),
        (
            encode.commission_report(CommissionReport("e.01", Decimal("1.0"))),
            f"59|1|e.01|1.0|USD|{DBL}|{DBL}|",
        ),
        (
            encode.commission_report(
                CommissionReport("e.01", Decimal("0.35"), realized_pnl=Decimal(-2))
            ),
            f"59|1|e.01|0.35|USD|-2.0|{DBL}|",
        ),
        (
            encode.position(HOLDING),
            "61|3|DU1234567|265598|AAPL|STK||0|||NASDAQ|USD|AAPL|NMS|100|200.5",
        ),
        (
            encode.portfolio_value(HOLDING, Decimal(201)),
            (
                "7|8|265598|AAPL|STK||0|0||NASDAQ|USD|AAPL|NMS|100|201.0|20100.0"
                "|200.5|50.0|1.25|DU1234567"
            ),
        ),
        (
            encode.account_value(VALUE),
            "6|2|NetLiquidation|1000000.00|USD|DU1234567",
        ),
        (encode.account_time(NOON, NEW_YORK), "8|1|12:00"),
        (
            encode.account_update_multi(4, VALUE),
            "73|1|4|DU1234567||NetLiquidation|1000000.00|USD",
        ),
        (
            encode.account_summary(4, VALUE),
            "63|1|4|DU1234567|NetLiquidation|1000000.00|USD",
        ),
        (encode.tick_price(2, 4, Decimal("9.5"), 100), "1|6|2|4|9.5|100|0"),
        (encode.tick_size(2, 8, 100), "2|6|2|8|100"),
        (encode.tick_request_parameters(2, Decimal("0.01")), "81|2|0.01|9c0001|3"),
        (
            encode.historical_data(2, ("a", "b"), [("20260219", BAR)]),
            "17|2|a|b|1|20260219|9.5|10.0|9.0|9.75|1200|9.6|14",
        ),
        (
            encode.market_rule("26", [(Decimal(0), Decimal("0.01"))]),
            "93|26|1|0.0|0.01",
        ),
    ],
)
def test_the_layout_of_a_message(message: bytes, text: str) -> None:
    assert "|".join(row(message)) == text


CONTRACT_MIDDLE = (
    "ACTIVETIM,DAY,GAT,GTC,GTD,LMT,MKT,MOC,STP,WHATIF|SMART,AMEX,NYSE,NASDAQ,ARCA,"
    "BATS,IEX|1|0|Soci\\xe9t\\xe9 Apple|NASDAQ|||||US/Eastern|t|l|||0|1|||"
    "26,26,26,26,26,26,26||COMMON"
)


@pytest.mark.parametrize(
    ("version", "head", "tail"),
    [
        (157, "10|8|9|AAPL|STK||0||SMART|USD|AAPL|NMS|NMS|265598|0.01|100||", ""),
        (163, "10|8|9|AAPL|STK||0||SMART|USD|AAPL|NMS|NMS|265598|0.01|100||", "|1"),
        (164, "10|9|AAPL|STK||0||SMART|USD|AAPL|NMS|NMS|265598|0.01||", "|1|1|100"),
        (178, "10|9|AAPL|STK||0||SMART|USD|AAPL|NMS|NMS|265598|0.01||", "|1|1|100"),
    ],
)
def test_contract_details_by_version(version: int, head: str, tail: str) -> None:
    message = encode.contract_details(9, LISTING, ("t", "l"), version)
    assert "|".join(row(message)) == head + CONTRACT_MIDDLE + tail


def test_text_outside_ascii_is_escaped() -> None:
    assert row(encode.error(1, Refusal(201, "é\n"), 157))[-1] == "\\xe9\\n"


# --- ib_async's decoder accepts it all, silently ---------------------------------


def decoder(version: int) -> Decoder:
    ib = ib_async.IB()
    ib.wrapper.clientId = 100
    return Decoder(ib.wrapper, version)


Build = Callable[[int], bytes]
WHATIF = replace(ORDER, ticket=replace(TICKET, what_if=True), margin=Margin())
ALGO = replace(ORDER, ticket=replace(TICKET, algo_strategy="Vwap"))
MESSAGES: dict[str, Build] = {
    "openOrder": lambda v: encode_order.open_order(ORDER, v),
    "orderStatus": lambda _: encode_order.order_status(ORDER),
    "algo order": lambda v: encode_order.open_order(ALGO, v),
    "openOrderEnd": lambda _: encode_order.open_order_end(),
    "execDetails": lambda v: encode.exec_details(-1, EXECUTION, v, NEW_YORK),
    "execDetailsEnd": lambda _: encode.exec_details_end(1),
    "commissionReport": lambda _: encode.commission_report(
        CommissionReport(EXECUTION.exec_id, Decimal(1))
    ),
    "position": lambda _: encode.position(HOLDING),
    "positionEnd": lambda _: encode.position_end(),
    "portfolioValue": lambda _: encode.portfolio_value(HOLDING, Decimal(201)),
    "accountValue": lambda _: encode.account_value(VALUE),
    "accountTime": lambda _: encode.account_time(NOON, NEW_YORK),
    "accountDownloadEnd": lambda _: encode.account_download_end("DU1234567"),
    "accountUpdateMulti": lambda _: encode.account_update_multi(3, VALUE),
    "accountUpdateMultiEnd": lambda _: encode.account_update_multi_end(3),
    "accountSummary": lambda _: encode.account_summary(3, VALUE),
    "accountSummaryEnd": lambda _: encode.account_summary_end(3),
    "error": lambda v: encode.error(-1, Refusal(2104, "farm"), v),
    "currentTime": lambda _: encode.current_time(NOON),
    "nextValidId": lambda _: encode.next_valid_id(3),
    "marketDataType": lambda _: encode.market_data_type(3, 1),
    "tickSnapshotEnd": lambda _: encode.tick_snapshot_end(3),
    "marketRule": lambda _: encode.market_rule("26", [(Decimal(0), Decimal("0.01"))]),
    "contractDetailsEnd": lambda _: encode.contract_details_end(3),
}


@pytest.mark.parametrize("version", VERSIONS)
async def test_ib_async_decodes_every_message_without_an_error(
    version: int, caplog: pytest.LogCaptureFixture
) -> None:
    subject = decoder(version)
    with caplog.at_level(logging.ERROR):
        for build in MESSAGES.values():
            subject.interpret(row(build(version)))
    assert [record.getMessage() for record in caplog.records] == []


class Heard(Wrapper):
    """A wrapper that keeps what the decoder calls."""

    def __init__(self) -> None:
        super().__init__(ib_async.IB())
        self.calls: list[tuple[object, ...]] = []

    def openOrder(self, *args: object) -> None:  # noqa: N802  # ib_async's name
        self.calls.append(args)

    completedOrder = openOrder  # noqa: N815
    contractDetails = openOrder  # noqa: N815
    historicalData = openOrder  # noqa: N815
    execDetails = openOrder  # noqa: N815


def heard(message: bytes, version: int) -> tuple[object, ...]:
    wrapper = Heard()
    Decoder(wrapper, version).interpret(row(message))
    (call,) = wrapper.calls
    return call


@pytest.mark.parametrize("version", VERSIONS)
async def test_ib_async_reads_the_order_that_was_meant(version: int) -> None:
    ticket = replace(TICKET, order_type="LMT", limit_price=Decimal("12.3"), parent_id=4)
    message = encode_order.open_order(replace(ORDER, ticket=ticket), version)
    order_id, contract, order, state = heard(message, version)
    assert isinstance(contract, ib_async.Contract)
    assert isinstance(order, ib_async.Order)
    assert isinstance(state, ib_async.OrderState)
    assert (order_id, contract.conId, order.permId) == (5, 265598, 600745656)
    assert (order.lmtPrice, order.parentId, order.clientId) == (12.3, 4, 100)
    assert (order.totalQuantity, state.status) == (100.0, "PreSubmitted")
    assert order.minTradeQty == ib_async.util.UNSET_INTEGER


@pytest.mark.parametrize("version", VERSIONS)
async def test_ib_async_reads_the_preview(version: int) -> None:
    margin = Margin(init_change=Decimal("5.5"))
    message = encode_order.open_order(replace(WHATIF, margin=margin), version)
    _, _, order, state = heard(message, version)
    assert isinstance(order, ib_async.Order)
    assert isinstance(state, ib_async.OrderState)
    assert order.whatIf
    assert state.initMarginChange == "5.5"


@pytest.mark.parametrize("version", VERSIONS)
async def test_ib_async_reads_the_completed_order(version: int) -> None:
    order = replace(ORDER, status="Filled", filled=Decimal(100), completed_at=NOON)
    contract, read, state = heard(
        encode_order.completed_order(order, version, NEW_YORK), version
    )
    assert isinstance(contract, ib_async.Contract)
    assert isinstance(read, ib_async.Order)
    assert isinstance(state, ib_async.OrderState)
    assert (contract.symbol, read.permId, read.filledQuantity) == (
        "AAPL",
        600745656,
        100.0,
    )
    assert state.completedTime == "20260219 12:00:05 America/New_York"


@pytest.mark.parametrize("version", VERSIONS)
async def test_ib_async_reads_the_contract(version: int) -> None:
    hours = ("20260219:0400-20260219:2000", "20260219:0930-20260219:1600")
    request_id, details = heard(
        encode.contract_details(9, LISTING, hours, version), version
    )
    assert isinstance(details, ib_async.ContractDetails)
    assert details.contract is not None
    assert (request_id, details.contract.conId, details.minTick) == (9, 265598, 0.01)
    assert details.longName == "Société Apple"
    assert details.liquidHours == "20260219:0930-20260219:1600"
    assert details.timeZoneId == "US/Eastern"
    assert (details.stockType, details.orderTypes) == ("COMMON", LISTING.order_types)


@pytest.mark.parametrize("version", [174, 178])
async def test_ib_async_reads_the_time_of_an_execution(version: int) -> None:
    message = encode.exec_details(-1, EXECUTION, version, NEW_YORK)
    _, _, execution = heard(message, version)
    assert isinstance(execution, ib_async.Execution)
    assert execution.time == NOON
    assert (execution.shares, execution.orderRef) == (100.0, "r1")


async def test_ib_async_reads_the_bars() -> None:
    message = encode.historical_data(2, ("", ""), [("20260219", BAR)])
    request_id, bar = heard(message, 178)
    assert isinstance(bar, ib_async.BarData)
    assert (request_id, bar.high, bar.volume, bar.barCount) == (2, 10.0, 1200.0, 14)
