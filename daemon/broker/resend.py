"""10006 "Missing parent": a child that overtook its parent is sent once more.

The gateway may take up to 50 ms to know a parent, and refuses the child right behind
it. The same order goes out again under its own id: one intent, one reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from daemon.core.model import (
    BrokerEvent,
    Notice,
    Order,
    OrderId,
    OrderRef,
    OrderState,
    OrderUpdate,
    WorkingOrder,
)
from daemon.core.notices import Disposition, classify

MISSING_PARENT, DUPLICATE_ID = 10006, 103
AFTER_S = 0.05
"""A parent is known after at most 50 ms (IBKR: pause at most 50 ms before a child)."""
PATIENCE_S = 2.0
"""Without evidence that parent and stop live, the refusal stands after this."""
_KEPT_S = 30.0
_DEAD = frozenset(
    {"Cancelled", "ApiCancelled", "Inactive", "PendingCancel", "PreCancelled"}
)
_ENDS = frozenset({Disposition.REJECTED, Disposition.CANCELLED})


class Verdict(Enum):
    """What becomes of the refused children of one family."""

    SEND = auto()
    WAIT = auto()
    LEAVE = auto()


@dataclass(slots=True)
class Part:
    """One order of a family that went out on this connection."""

    order_id: OrderId
    order: Order
    seen: bool = False
    """Whether the gateway spoke of it as of an order that lives."""
    dead: bool = False
    refused: Notice | None = None
    """The 10006 that is kept back until it is decided."""
    sent_again: Notice | None = None
    """The refusal after which it went out again, for the only time."""


@dataclass(slots=True)
class FamilySent:
    """The orders of one call of `send`."""

    parts: list[Part]
    sent_at: float
    refused_at: float = 0.0

    def verdict(self, now: float) -> Verdict:
        """Return whether the refused children may go out again at *now*.

        None goes out that would transmit its parent without the last order, which
        is the stop: either that lives, or it goes out again behind the others.
        """
        last, parents = self.parts[-1], self._parents()
        if any(part.dead for part in (last, *parents, *self.waiting)):
            return Verdict.LEAVE
        if all(parent.seen for parent in parents) and (last.seen or last.refused):
            return Verdict.SEND
        overdue = now - self.refused_at >= PATIENCE_S
        return Verdict.LEAVE if overdue else Verdict.WAIT

    @property
    def waiting(self) -> list[Part]:
        """Return the refused children, in the order of the family."""
        return [part for part in self.parts if part.refused is not None]

    def take(self, now: datetime) -> list[tuple[OrderId, Order]]:
        """Return what goes out again at *now*, each for the only time.

        Once the last order lives the family is transmitted, and a child that comes
        later must transmit itself. What has expired is left.
        """
        live = self.parts[-1].seen
        again = []
        for part in self.waiting:
            if part.order.expires_at is not None and now > part.order.expires_at:
                continue
            part.refused, part.sent_again = None, part.refused
            order = replace(part.order, transmit=part.order.transmit or live)
            again.append((part.order_id, order))
        return again

    @property
    def ids(self) -> dict[OrderRef, OrderId]:
        """Return under which id each order went out."""
        return {part.order.order_ref: part.order_id for part in self.parts}

    def _parents(self) -> list[Part]:
        wanted = {part.order.parent_ref for part in self.waiting}
        return [part for part in self.parts if part.order.order_ref in wanted]


@dataclass(frozen=True, slots=True)
class Heard:
    """What one event of the gateway leads to."""

    tell: tuple[BrokerEvent, ...]
    settle: FamilySent | None = None
    """The family whose children may go out again."""


class Families:
    """What was sent on one connection, for as long as 10006 may come."""

    def __init__(self, client_id: int) -> None:
        self._client_id = client_id
        self._families: list[FamilySent] = []
        self._by_id: dict[int, tuple[FamilySent, Part]] = {}

    def __len__(self) -> int:
        return len(self._families)

    def sent(self, orders: Sequence[tuple[OrderId, Order]], now: float) -> None:
        """Remember a family that goes out now, and forget those long acknowledged."""
        self._forget_before(now - _KEPT_S)
        if any(order.parent_ref for _, order in orders):
            family = FamilySent([Part(*one) for one in orders], now)
            self._families.append(family)
            for part in family.parts:
                self._by_id[part.order_id] = family, part

    def cancelled(self, order_id: OrderId) -> None:
        """Never send again what we have asked to be cancelled."""
        if found := self._by_id.get(order_id):
            found[1].dead = True

    def heard(self, event: BrokerEvent, now: float) -> Heard:
        """Take *event*; a first refusal for want of a parent is not told yet."""
        found = self._find(event)
        if found is None:
            return Heard((event,))
        family, part = found
        match event:
            case WorkingOrder() | OrderUpdate():
                part.dead = part.dead or event.status in _DEAD
                part.seen = part.seen or not part.dead
            case Notice():
                return self._noticed(family, part, event, now)
            case _:
                pass
        return Heard((event,))

    def _find(self, event: BrokerEvent) -> tuple[FamilySent, Part] | None:
        match event:
            case WorkingOrder() | OrderUpdate():
                ours = event.client_id == self._client_id
                return self._by_id.get(event.order_id) if ours else None
            case Notice():
                return self._by_id.get(event.order_id)
            case _:
                return None

    def _noticed(
        self, family: FamilySent, part: Part, notice: Notice, now: float
    ) -> Heard:
        first = notice.code == MISSING_PARENT and part.sent_again is None
        if first and part.order.parent_ref and not part.dead:
            begins = not family.waiting
            part.refused = notice
            family.refused_at = now if begins else family.refused_at
            return Heard((), family)
        if classify(notice.code, notice.text, OrderState.SENT) in _ENDS:
            part.dead = True
        if notice.code == DUPLICATE_ID and part.sent_again and not part.seen:
            # No other order lives under the id: it was ours, and was refused.
            return Heard((part.sent_again, notice))
        return Heard((notice,))

    def take_back(self, family: FamilySent) -> list[Notice]:
        """Return the notices of *family* that were kept back: they stand."""
        kept = []
        for part in family.waiting:
            if part.refused is not None:
                kept.append(part.refused)
            part.refused, part.sent_again = None, part.refused
        return kept

    def take_all_back(self) -> list[Notice]:
        """Return every notice that was kept back: the connection is over."""
        return [kept for one in self._families for kept in self.take_back(one)]

    def _forget_before(self, moment: float) -> None:
        old = [f for f in self._families if f.sent_at < moment and not f.waiting]
        for family in old:
            self._families.remove(family)
            for part in family.parts:
                self._by_id.pop(part.order_id, None)
