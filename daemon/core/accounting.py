"""What became of a plan row: submitted, refused or unknown, from its orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from daemon.core import refs
from daemon.core.lifecycle import acknowledged
from daemon.core.model import (
    Leg,
    OrderRecord,
    OrderState,
    RowOutcome,
    RowStatus,
)
from daemon.core.reconcile import last_attempt


class Row(Protocol):
    """What names a row of the plan."""

    @property
    def line(self) -> int:
        """Return its line, the header counted."""

    @property
    def symbol(self) -> str:
        """Return its symbol."""


def account_row(row: Row, records: Sequence[OrderRecord]) -> RowOutcome:
    """Return the outcome of *row* from the *records* of all its orders.

    A row is refused when no entry of it stands at the broker; a single refused
    exit leaves it submitted and is named in the reason. Of a bracket that was sent
    again the last attempt counts.
    """
    records = last_attempt(records)
    unheard = [r for r in records if not acknowledged(r)]
    if unheard or not records:
        names = ", ".join(_leg(r) for r in unheard) or "no order"
        return _outcome(row, RowStatus.UNKNOWN, f"no answer for {names}")
    reason = "; ".join([*_again(records), *map(_why, filter(_never_worked, records))])
    entries = [r for r in records if _is_entry(r)]
    if all(_never_worked(r) for r in entries):
        return _outcome(row, RowStatus.REFUSED, reason)
    return _outcome(row, RowStatus.SUBMITTED, reason)


def _again(records: Iterable[OrderRecord]) -> list[str]:
    """Return the brackets that are at the broker only by a later attempt."""
    parsed = [ref for r in records if _is_entry(r) and (ref := refs.parse(r.order_ref))]
    return [
        f"{ref.bracket} sent again (attempt {ref.attempt})"
        for ref in parsed
        if ref.attempt > 1
    ]


def _never_worked(record: OrderRecord) -> bool:
    """Return whether the broker refused the order, or provably never had it."""
    absent = record.state is OrderState.CANCELLED and not record.perm_id
    return record.state is OrderState.REJECTED or absent


def _why(record: OrderRecord) -> str:
    if record.state is OrderState.REJECTED:
        return f"{_leg(record)} refused: {record.code} {record.text}"
    return f"{_leg(record)} never reached the broker ({record.code})"


def tally(outcomes: Iterable[RowOutcome]) -> dict[str, int]:
    """Return how many rows ended in each status; their sum is all rows.

    >>> tally([RowOutcome(2, "LH", RowStatus.SUBMITTED)])["submitted"]
    1
    """
    counts = dict.fromkeys((status.value for status in RowStatus), 0)
    for outcome in outcomes:
        counts[outcome.status.value] += 1
    return counts


def _is_entry(record: OrderRecord) -> bool:
    ref = refs.parse(record.order_ref)
    return ref is not None and ref.leg is Leg.ENTRY


def _leg(record: OrderRecord) -> str:
    ref = refs.parse(record.order_ref)
    return record.order_ref if ref is None else f"{ref.bracket} {ref.leg}"


def _outcome(row: Row, status: RowStatus, reason: str) -> RowOutcome:
    return RowOutcome(row.line, row.symbol, status, reason)
