"""The composition root: opens in order, wires, closes in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import structlog

from daemon.config import Config
from daemon.control.server import ControlServer
from daemon.errors import IbkrdError
from daemon.jobs.eod_report import report_now
from daemon.journal.open import open_journal
from daemon.lock import InstanceLock
from daemon.ports import Journal
from daemon.watch import watch_link
from daemon.wiring import Parts, World

log = structlog.get_logger(__name__)

DRAIN_S = 20.0
"""Longest wait for the jobs that run when the daemon is asked to stop."""
TELL_S = 5.0
"""Longest wait for the last messages to be told."""


class App:
    """One daemon, from the lock to the last commit."""

    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._world = world
        self._stop = asyncio.Event()
        self._report_wanted = asyncio.Event()
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
            journal = stack.enter_context(
                open_journal(
                    self._config.paths.state / "journal.sqlite",
                    now=self._world.clock.now(),
                )
            )
            try:
                await self._serve(journal)
            except* IbkrdError as group:
                raise _first(group) from None
        log.info("daemon.stopped", cause=self._cause)
        return 0

    def _make_directories(self) -> None:
        paths = self._config.paths
        for path in (paths.state, paths.plans, paths.reports):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def _serve(self, journal: Journal) -> None:
        parts = Parts(self._config, self._world, journal)
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
                tasks.create_task(parts.teller(), name="teller"),
                tasks.create_task(parts.session.run(), name="session"),
                tasks.create_task(
                    watch_link(parts.session, self._world.clock, parts.notifier),
                    name="watch",
                ),
                tasks.create_task(self._reporter(parts), name="reporter"),
            ]
            scheduler = tasks.create_task(parts.scheduler.run(), name="scheduler")
            await self._stop.wait()
            await self._drain(parts, scheduler)
            for task in reversed(background):
                task.cancel()

    async def _drain(self, parts: Parts, scheduler: asyncio.Task[None]) -> None:
        """Let the legs in flight finish; working orders stay at the broker."""
        parts.scheduler.stop()
        await asyncio.wait({scheduler}, timeout=DRAIN_S)
        async with parts.desk.between_families():
            scheduler.cancel()
            await asyncio.wait({scheduler})
        parts.book.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(TELL_S):
                await parts.all_told()
        working = [
            record.order_ref
            for record in parts.todays_orders()
            if not record.state.terminal
        ]
        if working:
            log.warning("orders.left_working", order_refs=working)

    async def _reporter(self, parts: Parts) -> None:
        """Write and send the report of the day so far whenever it is asked for."""
        while True:
            await self._report_wanted.wait()
            self._report_wanted.clear()
            try:
                result = await report_now(parts.report_context())
                log.info("report.written", summary=result.summary)
            except (IbkrdError, OSError) as exc:
                log.warning("report.failed", cause=str(exc))

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
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def _first(group: BaseExceptionGroup[IbkrdError]) -> IbkrdError:
    """Return the first error of a group: the one that ended the daemon."""
    for exc in group.exceptions:
        return _first(exc) if isinstance(exc, BaseExceptionGroup) else exc
    raise AssertionError("an empty exception group")


if sys.flags.optimize:
    raise SystemExit("ibkrd: python -O strips the checks of ib_async: run without it")
