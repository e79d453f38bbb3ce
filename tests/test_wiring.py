from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.core.lifecycle import acknowledged
from daemon.core.model import (
    Account,
    Message,
    Order,
    OrderRef,
    OrderState,
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
from daemon.notify.channels import LogChannel, TelegramChannel
from daemon.ports import RunId
from daemon.simulation.loop import VirtualLoop
from daemon.wiring import Parts, World, channels

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

S = OrderState
SESSION = MarketSession(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)


@dataclass
class Pager:
    """A channel that keeps what it is sent."""

    name: str = "pager"
    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.messages]


@dataclass
class Bench:
    """The wired daemon without its app, and the gateway, AAPL flat at 100.00."""

    parts: Parts
    gateway: Gateway
    ledger: Ledger
    pager: Pager
    run_id: RunId

    def placed(self) -> list[tuple[object, object]]:
        return [
            (r["order_id"], r["order_ref"])
            for r in self.ledger.records
            if r["event"] == "placed"
        ]

    def state(self, ref: str) -> OrderState:
        """Return what the journal says, read anew."""
        return self.parts.journal.orders(SESSION.date)[OrderRef(ref)].state

    async def order(self, text: str, leg: str = "A:EN") -> str:
        """Let the desk submit what *text* says: `BUY 10 LMT 90.00`."""
        side, quantity, kind, *price = text.split()
        ref = OrderRef(f"ibkrd:20260219:AAPL:{leg}")
        order = Order(
            order_ref=ref,
            account=Account("DU1234567"),
            contract=await self.parts.session.contract("AAPL"),
            side=Side(side),
            quantity=int(quantity),
            order_type=OrderType(kind),
            limit_price=Decimal(price[0]) if price else None,
        )
        session = self.parts.current_session()
        await self.parts.desk.submit([order], session, self.run_id)
        return ref

    def inject(self, *frames: bytes) -> None:
        """Let the gateway send *frames* that its world did not ask for."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.network.connections[-1].server.write(b"".join(frames))


CONFIG = """\
[account]
id = "DU1234567"

[paths]
state = "{state}"
"""


def gateway(settings: GatewaySettings | None = None) -> tuple[Gateway, Ledger]:
    ledger = Ledger()
    world = Gateway(
        clock=LoopClock(asyncio.get_running_loop(), SystemClock().now()),
        sessions=[SESSION],
        listings=default_listings(),
        settings=settings or GatewaySettings(partial_fills=False),
        prices=Prices(1, bases={"AAPL": Decimal(100)}, sigma=0),
        ledger=ledger,
        seed=1,
    )
    return world, ledger


@asynccontextmanager
async def wired(
    folder: Path, world: Gateway, ledger: Ledger, *, connected: bool = True
) -> AsyncIterator[Bench]:
    """Run the parts on the state in *folder* until the block ends."""
    loop = asyncio.get_running_loop()
    source = folder / "config.toml"
    source.write_text(CONFIG.format(state=folder / "state"), encoding="utf-8")
    config = load_config(source, {"HOME": str(folder)})
    pager = Pager()
    clock = SystemClock()
    day_world = World(
        clock,
        TableCalendar(shipped_table()),
        channels=(pager,),
        jitter=Random(1),  # noqa: S311 # it spreads retries
    )
    server = await serve(world, "127.0.0.1", 4002)
    with open_journal(folder / "state" / "journal.sqlite", now=clock.now()) as journal:
        parts = Parts(config, day_world, journal)
        run_id = journal.start_run("submit", SESSION.date, clock.now(), clock.now())
        work = [parts.book.pump(), parts.outbox.tell_posted()]
        work += [parts.session.run()] if connected else []
        tasks = [loop.create_task(each) for each in work]
        try:
            if connected:
                await parts.session.wait_ready()
            yield Bench(parts, world, ledger, pager, run_id)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            world.drop_clients()
            server.close()
            await asyncio.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path):
    def make(settings: GatewaySettings | None = None, **more):
        return wired(tmp_path, *gateway(settings), **more)

    return make


# --- the road of an order ------------------------------------------------------------


async def test_an_order_is_followed_from_the_intent_to_its_commission(bench) -> None:
    async with bench() as b:
        ref = await b.order("BUY 10 MKT")
        assert b.state(ref) is S.SENT
        silent = await b.parts.desk.wait([ref], acknowledged, 30)
        assert silent == {}
        await asyncio.sleep(5)
        assert b.state(ref) is S.FILLED
        day = timedelta(days=1)
        now = SystemClock().now()
        fills = b.parts.journal.fills(now - day, now + day)
        assert [(f.order_ref, f.quantity) for f in fills] == [(ref, 10)]
        (commission,) = b.parts.journal.commissions(fills)
        assert commission.amount is not None


@pytest.mark.parametrize("code", [399, 404, 2109, 10349])
async def test_a_live_order_stays_working_whatever_is_remarked_of_it(
    bench, code: int
) -> None:
    async with bench() as b:
        ref = await b.order("BUY 10 LMT 90.00")
        await asyncio.sleep(1)
        ((order_id, _),) = b.placed()
        b.inject(encode.error(order_id, Refusal(code, "Order Message"), 178))
        await asyncio.sleep(1)
        assert b.state(ref) is S.WORKING
        assert b.pager.messages == []
        await b.parts.desk.reconcile()
        assert b.state(ref) is S.WORKING


async def test_a_late_refusal_reaches_the_person(bench) -> None:
    async with bench() as b:
        ref = await b.order("BUY 10 LMT 90.00")
        await asyncio.sleep(120)
        ((order_id, _),) = b.placed()
        b.inject(encode.error(order_id, Refusal(354, "not subscribed"), 178))
        await asyncio.sleep(1)
        await b.parts.outbox.all_posted_told()
        assert b.state(ref) is S.REJECTED
        assert b.pager.subjects == ["AAPL: order refused (354)"]


# --- reconnects and restarts ----------------------------------------------------------


async def test_what_was_executed_while_we_were_away_is_journaled_before_ready(
    bench,
) -> None:
    async with bench() as b:
        ref = await b.order("BUY 10 MKT")
        await asyncio.sleep(0.01)
        b.gateway.drop(10)
        b.gateway.hold_client_id(10, for_s=30)
        await asyncio.sleep(29)
        assert b.state(ref) is S.SENT
        await b.parts.session.wait_ready()
        assert b.state(ref) is S.FILLED
        day = timedelta(days=1)
        now = SystemClock().now()
        assert len(b.parts.journal.fills(now - day, now + day)) == 1
        assert b.pager.messages == []


async def test_a_restarted_daemon_knows_its_orders_before_it_is_ready(
    tmp_path: Path,
) -> None:
    world, ledger = gateway()
    async with wired(tmp_path, world, ledger) as b:
        resting = await b.order("BUY 10 LMT 90.00", "A:EN")
        bought = await b.order("BUY 5 MKT", "B:EN")
        await asyncio.sleep(0.01)
    await asyncio.sleep(600)
    async with wired(tmp_path, world, ledger) as b:
        assert (b.state(resting), b.state(bought)) == (S.WORKING, S.FILLED)
        assert b.pager.messages == []
        assert len(b.placed()) == 2


async def test_orders_that_the_gateway_does_not_know_are_alarmed_and_not_resent(
    tmp_path: Path,
) -> None:
    async with wired(tmp_path, *gateway()) as b:
        ref = await b.order("BUY 10 LMT 90.00")
        await asyncio.sleep(1)
    async with wired(tmp_path, *gateway()) as b:  # another gateway, without memory
        await b.parts.outbox.all_posted_told()
        assert b.state(ref) is S.UNKNOWN
        assert b.pager.subjects == [
            "1 order(s) of unknown fate",
            "The gateway's order ids begin anew",
        ]
        await asyncio.sleep(3600)
        assert b.placed() == []


async def test_after_a_reset_of_the_gateways_counter_no_order_id_comes_again(
    tmp_path: Path,
) -> None:
    async with wired(tmp_path, *gateway()) as b:
        for part in range(1, 8):
            await b.order("BUY 1 LMT 90.00", f"X:MKT.{part}")
        highest = max(order_id for order_id, _ in b.placed())
    async with wired(tmp_path, *gateway()) as b:
        assert b.gateway.next_valid_id(10) == 1
        await b.order("BUY 1 LMT 90.00", "A:EN")
        await asyncio.sleep(1)
        ((order_id, _),) = b.placed()
        assert highest < order_id < highest + 10


async def test_a_refused_question_touches_no_order_that_once_had_its_number(
    tmp_path: Path,
) -> None:
    async with wired(tmp_path, *gateway()) as b:
        refs = [await b.order("BUY 1 LMT 90.00", f"X:MKT.{i}") for i in range(1, 30)]
        await asyncio.sleep(1)
    async with wired(tmp_path, *gateway()) as b:  # counts from 1 again
        await b.parts.outbox.all_posted_told()
        before = [b.state(ref) for ref in refs]
        for _ in range(30):
            with suppress(Exception):
                await b.parts.session.contract("NOSUCH")
        await asyncio.sleep(1)
        assert [b.state(ref) for ref in refs] == before


# --- what the parts know ---------------------------------------------------------


async def test_the_heartbeat_is_quick_near_a_job_and_while_orders_are_in_flight(
    bench,
) -> None:
    async with bench(connected=False) as b:
        parts = b.parts
        assert not parts._busy()  # noqa: SLF001 # the session asks it
        await asyncio.sleep(3600)  # the window of submit is over
        scheduling = asyncio.get_running_loop().create_task(parts.scheduler.run())
        await asyncio.sleep(60)
        assert not parts._busy()  # noqa: SLF001
        (close_job,) = parts.scheduler.next_jobs(1)
        assert close_job.job == "moc_close"
        wait_s = (close_job.at - SystemClock().now()).total_seconds()
        await asyncio.sleep(wait_s - 301)
        assert not parts._busy()  # noqa: SLF001
        await asyncio.sleep(2)
        assert parts._busy()  # noqa: SLF001
        scheduling.cancel()
        with suppress(asyncio.CancelledError):
            await scheduling


@pytest.mark.parametrize(
    ("wait", "day"),
    [
        (timedelta(0), date(2026, 2, 19)),
        (timedelta(hours=13, minutes=59), date(2026, 2, 19)),  # 23:59 in New York
        (timedelta(hours=14, minutes=1), date(2026, 2, 20)),
        (timedelta(days=2), date(2026, 2, 20)),  # the Saturday
        (timedelta(days=3), date(2026, 2, 20)),
        (timedelta(days=4), date(2026, 2, 23)),
    ],
)
async def test_the_current_session_is_todays_or_the_last_one(bench, wait, day) -> None:
    async with bench(connected=False) as b:
        await asyncio.sleep(wait.total_seconds())
        assert b.parts.current_session().date == day


async def test_the_status_says_where_the_daemon_stands(bench) -> None:
    async with bench() as b:
        await b.order("BUY 10 LMT 90.00")
        await asyncio.sleep(1)
        status = b.parts.status()
        assert (status["link"], status["trouble"]) == ("ready", "")
        assert (status["client_id"], status["account"]) == (10, "DU1234567")
        assert status["session"] == {
            "date": "2026-02-19",
            "open": "2026-02-19T14:30:00+00:00",
            "close": "2026-02-19T21:00:00+00:00",
            "cutoff": "2026-02-19T20:50:00+00:00",
        }
        assert status["running"] == []
        assert status["orders"] == {"working": 1}


async def test_the_status_names_the_trouble(bench) -> None:
    async with bench(connected=False) as b:
        status = b.parts.status()
        assert (status["link"], status["trouble"]) == (
            "disconnected",
            "not connected yet",
        )


@pytest.mark.virtual(start="2026-02-20T01:44:00-05:00")
async def test_the_status_names_the_planned_window(bench) -> None:
    async with bench(connected=False) as b:
        assert b.parts.status()["window"] == "nightly reset"
        await asyncio.sleep(60)
        assert b.parts.status()["window"] == ""


@pytest.mark.virtual(start="2028-12-29T10:00:00-05:00")
async def test_the_last_days_of_the_calendar_have_a_status(bench) -> None:
    async with bench(connected=False) as b:
        status = b.parts.status()
        assert (status["session"]["date"], status["window"]) == ("2028-12-29", "")


async def test_the_status_shows_what_was_not_delivered(bench) -> None:
    async with bench(connected=False) as b:
        nothing = {"undelivered": 0, "oldest": None, "failing": []}
        assert b.parts.status()["messages"] == nothing


async def test_a_report_has_the_context_of_the_current_session(bench) -> None:
    async with bench(connected=False) as b:
        context = b.parts.report_context()
        assert context.run_id == "2026-02-19/report_now"
        assert context.session.date == date(2026, 2, 19)
        assert context.broker is b.parts.session
        assert context.rules.account == "DU1234567"


async def test_every_job_of_the_package_is_scheduled(bench) -> None:
    async with bench(connected=False) as b:
        assert sorted(b.parts.jobs) == ["eod_report", "moc_close", "submit"]


# --- channels -------------------------------------------------------------------


def test_without_a_token_the_log_is_the_only_channel(tmp_path: Path) -> None:
    config = load_config(None, {"HOME": str(tmp_path)})
    assert [type(each) for each in channels(config)] == [LogChannel]


def test_with_a_token_messages_go_to_telegram_and_to_the_log(tmp_path: Path) -> None:
    source = tmp_path / "config.toml"
    source.write_text('[notify]\ntelegram_chat_id = "42"\n', encoding="utf-8")
    secret = {"HOME": str(tmp_path), "IBKRD_TELEGRAM_TOKEN": "123456789:" + "A" * 35}
    named = channels(load_config(source, secret))
    assert [type(each) for each in named] == [LogChannel, TelegramChannel]
