"""After the bell: leftovers cancelled, flatness proved, the day's books written."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from daemon.core.flatten import remainder
from daemon.core.lifecycle import cancel_answered
from daemon.core.model import (
    JobOutcome,
    JobResult,
    Message,
    OrderRef,
    Position,
    Severity,
)
from daemon.core.report import Report
from daemon.core.report_text import report_json, report_message
from daemon.errors import ConnectionLost, RequestRefused
from daemon.jobs.reporting import day_of, gather, write_day, write_so_far
from daemon.ports import Job, JobContext

log = structlog.get_logger(__name__)

PATIENCE = timedelta(minutes=5)
"""Auction fills and their commissions arrive up to minutes late (C12, F6)."""
LOOK_AGAIN_S = 5.0


async def run(ctx: JobContext) -> JobResult:
    """Cancel what is left, wait for fills and commissions, write and tell the day."""
    give_up = ctx.clock.now() + PATIENCE
    await _cancel_leftovers(ctx)
    positions = await _settled_positions(ctx)
    told = bool(remainder(positions, ctx.rules))
    if told:
        await _tell_remainder(ctx, positions)
    while not _settled(ctx, positions) and ctx.clock.now() < give_up:
        await asyncio.sleep(LOOK_AGAIN_S)
        positions = await _settled_positions(ctx)
    report = gather(ctx, positions, final=True)
    path = write_day(ctx, report)
    await ctx.notifier.tell(report_message(report))
    return _result(report, str(path))


async def report_now(ctx: JobContext) -> JobResult:
    """Write and send the day so far; never trades, and works without a session."""
    try:
        await ctx.desk.reconcile()
        positions: tuple[Position, ...] | None = await ctx.broker.positions()
    except (ConnectionLost, RequestRefused) as exc:
        log.warning("report.without_positions", cause=str(exc))
        positions = None
    report = gather(ctx, positions, final=False)
    path = write_so_far(ctx, report)
    await ctx.notifier.tell(report_message(report))
    return _result(report, str(path))


async def _cancel_leftovers(ctx: JobContext) -> None:
    """Cancel every order of ours that outlived the session (law I7)."""
    working = await ctx.broker.open_orders()
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


def _settled(ctx: JobContext, positions: tuple[Position, ...]) -> bool:
    """Return whether the account is flat and every commission of the day known."""
    fills = ctx.journal.fills(*day_of(ctx))
    known = [c for c in ctx.journal.commissions(fills) if c.amount is not None]
    return not remainder(positions, ctx.rules) and len(known) == len(fills)


async def _tell_remainder(ctx: JobContext, positions: tuple[Position, ...]) -> None:
    left = remainder(positions, ctx.rules)
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
