"""One small day of one session, over a wire that a test may cut, join or spoil.

The session connects, syncs, sends a bracket whose entry fills, sends one order more
and cancels it. What a fault leaves undone is done after the reconnect, by what the
gateway's own ledger says: so every run must end in the same state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.broker.events import TappedIB, quietly
from daemon.broker.requests import SessionSettings
from daemon.broker.session import GatewaySession
from daemon.clock import SystemClock
from daemon.core.model import (
    Account,
    BrokerEvent,
    ConId,
    Contract,
    Fill,
    Order,
    OrderId,
    OrderRef,
    OrderType,
    Side,
    Snapshot,
)
from daemon.errors import ConnectionLost
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.server import serve
from daemon.fakegateway.values import GatewaySettings, MarketSession
from daemon.fakegateway.world import World
from daemon.simulation.loop import VirtualLoop, run_virtual
from daemon.simulation.memory import Connection

START = datetime.fromisoformat("2026-02-19T10:00:00-05:00")
GATEWAY, RELAY = 4002, 4003
AAPL = Contract(con_id=ConId(265598), symbol="AAPL", primary_exchange="NASDAQ")
SESSION = MarketSession(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
EPOCH = datetime(2026, 2, 19, tzinfo=UTC)


def order(ref: str, side: Side, limit: str, **more: Any) -> Order:
    made = Order(
        order_ref=OrderRef(f"ibkrd:20260219:AAPL:{ref}"),
        account=Account("DU1234567"),
        contract=AAPL,
        side=side,
        quantity=33,
        order_type=OrderType.LIMIT,
        limit_price=Decimal(limit),
    )
    return replace(made, **more)


def bracket() -> list[tuple[OrderId, Order]]:
    entry = order("A:EN", Side.BUY, "100.50", transmit=False)
    parent = {"parent_ref": entry.order_ref}
    target = order("A:TP", Side.SELL, "105.00", transmit=False, **parent)
    stop = replace(
        order("A:SL", Side.SELL, "95.00", **parent),
        order_type=OrderType.STOP,
        limit_price=None,
        stop_price=Decimal("95.00"),
    )
    return [(OrderId(5), entry), (OrderId(6), target), (OrderId(7), stop)]


LONE = (OrderId(8), order("B:EN", Side.BUY, "90.00"))


@dataclass(frozen=True)
class State:
    """What gateway and daemon agree on at the end, without times."""

    positions: tuple[Any, ...]
    open_orders: tuple[Any, ...]
    completed: tuple[Any, ...]
    fills: tuple[Any, ...]
    commissions: tuple[Any, ...]

    @classmethod
    def of(cls, told: Snapshot) -> State:
        return cls(
            told.positions,
            tuple(sorted(told.open_orders, key=lambda o: o.order_id)),
            tuple(sorted(told.completed_orders, key=lambda o: o.perm_id)),
            tuple(replace(fill, time=EPOCH) for fill in told.fills),
            tuple(sorted(told.commissions, key=lambda c: c.exec_id)),
        )


@dataclass
class Played:
    """One run: what was heard, how it ended, what the gateway met."""

    heard: list[BrokerEvent] = field(default_factory=list)
    state: State | None = None
    failures: list[str] = field(default_factory=list)
    connects: int = 0
    placed: list[str] = field(default_factory=list)
    sent: bytes = b""
    """What the gateway sent on the first connection, where a relay listened."""
    received: bytes = b""

    @property
    def events(self) -> list[BrokerEvent]:
        """The events without the times of executions."""
        return [
            replace(event, time=EPOCH) if isinstance(event, Fill) else event
            for event in self.heard
        ]

    @property
    def evidence(self) -> set[str]:
        """What was said of orders and executions, each once."""
        return {repr(e) for e in self.events if not repr(e).startswith("LinkChange")}


class Spoil:
    """What a relay does with the gateway's bytes on the first connection."""

    def __init__(self, at: int, deed: Callable[[Relay], None]) -> None:
        self.at, self.deed = at, deed

    def pass_on(self, relay: Relay, data: bytes) -> None:
        done = len(relay.passed)
        if done <= self.at < done + len(data) and not relay.spoilt:
            relay.send(data[: self.at - done])
            relay.spoilt = True
            self.deed(relay)
            relay.send(data[self.at - done :])
        else:
            relay.send(data)


@dataclass
class Relay(asyncio.Protocol):
    """Stands between daemon and gateway: this is the daemon's side."""

    spoil: Spoil | None
    passed: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    spoilt: bool = False
    silent: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.daemon: Any = transport
        self._early = bytearray()
        self.gateway: Any = None
        loop = asyncio.get_running_loop()
        self._joining = loop.create_task(self._join(), name="relay")

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        self.gateway, _ = await loop.create_connection(
            lambda: Inside(self), "127.0.0.1", GATEWAY
        )
        self.gateway.write(bytes(self._early))
        if self.daemon.is_closing():
            self.gateway.close()

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.gateway is None:
            self._early += data
        else:
            self.gateway.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self.gateway is not None:
            self.gateway.close()

    def from_gateway(self, data: bytes) -> None:
        if self.spoil is None:
            self.send(data)
        else:
            self.spoil.pass_on(self, data)

    def send(self, data: bytes) -> None:
        self.passed += data
        if not self.silent:
            self.daemon.write(data)


class Inside(asyncio.Protocol):
    """The relay's side towards the gateway."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def data_received(self, data: bytes) -> None:
        self._relay.from_gateway(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._relay.silent:
            self._relay.daemon.close()


Tune = Callable[[Connection], None]


async def small_day(  # noqa: PLR0915 # one day from beginning to end
    *,
    tune: Tune = lambda _: None,
    relayed: bool = False,
    spoil: Spoil | None = None,
) -> Played:
    """Play the day; *tune* changes each new connection of the daemon."""
    played = Played()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    clock, ledger = SystemClock(), Ledger()
    world = World(
        clock=LoopClock(loop, clock.now()),
        sessions=[SESSION],
        listings=default_listings(),
        settings=GatewaySettings(partial_fills=False),
        prices=Prices(1, bases={"AAPL": Decimal(100)}, sigma=0),
        ledger=ledger,
        seed=1,
    )

    async def synced(_: Snapshot) -> None:
        pass

    session = GatewaySession(
        SessionSettings(
            host="127.0.0.1",
            port=RELAY if relayed else GATEWAY,
            client_id=10,
            account=Account("DU1234567"),
            messages_per_second=10_000,
        ),
        clock=clock,
        emit=played.heard.append,
        on_synced=synced,
        busy=lambda: True,
        jitter=Random(1),  # noqa: S311 # it spreads retries
    )

    def written(event: str) -> list[str]:
        return [r["order_id"] for r in ledger.records if r["event"] == event]

    async def insist(
        done: Callable[[], bool], do: Callable[[], Awaitable[Any]]
    ) -> None:
        while not done():
            with suppress(ConnectionLost):
                await session.wait_ready()
                await do()
            await asyncio.sleep(0.1)

    async def work() -> State:
        await insist(
            lambda: {5, 6, 7} <= set(written("placed")),
            lambda: session.send(bracket()),
        )
        await asyncio.sleep(3)
        await insist(lambda: 8 in written("placed"), lambda: session.send([LONE]))
        await asyncio.sleep(1)
        await insist(
            lambda: 8 in written("cancel_requested"),
            lambda: session.cancel(OrderId(8)),
        )
        await asyncio.sleep(4)
        while True:
            with suppress(ConnectionLost):
                await session.wait_ready()
                return State.of(await session.sync())
            await asyncio.sleep(0.1)

    relays: list[Relay] = []

    def relay() -> Relay:
        relays.append(Relay(None if relays else spoil))
        return relays[-1]

    loop.network.on_connect = tune
    reception = await serve(world, "127.0.0.1", GATEWAY)
    server = await loop.create_server(relay, "127.0.0.1", RELAY)
    running = loop.create_task(session.run(), name="session")
    try:
        with capture_logs() as logs:
            async with asyncio.timeout(600):
                played.state = await work()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        world.drop_clients()
        reception.close()
        server.close()
        await asyncio.sleep(0.1)
    played.failures = [e["cause"] for e in logs if e["event"] == "session.failed"]
    played.placed = [r["order_ref"] for r in ledger.records if r["event"] == "placed"]
    played.connects = sum(r["event"] == "connected" for r in ledger.records)
    if relays:
        played.sent = bytes(relays[0].passed)
        played.received = bytes(relays[0].received)
    return played


def play(**how: Any) -> Played:
    """Play one small day in a virtual loop of its own."""
    return run_virtual(lambda: small_day(**how), START)


@pytest.fixture(scope="session")
def play_small() -> Callable[..., Played]:
    return play


@pytest.fixture(scope="session")
def quiet_day() -> Played:
    """The day that nothing disturbs, through a relay that only listens."""
    return play(relayed=True)


@pytest.fixture(scope="session")
def spoil() -> type[Spoil]:
    return Spoil


@dataclass
class Reader:
    """What the daemon makes of a gateway's bytes, without a session."""

    told: list[BrokerEvent] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


class Deaf(asyncio.Transport):
    """A way out to nobody."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass


def read(*chunks: bytes) -> Reader:
    """Return what the daemon makes of *chunks* on a connection of its own."""
    reader = Reader()
    with closing(asyncio.new_event_loop()) as loop:
        asyncio.set_event_loop(loop)  # eventkit would make one and leave it open
        ib = TappedIB(
            reader.told.append, lambda _, exc: reader.doubts.append(repr(exc))
        )
        ib.guard.transport = Deaf()
        with quietly():
            for chunk in chunks:
                ib.guard.data_received(chunk)
            ib.guard.connection_lost(None)
        asyncio.set_event_loop(None)
    return reader


@pytest.fixture(scope="session")
def read_bytes() -> Callable[..., Reader]:
    return read


def frames_of(stream: bytes) -> Sequence[bytes]:
    """Return the frames of a whole stream, each with its length."""
    frames, at = [], 0
    while at < len(stream):
        end = at + 4 + int.from_bytes(stream[at : at + 4], "big")
        frames.append(stream[at:end])
        at = end
    return frames


@pytest.fixture(scope="session")
def gateway_frames(quiet_day: Played) -> Sequence[bytes]:
    """Every frame that the gateway sent on the quiet day."""
    return frames_of(quiet_day.sent)
