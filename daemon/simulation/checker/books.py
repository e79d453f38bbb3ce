"""The broker's side as the ledger tells it: orders, positions, and their past."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Generic, TypeVar

from daemon.simulation.checker.records import Record
from daemon.simulation.checker.references import Reference, read_reference
from daemon.simulation.checker.values import CheckError

T = TypeVar("T")
Key = tuple[str, int]
"""Account and con id."""
ZERO = Decimal(0)
BEARING = timedelta(hours=12)
"""Orders that have ended bear on new ones for as long as this."""
DONE = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})
NOTICES = frozenset({399, 404, 434, 10349, 2102, 2109, 2137})
"""Errors on an order id that end nothing."""
SIGNS = {"BUY": 1, "SELL": -1}


class History(Generic[T]):
    """A value and what it was after each earlier record."""

    def __init__(self, first: T) -> None:
        self._when = [-1]
        self._values = [first]

    @property
    def now(self) -> T:
        """Return the latest value."""
        return self._values[-1]

    def put(self, when: int, value: T) -> None:
        """Note *value* from record *when* on."""
        self._when.append(when)
        self._values.append(value)

    def at(self, when: int) -> T:
        """Return the value after record *when*."""
        return self._values[bisect_right(self._when, when) - 1]

    def since_at(self, when: int) -> int:
        """Return the record that brought the value after record *when*."""
        return self._when[bisect_right(self._when, when) - 1]


@dataclass(eq=False, slots=True)
class Order:
    """One order as it arrived, and what became of it."""

    number: int
    """The record that brought it, in the order of the ledger."""
    at: datetime
    client_id: int
    order_id: int
    perm_id: int
    ref: str
    meaning: Reference | None
    key: Key
    symbol: str
    sign: int
    order_type: str
    parent_id: int
    oca_group: str
    asked: History[Decimal]
    """The quantity that its sender wants."""
    quantity: History[Decimal]
    """The quantity that the broker works."""
    filled: History[Decimal] = field(default_factory=lambda: History(ZERO))
    ended: History[bool] = field(default_factory=lambda: History(first=False))
    opens: bool = False
    """Whether it bought, when it came, where there was nothing to buy back."""
    released: bool = False
    cancel_asked: bool = False
    parent: Order | None = None
    children: list[Order] = field(default_factory=list)
    unconfirmed: tuple[Decimal, Decimal] | None = None
    """What was asked and worked before a modification that is not yet answered."""

    @property
    def is_entry(self) -> bool:
        """Return whether its reference calls it an entry, of any bracket.

        A reference that cannot be read says nothing: then its doing counts. Entries
        buy, so that a sale where nothing is held stays an exit of nothing.
        """
        return self.opens if self.meaning is None else self.meaning.leg == "EN"

    @property
    def working(self) -> bool:
        """Return whether the broker holds it, transmitted and not done."""
        return self.released and not self.ended.now

    @property
    def never_reached_the_market(self) -> bool:
        """Return whether it is over and proven never to have been transmitted."""
        return self.ended.now and not self.released and not self.filled.now

    def __str__(self) -> str:
        side = "BUY" if self.sign > 0 else "SELL"
        name = self.ref or f"order {self.order_id} of client {self.client_id}"
        return f"{name} ({side} {self.asked.now} {self.symbol})"


@dataclass(frozen=True, slots=True)
class Session:
    """One market session."""

    date: date
    open: datetime
    close: datetime


class Books:
    """All orders and positions after the records that were applied."""

    def __init__(self) -> None:
        self.sessions: dict[date, Session] = {}
        self.connected: set[int] = set()
        self.sees_connections = False
        self.down_since: dict[int, datetime] = {}
        self.symbols: dict[int, str] = {}
        self.orders: list[Order] = []
        self.placed_in: defaultdict[Key, list[Order]] = defaultdict(list)
        self.executions: dict[str, tuple[Order | None, Decimal]] = {}
        self.executed_by: defaultdict[tuple[int, Key], Decimal] = defaultdict(Decimal)
        self._positions: dict[Key, History[Decimal]] = {}
        self._by_perm: dict[int, Order] = {}
        self._by_id: defaultdict[tuple[int, int], list[Order]] = defaultdict(list)
        self._read: dict[str, Callable[[int, Record], Iterable[Order]]] = {
            "session": self._session,
            "listing": self._listing,
            "connected": self._connected,
            "disconnected": self._disconnected,
            "placed": self._placed,
            "modified": self._modified,
            "released": self._released,
            "status": self._status,
            "cancel_requested": self._cancel_requested,
            "global_cancel": self._global_cancel,
            "order_error": self._order_error,
            "discarded": self._discarded,
            "executed": self._executed,
            "position": self._position,
        }

    def apply(self, number: int, record: Record) -> list[Order]:
        """Take *record* in as the *number*-th; return the orders that it concerns."""
        reader = self._read.get(record.event)
        return [] if reader is None else list(reader(number, record))

    def position(self, key: Key) -> History[Decimal]:
        """Return the true position in shares, signed, with its past."""
        return self._positions.setdefault(key, History(ZERO))

    def positions(self) -> dict[Key, Decimal]:
        """Return all positions as they are now."""
        return {key: history.now for key, history in self._positions.items()}

    def order(self, perm_id: int) -> Order | None:
        """Return the order with *perm_id*, None if it was never placed."""
        return self._by_perm.get(perm_id)

    # --- the events ---------------------------------------------------------------

    def _session(self, number: int, record: Record) -> Iterable[Order]:
        del number
        day = record.day("date")
        self.sessions[day] = Session(
            day, record.instant("open"), record.instant("close")
        )
        return ()

    def _listing(self, number: int, record: Record) -> Iterable[Order]:
        del number
        self.symbols[record.whole("con_id")] = record.text("symbol")
        return ()

    def _connected(self, number: int, record: Record) -> Iterable[Order]:
        del number
        self.sees_connections = True
        self.connected.add(record.whole("client_id"))
        self.down_since.pop(record.whole("client_id"), None)
        return self._of_client(record)

    def _disconnected(self, number: int, record: Record) -> Iterable[Order]:
        del number
        self.connected.discard(record.whole("client_id"))
        self.down_since[record.whole("client_id")] = record.at
        return self._of_client(record)

    def _of_client(self, record: Record) -> Iterable[Order]:
        client_id = record.whole("client_id")
        return [
            one for one in self.orders if one.working and one.client_id == client_id
        ]

    def _placed(self, number: int, record: Record) -> Iterable[Order]:
        order = _order(number, record)
        parents = self._by_id.get((order.client_id, order.parent_id), [])
        if order.parent_id and parents:
            order.parent = parents[-1]
            order.parent.children.append(order)
        held = self.position(order.key).now
        order.opens = order.sign > 0 and held >= 0
        self.symbols[order.key[1]] = order.symbol
        self.orders.append(order)
        self.placed_in[order.key] = [
            one
            for one in self.placed_in[order.key]
            if not one.ended.now or order.at - one.at < BEARING
        ]
        self.placed_in[order.key].append(order)
        self._by_perm[order.perm_id] = order
        self._by_id[order.client_id, order.order_id].append(order)
        return (order,)

    def _modified(self, number: int, record: Record) -> Iterable[Order]:
        order = self._by_perm.get(record.whole("perm_id"))
        if order is None:
            raise CheckError(
                f"ledger line {record.number}: modified an order that was never placed"
            )
        order.unconfirmed = (order.asked.now, order.quantity.now)
        quantity = record.number_of("quantity")
        order.asked.put(number, quantity)
        order.quantity.put(number, quantity)
        return (order,)

    def _released(self, number: int, record: Record) -> Iterable[Order]:
        del number
        return self._change(record, lambda order: setattr(order, "released", True))

    def _status(self, number: int, record: Record) -> Iterable[Order]:
        def change(order: Order) -> None:
            done = record.text("status") in DONE
            if done != order.ended.now:
                order.ended.put(number, done)
            quantity = record.number_of("filled") + record.number_of("remaining")
            if not done and quantity != order.quantity.now:
                order.quantity.put(number, quantity)
            order.unconfirmed = None

        return self._change(record, change)

    def _cancel_requested(self, number: int, record: Record) -> Iterable[Order]:
        del number
        return self._change(record, lambda order: setattr(order, "cancel_asked", True))

    def _global_cancel(self, number: int, record: Record) -> Iterable[Order]:
        del number, record
        working = [one for one in self.orders if one.working]
        for order in working:
            order.cancel_asked = True
        return working

    def _order_error(self, number: int, record: Record) -> Iterable[Order]:
        """Read a refusal: of what was never released, or of a modification."""
        known = self._by_id.get(
            (record.whole("client_id"), record.whole("order_id")), []
        )
        if not known or _is_notice(record.whole("code")):
            return ()
        order = known[-1]
        if order.unconfirmed is not None:
            asked, quantity = order.unconfirmed
            order.asked.put(number, asked)
            order.quantity.put(number, quantity)
            order.unconfirmed = None
        elif not order.released and not order.ended.now:
            order.ended.put(number, value=True)
        return (order,)

    def _discarded(self, number: int, record: Record) -> Iterable[Order]:
        return self._change(record, lambda order: order.ended.put(number, value=True))

    def _executed(self, number: int, record: Record) -> Iterable[Order]:
        order = self._by_perm.get(record.whole("perm_id"))
        key = (record.text("account"), record.whole("con_id"))
        self.symbols[key[1]] = record.text("symbol")
        signed = _sign(record) * record.number_of("quantity")
        base, dot, _revision = record.text("exec_id").rpartition(".")
        name = base if dot else record.text("exec_id")
        _, before = self.executions.get(name, (None, ZERO))
        change = signed - before
        self.executions[name] = (order, signed)
        self.executed_by[record.whole("client_id"), key] += change
        self.position(key).put(number, self.position(key).now + change)
        if order is None:
            return self.placed_in[key]
        order.filled.put(number, order.filled.now + change * order.sign)
        return self.placed_in[key]

    def _position(self, number: int, record: Record) -> Iterable[Order]:
        key = (record.text("account"), record.whole("con_id"))
        self.symbols[key[1]] = record.text("symbol")
        self.position(key).put(number, record.number_of("quantity"))
        return self.placed_in[key]

    def _change(
        self, record: Record, change: Callable[[Order], None]
    ) -> Iterable[Order]:
        """Change the order of *record*; its children hang on it."""
        order = self._by_perm.get(record.whole("perm_id"))
        if order is None:
            return ()
        change(order)
        return (order, *order.children)


def _order(number: int, record: Record) -> Order:
    quantity = record.number_of("quantity")
    ref = str(record.fields.get("order_ref") or "")
    return Order(
        number=number,
        at=record.at,
        client_id=record.whole("client_id"),
        order_id=record.whole("order_id"),
        perm_id=record.whole("perm_id"),
        ref=ref,
        meaning=read_reference(ref),
        key=(str(record.fields.get("account") or ""), record.whole("con_id")),
        symbol=record.text("symbol"),
        sign=_sign(record),
        order_type=record.text("order_type"),
        parent_id=int(str(record.fields.get("parent_id") or 0)),
        oca_group=str(record.fields.get("oca_group") or ""),
        asked=History(quantity),
        quantity=History(quantity),
    )


def _sign(record: Record) -> int:
    sign = SIGNS.get(record.text("side"))
    if sign is None:
        raise CheckError(
            f"ledger line {record.number}: side is {record.text('side')!r},"
            " not BUY or SELL"
        )
    return sign


def _is_notice(code: int) -> bool:
    return code in NOTICES or 2100 <= code < 2200
