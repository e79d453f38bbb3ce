"""The same deaths for a sample, but real: processes, TCP, SIGKILL, real time."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import time_machine

from daemon.app import App
from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.config.toml import toml_text
from daemon.control.client import call
from daemon.control.protocol import CommandFailed
from daemon.errors import NotRunning
from daemon.log import configure_logging
from daemon.simulation.day import ACCOUNT
from daemon.simulation.house import GatewayRequest, run_house
from daemon.simulation.killing.evidence import Broker, read_ledger
from daemon.simulation.killing.frames import tapped
from daemon.simulation.killing.life import Life
from daemon.simulation.killing.standin import stand_in
from daemon.simulation.killing.verdict import KILLED, Expected, weigh
from daemon.wiring import World

NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2026, 2, 19, 9, 35, 55, tzinfo=NEW_YORK)
"""Inside the window of submit, which begins at once; the close follows at 09:36."""
CLOSE_SOON = '[schedule]\nmoc_close = "open+6m"\n'
PLAN = "execution_plan_run_20260219_130502_a1b2c3.csv"
REST = "100,120,positive,Energy,1,1,1,50,neutral,False"
ROWS = (
    "instrument_id,direction,order_type,limit_price,quantity,stop_loss,take_profit_1,"
    "take_profit_2,risk_usd,score,gex_regime,sector,multiplier_total,mult_vix,"
    "mult_utility,sector_bmi,sector_regime,is_mean_reversion\n"
    # Trades near 31.70 and is bought at once; the other near 19.20, and is not.
    f"KMI,BUY,LIMIT,33.00,100,29.00,36.00,38.00,{REST}\n"
    f"NOV,BUY,LIMIT,15.00,40,14.00,16.00,17.00,{REST}\n"
)
SYMBOLS = ("KMI", "NOV")
LEDGER = "ledger.jsonl"
AT_SUBMIT = (
    "journal.claim#1.after",
    "journal.intend#1.before",
    "journal.intend#1.after",
    *(f"wire.placeOrder#{n}.after" for n in (1, 2, 3, 4, 5, 7, 8, 11, 12)),
    "journal.intend#2.after",
    "journal.together#6.commit",
    "broker.send#3.wait1",
    "notifier.tell#1.before",
    "journal.end_run#1.before",
)
"""Deaths while the plan goes out: 2 rows, 4 families, 12 orders."""
AT_CLOSE = (
    "wire.cancelOrder#1.before",
    "wire.cancelOrder#1.after",
    "wire.cancelOrder#4.after",
    "journal.intend#5.before",
    "journal.intend#5.after",
    "wire.placeOrder#13.before",
    "wire.placeOrder#13.after",
    "journal.record_message#2.after",
)
"""Deaths while the close cancels and sends: the thirteenth order is a MOC."""
DEATH_S = 45.0
"""Longest real wait for a death; a machine with much to do is slow."""
REST_S = 60.0
"""Longest real wait until the next daemon has nothing left to do or to ask."""
LOOK_S = 0.25
VERIFYING = "stopped while verifying"
"""How the close's summary begins: it would verify for hours, and is asked to stop."""
QUIET_STATES = frozenset({"working", "filled", "cancelled", "rejected", "expired"})


@dataclass(frozen=True, slots=True)
class Case:
    """One death: at *point*, with the close soon after submit or far away."""

    point: str
    close_soon: bool

    @property
    def job(self) -> str:
        """Return the job that the next daemon must bring to its end."""
        return "moc_close" if self.close_soon else "submit"


CASES = (
    *(Case(point, close_soon=False) for point in AT_SUBMIT),
    *(Case(point, close_soon=True) for point in AT_CLOSE),
)


class KillableLoop(asyncio.SelectorEventLoop):
    """A real loop whose connections let their frames out through *tap*."""

    def __init__(self, tap: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        super().__init__()
        self._tap = tap

    async def create_connection(  # type: ignore[override] # typeshed has overloads
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **options: Any,  # noqa: ANN401 # asyncio's own
    ) -> tuple[Any, asyncio.BaseProtocol]:
        """Connect, and stand between the program and its transport."""
        connect: Any = super().create_connection
        transport, protocol = await connect(protocol_factory, host, port, **options)
        return _Tapped(transport, self._tap), protocol


class _Tapped:
    """A transport whose writes go through a tap."""

    def __init__(
        self,
        transport: Any,  # noqa: ANN401 # asyncio's
        tap: Callable[[bytes, Callable[[bytes], None]], None],
    ) -> None:
        self._transport = transport
        self._tap = tap

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 # asyncio's
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write *data* frame by frame."""
        self._tap(bytes(data), self._transport.write)


@dataclass(frozen=True, slots=True)
class Sample:
    """The deaths that were played with real processes, each with its problems."""

    results: Sequence[tuple[Case, Sequence[str]]]

    @property
    def broken(self) -> bool:
        """Return whether a promise is broken, or nothing was played at all."""
        return not self.results or any(problems for _, problems in self.results)

    def text(self) -> str:
        """Return what failed, and how many there were."""
        lines = [
            f"FAILED SIGKILL at {case.point} ({case.job}): {problem}"
            for case, problems in self.results
            for problem in problems
        ]
        failed = sum(bool(problems) for _, problems in self.results)
        lines.append(
            f"real processes, SIGKILL: {len(self.results)} points, {failed} failed"
            if self.results
            else "no point was played with real processes: SIGKILL is not tested"
        )
        return "\n".join(lines)


def judge_files(lines: Sequence[str], journal: Path, case: Case) -> list[str]:
    """Return what the ledger's *lines* and the *journal* show of a killed daemon."""
    expected = Expected(
        channel="log",
        symbols=SYMBOLS,
        jobs=(case.job,),
        cut_short=KILLED,
        asked_to_stop=(VERIFYING,),
    )
    return list(weigh(lines, journal, expected).problems)


def play_real(cases: Sequence[Case], at_once: int) -> Iterator[tuple[Case, list[str]]]:
    """Yield each of *cases* with its problems, played *at_once* at a time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["daemon.simulation.killing.real"])

    def play(case: Case) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            return _House(context, Path(folder), case).play()

    with ThreadPoolExecutor(at_once) as pool:
        yield from zip(cases, pool.map(play, cases), strict=True)


class _House:
    """One gateway process, and one daemon process after the other."""

    def __init__(self, context: Any, home: Path, case: Case) -> None:  # noqa: ANN401 # multiprocessing's
        self._context = context
        self._home = home
        self._case = case
        self._state = home / "state"
        self._ledger = home / LEDGER
        self._config = home / "config.toml"
        self._began = 0.0
        """On the machine's monotonic clock: when the gateway's world began."""

    def play(self) -> list[str]:
        """Kill once, start again, and judge what the processes left behind."""
        gateway, port = self._start_gateway()
        try:
            self._write_files(port)
            killed = self._start_daemon(self._case.point)
            killed.join(DEATH_S)
            if killed.exitcode != -signal.SIGKILL:
                return [_survival(killed)]
            again = self._start_daemon(None)
            problems = self._wait_for_rest(again)
            return [*problems, *_stopped(again), *self._judged()]
        finally:
            _end(gateway)

    def _start_gateway(self) -> tuple[BaseProcess, int]:
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=serve_gateway, args=(there, self._home), daemon=True
        )
        process.start()
        if not here.poll(DEATH_S):
            raise TimeoutError("the gateway does not say its port")
        port, self._began = here.recv()
        return process, port

    def _write_files(self, port: int) -> None:
        plans = self._state / "plans"
        plans.mkdir(parents=True, mode=0o700)
        self._state.chmod(0o700)
        (plans / PLAN).write_text(ROWS, encoding="utf-8")
        self._config.write_text(
            f'[gateway]\nport = {port}\n[account]\nid = "{ACCOUNT}"\n'
            f"[paths]\nstate = {toml_text(self._state)}\n"
            + (CLOSE_SOON if self._case.close_soon else ""),
            encoding="utf-8",
        )

    def _start_daemon(self, doom: str | None) -> BaseProcess:
        process: BaseProcess = self._context.Process(
            target=live_until,
            args=(doom, self._began, self._config, self._home / "ibkrd.log"),
            daemon=True,
        )
        process.start()
        return process

    def _wait_for_rest(self, process: BaseProcess) -> list[str]:
        """Wait until every order is in a known state and the job has done its work."""
        deadline = time.monotonic() + REST_S
        status: dict[str, Any] = {}
        while time.monotonic() < deadline and process.is_alive():
            with suppress(NotRunning, CommandFailed):
                status = call(self._state, "status", {}, LOOK_S * 8)
            if self._rests(status):
                return []
            time.sleep(LOOK_S)
        return [f"not at rest after {REST_S:g} s: {status}"]

    def _rests(self, status: dict[str, Any]) -> bool:
        orders = status.get("orders") or {}
        if not orders or not QUIET_STATES.issuperset(orders):
            return False
        if self._case.close_soon:  # it goes on verifying until the cutoff
            return any(":MOC" in order.ref for order in self._broker.orders)
        return "submit" in status["results"] and not status["running"]

    @property
    def _broker(self) -> Broker:
        return read_ledger(self._lines())

    def _lines(self) -> list[str]:
        """Return the whole lines of the ledger, whose gateway still writes."""
        lines = self._ledger.read_text(encoding="utf-8").splitlines(keepends=True)
        return [line for line in lines if line.endswith("\n")]

    def _judged(self) -> list[str]:
        journal = self._state / "journal.sqlite"
        return judge_files(self._lines(), journal, self._case)


def _survival(process: BaseProcess) -> str:
    """End *process*, and return why it did not die at its point."""
    status = process.exitcode
    _end(process)
    if status is None:
        return f"the point was not reached in {DEATH_S:g} s"
    return f"not killed, but ended with {status}"


def _stopped(process: BaseProcess) -> list[str]:
    """Ask *process* to end, and return what is wrong with its end."""
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGTERM)
        process.join(DEATH_S)
    status = process.exitcode
    _end(process)
    return [] if status == 0 else [f"the second daemon ended with {status}"]


def _end(process: BaseProcess) -> None:
    process.kill()
    process.join()


# --- in the processes -----------------------------------------------------------------


def serve_gateway(port: Connection, home: Path) -> None:
    """Be the gateway: as `ibkrd gateway` on a free port.

    The port is sent to *port*, and when on the machine's monotonic clock it is START.
    """
    request = GatewayRequest(
        host="127.0.0.1",
        port=0,
        start=START,
        speed=1.0,
        seed=1,
        accounts=(ACCOUNT,),
        ledger=home / LEDGER,
    )
    with (home / "gateway.log").open("w", encoding="utf-8") as sink:
        configure_logging("json", "INFO", sink)
        began = time.monotonic()
        asyncio.run(
            run_house(
                request,
                TableCalendar(shipped_table()),
                lambda address: port.send((int(address.rpartition(":")[2]), began)),
            )
        )


def live_until(doom: str | None, began: float, config_path: Path, log: Path) -> None:
    """Be the daemon until it is killed at *doom*; its clock is the gateway's.

    *began* is when it was START, on the machine's monotonic clock.
    """
    life = Life(doom, lambda _: os.kill(os.getpid(), signal.SIGKILL))

    def around(kind: str, port: Any) -> Any:  # noqa: ANN401 # any port
        return stand_in(kind, port, life)

    now = START + timedelta(seconds=time.monotonic() - began)
    with time_machine.travel(now, tick=True), log.open("a", encoding="utf-8") as sink:
        config = load_config(config_path, {"HOME": str(config_path.parent)})
        configure_logging("json", "INFO", sink, secrets=config.secrets())
        world = World(
            clock=SystemClock(),
            calendar=TableCalendar(shipped_table()),
            jitter=Random(1),
            around=around,
        )
        loop = KillableLoop(tapped(life))
        asyncio.set_event_loop(loop)
        status = loop.run_until_complete(App(config, world).run())
        loop.close()
    raise SystemExit(status)
