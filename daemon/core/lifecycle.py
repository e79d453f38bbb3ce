"""The life of one order of ours, as a table: evidence in, new record out.

The broker's evidence is always accepted, also late, repeated and out of order;
only what we conclude ourselves can be illegal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from enum import Enum, auto
from typing import assert_never

from daemon.core.executions import latest, shares
from daemon.core.model import (
    CompletedOrder,
    Fill,
    Notice,
    OrderRecord,
    OrderState,
    OrderUpdate,
    PermId,
    WorkingOrder,
)
from daemon.core.notices import ANSWERS_TO_CANCEL, Disposition, classify
from daemon.errors import InvariantViolated

OrderEvent = OrderUpdate | WorkingOrder | Fill | CompletedOrder | Notice


class Signal(Enum):
    """What one piece of the broker's evidence says of an order."""

    SEEN = auto()
    """The broker knows the order, but does not say that it works."""
    LIVE = auto()
    """It works at the broker (PreSubmitted, Submitted)."""
    ENDING = auto()
    """A cancel is under way; until it is answered the order can fill."""
    EXECUTED = auto()
    """A part of it was executed."""
    FILLED = auto()
    CANCELLED = auto()
    REFUSED = auto()
    CONTESTED = auto()
    """Something was said that leaves open whether it lives."""


_STATUSES = {
    "PendingSubmit": Signal.SEEN,
    "ApiPending": Signal.SEEN,
    "PreSubmitted": Signal.LIVE,
    "Submitted": Signal.LIVE,
    "PendingCancel": Signal.ENDING,
    "PreCancelled": Signal.ENDING,
    "ApiCancelled": Signal.CANCELLED,
    "Cancelled": Signal.CANCELLED,
    "Filled": Signal.FILLED,
    "Inactive": Signal.REFUSED,
}
"""IBKR's statuses; others (WarnState) say nothing about life or death."""

_DISPOSITIONS = {
    Disposition.REJECTED: Signal.REFUSED,
    Disposition.CANCELLED: Signal.CANCELLED,
    Disposition.FILLED: Signal.FILLED,
    Disposition.UNKNOWN: Signal.CONTESTED,
}
"""What notices do to an order; the other dispositions leave it alone."""

_S = OrderState
_YOUNG = (_S.INTENDED, _S.SENT)
_UNRESOLVED = (*_YOUNG, _S.ACKNOWLEDGED, _S.WORKING, _S.UNKNOWN)

_ALIVE = (_S.ACKNOWLEDGED, _S.WORKING)
_DOUBTFUL = (_S.UNKNOWN, *(state for state in _S if state.terminal))

_NEXT: dict[tuple[OrderState, Signal], OrderState] = {
    **{(state, Signal.SEEN): _S.ACKNOWLEDGED for state in (*_YOUNG, _S.UNKNOWN)},
    # Live again after "Cancelled" or "Inactive": the broker's truth wins (B8).
    **{(state, Signal.LIVE): _S.WORKING for state in _S if state is not _S.FILLED},
    **{(state, Signal.ENDING): _S.WORKING for state in (*_UNRESOLVED, _S.EXPIRED)},
    # A partial fill after Cancelled is legal and carried; it revives nothing.
    **{(state, Signal.EXECUTED): _S.WORKING for state in (*_UNRESOLVED, _S.EXPIRED)},
    (_S.REJECTED, Signal.EXECUTED): _S.WORKING,
    **{(state, Signal.FILLED): _S.FILLED for state in _S},
    **{(state, Signal.CANCELLED): _S.CANCELLED for state in (*_UNRESOLVED, _S.EXPIRED)},
    **{(state, Signal.REFUSED): _S.REJECTED for state in (*_UNRESOLVED, _S.EXPIRED)},
    **{(state, Signal.CONTESTED): _S.UNKNOWN for state in _UNRESOLVED},
}
"""Pairs that are not listed leave the state as it is: repeated or stale evidence."""

_CONCLUSIONS: dict[OrderState, frozenset[OrderState]] = {
    _S.INTENDED: frozenset({_S.SENT, _S.UNKNOWN, _S.EXPIRED}),
    _S.SENT: frozenset({_S.UNKNOWN}),
    _S.ACKNOWLEDGED: frozenset({_S.UNKNOWN}),
    _S.WORKING: frozenset({_S.UNKNOWN}),
    _S.UNKNOWN: frozenset({_S.CANCELLED, _S.EXPIRED}),
    _S.FILLED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
}
"""What we may conclude without new evidence; out of UNKNOWN only proven absence."""

_WEIGHT = {
    Disposition.UNKNOWN: 1,
    Disposition.CANCELLED: 2,
    Disposition.FILLED: 2,
    Disposition.REJECTED: 3,
}
"""Which code a record keeps: the one that ended the order (B9: 354, not 10349)."""


def advance(record: OrderRecord, event: OrderEvent) -> OrderRecord:
    """Return *record* after *event*; the same event twice changes nothing more.

    Raises:
        InvariantViolated: the event belongs to another order (a routing bug).
    """
    _check_belongs(record, event)
    match event:
        case Notice():
            return _noticed(record, event)
        case Fill():
            return _executed(record, event)
        case OrderUpdate():
            return _told(record, event.perm_id, event.status, event.filled)
        case WorkingOrder():
            return _told(record, event.perm_id, event.status, event.filled)
        case CompletedOrder():
            return _told(record, event.perm_id, event.status, event.filled)
    assert_never(event)


def replay(record: OrderRecord, events: Iterable[OrderEvent]) -> OrderRecord:
    """Return *record* after all *events*, in their order."""
    for event in events:
        record = advance(record, event)
    return record


def conclude(record: OrderRecord, state: OrderState, text: str = "") -> OrderRecord:
    """Return *record* in a *state* that we conclude ourselves, without new evidence.

    Raises:
        InvariantViolated: the broker's evidence already says otherwise.
    """
    if state is record.state:
        return record
    if state not in _CONCLUSIONS[record.state]:
        raise InvariantViolated(
            f"{record.order_ref} is {record.state}: only the broker's evidence can"
            f" make it {state}"
        )
    return replace(record, state=state, text=text or record.text)


def acknowledged(record: OrderRecord) -> bool:
    """Return whether the broker has answered: a perm id and a state, or an end."""
    return record.state.terminal or (
        record.perm_id != 0 and record.state in {_S.ACKNOWLEDGED, _S.WORKING}
    )


def cancel_answered(record: OrderRecord) -> bool:
    """Return whether no further answer to a cancel will come.

    "Not found" (10147) is an answer but no proof of death: such a record is
    unknown until a fresh list of open orders resolves it.
    """
    return record.state.terminal or (
        record.state is _S.UNKNOWN and record.code in ANSWERS_TO_CANCEL
    )


def _check_belongs(record: OrderRecord, event: OrderEvent) -> None:
    if isinstance(event, Notice):
        belongs = event.order_id == record.order_id
    elif event.order_ref:
        belongs = event.order_ref == record.order_ref
    else:
        same_id = event.perm_id and event.perm_id == record.perm_id
        belongs = same_id or (
            not isinstance(event, CompletedOrder) and event.order_id == record.order_id
        )
    if not belongs:
        raise InvariantViolated(f"{event!r} does not belong to {record.order_ref}")


def _told(
    record: OrderRecord, perm_id: PermId, status: str, filled: Decimal
) -> OrderRecord:
    record = replace(
        record,
        perm_id=record.perm_id or perm_id,
        filled=max(record.filled, filled),
    )
    signal = _STATUSES.get(status)
    if signal in {Signal.SEEN, Signal.LIVE} and not record.perm_id:
        signal = None  # only what carries a perm id has reached the broker
    return _moved(record, signal)


def _executed(record: OrderRecord, fill: Fill) -> OrderRecord:
    executions = latest((*record.executions, fill))
    if executions == record.executions:
        return record
    record = replace(
        record,
        executions=executions,
        perm_id=record.perm_id or fill.perm_id,
        filled=max(record.filled, shares(executions)),
    )
    return _moved(record, Signal.EXECUTED)


def _noticed(record: OrderRecord, notice: Notice) -> OrderRecord:
    if (notice.code, notice.text) == (record.code, record.text):
        return record
    # An order that was acknowledged before it became unknown may still work.
    contested = record.state is _S.UNKNOWN and record.perm_id
    state = _S.WORKING if contested else record.state
    disposition = classify(notice.code, notice.text, state)
    moved = _moved(record, _DISPOSITIONS.get(disposition))
    if moved.state is _S.CANCELLED and not moved.filled:
        # The refusal that explains an end told before it (Cancelled, then 354).
        refused = disposition is Disposition.REJECTED
        moved = replace(moved, state=_S.REJECTED) if refused else moved
    if _heavier(record, disposition):
        return replace(moved, code=notice.code, text=notice.text)
    return moved


def _heavier(record: OrderRecord, disposition: Disposition) -> bool:
    if record.code is None:
        return True
    kept = _WEIGHT.get(classify(record.code, record.text, _S.SENT), 0)
    weight = _WEIGHT.get(disposition, 0)
    return weight > kept or (weight == kept and not record.state.terminal)


def _moved(record: OrderRecord, signal: Signal | None) -> OrderRecord:
    state = record.state
    if signal is Signal.REFUSED and record.filled:
        signal = Signal.CANCELLED  # what has executed was not refused
    if signal is not None:
        state = _NEXT.get((state, signal), state)
    if record.filled >= record.order.quantity:
        state = _S.FILLED
    left = max(record.order.quantity - record.filled, Decimal(0))
    moved = replace(
        record, state=state, remaining=Decimal(0) if state is _S.FILLED else left
    )
    if record.state in _DOUBTFUL and state in _ALIVE:
        # What was said of its end no longer holds; said again, it counts again.
        return replace(moved, code=None, text="")
    return moved
