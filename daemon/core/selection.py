"""What policy lets through: which rows of the plan are submitted, and why not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from daemon.core.model import Funds, RowOutcome, RowStatus
from daemon.core.plan import PlanRow
from daemon.core.rules import TradingRules

_TAKEN = frozenset({RowStatus.SUBMITTED, RowStatus.UNKNOWN})
"""Outcomes after which the row's money must be counted as spent."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the broker and the books say at the moment of choosing.

    *held* and *working* are all symbols with a position and with a working order;
    *begun* those for which this session's journal already holds an intent: a row
    that was interrupted half-way is finished, its own orders do not stop it.
    *cumulative* is the cumulative net result in USD: zero without a history, None
    where the history cannot be read. *done* are the outcomes journaled before.
    """

    held: Collection[str]
    working: Collection[str]
    funds: Funds
    cumulative: Decimal | None
    begun: Collection[str] = ()
    done: tuple[RowOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows to submit and those left out, both in file order."""

    to_submit: tuple[PlanRow, ...]
    skipped: tuple[RowOutcome, ...]


def select_rows(
    rows: Iterable[PlanRow], now: Circumstances, rules: TradingRules
) -> Selection:
    """Return which of *rows* to submit; each row left out names its reason.

    Limits are spent in file order; a row that does not fit leaves room for a
    smaller one behind it. A row that ended before as submitted, unknown or refused
    is in neither list, one that was skipped before is judged again.
    """
    final = {
        outcome.symbol: outcome.status
        for outcome in now.done
        if outcome.status is not RowStatus.SKIPPED
    }
    to_submit: list[PlanRow] = []
    skipped: list[RowOutcome] = []
    spent = _Spent(Decimal(0), Decimal(0))
    for row in rows:
        status = final.get(row.symbol)
        if status is None and row.symbol not in now.begun:
            reason = next(_reasons(row, now, rules, spent), "")
            if reason:
                skipped.append(
                    RowOutcome(row.line, row.symbol, RowStatus.SKIPPED, reason)
                )
                continue
        if status is None:
            to_submit.append(row)
        if status is None or status in _TAKEN:
            spent = spent.with_row(row, held=row.symbol in now.held)
    return Selection(tuple(to_submit), tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Spent:
    """USD taken by the rows before: of the day's limit, and of the funds."""

    day: Decimal
    funds: Decimal

    def with_row(self, row: PlanRow, *, held: bool) -> _Spent:
        """Return the sums with *row*; what is held has left AvailableFunds already."""
        funds = self.funds if held else self.funds + row.notional
        return replace(self, day=self.day + row.notional, funds=funds)


def _reasons(
    row: PlanRow, now: Circumstances, rules: TradingRules, spent: _Spent
) -> Iterator[str]:
    """Yield why *row* is not submitted, the plainest reason first."""
    if row.quantity < 2:
        yield f"quantity {row.quantity} is below 2: it makes no two brackets"
    if rules.ignores(row.symbol):
        yield f"{row.symbol} is on the ignore list ({', '.join(rules.ignore)})"
    yield from _loss_reasons(now.cumulative, rules)
    if row.symbol in now.held:
        yield f"{row.symbol} has a position already"
    if row.symbol in now.working:
        yield f"{row.symbol} has a working order already"
    yield from _money_reasons(row, now.funds, rules, spent)


def _loss_reasons(cumulative: Decimal | None, rules: TradingRules) -> Iterator[str]:
    limit = f"the loss limit of {rules.loss_limit_usd} USD"
    if cumulative is None or not cumulative.is_finite():
        yield f"the cumulative result cannot be read: {limit} counts as reached"
    elif cumulative < -rules.loss_limit_usd:
        yield f"the cumulative result {cumulative} USD is beyond {limit}"


def _money_reasons(
    row: PlanRow, funds: Funds, rules: TradingRules, spent: _Spent
) -> Iterator[str]:
    cost = f"{row.quantity} x {row.limit_price} = {row.notional} USD"
    if row.notional > rules.row_limit_usd:
        yield f"{cost} is above the row limit of {rules.row_limit_usd} USD"
    if spent.day + row.notional > rules.day_limit_usd:
        yield (
            f"{cost} on top of {spent.day} USD is above the day limit"
            f" of {rules.day_limit_usd} USD"
        )
    if funds.available is None:
        yield "the gateway did not say what funds are available"
    elif spent.funds + row.notional > funds.available:
        yield (
            f"{cost} on top of {spent.funds} USD is above the available funds"
            f" of {funds.available} USD"
        )
