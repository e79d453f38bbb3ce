"""Which live orders may still close a position, and how many shares at most.

Law I3: every OCA family counts once, at its largest member; what is not proven
dead counts as live (C8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from daemon.core import refs
from daemon.core.lifecycle import acknowledged
from daemon.core.model import (
    Bracket,
    Leg,
    OrderRecord,
    OrderRef,
    OrderState,
    Position,
    Side,
    WorkingOrder,
)

_DEAD = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})
_CLOSING = frozenset({Leg.MARKET_ON_CLOSE, Leg.MARKET})
EXITS = frozenset({Leg.TAKE_PROFIT, Leg.STOP_LOSS, Leg.TIMED_EXIT})

Family = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """One order that may close *shares* of a position; a family fills only once."""

    family: Family
    shares: int
    ours: bool
    leg: Leg | None
    label: str
    """How a person finds it: our reference, or order id and client."""
    proven: bool = True
    """Whether the broker's list of open orders shows it."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The live closing orders of one position."""

    orders: tuple[LiveOrder, ...] = ()

    @property
    def shares(self) -> int:
        """Return how many shares may be closed at most, each family once."""
        return _largest(self.orders)

    @property
    def own_shares(self) -> int:
        """Return how many of them are under our own orders."""
        return _largest(order for order in self.orders if order.ours)


def is_closing(order_ref: str) -> bool:
    """Return whether an order of ours closes what is left (MOC, MKT)."""
    ref = refs.parse(order_ref)
    return ref is not None and ref.leg in _CLOSING


def is_live_closing(record: OrderRecord) -> bool:
    """Return whether the broker has accepted a closing order that is not done."""
    accepted = acknowledged(record) and not record.state.terminal
    return accepted and is_closing(record.order_ref)


def signed_left(record: OrderRecord) -> Decimal:
    """Return the signed shares that an order may still trade."""
    return record.order.side.sign * (record.order.quantity - record.filled)


def bracket_shares(
    records: Iterable[OrderRecord], symbol: str, bracket: Bracket | None = None
) -> Decimal:
    """Return the shares that entries of *symbol* bought less those that exits sold.

    Of one *bracket*, or of both.
    """
    net = Decimal(0)
    for record in records:
        ref = refs.parse(record.order_ref)
        if ref is None or ref.symbol != symbol or bracket not in {None, ref.bracket}:
            continue
        if ref.leg is Leg.ENTRY:
            net += record.filled
        elif ref.leg in EXITS:
            net -= record.filled
    return net


def unguarded_shares(stop: OrderRecord, records: Iterable[OrderRecord]) -> Decimal:
    """Return the shares of a bracket that have lost their *stop*; 0 once it closes."""
    ref = refs.parse(stop.order_ref)
    if ref is None:
        return Decimal(0)
    records = tuple(records)
    closing = any(
        record.order.contract.symbol == ref.symbol
        and is_closing(record.order_ref)
        and record.state is not OrderState.REJECTED
        for record in records
    )
    held = bracket_shares(records, ref.symbol, ref.bracket)
    return Decimal(0) if closing else max(held, Decimal(0))


def closing_side(position: Position) -> Side:
    """Return the side that brings *position* towards zero."""
    return Side.SELL if position.quantity > 0 else Side.BUY


def live_closing(
    position: Position,
    records: Iterable[OrderRecord],
    working: Iterable[WorkingOrder],
    client_id: int | None = None,
) -> Exposure:
    """Return every live or unproven order, of any client, that closes *position*.

    *client_id* is ours; without it every order with a reference of ours is.
    """
    listed = [order for order in working if _closes(order, position)]
    known = [record for record in records if _may_close(record, position)]
    shown = [_from_working(order, client_id) for order in listed]
    return Exposure((*shown, *_unlisted(known, listed)))


def describe(position: Position, exposure: Exposure) -> Iterator[str]:
    """Return what a person must know of *position* before closing by hand."""
    symbol, held = position.symbol, abs(position.quantity)
    for order in exposure.orders:
        if said := _said(order):
            yield f"{symbol}: {said}"
    if exposure.shares > _whole(held):
        yield (
            f"{symbol}: live closing orders for {exposure.shares} shares exceed the"
            f" position of {held}; cancel what is too much"
        )


def _said(order: LiveOrder) -> str:
    if not order.ours:
        return f"{order.shares} under {order.label} are not closed here"
    if order.leg is Leg.TIMED_EXIT:
        return (
            f"the broker closes {order.shares} one minute before the close;"
            f" cancel {order.label} before closing by hand"
        )
    if order.leg in _CLOSING and order.proven:
        return ""
    return (
        f"{order.shares} under {order.label} are not closed again:"
        " the order is not proven dead"
    )


def _largest(orders: Iterable[LiveOrder]) -> int:
    families: dict[Family, int] = {}
    for order in orders:
        families[order.family] = max(families.get(order.family, 0), order.shares)
    return sum(families.values())


def _closes(order: WorkingOrder, position: Position) -> bool:
    return (
        order.account == position.account
        and order.con_id == position.con_id
        and order.side is closing_side(position)
        and order.status not in _DEAD
    )


def _may_close(record: OrderRecord, position: Position) -> bool:
    # An intent that the fresh list does not show was never sent.
    return (
        record.order.account == position.account
        and record.order.contract.con_id == position.con_id
        and record.order.side is closing_side(position)
        and not record.state.terminal
        and record.state is not OrderState.INTENDED
    )


def _from_working(order: WorkingOrder, client_id: int | None) -> LiveOrder:
    """Return the order as ours only where our client id placed it.

    A reference is free text: somebody else's order may carry one of ours.
    """
    mine = client_id is None or order.client_id == client_id
    ref = refs.parse(order.order_ref) if mine else None
    return LiveOrder(
        family=_our_family(ref) or _foreign_family(order),
        shares=_whole(max(order.remaining, order.quantity - order.filled)),
        ours=ref is not None,
        leg=ref.leg if ref else None,
        label=str(order.order_ref)
        if ref
        else f"order {order.order_id} of client {order.client_id}",
    )


def _unlisted(
    records: Iterable[OrderRecord], listed: Iterable[WorkingOrder]
) -> Iterator[LiveOrder]:
    shown: set[OrderRef] = {order.order_ref for order in listed}
    for record in records:
        if record.order_ref in shown:
            continue
        ref = refs.parse(record.order_ref)
        yield LiveOrder(
            family=_our_family(ref) or ("record", record.order_ref),
            shares=_whole(record.order.quantity - record.filled),
            ours=True,
            leg=ref.leg if ref else None,
            label=f"{record.order_ref} ({record.state}, not among the open orders)",
            proven=False,
        )


def _our_family(ref: refs.Ref | None) -> Family | None:
    if ref is None or ref.leg not in EXITS:
        return None
    return ("bracket", ref.session, ref.symbol, ref.bracket, ref.attempt)


def _foreign_family(order: WorkingOrder) -> Family:
    if order.oca_group:
        return ("oca", order.client_id, order.oca_group)
    if order.parent_id:
        return ("parent", order.client_id, order.parent_id)
    return ("order", order.client_id, order.order_id, order.perm_id)


def _whole(shares: Decimal) -> int:
    return int(shares.to_integral_value(ROUND_CEILING))
