"""Flat by the bell: pass after pass until the cutoff; what stays open is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from daemon.core.last_known import uncovered
from daemon.core.model import (
    JobOutcome,
    JobResult,
    Message,
    Order,
    OrderRecord,
    OrderState,
    OrderType,
    Position,
    Severity,
)
from daemon.errors import ConnectionLost
from daemon.jobs.closing import Pass, look, make_pass
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
VERIFY_S = 60.0
"""Between two looks while all is covered: somebody may trade by hand."""
NOTHING = "nothing to close"
NEXT_PASS_S = 12.0
"""Between two passes; longer than positions lag behind executions."""


@dataclass(slots=True)
class Progress:
    """How far the close has come."""

    last: Pass | None = None
    announced: frozenset[str] = frozenset()
    """What has been told: the lines of the last good message, and the shorts."""

    @property
    def covered(self) -> bool:
        """Return whether the last pass found nothing to do."""
        return self.last is not None and self.last.covered


async def run(ctx: JobContext) -> JobResult:
    """Close, and verify until the cutoff; say at close-12m, and after it, what is open.

    The clock rules, not the link: what is open is told in time from the last
    complete answer and the executions since, even while nobody answers.
    """
    progress = Progress()
    await _close_until(ctx, progress, ctx.session.close - LAST_ALERT)
    if not progress.covered and ctx.clock.now() < ctx.session.cutoff:
        await _tell_open(ctx)
    await _close_until(ctx, progress, ctx.session.cutoff - FREEZE)
    if not progress.covered:
        return await _after_cutoff(ctx)
    summary = _summary(ctx, progress)
    if ctx.stopping.is_set():  # the daemon that comes next goes on verifying
        return JobResult(JobOutcome.FAILED, f"stopped while verifying: {summary}")
    return JobResult(JobOutcome.DONE, summary, {"orders": len(_closing(ctx))})


async def _close_until(ctx: JobContext, progress: Progress, moment: datetime) -> None:
    """Make pass after pass until *moment*, through every outage."""
    left_s = (moment - ctx.clock.now()).total_seconds()
    if left_s <= 0:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(left_s):
            while not (ctx.stopping.is_set() and progress.covered):
                await ctx.broker.wait_ready()
                try:
                    await _pass(ctx, progress)
                except ConnectionLost as exc:
                    log.warning("close.interrupted", cause=str(exc))
                    await asyncio.sleep(AGAIN_S)


async def _pass(ctx: JobContext, progress: Progress) -> None:
    done = progress.last = await make_pass(ctx)
    log.info(
        "close.passed",
        positions=len(done.positions),
        sent=len(done.plan.orders),
        alerts=list(done.plan.alerts),
        waiting=list(done.plan.waiting),
        undead=[r.order_ref for r in done.undead],
        excess=[r.order_ref for r in done.excess],
    )
    await _announce(ctx, progress, done)
    await _pause(ctx, VERIFY_S if done.covered or _refused(ctx, done) else NEXT_PASS_S)


async def _pause(ctx: JobContext, seconds: float) -> None:
    """Wait for the next pass; not at all when the daemon stops."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ctx.stopping.wait()
            await asyncio.sleep(AGAIN_S)


def _refused(ctx: JobContext, done: Pass) -> bool:
    """Return whether every order of the pass was refused: a quick retry is no help."""
    records = ctx.desk.orders(ctx.session.date)
    sent = [records[order.order_ref] for order in done.plan.orders]
    return bool(sent) and all(r.state is OrderState.REJECTED for r in sent)


async def _announce(ctx: JobContext, progress: Progress, done: Pass) -> None:
    """Tell shorts and excess at once, and that all is covered, each of it once."""
    loud = [*done.plan.shorts, *(_too_much(record) for record in done.excess)]
    news = [line for line in loud if line not in progress.announced]
    if news:
        subject = f"Close {ctx.session.date}: unexpected short position or excess"
        await ctx.notifier.tell(Message(Severity.ALARM, subject, "\n".join(news)))
    if done.covered:
        good = [_line(record) for record in _closing(ctx)] or [NOTHING]
        if not progress.announced.issuperset(good):
            await _tell_covered(ctx, progress, done)
        progress.announced |= {*good, NOTHING}
    progress.announced |= set(news)


def _too_much(record: OrderRecord) -> str:
    order = record.order
    return (
        f"{order.contract.symbol}: {record.order_ref} for {order.quantity} is more "
        "than what is left; it is cancelled"
    )


async def _tell_open(ctx: JobContext) -> None:
    """Tell what is under no accepted closing order, while a person can still act."""
    cutoff = f"{ctx.session.cutoff:%H:%M %Z}"
    if lines := await _open_points(ctx):
        subject = f"not everything will close: {len(lines)} point(s) before {cutoff}"
        await _at_risk(ctx, subject, [*lines, f"Close by hand in TWS before {cutoff}."])


async def _after_cutoff(ctx: JobContext) -> JobResult:
    """Send nothing any more; see what the bell will find, and say it."""
    await ctx.broker.wait_ready()
    done = await look(ctx)
    lines = [*_last_known(ctx), *_points(ctx, done, unsent="no closing order")]
    if not lines:
        progress = Progress(last=done)
        await _announce(ctx, progress, done)
        return JobResult(JobOutcome.DONE, _summary(ctx, progress))
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
                return _points(ctx, await look(ctx), unsent="no closing order yet")
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


def _points(ctx: JobContext, done: Pass, *, unsent: str) -> list[str]:
    lines = [*done.plan.alerts, *done.plan.waiting]
    lines += [f"{r.order_ref}: the cancel is not answered" for r in done.undead]
    lines += [_too_much(record) for record in done.excess]
    lines += [
        f"{o.side} {o.quantity} {o.contract.symbol}: {unsent}{_last_refusal(ctx, o)}"
        for o in done.plan.orders
    ]
    return lines


def _last_refusal(ctx: JobContext, order: Order) -> str:
    """Return why the last closing order of the same shares was refused, if it was."""
    refused = [
        record
        for record in ctx.desk.orders(ctx.session.date).values()
        if record.state is OrderState.REJECTED
        and record.order.order_type is OrderType.MARKET_ON_CLOSE
        and record.order.contract.con_id == order.contract.con_id
    ]
    last = max(refused, key=lambda record: record.order_id, default=None)
    return "" if last is None else f"; refused before: {last.code} {last.text}"


async def _tell_covered(ctx: JobContext, progress: Progress, done: Pass) -> None:
    lines = [_line(record) for record in _closing(ctx)]
    lines += [_left(ctx, position) for position in done.plan.ignored]
    lines += [note for note in done.plan.notes if note not in done.plan.shorts]
    subject = f"Close {ctx.session.date}: {_summary(ctx, progress)}"
    body = "\n".join(lines)
    # A daemon that starts again finds the same and need not say it again.
    key = f"close/{ctx.session.date}/{subject}/{body}"
    await ctx.notifier.tell(Message(Severity.INFO, subject, body, key=key))


def _summary(ctx: JobContext, progress: Progress) -> str:
    closing = _closing(ctx)
    positions = progress.last.positions if progress.last else ()
    if not closing:
        return NOTHING
    return f"{len(closing)} closing order(s) for {len(positions)} position(s)"


def _left(ctx: JobContext, position: Position) -> str:
    ignored = ctx.rules.ignores(position.symbol)
    why = "on the ignore list" if ignored else "not ours, left alone"
    return f"{position.symbol} {position.quantity}: {why}"


async def _at_risk(ctx: JobContext, summary: str, lines: Sequence[str]) -> None:
    log.error("close.at_risk", points=list(lines))
    subject = f"Close {ctx.session.date}: {summary}"
    body = "\n".join(lines)
    key = f"close/{ctx.session.date}/{subject}/{body}"
    await ctx.notifier.tell(Message(Severity.ALARM, subject, body, key=key))


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
