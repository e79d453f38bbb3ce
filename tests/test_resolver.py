from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.core.model import (
    Account,
    Message,
    Order,
    OrderId,
    OrderRef,
    OrderState,
    OrderType,
    Side,
    Snapshot,
)
from daemon.errors import ConnectionLost, RequestRefused
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings
from daemon.fakegateway.plot import Swallow
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.server import serve
from daemon.fakegateway.values import GatewaySettings, MarketSession
from daemon.fakegateway.world import World as Gateway
from daemon.journal.open import open_journal
from daemon.ports import RunId
from daemon.resolver import PAUSES_S
from daemon.wiring import Parts, World

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

ACCOUNT = "DU1234567"
SESSION = MarketSession(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
RESOLVED = "1 order(s) of unknown fate are resolved"
UNBOOKED = "1 position(s) that the books do not explain"


class Line:
    """Stands before the broker: counts the looks, and loses what a test wants lost."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self.looks: list[float] = []
        self.failures: list[Exception] = []
        self.loses_cancels = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def sync(self) -> Snapshot:
        self.looks.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        answer: Snapshot = await self._broker.sync()
        return answer

    async def cancel(self, order_id: OrderId) -> None:
        if not self.loses_cancels:
            await self._broker.cancel(order_id)


@dataclass
class Pager:
    """A channel that keeps what it is sent."""

    name: str = "pager"
    subjects: list[str] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.subjects.append(message.subject)


@dataclass
class Bench:
    """The wired daemon without its app, its resolver at work, and the gateway."""

    parts: Parts
    line: Line
    gateway: Gateway
    pager: Pager
    run_id: RunId

    async def lose(self, leg: str = "A:EN") -> float:
        """Send an order that nobody answers, call it unknown, and return when."""
        ref = OrderRef(f"ibkrd:20260219:AAPL:{leg}")
        order = Order(
            order_ref=ref,
            account=Account(ACCOUNT),
            contract=await self.parts.session.contract("AAPL"),
            side=Side.BUY,
            quantity=10,
            order_type=OrderType.LIMIT,
            limit_price=Decimal(90),
        )
        await self.parts.desk.submit([order], self.parts.current_session(), self.run_id)
        await self.parts.desk.mark([ref], OrderState.UNKNOWN)
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        return now

    def looks_after(self, moment: float) -> list[float]:
        """Return the seconds from *moment* to each look since."""
        return [round(at - moment, 2) for at in self.line.looks if at >= moment]

    @property
    def unknown(self) -> int:
        return len(self.parts.book.unknown())

    async def cut(self, for_s: float) -> None:
        """Lose the session for *for_s* seconds, and wait until the next one stands."""
        async with asyncio.timeout(for_s + 60):
            self.gateway.drop(10)
            self.gateway.hold_client_id(10, for_s=for_s)
            await self.parts.session.wait_lost()
            await self.parts.session.wait_ready()


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    clock, pager, lines = SystemClock(), Pager(), list[Line]()
    gateway = Gateway(
        clock=LoopClock(loop, clock.now()),
        sessions=[SESSION],
        listings=default_listings(),
        settings=GatewaySettings(partial_fills=False),
        prices=Prices(1, bases={"AAPL": Decimal(100)}, sigma=0),
        ledger=Ledger(),
        seed=1,
    )
    gateway.plot(Swallow(symbol="AAPL"))

    def around(name: str, port: Any) -> Any:
        if name != "broker":
            return port
        lines.append(Line(port))
        return lines[-1]

    source = folder / "config.toml"
    source.write_text(
        f'[account]\nid = "{ACCOUNT}"\n\n[paths]\nstate = "{folder / "state"}"\n',
        encoding="utf-8",
    )
    world = World(
        clock,
        TableCalendar(shipped_table()),
        channels=(pager,),
        jitter=Random(1),  # noqa: S311 # it spreads retries
        around=around,
    )
    server = await serve(gateway, "127.0.0.1", 4002)
    with open_journal(folder / "state" / "journal.sqlite", now=clock.now()) as journal:
        parts = Parts(load_config(source, {"HOME": str(folder)}), world, journal)
        run_id = journal.start_run("submit", SESSION.date, clock.now(), clock.now())
        work = (
            parts.book.pump(),
            parts.outbox.tell_posted(),
            parts.session.run(),
            parts.resolver.run(),
        )
        tasks = [loop.create_task(each) for each in work]
        try:
            await parts.session.wait_ready()
            await asyncio.sleep(60)  # the first comparison is over
            yield Bench(parts, lines[0], gateway, pager, run_id)
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
def bench(tmp_path: Path):
    return lambda: opened(tmp_path)


# --- orders of unknown fate -----------------------------------------------------------


async def test_the_first_look_comes_after_two_seconds(bench) -> None:
    async with bench() as b:
        lost_at = await b.lose()
        await asyncio.sleep(3)
        assert b.looks_after(lost_at) == [pytest.approx(2, abs=0.05)]


async def test_looks_become_rarer_and_never_end_while_an_order_is_unknown(
    bench,
) -> None:
    async with bench() as b:
        b.line.loses_cancels = True
        lost_at = await b.lose()
        await asyncio.sleep(3600)
        looks = [0.0, *b.looks_after(lost_at)]
        gaps = [after - before for before, after in pairwise(looks)]
        pauses = [*PAUSES_S, *[300.0] * len(gaps)][: len(gaps)]
        assert len(gaps) > len(PAUSES_S)
        for gap, pause in zip(gaps, pauses, strict=True):
            assert pause - 0.01 <= gap <= pause + 5.5  # the answers of the look before
        assert b.unknown == 1
        assert RESOLVED not in b.pager.subjects


async def test_a_fresh_unknown_order_is_looked_for_at_once(bench) -> None:
    async with bench() as b:
        b.line.loses_cancels = True
        await b.lose()
        await asyncio.sleep(3000)
        fresh_at = await b.lose("B:EN")
        await asyncio.sleep(30)
        looks = b.looks_after(fresh_at)
        assert looks[0] <= 2.05
        assert len(looks) >= 3  # not five minutes apart, as for the old one


async def test_while_the_link_is_down_nothing_is_asked(bench) -> None:
    async with bench() as b:
        b.line.loses_cancels = True
        await b.lose()
        await asyncio.sleep(5)
        cut_at = asyncio.get_running_loop().time()
        await b.cut(for_s=120)
        assert b.looks_after(cut_at) == []
        await asyncio.sleep(30)
        assert b.looks_after(cut_at)
        assert min(b.looks_after(cut_at)) >= 120


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionLost("no answer to positions in 10 s"),
        RequestRefused("the request was refused", code=321),
    ],
)
async def test_an_answer_that_is_lost_or_refused_is_asked_for_again(
    bench, failure
) -> None:
    async with bench() as b:
        b.line.failures = [failure, failure]
        lost_at = await b.lose()
        await asyncio.sleep(600)
        assert b.line.failures == []
        assert len(b.looks_after(lost_at)) > 2
        assert b.unknown == 0
        assert b.pager.subjects.count(RESOLVED) == 1


async def test_what_is_resolved_is_told_once_and_asked_for_no_more(bench) -> None:
    async with bench() as b:
        lost_at = await b.lose()
        await asyncio.sleep(120)
        assert b.unknown == 0
        assert b.pager.subjects.count(RESOLVED) == 1
        looks = b.looks_after(lost_at)
        await asyncio.sleep(3600)
        assert b.looks_after(lost_at) == looks
        assert b.pager.subjects.count(RESOLVED) == 1


async def test_a_second_loss_is_resolved_and_told_by_itself(bench) -> None:
    async with bench() as b:
        await b.lose()
        await asyncio.sleep(120)
        await b.lose("B:EN")
        await asyncio.sleep(120)
        assert b.unknown == 0
        assert b.pager.subjects.count(RESOLVED) == 2


# --- positions that the books do not explain ------------------------------------------


async def test_positions_are_compared_once_after_each_connect(bench) -> None:
    async with bench() as b:
        assert len(b.line.looks) == 1
        await asyncio.sleep(3600)
        assert len(b.line.looks) == 1
        await b.cut(for_s=10)
        await asyncio.sleep(3600)
        assert len(b.line.looks) == 2


async def test_a_position_that_nobody_booked_is_told_once(bench) -> None:
    async with bench() as b:
        b.gateway.endow(ACCOUNT, "MSFT", Decimal(36), Decimal(400))
        for _ in range(3):
            await b.cut(for_s=10)
            await asyncio.sleep(60)
        assert len(b.line.looks) == 4
        assert b.pager.subjects.count(UNBOOKED) == 1


async def test_another_difference_is_told_by_itself(bench) -> None:
    async with bench() as b:
        for symbol in ("MSFT", "NVDA"):
            b.gateway.endow(ACCOUNT, symbol, Decimal(36), Decimal(100))
            await b.cut(for_s=10)
            await asyncio.sleep(60)
        assert b.pager.subjects.count(UNBOOKED) == 2


async def test_a_comparison_that_fails_is_made_again(bench) -> None:
    async with bench() as b:
        b.gateway.endow(ACCOUNT, "MSFT", Decimal(36), Decimal(400))
        b.line.failures = [RequestRefused("refused", code=321)]
        await b.cut(for_s=10)
        await asyncio.sleep(60)
        assert len(b.line.looks) == 3
        assert b.pager.subjects.count(UNBOOKED) == 1
