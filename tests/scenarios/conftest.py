"""Whole days: a plan in plain words, a day to play, and the evidence that it left.

A row reads `BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23`. What happens beside
the plan is a coroutine that gets `Hands`; what remains afterwards is a `Played` day.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from daemon.config import load_config
from daemon.core.model import Message
from daemon.core.plan import COLUMNS
from daemon.errors import IbkrdError
from daemon.fakegateway.values import (
    Contract,
    GatewaySettings,
    OrderTicket,
    Refusal,
)
from daemon.simulation import day as theatre
from daemon.simulation.checker import Verdict, check
from daemon.simulation.story import Fate

NEW_YORK = ZoneInfo("America/New_York")
THURSDAY = date(2026, 2, 19)
ACCOUNT = theatre.ACCOUNT
DAEMON, TWS = 10, 0
"""Client ids: ours, and that of orders entered by hand."""

PLAN = "execution_plan_run_20260219_130502_a1b2c3.csv"
"""Stamped 08:05 in New York on the Thursday."""
ROW = re.compile(
    r"(?P<symbol>.*) (?P<quantity>\S+) at (?P<limit>\S+) stop (?P<stop>\S+)"
    r" targets (?P<first>\S+) (?P<second>\S+)"
)
REST = "100.00,120.0,positive,Energy,0.8,0.988,1.0,50.00,neutral,False"
"""The columns from risk_usd on: they decide nothing."""


def plan_text(rows: Iterable[str]) -> str:
    """Return the CSV of *rows* in plain words."""
    return "".join(f"{line}\n" for line in (",".join(COLUMNS), *map(_csv, rows)))


def _csv(row: str) -> str:
    match = ROW.fullmatch(row)
    if match is None:
        raise ValueError(f"{row!r} is no row in plain words")
    it = match.groupdict()
    prices = f"{it['stop']},{it['first']},{it['second']}"
    return f"{it['symbol']},BUY,LIMIT,{it['limit']},{it['quantity']},{prices},{REST}"


@dataclass(frozen=True)
class Told:
    """One message as the pager got it; *at* in New York time."""

    at: datetime
    severity: str
    subject: str
    body: str

    @property
    def text(self) -> str:
        return f"{self.subject}\n{self.body}"


@dataclass
class Pager:
    """A channel that accepts everything and remembers it."""

    name: str = "pager"
    told: list[Told] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        at = datetime.now(NEW_YORK)  # noqa: TID251 - virtual time, read as people do
        self.told.append(
            Told(at, message.severity.value, message.subject, message.body)
        )


class Hands:
    """What a scenario can do while the day runs; times are New York times."""

    def __init__(self, stage: theatre.Stage) -> None:
        self.stage = stage
        self.gateway = stage.gateway
        self._order_ids = 0

    async def until(self, clock: str) -> None:
        moment = time.fromisoformat(clock)
        day = self.stage.spec.day
        await self.stage.until(datetime.combine(day, moment, NEW_YORK))

    def start_daemon(self) -> None:
        self.stage.start_daemon()

    async def stop_daemon(self) -> None:
        await self.stage.stop_daemon("SIGTERM")

    async def open_gateway(self) -> None:
        await self.stage.open_gateway()

    def close_gateway(self) -> None:
        self.stage.close_gateway()

    def step_clock(self, seconds: float) -> None:
        """Set the host's clock; the gateway's goes on as it was."""
        loop: Any = asyncio.get_running_loop()
        loop.step_wall(seconds)

    def signal(self, number: signal.Signals) -> None:
        os.kill(os.getpid(), number)

    def carry(self, symbol: str, quantity: int, cost: str = "20.00") -> None:
        """Give the account a position of an earlier day."""
        self.gateway.endow(ACCOUNT, symbol, Decimal(quantity), Decimal(cost))

    def say(self, code: int, text: str) -> None:
        """Let the gateway tell everybody a notice such as 1100."""
        self.gateway.broadcast(Refusal(code, text))

    def by_hand(self, side: str, quantity: int, symbol: str, **terms: Any) -> None:
        """Enter an order in TWS."""
        self._order_ids += 1
        self.gateway.place(
            TWS,
            OrderTicket(
                order_id=self._order_ids,
                contract=Contract(symbol=symbol),
                action=side,
                quantity=Decimal(quantity),
                account=ACCOUNT,
                **{"order_type": "MKT", "tif": "DAY", **terms},
            ),
        )

    def as_script(self, order_id: int, symbol: str, **terms: Any) -> None:
        """Buy one share as a script does that has taken our client id."""
        self.gateway.place(
            DAEMON,
            OrderTicket(
                order_id=order_id,
                contract=Contract(symbol=symbol),
                action="BUY",
                quantity=Decimal(1),
                account=ACCOUNT,
                **{"order_type": "MKT", "tif": "DAY", **terms},
            ),
        )

    def write_plan(self, name: str, text: str) -> None:
        (self.stage.config.paths.plans / name).write_text(text, encoding="utf-8")

    @property
    def connection(self) -> Any:
        """The daemon's connection: the place for faults of the wire."""
        loop: Any = asyncio.get_running_loop()
        return loop.network.connections[-1]


Deeds = Callable[[Hands], Awaitable[None]]


@dataclass(frozen=True)
class Played:
    """A day that is over, and everything that it left behind."""

    date: date
    state: Path
    verdict: Verdict
    ledger: list[dict[str, Any]]
    told: list[Told]
    statuses: list[int]
    failure: Exception | None = None
    """What ended the daemon, where the test expects that something does."""

    # --- the gateway's side ---------------------------------------------------------

    def records(self, event: str, **wanted: object) -> list[dict[str, Any]]:
        return [
            record
            for record in self.ledger
            if record["event"] == event
            and all(record[key] == value for key, value in wanted.items())
        ]

    @property
    def placed(self) -> list[str]:
        """Our references in the order of the wire, each time that one was placed."""
        return [r["order_ref"] for r in self.records("placed", client_id=DAEMON)]

    @property
    def entries_at_work(self) -> list[str]:
        """The brackets whose entry came to work at the broker, each time one did."""
        ids = {r["perm_id"]: r["order_ref"] for r in self.records("placed")}
        released = [ids[r["perm_id"]].split(":") for r in self.records("released")]
        return sorted(f"{word[2]}:{word[3]}" for word in released if word[4] == "EN")

    @property
    def at_the_bell(self) -> dict[str, int]:
        """The shares that market-on-close orders of ours closed, by symbol."""
        closed: Counter[str] = Counter()
        for record in self.records("executed", client_id=DAEMON):
            if ":MOC" in record["order_ref"]:
                closed[record["symbol"]] += int(record["quantity"])
        return dict(sorted(closed.items()))

    def times(self, event: str, **wanted: object) -> list[str]:
        """The New York times of such records, as 15:40:03.512."""
        return [new_york(record["at"]) for record in self.records(event, **wanted)]

    # --- the daemon's side ------------------------------------------------------------

    def sql(self, query: str, *args: object) -> list[tuple[Any, ...]]:
        """Ask the journal by plain sqlite3."""
        with closing(sqlite3.connect(self.state / "journal.sqlite")) as db:
            return db.execute(query, args).fetchall()

    @property
    def jobs(self) -> list[tuple[str, str]]:
        """Every run of a job and its outcome, in the order of the starts."""
        return self.sql("SELECT job, outcome FROM runs ORDER BY started_at, run_id")

    @property
    def started(self) -> dict[str, str]:
        """The New York time at which each job began."""
        rows = self.sql("SELECT job, min(started_at) FROM runs GROUP BY job")
        return {job: new_york(at)[:5] for job, at in rows}

    @property
    def rows(self) -> dict[str, str]:
        """What became of each plan row."""
        return dict(self.sql("SELECT symbol, status FROM plan_rows ORDER BY line"))

    def reason(self, symbol: str) -> str:
        query = "SELECT reason FROM plan_rows WHERE symbol = ?"
        return str(self.sql(query, symbol)[0][0])

    @property
    def states(self) -> dict[str, str]:
        """The latest state of each order of ours."""
        query = "SELECT order_ref, state FROM order_states ORDER BY id"
        intended = self.sql("SELECT order_ref, 'intended' FROM intents")
        return {**dict(intended), **dict(self.sql(query))}

    @property
    def report(self) -> dict[str, Any]:
        path = self.state / "reports" / f"report_{self.date}.json"
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of *event*; `at` is their New York time."""
        text = (self.state / "ibkrd.log").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        return [
            {**line, "at": new_york(line["timestamp"])}
            for line in lines
            if line["event"] == event
        ]

    def messages(self, text: str) -> list[Told]:
        """The messages that hold *text*."""
        return [one for one in self.told if text in one.text]

    @property
    def alarms(self) -> list[Told]:
        return [one for one in self.told if one.severity == "alarm"]

    # --- the verdict ---------------------------------------------------------------

    @property
    def flat(self) -> bool:
        return self.verdict.flat[self.date]

    @property
    def problems(self) -> list[str]:
        """What no day may leave: broken laws, doubles, crashes, unended jobs."""
        missed = Counter(r["order_id"] for r in self.records("order_error", code=10006))
        ids = Counter(r["order_id"] for r in self.records("placed", client_id=DAEMON))
        twice = [
            record["order_ref"]
            for record in self.records("placed", client_id=DAEMON)
            if ids[record["order_id"]] > 1 + missed[record["order_id"]]
        ]
        refs = {(r["order_ref"], r["order_id"]) for r in self.records("placed")}
        counted = Counter(ref for ref, _ in refs if ref.startswith("ibkrd:"))
        twice += [ref for ref, count in counted.items() if count > 1]
        return [
            *map(str, self.verdict.violations),
            *(f"placed twice: {ref}" for ref in twice),
            *(f"crashed: {line['job']}" for line in self.logged("job.crashed")),
            *(f"never ended: {job}" for job, outcome in self.jobs if outcome is None),
            *([] if set(self.statuses) == {0} else [f"exit {self.statuses}"]),
        ]


def new_york(instant: str) -> str:
    moment = datetime.fromisoformat(instant).astimezone(NEW_YORK)
    return f"{moment:%H:%M:%S.%f}"[:12]


@dataclass(frozen=True)
class Stagehand:
    """Plays days in a directory of the test's own."""

    directory: Path

    def __call__(
        self,
        *rows: str,
        text: str | None = None,
        fates: Mapping[str, Fate] | None = None,
        deeds: Deeds | None = None,
        ends_with: type[IbkrdError] | None = None,
        state: str = "day",
        settings: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> Played:
        """Play the day of the plan *rows* (or of its raw *text*) and judge it.

        A row without a fate drifts: filled in the morning, held until the close.
        """
        pager, stages = Pager(), list[theatre.Stage]()
        drifting = {row.partition(" ")[0]: Fate.DRIFTING for row in rows}

        async def scenario(stage: theatre.Stage) -> None:
            stages.append(stage)
            if deeds is not None:
                await deeds(Hands(stage))

        day = theatre.DaySpec(
            **{
                "day": THURSDAY,
                "plan_name": PLAN,
                "plan_text": plan_text(rows) if text is None else text,
                "state": self.directory / state,
                "fates": drifting | dict(fates or {}),
                "settings": GatewaySettings(
                    **{"accounts": (ACCOUNT,), **(settings or {})}
                ),
                "scenario": scenario,
                "channels": (pager,),
                "log_level": "WARNING",
                **spec,
            }
        )
        failure = _play(day, ends_with)
        return _judged(day, stages[0].exit_statuses, pager.told, failure)


def _play(day: theatre.DaySpec, ends_with: type[IbkrdError] | None) -> Exception | None:
    """Play *day*; return what ended it where the test expects that."""
    if ends_with is None:
        theatre.play(day)
        return None
    with pytest.raises(ExceptionGroup) as caught:
        theatre.play(day)
    (failure,) = caught.value.exceptions
    assert isinstance(failure, ends_with)
    return failure


def _judged(
    day: theatre.DaySpec,
    statuses: list[int],
    told: list[Told],
    failure: Exception | None,
) -> Played:
    lines = (day.state / theatre.LEDGER_NAME).read_text(encoding="utf-8").splitlines()
    rules = load_config(day.state / "config.toml", {"HOME": str(day.state)}).rules()
    verdict = check(
        lines,
        day.state / "journal.sqlite",
        client_id=DAEMON,
        accounts=frozenset({day.account}),
        ignore=rules.ignore,
    )
    ledger = [json.loads(line) for line in lines]
    return Played(day.day, day.state, verdict, ledger, told, statuses, failure)


@pytest.fixture
def play_day(tmp_path: Path) -> Stagehand:
    """Return what plays a day; see `Stagehand`."""
    return Stagehand(tmp_path)


@pytest.fixture(scope="module")
def play_once(tmp_path_factory: pytest.TempPathFactory) -> Stagehand:
    """Return what plays a day for all tests of a module."""
    return Stagehand(tmp_path_factory.mktemp("days"))
