"""Gathering the day, and writing what the report says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from daemon.core.cumulative import cumulative_json
from daemon.core.ledger import (
    Lot,
    opening_balances,
    opening_json,
    opening_lots,
    own_shares,
    settle,
)
from daemon.core.model import Account, ConId, Position, Snapshot
from daemon.core.report import Day, PlanDetail, Report, build_report
from daemon.core.report_text import report_json, trades_csv
from daemon.core.rules import Scope
from daemon.errors import JournalError
from daemon.ports import JobContext, Journal

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Before every execution that the journal can hold."""

OPENING = "opening"
"""The key of the opening balances in the journal."""
QUIET = timedelta(minutes=10)
"""Positions may lag minutes behind executions (C12)."""


def note_opening(
    journal: Journal, snapshot: Snapshot, account: Account, now: datetime
) -> None:
    """Note what the account held before the journal's first execution, once for ever.

    After an execution of the last minutes the positions may still lack it: then a
    later sync notes the opening.
    """
    young = any(fill.time > snapshot.at - QUIET for fill in snapshot.fills)
    if young or journal.value(OPENING) is not None:
        return
    known = (*journal.fills(BEGINNING, _from_now_on(now)), *snapshot.fills)
    lots = opening_balances(snapshot.positions, known, account, snapshot.at)
    journal.put_value(OPENING, opening_json(lots), now)


def held_by_us(ctx: JobContext) -> Mapping[ConId, Decimal]:
    """Return the signed shares of our own executions; empty unless scope is `own`."""
    if ctx.rules.scope is Scope.ACCOUNT:
        return {}
    fills = ctx.journal.fills(BEGINNING, _from_now_on(ctx.clock.now()))
    opening = opening_lots(ctx.journal.value(OPENING))
    return own_shares(fills, ctx.rules.account, opening)


def booked_shares(
    journal: Journal, account: Account, now: datetime
) -> Mapping[ConId, Decimal] | None:
    """Return the signed shares that opening and executions make, by contract.

    None before an opening was noted: then nothing can be compared.
    """
    stored = journal.value(OPENING)
    if stored is None:
        return None
    fills = journal.fills(BEGINNING, _from_now_on(now))
    mine = [fill for fill in fills if fill.account == account]
    return settle(mine, (), opening_lots(stored)).holdings()


def gather(
    ctx: JobContext, positions: tuple[Position, ...] | None, *, final: bool
) -> Report:
    """Return the report of the session from the journal and the broker's positions."""
    since, until = day_of(ctx)
    fills = ctx.journal.fills(since, until)
    opening = opening_lots(ctx.journal.value(OPENING))
    session = ctx.session
    zone = ZoneInfo(ctx.calendar.time_zone)
    return build_report(
        Day(
            session=replace(
                session,
                open=session.open.astimezone(zone),
                close=session.close.astimezone(zone),
            ),
            now=ctx.clock.now(),
            final=final,
            fills=fills,
            commissions=ctx.journal.commissions(fills),
            rows=ctx.journal.rows(session.date),
            orders=tuple(ctx.desk.orders(session.date).values()),
            details=_details(ctx.journal.value(f"plan/{session.date}")),
            positions=positions,
            carried=_carried(ctx, since, opening),
            opening=_begun_with(ctx, opening),
            own=held_by_us(ctx),
        ),
        ctx.rules,
    )


def day_of(ctx: JobContext) -> tuple[datetime, datetime]:
    """Return the exchange's day of the session, from midnight to midnight."""
    day = ctx.session.date
    return _midnight(ctx, day), _midnight(ctx, day + timedelta(days=1))


def _midnight(ctx: JobContext, day: date) -> datetime:
    zone = ZoneInfo(ctx.calendar.time_zone)
    return datetime.combine(day, time(), zone).astimezone(UTC)


def write_day(ctx: JobContext, report: Report) -> Path:
    """Write the day's files and the cumulative books; running it again replaces."""
    day = ctx.session.date
    folder = ctx.paths.reports
    path = folder / f"report_{day}.json"
    write_file(folder / f"trades_{day}.csv", trades_csv(report))
    write_file(path, as_json(report_json(report)))
    books = _books_after(ctx, report)
    ctx.journal.put_value("books", books, ctx.clock.now())
    write_file(folder / "cumulative_pnl.json", as_json(books))
    return path


def _books_after(ctx: JobContext, report: Report) -> dict[str, object]:
    """Return the cumulative books with this day in them.

    Raises:
        JournalError: the stored books cannot be read; nothing is replaced.
    """
    previous = ctx.journal.value("books")
    if previous is not None and not isinstance(previous, dict):
        raise JournalError("the stored books are no JSON object: restore the journal")
    books = cumulative_json(report, previous, ctx.books.initial_capital)
    if previous is None and ctx.books.start_date is not None:
        books["start_date"] = ctx.books.start_date.isoformat()
    return books


def write_so_far(ctx: JobContext, report: Report) -> Path:
    """Write the day so far beside the day's own files, which stay as they are."""
    day = ctx.session.date
    folder = ctx.paths.reports
    write_file(folder / f"trades_{day}_so_far.csv", trades_csv(report))
    path = folder / f"report_{day}_so_far.json"
    write_file(path, as_json(report_json(report)))
    return path


def as_json(value: Mapping[str, object]) -> str:
    """Return *value* as readable JSON, always the same bytes."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_file(path: Path, text: str) -> None:
    """Replace *path* in one step; a reader sees the old file or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _carried(
    ctx: JobContext, since: datetime, opening: tuple[Lot, ...]
) -> tuple[Lot, ...]:
    """Return the lots that were open before the session, from all executions."""
    earlier = ctx.journal.fills(BEGINNING, since)
    return settle(earlier, ctx.journal.commissions(earlier), opening).open


def _begun_with(ctx: JobContext, opening: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """Return the opening if it was noted since the session before: named once."""
    before = ctx.calendar.previous(ctx.session.date).date
    since = _midnight(ctx, before + timedelta(days=1))
    until = _midnight(ctx, ctx.session.date + timedelta(days=1))
    return tuple(lot for lot in opening if since <= lot.fill.time < until)


def _from_now_on(now: datetime) -> datetime:
    """Return an end that no execution of a clock slightly ahead of ours lies behind."""
    return now + timedelta(days=1)


def _details(stored: object) -> Mapping[str, PlanDetail]:
    rows = stored.get("rows") if isinstance(stored, dict) else None
    if not isinstance(rows, dict):
        return {}
    return {symbol: _detail(row) for symbol, row in rows.items()}


def _detail(row: Mapping[str, object]) -> PlanDetail:
    def figure(key: str) -> Decimal | None:
        return None if row.get(key) is None else Decimal(str(row[key]))

    return PlanDetail(
        score=figure("score"),
        sector=str(row.get("sector") or ""),
        stop_loss=figure("sl_price"),
        take_profit_1=figure("tp1_price"),
        take_profit_2=figure("tp2_price"),
    )
