from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.core.model import Session
from daemon.jobs.planfile import PlanFile, wait_for_plan
from daemon.ports import JobContext, Paths, RunId

pytestmark = pytest.mark.virtual(start="2026-02-19T09:35:00-05:00")

SESSION = Session(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
DEADLINE = datetime(2026, 2, 19, 15, 0, tzinfo=UTC)
TODAY = "execution_plan_run_20260219_130502_a1b2c3.csv"
NEWER = "execution_plan_run_20260219_143000_d4e5f6.csv"
YESTERDAY = "execution_plan_run_20260218_130502_a1b2c3.csv"
NOTHING: Any = None
"""What finding a plan never touches."""


def context(plans: Path) -> JobContext:
    return JobContext(
        run_id=RunId("2026-02-19/submit/1"),
        session=SESSION,
        deadline=DEADLINE,
        rules=NOTHING,
        books=NOTHING,
        paths=Paths(state=plans.parent, plans=plans, reports=plans.parent),
        clock=SystemClock(),
        calendar=TableCalendar(shipped_table()),
        broker=NOTHING,
        journal=NOTHING,
        desk=NOTHING,
        notifier=NOTHING,
        stopping=NOTHING,
    )


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    folder = tmp_path / "plans"
    folder.mkdir()
    return folder


def later(seconds: float, act: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, act)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_plan_that_stands_still_is_read_after_two_seconds(plans) -> None:
    (plans / TODAY).write_bytes(b"header\nrow\n")
    assert await wait_for_plan(context(plans)) == PlanFile(TODAY, b"header\nrow\n")
    assert now() == pytest.approx(2, abs=0.01)


async def test_a_plan_that_comes_later_is_waited_for(plans) -> None:
    later(600, lambda: (plans / TODAY).write_bytes(b"header\nrow\n"))
    found = await wait_for_plan(context(plans))
    assert isinstance(found, PlanFile)
    assert now() == pytest.approx(602, abs=2)


async def test_a_plan_that_still_grows_is_not_read(plans) -> None:
    path = plans / TODAY
    path.write_bytes(b"header\n")
    for number in range(20):
        later(1 + number, lambda n=number: append(path, f"row {n}\n"))
    found = await wait_for_plan(context(plans))
    assert isinstance(found, PlanFile)
    assert found.data.count(b"row") == 20


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


async def test_a_plan_of_the_same_size_that_was_written_anew_is_not_still(
    plans,
) -> None:
    path = plans / TODAY
    path.write_bytes(b"one\n")
    later(1, lambda: rewrite(path, b"two\n"))
    found = await wait_for_plan(context(plans))
    assert found == PlanFile(TODAY, b"two\n")
    assert now() == pytest.approx(4, abs=0.01)


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    stat = path.stat()
    # A coarse file system could give both writes one time.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


async def test_a_plan_whose_last_line_is_not_whole_is_waited_for(plans) -> None:
    path = plans / TODAY
    path.write_bytes(b"header\nro")
    later(300, lambda: append(path, "w\n"))
    assert await wait_for_plan(context(plans)) == PlanFile(TODAY, b"header\nrow\n")
    assert now() > 300


async def test_a_plan_that_stays_half_written_is_read_as_it_is_at_the_deadline(
    plans,
) -> None:
    (plans / TODAY).write_bytes(b"header\nro")
    assert await wait_for_plan(context(plans)) == PlanFile(TODAY, b"header\nro")
    assert now() == pytest.approx(25 * 60 - 30, abs=2)


async def test_the_newest_plan_of_the_session_counts(plans) -> None:
    for name in (TODAY, NEWER, YESTERDAY):
        (plans / name).write_bytes(b"header\nrow\n")
    found = await wait_for_plan(context(plans))
    assert isinstance(found, PlanFile)
    assert found.name == NEWER


async def test_a_newer_plan_that_comes_in_the_two_seconds_is_taken(plans) -> None:
    (plans / TODAY).write_bytes(b"header\nrow\n")
    later(1, lambda: (plans / NEWER).write_bytes(b"header\nother\n"))
    assert await wait_for_plan(context(plans)) == PlanFile(NEWER, b"header\nother\n")


async def test_without_a_plan_the_reason_comes_in_time_to_be_told(plans) -> None:
    (plans / YESTERDAY).write_bytes(b"header\nrow\n")
    refusal = await wait_for_plan(context(plans))
    assert isinstance(refusal, str)
    assert refusal.startswith("no plan for the session 2026-02-19")
    assert YESTERDAY in refusal
    assert str(plans) in refusal
    assert now() == pytest.approx(25 * 60 - 30, abs=2)


async def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    refusal = await wait_for_plan(context(tmp_path / "missing"))
    assert isinstance(refusal, str)
    assert "missing cannot be read: No such file or directory" in refusal


async def test_a_directory_named_like_a_plan_is_no_plan(plans) -> None:
    (plans / TODAY).mkdir()
    assert isinstance(await wait_for_plan(context(plans)), str)


async def test_a_plan_that_is_taken_away_again_is_not_read(plans) -> None:
    path = plans / TODAY
    path.write_bytes(b"header\nrow\n")
    later(1, path.unlink)
    assert isinstance(await wait_for_plan(context(plans)), str)


async def test_that_a_plan_is_waited_for_is_logged_once(plans) -> None:
    with capture_logs() as logs:
        await wait_for_plan(context(plans))
    assert [entry["event"] for entry in logs] == ["plan.awaited"]


def test_the_digest_is_that_of_the_content() -> None:
    data = b"header\nrow\n"
    assert PlanFile(TODAY, data).sha256 == hashlib.sha256(data).hexdigest()
