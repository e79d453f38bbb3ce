"""The alarm clock: rings each job at its moment of each session, and nothing else.

APScheduler keeps the timers; lateness, catch-up and deadlines are the callback's
business. What it would do by itself is switched off for good reasons: its misfire
handling loses a job after one second, its shutdown cancels running coroutines, and
its timers are late by the time that a machine slept.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from daemon.core.model import Session
from daemon.core.schedule import ScheduledJob, Timetable, plan_schedule
from daemon.core.session import When, ordinary_day
from daemon.errors import InvariantViolated, OutsideCalendar
from daemon.ports import Calendar, Clock

Fire = Callable[[str, Session, datetime], Awaitable[None]]
"""Runs one job; gets its name, its session and the instant at which it was due."""

SESSIONS_AHEAD = 5
"""Sessions planned behind the current one: a week of sleep loses none."""

TICK_S = 10.0
"""Timers stop while a machine sleeps: this is how late a job can be after it."""

JUMP_S = 2.0
"""Wall clock against loop clock: an NTP correction is smaller, a sleep larger."""

_LATE = timedelta(seconds=5)
"""A timer of a loop that is not blocked is late by milliseconds."""

_SEARCH = timedelta(days=30)
"""No exchange is closed for longer."""


@dataclass(frozen=True, slots=True)
class _Tick:
    """One look at both clocks."""

    wall: datetime
    loop_s: float

    def jump_s(self, before: _Tick) -> float:
        """Return by how many seconds the wall clock went ahead of the loop's."""
        wall = (self.wall - before.wall).total_seconds()
        return wall - (self.loop_s - before.loop_s)


class Scheduler:
    """Rings the jobs of the current session and of the sessions ahead.

    `run` is a task for a task group. An error that *fire* lets through ends it: the
    callback is the door that handles a job's failure.

    Raises:
        TypeError: *fire* is not a coroutine function, and would never be awaited.
    """

    def __init__(
        self,
        calendar: Calendar,
        clock: Clock,
        jobs: Mapping[str, When],
        fire: Fire,
        *,
        adjust: bool = True,
    ) -> None:
        if not inspect.iscoroutinefunction(fire):
            raise TypeError(f"{fire!r} is not a coroutine function")
        self._calendar = calendar
        self._zone = ZoneInfo(calendar.time_zone)
        self._clock = clock
        self._jobs = dict(jobs)
        self._fire = fire
        self._adjust = adjust
        self._log = structlog.get_logger("daemon.scheduler")
        self._pending: dict[str, ScheduledJob] = {}
        self._planned_to: date | None = None
        self._replan_at: datetime | None = None
        self._last_tick: datetime | None = None
        self._overdue: frozenset[str] = frozenset()
        self._stopping = asyncio.Event()

    @property
    def last_tick(self) -> datetime | None:
        """Return when the scheduler last proved that it lives, None before that."""
        return self._last_tick

    def next_jobs(self, count: int) -> tuple[ScheduledJob, ...]:
        """Return the next *count* jobs that have not rung yet, by instant."""
        coming = sorted(self._pending.values(), key=lambda each: (each.at, each.job))
        return tuple(coming[:count])

    def stop(self) -> None:
        """Ring nothing more; `run` returns when the jobs that run have ended."""
        self._stopping.set()

    async def run(self) -> None:
        """Ring until `stop`, catching up first on what is past in today's session.

        Raises:
            ExceptionGroup: with OutsideCalendar where the calendar does not know
                today, InvariantViolated where the timers stopped although the loop
                runs, or what a job let through.
        """
        alarms = AsyncIOScheduler(timezone=self._zone)
        alarms.add_listener(
            self._report, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )
        alarms.start()
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    self._plan(alarms, group, self._clock.now())
                    watch = group.create_task(
                        self._watch(alarms, group), name="scheduler tick"
                    )
                    await self._stopping.wait()
                    watch.cancel()
                finally:
                    # What runs may end; nothing new starts beside it.
                    self._stopping.set()
        finally:
            alarms.shutdown(wait=False)
            # The shutdown is only queued: it needs one turn of the loop.
            await asyncio.sleep(0)

    async def _watch(self, alarms: AsyncIOScheduler, group: asyncio.TaskGroup) -> None:
        before = self._look()
        while True:
            await asyncio.sleep(TICK_S)
            tick = self._look()
            self._check_clock(alarms, before, tick)
            self._check_life(alarms, tick.wall)
            if self._replan_at is not None and tick.wall >= self._replan_at:
                self._plan(alarms, group, tick.wall)
            before = tick

    def _look(self) -> _Tick:
        return _Tick(self._clock.now(), asyncio.get_running_loop().time())

    def _check_clock(
        self, alarms: AsyncIOScheduler, before: _Tick, tick: _Tick
    ) -> None:
        """Look for due jobs at once after a sleep: the timers know nothing of it."""
        jump_s = tick.jump_s(before)
        if abs(jump_s) > JUMP_S:
            self._log.warning("clock.jumped", by_s=round(jump_s, 3))
            alarms.wakeup()

    def _check_life(self, alarms: AsyncIOScheduler, now: datetime) -> None:
        """Wake a scheduler that is late; one that stays late over a tick is dead."""
        overdue = frozenset(
            key for key, job in self._pending.items() if now - job.at > _LATE
        )
        dead = sorted(overdue & self._overdue)
        if dead:
            raise InvariantViolated(f"the scheduler does not ring: {', '.join(dead)}")
        if overdue:
            alarms.wakeup()
        self._overdue = overdue
        self._last_tick = now

    def _plan(
        self, alarms: AsyncIOScheduler, group: asyncio.TaskGroup, now: datetime
    ) -> None:
        """Set the alarms of the sessions that have none; start what is past at once."""
        sessions = self._sessions(now.astimezone(self._zone).date())
        fresh = [
            session
            for session in sessions
            if self._planned_to is None or session.date > self._planned_to
        ]
        timetable = Timetable(
            self._jobs,
            ordinary_day(sessions, self._calendar.time_zone),
            adjust=self._adjust,
        )
        for scheduled in plan_schedule(timetable, fresh):
            self._tell(scheduled)
            key = f"{scheduled.session.date}/{scheduled.job}"
            if scheduled.at <= now:
                self._start(group, scheduled)
            else:
                self._pending[key] = scheduled
                self._set(alarms, group, key)
        self._planned_to = sessions[-1].date
        self._replan_at = next((s.close for s in sessions if s.close > now), None)
        if self._replan_at is None:
            self._log.error("calendar.exhausted", last=str(self._planned_to))

    def _sessions(self, today: date) -> list[Session]:
        """Return today's session, those ahead, and those slept through before.

        Near the end of the calendar there are fewer, and none at all is an error.
        """
        first = today
        if self._planned_to is not None:
            first = min(today, self._planned_to + timedelta(days=1))
        found: list[Session] = []
        ahead = 0
        day = first
        while ahead < SESSIONS_AHEAD and day <= today + _SEARCH:
            try:
                session = self._calendar.session(day)
            except OutsideCalendar:
                if not found:
                    raise
                break
            if session is not None:
                found.append(session)
                ahead += day > today
            day += timedelta(days=1)
        return found

    def _tell(self, scheduled: ScheduledJob) -> None:
        log = self._log.bind(
            job=scheduled.job,
            session=scheduled.session.date.isoformat(),
            at=scheduled.at.astimezone(self._zone).isoformat(),
        )
        if scheduled.moved_reason:
            log.info("job.moved", reason=scheduled.moved_reason)
        for warning in scheduled.warnings:
            log.warning("job.misplaced", reason=warning)

    def _set(
        self, alarms: AsyncIOScheduler, group: asyncio.TaskGroup, key: str
    ) -> None:
        at = self._pending[key].at.astimezone(self._zone)
        alarms.add_job(
            self._ring,
            CronTrigger(
                year=at.year,
                month=at.month,
                day=at.day,
                hour=at.hour,
                minute=at.minute,
                second=at.second,
                timezone=self._zone,
            ),
            args=(group, key),
            id=key,
            # Given, not computed: the trigger would find none if it passes just now.
            next_run_time=at,
            misfire_grace_time=None,
            coalesce=True,
        )

    async def _ring(self, group: asyncio.TaskGroup, key: str) -> None:
        if not self._stopping.is_set():
            self._start(group, self._pending.pop(key))

    def _start(self, group: asyncio.TaskGroup, scheduled: ScheduledJob) -> None:
        group.create_task(
            self._run(scheduled),
            name=f"job {scheduled.session.date}/{scheduled.job}",
            # Empty: a timer runs in the context of whoever happened to arm it.
            context=contextvars.Context(),
        )

    async def _run(self, scheduled: ScheduledJob) -> None:
        await self._fire(scheduled.job, scheduled.session, scheduled.at)

    def _report(self, event: JobEvent) -> None:
        """Tell what APScheduler would only write into its own log."""
        self._log.error("scheduler.failed", alarm=event.job_id, event_code=event.code)
