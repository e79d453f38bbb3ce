from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from daemon.broker.events import TappedIB, quietly
from daemon.broker.requests import SessionSettings
from daemon.broker.session import GatewaySession
from daemon.clock import SystemClock
from daemon.core.connection import Link
from daemon.core.model import (
    Account,
    BrokerEvent,
    ConId,
    Contract,
    LinkChange,
    Notice,
    Order,
    OrderId,
    OrderRef,
    OrderType,
    Side,
    Snapshot,
)
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.door import Doorway
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.server import Reception, serve
from daemon.fakegateway.values import Contract as WireContract
from daemon.fakegateway.values import (
    GatewaySettings,
    MarketSession,
    OrderTicket,
    Refusal,
)
from daemon.fakegateway.world import World
from daemon.simulation.loop import VirtualLoop
from daemon.simulation.memory import Connection

ACCOUNT = "DU1234567"
HOST, PORT = "127.0.0.1", 4002
AAPL = Contract(con_id=ConId(265598), symbol="AAPL", primary_exchange="NASDAQ")
SESSION = MarketSession(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)


@dataclass
class House:
    """The embedded gateway, AAPL flat at 100.00, and one session of ours on it."""

    world: World
    ledger: Ledger
    server: Reception
    session: GatewaySession
    heard: list[BrokerEvent]
    synced: list[Snapshot]
    busy: list[bool]
    """Whether the heartbeat must be quick: the last one counts."""
    floor: list[int]
    """The highest order id ever journaled: the last one counts."""
    on_synced: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What the reconciliation does beside taking the snapshot."""
    running: asyncio.Task[None] | None = None

    # --- the gateway -----------------------------------------------------------

    def mute(self, *message_ids: int) -> None:
        """Let the gateway take these messages and never answer."""
        self.world.settings.mute = frozenset(message_ids)

    def shut(self) -> None:
        """Let nothing listen any more; open connections go on."""
        self.world.door.turn(Doorway.SHUT)

    def say(self, code: int, text: str = "") -> None:
        self.world.broadcast(Refusal(code, text or f"text of {code}"))

    @property
    def connection(self) -> Connection:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.network.connections[-1]

    def inject(self, *frames: bytes) -> None:
        """Let the gateway send *frames* that its world did not ask for."""
        self.connection.server.write(b"".join(frames))

    def latency(self, seconds: float) -> None:
        """Let the bytes of new connections take *seconds* in each direction."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.network.latency_s = seconds

    def written(self, event: str, *fields: str) -> list[tuple[object, ...]]:
        return [
            tuple(record[name] for name in fields)
            for record in self.ledger.records
            if record["event"] == event
        ]

    def foreign(self, order_id: int, text: str, client_id: int = 99) -> None:
        """Let another client place what *text* says: `BUY 100 LMT 99.50`."""
        side, quantity, kind, *price = text.split()
        limit = Decimal(price[0]) if price else None
        self.world.place(
            client_id,
            OrderTicket(
                order_id=order_id,
                contract=WireContract(symbol="AAPL"),
                action=side,
                quantity=Decimal(quantity),
                order_type=kind,
                limit_price=limit,
                tif="DAY",
                account=ACCOUNT,
                order_ref="by hand",
            ),
        )

    # --- the session ------------------------------------------------------------

    async def ready(self, within_s: float = 60.0) -> None:
        async with asyncio.timeout(within_s):
            await self.session.wait_ready()

    async def lost(self, within_s: float = 60.0) -> None:
        async with asyncio.timeout(within_s):
            await self.session.wait_lost()

    async def until(self, link: Link, within_s: float = 60.0) -> None:
        """Wait until the session stands at *link*, to the hundredth of a second."""
        async with asyncio.timeout(within_s):
            while self.session.link is not link:  # noqa: ASYNC110 # virtual time
                await asyncio.sleep(0.01)

    @property
    def links(self) -> list[bool]:
        """Whether the session was ready, change by change."""
        return [e.connected for e in self.heard if isinstance(e, LinkChange)]

    def notices(self, code: int) -> list[Notice]:
        return [e for e in self.heard if isinstance(e, Notice) and e.code == code]


def order(ref: str, text: str, **more) -> Order:
    """Return the order that *text* says: `BUY 100 LMT 99.50`."""
    side, quantity, kind, *price = text.split()
    prices = [Decimal(p) for p in price] or [None]
    made = Order(
        order_ref=OrderRef(f"ibkrd:20260219:AAPL:{ref}"),
        account=Account(ACCOUNT),
        contract=AAPL,
        side=Side(side),
        quantity=int(quantity),
        order_type=OrderType(kind),
        limit_price=prices[0] if kind == "LMT" else None,
        stop_price=prices[0] if kind == "STP" else None,
    )
    return replace(made, **more)


def family(limit: str = "90.00") -> list[Order]:
    """Return a bracket of which only the last order transmits."""
    entry = order("A:EN", f"BUY 33 LMT {limit}", transmit=False)
    parent = {"parent_ref": entry.order_ref}
    return [
        entry,
        order("A:TP", "SELL 33 LMT 105.00", transmit=False, **parent),
        order("A:SL", "SELL 33 STP 85.00", **parent),
    ]


@asynccontextmanager
async def open_house(
    *,
    account: str = ACCOUNT,
    settings: GatewaySettings | None = None,
    started: bool = True,
    port: int = PORT,
    emit: Callable[[BrokerEvent], None] = lambda _: None,
    **tuning,
) -> AsyncIterator[House]:
    """Open the gateway, and let a session run on it until the block ends."""
    clock = SystemClock()
    loop = asyncio.get_running_loop()
    ledger = Ledger()
    world = World(
        clock=LoopClock(loop, clock.now()),
        sessions=[SESSION],
        listings=default_listings(),
        settings=settings or GatewaySettings(partial_fills=False),
        prices=Prices(1, bases={"AAPL": Decimal(100)}, sigma=0),
        ledger=ledger,
        seed=1,
    )
    heard: list[BrokerEvent] = []
    synced: list[Snapshot] = []
    busy, floor = [False], [0]
    on_synced: list[Callable[[], Awaitable[None]]] = []

    def hear(event: BrokerEvent) -> None:
        heard.append(event)
        emit(event)

    async def take(snapshot: Snapshot) -> None:
        synced.append(snapshot)
        for act in on_synced:
            await act()

    session = GatewaySession(
        SessionSettings(
            host=HOST, port=port, client_id=10, account=Account(account), **tuning
        ),
        clock=clock,
        emit=hear,
        on_synced=take,
        busy=lambda: busy[-1],
        ids_above=lambda: OrderId(floor[-1]),
        jitter=Random(1),  # noqa: S311 # it spreads retries
    )
    server = await serve(world, HOST, port)
    house = House(
        world, ledger, server, session, heard, synced, busy, floor, on_synced=on_synced
    )
    if started:
        house.running = loop.create_task(session.run(), name="session")
    try:
        yield house
    finally:
        if house.running is not None and not house.running.done():
            house.running.cancel()
            with suppress(asyncio.CancelledError):
                await house.running
        world.drop_clients()
        server.close()
        await asyncio.sleep(0.01)


@pytest.fixture
def house() -> Callable[..., AbstractAsyncContextManager[House]]:
    return open_house


@pytest.fixture
def make_order() -> Callable[..., Order]:
    return order


@pytest.fixture
def make_family() -> Callable[..., list[Order]]:
    return family


@pytest.fixture
def at() -> Callable[[float], datetime]:
    """Return the instant so many seconds from now."""
    return lambda seconds: SystemClock().now() + timedelta(seconds=seconds)


class Deaf(asyncio.Transport):
    """A way out to nobody."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass


@dataclass
class Reader:
    """What the daemon makes of a gateway's bytes, without a session."""

    told: list[BrokerEvent] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ib = TappedIB(
            self.told.append, lambda _, exc: self.doubts.append(repr(exc))
        )
        self._ib.guard.transport = Deaf()

    def feed(self, data: bytes) -> None:
        with quietly():
            self._ib.guard.data_received(data)

    def close(self) -> None:
        with quietly():
            self._ib.guard.connection_lost(None)


def read(data: bytes) -> Reader:
    """Return what the daemon makes of *data* on a connection of its own."""
    reader = Reader()
    reader.feed(data)
    reader.close()
    return reader


@pytest.fixture(scope="session")
def read_bytes() -> Callable[[bytes], Reader]:
    return read
