"""One pass of the close: cancel, confirm, read again, market-on-close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from daemon.core.excess import excess_closing
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
    OrderRecord,
    OrderState,
    OrderType,
    Position,
    Snapshot,
)
from daemon.errors import RequestRefused
from daemon.jobs.reporting import held_by_us
from daemon.ports import JobContext

log = structlog.get_logger(__name__)

REPAIR = timedelta(minutes=1)
"""Before the cutoff: what is cancelled later could not be replaced in time."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass found and did."""

    plan: ClosingPlan
    positions: tuple[Position, ...]
    undead: tuple[OrderRecord, ...]
    """Orders whose cancel was not answered: they may still execute."""
    excess: tuple[OrderRecord, ...]
    """Our closing orders for more shares than are left."""
    young: bool
    """Whether an execution is so young that the positions may lack it."""

    @property
    def covered(self) -> bool:
        """Return whether every share, and no more, is under an accepted order."""
        plan = self.plan
        open_ = plan.orders or plan.alerts or plan.waiting or self.undead
        return not (open_ or self.excess or self.young)


async def make_pass(ctx: JobContext) -> Pass:
    """Cancel what may still trade, read everything anew, send what is left."""
    undead = await _cancel(ctx, await ctx.desk.reconcile())
    done = await look(ctx, undead)
    if done.excess:
        await _cancel_excess(ctx, done.excess)
    await _send(ctx, done.plan)
    return done


async def _cancel_excess(ctx: JobContext, excess: tuple[OrderRecord, ...]) -> None:
    """Cancel what would take a position across zero, while there is time to repair."""
    if ctx.clock.now() >= ctx.session.cutoff - REPAIR:
        return
    for record in excess:
        await ctx.desk.cancel(record)
    refs = [record.order_ref for record in excess]
    await ctx.desk.wait(refs, cancel_answered, ctx.rules.cancel_timeout_s)


async def look(ctx: JobContext, undead: tuple[OrderRecord, ...] = ()) -> Pass:
    """Return what a pass would send, on evidence that is fresh and complete."""
    # Executions carry the broker's time: judge them by its clock, not by ours.
    asked_at = await ctx.broker.probe()
    snapshot = await ctx.desk.reconcile()
    young = fills_since(snapshot.fills, asked_at)
    records = tuple(ctx.desk.orders(ctx.session.date).values())
    evidence = Evidence(
        positions=snapshot.positions,
        working=(*snapshot.open_orders, *snapshot.foreign_orders),
        records=records,
        fills_since=young,
        contracts=await _contracts(ctx, snapshot.positions),
        own=held_by_us(ctx),
        client_id=ctx.broker.client_id,
        told=_told(snapshot),
    )
    plan = plan_closing(evidence, ctx.session, ctx.rules, OrderType.MARKET_ON_CLOSE)
    excess = excess_closing(records, snapshot.positions, young, ctx.rules.account)
    return Pass(plan, snapshot.positions, undead, excess, young=bool(young))


def _told(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the reference of every order of which *snapshot* tells."""
    orders = (*snapshot.open_orders, *snapshot.foreign_orders)
    return (
        *(order.order_ref for order in orders),
        *(order.order_ref for order in snapshot.completed_orders),
        *(fill.order_ref for fill in snapshot.fills),
    )


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
