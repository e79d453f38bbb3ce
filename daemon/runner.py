"""The one door through which a job runs: claim, deadline, lock, log, tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import structlog

from daemon.core.model import JobOutcome, JobResult, Message, Session, Severity
from daemon.core.session import Relative, instant, parse_when
from daemon.errors import ConnectionLost, IbkrdError, InvariantViolated
from daemon.ports import Broker, Clock, Job, JobContext, Journal, Notifier, RunId

log = structlog.get_logger(__name__)

FINAL = frozenset({JobOutcome.DONE, JobOutcome.SKIPPED, JobOutcome.REFUSED})
"""After one of these a job is not started again in its session."""

AGAIN_S = 1.0
"""Between the interruption of a job and the next try, once the link is ready."""

ContextFactory = Callable[[RunId, Session, datetime], JobContext]


def deadline_of(job: Job, session: Session) -> datetime:
    """Return the instant after which *job* of *session* is not started any more."""
    until = parse_when(job.until)
    if not isinstance(until, Relative):
        raise InvariantViolated(f"the deadline of {job.name} is not session-relative")
    return instant(until, session)


class Runner:
    """Runs jobs once per session; lateness is decided here, from the journal."""

    def __init__(
        self,
        *,
        jobs: Mapping[str, Job],
        context: ContextFactory,
        journal: Journal,
        broker: Broker,
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        self._jobs = jobs
        self._context = context
        self._journal = journal
        self._broker = broker
        self._clock = clock
        self._notifier = notifier
        self._orders = asyncio.Lock()
        self.running: dict[str, datetime] = {}

    async def fire(self, name: str, session: Session, due: datetime) -> None:
        """Run the job *name* of *session*, due at *due*, unless it ran before."""
        job = self._jobs[name]
        if self._journal.outcome(name, session.date) in FINAL or name in self.running:
            log.debug("job.done_before", job=name, session=session.date)
            return
        now = self._clock.now()
        run_id = self._journal.start_run(name, session.date, due, now)
        self.running[name] = now
        try:
            with structlog.contextvars.bound_contextvars(job=name, run_id=run_id):
                result = await self._guarded(job, run_id, session, due)
                self._journal.end_run(run_id, result, self._clock.now())
                log.info("job.ended", outcome=result.outcome, summary=result.summary)
        finally:
            del self.running[name]

    async def aside(self, run: Callable[[], Awaitable[JobResult]]) -> None:
        """Run a report on demand: it has no deadline, no record, and harms nothing."""
        try:
            result = await run()
        except (IbkrdError, OSError) as exc:
            log.warning("report.failed", cause=str(exc))
        except Exception:  # the same door: a bug here must not end the day
            log.exception("report.crashed")
        else:
            log.info("report.written", summary=result.summary)

    async def _guarded(
        self, job: Job, run_id: RunId, session: Session, due: datetime
    ) -> JobResult:
        """Return the job's one result, whatever happens inside it."""
        deadline = deadline_of(job, session)
        late_s = (self._clock.now() - due).total_seconds()
        log.info("job.started", due=due, late_s=round(late_s, 3), deadline=deadline)
        if self._clock.now() > deadline:
            return await self._too_late(job, session, deadline)
        try:
            return await self._within(job, run_id, session, deadline)
        except TimeoutError:
            return await self._failed(job, f"not finished at {deadline:%H:%M %Z}")
        except asyncio.CancelledError:
            self._journal.end_run(
                run_id,
                JobResult(JobOutcome.FAILED, "stopped before its end"),
                self._clock.now(),
            )
            raise
        except IbkrdError as exc:
            return await self._failed(job, str(exc))
        except Exception as exc:  # one door: a bug in a job must not end the day
            log.exception("job.crashed")
            return await self._failed(job, f"{type(exc).__name__}: {exc}")

    async def _within(
        self, job: Job, run_id: RunId, session: Session, deadline: datetime
    ) -> JobResult:
        """Run until the deadline; a lost link suspends the job, never ends it."""
        context = self._context(run_id, session, deadline)
        left_s = (deadline - self._clock.now()).total_seconds() + job.grace_s
        async with asyncio.timeout(left_s):
            if not job.orders:
                return await self._through_outages(job, context)
            async with self._orders:
                return await self._through_outages(job, context)

    async def _through_outages(self, job: Job, context: JobContext) -> JobResult:
        while True:
            if job.needs_session:
                await self._broker.wait_ready()
            try:
                return await job.run(context)
            except ConnectionLost as exc:
                log.warning("job.interrupted", cause=str(exc))
            # A link that seems ready but fails at once must not spin the loop.
            await asyncio.sleep(AGAIN_S)

    async def _too_late(
        self, job: Job, session: Session, deadline: datetime
    ) -> JobResult:
        text = f"{job.name} of {session.date} skipped: its deadline {deadline} passed"
        await self._notifier.tell(Message(Severity.WARNING, text, text))
        return JobResult(JobOutcome.SKIPPED, text)

    async def _failed(self, job: Job, cause: str) -> JobResult:
        log.error("job.failed", cause=cause)
        await self._notifier.tell(
            Message(Severity.ALARM, f"{job.name} failed", f"{job.name}: {cause}")
        )
        return JobResult(JobOutcome.FAILED, cause)
