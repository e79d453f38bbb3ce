from __future__ import annotations

import asyncio
import contextvars
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.core.session import parse_when
from daemon.errors import InvariantViolated, OutsideCalendar
from daemon.scheduler import TICK_S, Scheduler

CALENDAR = TableCalendar(shipped_table())
NEW_YORK = ZoneInfo("America/New_York")
JOBS = {
    "submit": "open+5m",
    "moc_close": "close-20m",
    "eod_report": "close+5m",
}
MIDDAY = "2026-02-19T12:00:00-05:00"


def new_york(at):
    return f"{at.astimezone(NEW_YORK):%m-%d %H:%M:%S}"


class Bell:
    """Writes down what rang: when it rang, which job, and when it was due."""

    def __init__(self, *, lasts_s=0.0):
        self.rung = []
        self.ended = []
        self._lasts_s = lasts_s

    async def ring(self, job, session, due):
        now = datetime.now(UTC)  # noqa: TID251 - the virtual wall clock itself
        self.rung.append((new_york(now), job, str(session.date), new_york(due)))
        await asyncio.sleep(self._lasts_s)
        self.ended.append(job)

    def jobs(self):
        return [(job, session) for _, job, session, _ in self.rung]


def scheduler(fire, *, jobs=None, calendar=CALENDAR, clock=None, adjust=True):
    when = {job: parse_when(text) for job, text in (jobs or JOBS).items()}
    return Scheduler(calendar, clock or SystemClock(), when, fire, adjust=adjust)


@asynccontextmanager
async def running(fire, **options):
    """Run a scheduler beside the test, and stop it in good order."""
    made = scheduler(fire, **options)
    async with asyncio.TaskGroup() as group:
        group.create_task(made.run(), name="scheduler")
        await asyncio.sleep(0.5)
        yield made
        made.stop()


async def until(text):
    """Let virtual time pass until New York's clock shows *text*."""
    at = datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)
    now = datetime.now(UTC)  # noqa: TID251 - the virtual wall clock itself
    await asyncio.sleep((at - now).total_seconds())


@pytest.mark.virtual
async def test_each_job_rings_once_at_its_moment():
    bell = Bell()
    async with running(bell.ring):
        await until("2026-02-19T23:00:00")
    assert bell.rung == [
        ("02-19 09:35:00", "submit", "2026-02-19", "02-19 09:35:00"),
        ("02-19 15:40:00", "moc_close", "2026-02-19", "02-19 15:40:00"),
        ("02-19 16:05:00", "eod_report", "2026-02-19", "02-19 16:05:00"),
    ]


@pytest.mark.virtual(start="2026-02-13T09:00:00-05:00")
async def test_no_session_no_job_and_the_days_go_on():
    bell = Bell()
    async with running(bell.ring):
        await until("2026-02-27T23:00:00")
    days = [
        "2026-02-13",
        "2026-02-17",  # after Presidents' Day
        "2026-02-18",
        "2026-02-19",
        "2026-02-20",
        "2026-02-23",
        "2026-02-24",
        "2026-02-25",
        "2026-02-26",
        "2026-02-27",
    ]
    assert bell.jobs() == [(job, day) for day in days for job in JOBS]


@pytest.mark.virtual(start="2026-11-27T09:00:00-05:00")
async def test_on_a_half_day_a_pasted_line_rings_before_the_early_cutoff():
    bell = Bell()
    jobs = {"moc_close": "40 21 * * 1-5 Europe/Budapest"}
    with capture_logs() as logs:
        async with running(bell.ring, jobs=jobs):
            await until("2026-11-27T23:00:00")
    assert bell.rung == [
        ("11-27 12:40:00", "moc_close", "2026-11-27", "11-27 12:40:00")
    ]
    (moved,) = [line for line in logs if line["event"] == "job.moved"]
    assert moved["job"] == "moc_close"
    assert moved["session"] == "2026-11-27"
    assert moved["reason"].startswith("moved from 21:40 to 18:40 Europe/Budapest")


@pytest.mark.virtual(start="2026-03-09T09:00:00-04:00")
async def test_without_adjusting_a_pasted_line_rings_literally_and_is_warned_of():
    bell = Bell()
    jobs = {"moc_close": "40 21 * * 1-5 Europe/Budapest"}
    with capture_logs() as logs:
        async with running(bell.ring, jobs=jobs, adjust=False):
            await until("2026-03-09T23:00:00")
    assert bell.rung == [
        ("03-09 16:40:00", "moc_close", "2026-03-09", "03-09 16:40:00")
    ]
    warned = [line for line in logs if line["event"] == "job.misplaced"]
    assert warned[0]["log_level"] == "warning"
    assert "at or after the close" in warned[0]["reason"]


@pytest.mark.virtual(start=MIDDAY)
async def test_a_start_in_the_session_catches_up_at_once_and_rings_the_rest_in_time():
    bell = Bell()
    async with running(bell.ring):
        await until("2026-02-19T23:00:00")
    assert bell.rung == [
        ("02-19 12:00:00", "submit", "2026-02-19", "02-19 09:35:00"),
        ("02-19 15:40:00", "moc_close", "2026-02-19", "02-19 15:40:00"),
        ("02-19 16:05:00", "eod_report", "2026-02-19", "02-19 16:05:00"),
    ]


@pytest.mark.virtual(start="2026-02-19T20:00:00-05:00")
async def test_a_start_in_the_evening_hands_over_the_whole_day_in_order():
    bell = Bell()
    async with running(bell.ring):
        assert bell.jobs() == [(job, "2026-02-19") for job in JOBS]


@pytest.mark.virtual(start="2026-02-21T12:00:00-05:00")
async def test_a_start_on_a_day_without_a_session_catches_up_on_nothing():
    bell = Bell()
    async with running(bell.ring) as made:
        assert bell.rung == []
        assert made.next_jobs(1)[0].session.date == date(2026, 2, 23)


@pytest.mark.virtual(start=MIDDAY)
async def test_after_a_sleep_what_came_due_rings_within_one_tick():
    bell = Bell()
    loop = asyncio.get_running_loop()
    with capture_logs() as logs:
        async with running(bell.ring):
            loop.step_wall(4 * 3600)
            woke_s = loop.time()
            await asyncio.sleep(TICK_S + 0.1)
            assert bell.jobs()[1:] == [("moc_close", "2026-02-19")]
            assert loop.time() - woke_s < TICK_S + 1
    (jump,) = [line for line in logs if line["event"] == "clock.jumped"]
    assert jump["by_s"] == pytest.approx(4 * 3600, abs=0.001)


@pytest.mark.virtual(start=MIDDAY)
async def test_after_a_sleep_what_is_still_to_come_rings_on_the_second():
    bell = Bell()
    async with running(bell.ring):
        asyncio.get_running_loop().step_wall(3.5 * 3600)
        await until("2026-02-19T15:40:01")
        assert bell.rung[1:] == [
            ("02-19 15:40:00", "moc_close", "2026-02-19", "02-19 15:40:00")
        ]


@pytest.mark.virtual(start=MIDDAY)
async def test_a_clock_that_is_set_back_rings_nothing_early_or_twice():
    bell = Bell()
    async with running(bell.ring):
        await until("2026-02-19T15:39:50")
        asyncio.get_running_loop().step_wall(-30)
        await until("2026-02-19T15:50:00")
    assert bell.rung[1:] == [
        ("02-19 15:40:00", "moc_close", "2026-02-19", "02-19 15:40:00")
    ]


@pytest.mark.virtual(start=MIDDAY)
async def test_a_small_correction_of_the_clock_is_not_called_a_jump():
    bell = Bell()
    with capture_logs() as logs:
        async with running(bell.ring):
            asyncio.get_running_loop().step_wall(1.5)
            await asyncio.sleep(2 * TICK_S)
    assert [line for line in logs if line["event"] == "clock.jumped"] == []


@pytest.mark.virtual(start=MIDDAY)
async def test_many_small_corrections_do_not_add_up_to_a_late_job():
    bell = Bell()
    async with running(bell.ring):
        for _ in range(30):
            asyncio.get_running_loop().step_wall(1.9)
            await asyncio.sleep(TICK_S)
        await until("2026-02-19T15:40:20")
        assert bell.jobs()[1:] == [("moc_close", "2026-02-19")]


@pytest.mark.virtual(start=MIDDAY)
async def test_a_sleep_of_weeks_hands_over_every_job_once():
    bell = Bell()
    async with running(bell.ring):
        asyncio.get_running_loop().step_wall(21 * 24 * 3600)
        await asyncio.sleep(3 * TICK_S)
    sessions = CALENDAR.sessions(date(2026, 2, 19), date(2026, 3, 12))
    expected = [(job, str(each.date)) for each in sessions for job in JOBS]
    assert len(sessions) == 16
    # It is 13:00 on 12 March: what is due then has not come yet.
    assert sorted(bell.jobs()) == sorted(expected[:-2])


@pytest.mark.virtual(start=MIDDAY)
async def test_a_job_that_blocks_the_loop_for_long_delays_the_next_but_loses_none():
    bell = Bell()
    async with running(bell.ring):
        await until("2026-02-19T15:39:59")
        asyncio.get_running_loop().step_wall(120)
        await asyncio.sleep(TICK_S + 1)
        assert ("moc_close", "2026-02-19") in bell.jobs()


@pytest.mark.virtual(start=MIDDAY)
async def test_five_sessions_ahead_are_planned_and_one_more_after_each_close():
    bell = Bell()
    async with running(bell.ring) as made:
        assert [(job.job, str(job.session.date)) for job in made.next_jobs(2)] == [
            ("moc_close", "2026-02-19"),
            ("eod_report", "2026-02-19"),
        ]
        assert made.next_jobs(99)[-1].session.date == date(2026, 2, 26)
        assert len(made.next_jobs(99)) == 2 + 5 * 3
        await until("2026-02-20T16:30:00")
        assert made.next_jobs(99)[-1].session.date == date(2026, 2, 27)
        assert len(made.next_jobs(99)) == 5 * 3


@pytest.mark.virtual(start="2026-02-19T15:39:00-05:00")
async def test_stopping_lets_the_running_job_end_and_rings_nothing_more():
    bell = Bell(lasts_s=3600)
    async with running(bell.ring, jobs={"moc_close": "close-20m", "eod": "close+5m"}):
        await until("2026-02-19T15:45:00")
        assert bell.ended == []
    assert bell.jobs() == [("moc_close", "2026-02-19")]
    assert bell.ended == ["moc_close"]
    now = datetime.now(UTC)  # noqa: TID251 - the virtual wall clock itself
    assert new_york(now) == "02-19 16:40:00"


@pytest.mark.virtual(start=MIDDAY)
async def test_a_cancelled_scheduler_cancels_its_jobs_and_leaves_nothing():
    bell = Bell(lasts_s=3600)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scheduler(bell.ring).run(), name="scheduler")
        await asyncio.sleep(1)
        task.cancel()
    assert task.cancelled()
    assert bell.jobs() == [("submit", "2026-02-19")]
    assert bell.ended == []


@pytest.mark.virtual(start=MIDDAY)
async def test_an_error_that_the_door_lets_through_ends_the_scheduler():
    async def broken(job, session, due):
        raise InvariantViolated(f"{job} {session.date} {due}")

    with pytest.raises(ExceptionGroup) as caught:
        await scheduler(broken).run()
    assert caught.group_contains(InvariantViolated, match="submit 2026-02-19")


@pytest.mark.virtual(start=MIDDAY)
async def test_a_job_runs_in_a_context_of_its_own():
    word = contextvars.ContextVar("word", default="none")
    heard = []

    async def listen(job, session, due):
        heard.append((job, word.get(), str(session.date), due.tzinfo))
        word.set(job)

    word.set("of the starter")
    async with running(listen):
        await until("2026-02-19T17:00:00")
    assert [(job, said) for job, said, _, _ in heard] == [
        ("submit", "none"),
        ("moc_close", "none"),
        ("eod_report", "none"),
    ]
    assert word.get() == "of the starter"


@pytest.mark.virtual(start=MIDDAY)
async def test_jobs_of_the_same_instant_run_beside_each_other():
    bell = Bell(lasts_s=60)
    jobs = {"b": "close-20m", "a": "close-20m"}
    async with running(bell.ring, jobs=jobs):
        await until("2026-02-19T15:40:30")
        assert bell.jobs() == [("a", "2026-02-19"), ("b", "2026-02-19")]


def test_a_callback_that_would_never_be_awaited_is_refused():
    with pytest.raises(TypeError, match="not a coroutine function"):
        scheduler(lambda job, session, due: Bell().ring(job, session, due))


@pytest.mark.virtual(start=MIDDAY)
async def test_each_tick_proves_that_the_scheduler_lives():
    bell = Bell()
    async with running(bell.ring) as made:
        assert made.last_tick is None
        await asyncio.sleep(10 * TICK_S)
        now = datetime.now(UTC)  # noqa: TID251 - the virtual wall clock itself
        assert now - made.last_tick < timedelta(seconds=TICK_S)


class Shifted:
    """A clock that is off from the one by which the timers ring."""

    def __init__(self, **offset):
        self._offset = timedelta(**offset)

    def now(self):
        return SystemClock().now() + self._offset


@pytest.mark.virtual(start="2026-02-19T09:35:00.5-05:00")
async def test_a_moment_that_passes_while_its_alarm_is_set_rings_all_the_same():
    bell = Bell()
    async with running(bell.ring, clock=Shifted(seconds=-1)):
        await asyncio.sleep(1)
        assert bell.jobs() == [("submit", "2026-02-19")]


@pytest.mark.virtual(start="2026-02-19T13:39:00-05:00")
async def test_timers_that_do_not_ring_end_the_scheduler():
    bell = Bell()
    with pytest.raises(ExceptionGroup) as caught:
        await scheduler(bell.ring, clock=Shifted(hours=2)).run()
    assert caught.group_contains(
        InvariantViolated, match="does not ring: 2026-02-19/moc_close"
    )
    assert bell.jobs() == [("submit", "2026-02-19")]


def calendar_to(last):
    table = shipped_table()
    sessions = tuple(each for each in table.sessions if each.date <= last)
    return TableCalendar(replace(table, last=last, sessions=sessions))


@pytest.mark.virtual(start=MIDDAY)
async def test_at_the_end_of_the_calendar_the_last_jobs_ring_and_it_is_told():
    bell = Bell()
    with capture_logs() as logs:
        async with running(bell.ring, calendar=calendar_to(date(2026, 2, 20))) as made:
            await until("2026-02-23T12:00:00")
            assert made.next_jobs(99) == ()
    assert bell.jobs()[1:] == [
        ("moc_close", "2026-02-19"),
        ("eod_report", "2026-02-19"),
        *((job, "2026-02-20") for job in JOBS),
    ]
    (told,) = [line for line in logs if line["event"] == "calendar.exhausted"]
    assert (told["log_level"], told["last"]) == ("error", "2026-02-20")


@pytest.mark.virtual(start=MIDDAY)
async def test_a_day_that_the_calendar_does_not_know_is_an_error():
    with pytest.raises(ExceptionGroup) as caught:
        await scheduler(Bell().ring, calendar=calendar_to(date(2026, 2, 18))).run()
    assert caught.group_contains(OutsideCalendar, match="2026-02-19 is outside")
