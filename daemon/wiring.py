"""The objects of one running daemon and how they hold each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

import structlog

from daemon.broker.requests import SessionSettings
from daemon.broker.session import GatewaySession
from daemon.config import Config
from daemon.core import order_messages
from daemon.core.model import (
    BrokerEvent,
    JobResult,
    OrderId,
    OrderRecord,
    Session,
    Snapshot,
)
from daemon.core.outages import Outlook, planned
from daemon.core.rules import BooksStart
from daemon.core.session import parse_when
from daemon.desk import OrderDesk
from daemon.errors import OutsideCalendar
from daemon.jobs import all_jobs
from daemon.jobs.reporting import booked_shares, note_opening
from daemon.notify.channels import Channel, LogChannel, TelegramChannel
from daemon.notify.notifier import OutboxNotifier
from daemon.orderbook import OrderBook
from daemon.ports import (
    Broker,
    Calendar,
    Clock,
    Job,
    JobContext,
    Journal,
    Notifier,
    RunId,
)
from daemon.resolver import Resolver
from daemon.runner import Runner
from daemon.scheduler import Scheduler
from daemon.watch import LinkWatch

log = structlog.get_logger(__name__)

AROUND = timedelta(days=4)
"""Days on both sides in which a session may end a planned window."""

NEAR_A_JOB = timedelta(minutes=5)
"""The heartbeat is quick from this long before a job (design section 4)."""


Port = TypeVar("Port")


class Around(Protocol):
    """Stands between the daemon and its ports, to watch them or to end them."""

    def __call__(self, kind: str, port: Port) -> Port:
        """Return *port* or what stands for it; *kind* as `journal` or `broker`."""


def bare(kind: str, port: Port) -> Port:
    """Put nothing around *port*."""
    del kind
    return port


@dataclass(frozen=True, slots=True)
class World:
    """What differs between a real day and a simulated one: objects, not modes."""

    clock: Clock
    calendar: Calendar
    channels: Sequence[Channel] = ()
    """Channels beside those that the configuration names."""
    jitter: Random = field(default_factory=Random)
    around: Around = bare


def channels(config: Config) -> tuple[Channel, ...]:
    """Return the channels that the configuration names; the log is always one."""
    if config.telegram_token is None:
        return (LogChannel(),)
    telegram = TelegramChannel(
        token=config.telegram_token.get_secret_value(),
        chat_id=config.notify.telegram_chat_id,
        api_url=config.notify.telegram_api_url,
    )
    return (LogChannel(), telegram)


def session_at(calendar: Calendar, now: datetime) -> Session:
    """Return the session of the day, else the last one before it."""
    day = now.astimezone(ZoneInfo(calendar.time_zone)).date()
    return calendar.session(day) or calendar.previous(day)


class Parts:
    """The objects of one running daemon, wired once."""

    def __init__(self, config: Config, world: World, journal: Journal) -> None:
        self._config = config
        around = world.around
        clock = self._clock = around("clock", world.clock)
        self._calendar = world.calendar
        self._known_at_connect = OrderId(0)
        """The highest order id that the broker knew as the connection began."""
        journal = self.journal = around("journal", journal)
        interrupted = journal.close_stale_runs(clock.now())
        if interrupted:
            log.warning("runs.interrupted", runs=interrupted)
        self.outbox = OutboxNotifier(
            journal,
            clock,
            (*channels(config), *world.channels),
            zone=ZoneInfo(config.calendar.local_zone),
        )
        self.notifier: Notifier = around("notifier", self.outbox)
        self.stopping = asyncio.Event()
        gateway = config.gateway
        rules = config.rules()
        self.book = OrderBook(
            journal=journal,
            clock=clock,
            client_id=gateway.client_id,
            tell=self.notifier.post,
        )
        self.session = GatewaySession(
            SessionSettings(
                host=gateway.host,
                port=gateway.port,
                client_id=gateway.client_id,
                account=rules.account,
                connect_timeout_s=gateway.connect_timeout_s,
                request_timeout_s=gateway.request_timeout_s,
                heartbeat_s=gateway.heartbeat_s,
                messages_per_second=gateway.messages_per_second,
            ),
            clock=clock,
            emit=self._hear,
            on_synced=self._reconcile,
            busy=self._busy,
            jitter=world.jitter,
            ids_above=self._ids_above,
        )
        self.broker: Broker = around("broker", self.session)
        self.desk = OrderDesk(
            broker=self.broker,
            journal=journal,
            clock=clock,
            book=self.book,
            today=self.current_session,
        )
        self.resolver = Resolver(
            broker=self.broker,
            desk=self.desk,
            book=self.book,
            today=self.current_session,
            booked=lambda: booked_shares(journal, rules.account, clock.now()),
            tell=self.notifier.post,
        )
        self.jobs: dict[str, Job] = all_jobs()
        self.runner = Runner(
            jobs=self.jobs,
            context=self.context,
            journal=journal,
            broker=self.broker,
            clock=clock,
            notifier=self.notifier,
        )
        self.scheduler = Scheduler(
            calendar=world.calendar,
            clock=clock,
            jobs={
                job: parse_when(when) for job, when in config.schedule.times().items()
            },
            fire=self.runner.fire,
            adjust=config.schedule.adjust,
        )

        self._windows = config.planned()
        self.watch = LinkWatch(
            broker=self.broker,
            clock=clock,
            notifier=self.notifier,
            journal=journal,
            outlook=self._outlook,
            zone=ZoneInfo(config.calendar.local_zone),
        )

    async def catch_up(self) -> None:
        """Report the session before today if it traded and was not reported."""
        calendar = self._calendar
        zone = ZoneInfo(calendar.time_zone)
        before = calendar.previous(self._clock.now().astimezone(zone).date())
        if self.journal.orders(before.date):
            # A job that has its terminal record is not run again.
            await self.runner.fire("eod_report", before, before.close)

    async def _reconcile(self, snapshot: Snapshot) -> None:
        """Take the sync of a new connection before anything may be sent."""
        self.book.adopt(snapshot, self.current_session(), fresh=True)
        account = self._config.rules().account
        note_opening(self.journal, snapshot, account, self._clock.now())
        self.resolver.synced()
        self._explain_ids()
        log.info(
            "session.synced",
            positions=len(snapshot.positions),
            open_orders=len(snapshot.open_orders),
            foreign_orders=len(snapshot.foreign_orders),
            executions=len(snapshot.fills),
        )

    def _ids_above(self) -> OrderId:
        """Return the highest id ever journaled, as a new connection begins."""
        self._known_at_connect = self.journal.highest_known_id()
        return self.journal.highest_order_id()

    def _explain_ids(self) -> None:
        """Say that the gateway offers order ids again that it has had before."""
        # 1101 and 1102 sync again: what the connection offered first is old by then.
        offered, known = self.session.next_valid_id, self._known_at_connect
        if offered is not None and offered <= known:
            log.warning("session.ids_rolled_back", offered=offered, journaled=known)
            self.notifier.post(order_messages.rolled_back(offered, known))

    def _outlook(self) -> Outlook:
        """Return what an outage means for the day, and which are planned."""
        now = self._clock.now()
        (first, *_) = self.scheduler.next_jobs(1) or (None,)
        cutoff = self.current_session().cutoff
        return Outlook(
            next_job=first.job if first else "",
            next_at=first.at if first else None,
            cutoff=cutoff if cutoff > now else None,
            windows=self._windows,
            sessions=self._sessions_around(now),
        )

    def _window(self) -> str:
        """Return the planned window in which it is now, empty outside."""
        span = planned(self._outlook(), self._clock.now())
        return span.window.name if span else ""

    def _sessions_around(self, now: datetime) -> tuple[Session, ...]:
        """Return the sessions of the days in which an outage may be planned."""
        day = now.astimezone(ZoneInfo(self._calendar.time_zone)).date()
        try:
            return self._calendar.sessions(day - AROUND, day + AROUND)
        except OutsideCalendar:
            # Near the calendar's end: today's is what an alarm needs.
            return (self.current_session(),)

    def _hear(self, event: BrokerEvent) -> None:
        """Pass on what the broker says."""
        self.watch.hear(event)
        self.book.put(event)

    def _busy(self) -> bool:
        if self.book.in_flight() or self.runner.running:
            return True
        now = self._clock.now()
        return any(
            timedelta(0) <= job.at - now <= NEAR_A_JOB
            for job in self.scheduler.next_jobs(1)
        )

    def current_session(self) -> Session:
        """Return today's session, else the last one before today."""
        return session_at(self._calendar, self._clock.now())

    def todays_orders(self) -> list[OrderRecord]:
        """Return our orders of the current session."""
        return list(self.book.orders(self.current_session().date).values())

    def context(
        self, run_id: RunId, session: Session, deadline: datetime
    ) -> JobContext:
        """Return what one run of a job may touch."""
        return JobContext(
            run_id=run_id,
            session=session,
            deadline=deadline,
            rules=self._config.rules(),
            books=BooksStart(
                self._config.books.initial_capital, self._config.books.start_date
            ),
            paths=self._config.paths,
            clock=self._clock,
            calendar=self._calendar,
            broker=self.broker,
            journal=self.journal,
            desk=self.desk,
            notifier=self.notifier,
            stopping=self.stopping,
        )

    def report_context(self) -> JobContext:
        """Return the context of a report of the day so far."""
        session = self.current_session()
        run_id = RunId(f"{session.date}/report_now")
        return self.context(run_id, session, self._clock.now())

    def status(self) -> dict[str, Any]:
        """Return what `ibkrd status` shows."""
        session = self.current_session()
        results: Mapping[str, JobResult] = self.journal.results(session.date)
        return {
            "now": self._clock.now().isoformat(),
            "link": self.session.link.value,
            "trouble": self.session.trouble,
            "window": self._window(),
            "messages": self.outbox.status(),
            "client_id": self.session.client_id,
            "account": self._config.account.id,
            "session": {
                "date": session.date.isoformat(),
                "open": session.open.isoformat(),
                "close": session.close.isoformat(),
                "cutoff": session.cutoff.isoformat(),
            },
            "barred": self.journal.barred(session.date),
            "running": sorted(self.runner.running),
            "next": [
                {"job": job.job, "at": job.at.isoformat()}
                for job in self.scheduler.next_jobs(3)
            ],
            "results": {name: result.summary for name, result in results.items()},
            "orders": dict(
                sorted(Counter(r.state.value for r in self.todays_orders()).items())
            ),
        }
