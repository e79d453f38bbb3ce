"""The composition root: opens in order, wires, closes in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from daemon.config import Config
from daemon.control.server import ControlServer
from daemon.core.model import Message, Severity
from daemon.errors import ConfigError, IbkrdError, JournalError
from daemon.jobs.eod_report import report_now
from daemon.journal.damage import open_or_replace, set_aside_when_damaged
from daemon.journal.store import SqlJournal
from daemon.keeper import JournalKeeper
from daemon.lock import InstanceLock
from daemon.timewatch import watch_clock
from daemon.wiring import Parts, World, session_at

log = structlog.get_logger(__name__)

REPORT_PAUSE_S = 2.0
"""Between two reports on demand: a storm of signals makes few of them."""
DRAIN_S = 20.0
"""Longest wait for the jobs that run when the daemon is asked to stop."""
TELL_S = 12.0
"""Longest wait for the last messages to be told."""


class App:
    """One daemon, from the lock to the last commit."""

    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._world = world
        self._stop = asyncio.Event()
        self._report_wanted = asyncio.Event()
        self._keeper = JournalKeeper()
        self._cause = ""
        self._started_at = world.clock.now()

    def stop(self, cause: str) -> None:
        """Ask for a graceful stop; a second request exits at once."""
        if self._stop.is_set():
            log.warning("daemon.aborted", cause=cause)
            os._exit(1)
        self._cause = cause
        log.info("daemon.stopping", cause=cause)
        self._stop.set()

    def ask_for_report(self) -> None:
        """Ask for a report of the day so far; many requests make one report."""
        self._report_wanted.set()

    async def run(self) -> int:
        """Run until asked to stop; return the exit status.

        Raises:
            IbkrdError: the lock, the journal or the account is refused.
        """
        asyncio.set_event_loop(asyncio.get_running_loop())  # eventkit asks for it
        with ExitStack() as stack:
            self._make_directories()
            stack.enter_context(self._signals())
            stack.enter_context(InstanceLock(self._config.paths.state / "ibkrd.lock"))
            journal = self._open_journal(stack)
            parts = Parts(self._config, self._world, journal)
            try:
                await self._serve(parts)
            except* IbkrdError as group:
                failure = _first(group)
                await self._tell_the_end(parts, failure)
                raise failure from None
        log.info("daemon.stopped", cause=self._cause)
        return 0

    def _open_journal(self, stack: ExitStack) -> SqlJournal:
        """Open the journal, or a new one in place of what is damaged."""
        path = self._config.paths.state / "journal.sqlite"
        clock = self._world.clock
        stack.enter_context(set_aside_when_damaged(path, clock.now))
        session = session_at(self._world.calendar, clock.now())
        return stack.enter_context(
            open_or_replace(
                path, now=clock.now(), session=session.date, report=self._keeper.note
            )
        )

    async def _tell_replaced(self, parts: Parts) -> None:
        """Say once that a damaged journal was set aside, and what follows from it."""
        session = parts.current_session().date
        if reason := parts.journal.replaced(session):
            subject = "The journal was damaged: no entries, closing goes on"
            key = f"journal/{session}"
            await parts.notifier.tell(Message(Severity.ALARM, subject, reason, key))

    def _make_directories(self) -> None:
        paths = self._config.paths
        for name in ("state", "plans", "reports"):
            path: Path = getattr(paths, name)
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as exc:
                raise ConfigError(
                    f"paths.{name}: {path} cannot be made ({exc.strerror}): correct "
                    "the rights above it, or name another directory"
                ) from exc

    async def _tell_the_end(self, parts: Parts, failure: IbkrdError) -> None:
        """Say that the daemon ends by itself; a broken journal must not hide it."""
        message = Message(Severity.ALARM, "ibkrd has ended", str(failure))
        with suppress(JournalError, TimeoutError):
            async with asyncio.timeout(TELL_S):
                await parts.notifier.tell(message)

    async def _serve(self, parts: Parts) -> None:
        log.info(
            "daemon.started",
            client_id=self._config.gateway.client_id,
            gateway=f"{self._config.gateway.host}:{self._config.gateway.port}",
            account=self._config.account.id,
            state=str(self._config.paths.state),
        )
        control = ControlServer(
            self._config.paths.state,
            {"status": lambda _: self._status(parts), "report": self._report_asked},
        )
        async with control, asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(parts.book.pump(), name="pump"),
                tasks.create_task(parts.outbox.tell_posted(), name="teller"),
                tasks.create_task(
                    self._keeper.run(parts.journal, parts.notifier), name="keeper"
                ),
                tasks.create_task(self._tell_replaced(parts), name="replaced"),
                tasks.create_task(parts.session.run(), name="session"),
                tasks.create_task(parts.resolver.run(), name="resolver"),
                tasks.create_task(
                    watch_clock(parts.broker, parts.notifier), name="clock"
                ),
                tasks.create_task(parts.watch.run(), name="watch"),
                tasks.create_task(parts.outbox.run(), name="outbox"),
                tasks.create_task(self._reporter(parts), name="reporter"),
                tasks.create_task(parts.catch_up(), name="catch-up"),
            ]
            scheduler = tasks.create_task(parts.scheduler.run(), name="scheduler")
            await self._stop.wait()
            await self._drain(parts, scheduler)
            for task in reversed(background):
                task.cancel()

    async def _drain(self, parts: Parts, scheduler: asyncio.Task[None]) -> None:
        """Let the legs in flight finish; working orders stay at the broker."""
        parts.scheduler.stop()
        parts.stopping.set()
        await asyncio.wait({scheduler}, timeout=DRAIN_S)
        unfinished = sorted(parts.runner.running)
        async with parts.desk.between_families():
            scheduler.cancel()
            await asyncio.wait({scheduler})
        parts.book.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(TELL_S):
                await parts.outbox.all_posted_told()
                await self._tell_unfinished(parts, unfinished)
                await parts.outbox.last_try()
        working = [
            record.order_ref
            for record in parts.todays_orders()
            if not record.state.terminal
        ]
        if working:
            log.warning("orders.left_working", order_refs=working)

    async def _tell_unfinished(self, parts: Parts, jobs: Sequence[str]) -> None:
        """Say which jobs the stop interrupted: nobody else does their work."""
        for job in jobs:
            subject = f"{job} was interrupted by the stop ({self._cause})"
            body = "Start ibkrd again in time, or do its work by hand in TWS."
            await parts.notifier.tell(Message(Severity.ALARM, subject, body))

    async def _reporter(self, parts: Parts) -> None:
        """Write and send the report of the day so far whenever it is asked for."""
        while True:
            await self._report_wanted.wait()
            self._report_wanted.clear()
            await parts.runner.aside(lambda: report_now(parts.report_context()))
            await asyncio.sleep(REPORT_PAUSE_S)

    async def _report_asked(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self.ask_for_report()
        return {"asked": True}

    async def _status(self, parts: Parts) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "started_at": self._started_at.isoformat(),
            **parts.status(),
        }

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take over the signals of the process while the daemon runs."""
        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[[], None]] = {
            signal.SIGTERM: lambda: self.stop("SIGTERM"),
            signal.SIGINT: lambda: self.stop("SIGINT"),
            signal.SIGUSR1: self.ask_for_report,
        }
        before = {number: signal.getsignal(number) for number in handlers}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            # asyncio leaves the default behind, and SIGUSR1 would end us at the end.
            with _blocked(handlers):
                for number in handlers:
                    loop.remove_signal_handler(number)
                    signal.signal(number, before[number] or signal.SIG_DFL)


@contextmanager
def _blocked(numbers: Iterable[int]) -> Iterator[None]:
    """Let no signal of *numbers* arrive before the end."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _first(group: BaseExceptionGroup[IbkrdError]) -> IbkrdError:
    """Return the first error of a group: the one that ended the daemon."""
    for exc in group.exceptions:
        return _first(exc) if isinstance(exc, BaseExceptionGroup) else exc
    raise AssertionError("an empty exception group")


if sys.flags.optimize:
    raise SystemExit("ibkrd: python -O strips the checks of ib_async: run without it")
