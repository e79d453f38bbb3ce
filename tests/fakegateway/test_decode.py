from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import ib_async
import pytest
from ib_async.client import Client
from ib_async.wrapper import Wrapper

from daemon.fakegateway import decode, decode_order
from daemon.fakegateway.decode import DecodeError, Fields
from daemon.fakegateway.values import Contract, OrderTicket

VERSIONS = range(157, 179)
NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 2, 19, 17, 0, tzinfo=UTC)
STOCK = ib_async.Contract(
    conId=265598, symbol="AAPL", secType="STK", exchange="SMART", currency="USD"
)


class Sender(Client):
    """ib_async's client, writing into a list."""

    def __init__(self, version: int) -> None:
        super().__init__(Wrapper(ib_async.IB()))
        self._serverVersion = version
        self.sent: list[list[str]] = []

    def isConnected(self) -> bool:  # noqa: N802  # ib_async's name
        return True

    def sendMsg(self, msg: str) -> None:  # noqa: N802  # ib_async's name
        self.sent.append(msg.split("\0")[:-1])


def sent(version: int, send: Callable[[Sender], None]) -> list[str]:
    sender = Sender(version)
    send(sender)
    (fields,) = sender.sent
    return fields


def placed(
    order: ib_async.Order, version: int, contract: ib_async.Contract = STOCK
) -> OrderTicket:
    fields = sent(version, lambda sender: sender.placeOrder(3, contract, order))
    assert fields[0] == "3"
    return decode_order.place_order(Fields(fields[1:]), version)


# --- orders by ib_async ---------------------------------------------------------


async def test_a_plain_order_has_114_fields_at_178() -> None:
    order = ib_async.MarketOrder("BUY", 10)
    fields = sent(178, lambda sender: sender.placeOrder(3, STOCK, order))
    assert len(fields) == 114


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_field_that_matters_is_read_at_every_version(version: int) -> None:
    order = ib_async.Order(
        action="SELL",
        totalQuantity=181,
        orderType="STP",
        lmtPrice=12.5,
        auxPrice=11.25,
        tif="GTC",
        ocaGroup="g",
        ocaType=1,
        account="DU1234567",
        openClose="C",
        orderRef="20260219/NOV/B/SL",
        transmit=False,
        parentId=2,
        outsideRth=True,
        hidden=True,
        goodAfterTime="20260219 12:00:00 US/Eastern",
        goodTillDate="20260219 15:00:00 US/Eastern",
        allOrNone=True,
        whatIf=True,
    )
    assert placed(order, version) == OrderTicket(
        order_id=3,
        contract=Contract(con_id=265598, symbol="AAPL"),
        action="SELL",
        quantity=Decimal(181),
        order_type="STP",
        limit_price=Decimal("12.5"),
        aux_price=Decimal("11.25"),
        tif="GTC",
        oca_group="g",
        account="DU1234567",
        open_close="C",
        order_ref="20260219/NOV/B/SL",
        transmit=False,
        parent_id=2,
        outside_rth=True,
        hidden=True,
        good_after_time="20260219 12:00:00 US/Eastern",
        good_till_date="20260219 15:00:00 US/Eastern",
        oca_type=1,
        all_or_none=True,
        what_if=True,
    )


@pytest.mark.parametrize("version", [157, 163, 164, 170, 173, 176, 177, 178])
@pytest.mark.parametrize(
    "extra",
    [
        {"algoStrategy": "Vwap", "algoParams": [ib_async.TagValue("maxPctVol", "0.1")]},
        {"deltaNeutralOrderType": "None", "deltaNeutralConId": 5},
        {"scalePriceIncrement": 0.5},
        {"hedgeType": "D", "hedgeParam": "0.5"},
        {"orderType": "PEG BENCH"},
        {"orderType": "PEG BEST", "competeAgainstBestOffset": 0.02},
        {"orderType": "PEG BEST", "competeAgainstBestOffset": math.inf},
        {"orderType": "PEG MID", "midOffsetAtWhole": 0.01},
        {
            "conditions": [
                ib_async.PriceCondition(conId=1, exch="SMART", price=3.0),
                ib_async.TimeCondition(time="20260219 15:00:00"),
                ib_async.MarginCondition(percent=30),
                ib_async.ExecutionCondition(secType="STK", exch="SMART", symbol="A"),
                ib_async.VolumeCondition(volume=100, conId=1, exch="SMART"),
                ib_async.PercentChangeCondition(conId=1, exch="SMART"),
            ],
            "conditionsCancelOrder": True,
        },
        {"orderMiscOptions": [ib_async.TagValue("a", "b")]},
        {"usePriceMgmtAlgo": True, "duration": 60, "minTradeQty": 4},
    ],
)
async def test_conditional_fields_leave_nothing_over(
    version: int, extra: dict[str, object]
) -> None:
    order = ib_async.Order(
        **{"action": "BUY", "totalQuantity": 1, "orderType": "LMT"} | extra  # type: ignore[arg-type]
    )
    order.whatIf = True
    assert placed(order, version).what_if


async def test_a_combo_inserts_its_legs() -> None:
    legs = [
        ib_async.ComboLeg(conId=1, ratio=1, action="BUY", exchange="SMART"),
        ib_async.ComboLeg(conId=2, ratio=1, action="SELL", exchange="SMART"),
    ]
    combo = ib_async.Contract(secType="BAG", symbol="A", comboLegs=legs)
    order = ib_async.LimitOrder("BUY", 1, 2.0)
    order.orderComboLegs = [ib_async.OrderComboLeg(price=1.0)]
    order.smartComboRoutingParams = [ib_async.TagValue("NonGuaranteed", "1")]
    order.goodAfterTime = "20260219 12:00:00"
    assert placed(order, 178, combo).good_after_time == "20260219 12:00:00"


async def test_an_ats_order_has_its_minimum() -> None:
    contract = ib_async.Contract(secType="STK", symbol="A", exchange="IBKRATS")
    order = ib_async.LimitOrder("BUY", 1, 2.0, minTradeQty=5)
    assert placed(order, 178, contract).quantity == 1


# --- what the official clients write where ib_async writes nothing -----------------


@pytest.mark.parametrize(
    "text",
    ["", "1.7976931348623157e+308", "1.7976931348623157E308", "2147483647", "nan"],
)
def test_every_sentinel_reads_as_unset(text: str) -> None:
    assert Fields([text]).number("lmtPrice") is None
    assert Fields([text]).integer("parentId") == 0


def test_an_unset_strike_reads_as_zero() -> None:
    row = "7|A|STK||1.7976931348623157e+308|||SMART||USD||"
    assert decode.read_contract(Fields(row.split("|"))).strike == "0"


# --- malformed messages -------------------------------------------------------------


async def test_a_cut_message_is_refused_by_the_name_of_the_missing_field() -> None:
    order = ib_async.MarketOrder("BUY", 10)
    fields = sent(178, lambda sender: sender.placeOrder(3, STOCK, order))
    with pytest.raises(DecodeError, match="ends before the field manualOrderTime"):
        decode_order.place_order(Fields(fields[1:-1]), 178)


async def test_fields_left_over_are_refused() -> None:
    order = ib_async.MarketOrder("BUY", 10)
    fields = sent(178, lambda sender: sender.placeOrder(3, STOCK, order))
    with pytest.raises(DecodeError, match="1 fields are left over"):
        decode_order.place_order(Fields([*fields[1:], "x"]), 178)


@pytest.mark.parametrize(
    ("take", "text", "named"),
    [
        (lambda fields: fields.integer("parentId"), "two", "parentId"),
        (lambda fields: fields.number("lmtPrice"), "cheap", "lmtPrice"),
        (lambda fields: fields.number("lmtPrice"), "-inf", "lmtPrice"),
        (lambda fields: fields.flag("transmit"), "yes", "transmit"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_by_name(
    take: Callable[[Fields], object], text: str, named: str
) -> None:
    with pytest.raises(DecodeError, match=named):
        take(Fields([text]))


async def test_an_unknown_condition_is_refused() -> None:
    order = ib_async.MarketOrder("BUY", 10)
    fields = sent(178, lambda sender: sender.placeOrder(3, STOCK, order))
    assert fields[89] == "0"
    with pytest.raises(DecodeError, match="no order condition has the type '9'"):
        decode_order.place_order(Fields([*fields[1:89], "1", "9", *fields[90:]]), 178)


# --- the other messages ---------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"v157..178", (157, 178, "")),
        (b"v100..157", (100, 157, "")),
        (b"v100..225 +PACEAPI", (100, 225, "+PACEAPI")),
        (b"v176", (176, 176, "")),
    ],
)
def test_a_version_range_is_read(
    payload: bytes, expected: tuple[int, int, str]
) -> None:
    offered = decode.version_range(payload)
    assert (offered.lowest, offered.highest, offered.options) == expected


@pytest.mark.parametrize("payload", [b"", b"178", b"v..178", b"\xff\xfe", b"v1..x"])
def test_garbage_is_no_version_range(payload: bytes) -> None:
    with pytest.raises(DecodeError, match="version range"):
        decode.version_range(payload)


@pytest.mark.parametrize("version", [157, 168, 169, 178])
async def test_a_cancel_is_read(version: int) -> None:
    fields = sent(version, lambda sender: sender.cancelOrder(42))
    assert decode.cancel_order(Fields(fields[1:]), version) == 42


async def test_start_api_is_read() -> None:
    sender = Sender(178)
    sender.clientId = 7
    sender.startApi()
    assert sender.sent[0][0] == "71"
    assert decode.start_api(Fields(sender.sent[0][1:])) == 7


async def test_an_execution_filter_is_read() -> None:
    wanted = ib_async.ExecutionFilter(
        clientId=3, acctCode="DU1", symbol="AAPL", side="BUY"
    )
    fields = sent(178, lambda sender: sender.reqExecutions(9, wanted))
    read = decode.executions(Fields(fields[1:]))
    assert (read.request_id, read.client_id, read.account) == (9, 3, "DU1")
    assert (read.symbol, read.side, read.since) == ("AAPL", "BUY", "")


@pytest.mark.parametrize("version", [157, 176, 178])
async def test_a_contract_question_is_read(version: int) -> None:
    fields = sent(version, lambda sender: sender.reqContractDetails(4, STOCK))
    request_id, contract = decode.contract_details(Fields(fields[1:]), version)
    assert (request_id, contract.con_id, contract.symbol) == (4, 265598, "AAPL")


@pytest.mark.parametrize("snapshot", [True, False])
async def test_a_market_data_request_is_read(snapshot: bool) -> None:
    fields = sent(
        178, lambda sender: sender.reqMktData(4, STOCK, "233", snapshot, False, [])
    )
    read = decode.market_data(Fields(fields[1:]))
    assert (read.request_id, read.contract.con_id) == (4, 265598)
    assert read.snapshot is snapshot


async def test_a_history_request_is_read() -> None:
    fields = sent(
        178,
        lambda sender: sender.reqHistoricalData(
            5, STOCK, "", "1 D", "5 mins", "TRADES", True, 2, False, []
        ),
    )
    read = decode.history(Fields(fields[1:]), NOW, NEW_YORK)
    assert (read.request_id, read.contract.con_id, read.end) == (5, 265598, NOW)
    assert (read.duration_s, read.bar_s) == (86_400, 300)
    assert read.epoch_dates
    assert not read.keep_up_to_date


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("20260219 15:30:00 US/Eastern", "2026-02-19T20:30:00+00:00"),
        ("20260219 15:30:00", "2026-02-19T20:30:00+00:00"),
        ("20260219  15:30:00", "2026-02-19T20:30:00+00:00"),
        ("20260219-20:30:00", "2026-02-19T20:30:00+00:00"),
        ("20260219 15:30:00 Europe/Budapest", "2026-02-19T14:30:00+00:00"),
    ],
)
def test_a_time_is_read_in_its_zone(text: str, utc: str) -> None:
    assert decode.moment(text, NEW_YORK).astimezone(UTC).isoformat() == utc


@pytest.mark.parametrize(
    "text", ["soon", "20260219", "20260219 15:30:00 Mars/Olympus", "20261319 15:30:00"]
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="no time of the form"):
        decode.moment(text, NEW_YORK)


@pytest.mark.parametrize("text", ["", "D", "1 X", "-1 D", "1.5 D"])
def test_a_length_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="no length"):
        decode.duration_seconds(text)
