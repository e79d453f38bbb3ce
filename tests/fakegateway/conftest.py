from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from zoneinfo import ZoneInfo

import pytest

from daemon.fakegateway.frames import frame
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings
from daemon.fakegateway.prices import Prices, Waypoint
from daemon.fakegateway.session import GatewayProtocol
from daemon.fakegateway.values import (
    Broadcast,
    BrokerOrder,
    Contract,
    Executed,
    GatewaySettings,
    MarketSession,
    OrderChanged,
    OrderError,
    OrderTicket,
    StatusChanged,
    WorldEvent,
)
from daemon.fakegateway.world import World

NEW_YORK = ZoneInfo("America/New_York")
DAY = date(2026, 2, 19)


@dataclass
class Call:
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


@dataclass
class ManualClock:
    """Time moves only in run_until; equal instants run in the order of asking."""

    at: datetime
    heap: list[tuple[datetime, int, Call]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)
    calls: int = 0

    def now(self) -> datetime:
        return self.at

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Call:
        return self.call_at(self.at + timedelta(seconds=delay_s), callback)

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Call:
        call = Call(callback)
        heapq.heappush(self.heap, (max(when, self.at), next(self.numbers), call))
        return call

    def run_until(self, when: datetime) -> None:
        while self.heap and self.heap[0][0] <= when:
            moment, _, call = heapq.heappop(self.heap)
            if call.callback is not None:
                self.at = moment
                self.calls += 1
                call.callback()
        self.at = when

    @property
    def pending(self) -> int:
        return sum(call.callback is not None for _, _, call in self.heap)


def session_of(day: date, close: time = time(16)) -> MarketSession:
    return MarketSession(
        day,
        datetime.combine(day, time(9, 30), NEW_YORK).astimezone(UTC),
        datetime.combine(day, close, NEW_YORK).astimezone(UTC),
    )


class Quiet:
    """A log that nobody reads."""

    def info(self, _event: str, **_fields: object) -> None: ...

    warning = info


class Line(asyncio.Transport):
    """A client's connection to the gateway, as bytes; message fields by a bar."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.told = b""
        self.waiting = b""
        self.ended = ""
        self.reading = True
        self.gateway = GatewayProtocol(world, log=Quiet())
        self.gateway.connection_made(self)

    def start(self, client_id: int) -> list[str]:
        self.feed(b"API\0\0\0\0\x09v157..178")
        self.read()
        return self.ask(f"71|2|{client_id}|")

    def ask(self, message: str) -> list[str]:
        self.feed(frame(*message.split("|")))
        return self.read()

    def feed(self, data: bytes) -> None:
        self.waiting += data
        if self.reading and not self.ended:
            data, self.waiting = self.waiting, b""
            self.gateway.data_received(data)

    def read(self) -> list[str]:
        messages = []
        while self.told:
            end = 4 + int.from_bytes(self.told[:4], "big")
            messages.append(self.told[4 : end - 1].decode().replace("\0", "|"))
            self.told = self.told[end:]
        return messages

    def kinds(self) -> list[str]:
        """Return the ids of the messages since the last read; errors by code."""
        split = [message.split("|") for message in self.read()]
        return [f"4:{one[3]}" if one[0] == "4" else one[0] for one in split]

    # --- the gateway's side ---------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told += bytes(data)

    def is_closing(self) -> bool:
        return bool(self.ended)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.feed(b"")

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("reset")

    def _end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            self.gateway.connection_lost(None)


class Stage:
    """A world at 09:35 New York on 2026-02-19, AAPL flat at 100.00 unless told."""

    def __init__(
        self,
        *,
        at: str = "09:35:00",
        path: tuple[tuple[str, str], ...] = (),
        symbol: str = "AAPL",
        seed: int = 1,
        sessions: tuple[MarketSession, ...] | None = None,
        settings: GatewaySettings | None = None,
    ) -> None:
        self.clock = ManualClock(moment(at))
        self.ledger = Ledger()
        self.heard: dict[int, list[WorldEvent]] = {}
        waypoints = [Waypoint(time.fromisoformat(t), Decimal(p)) for t, p in path]
        self.world = World(
            clock=self.clock,
            sessions=sessions or (session_of(DAY), session_of(date(2026, 2, 20))),
            listings=default_listings(),
            settings=settings or GatewaySettings(partial_fills=False),
            prices=Prices(
                seed,
                bases={"AAPL": Decimal(100), "WEC": Decimal(100)},
                waypoints={symbol: waypoints},
                sigma=0,
            ),
            ledger=self.ledger,
            seed=seed,
        )
        self.connect(7)

    def connect(self, client_id: int) -> bool:
        heard = self.heard.setdefault(client_id, [])
        return self.world.attach(client_id, heard.append)

    def wire(self) -> Line:
        return Line(self.world)

    def hear_anew(self, client_id: int = 7) -> None:
        """Forget what *client_id* has heard so far."""
        self.heard[client_id].clear()

    def run_to(self, text: str, day: date = DAY) -> None:
        self.clock.run_until(moment(text, day))

    def run_for(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now() + timedelta(seconds=seconds))

    def place(self, order_id: int, text: str, client_id: int = 7, **more) -> None:
        """Place what *text* says: `BUY 100 LMT 99.50`."""
        self.world.place(client_id, ticket(order_id, text, **more))

    def bracket(self, entry: str = "BUY 100 LMT 100.01", **more) -> None:
        """Place a family: 1 entry, 2 take-profit 102, 3 stop 98."""
        quantity = entry.split()[1]
        self.place(1, entry, transmit=False)
        self.place(2, f"SELL {quantity} LMT 102", parent_id=1, transmit=False, **more)
        self.place(3, f"SELL {quantity} STP 98", parent_id=1, **more)

    # --- what was heard and written -------------------------------------------

    def talk(self, client_id: int = 7) -> list[str]:
        return [spell(event) for event in self.heard[client_id]]

    def statuses(self, order_id: int, client_id: int = 7) -> list[str]:
        return [
            event.order.status
            for event in self.heard[client_id]
            if isinstance(event, StatusChanged) and event.order.order_id == order_id
        ]

    def errors(self, order_id: int, client_id: int = 7) -> list[int]:
        return [
            event.refusal.code
            for event in self.heard[client_id]
            if isinstance(event, OrderError) and event.order_id == order_id
        ]

    def error_text(self, order_id: int) -> str:
        return self.error_texts(order_id)[0]

    def error_texts(self, order_id: int) -> list[str]:
        return [
            event.refusal.text
            for event in self.heard[7]
            if isinstance(event, OrderError) and event.order_id == order_id
        ]

    def fills(self, order_id: int) -> list[tuple[str, str, str]]:
        """Return (New York time, shares, price) of each execution."""
        return [
            (
                f"{event.execution.time.astimezone(NEW_YORK):%H:%M:%S}",
                str(event.execution.shares),
                str(event.execution.price),
            )
            for event in self.heard[7]
            if isinstance(event, Executed) and event.execution.order_id == order_id
        ]

    def open(self, client_id: int = 7) -> dict[int, BrokerOrder]:
        return {one.order_id: one for one in self.world.open_orders(client_id)}

    def written(self, event: str, *fields: str) -> list[tuple[object, ...]]:
        return [
            tuple(record[name] for name in fields)
            for record in self.ledger.records
            if record["event"] == event
        ]

    @property
    def position(self) -> str:
        """Return the true position of AAPL, by the ledger."""
        return next(
            (
                str(record["quantity"])
                for record in reversed(self.ledger.records)
                if record["event"] == "position" and record["symbol"] == "AAPL"
            ),
            "0",
        )


def moment(text: str, day: date = DAY) -> datetime:
    return datetime.combine(day, time.fromisoformat(text), NEW_YORK).astimezone(UTC)


def ticket(order_id: int, text: str, **more) -> OrderTicket:
    side, quantity, kind, *price = text.split()
    prices = [Decimal(p) for p in price] or [None]
    made = OrderTicket(
        order_id=order_id,
        contract=Contract(
            symbol=more.pop("symbol", "AAPL"), exchange=more.pop("exchange", "SMART")
        ),
        action=side,
        quantity=Decimal(quantity),
        order_type=kind,
        limit_price=prices[0] if kind == "LMT" else None,
        aux_price=prices[0] if kind == "STP" else None,
        tif="DAY",
        account="DU1234567",
        order_ref=f"ref-{order_id}",
    )
    return replace(made, **more)


def spell(event: WorldEvent) -> str:
    match event:
        case OrderChanged(order):
            known = (
                "" if order.commission is None else f" commission {order.commission}"
            )
            return f"openOrder {order.order_id} {order.status}{known}"
        case StatusChanged(order):
            held = f" {order.why_held}" if order.why_held else ""
            return f"orderStatus {order.order_id} {order.status}{held}"
        case OrderError(_, order_id, refusal):
            return f"error {order_id} {refusal.code}"
        case Broadcast(refusal):
            return f"notice {refusal.code}"
        case Executed(execution):
            return f"execDetails {execution.order_id} {execution.shares}"
        case _:
            return type(event).__name__


@pytest.fixture
def stage() -> Callable[..., Stage]:
    return Stage


@pytest.fixture
def ticket_of() -> Callable[..., OrderTicket]:
    return ticket
