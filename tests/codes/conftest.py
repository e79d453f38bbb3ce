"""The wired daemon without its app, four orders of ours at the gateway, and a code."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    closing,
    suppress,
)
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import ib_async
import pytest

from daemon.broker.events import quietly
from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.core.lifecycle import cancel_answered
from daemon.core.model import (
    Account,
    Order,
    OrderRecord,
    OrderRef,
    OrderType,
    Side,
)
from daemon.fakegateway import encode
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.server import serve
from daemon.fakegateway.values import GatewaySettings, MarketSession, Refusal
from daemon.fakegateway.world import World as Gateway
from daemon.journal.open import open_journal
from daemon.ports import RunId
from daemon.simulation.loop import VirtualLoop
from daemon.wiring import Parts, World

HOST, PORT = "127.0.0.1", 4002
DAY = date(2026, 2, 19)
SESSION = MarketSession(
    DAY,
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
PLACE_ORDER = 3
"""The message id: muted, the gateway takes an order and never hears of it."""
LATE_S = 90.0
"""From what the gateway hears to its answer, while the code comes in between."""
JOB_TELLS_S = 61.0
"""After this no job tells of an order any more: the order book alarms by itself."""
CONFIG = """\
[account]
id = "DU1234567"

[paths]
state = "{state}"
"""


def new_gateway() -> tuple[Gateway, Ledger]:
    """Return a gateway on which AAPL trades flat at 100.00."""
    ledger = Ledger()
    world = Gateway(
        clock=LoopClock(asyncio.get_running_loop(), SystemClock().now()),
        sessions=[SESSION],
        listings=default_listings(),
        settings=GatewaySettings(partial_fills=False),
        prices=Prices(1, bases={"AAPL": Decimal(100)}, sigma=0),
        ledger=ledger,
        seed=1,
    )
    return world, ledger


def say(order_id: int, refusal: Refusal) -> None:
    """Let the gateway send an error on *order_id* over the newest connection."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    line = loop.network.connections[-1].server
    line.write(encode.error(order_id, refusal, 178))


@dataclass
class Desk:
    """A running daemon; its orders by the name of their leg."""

    parts: Parts
    gateway: Gateway
    ledger: Ledger
    run_id: RunId
    journal: Path

    # --- acts ------------------------------------------------------------------------

    async def place(self, leg: str) -> OrderRef:
        """Send an order far below the market: BUY 10 AAPL at 90.00."""
        ref = OrderRef(f"ibkrd:20260219:AAPL:{leg}")
        order = Order(
            order_ref=ref,
            account=Account("DU1234567"),
            contract=await self.parts.session.contract("AAPL"),
            side=Side.BUY,
            quantity=10,
            order_type=OrderType.LIMIT,
            limit_price=Decimal("90.00"),
        )
        session = self.parts.current_session()
        await self.parts.desk.submit([order], session, self.run_id)
        return ref

    async def cancel(self, ref: OrderRef) -> None:
        await self.parts.desk.cancel(self.record(ref))

    async def say(
        self, code: int, text: str, refs: Iterable[OrderRef], *, pause_s: float = 0.01
    ) -> None:
        """Let the gateway say *code* on each of these orders of ours."""
        for ref in refs:
            say(self.record(ref).order_id, Refusal(code, text))
        await asyncio.sleep(pause_s)

    async def look(self) -> None:
        """Reconcile with what the gateway answers now."""
        await self.parts.desk.reconcile()
        await asyncio.sleep(0.01)

    # --- what is known ---------------------------------------------------------------

    def record(self, ref: OrderRef) -> OrderRecord:
        return self.parts.book.orders(DAY)[ref]

    def state(self, ref: OrderRef) -> str:
        """Return the state as the journal has it, read anew; the book says the same."""
        journaled = self.parts.journal.orders(DAY)[ref].state
        assert journaled is self.record(ref).state
        return journaled.value

    def answered(self, ref: OrderRef) -> bool:
        """Return whether a cancel of this order awaits no further answer."""
        return cancel_answered(self.record(ref))

    def told(self) -> list[str]:
        """Return the subjects of all messages so far, as they are on the disk."""
        with closing(sqlite3.connect(self.journal)) as db:
            rows = db.execute("SELECT subject FROM messages ORDER BY 1").fetchall()
        return [subject for (subject,) in rows]


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    """Run the daemon's parts on a gateway of their own until the block ends."""
    loop = asyncio.get_running_loop()
    source = folder / "config.toml"
    source.write_text(CONFIG.format(state=folder / "state"), encoding="utf-8")
    clock = SystemClock()
    gateway, ledger = new_gateway()
    server = await serve(gateway, HOST, PORT)
    path = folder / "state" / "journal.sqlite"
    calendar = TableCalendar(shipped_table())
    world = World(clock, calendar, jitter=Random(1))  # noqa: S311 # it spreads retries
    with open_journal(path, now=clock.now()) as journal:
        config = load_config(source, {"HOME": str(folder)})
        parts = Parts(config, world, journal)
        run_id = journal.start_run("submit", DAY, clock.now(), clock.now())
        work = (parts.book.pump(), parts.outbox.tell_posted(), parts.session.run())
        tasks = [loop.create_task(each) for each in work]
        try:
            await parts.session.wait_ready()
            yield Desk(parts, gateway, ledger, run_id, path)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            gateway.drop_clients()
            server.close()
            await asyncio.sleep(0.01)


@pytest.fixture
def desk(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Desk]]:
    return lambda: open_desk(tmp_path)


@dataclass(frozen=True)
class Stages:
    """One order in each stage of its life, all of them silent for a minute."""

    working: OrderRef
    cancelling: OrderRef
    """It works, and our cancel is on its way."""
    young: OrderRef
    """The gateway has it and has not answered yet."""
    stillborn: OrderRef
    """The gateway never took it."""

    @property
    def all(self) -> tuple[OrderRef, ...]:
        return self.working, self.cancelling, self.young, self.stillborn


@pytest.fixture
def stages() -> Callable[[Desk], Awaitable[Stages]]:
    """Return what brings orders into the stages, until only the code is missing."""

    async def make(desk: Desk) -> Stages:
        working, cancelling = await desk.place("A:EN"), await desk.place("B:EN")
        await asyncio.sleep(1)
        settings = desk.gateway.settings
        settings.latency_s = LATE_S
        await desk.cancel(cancelling)
        young = await desk.place("X:EN")
        settings.mute = frozenset({PLACE_ORDER})
        stillborn = await desk.place("A:EN:2")
        await asyncio.sleep(JOB_TELLS_S)
        settings.mute = frozenset()
        return Stages(working, cancelling, young, stillborn)

    return make


# --- plain ib_async -------------------------------------------------------------------


async def _plain(texts: Mapping[int, str]) -> dict[int, str]:
    """Return what ib_async's Trade of a working order says after each code."""
    gateway, _ = new_gateway()
    server = await serve(gateway, HOST, PORT)
    ib: Any = ib_async.IB()
    nothing = ib_async.ib.StartupFetchNONE
    await ib.connectAsync(HOST, PORT, clientId=11, fetchFields=nothing)
    contract = ib_async.Stock("AAPL", "SMART", "USD", conId=265598)
    trades = {
        code: ib.placeOrder(contract, ib_async.LimitOrder("BUY", 1, 90.0, tif="DAY"))
        for code in texts
    }
    await asyncio.sleep(60)
    assert {trade.orderStatus.status for trade in trades.values()} == {"Submitted"}
    for code, trade in trades.items():
        say(trade.order.orderId, Refusal(code, texts[code]))
    await asyncio.sleep(0.1)
    ib.disconnect()
    server.close()
    await asyncio.sleep(0.01)
    return {code: trade.orderStatus.status for code, trade in trades.items()}


@pytest.fixture(scope="session")
def ask_plain_ib_async() -> Callable[[Mapping[int, str]], Awaitable[dict[int, str]]]:
    """Return what plays codes to a plain ib_async client, once for all tests."""
    told: dict[int, str] = {}

    async def ask(texts: Mapping[int, str]) -> dict[int, str]:
        if not told:
            with quietly():
                told.update(await _plain(texts))
        return told

    return ask
