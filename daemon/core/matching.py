"""Whose order a piece of the broker's evidence speaks of."""

from __future__ import annotations

from collections.abc import Mapping

from daemon.core.model import (
    CompletedOrder,
    Fill,
    OrderId,
    OrderRef,
    OrderUpdate,
    PermId,
    WorkingOrder,
)

Evidence = OrderUpdate | WorkingOrder | Fill | CompletedOrder

NOBODYS = OrderRef("")
"""In a table of perm ids: the order is none of ours."""


def named_by(
    event: Evidence,
    *,
    by_perm: Mapping[PermId, OrderRef],
    by_id: Mapping[OrderId, OrderRef],
    client_id: int,
) -> OrderRef | None:
    """Return the reference of the order that *event* speaks of, None where not ours.

    A perm id that is known decides, unless the event carries another reference; then
    the reference, of our own client alone, because it is free text. Only an
    orderStatus carries none on the wire: it is found by our order id, unless its perm
    id is known to be another's (a gateway that forgot its sequence gives an id twice).
    Likeness (symbol, side, quantity, time) proves nothing and is never looked at.
    """
    ref = by_perm.get(event.perm_id)
    if ref == NOBODYS:
        return None
    if ref and event.order_ref in {"", ref}:
        return ref
    if isinstance(event, CompletedOrder):
        return event.order_ref or None
    if event.client_id != client_id:
        return None
    if event.order_ref or not isinstance(event, OrderUpdate):
        return event.order_ref or None
    return by_id.get(event.order_id)
