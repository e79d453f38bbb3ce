"""Flat by the bell: cancel, confirm, read again, market-on-close, verify."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from daemon.core.flatten import (
    ClosingPlan,
    Evidence,
    fills_since,
    plan_cancels,
    plan_closing,
)
from daemon.core.last_known import uncovered
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
from daemon.errors import ConnectionLost, RequestRefused
from daemon.jobs.reporting import held_by_us
from daemon.ports import Job, JobContext

log = structlog.get_logger(__name__)

LAST_ALERT = timedelta(minutes=12)
"""Before the close: the last moment at which a person can still act (section 6)."""
FREEZE = timedelta(seconds=5)
"""Before the cutoff: what is sent later may arrive behind it."""
FRESH_S = 5.0
"""How long the last alert waits for fresh answers before it uses the last ones."""
AGAIN_S = 1.0
"""After a lost link: a session that fails at once must not spin the loop."""
NEXT_PASS_S = 12.0
"""Between two passes; longer than positions lag behind executions."""


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
    """Close until all is covered; say at close-12m, and after the cutoff, what is not.

    The clock rules, not the link: what is open is told in time from the last
    complete answer and the executions since, even while nobody answers.
    """
    close = ctx.session.close
    result = await _close_until(ctx, close - LAST_ALERT)
    if result is None and ctx.clock.now() < ctx.session.cutoff:
        await _tell_open(ctx)
        result = await _close_until(ctx, ctx.session.cutoff - FREEZE)
    return result or await _after_cutoff(ctx)


async def _close_until(ctx: JobContext, moment: datetime) -> JobResult | None:
    """Return the result once all is covered, None when *moment* comes first."""
    left_s = (moment - ctx.clock.now()).total_seconds()
    if left_s <= 0:
        return None
    try:
        async with asyncio.timeout(left_s):
            return await _passes(ctx)
    except TimeoutError:
        return None


async def _passes(ctx: JobContext) -> JobResult:
    """Make pass after pass, through every outage, until all is covered."""
    noted: set[str] = set()
    while True:
        await ctx.broker.wait_ready()
        try:
            done = await _one_pass(ctx)
        except ConnectionLost as exc:
            log.warning("close.interrupted", cause=str(exc))
            await asyncio.sleep(AGAIN_S)
            continue
        await _note(ctx, [short for short in done.plan.shorts if short not in noted])
        noted.update(done.plan.shorts)
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
        await asyncio.sleep(NEXT_PASS_S)


async def _one_pass(ctx: JobContext) -> Pass:
    undead = await _cancel(ctx, await ctx.desk.reconcile())
    done = await _look(ctx, undead)
    await _send(ctx, done.plan)
    return done


async def _look(ctx: JobContext, undead: tuple[OrderRecord, ...] = ()) -> Pass:
    """Return what a pass would send, on evidence that is fresh and complete."""
    asked_at = ctx.clock.now()
    snapshot = await ctx.desk.reconcile()
    evidence = Evidence(
        positions=snapshot.positions,
        working=(*snapshot.open_orders, *snapshot.foreign_orders),
        records=tuple(ctx.desk.orders(ctx.session.date).values()),
        fills_since=fills_since(snapshot.fills, asked_at),
        contracts=await _contracts(ctx, snapshot.positions),
        own=held_by_us(ctx),
    )
    plan = plan_closing(evidence, ctx.session, ctx.rules, OrderType.MARKET_ON_CLOSE)
    return Pass(plan, snapshot.positions, undead)


async def _tell_open(ctx: JobContext) -> None:
    """Tell what is under no accepted closing order, while a person can still act."""
    cutoff = f"{ctx.session.cutoff:%H:%M %Z}"
    if lines := await _open_points(ctx):
        subject = f"not everything will close: {len(lines)} point(s) before {cutoff}"
        await _at_risk(ctx, subject, [*lines, f"Close by hand in TWS before {cutoff}."])


async def _after_cutoff(ctx: JobContext) -> JobResult:
    """Send nothing any more; see what the bell will find, and say it."""
    await ctx.broker.wait_ready()
    done = await _look(ctx)
    if done.covered:
        return await _covered(ctx, done)
    lines = [*_last_known(ctx), *_points(done, unsent="no closing order")]
    summary = f"past the cutoff with {len(lines)} point(s) open"
    close = f"{ctx.session.close:%H:%M %Z}"
    remedy = f"Cancel what is live, then close by hand in TWS before {close}."
    await _at_risk(ctx, summary, [*lines, remedy])
    return JobResult(JobOutcome.FAILED, summary, {"points": lines})


async def _open_points(ctx: JobContext) -> list[str]:
    """Return what is open by a fresh answer, else by the last one and the fills."""
    if ctx.broker.connected:
        try:
            async with asyncio.timeout(FRESH_S):
                return _points(await _look(ctx), unsent="no closing order yet")
        except (ConnectionLost, TimeoutError) as exc:
            log.warning("close.blind", cause=str(exc))
    return _last_known(ctx)


def _last_known(ctx: JobContext) -> list[str]:
    """Return the shares under no accepted closing order, one line for each symbol."""
    snapshot = ctx.desk.last_snapshot
    if snapshot is None:
        return ["positions are not known: no session since the start"]
    since = ctx.journal.fills(snapshot.at - timedelta(days=1), ctx.clock.now())
    left = uncovered(
        snapshot, since, ctx.desk.orders(ctx.session.date).values(), ctx.rules
    )
    when = f"{snapshot.at.astimezone(ctx.session.close.tzinfo):%H:%M:%S %Z}"
    return [
        f"{symbol}: {shares} shares under no market-on-close order "
        f"(as of {when} and the executions since)"
        for symbol, shares in left.items()
    ]


def _points(done: Pass, *, unsent: str) -> list[str]:
    lines = [*done.plan.alerts, *done.plan.waiting]
    lines += [f"{r.order_ref}: the cancel is not answered" for r in done.undead]
    lines += [
        f"{o.side} {o.quantity} {o.contract.symbol}: {unsent}" for o in done.plan.orders
    ]
    return lines


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


async def _note(ctx: JobContext, shorts: Sequence[str]) -> None:
    """Say at once what nobody expected, although it is taken care of."""
    if shorts:
        subject = f"Close {ctx.session.date}: unexpected short position"
        await ctx.notifier.tell(Message(Severity.ALARM, subject, "\n".join(shorts)))


async def _covered(ctx: JobContext, done: Pass) -> JobResult:
    closing = _closing(ctx)
    summary = "nothing to close"
    if closing:
        summary = (
            f"{len(closing)} closing order(s) for {len(done.positions)} position(s)"
        )
    lines = [_line(record) for record in closing]
    lines += [_left(ctx, position) for position in done.plan.ignored]
    lines += [note for note in done.plan.notes if note not in done.plan.shorts]
    await ctx.notifier.tell(
        Message(Severity.INFO, f"Close {ctx.session.date}: {summary}", "\n".join(lines))
    )
    return JobResult(JobOutcome.DONE, summary, {"orders": len(closing)})


def _left(ctx: JobContext, position: Position) -> str:
    ignored = ctx.rules.ignores(position.symbol)
    why = "on the ignore list" if ignored else "not ours, left alone"
    return f"{position.symbol} {position.quantity}: {why}"


async def _at_risk(ctx: JobContext, summary: str, lines: Sequence[str]) -> None:
    log.error("close.at_risk", points=list(lines))
    subject = f"Close {ctx.session.date}: {summary}"
    await ctx.notifier.tell(Message(Severity.ALARM, subject, "\n".join(lines)))


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


JOB = Job(
    name="moc_close",
    when="close-20m",
    # From the cutoff on it sends nothing, but says what will stay open.
    until="close-1m",
    run=run,
    # It waits for the link itself, because its clock does not stop for an outage.
    needs_session=False,
)
