from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from daemon.app import App
from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.core.model import Message
from daemon.errors import (
    AccountRefused,
    ConfigError,
    JournalDamaged,
    JournalError,
)
from daemon.fakegateway import encode
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.server import serve
from daemon.fakegateway.values import GatewaySettings, MarketSession, Refusal
from daemon.fakegateway.world import World as Gateway
from daemon.simulation.loop import VirtualLoop
from daemon.wiring import World

pytestmark = pytest.mark.virtual(start="2026-02-19T09:34:00-05:00")

SESSION = MarketSession(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
HEADER = (
    "instrument_id,direction,order_type,limit_price,quantity,stop_loss,"
    "take_profit_1,take_profit_2,risk_usd,score,gex_regime,sector,multiplier_total,"
    "mult_vix,mult_utility,sector_bmi,sector_regime,is_mean_reversion"
)
SYMBOLS = ("AAPL", "BLCO", "LH", "MRNA", "NOV", "WEC", "KMI", "EOG")
PLAN = "\n".join(
    [
        HEADER,
        *(
            f"{symbol},BUY,LIMIT,10.00,30,9.50,10.50,11.00,100.00,120.0,positive,Energy,"
            "0.8,0.988,1.0,50.00,neutral,False"
            for symbol in SYMBOLS
        ),
        "",
    ]
)


@dataclass
class Pager:
    """A channel that keeps what it is sent, and may take its time."""

    name: str = "pager"
    takes_s: float = 0.0
    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        await asyncio.sleep(self.takes_s)
        self.messages.append(message)

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.messages]


@dataclass
class Bench:
    """A daemon that runs on the gateway, every symbol flat at 100.00."""

    app: App
    running: asyncio.Task[int]
    gateway: Gateway
    ledger: Ledger
    pager: Pager
    folder: Path

    def legs(self) -> Counter[str]:
        """Return how many orders of each family were placed."""
        refs = [str(r["order_ref"]) for r in self.ledger.records if _placed(r)]
        return Counter(ref.rsplit(":", 1)[0] for ref in refs)

    def query(self, text: str) -> list[tuple[object, ...]]:
        path = self.folder / "state" / "journal.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as opened:
            return opened.execute(text).fetchall()


def _placed(record: dict[str, object]) -> bool:
    return record["event"] == "placed"


@asynccontextmanager
async def daemon_runs(
    folder: Path,
    *,
    account: str = "DU1234567",
    more: str = "",
    plan: str = PLAN,
    takes_s: float = 0.0,
) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    source = folder / "config.toml"
    source.write_text(
        f'[account]\nid = "{account}"\n[paths]\nstate = "{folder}/state"\n'
        f'plans = "{folder}/plans"\nreports = "{folder}/reports"\n[gateway]\n{more}\n',
        encoding="utf-8",
    )
    (folder / "plans").mkdir()
    if plan:
        name = "execution_plan_run_20260219_130502_a1b2c3.csv"
        (folder / "plans" / name).write_text(plan, encoding="utf-8")
    ledger = Ledger()
    gateway = Gateway(
        clock=LoopClock(loop, SystemClock().now()),
        sessions=[SESSION],
        listings=default_listings(),
        settings=GatewaySettings(partial_fills=False),
        prices=Prices(1, bases=dict.fromkeys(SYMBOLS, Decimal(100)), sigma=0),
        ledger=ledger,
        seed=1,
    )
    server = await serve(gateway, "127.0.0.1", 4002)
    pager = Pager(takes_s=takes_s)
    world = World(
        SystemClock(),
        TableCalendar(shipped_table()),
        channels=(pager,),
        jitter=Random(1),  # noqa: S311 # it spreads retries
    )
    app = App(load_config(source, {"HOME": str(folder)}), world)
    running = loop.create_task(app.run(), name="daemon")
    try:
        yield Bench(app, running, gateway, ledger, pager, folder)
    finally:
        if not running.done():
            running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running
        gateway.drop_clients()
        server.close()
        await asyncio.sleep(0.01)


# --- ending -------------------------------------------------------------------------


async def test_a_stopped_daemon_ends_in_order(tmp_path: Path) -> None:
    async with daemon_runs(tmp_path) as b:
        await asyncio.sleep(120)
        b.app.stop("test")
        assert await b.running == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert set(b.legs().values()) == {3}
        assert len(b.legs()) == 16


async def test_a_daemon_stopped_in_the_batch_finishes_it_in_time(
    tmp_path: Path,
) -> None:
    async with daemon_runs(tmp_path, more="messages_per_second = 10") as b:
        await asyncio.sleep(64)  # 48 legs take five seconds from 09:35 on
        assert 0 < sum(b.legs().values()) < 48
        b.app.stop("test")
        assert await b.running == 0
        assert sum(b.legs().values()) == 48
        ((outcome,),) = b.query("SELECT outcome FROM runs WHERE job = 'submit'")
        assert outcome == "done"


@pytest.mark.parametrize("after_s", [80, 81, 82])
async def test_a_daemon_that_stops_in_the_middle_of_a_family_finishes_that_family(
    tmp_path: Path, after_s: float
) -> None:
    """48 legs at one a second outlast the patience of a stop."""
    async with daemon_runs(tmp_path, more="messages_per_second = 1") as b:
        await asyncio.sleep(after_s)
        b.app.stop("test")
        assert await b.running == 0
        await asyncio.sleep(60)
        assert set(b.legs().values()) == {3}
        assert 1 <= len(b.legs()) < 16
        intended = b.query("SELECT count(*) FROM intents")
        assert intended == [(3 * len(b.legs()),)]
        assert b.query("SELECT outcome, summary FROM runs WHERE job = 'submit'") == [
            ("failed", "stopped before its end")
        ]


async def test_what_is_still_to_be_told_is_told_before_the_end(tmp_path: Path) -> None:
    async with daemon_runs(tmp_path, takes_s=2) as b:
        await asyncio.sleep(120)
        told = len(b.pager.messages)
        ((order_id,),) = b.query("SELECT max(order_id) FROM intents")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        late = encode.error(int(order_id), Refusal(354, "not subscribed"), 178)
        loop.network.connections[-1].server.write(late)
        await asyncio.sleep(0.1)
        b.app.stop("test")
        assert await b.running == 0
        assert len(b.pager.messages) == told + 1
        assert b.pager.subjects[-1].endswith("order refused (354)")


async def test_a_stop_without_a_gateway_needs_no_patience(tmp_path: Path) -> None:
    async with daemon_runs(tmp_path, more="port = 4999", plan="") as b:
        await asyncio.sleep(10)
        began = asyncio.get_running_loop().time()
        b.app.stop("test")
        assert await b.running == 0
        assert asyncio.get_running_loop().time() - began < 1


# --- a job and the link -----------------------------------------------------------


async def test_a_link_lost_among_many_questions_suspends_the_job(
    tmp_path: Path,
) -> None:
    async with daemon_runs(tmp_path) as b:
        b.gateway.settings.mute = frozenset({9})  # contract details
        await asyncio.sleep(75)
        assert b.legs() == {}
        b.gateway.settings.mute = frozenset()
        await asyncio.sleep(60)
        assert len(b.legs()) == 16
        b.app.stop("test")
        assert await b.running == 0
        assert b.query("SELECT outcome FROM runs WHERE job = 'submit'") == [("done",)]


# --- failing ------------------------------------------------------------------------


async def test_a_journal_that_fails_ends_the_daemon(tmp_path: Path) -> None:
    async with daemon_runs(tmp_path, plan="") as b:
        await asyncio.sleep(10)
        b.query("DROP TABLE events")
        b.gateway.broadcast(Refusal(1100, "Connectivity lost"))
        with pytest.raises(JournalError, match="no such table: events"):
            await b.running
        assert asyncio.all_tasks() == {asyncio.current_task()}


def damage(path: Path) -> None:
    """Overwrite every page but the first, and let every reader notice a change."""
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        opened.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize("when", [10, 63])
async def test_a_journal_that_proves_damaged_ends_the_daemon_and_is_set_aside(
    tmp_path: Path, when: float
) -> None:
    async with daemon_runs(tmp_path) as b:
        await asyncio.sleep(when)
        damage(tmp_path / "state" / "journal.sqlite")
        with pytest.raises(JournalDamaged, match=r"journal\.sqlite is damaged \("):
            await b.running
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert "ibkrd has ended" in b.pager.subjects
    assert not (tmp_path / "state" / "journal.sqlite").exists()
    assert len(list((tmp_path / "state").glob("journal.sqlite.*.damaged"))) == 1


async def test_damage_that_one_job_meets_ends_the_daemon(tmp_path: Path) -> None:
    """What is in memory of the running daemon hides the file from most others."""
    async with daemon_runs(tmp_path, plan="") as b:
        await asyncio.sleep(6.5 * 3600)
        path = tmp_path / "state" / "journal.sqlite"
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        with pytest.raises(JournalDamaged, match=r"journal\.sqlite is damaged \("):
            await b.running
        assert b.pager.subjects[-2:] == ["eod_report failed", "ibkrd has ended"]
    assert len(list((tmp_path / "state").glob("journal.sqlite.*.damaged"))) == 1


async def test_an_account_that_is_not_offered_ends_the_daemon_with_its_error(
    tmp_path: Path,
) -> None:
    async with daemon_runs(tmp_path, account="DU7654321") as b:
        with pytest.raises(AccountRefused, match="offers DU1234567"):
            await b.running
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert b.legs() == {}


async def test_without_an_account_the_daemon_ends_and_names_those_offered(
    tmp_path: Path,
) -> None:
    async with daemon_runs(tmp_path, account="") as b:
        with pytest.raises(ConfigError, match="offers DU1234567"):
            await b.running


async def test_a_report_that_cannot_be_written_does_not_end_the_daemon(
    tmp_path: Path,
) -> None:
    async with daemon_runs(tmp_path, plan="") as b:
        await asyncio.sleep(10)
        (tmp_path / "reports").rmdir()
        (tmp_path / "reports").write_text("in the way", encoding="utf-8")
        with capture_logs() as logs:
            b.app.ask_for_report()
            await asyncio.sleep(10)
        assert [e["event"] for e in logs if "report" in e["event"]] == ["report.failed"]
        assert not b.running.done()
        b.app.stop("test")
        assert await b.running == 0


async def test_a_report_can_be_asked_for_without_a_gateway(tmp_path: Path) -> None:
    async with daemon_runs(tmp_path, more="port = 4999", plan="") as b:
        await asyncio.sleep(10)
        b.app.ask_for_report()
        await asyncio.sleep(10)
        assert not b.running.done()
        assert list((tmp_path / "reports").glob("report_2026-02-19_so_far.json"))
        b.app.stop("test")
        assert await b.running == 0
