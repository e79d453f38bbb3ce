"""What is open by the last complete answer, while nobody answers."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from daemon.core import refs
from daemon.core.executions import latest
from daemon.core.lifecycle import acknowledged
from daemon.core.model import Fill, Leg, OrderRecord, Snapshot
from daemon.core.rules import TradingRules

_CLOSING = frozenset({Leg.MARKET_ON_CLOSE, Leg.MARKET})


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
    for symbol, shares in _closing_shares(records).items():
        held[symbol] = held.get(symbol, Decimal(0)) + shares
    return {
        symbol: int(shares)
        for symbol, shares in sorted(held.items())
        if int(shares) and not rules.ignores(symbol)
    }


def _signed(fill: Fill) -> Decimal:
    return fill.side.sign * fill.quantity


def _closing_shares(records: Iterable[OrderRecord]) -> dict[str, Decimal]:
    """Return the signed shares that accepted closing orders will still trade."""
    shares: dict[str, Decimal] = {}
    for record in records:
        ref = refs.parse(record.order_ref)
        if ref is None or ref.leg not in _CLOSING:
            continue
        if acknowledged(record) and not record.state.terminal:
            left = record.order.side.sign * (record.order.quantity - record.filled)
            symbol = record.order.contract.symbol
            shares[symbol] = shares.get(symbol, Decimal(0)) + left
    return shares
