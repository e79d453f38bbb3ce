"""What a plan asks for, seen before its day: which session, which orders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from daemon.core.bracket import build_brackets
from daemon.core.model import ConId, Contract, Funds, Order, RowOutcome, Session
from daemon.core.plan import Plan, PlanRow
from daemon.core.rules import TradingRules
from daemon.core.selection import Circumstances, select_rows
from daemon.core.session import submit_deadline


@dataclass(frozen=True, slots=True)
class Preview:
    """The orders that a plan would send, and the rows that it would leave out.

    *notional* is that of the rows which would be submitted.
    """

    rows: int
    left_out: tuple[RowOutcome, ...]
    notional: Decimal
    orders: tuple[Order, ...]

    @property
    def to_submit(self) -> int:
        """Return how many rows would be submitted."""
        return self.rows - len(self.left_out)


def coming_session(sessions: Iterable[Session], now: datetime) -> Session | None:
    """Return the first of *sessions* whose submit window is not over at *now*."""
    return next((each for each in sessions if submit_deadline(each) > now), None)


def preview_plan(plan: Plan, session: Session, rules: TradingRules) -> Preview:
    """Return what *plan* would send in *session* to an account that holds nothing.

    Ticks and funds are the gateway's to say: taken here are ticks of one cent, and
    funds that suffice.
    """
    circumstances = Circumstances(
        held=(),
        working=(),
        funds=Funds(None, available=_total(plan.rows)),
        cumulative=Decimal(0),
    )
    chosen = select_rows(plan.rows, circumstances, rules)
    left_out = list(chosen.skipped)
    notional = Decimal(0)
    orders: list[Order] = []
    for row in chosen.to_submit:
        built = build_brackets(row, session, rules, _in_cents(row))
        if isinstance(built, RowOutcome):
            left_out.append(built)
        else:
            notional += row.notional
            orders += [order for family in built for order in family.orders]
    return Preview(len(plan.rows), tuple(left_out), notional, tuple(orders))


def _total(rows: Iterable[PlanRow]) -> Decimal:
    return sum((row.notional for row in rows), start=Decimal(0))


def _in_cents(row: PlanRow) -> Contract:
    return Contract(con_id=ConId(0), symbol=row.symbol)
