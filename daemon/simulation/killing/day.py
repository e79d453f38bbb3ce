"""The canonical day, and the lives that daemons lead through it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from daemon.app import App
from daemon.calendar import TableCalendar
from daemon.clock import SystemClock
from daemon.config import Config
from daemon.core.model import Message
from daemon.errors import IbkrdError, InvariantViolated
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.prices import Waypoint
from daemon.fakegateway.server import serve
from daemon.fakegateway.values import GatewaySettings
from daemon.simulation import day as theatre
from daemon.simulation.killing.awaits import TaskWatch
from daemon.simulation.killing.frames import tapped
from daemon.simulation.killing.life import Killed, Life, Point
from daemon.simulation.killing.standin import stand_in
from daemon.simulation.loop import VirtualLoop
from daemon.wiring import World

DAY = date(2026, 11, 27)
"""A half-day: three hours and a half between the jobs instead of six and a half."""
NEW_YORK = ZoneInfo("America/New_York")
BEGIN, END = time(9, 34, 50), time(13, 30)
"""From just before submit until long after the report, for a daemon started late."""
PLAN = "execution_plan_run_20261127_130502_c0ffee.csv"
REST = "100.00,120.0,positive,Energy,0.8,0.988,1.0,50.00,neutral,False"
HEADER = (
    "instrument_id,direction,order_type,limit_price,quantity,stop_loss,take_profit_1,"
    "take_profit_2,risk_usd,score,gex_regime,sector,multiplier_total,mult_vix,"
    "mult_utility,sector_bmi,sector_regime,is_mean_reversion"
)
ROWS = (
    f"BLCO,BUY,LIMIT,17.20,27,16.68,17.71,18.23,{REST}",
    f"MRNA,BUY,LIMIT,44.15,82,42.83,45.47,46.80,{REST}",
    f"NOV,BUY,LIMIT,19.64,29,19.05,20.23,20.82,{REST}",
)
SYMBOLS = ("BLCO", "MRNA", "NOV")


def _path(*points: tuple[float, str]) -> tuple[Waypoint, ...]:
    return tuple(Waypoint(at, Decimal(price)) for at, price in points)


PATHS = {
    # Bought at once; A takes its profit early, B stays until the close.
    "BLCO": _path((0.0, "17.15"), (0.04, "17.15"), (0.1, "17.78"), (0.2, "17.40")),
    # Bought at once, stopped out.
    "MRNA": _path((0.0, "44.00"), (0.08, "44.00"), (0.15, "42.60"), (1.0, "42.40")),
    # Bought a quarter of a minute after submit; everything stays until the close.
    "NOV": _path((0.0, "19.70"), (0.05, "19.58"), (1.0, "19.70")),
}
CONFIG = "heartbeat_s = 300\n"
"""Behind the stage's last section, which is the gateway's."""


@dataclass(frozen=True, slots=True)
class Dooms:
    """How the daemons of one day end: at *points*, in turn; the last one lives.

    *how* is `kill` or `term`; *pause_s* lies between an end and the next start; *seed*
    decides whether the kernel ends a connection with FIN or RST.
    """

    points: tuple[str, ...] = ()
    how: str = "kill"
    pause_s: float = 3.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Passed:
    """One point that was passed; what has the same *mark* cannot be told apart."""

    point: Point
    at_s: float
    mark: object


@dataclass(frozen=True, slots=True)
class Told:
    """One message as the person got it."""

    at: datetime
    severity: str
    subject: str
    body: str


@dataclass
class Pager:
    """A channel that accepts everything and remembers it, whoever lives."""

    name: str = "pager"
    told: list[Told] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        """Take *message*."""
        at = SystemClock().now()
        self.told.append(
            Told(at, message.severity.value, message.subject, message.body)
        )


@dataclass
class Record:
    """What the run itself knows; the rest is in the files."""

    pager: Pager = field(default_factory=Pager)
    lives: list[list[Passed]] = field(default_factory=list)
    """Of each daemon the points that it passed."""
    struck: list[bool] = field(default_factory=list)
    """Of each doom whether it came."""
    ends: list[datetime] = field(default_factory=list)
    """When each daemon but the last one ended."""
    failures: list[str] = field(default_factory=list)
    """Daemons that ended by themselves, and what did not die."""


@dataclass(frozen=True, slots=True)
class Lived:
    """A day that is over: its record and its files."""

    record: Record
    files: theatre.DayFiles


def play(dooms: Dooms, state: Path) -> Lived:
    """Play the canonical day under *dooms* in the directory *state*."""
    record = Record()
    spec = theatre.DaySpec(
        day=DAY,
        plan_name=PLAN,
        plan_text="".join(f"{line}\n" for line in (HEADER, *ROWS)),
        state=state,
        paths=PATHS,
        config=CONFIG,
        settings=GatewaySettings(accounts=(theatre.ACCOUNT,)),
        begin=BEGIN,
        end=END,
        log_level="WARNING",
    )

    async def course(
        spec: theatre.DaySpec, config: Config, calendar: TableCalendar, ledger: Ledger
    ) -> int:
        return await _Day(spec, config, calendar, dooms, record).run(ledger)

    return Lived(record, theatre.play(spec, course))


class _Day:
    """The canonical day while it runs."""

    def __init__(
        self,
        spec: theatre.DaySpec,
        config: Config,
        calendar: TableCalendar,
        dooms: Dooms,
        record: Record,
    ) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise InvariantViolated("the canonical day is played in virtual time")
        self._loop = loop
        self._spec = spec
        self._config = config
        self._calendar = calendar
        self._dooms = dooms
        self._record = record
        self._watch = TaskWatch()
        self._end = datetime.combine(spec.day, spec.end, NEW_YORK)

    async def run(self, ledger: Ledger) -> int:
        """Let one daemon after the other live, and the gateway beside them."""
        gateway = theatre.build_gateway(
            self._spec, self._config, self._calendar, ledger
        )
        server = await serve(gateway, theatre.HOST, theatre.PORT)
        self._loop.set_exception_handler(_heard)
        self._loop.set_task_factory(self._watch)
        try:
            for doom in self._dooms.points:
                if not await self._live(doom):
                    break
                await asyncio.sleep(self._dooms.pause_s)
            else:
                await self._live(None)
        finally:
            gateway.drop_clients()
            server.close()
        return 1 if self._record.failures else 0

    async def _live(self, doom: str | None) -> bool:
        """Let one daemon live until its doom or the day's end; True if doom came."""
        passed: list[Passed] = []

        def note(point: Point) -> None:
            # A day without a doom is counted; the life after the first is drawn from.
            if self._counts and (self._dooms.how == "kill" or self._watch.in_job):
                passed.append(self._mark(life, point))

        life = Life(doom, self._strike, note)
        self._record.lives.append(passed)
        self._loop.network.on_connect = lambda line: setattr(
            line.client, "tap", tapped(life)
        )
        self._watch.life = life
        app = self._app = App(self._config, self._world(life))
        async with asyncio.TaskGroup() as tasks:
            self._root = tasks.create_task(_survived(app, life), name="daemon")
            await self._outlive(app)
        self._watch.life = None
        failure = self._root.result()
        if failure is not None:
            self._record.failures.append(failure)
        if doom is not None:
            self._record.struck.append(life.struck)
            self._record.ends.append(SystemClock().now())
        return life.struck

    async def _outlive(self, app: App) -> None:
        left_s = (self._end - SystemClock().now()).total_seconds()
        await asyncio.wait({self._root}, timeout=left_s)
        if not self._root.done():
            app.stop("end of the simulated day")

    def _world(self, life: Life) -> World:
        def around(kind: str, port: Any) -> Any:  # noqa: ANN401 # any port
            return stand_in(kind, port, life)

        return World(
            clock=SystemClock(),
            calendar=self._calendar,
            channels=(stand_in("channel", self._record.pager, life),),
            jitter=Random(f"jitter/{len(self._record.lives)}"),
            around=around,
        )

    @property
    def _counts(self) -> bool:
        """Return whether the points of the life that runs are wanted."""
        return len(self._record.lives) == len(self._dooms.points) + 1 <= 2

    def _mark(self, life: Life, point: Point) -> Passed:
        """Mark *point* by what has left the process before it.

        A signal is heard between two turns of the loop.
        """
        now = self._loop.time()
        if self._dooms.how == "term":
            return Passed(point, now, self._loop.turns)
        return Passed(point, now, (life.left, *self._written()))

    def _written(self) -> list[tuple[str, int]]:
        """Return the report's files: they leave the process as well."""
        with os.scandir(self._config.paths.reports) as found:
            return sorted((one.name, one.inode()) for one in found)

    def _strike(self, life: Life) -> None:
        if self._dooms.how == "term":
            self._loop.call_soon(self._app.stop, "SIGTERM")
            return
        life.mute = True
        reset = Random(f"{self._dooms.seed}/{life.doom}").random() < 0.5
        for line in self._loop.network.connections:
            if reset:
                line.client.abort()
            else:
                line.client.close()
        self._loop.call_soon(self._root.cancel)


async def _survived(app: App, life: Life) -> str | None:
    """Run *app*; return why it ended where nobody killed it or asked it to stop."""
    try:
        status = await app.run()
    except BaseException as exc:
        if life.mute:
            return _beside_death(exc)
        if isinstance(exc, Exception):
            return f"the daemon ended: {_cause(exc)}"
        raise
    return f"the daemon ended with {status}" if status else None


def _cause(exc: Exception) -> str:
    """Return the first error in *exc*, whose groups say nothing."""
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"


def _beside_death(exc: BaseException) -> str | None:
    """Return what else went wrong while the dead daemon was cleared away."""
    if isinstance(exc, BaseExceptionGroup):
        return next(filter(None, map(_beside_death, exc.exceptions)), None)
    if isinstance(exc, Killed | asyncio.CancelledError | IbkrdError):
        return None
    return f"beside the death: {type(exc).__name__}: {exc}"


def _heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Let the loop report everything but deaths."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)
