"""Closing orders that would take a position across zero: what must be cancelled."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from daemon.core.exposure import is_closing
from daemon.core.lifecycle import acknowledged
from daemon.core.model import Account, ConId, Fill, OrderRecord, Position


def excess_closing(
    records: Iterable[OrderRecord],
    positions: Iterable[Position],
    fills_since: Iterable[Fill],
    account: Account,
) -> tuple[OrderRecord, ...]:
    """Return our live closing orders of positions that have become smaller.

    Somebody closed by hand: whatever is too much is cancelled as a whole, and the
    next pass sends what is left. Where an execution is so young that the positions
    may lack it, nothing is concluded.
    """
    held = {p.con_id: p.quantity for p in positions if p.account == account}
    young = {fill.con_id for fill in fills_since}
    live: dict[ConId, list[OrderRecord]] = {}
    for record in records:
        if _is_live_closing(record) and record.order.contract.con_id not in young:
            live.setdefault(record.order.contract.con_id, []).append(record)
    return tuple(
        record
        for con_id, orders in live.items()
        if _signed(orders) + held.get(con_id, Decimal(0)) != 0
        and _crosses(_signed(orders), held.get(con_id, Decimal(0)))
        for record in orders
    )


def _is_live_closing(record: OrderRecord) -> bool:
    closing = is_closing(record.order_ref)
    return closing and acknowledged(record) and not record.state.terminal


def _signed(orders: Iterable[OrderRecord]) -> Decimal:
    return sum(
        (r.order.side.sign * (r.order.quantity - r.filled) for r in orders), Decimal(0)
    )


def _crosses(closing: Decimal, held: Decimal) -> bool:
    """Return whether *closing* shares take *held* to the other side of zero."""
    after = held + closing
    return held == 0 or after * held < 0
