"""Flat by the bell: cancel, confirm, read again, market-on-close, verify."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from daemon.core.flatten import (
    ClosingPlan,
    Evidence,
    fills_since,
    plan_cancels,
    plan_closing,
)
from daemon.core.lifecycle import acknowledged, cancel_answered
from daemon.core.model import (
    ConId,
    Contract,
    JobOutcome,
    JobResult,
    Message,
    OrderRecord,
    OrderState,
    OrderType,
    Position,
    Severity,
    Snapshot,
)
from daemon.core.rules import Scope
from daemon.errors import RequestRefused
from daemon.ports import Job, JobContext

log = structlog.get_logger(__name__)

LAST_ALERT = timedelta(minutes=12)
"""Before the close: the last moment at which a person can still act (section 6)."""
NEXT_PASS_S = 12.0
"""Between two passes; longer than positions lag behind executions."""
EPOCH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass found and did."""

    plan: ClosingPlan
    positions: tuple[Position, ...]
    undead: tuple[OrderRecord, ...]
    """Orders whose cancel was not answered: they may still execute."""

    @property
    def covered(self) -> bool:
        """Return whether every share is under an accepted closing order."""
        plan = self.plan
        return not (plan.orders or plan.alerts or plan.waiting or self.undead)


async def run(ctx: JobContext) -> JobResult:
    """Pass after pass until nothing is left to do, or no time to do it."""
    last_alert = ctx.session.close - LAST_ALERT
    while True:
        done = await _one_pass(ctx)
        log.info(
            "close.passed",
            positions=len(done.positions),
            sent=len(done.plan.orders),
            alerts=list(done.plan.alerts),
            waiting=list(done.plan.waiting),
            undead=[r.order_ref for r in done.undead],
        )
        if done.covered:
            return await _covered(ctx, done)
        if ctx.clock.now() + timedelta(seconds=NEXT_PASS_S) >= last_alert:
            return await _uncovered(ctx, done)
        await asyncio.sleep(NEXT_PASS_S)


async def _one_pass(ctx: JobContext) -> Pass:
    undead = await _cancel(ctx, await ctx.desk.reconcile())
    asked_at = ctx.clock.now()
    snapshot = await ctx.desk.reconcile()
    evidence = Evidence(
        positions=snapshot.positions,
        working=(*snapshot.open_orders, *snapshot.foreign_orders),
        records=tuple(ctx.desk.orders(ctx.session.date).values()),
        fills_since=fills_since(snapshot.fills, asked_at),
        contracts=await _contracts(ctx, snapshot.positions),
        own=_own_shares(ctx),
    )
    plan = plan_closing(evidence, ctx.session, ctx.rules, OrderType.MARKET_ON_CLOSE)
    await _send(ctx, plan)
    return Pass(plan, snapshot.positions, undead)


async def _cancel(ctx: JobContext, snapshot: Snapshot) -> tuple[OrderRecord, ...]:
    """Cancel our orders and wait for the answer to each; return the unanswered."""
    records = ctx.desk.orders(ctx.session.date)
    wanted = plan_cancels(records.values(), snapshot.open_orders)
    by_id = {record.order_id: record for record in records.values()}
    for order_id in wanted:
        if record := by_id.get(order_id):
            await ctx.desk.cancel(record)
        else:
            await ctx.broker.cancel(order_id)
    cancelled = [by_id[i].order_ref for i in wanted if i in by_id]
    silent = await ctx.desk.wait(cancelled, cancel_answered, ctx.rules.cancel_timeout_s)
    return tuple(silent.values())


async def _contracts(
    ctx: JobContext, positions: tuple[Position, ...]
) -> Mapping[ConId, Contract]:
    """Rebuild each contract from its con id; one that is refused is left out."""
    found: dict[ConId, Contract] = {}
    for position in positions:
        if ctx.rules.ignores(position.symbol) or position.sec_type != "STK":
            continue
        try:
            found[position.con_id] = await ctx.broker.contract_by_id(position)
        except RequestRefused as exc:
            log.warning("contract.refused", symbol=position.symbol, cause=str(exc))
    return found


def _own_shares(ctx: JobContext) -> Mapping[ConId, Decimal]:
    """Return the signed shares that our own executions left, by con id."""
    if ctx.rules.scope is Scope.ACCOUNT:
        return {}
    fills = ctx.journal.fills(EPOCH, ctx.clock.now() + timedelta(days=1))
    held: dict[ConId, Decimal] = {}
    for fill in fills:
        if fill.order_ref.startswith("ibkrd:"):
            signed = fill.side.sign * fill.quantity
            held[fill.con_id] = held.get(fill.con_id, Decimal(0)) + signed
    return held


async def _send(ctx: JobContext, plan: ClosingPlan) -> None:
    if not plan.orders:
        return
    await ctx.broker.probe()
    for order in plan.orders:
        await ctx.desk.submit([order], ctx.session, ctx.run_id)
    silent = await ctx.desk.wait(
        [order.order_ref for order in plan.orders],
        acknowledged,
        ctx.rules.acknowledge_timeout_s,
    )
    await ctx.desk.mark(silent, OrderState.UNKNOWN)


async def _covered(ctx: JobContext, done: Pass) -> JobResult:
    closing = _closing(ctx)
    summary = "nothing to close"
    if closing:
        summary = (
            f"{len(closing)} closing order(s) for {len(done.positions)} position(s)"
        )
    lines = [_line(record) for record in closing]
    lines += [f"{p.symbol} {p.quantity}: on the ignore list" for p in done.plan.ignored]
    await ctx.notifier.tell(
        Message(Severity.INFO, f"Close {ctx.session.date}: {summary}", "\n".join(lines))
    )
    return JobResult(JobOutcome.DONE, summary, {"orders": len(closing)})


async def _uncovered(ctx: JobContext, done: Pass) -> JobResult:
    """Say what will not close, while a person can still act."""
    lines = [*done.plan.alerts, *done.plan.waiting]
    lines += [f"{r.order_ref}: the cancel is not answered" for r in done.undead]
    lines += [
        f"{o.side} {o.quantity} {o.contract.symbol}: sent late, not yet verified"
        for o in done.plan.orders
    ]
    cutoff = f"{ctx.session.cutoff:%H:%M %Z}"
    summary = f"not everything will close: {len(lines)} point(s) before {cutoff}"
    log.error("close.at_risk", points=lines)
    await ctx.notifier.tell(
        Message(
            Severity.ALARM,
            f"Close {ctx.session.date}: {summary}",
            "\n".join([*lines, f"Close by hand in TWS before {cutoff}."]),
        )
    )
    return JobResult(JobOutcome.FAILED, summary, {"points": lines})


def _closing(ctx: JobContext) -> list[OrderRecord]:
    records = ctx.desk.orders(ctx.session.date).values()
    return [
        record
        for record in records
        if record.order.order_type is OrderType.MARKET_ON_CLOSE
        and record.state not in {OrderState.REJECTED, OrderState.CANCELLED}
    ]


def _line(record: OrderRecord) -> str:
    order = record.order
    return f"{order.side} {order.quantity} {order.contract.symbol} MOC: {record.state}"


JOB = Job(name="moc_close", when="close-20m", until="close-10m", run=run)
