"""The morning's job: the plan becomes bracket orders, each sent exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

import structlog

from daemon.core import notices, refs
from daemon.core.accounting import account_row, tally
from daemon.core.bracket import Family, another_attempt, build_brackets
from daemon.core.lifecycle import acknowledged
from daemon.core.model import (
    Bracket,
    Contract,
    JobOutcome,
    JobResult,
    Message,
    OrderRecord,
    OrderRef,
    OrderState,
    RowOutcome,
    RowStatus,
    Severity,
    Snapshot,
)
from daemon.core.plan import Plan, PlanRow, Problem, parse_plan
from daemon.core.reconcile import attempts, never_worked
from daemon.core.selection import Circumstances, Selection, select_rows
from daemon.errors import (
    AlreadyClaimed,
    ConnectionLost,
    EntriesBarred,
    InvariantViolated,
    RequestRefused,
)
from daemon.jobs.claim import claim_plan, claimed_plan
from daemon.jobs.planfile import PlanFile, newest_plan, wait_for_plan
from daemon.ports import Job, JobContext

log = structlog.get_logger(__name__)

LAST_MOMENT = timedelta(seconds=5)
"""Before the deadline: no row is begun that could not be sent whole."""
PROOF = timedelta(seconds=60)
"""Longest wait for what proves an order's absence: two silent answers and a cancel."""
SLICE_S = 5.0
"""What is proven early does not wait for the rest."""
MOST_ATTEMPTS = 3
"""A family that never arrives three times is a person's business."""


async def run(ctx: JobContext) -> JobResult:
    """Find the plan, choose its rows, send their brackets, account for every row."""
    found = claimed_plan(ctx)
    if found is None:
        chosen = await _usable_plan(ctx)
        if isinstance(chosen, JobResult):
            return chosen
        found = chosen
    else:
        await _refuse_another(ctx, found)
    plan = _parse(ctx, found)
    if reason := ctx.journal.replaced(ctx.session.date):
        return await _barred(ctx, plan, reason)
    if ctx.clock.now() >= ctx.deadline:
        return await _account(ctx, found, plan)
    selection = await _choose(ctx, plan)
    ctx.journal.record_rows(ctx.session.date, selection.skipped, ctx.clock.now())
    try:
        await _send(ctx, selection.to_submit)
    except EntriesBarred as exc:
        await _wait_for_answers(ctx)
        result = await _account(ctx, found, plan, cut=str(exc))
        # Not final: once there is room, a restart inside the window sends the rest.
        return replace(result, outcome=JobOutcome.FAILED)
    return await _account(ctx, found, plan)


async def _barred(ctx: JobContext, plan: Plan, reason: str) -> JobResult:
    """Account for a plan of which no entry may be sent in this session."""
    why = "not sent: the journal was damaged and had to be replaced"
    rows = [
        RowOutcome(row.line, row.symbol, RowStatus.SKIPPED, why) for row in plan.rows
    ]
    ctx.journal.record_rows(ctx.session.date, rows, ctx.clock.now())
    text = f"0 orders: {len(rows)} rows {why}"
    await ctx.notifier.tell(
        Message(Severity.ALARM, f"Submit {ctx.session.date}: {text}", reason)
    )
    return JobResult(JobOutcome.REFUSED, text)


async def _usable_plan(ctx: JobContext) -> PlanFile | JobResult:
    """Return the claimed plan; a faulty one is told, and a better one waited for."""
    refused: dict[str, JobResult] = {}
    while True:
        found = await wait_for_plan(ctx, refused)
        if isinstance(found, str):
            last = next(reversed(refused.values()), None)
            return last or await _no_plan(ctx, found)
        plan = _parse(ctx, found)
        if plan.problems:
            refused[found.sha256] = await _refused(ctx, found, plan.problems)
        elif claim_plan(ctx, found, plan):
            return found
        else:
            raise InvariantViolated(f"the session {ctx.session.date} has another plan")


def _parse(ctx: JobContext, found: PlanFile) -> Plan:
    return parse_plan(
        found.data, size_preset=ctx.rules.size_preset, share_a=ctx.rules.share_a
    )


async def _refuse_another(ctx: JobContext, found: PlanFile) -> None:
    """Tell of a newer plan for a session that is begun already (E5)."""
    newest = newest_plan(ctx).name
    if newest in {"", found.name}:
        return
    await ctx.notifier.tell(
        Message(
            Severity.ALARM,
            "A second plan is refused",
            f"{newest} is refused: the session {ctx.session.date} belongs to "
            f"{found.name}, and a session has one plan",
        )
    )


async def _choose(ctx: JobContext, plan: Plan) -> Selection:
    snapshot = await ctx.desk.reconcile()
    known_to_broker = await _refuse_what_the_journal_lost(ctx, plan, snapshot)
    working = {o.symbol for o in (*snapshot.open_orders, *snapshot.foreign_orders)}
    circumstances = Circumstances(
        held={p.symbol for p in snapshot.positions},
        working=working,
        funds=await ctx.broker.funds(),
        cumulative=_cumulative(ctx.journal.value("books")),
        begun={
            r.order.contract.symbol for r in ctx.desk.orders(ctx.session.date).values()
        },
        # An unknown row is not decided: its own orders keep it from going out twice.
        done=tuple(
            row
            for row in ctx.journal.rows(ctx.session.date)
            if row.status is not RowStatus.UNKNOWN
        ),
    )
    rows = [row for row in plan.rows if row.symbol not in known_to_broker]
    return select_rows(rows, circumstances, ctx.rules)


async def _refuse_what_the_journal_lost(
    ctx: JobContext, plan: Plan, snapshot: Snapshot
) -> frozenset[str]:
    """Return the rows of which the broker knows orders and the journal does not.

    A journal that was lost must not send a plan twice (I1): the broker's word is
    enough to leave such a row alone.
    """
    told = [o.order_ref for o in snapshot.open_orders]
    told += [o.order_ref for o in snapshot.completed_orders]
    told += [f.order_ref for f in snapshot.fills]
    known = ctx.desk.orders(ctx.session.date)
    parsed = [refs.parse(ref) for ref in told if ref not in known]
    lost = frozenset(
        ref.symbol for ref in parsed if ref and ref.session == ctx.session.date
    )
    reason = "the broker knows orders of this row that the journal does not"
    rows = [
        RowOutcome(row.line, row.symbol, RowStatus.SKIPPED, reason)
        for row in plan.rows
        if row.symbol in lost
    ]
    if rows:
        ctx.journal.record_rows(ctx.session.date, rows, ctx.clock.now())
        subject = f"Submit {ctx.session.date}: {len(rows)} row(s) left alone"
        body = "\n".join(f"{row.symbol}: {row.reason}" for row in rows)
        await ctx.notifier.tell(Message(Severity.ALARM, subject, body))
    return lost


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
    families: dict[PlanRow, tuple[Family, Family]] = {}
    for row in rows:
        found = contracts[row.symbol]
        built = (
            found
            if isinstance(found, RowOutcome)
            else build_brackets(row, ctx.session, ctx.rules, found)
        )
        if isinstance(built, RowOutcome):
            _record(ctx, built)
        else:
            families[row] = built
    await ctx.broker.probe()
    for row, pair in families.items():
        if ctx.clock.now() + LAST_MOMENT >= ctx.deadline and not _begun(ctx, pair):
            _record(ctx, _too_late(ctx, row))
            continue
        for family in pair:
            await _send_family(ctx, family)
    await _wait_for_answers(ctx)
    await _send_again(ctx, [family for pair in families.values() for family in pair])


async def _send_again(ctx: JobContext, families: Sequence[Family]) -> None:
    """Send once more what is proven never to have been at work, while there is time.

    Who brings the proof is not asked here: unknown orders are waited for, as long as
    an absence takes to be proven over a standing link, and what stays unknown is
    accounted for as such.
    """
    last_moment = ctx.deadline - LAST_MOMENT
    while ctx.clock.now() < last_moment:
        lost = [again for one in families if (again := _next_attempt(ctx, one))]
        for family in lost:
            log.info("family.sent_again", entry=family.entry.order_ref)
            await ctx.desk.submit(family.orders, ctx.session, ctx.run_id)
        if lost:
            await _wait_for_answers(ctx)
            continue
        unknown = [r.order_ref for f in families for r in _last(ctx, f) if _open(r)]
        if not unknown:
            return
        if not await _proven(ctx, unknown, last_moment):
            return


async def _proven(
    ctx: JobContext, unknown: Collection[OrderRef], last_moment: datetime
) -> bool:
    """Wait for proof; return whether to look again: one came, or no link stands."""
    until = min(ctx.clock.now() + PROOF, last_moment)
    while (left_s := (until - ctx.clock.now()).total_seconds()) > 0:
        patience_s = min(left_s, SLICE_S)
        still = await ctx.desk.wait(unknown, lambda one: not _open(one), patience_s)
        if len(still) < len(unknown):
            return True
    return not ctx.broker.connected


def _open(record: OrderRecord) -> bool:
    return record.state is OrderState.UNKNOWN


def _next_attempt(ctx: JobContext, family: Family) -> Family | None:
    """Return *family* anew if every order of its last attempt never worked."""
    last = _last(ctx, family)
    if not last or not all(never_worked(record) for record in last):
        return None
    if _forgotten(ctx):
        return None
    attempt = max(ref.attempt for r in last if (ref := refs.parse(r.order_ref)))
    return another_attempt(family, attempt + 1) if attempt < MOST_ATTEMPTS else None


def _forgotten(ctx: JobContext) -> bool:
    """Return whether the gateway may have forgotten how an order of today ended.

    Nobody listened since the window began: it was started anew, and an order that a
    person has cancelled meanwhile looks like one that never arrived.
    """
    gone = ctx.broker.last_absence
    return gone is not None and gone >= ctx.session.open


def _last(ctx: JobContext, family: Family) -> tuple[OrderRecord, ...]:
    """Return the orders of the last attempt at *family*."""
    first = refs.parse(family.entry.order_ref)
    if first is None:
        raise InvariantViolated(f"{family.entry.order_ref} is no reference of ours")
    known = ctx.desk.orders(ctx.session.date).values()
    made = attempts(known, first.symbol, first.bracket)
    return made[max(made)] if made else ()


def _begun(ctx: JobContext, pair: tuple[Family, Family]) -> bool:
    return pair[0].entry.order_ref in ctx.desk.orders(ctx.session.date)


def _too_late(ctx: JobContext, row: PlanRow) -> RowOutcome:
    reason = f"not sent: the deadline {ctx.deadline:%H:%M %Z} came first"
    return RowOutcome(row.line, row.symbol, RowStatus.SKIPPED, reason)


def _record(ctx: JobContext, outcome: RowOutcome) -> None:
    ctx.journal.record_rows(ctx.session.date, [outcome], ctx.clock.now())


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


async def _account(
    ctx: JobContext, found: PlanFile, plan: Plan, cut: str = ""
) -> JobResult:
    """Write the outcome of every row and tell it; *cut* is why not all was sent."""
    records = tuple(ctx.desk.orders(ctx.session.date).values())
    decided = {
        row.symbol
        for row in ctx.journal.rows(ctx.session.date)
        if row.status is not RowStatus.UNKNOWN
    }
    by_row = {
        row: [r for r in records if r.order.contract.symbol == row.symbol]
        for row in plan.rows
    }
    outcomes = [
        _cut_short(row, orders, cut)
        or (account_row(row, orders) if orders else _too_late(ctx, row))
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
            "\n".join([*(_said(row) for row in trouble), *_remedies(records)])
            or f"every row of {found.name} is at the broker",
        )
    )
    detail = {"plan": found.name, "rows": len(rows), "orders": len(records), **counts}
    return JobResult(JobOutcome.DONE, summary, detail)


def _cut_short(
    row: PlanRow, orders: Sequence[OrderRecord], cut: str
) -> RowOutcome | None:
    """Return the row as unknown if a bracket of it was not sent because of *cut*."""
    sent = {ref.bracket for r in orders if (ref := refs.parse(r.order_ref))}
    missing = [bracket for bracket in (Bracket.A, Bracket.B) if bracket not in sent]
    if not cut or not missing:
        return None
    reason = f"{' and '.join(missing)} not sent: {cut}"
    return RowOutcome(row.line, row.symbol, RowStatus.UNKNOWN, reason)


def _said(row: RowOutcome) -> str:
    return f"{row.symbol}: {row.status}: {row.reason}"


def _remedies(records: Iterable[OrderRecord]) -> list[str]:
    """Return what to change for each code with which an order was refused."""
    codes = {r.code for r in records if r.state is OrderState.REJECTED and r.code}
    return [f"{code}: {notices.rule(code).remedy}" for code in sorted(codes)]


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


JOB = Job(
    name="submit",
    when="open+5m",
    until="open+30m",
    run=run,
    # The last answers are waited for, and every row is accounted for.
    grace_s=90.0,
)
