"""The morning's job: the plan becomes bracket orders, each sent exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation

import structlog

from daemon.core.accounting import account_row, tally
from daemon.core.bracket import Family, build_brackets
from daemon.core.lifecycle import acknowledged
from daemon.core.model import (
    Contract,
    JobOutcome,
    JobResult,
    Message,
    OrderState,
    RowOutcome,
    RowStatus,
    Severity,
)
from daemon.core.plan import Plan, PlanRow, Problem, parse_plan
from daemon.core.selection import Circumstances, Selection, select_rows
from daemon.errors import AlreadyClaimed, ConnectionLost, RequestRefused
from daemon.jobs.planfile import PlanFile, wait_for_plan
from daemon.ports import Job, JobContext

log = structlog.get_logger(__name__)


async def run(ctx: JobContext) -> JobResult:
    """Find the plan, choose its rows, send their brackets, account for every row."""
    found = await wait_for_plan(ctx)
    if isinstance(found, str):
        return await _no_plan(ctx, found)
    plan = parse_plan(
        found.data, size_preset=ctx.rules.size_preset, share_a=ctx.rules.share_a
    )
    if plan.problems:
        return await _refused(ctx, found, plan.problems)
    if other := _claim(ctx, found, plan):
        return await _another(ctx, found, other)
    chosen = await _choose(ctx, plan)
    ctx.journal.record_rows(ctx.session.date, chosen.skipped, ctx.clock.now())
    await _send(ctx, chosen.to_submit)
    return await _account(ctx, found, plan)


def _claim(ctx: JobContext, found: PlanFile, plan: Plan) -> str:
    """Claim the session for this plan; return the plan that claimed it before."""
    key = f"plan/{ctx.session.date}"
    now = ctx.clock.now()
    if ctx.journal.claim("plan", str(ctx.session.date), ctx.run_id, now):
        ctx.journal.put_value(key, _plan_details(found, plan), now)
        return ""
    claimed = ctx.journal.value(key)
    if claimed is None:  # claimed, then killed before the details were stored
        ctx.journal.put_value(key, _plan_details(found, plan), now)
        return ""
    known = claimed if isinstance(claimed, dict) else {}
    return "" if known.get("sha256") == found.sha256 else str(known.get("name"))


def _plan_details(found: PlanFile, plan: Plan) -> dict[str, object]:
    return {
        "name": found.name,
        "sha256": found.sha256,
        "rows": {
            row.symbol: {
                "score": None if row.score is None else str(row.score),
                "sector": row.sector,
                "quantity": row.quantity,
                "limit_price": str(row.limit_price),
                "sl_price": str(row.stop_loss),
                "tp1_price": str(row.take_profit_1),
                "tp2_price": str(row.take_profit_2),
            }
            for row in plan.rows
        },
    }


async def _choose(ctx: JobContext, plan: Plan) -> Selection:
    snapshot = await ctx.desk.reconcile()
    working = {o.symbol for o in (*snapshot.open_orders, *snapshot.foreign_orders)}
    circumstances = Circumstances(
        held={p.symbol for p in snapshot.positions},
        working=working,
        funds=await ctx.broker.funds(),
        cumulative=_cumulative(ctx.journal.value("books")),
        begun={
            r.order.contract.symbol for r in ctx.desk.orders(ctx.session.date).values()
        },
        done=ctx.journal.rows(ctx.session.date),
    )
    return select_rows(plan.rows, circumstances, ctx.rules)


def _cumulative(books: object) -> Decimal | None:
    """Return the cumulative net result; no history counts as zero."""
    if books is None:
        return Decimal(0)
    if isinstance(books, dict):
        with suppress(InvalidOperation):
            return Decimal(str(books.get("cumulative_pnl")))
    return None


async def _send(ctx: JobContext, rows: Sequence[PlanRow]) -> None:
    """Send the brackets of *rows*, then wait until the broker has answered for all."""
    contracts = await _contracts(ctx, rows)
    families: list[Family] = []
    for row in rows:
        found = contracts[row.symbol]
        built = (
            found
            if isinstance(found, RowOutcome)
            else build_brackets(row, ctx.session, ctx.rules, found)
        )
        if isinstance(built, RowOutcome):
            ctx.journal.record_rows(ctx.session.date, [built], ctx.clock.now())
        else:
            families.extend(built)
    await ctx.broker.probe()
    for family in families:
        await _send_family(ctx, family)
    await _wait_for_answers(ctx)


async def _contracts(
    ctx: JobContext, rows: Iterable[PlanRow]
) -> dict[str, Contract | RowOutcome]:
    """Look up the contract of every row at once; a refusal is the row's own."""
    async with asyncio.TaskGroup() as tasks:
        lookups = {
            row.symbol: tasks.create_task(
                _look_up(ctx, row), name=f"contract {row.symbol}"
            )
            for row in rows
        }
    found: dict[str, Contract | RowOutcome] = {}
    for symbol, lookup in lookups.items():
        answer = lookup.result()
        if isinstance(answer, ConnectionLost):
            raise answer
        found[symbol] = answer
    return found


async def _look_up(
    ctx: JobContext, row: PlanRow
) -> Contract | RowOutcome | ConnectionLost:
    """Return a lost link as a value: raised, a task group would wrap it."""
    try:
        return await ctx.broker.contract(row.symbol)
    except RequestRefused as exc:
        return RowOutcome(row.line, row.symbol, RowStatus.REFUSED, str(exc))
    except ConnectionLost as exc:
        return exc


async def _send_family(ctx: JobContext, family: Family) -> None:
    known = ctx.desk.orders(ctx.session.date)
    if family.entry.order_ref in known:
        return  # intended by an earlier run: the broker's evidence decides its fate
    try:
        await ctx.desk.submit(family.orders, ctx.session, ctx.run_id)
    except AlreadyClaimed as exc:
        log.warning("family.claimed_before", cause=str(exc))


async def _wait_for_answers(ctx: JobContext) -> None:
    mine = ctx.desk.orders(ctx.session.date)
    silent = await ctx.desk.wait(mine, acknowledged, ctx.rules.acknowledge_timeout_s)
    await ctx.desk.mark(silent, OrderState.UNKNOWN)


async def _account(ctx: JobContext, found: PlanFile, plan: Plan) -> JobResult:
    """Write the outcome of every row and tell it."""
    records = ctx.desk.orders(ctx.session.date).values()
    decided = {outcome.symbol for outcome in ctx.journal.rows(ctx.session.date)}
    by_row = {
        row: [r for r in records if r.order.contract.symbol == row.symbol]
        for row in plan.rows
    }
    outcomes = [
        account_row(row, orders)
        for row, orders in by_row.items()
        if orders or row.symbol not in decided
    ]
    ctx.journal.record_rows(ctx.session.date, outcomes, ctx.clock.now())
    rows = ctx.journal.rows(ctx.session.date)
    counts = tally(rows)
    summary = (
        f"{len(rows)} rows: {counts['submitted']} submitted, "
        f"{counts['skipped']} skipped, {counts['refused']} refused, "
        f"{counts['unknown']} unknown; {len(records)} orders"
    )
    trouble = [r for r in rows if r.reason]
    await ctx.notifier.tell(
        Message(
            Severity.ALARM if _alarming(rows) else Severity.INFO,
            f"Submit {ctx.session.date}: {summary}",
            "\n".join(f"{r.symbol}: {r.status}: {r.reason}" for r in trouble)
            or f"every row of {found.name} is at the broker",
        )
    )
    detail = {"plan": found.name, "rows": len(rows), "orders": len(records), **counts}
    return JobResult(JobOutcome.DONE, summary, detail)


def _alarming(rows: Iterable[RowOutcome]) -> bool:
    """Return whether an order was refused or is unknown; a skip is policy."""
    return any(row.reason and row.status is not RowStatus.SKIPPED for row in rows)


async def _no_plan(ctx: JobContext, cause: str) -> JobResult:
    text = f"0 orders: {cause}"
    await ctx.notifier.tell(
        Message(Severity.ALARM, f"Submit {ctx.session.date}: no plan", text)
    )
    return JobResult(JobOutcome.SKIPPED, text)


async def _refused(
    ctx: JobContext, found: PlanFile, problems: Sequence[Problem]
) -> JobResult:
    listed = "\n".join(f"{found.name}: {problem}" for problem in problems)
    text = f"0 orders: {found.name} has {len(problems)} problem(s)"
    log.error("plan.refused", plan=found.name, problems=[str(p) for p in problems])
    await ctx.notifier.tell(
        Message(Severity.ALARM, f"Submit {ctx.session.date}: {text}", listed)
    )
    return JobResult(
        JobOutcome.REFUSED, text, {"problems": [str(problem) for problem in problems]}
    )


async def _another(ctx: JobContext, found: PlanFile, other: str) -> JobResult:
    text = (
        f"{found.name} is refused: the session {ctx.session.date} belongs to {other}, "
        "and a session has one plan"
    )
    await ctx.notifier.tell(Message(Severity.ALARM, "A second plan is refused", text))
    return JobResult(JobOutcome.REFUSED, text)


JOB = Job(name="submit", when="open+5m", until="open+30m", run=run)
