"""The journal in SQL: one synced transaction a call; constraints decide."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, Executable, RowMapping
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from daemon.core.executions import latest
from daemon.core.model import (
    BrokerEvent,
    Commission,
    ExecId,
    Fill,
    JobOutcome,
    JobResult,
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
from daemon.errors import AlreadyClaimed, InvariantViolated, JournalError
from daemon.journal import mapping
from daemon.journal import statements as sql
from daemon.ports import RunId

_BATCH = 500
"""Exec ids a query: far below SQLite's limit of 32 766 variables."""

INTERRUPTED = "interrupted: the daemon ended before it did"

_TAKEN = ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE")


class ConstraintFailed(JournalError):
    """The database refused a row; *constraint* is SQLite's name of the reason."""

    def __init__(self, text: str, *, constraint: str) -> None:
        super().__init__(text)
        self.constraint = constraint


class SqlJournal:
    """The truth about intent, in one SQLite file, for the thread that opened it."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.path = path
        with _translated(path):
            self._connection = engine.connect()

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
        self._connection.close()

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
            InvariantViolated: an order was sent before it is intended, its order id
                belongs to another order, or the commit would not be its own.
        """
        if self._connection.in_transaction():
            raise InvariantViolated("an intent is committed before the wire, alone")
        for record in orders:
            if record.state is not OrderState.INTENDED:
                raise InvariantViolated(
                    f"{record.order_ref} is {record.state}: intended too late"
                )
        values = [mapping.intent_values(record, run_id, now) for record in orders]
        try:
            self._write(sql.INTEND, values)
        except ConstraintFailed as exc:
            if exc.constraint not in _TAKEN:
                raise
            known = self._known([record.order_ref for record in orders])
            if not known:
                raise InvariantViolated(f"two orders under one id: {exc}") from exc
            raise AlreadyClaimed(f"intended before: {', '.join(known)}") from exc

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

    def record_message(self, message: Message, now: datetime) -> int:
        """Append a message before it is sent; return its number."""
        values = {
            "at": now,
            "severity": message.severity,
            "subject": message.subject,
            "body": message.body,
        }
        with self._transaction() as connection:
            number: int = connection.execute(sql.ADD_MESSAGE, values).scalar_one()
        return number

    def record_accepted(self, number: int, channel: str, now: datetime) -> None:
        """Note that *channel* accepted message *number*; once is enough."""
        values = {"number": number, "channel": channel, "at": now}
        self._write(sql.ACCEPT, values)

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

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Run the block in one transaction, on the disk when the outermost ends."""
        with _translated(self.path):
            if self._connection.in_transaction():
                yield self._connection
            else:
                with self._connection.begin():
                    yield self._connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Name the file in what the database says."""
    try:
        yield
    except DBAPIError as exc:
        if isinstance(exc.orig, sqlite3.IntegrityError):
            text = f"{path} refused a row: {exc.orig}"
            name = exc.orig.sqlite_errorname
            raise ConstraintFailed(text, constraint=name) from exc
        raise JournalError(f"{path}: {exc.orig}") from exc
    except SQLAlchemyError as exc:
        raise JournalError(f"{path}: {exc}") from exc
