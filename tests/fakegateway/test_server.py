from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time

import ib_async
import pytest

from daemon.fakegateway.__main__ import main, usual_sessions
from daemon.fakegateway.faults import Say
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.server import GatewayOptions, compose_world, run_gateway

NOON = datetime(2026, 2, 19, 17, 0, tzinfo=UTC)
SPEED = 50.0
PATIENCE_S = 10.0
NOV = ib_async.Stock("NOV", "SMART", "USD")


@asynccontextmanager
async def gateway(start: datetime = NOON) -> AsyncIterator[int]:
    """Give the port of a gateway that runs meanwhile."""
    loop = asyncio.get_running_loop()
    port: asyncio.Future[int] = loop.create_future()
    options = GatewayOptions(
        start=start, sessions=usual_sessions(date(2026, 2, 19)), port=0, speed=SPEED
    )
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(
            run_gateway(
                options,
                ledger=Ledger(),
                ready=lambda address: port.set_result(address[1]),
            )
        )
        try:
            yield await port
        finally:
            running.cancel()


async def connected(port: int, client_id: int = 7) -> ib_async.IB:
    ib = ib_async.IB()
    ib.RaiseRequestErrors = True
    await ib.connectAsync("127.0.0.1", port, client_id, timeout=2, raiseSyncErrors=True)
    return ib


async def disconnect(ib: ib_async.IB) -> None:
    """Disconnect, and wait for the socket's end: a client id is free after it."""
    ended = asyncio.Event()
    ib.client.conn.disconnected += lambda _: ended.set()
    ib.disconnect()
    await ended.wait()


async def test_ib_async_syncs_asks_and_trades_without_an_error() -> None:
    async with gateway() as port:
        ib = await connected(port)
        (details,) = await ib.reqContractDetailsAsync(NOV)
        contract = details.contract
        assert contract is not None
        (ticker,) = await ib.reqTickersAsync(contract)
        assert 0 < ticker.bid < ticker.ask
        bars = await ib.reqHistoricalDataAsync(
            contract, "", "1800 S", "1 min", "TRADES", useRTH=True
        )
        assert len(bars) == 30
        assert (await ib.reqCurrentTimeAsync()).date() == date(2026, 2, 19)
        preview = await ib.whatIfOrderAsync(contract, ib_async.MarketOrder("BUY", 10))
        assert float(preview.initMarginChange) > 0
        trade = ib.placeOrder(
            contract, ib_async.MarketOrder("BUY", 10, tif="DAY", orderRef="r")
        )
        await trade.filledEvent
        assert trade.filled() == 10
        await ib.positionEvent
        assert [(p.contract.symbol, p.position) for p in ib.positions()] == [
            ("NOV", 10)
        ]
        completed = await ib.reqCompletedOrdersAsync(apiOnly=False)
        assert [each.order.orderRef for each in completed] == ["r"]
        await disconnect(ib)


@pytest.mark.announces("Error 202")
async def test_orders_outlive_the_session_that_placed_them() -> None:
    async with gateway() as port:
        first = await connected(port)
        (contract,) = await first.qualifyContractsAsync(NOV)
        order = ib_async.LimitOrder("BUY", 10, 1.0, tif="DAY", orderRef="r")
        trade = first.placeOrder(contract, order)
        await trade.statusEvent
        await disconnect(first)
        second = await connected(port)
        (found,) = second.openTrades()
        assert (found.order.orderRef, found.order.permId) == ("r", order.permId)
        assert second.client.getReqId() > order.orderId
        second.cancelOrder(found.order)
        await found.cancelledEvent
        await disconnect(second)


@pytest.mark.announces("Error 326", "already in use?", "API connection failed")
async def test_a_held_client_id_is_named_and_the_socket_closed() -> None:
    async with gateway() as port:
        first = await connected(port)
        second, codes = ib_async.IB(), []
        second.errorEvent += lambda _, code, *__: codes.append(code)
        ended = asyncio.Event()
        second.client.conn.disconnected += lambda _: ended.set()
        with pytest.raises(TimeoutError):
            await second.connectAsync("127.0.0.1", port, 7, timeout=0.3)
        await ended.wait()
        assert codes == [326]
        await disconnect(first)


@pytest.mark.announces("Peer closed connection.")
async def test_a_gateway_that_stops_takes_its_sessions_along() -> None:
    ended = asyncio.Event()
    async with gateway() as port:
        ib = await connected(port)
        ib.disconnectedEvent += ended.set
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()


async def test_a_scenario_is_played_on_the_worlds_clock() -> None:
    options = GatewayOptions(
        start=NOON,
        sessions=usual_sessions(date(2026, 2, 19)),
        speed=SPEED,
        script=[Say(2103, "farm lost", at="+10")],
    )
    ledger = Ledger()
    world = compose_world(options, ledger)
    done = asyncio.Event()
    world.clock.call_later(20, done.set)
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()
    (said,) = [record for record in ledger.records if record["event"] == "notice"]
    assert said["text"] == "farm lost"
    assert str(said["at"]) > "2026-02-19T17:00:09"


def test_a_taken_port_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def hold() -> int:
        async with gateway() as port:
            loop = asyncio.get_running_loop()
            arguments = ["--listen", f"127.0.0.1:{port}", "--time", NOON.isoformat()]
            return await loop.run_in_executor(None, main, arguments)

    assert asyncio.run(hold()) == 9
    said = capsys.readouterr().err
    assert said.startswith("cannot listen on 127.0.0.1:")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--time", "soon"], "'soon' is no ISO time"),
        (["--time", "2026-02-19T15:30:00"], "has no zone"),
        (["--time", "2026-02-19T15:30:00Z", "--listen", "4002"], "is not HOST:PORT"),
        (["--time", "2026-02-19T15:30:00Z", "--speed", "0"], "no positive number"),
        (
            ["--time", "2026-02-19T15:30:00Z", "--scenario", "nowhere.toml"],
            "nowhere.toml cannot be read",
        ),
        ([], "--time"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert named in capsys.readouterr().err


def test_the_usual_sessions_are_weekdays_in_new_york() -> None:
    sessions = usual_sessions(date(2026, 3, 9))
    assert {session.date.weekday() for session in sessions} == {0, 1, 2, 3, 4}
    opens = {each.date: each.open.astimezone(UTC).time() for each in sessions}
    assert opens[date(2026, 3, 6)] == time(14, 30)
    assert opens[date(2026, 3, 9)] == time(13, 30)
