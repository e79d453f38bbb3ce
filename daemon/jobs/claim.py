"""The plan to which a session belongs: claimed once, kept in the journal."""

from __future__ import annotations

from daemon.core.model import RowOutcome, RowStatus
from daemon.core.plan import Plan
from daemon.jobs.planfile import PlanFile
from daemon.ports import JobContext

UNDECIDED = "not decided yet"
"""Why a row is unknown from the claim until it is sent, skipped or refused."""


def claimed_plan(ctx: JobContext) -> PlanFile | None:
    """Return the plan of the session as it was claimed, None where it is free."""
    details = ctx.journal.value(_key(ctx))
    if not isinstance(details, dict):
        return None
    return PlanFile(str(details["name"]), str(details["text"]).encode())


def claim_plan(ctx: JobContext, found: PlanFile, plan: Plan) -> bool:
    """Give the session to *found* in one commit; False where another has it.

    Every row is accounted for from that commit on, whatever happens later.
    """
    now = ctx.clock.now()
    with ctx.journal.together():
        if not ctx.journal.claim("plan", str(ctx.session.date), ctx.run_id, now):
            return False
        ctx.journal.put_value(_key(ctx), _details(found, plan), now)
        rows = [
            RowOutcome(row.line, row.symbol, RowStatus.UNKNOWN, UNDECIDED)
            for row in plan.rows
        ]
        ctx.journal.record_rows(ctx.session.date, rows, now)
    return True


def _key(ctx: JobContext) -> str:
    return f"plan/{ctx.session.date}"


def _details(found: PlanFile, plan: Plan) -> dict[str, object]:
    return {
        "name": found.name,
        "sha256": found.sha256,
        "text": found.data.decode(),
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
