"""What the jobs ask of the world: protocols, each with one implementation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NewType, Protocol

from daemon.core.model import (
    BrokerEvent,
    Commission,
    CompletedOrder,
    Contract,
    Fill,
    Funds,
    JobOutcome,
    JobResult,
    Message,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    Position,
    RowOutcome,
    Session,
    Snapshot,
    WorkingOrder,
)
from daemon.core.outbox import Ending, Recorded, Waiting
from daemon.core.rules import BooksStart, TradingRules

RunId = NewType("RunId", str)


class Clock(Protocol):
    """The only reader of the wall clock."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""


class Calendar(Protocol):
    """The exchange's sessions, computed ahead and cached."""

    @property
    def exchange(self) -> str:
        """Return the exchange code, for example XNYS."""

    @property
    def time_zone(self) -> str:
        """Return the IANA name of the exchange's zone."""

    def session(self, day: date) -> Session | None:
        """Return the session of *day*, None on a day without one."""

    def sessions(self, first: date, last: date) -> tuple[Session, ...]:
        """Return the sessions from *first* to *last*, both included."""

    def previous(self, day: date) -> Session:
        """Return the last session before *day*."""


class Broker(Protocol):
    """The one session to the gateway; every answer is complete or an error.

    Raises:
        ConnectionLost: no session, or it ended before the answer.
        GatewayTimeout: the answer did not come in time.
        RequestRefused: the gateway answered with an error code.
    """

    @property
    def connected(self) -> bool:
        """Return whether a completely synced session stands."""

    @property
    def client_id(self) -> int:
        """Return the one client id; it never changes."""

    async def wait_ready(self) -> None:
        """Wait until the session is synced and reconciled."""

    async def wait_lost(self) -> None:
        """Wait until no ready session stands."""

    @property
    def trouble(self) -> str:
        """Return why no session stands, for a person; empty when one does."""

    @property
    def clock_offset(self) -> timedelta | None:
        """Return the gateway's clock less ours at the last probe, None before."""

    @property
    def last_absence(self) -> datetime | None:
        """Return when nobody listened at the gateway's port last, None for never."""

    async def ready_to_send(self) -> None:
        """Wait for a slot; after it `send` begins without an await."""

    async def probe(self) -> datetime:
        """Ask for the gateway's time; proof that the link lives now."""

    async def positions(self) -> tuple[Position, ...]:
        """Return all positions, fresh and complete."""

    async def open_orders(self) -> tuple[WorkingOrder, ...]:
        """Return our own open orders, fresh and complete."""

    async def all_open_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the open orders of every client, fresh and complete."""

    async def completed_orders(self) -> tuple[CompletedOrder, ...]:
        """Return the orders that ended today."""

    async def executions(self) -> tuple[tuple[Fill, ...], tuple[Commission, ...]]:
        """Return the day's executions of all clients, and known commissions."""

    async def sync(self) -> Snapshot:
        """Read everything: positions, orders of all, completed orders, executions."""

    async def funds(self) -> Funds:
        """Return the account's funds."""

    async def contract(self, symbol: str) -> Contract:
        """Return the SMART-routed contract of *symbol*."""

    async def contract_by_id(self, position: Position) -> Contract:
        """Return the SMART-routed contract rebuilt from the position's con id."""

    def reserve_order_ids(self, count: int, above: OrderId) -> list[OrderId]:
        """Return *count* order ids, each greater than *above* and all before."""

    async def send(self, orders: Sequence[tuple[OrderId, Order]]) -> None:
        """Put *orders* on the wire in this order, the first at once, then paced.

        Parents are found by `parent_ref` within the same call.
        """

    async def cancel(self, order_id: OrderId) -> None:
        """Ask for the cancellation of one of our own orders."""


class Journal(Protocol):
    """The truth about intent: synced commits, constraints decide.

    Raises:
        JournalError: the database cannot be read or written.
    """

    def together(self) -> AbstractContextManager[None]:
        """Make one synced transaction of the calls in the block; never of intents."""

    def start_run(self, job: str, session: date, due: datetime, now: datetime) -> RunId:
        """Open a run of *job*; its id is `<session>/<job>/<n>`, n from 1."""

    def end_run(self, run_id: RunId, result: JobResult, now: datetime) -> None:
        """Write the one terminal record of a run."""

    def close_stale_runs(self, now: datetime) -> int:
        """End every run that a former process left open; return how many."""

    def outcome(self, job: str, session: date) -> JobOutcome | None:
        """Return the last terminal outcome of *job* in *session*, if any."""

    def results(self, session: date) -> Mapping[str, JobResult]:
        """Return the result of every job's last ended run of *session*."""

    def claim(self, kind: str, key: str, run_id: RunId, now: datetime) -> bool:
        """Claim *key* once for ever; False where it was claimed before."""

    def intend(
        self, orders: Sequence[OrderRecord], run_id: RunId, now: datetime
    ) -> None:
        """Commit the intents of one family, synced, before the wire.

        Raises:
            AlreadyClaimed: one of the references was intended before.
            EntriesBarred: an entry, where none may be; the disk is full, for example.
        """

    def record_state(self, record: OrderRecord, now: datetime) -> None:
        """Append the order's new state; the latest one counts."""

    def record_event(self, event: BrokerEvent, now: datetime) -> None:
        """Append what the broker said; fills and commissions once by exec id."""

    def orders(self, session: date) -> dict[OrderRef, OrderRecord]:
        """Return every order intended in *session* with its latest state."""

    def highest_order_id(self) -> OrderId:
        """Return the highest order id ever journaled, 0 in an empty journal."""

    def highest_known_id(self) -> OrderId:
        """Return the highest order id that the broker has answered, 0 if none."""

    def fills(self, since: datetime, until: datetime) -> tuple[Fill, ...]:
        """Return the executions in [since, until), by time, then exec id."""

    def commissions(self, fills: Iterable[Fill]) -> tuple[Commission, ...]:
        """Return the latest known commission of each of *fills*."""

    def record_rows(
        self, session: date, rows: Sequence[RowOutcome], now: datetime
    ) -> None:
        """Write the outcome of plan rows; a later outcome of a row replaces."""

    def rows(self, session: date) -> tuple[RowOutcome, ...]:
        """Return the outcome of every plan row of *session*, by line."""

    def put_value(self, key: str, value: object, now: datetime) -> None:
        """Store a JSON value under *key* (day results, cumulative books)."""

    def value(self, key: str) -> object | None:
        """Return the JSON value under *key*, None where there is none."""

    def barred(self, session: date) -> str:
        """Return why no entry of *session* may be intended; empty where it may."""

    def replaced(self, session: date) -> str:
        """Return how this journal took the place of a damaged one in *session*."""

    def make_room(self) -> bool:
        """Make the reserve; return whether it is whole and entries are allowed."""

    async def back_up(self, session: date) -> Path:
        """Copy the journal for *session*, beside the loop; return the copy."""

    def record_message(self, message: Message, now: datetime) -> Recorded:
        """Append a message before it is sent; of one key only the first is kept."""

    def record_accepted(self, number: int, channel: str, now: datetime) -> None:
        """Note that *channel* accepted message *number*."""

    def end_wait(
        self, number: int, ending: Ending, now: datetime, reason: str = ""
    ) -> None:
        """Note that message *number* is not told again; the first ending stays."""

    def undelivered(self) -> tuple[Waiting, ...]:
        """Return the messages whose wait has not ended, oldest first."""


class Notifier(Protocol):
    """Tells the person."""

    def post(self, message: Message) -> None:
        """Journal *message* at once, with the evidence it follows; it is told soon.

        Raises:
            JournalError: the message could not be journaled.
        """

    async def tell(self, message: Message) -> bool:
        """Return whether a channel accepted *message*; never raises for a channel."""


class Desk(Protocol):
    """Commits, sends and follows our orders; one pump feeds it."""

    def orders(self, session: date) -> Mapping[OrderRef, OrderRecord]:
        """Return our orders of *session* as known now."""

    async def submit(
        self, family: Sequence[Order], session: Session, run_id: RunId
    ) -> None:
        """Commit the intents, then put the family on the wire, in one breath.

        Raises:
            AlreadyClaimed: the journal holds one of the references; nothing sent.
        """

    async def cancel(self, record: OrderRecord) -> None:
        """Ask the broker to cancel one of our orders."""

    async def wait(
        self,
        refs: Iterable[OrderRef],
        until: Callable[[OrderRecord], bool],
        timeout_s: float,
    ) -> Mapping[OrderRef, OrderRecord]:
        """Wait until *until* holds for every order; return those it holds not for."""

    async def mark(self, refs: Iterable[OrderRef], state: OrderState) -> None:
        """Journal a state that we conclude ourselves (UNKNOWN)."""

    async def reconcile(self) -> Snapshot:
        """Sync with the broker and journal what it says of our orders."""

    @property
    def last_snapshot(self) -> Snapshot | None:
        """Return the last complete sync, None before the first."""


class Stopping(Protocol):
    """The daemon's wish to stop, as `asyncio.Event` tells it."""

    def is_set(self) -> bool:
        """Return whether the daemon is asked to stop."""

    async def wait(self) -> object:
        """Wait until it is."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where files are; all absolute."""

    state: Path
    plans: Path
    reports: Path


@dataclass(frozen=True, slots=True)
class JobContext:
    """All that a job may touch."""

    run_id: RunId
    session: Session
    deadline: datetime
    rules: TradingRules
    books: BooksStart
    paths: Paths
    clock: Clock
    calendar: Calendar
    broker: Broker
    journal: Journal
    desk: Desk
    notifier: Notifier
    stopping: Stopping
    """Set when the daemon is asked to stop: a job that only watches ends."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its name, default time, deadline and body."""

    name: str
    when: str
    """Default schedule: `open+5m`, `close-20m`, or a crontab line with a zone."""
    until: str
    """After this moment the job is not started any more: `open+30m`."""
    run: Callable[[JobContext], Awaitable[JobResult]]
    needs_session: bool = True
    """Whether the job needs a ready link to the gateway before it starts."""
    orders: bool = True
    """Whether it touches orders; such jobs never run beside each other."""
    grace_s: float = 0.0
    """Seconds after *until* in which a run that has begun may come to its end."""
