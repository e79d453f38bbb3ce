"""The journal in SQL: one synced transaction a call; constraints decide."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine, Executable, RowMapping

from daemon.core import refs
from daemon.core.executions import latest
from daemon.core.model import (
    BrokerEvent,
    Commission,
    ExecId,
    Fill,
    JobOutcome,
    JobResult,
    Leg,
    LinkChange,
    Message,
    Notice,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderUpdate,
    RowOutcome,
    WorkingOrder,
)
from daemon.core.outbox import Ending, Recorded, Waiting
from daemon.errors import (
    AlreadyClaimed,
    DiskFull,
    EntriesBarred,
    InvariantViolated,
    JournalDamaged,
    JournalError,
)
from daemon.journal import mapping
from daemon.journal import statements as sql
from daemon.journal.backup import back_up
from daemon.journal.reserve import Reserve
from daemon.journal.room import Room
from daemon.journal.transaction import ConstraintFailed, Transactions
from daemon.ports import RunId

_BATCH = 500
"""Exec ids a query: far below SQLite's limit of 32 766 variables."""

RESERVE = "journal.reserve"
"""The name of the reserve beside the journal."""

INTERRUPTED = "interrupted: the daemon ended before it did"

_TAKEN = ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE")


class SqlJournal:
    """The truth about intent, in one SQLite file, for the thread that opened it."""

    def __init__(
        self,
        engine: Engine,
        path: Path,
        report: Callable[[JournalError], None] = lambda _: None,
    ) -> None:
        self.path = path
        self._report = report
        self._room = Room(path.parent, Reserve(path.with_name(RESERVE)), report)
        self._transactions = Transactions(
            engine, path, make_room=self._room.give_up, damaged=report
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; every call after it is a JournalError."""
        self._transactions.close()

    def make_room(self) -> bool:
        """Make the reserve; return whether it is whole and entries are allowed."""
        return self._room.make()

    def bar(self, session: date, reason: str, now: datetime) -> None:
        """Let no entry of *session* be intended any more."""
        self.put_value(_bar_key(session), reason, now)

    def barred(self, session: date) -> str:
        """Return why no entry of *session* may be intended; empty where it may."""
        return self._room.shortage or self.replaced(session)

    def replaced(self, session: date) -> str:
        """Return how this journal took the place of a damaged one, if it did then."""
        return str(self.value(_bar_key(session)) or "")

    async def back_up(self, session: date) -> Path:
        """Copy the journal for *session*, beside the loop; return the copy.

        Raises:
            DiskFull: the copy would take the room that the journal needs.
            JournalDamaged: the journal cannot be read through.
            JournalError: the copy cannot be made.
        """
        if self._room.shortage:
            raise DiskFull(self._room.shortage)
        try:
            return await asyncio.to_thread(back_up, self.path, session)
        except JournalDamaged as exc:
            self._report(exc)
            raise

    def start_run(self, job: str, session: date, due: datetime, now: datetime) -> RunId:
        """Open a run of *job*; its id is `<session>/<job>/<n>`, n from 1."""
        with self._transaction() as connection:
            found = connection.execute(sql.COUNT_RUNS, {"session": session, "job": job})
            run_id = RunId(f"{session}/{job}/{found.scalar_one() + 1}")
            values = {"job": job, "session": session, "due": due, "started_at": now}
            connection.execute(sql.START_RUN, values | {"run_id": run_id})
        return run_id

    def end_run(self, run_id: RunId, result: JobResult, now: datetime) -> None:
        """Write the one terminal record of a run.

        Raises:
            InvariantViolated: the run was never started, or has ended before.
        """
        values = {
            "open_run": run_id,
            "ended_at": now,
            "outcome": result.outcome,
            "summary": result.summary,
            "detail": result.detail,
        }
        with self._transaction() as connection:
            if connection.execute(sql.END_RUN, values).rowcount != 1:
                raise InvariantViolated(f"run {run_id} is not open: it cannot end")

    def close_stale_runs(self, now: datetime) -> int:
        """End every run that is open as failed; return how many there were.

        For the start of the daemon only: whoever ran them is gone.
        """
        values = {
            "ended_at": now,
            "outcome": JobOutcome.FAILED,
            "summary": INTERRUPTED,
            "detail": {},
        }
        with self._transaction() as connection:
            return connection.execute(sql.END_OPEN_RUNS, values).rowcount

    def outcome(self, job: str, session: date) -> JobOutcome | None:
        """Return the last terminal outcome of *job* in *session*, if any."""
        result = self.results(session).get(job)
        return None if result is None else result.outcome

    def results(self, session: date) -> Mapping[str, JobResult]:
        """Return the result of every job's last ended run of *session*."""
        found = self._all(sql.ENDED_RUNS, {"session": session})
        # By number: an interrupted run gets its record only at the next start.
        by_number = sorted(found, key=lambda row: mapping.run_number(row["run_id"]))
        last = {row["job"]: row for row in by_number}
        ended = sorted(last.values(), key=lambda row: (row["ended_at"], row["job"]))
        return {row["job"]: mapping.job_result(row) for row in ended}

    def claim(self, kind: str, key: str, run_id: RunId, now: datetime) -> bool:
        """Claim *key* once for ever; False where it was claimed before."""
        values = {"kind": kind, "claim_key": key, "run_id": run_id, "at": now}
        with self._transaction() as connection:
            return connection.execute(sql.CLAIM, values).rowcount == 1

    def intend(
        self, orders: Sequence[OrderRecord], run_id: RunId, now: datetime
    ) -> None:
        """Commit the intents of one family, synced, before the wire; all or none.

        Raises:
            AlreadyClaimed: one of the references was intended before.
            EntriesBarred: an entry, where none may be; the disk is full, for example.
            InvariantViolated: an order was sent before it is intended, its order id
                belongs to another order, or the commit would not be its own.
        """
        if self._transactions.running:
            raise InvariantViolated("an intent is committed before the wire, alone")
        for record in orders:
            if record.state is not OrderState.INTENDED:
                raise InvariantViolated(
                    f"{record.order_ref} is {record.state}: intended too late"
                )
        entries = [record for record in orders if _is_entry(record)]
        self._refuse_barred(entries)
        values = [mapping.intent_values(record, run_id, now) for record in orders]
        try:
            with self._transaction(again=not entries) as connection:
                connection.execute(sql.INTEND, values)
        except ConstraintFailed as exc:
            if exc.constraint not in _TAKEN:
                raise
            known = self._known([record.order_ref for record in orders])
            if not known:
                raise InvariantViolated(f"two orders under one id: {exc}") from exc
            raise AlreadyClaimed(f"intended before: {', '.join(known)}") from exc
        except JournalError:
            self._refuse_barred(entries)
            raise

    def _refuse_barred(self, entries: Iterable[OrderRecord]) -> None:
        """Raise for what a full disk or a bar on its session keeps from the wire."""
        if self._room.shortage and list(entries):
            raise DiskFull(self._room.shortage)
        for session in {record.session for record in entries}:
            if reason := self.barred(session):
                raise EntriesBarred(reason)

    def record_state(self, record: OrderRecord, now: datetime) -> None:
        """Append the order's new state; the latest one counts."""
        self._write(sql.ADD_STATE, mapping.state_values(record, now))

    def record_event(self, event: BrokerEvent, now: datetime) -> None:
        """Append what the broker said; fills and commissions once by exec id.

        A commission that is known is never replaced by one that is not.
        """
        match event:
            case Fill():
                self._write(sql.ADD_FILL, mapping.fill_values(event, now))
            case Commission():
                self._write(sql.ADD_COMMISSION, mapping.commission_values(event, now))
            case OrderUpdate() | WorkingOrder() | Notice() | LinkChange():
                self._write(sql.ADD_EVENT, mapping.event_values(event, now))

    def orders(self, session: date) -> dict[OrderRef, OrderRecord]:
        """Return every order intended in *session* with its latest state."""
        found = map(mapping.order_record, self._all(sql.ORDERS, {"session": session}))
        return {record.order_ref: record for record in found}

    def highest_order_id(self) -> OrderId:
        """Return the highest order id ever journaled, 0 in an empty journal."""
        with self._transaction() as connection:
            return OrderId(connection.execute(sql.HIGHEST_ORDER_ID).scalar_one())

    def highest_known_id(self) -> OrderId:
        """Return the highest order id that the broker has answered, 0 if none."""
        with self._transaction() as connection:
            return OrderId(connection.execute(sql.HIGHEST_KNOWN_ID).scalar_one())

    def fills(self, since: datetime, until: datetime) -> tuple[Fill, ...]:
        """Return the executions in [since, until), by time, then exec id.

        Of a corrected execution only the highest revision counts, by its own time;
        one that was taken back (zero shares) is none.
        """
        found = self._all(sql.FILLS, {"since": since, "until": until})
        fills = latest(map(mapping.fill_of, found))
        return tuple(fill for fill in fills if since <= fill.time < until)

    def commissions(self, fills: Iterable[Fill]) -> tuple[Commission, ...]:
        """Return the latest known commission of each of *fills*, in their order."""
        ids = [fill.exec_id for fill in fills]
        known: dict[ExecId, Commission] = {}
        for start in range(0, len(ids), _BATCH):
            batch = {"exec_ids": ids[start : start + _BATCH]}
            found = map(mapping.commission_of, self._all(sql.COMMISSIONS, batch))
            known |= {commission.exec_id: commission for commission in found}
        return tuple(known[exec_id] for exec_id in ids if exec_id in known)

    def record_rows(
        self, session: date, rows: Sequence[RowOutcome], now: datetime
    ) -> None:
        """Write the outcome of plan rows; a later outcome of a row replaces."""
        values = [
            {
                "session": session,
                "line": row.line,
                "symbol": row.symbol,
                "status": row.status,
                "reason": row.reason,
                "at": now,
            }
            for row in rows
        ]
        if values:
            self._write(sql.PUT_ROW, values)

    def rows(self, session: date) -> tuple[RowOutcome, ...]:
        """Return the outcome of every plan row of *session*, by line."""
        found = self._all(sql.ROWS, {"session": session})
        return tuple(map(mapping.row_outcome, found))

    def put_value(self, key: str, value: object, now: datetime) -> None:
        """Store a JSON value under *key* (day results, cumulative books)."""
        self._write(sql.PUT_VALUE, {"key": key, "value": value, "at": now})

    def value(self, key: str) -> object | None:
        """Return the JSON value under *key*, None where there is none."""
        found = self._all(sql.VALUE, {"key": key})
        return found[0]["value"] if found else None

    def record_message(self, message: Message, now: datetime) -> Recorded:
        """Append a message before it is sent; of one key only the first is kept."""
        values = {
            "at": now,
            "severity": message.severity,
            "subject": message.subject,
            "body": message.body,
            "key": message.key,
        }
        with self._transaction() as connection:
            added = connection.execute(sql.ADD_MESSAGE, values).scalar_one_or_none()
            if added is not None:
                return Recorded(added)
            known = connection.execute(sql.MESSAGE_NUMBER, {"key": message.key})
            return Recorded(known.scalar_one(), new=False)

    def record_accepted(self, number: int, channel: str, now: datetime) -> None:
        """Note that *channel* accepted message *number*; once is enough."""
        values = {"number": number, "channel": channel, "at": now}
        self._write(sql.ACCEPT, values)

    def end_wait(
        self, number: int, ending: Ending, now: datetime, reason: str = ""
    ) -> None:
        """Note that message *number* is not told again; the first ending stays."""
        values = {"number": number, "ending": ending, "at": now, "reason": reason}
        self._write(sql.END_WAIT, values)

    def undelivered(self) -> tuple[Waiting, ...]:
        """Return the messages whose wait has not ended, oldest first."""
        return tuple(map(mapping.waiting, self._all(sql.UNDELIVERED, {})))

    def _known(self, refs: Sequence[OrderRef]) -> list[str]:
        """Return those of *refs* that were intended before."""
        return [
            row["order_ref"] for row in self._all(sql.INTENDED_AMONG, {"refs": refs})
        ]

    def _write(
        self,
        statement: Executable,
        values: mapping.Values | Sequence[mapping.Values],
    ) -> None:
        """Run one statement in a transaction of its own."""
        with self._transaction() as connection:
            connection.execute(statement, values)

    def _all(
        self, statement: Executable, values: Mapping[str, object]
    ) -> Sequence[RowMapping]:
        """Return every row of a query."""
        with self._transaction() as connection:
            return connection.execute(statement, values).mappings().all()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one synced transaction of all calls in the block; all or none.

        For evidence only, which the broker repeats: an intent has its own commit.
        """
        with self._transaction():
            yield

    def _transaction(
        self, *, again: bool = True
    ) -> AbstractContextManager[Transactions]:
        """Run the block in one transaction, on the disk when the outermost ends."""
        return self._transactions.block(again=again)


def _bar_key(session: date) -> str:
    return f"barred/{session}"


def _is_entry(record: OrderRecord) -> bool:
    ref = refs.parse(record.order_ref)
    return ref is not None and ref.leg is Leg.ENTRY
