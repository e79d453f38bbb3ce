"""What is open by the last complete answer, while nobody answers."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from daemon.core.executions import latest
from daemon.core.exposure import is_live_closing, signed_left
from daemon.core.model import Fill, OrderRecord, Snapshot
from daemon.core.rules import TradingRules


def uncovered(
    snapshot: Snapshot,
    fills: Iterable[Fill],
    records: Iterable[OrderRecord],
    rules: TradingRules,
) -> dict[str, int]:
    """Return the signed whole shares by symbol under no accepted closing order.

    *fills* are the executions that were journaled; those that the snapshot knew
    are in its positions already.
    """
    held: dict[str, Decimal] = {
        position.symbol: position.quantity
        for position in snapshot.positions
        if position.account == rules.account and position.sec_type == "STK"
    }
    known = {fill.key for fill in snapshot.fills}
    for fill in latest(fills):
        if fill.account == rules.account and fill.key not in known:
            held[fill.symbol] = held.get(fill.symbol, Decimal(0)) + _signed(fill)
    for record in filter(is_live_closing, records):
        symbol = record.order.contract.symbol
        held[symbol] = held.get(symbol, Decimal(0)) + signed_left(record)
    return {
        symbol: int(shares)
        for symbol, shares in sorted(held.items())
        if int(shares) and not rules.ignores(symbol)
    }


def _signed(fill: Fill) -> Decimal:
    return fill.side.sign * fill.quantity
