"""After the bell: leftovers cancelled, flatness proved, the day's books written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog

from daemon.core.accounting import account_row
from daemon.core.exposure import is_closing
from daemon.core.flatten import remainder
from daemon.core.lifecycle import cancel_answered
from daemon.core.model import (
    JobOutcome,
    JobResult,
    Message,
    OrderRef,
    Position,
    RowOutcome,
    RowStatus,
    Severity,
)
from daemon.core.report import Report
from daemon.core.report_text import report_json, report_message
from daemon.errors import ConnectionLost, JournalError, RequestRefused
from daemon.jobs.reporting import (
    day_of,
    gather,
    held_by_us,
    write_day,
    write_so_far,
)
from daemon.ports import Job, JobContext

log = structlog.get_logger(__name__)

PATIENCE = timedelta(minutes=5)
"""Auction fills and their commissions arrive up to minutes late (C12, F6)."""
LOOK_AGAIN_S = 5.0
NEVER_SENT = "never sent: submit did not come to its end"


async def run(ctx: JobContext) -> JobResult:
    """Cancel what is left, wait for fills and commissions, write and tell the day."""
    give_up = ctx.clock.now() + PATIENCE
    await _cancel_leftovers(ctx)
    positions = await _settled_positions(ctx)
    if left := _left(ctx, positions):
        await _tell_remainder(ctx, left)
    while not _settled(ctx, positions) and ctx.clock.now() < give_up:
        await asyncio.sleep(LOOK_AGAIN_S)
        positions = await _settled_positions(ctx)
    _resolve_rows(ctx)
    report = gather(ctx, positions, final=True)
    path = write_day(ctx, report)
    await ctx.notifier.tell(report_message(report))
    await _back_up(ctx)
    return _result(report, str(path))


async def _back_up(ctx: JobContext) -> None:
    """Copy the journal; a copy that fails is told, and the report stands."""
    try:
        path = await ctx.journal.back_up(ctx.session.date)
    except JournalError as exc:
        log.warning("journal.not_backed_up", cause=str(exc))
        subject = f"No backup of the journal after {ctx.session.date}"
        await ctx.notifier.tell(Message(Severity.WARNING, subject, str(exc)))
    else:
        log.info("journal.backed_up", file=str(path))


async def report_now(ctx: JobContext) -> JobResult:
    """Write and send the day so far; never trades, and works without a session."""
    positions = await _positions_now(ctx)
    report = gather(ctx, positions, final=False)
    path = write_so_far(ctx, report)
    await ctx.notifier.tell(report_message(report))
    return _result(report, str(path))


async def _positions_now(ctx: JobContext) -> tuple[Position, ...] | None:
    """Return the positions, None where nobody can say them now."""
    cause = ctx.broker.trouble
    # A session that is still opening must not be asked: ib_async asks for the
    # positions itself then, and of two such questions one is never answered.
    if ctx.broker.connected:
        try:
            return await _settled_positions(ctx)
        except (ConnectionLost, RequestRefused) as exc:
            cause = str(exc)
    log.warning("report.without_positions", cause=cause)
    return None


async def _cancel_leftovers(ctx: JobContext) -> None:
    """Cancel every order of ours that outlived the session (law I7).

    Closing orders are left alone: the auction may still execute them (C12).
    """
    working = [o for o in await ctx.broker.open_orders() if not is_closing(o.order_ref)]
    if not working:
        return
    log.warning("orders.left_over", order_refs=[order.order_ref for order in working])
    for order in working:
        await ctx.broker.cancel(order.order_id)
    mine = set(ctx.desk.orders(ctx.session.date))
    refs = [OrderRef(order.order_ref) for order in working if order.order_ref in mine]
    await ctx.desk.wait(refs, cancel_answered, ctx.rules.cancel_timeout_s)


async def _settled_positions(ctx: JobContext) -> tuple[Position, ...]:
    """Take the executions that came meanwhile, then ask for the positions."""
    snapshot = await ctx.desk.reconcile()
    return snapshot.positions


def _left(ctx: JobContext, positions: tuple[Position, ...]) -> tuple[Position, ...]:
    """Return what keeps the account from being flat, by what we hold ourselves."""
    return remainder(positions, ctx.rules, held_by_us(ctx))


def _resolve_rows(ctx: JobContext) -> None:
    """Account anew for the rows that were sent: evidence may have come since.

    A submitted row may have been refused seconds later (B5). A row for which no
    intent was ever committed was never sent: the journal is the truth about that.
    """
    day = ctx.session.date
    records = ctx.desk.orders(day).values()
    resolved: list[RowOutcome] = []
    for row in ctx.journal.rows(day):
        mine = [r for r in records if r.order.contract.symbol == row.symbol]
        if row.status is RowStatus.UNKNOWN and not mine:
            resolved.append(replace(row, status=RowStatus.SKIPPED, reason=NEVER_SENT))
        elif row.status in {RowStatus.UNKNOWN, RowStatus.SUBMITTED} and mine:
            resolved.append(_sharper(row, account_row(row, mine)))
    ctx.journal.record_rows(day, resolved, ctx.clock.now())


def _sharper(known: RowOutcome, now: RowOutcome) -> RowOutcome:
    """Return the outcome as of *now*; an exit in doubt does not unsend the row."""
    return known if now.status is RowStatus.UNKNOWN else now


def _settled(ctx: JobContext, positions: tuple[Position, ...]) -> bool:
    """Return whether the account is flat and every commission of the day known."""
    fills = ctx.journal.fills(*day_of(ctx))
    known = [c for c in ctx.journal.commissions(fills) if c.amount is not None]
    return not _left(ctx, positions) and len(known) == len(fills)


async def _tell_remainder(ctx: JobContext, left: tuple[Position, ...]) -> None:
    lines = "\n".join(f"{p.symbol}: {p.quantity} shares" for p in left)
    await ctx.notifier.tell(
        Message(
            Severity.ALARM,
            f"NOT FLAT after the close of {ctx.session.date}",
            f"{lines}\nLate auction fills may still come; the report will say.",
        )
    )


def _result(report: Report, path: str) -> JobResult:
    outcome = JobOutcome.DONE if report.certified or not report.final else None
    flat = {True: "flat", False: "NOT FLAT", None: "positions not known"}[report.flat]
    summary = f"{report.totals.net:+.2f} USD net, {flat}: {path}"
    detail: dict[str, object] = {"path": path, "report": report_json(report)}
    return JobResult(outcome or JobOutcome.FAILED, summary, detail)


JOB = Job(
    name="eod_report",
    when="close+5m",
    until="close+12h",
    run=run,
)
