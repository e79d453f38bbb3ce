from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.clock import SystemClock
from daemon.core.model import JobOutcome, JobResult, Message, Session
from daemon.errors import (
    ConnectionLost,
    GatewayTimeout,
    InvariantViolated,
    JournalError,
    PlanError,
)
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.ports import Job
from daemon.runner import Runner, deadline_of

pytestmark = pytest.mark.virtual(start="2026-02-19T09:35:00-05:00")

OPEN = datetime(2026, 2, 19, 14, 30, tzinfo=UTC)
SESSION = Session(date(2026, 2, 19), OPEN, datetime(2026, 2, 19, 21, 0, tzinfo=UTC))
DUE = OPEN + timedelta(minutes=5)
END = JobOutcome


def now() -> float:
    return asyncio.get_running_loop().time()


class Link:
    """A broker's link that the test takes down and brings back."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        self._ready.set()

    def lose(self) -> None:
        self._ready.clear()

    def restore(self) -> None:
        self._ready.set()

    async def wait_ready(self) -> None:
        await self._ready.wait()


@dataclass
class Told:
    messages: list[Message] = field(default_factory=list)

    async def tell(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    @property
    def subjects(self) -> list[tuple[str, str]]:
        return [(m.severity.value, m.subject) for m in self.messages]


@dataclass
class Bench:
    journal: SqlJournal
    link: Link = field(default_factory=Link)
    told: Told = field(default_factory=Told)
    jobs: dict[str, Job] = field(default_factory=dict)
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = Runner(
            jobs=self.jobs,
            context=lambda run_id, *_: run_id,
            journal=self.journal,
            broker=self.link,
            clock=SystemClock(),
            notifier=self.told,
        )

    def job(self, name: str, body: Callable[..., Awaitable[JobResult]], **more) -> None:
        until = more.pop("until", "open+30m")
        self.jobs[name] = Job(name, "open+5m", until, body, **more)

    async def fire(self, name: str = "submit") -> None:
        await self.runner.fire(name, SESSION, DUE)

    def runs(self) -> list[tuple[object, ...]]:
        """Return (run, outcome, summary) as another reader of the file sees them."""
        with closing(sqlite3.connect(self.journal.path)) as connection:
            return connection.execute(
                "SELECT run_id, outcome, summary FROM runs ORDER BY started_at, run_id"
            ).fetchall()


def result(outcome: JobOutcome = END.DONE, summary: str = "8 rows") -> JobResult:
    return JobResult(outcome, summary)


def once(*steps: object) -> Callable[..., Awaitable[JobResult]]:
    """Return a job's body: each call takes the next step, an error or a result."""
    left = list(steps)

    async def body(_ctx: object) -> JobResult:
        step = left.pop(0)
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, JobResult)
        return step

    return body


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=OPEN) as opened:
        yield opened


@pytest.fixture
def bench(journal: SqlJournal) -> Bench:
    return Bench(journal)


# --- one terminal record ------------------------------------------------------------


@pytest.mark.parametrize("outcome", list(END))
async def test_a_run_ends_in_the_record_of_its_job(bench, outcome) -> None:
    bench.job("submit", once(result(outcome, "said so")))
    await bench.fire()
    assert bench.runs() == [("2026-02-19/submit/1", outcome.value, "said so")]


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (PlanError("line 4: stop above entry"), "line 4: stop above entry"),
        (InvariantViolated("a law"), "a law"),
        (KeyError("symbol"), "KeyError: 'symbol'"),
        (
            ExceptionGroup("two", [ValueError("a"), ValueError("b")]),
            "ExceptionGroup: two (2 sub-exceptions)",
        ),
    ],
)
async def test_a_job_that_fails_is_recorded_told_and_ends_nothing_else(
    bench, error, summary
) -> None:
    bench.job("submit", once(error))
    await bench.fire()
    assert bench.runs() == [("2026-02-19/submit/1", "failed", summary)]
    assert bench.told.subjects == [("alarm", "submit failed")]
    assert summary in bench.told.messages[0].body
    assert bench.runner.running == {}


async def test_a_cancelled_run_is_recorded(bench) -> None:
    async def endless(_ctx: object) -> JobResult:
        await asyncio.sleep(3600)
        return result()

    bench.job("submit", endless)
    running = asyncio.get_running_loop().create_task(bench.fire())
    await asyncio.sleep(1)
    assert list(bench.runner.running) == ["submit"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.runs() == [("2026-02-19/submit/1", "failed", "stopped before its end")]
    assert bench.runner.running == {}


async def test_a_failure_of_the_journal_is_not_swallowed(bench, journal) -> None:
    async def body(_ctx: object) -> JobResult:
        journal.close()
        raise JournalError("disk full")

    bench.job("submit", body)
    with pytest.raises(JournalError):
        await bench.fire()


# --- once a session ---------------------------------------------------------------


@pytest.mark.parametrize("outcome", [END.DONE, END.SKIPPED, END.REFUSED])
async def test_a_job_that_has_ended_is_not_run_again_in_its_session(
    bench, outcome
) -> None:
    bench.job("submit", once(result(outcome)))
    await bench.fire()
    await bench.fire()
    assert len(bench.runs()) == 1


async def test_a_job_that_failed_may_run_again(bench) -> None:
    bench.job("submit", once(result(END.FAILED), result(END.DONE)))
    await bench.fire()
    await bench.fire()
    assert [(run, outcome) for run, outcome, _ in bench.runs()] == [
        ("2026-02-19/submit/1", "failed"),
        ("2026-02-19/submit/2", "done"),
    ]


async def test_a_job_never_runs_beside_itself(bench) -> None:
    entered: list[float] = []

    async def slow(_ctx: object) -> JobResult:
        entered.append(now())
        await asyncio.sleep(60)
        return result()

    bench.job("submit", slow)
    await asyncio.gather(bench.fire(), bench.fire())
    assert len(entered) == 1
    assert len(bench.runs()) == 1


# --- deadline and lateness -------------------------------------------------------


async def test_a_job_past_its_deadline_is_skipped_recorded_and_told(bench) -> None:
    bench.job("submit", once())
    await asyncio.sleep(25 * 60 + 1)  # 10:00:01, a second behind open+30m
    await bench.fire()
    ((run, outcome, summary),) = bench.runs()
    assert (run, outcome) == ("2026-02-19/submit/1", "skipped")
    assert "deadline" in summary
    assert [severity for severity, _ in bench.told.subjects] == ["warning"]


async def test_a_late_job_within_its_deadline_is_run(bench) -> None:
    bench.job("submit", once(result()))
    await asyncio.sleep(24 * 60)
    with capture_logs() as logs:
        await bench.fire()
    assert bench.runs()[0][1] == "done"
    (started,) = [e for e in logs if e["event"] == "job.started"]
    assert started["late_s"] == pytest.approx(1440, abs=0.01)


async def test_a_job_that_outlasts_its_deadline_is_ended_there(bench) -> None:
    ended: list[float] = []

    async def slow(_ctx: object) -> JobResult:
        try:
            await asyncio.sleep(7200)
        finally:
            ended.append(now())
        return result()

    bench.job("submit", slow)
    await bench.fire()
    assert ended == [pytest.approx(25 * 60, abs=0.01)]
    assert bench.runs() == [
        ("2026-02-19/submit/1", "failed", "not finished at 15:00 UTC")
    ]
    assert bench.told.subjects == [("alarm", "submit failed")]


def test_a_deadline_hangs_on_the_session() -> None:
    job = Job("moc_close", "close-20m", "close-10m", once())
    half = Session(SESSION.date, OPEN, datetime(2026, 2, 19, 18, 0, tzinfo=UTC), True)
    assert deadline_of(job, half) == datetime(2026, 2, 19, 17, 50, tzinfo=UTC)


def test_a_deadline_that_hangs_on_no_session_is_refused() -> None:
    job = Job("submit", "open+5m", "0 16 * * 1-5 Europe/Budapest", once())
    with pytest.raises(InvariantViolated, match="deadline of submit"):
        deadline_of(job, SESSION)


# --- the link -------------------------------------------------------------------------


async def test_a_job_waits_for_a_ready_link(bench) -> None:
    bench.job("submit", once(result()))
    bench.link.lose()
    running = asyncio.get_running_loop().create_task(bench.fire())
    await asyncio.sleep(600)
    assert bench.runs() == [("2026-02-19/submit/1", None, None)]
    bench.link.restore()
    await running
    assert bench.runs()[0][1] == "done"


async def test_a_job_without_need_of_the_link_does_not_wait_for_it(bench) -> None:
    bench.job("eod_report", once(result()), needs_session=False)
    bench.link.lose()
    await bench.fire("eod_report")
    assert now() == 0
    assert bench.runs()[0][1] == "done"


@pytest.mark.parametrize("error", [ConnectionLost("dropped"), GatewayTimeout("mute")])
async def test_a_lost_link_suspends_the_job_and_the_same_run_resumes(
    bench, error
) -> None:
    tries: list[float] = []

    async def body(_ctx: object) -> JobResult:
        tries.append(round(now()))
        if len(tries) == 1:
            bench.link.lose()
            raise error
        return result()

    bench.job("submit", body)
    running = asyncio.get_running_loop().create_task(bench.fire())
    await asyncio.sleep(300)
    assert tries == [0]
    bench.link.restore()
    await running
    assert tries == [0, 300]
    assert bench.runs() == [("2026-02-19/submit/1", "done", "8 rows")]
    assert bench.told.messages == []


async def test_an_outage_that_outlasts_the_deadline_ends_the_job(bench) -> None:
    bench.job("submit", once())
    bench.link.lose()
    await bench.fire()
    assert bench.runs() == [
        ("2026-02-19/submit/1", "failed", "not finished at 15:00 UTC")
    ]


async def test_a_link_that_looks_ready_and_fails_at_once_leaves_the_loop_turning(
    bench,
) -> None:
    """Neither the wait nor the job suspends: only the runner can let others live."""
    tries: list[float] = []

    async def body(_ctx: object) -> JobResult:
        tries.append(now())
        raise ConnectionLost("no session to the gateway")

    bench.job("submit", body)
    await bench.fire()
    assert len(tries) == pytest.approx(25 * 60, abs=2)
    assert bench.runs()[0][1] == "failed"


# --- one job at a time ----------------------------------------------------------------


async def test_jobs_that_touch_orders_never_run_beside_each_other(bench) -> None:
    inside: list[str] = []
    beside: list[list[str]] = []

    def body(name: str) -> Callable[..., Awaitable[JobResult]]:
        async def run(_ctx: object) -> JobResult:
            inside.append(name)
            beside.append(list(inside))
            await asyncio.sleep(60)
            inside.remove(name)
            return result()

        return run

    for name in ("submit", "moc_close", "eod_report"):
        bench.job(name, body(name))
    await asyncio.gather(*(bench.fire(name) for name in list(bench.jobs)))
    assert [len(each) for each in beside] == [1, 1, 1]
    assert {outcome for _, outcome, _ in bench.runs()} == {"done"}


async def test_a_job_without_orders_runs_beside_the_others(bench) -> None:
    async def slow(_ctx: object) -> JobResult:
        await asyncio.sleep(60)
        return result()

    bench.job("submit", slow)
    bench.job("readiness", once(result()), orders=False)
    submitting = asyncio.get_running_loop().create_task(bench.fire())
    await asyncio.sleep(1)
    await bench.fire("readiness")
    assert now() < 2
    await submitting


async def test_a_failed_job_leaves_the_door_open_for_the_next(bench) -> None:
    bench.job("submit", once(KeyError("bug")))
    bench.job("moc_close", once(result()), until="close-10m")
    await bench.fire()
    await bench.fire("moc_close")
    assert {run: outcome for run, outcome, _ in bench.runs()} == {
        "2026-02-19/submit/1": "failed",
        "2026-02-19/moc_close/1": "done",
    }


async def test_a_job_that_waits_for_another_beyond_its_deadline_fails_then(
    bench,
) -> None:
    async def slow(_ctx: object) -> JobResult:
        await asyncio.sleep(7200)
        return result()

    bench.job("moc_close", slow, until="close-10m")
    bench.job("submit", once())
    await asyncio.gather(bench.fire("moc_close"), bench.fire())
    assert ("2026-02-19/submit/1", "failed", "not finished at 15:00 UTC") in (
        bench.runs()
    )
