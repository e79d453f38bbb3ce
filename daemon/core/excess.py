"""Closing orders that would take a position across zero: what must be cancelled."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from daemon.core.exposure import is_live_closing, signed_left
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
        if is_live_closing(record) and record.order.contract.con_id not in young:
            live.setdefault(record.order.contract.con_id, []).append(record)
    return tuple(
        record
        for con_id, orders in live.items()
        if _crosses(sum(map(signed_left, orders), Decimal(0)), held.get(con_id))
        for record in orders
    )


def _crosses(closing: Decimal, held: Decimal | None) -> bool:
    """Return whether *closing* shares take *held* to the other side of zero."""
    after = (held or 0) + closing
    return after * held < 0 if held else after != 0
