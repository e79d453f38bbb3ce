"""One trading day of the whole daemon against the embedded gateway, in one loop."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from daemon.app import App
from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.config import Config, load_config
from daemon.config.toml import toml_text
from daemon.core.model import Session
from daemon.core.plan import PlanRow, parse_plan
from daemon.errors import ConfigError, IbkrdError, InvariantViolated, PlanError
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings, reference_prices
from daemon.fakegateway.prices import Prices, Waypoint
from daemon.fakegateway.scenario import Script
from daemon.fakegateway.scenario import play as play_faults
from daemon.fakegateway.server import Reception, serve
from daemon.fakegateway.values import GatewaySettings, MarketSession
from daemon.fakegateway.world import World as GatewayWorld
from daemon.log import configure_logging, release_logging
from daemon.notify.channels import Channel
from daemon.simulation.loop import run_virtual
from daemon.simulation.story import Fate, waypoints
from daemon.wiring import World

ACCOUNT = "DU1234567"
HOST, PORT = "127.0.0.1", 4002
LEDGER_NAME = "gateway-ledger.jsonl"
AROUND = timedelta(days=10)
"""Calendar days of sessions that the exchange knows around the day."""


class DayStopped(IbkrdError):
    """A signal ended the day before its time: nothing is proved."""

    exit_status = 130


class Stage:
    """The day while it runs: what a scenario may look at and touch."""

    def __init__(
        self,
        spec: DaySpec,
        config: Config,
        calendar: TableCalendar,
        gateway: GatewayWorld,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.spec = spec
        self.config = config
        self.gateway = gateway
        self.exit_statuses: list[int] = []
        """Of every daemon that has ended, in order."""
        self._calendar = calendar
        self._tasks = tasks
        self._app: App | None = None
        self._running: asyncio.Task[int] | None = None
        self._left = asyncio.Event()
        self._server: Reception | None = None

    @property
    def session(self) -> Session:
        """Return the session of the day.

        Raises:
            PlanError: the day has none.
        """
        return _session(self._calendar, self.spec.day)

    async def open_gateway(self) -> None:
        """Let the gateway listen, if it does not."""
        if self._server is None:
            self._server = await serve(self.gateway, HOST, PORT)

    def close_gateway(self) -> None:
        """End the gateway's process: its connections and its port; its world stays."""
        if self._server is not None:
            self.gateway.drop_clients()
            self._server.close()
            self._server = None

    @property
    def app(self) -> App:
        """Return the daemon that runs.

        Raises:
            InvariantViolated: none does.
        """
        if self._app is None:
            raise InvariantViolated("no daemon runs on this stage")
        return self._app

    def start_daemon(self) -> None:
        """Start a daemon on the day's state directory."""
        world = World(
            clock=SystemClock(),
            calendar=self._calendar,
            channels=self.spec.channels,
            jitter=Random(f"jitter/{self.spec.seed}/{len(self.exit_statuses)}"),
        )
        self._app = App(self.config, world)
        self._running = self._tasks.create_task(self._live(self._app), name="daemon")

    async def _live(self, app: App) -> int:
        status = await app.run()
        if app is self._app:  # nobody on the stage asked: it was a signal
            self._app = self._running = None
            self.exit_statuses.append(status)
            self._left.set()
        return status

    async def stop_daemon(self, cause: str) -> None:
        """Stop the daemon that runs, if any, and wait for its end."""
        app, running = self._app, self._running
        if app is None or running is None:
            return
        self._app = self._running = None
        app.stop(cause)
        self.exit_statuses.append(await running)

    async def until(self, moment: datetime) -> None:
        """Wait until *moment*; at once where it is past."""
        await asyncio.sleep(_seconds_to(moment))

    async def until_end(self, moment: datetime) -> None:
        """Wait until *moment*, the day's end.

        Raises:
            DayStopped: a signal stopped the daemon before.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_seconds_to(moment)):
                await self._left.wait()
                raise DayStopped(
                    f"stopped before the end of {self.spec.day}: play it again"
                )


Scenario = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DaySpec:
    """One day to play; *state* is emptied first and holds everything afterwards."""

    day: date
    plan_name: str
    """Empty: no plan lies there when the day begins."""
    plan_text: str
    state: Path
    seed: int = 1
    fates: Mapping[str, Fate] | None = None
    paths: Mapping[str, Sequence[Waypoint]] | None = None
    """Prices that a symbol goes through instead of a fate."""
    settings: GatewaySettings | None = None
    account: str = ACCOUNT
    """For which the daemon may trade; the gateway's own is in its settings."""
    faults: Script = ()
    """What goes wrong at the gateway, and when."""
    config: str = ""
    """Sections of config.toml beside those that the stage writes."""
    scenario: Scenario | None = None
    channels: Sequence[Channel] = ()
    pace: float | None = None
    begin: time = time(9)
    end: time = time(16, 30)
    nights: int = 0
    """Midnights between *begin* and *end*."""
    log_level: str = "INFO"
    on_ledger: Callable[[str], None] | None = None
    on_advance: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class DayFiles:
    """Where a played day left its evidence."""

    ledger: Path
    journal: Path
    reports: Path
    log: Path
    ledger_sha256: str
    exit_status: int


Course = Callable[[DaySpec, Config, TableCalendar, Ledger], Coroutine[Any, Any, int]]
"""Runs gateway and daemon in the running loop; returns an exit status."""

CONFIG = """\
[account]
id = "{account}"

[paths]
state = {state}
plans = {plans}
reports = {reports}

[gateway]
host = "{host}"
port = {port}
"""


def play(spec: DaySpec, course: Course | None = None) -> DayFiles:
    """Play the day in virtual time and return where its evidence lies.

    *course* is what runs in the loop instead of `run_day`.
    """
    config = prepare(spec)
    log_path = spec.state / "ibkrd.log"
    with log_path.open("w", encoding="utf-8") as stream:
        configure_logging("json", spec.log_level, stream, secrets=config.secrets())
        try:
            return _play(spec, config, log_path, course or run_day)
        finally:
            release_logging()


def _play(spec: DaySpec, config: Config, log_path: Path, course: Course) -> DayFiles:
    calendar = TableCalendar(shipped_table())
    zone = ZoneInfo(calendar.time_zone)
    start = datetime.combine(spec.day, spec.begin, zone)
    ledger_path = spec.state / LEDGER_NAME
    with ledger_path.open("w", encoding="utf-8") as sink:

        def write(line: str) -> None:
            sink.write(line)
            if spec.on_ledger is not None:
                spec.on_ledger(line)

        status = run_virtual(
            lambda: course(spec, config, calendar, Ledger(write)),
            start,
            pace=spec.pace,
            on_advance=spec.on_advance,
        )
    return DayFiles(
        ledger=ledger_path,
        journal=config.paths.state / "journal.sqlite",
        reports=config.paths.reports,
        log=log_path,
        ledger_sha256=hashlib.sha256(ledger_path.read_bytes()).hexdigest(),
        exit_status=status,
    )


def prepare(spec: DaySpec) -> Config:
    """Make the state directory anew, with configuration and plan in it."""
    try:
        if spec.state.exists():
            _require_played(spec.state)
            shutil.rmtree(spec.state)
        (spec.state / "plans").mkdir(parents=True, mode=0o700)
        spec.state.chmod(0o700)
    except OSError as exc:
        raise ConfigError(
            f"{spec.state} cannot be made ({exc.strerror}): name another directory"
        ) from exc
    source = spec.state / "config.toml"
    source.write_text(
        CONFIG.format(
            account=spec.account,
            state=toml_text(spec.state),
            plans=toml_text(spec.state / "plans"),
            reports=toml_text(spec.state / "reports"),
            host=HOST,
            port=PORT,
        )
        + spec.config,
        encoding="utf-8",
    )
    if spec.plan_name:
        plan = spec.state / "plans" / spec.plan_name
        plan.write_text(spec.plan_text, encoding="utf-8", newline="")
    return load_config(source, {"HOME": str(spec.state)})


def _require_played(state: Path) -> None:
    """Let nothing be emptied but what an earlier day left."""
    if any(state.iterdir()) and not (state / LEDGER_NAME).exists():
        raise ConfigError(
            f"{state} holds something else than a played day: name another directory"
        )


async def run_day(
    spec: DaySpec, config: Config, calendar: TableCalendar, ledger: Ledger
) -> int:
    """Run gateway, daemon and scenario in the running loop until the day's end."""
    gateway = build_gateway(spec, config, calendar, ledger)
    last = spec.day + timedelta(days=spec.nights)
    end = datetime.combine(last, spec.end, ZoneInfo(calendar.time_zone))
    async with asyncio.TaskGroup() as tasks:
        stage = Stage(spec, config, calendar, gateway, tasks)
        await stage.open_gateway()
        try:
            # The scenario's first act comes before the daemon's.
            acting = tasks.create_task(_act(stage), name="scenario")
            stage.start_daemon()
            await stage.until_end(end)
            await stage.stop_daemon("end of the simulated day")
            acting.cancel()
        finally:
            stage.close_gateway()
    return stage.exit_statuses[-1]


def _seconds_to(moment: datetime) -> float:
    return max(0.0, (moment - SystemClock().now()).total_seconds())


async def _act(stage: Stage) -> None:
    if stage.spec.scenario is not None:
        await stage.spec.scenario(stage)


def _session(calendar: TableCalendar, day: date) -> Session:
    session = calendar.session(day)
    if session is None:
        raise PlanError(f"{day} has no session on {calendar.exchange}")
    return session


def build_gateway(
    spec: DaySpec, config: Config, calendar: TableCalendar, ledger: Ledger
) -> GatewayWorld:
    """Return the broker and the exchange of the day."""
    rules = config.rules()
    plan = parse_plan(
        spec.plan_text, size_preset=rules.size_preset, share_a=rules.share_a
    )
    rows = {row.symbol: row for row in plan.rows}
    listings = default_listings()
    gateway = GatewayWorld(
        clock=LoopClock(asyncio.get_running_loop(), SystemClock().now()),
        sessions=market_sessions(calendar, spec.day),
        listings=listings,
        settings=spec.settings or GatewaySettings(accounts=(ACCOUNT,)),
        prices=prices_for(rows, spec),
        ledger=ledger,
        seed=spec.seed,
    )
    play_faults(gateway, spec.faults)
    return gateway


def market_sessions(calendar: TableCalendar, day: date) -> list[MarketSession]:
    """Return the exchange's sessions around *day*."""
    return [
        MarketSession(session.date, session.open, session.close)
        for session in calendar.sessions(day - AROUND, day + AROUND)
    ]


def prices_for(rows: Mapping[str, PlanRow], spec: DaySpec) -> Prices:
    """Return prices that start near each row's limit and follow its fate or path."""
    bases = {**reference_prices(), **{s: row.limit_price for s, row in rows.items()}}
    fated = {
        symbol: waypoints(rows[symbol], fate)
        for symbol, fate in (spec.fates or {}).items()
        if symbol in rows
    }
    return Prices(spec.seed, bases=bases, waypoints={**fated, **(spec.paths or {})})
