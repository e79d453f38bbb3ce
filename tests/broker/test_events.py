from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from daemon.broker.events import TappedIB, quietly
from daemon.core.executions import latest
from daemon.core.model import (
    Commission,
    Fill,
    Notice,
    OrderUpdate,
    WorkingOrder,
)
from daemon.fakegateway import encode
from daemon.fakegateway.frames import frame
from daemon.fakegateway.values import (
    CommissionReport,
    Contract,
    Execution,
    GatewaySettings,
    Refusal,
)

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

UNSET = "1.7976931348623157E308"
EXECUTED_AT = datetime(2026, 2, 19, 15, 0, 1, tzinfo=UTC)


def execution(exec_id: str, shares: str, price: str = "17.18") -> bytes:
    return encode.exec_details(
        -1,
        Execution(
            exec_id=exec_id,
            perm_id=900001,
            client_id=10,
            order_id=5,
            order_ref="ibkrd:20260219:BLCO:B:EN",
            account="DU1234567",
            contract=Contract(con_id=526970210, symbol="BLCO"),
            side="BOT",
            shares=Decimal(shares),
            price=Decimal(price),
            cum_quantity=Decimal(shares),
            average_price=Decimal(price),
            time=EXECUTED_AT,
        ),
        178,
        ZoneInfo("America/New_York"),
    )


async def settle() -> None:
    await asyncio.sleep(0.01)


# --- what the gateway says, before ib_async judges it -------------------------------


async def test_a_commission_that_is_a_sentinel_is_not_known(house) -> None:
    async with house() as h:
        await h.ready()
        h.inject(frame("59", "1", "0000e1a1.01.01", UNSET, "USD", UNSET, UNSET, ""))
        await settle()
        assert h.heard[-1] == Commission("0000e1a1.01.01", None, "USD", None)


async def test_a_commission_of_an_opening_trade_has_no_realized_result(house) -> None:
    async with house() as h:
        await h.ready()
        h.inject(
            encode.commission_report(CommissionReport("0000e1a1.01.01", Decimal("1.5")))
        )
        await settle()
        assert h.heard[-1] == Commission("0000e1a1.01.01", Decimal("1.5"), "USD", None)


async def test_a_corrected_execution_is_told_and_counts_once(house) -> None:
    async with house() as h:
        await h.ready()
        h.inject(
            execution("0000e1a1.68a1.01.01", "100"),
            execution("0000e1a1.68a1.01.02", "90", "17.19"),
        )
        await settle()
        fills = [e for e in h.heard if isinstance(e, Fill)]
        assert [(f.exec_id, f.quantity) for f in fills] == [
            ("0000e1a1.68a1.01.01", 100),
            ("0000e1a1.68a1.01.02", 90),
        ]
        assert [(f.quantity, f.price) for f in latest(fills)] == [
            (90, Decimal("17.19"))
        ]


async def test_an_execution_is_told_with_its_instant_in_utc(house) -> None:
    async with house() as h:
        await h.ready()
        h.inject(execution("0000e1a1.68a1.01.01", "100"))
        await settle()
        (fill,) = [e for e in h.heard if isinstance(e, Fill)]
        assert fill.time == EXECUTED_AT
        assert fill.time.tzinfo is UTC


async def test_an_execution_of_an_order_that_ib_async_does_not_know_is_told(
    house,
) -> None:
    async with house() as h:
        await h.ready()
        h.inject(execution("0000e1a1.68a1.01.01", "100"))
        await settle()
        (fill,) = [e for e in h.heard if isinstance(e, Fill)]
        assert fill.order_ref == "ibkrd:20260219:BLCO:B:EN"


async def test_an_order_status_of_an_order_that_ib_async_does_not_know_is_told(
    house,
) -> None:
    async with house() as h:
        await h.ready()
        status = ("Submitted", "0", "181", "0.0", "900001", "0", "0", "10", "", "0.0")
        h.inject(frame("3", "777", *status))
        await settle()
        (update,) = [e for e in h.heard if isinstance(e, OrderUpdate)]
        assert (update.order_id, update.perm_id, update.status) == (
            777,
            900001,
            "Submitted",
        )


@pytest.mark.parametrize("code", [399, 404, 2109, 10349, 201, 202])
async def test_a_code_on_an_order_is_a_notice_and_changes_nothing_by_itself(
    house, make_order, code: int
) -> None:
    async with house() as h:
        await h.ready()
        await h.session.send([(5, make_order("A:EN", "BUY 10 LMT 90.00"))])
        await asyncio.sleep(1)
        before = len(h.heard)
        h.inject(encode.error(5, Refusal(code, "Order Message: something"), 178))
        await settle()
        assert h.heard[before:] == [Notice(5, code, "Order Message: something")]
        (working,) = await h.session.open_orders()
        assert working.status == "Submitted"


async def test_an_order_of_another_client_keeps_its_client(house) -> None:
    async with house() as h:
        await h.ready()
        h.foreign(5, "BUY 10 LMT 90.00", client_id=0)
        await asyncio.sleep(1)
        before = len(h.heard)
        await h.session.all_open_orders()
        told = [e for e in h.heard[before:] if isinstance(e, WorkingOrder)]
        assert [(o.client_id, o.order_id, o.order_ref) for o in told] == [
            (0, 5, "by hand")
        ]


async def test_a_system_notice_names_no_order(house) -> None:
    async with house() as h:
        await h.ready()
        assert {n.order_id for n in h.notices(2104)} == {-1}


async def test_what_the_gateway_says_is_told_in_its_order(house, make_order) -> None:
    async with house() as h:
        await h.ready()
        before = len(h.heard)
        await h.session.send([(5, make_order("A:EN", "BUY 10 MKT"))])
        await asyncio.sleep(5)
        told = [type(e).__name__ for e in h.heard[before:]]
        assert told.index("WorkingOrder") < told.index("Fill")
        assert told.index("Fill") < told.index("Commission")


# --- what ib_async logs -------------------------------------------------------------


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelname, record.getMessage()))

    def of(self, start: str) -> list[str]:
        return [level for level, text in self.records if text.startswith(start)]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, logger = Kept(), logging.getLogger("ib_async")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


REPEATED = [
    ("ib_async.client", "API connection failed: TimeoutError()"),
    ("ib_async.client", "Make sure API port on TWS/IBG is open"),
    ("ib_async.client", "Peer closed connection. clientId 10 already in use?"),
    ("ib_async.client", "[Errno 104] Connection reset by peer"),
    ("ib_async.wrapper", "Error 202, reqId 5: Order Canceled - reason:"),
    ("ib_async.wrapper", "Error 326, reqId -1: Unable to connect"),
    ("ib_async.wrapper", "Warning 399, reqId 5: Order Message"),
    ("ib_async.wrapper", "Canceled order: Trade(...)"),
    ("ib_async.wrapper", "IBKR API validation warning: Trade(...)"),
    ("ib_async.ib", "positions request timed out"),
    ("ib_async.ib", "account updates for DU1 request timed out"),
    ("ib_async.ib", "cancelOrder: Unknown orderId 5"),
]


@pytest.mark.parametrize(("name", "text"), REPEATED)
def test_what_the_daemon_logs_itself_is_debug(kept, name: str, text: str) -> None:
    with quietly():
        logging.getLogger(name).error(text)
    assert kept.records == [("DEBUG", text)]


GENUINE = [
    ("ib_async.client", "Error handling fields: ['5', '']"),
    ("ib_async.Decoder", "Error handling fields: ['5', '']"),
    ("ib_async.Decoder", "Error 202, reqId 5: the decoder never says this"),
    ("ib_async.wrapper", "completedOrder: unexpected error"),
    ("ib_async.wrapper", "Some Error 202, reqId 5"),
    ("ib_async.ib", "a failure nobody has listed"),
]


@pytest.mark.announces("")
@pytest.mark.parametrize(("name", "text"), GENUINE)
def test_every_other_error_stays_an_error(kept, name: str, text: str) -> None:
    with quietly():
        logging.getLogger(name).error(text)
    assert kept.records == [("ERROR", text)]


async def test_a_refused_order_is_no_error_of_the_library(
    house, kept, make_order
) -> None:
    settings = GatewaySettings(size_preset=500)
    async with house(settings=settings) as h:
        await h.ready()
        await h.session.send([(5, make_order("A:EN", "BUY 501 LMT 90.00"))])
        await asyncio.sleep(1)
        assert [n.order_id for n in h.notices(383)] == [5]
        assert kept.of("Error 383") == ["DEBUG"]


def test_the_library_is_as_it_was_after_the_quiet(kept) -> None:
    with quietly():
        pass
    logging.getLogger("ib_async.wrapper").warning("Error 202, reqId 5: told again")
    assert kept.records == [("WARNING", "Error 202, reqId 5: told again")]


async def test_the_library_paces_nothing_and_raises_refusals() -> None:
    ib = TappedIB(lambda _: None, lambda *_: None)
    assert ib.client.MaxRequests == 0
    assert ib.RaiseRequestErrors
