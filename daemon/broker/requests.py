"""What can be asked and sent over one standing connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar
from weakref import WeakValueDictionary

import ib_async
from ib_async.wrapper import RequestError

from daemon.broker import convert
from daemon.broker.events import TappedIB
from daemon.broker.pacing import Pacer
from daemon.broker.resend import Families
from daemon.core.model import (
    Account,
    Commission,
    CompletedOrder,
    Contract,
    Fill,
    Funds,
    Order,
    OrderId,
    OrderRef,
    Position,
    Snapshot,
    WorkingOrder,
)
from daemon.errors import (
    ConnectionLost,
    GatewayTimeout,
    InvariantViolated,
    RequestRefused,
)
from daemon.ports import Clock

T = TypeVar("T")
_PROBE = "current time"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Where the gateway is and how patient we are; times in seconds."""

    host: str
    port: int
    client_id: int
    account: Account
    connect_timeout_s: float = 10.0
    request_timeout_s: float = 10.0
    probe_timeout_s: float = 3.0
    heartbeat_s: float = 30.0
    busy_heartbeat_s: float = 3.0
    messages_per_second: float = 45.0
    retry_first_s: float = 0.5
    retry_last_s: float = 5.0
    stood_s: float = 60.0
    """A session that stood ready for so long ends an outage: its loss is a new one."""

    @property
    def address(self) -> str:
        """Return host and port for a person."""
        return f"{self.host}:{self.port}"


class Requests:
    """The questions and orders of `ports.Broker`, each with a deadline.

    Every answer is complete or an error; `abort` ends all that wait at once.
    """

    def __init__(self, settings: SessionSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._ib: TappedIB | None = None
        self._pacer = Pacer(settings.messages_per_second)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Each lives as long as somebody holds it or waits for it."""
        self._waits: set[asyncio.Timeout] = set()
        self._families = Families(settings.client_id)
        self._doubt = ""
        self._contracts: dict[str, Contract] = {}
        self._contracts_day = ""

    @property
    def connected(self) -> bool:
        """Return whether orders may be sent."""
        return self._ib is not None and self._ib.isConnected()

    @property
    def client_id(self) -> int:
        """Return the one client id; it never changes."""
        return self._settings.client_id

    @property
    def families_remembered(self) -> int:
        """Return how many brackets may still be sent again (10006)."""
        return len(self._families)

    def abort(self, cause: str) -> None:
        """Call the connection dead: all that wait for an answer end now."""
        self._doubt = cause
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(asyncio.get_running_loop().time())

    # --- requests ---------------------------------------------------------------

    def _live(self) -> TappedIB:
        if self._ib is None or not self._ib.isConnected():
            raise ConnectionLost("no session to the gateway")
        return self._ib

    async def _ask(
        self,
        what: str,
        request: Callable[[TappedIB], Awaitable[T]],
        timeout_s: float | None = None,
    ) -> T:
        """Send one request and wait for its complete answer.

        One lock per kind: ib_async keeps one future per fixed key, and a second
        request would leave the first waiting for ever.
        """
        limit = timeout_s or self._settings.request_timeout_s
        async with self._locks.setdefault(what, asyncio.Lock()):
            ib = self._live()
            await self._slot(ib)
            wait = asyncio.timeout(limit)
            self._waits.add(wait)
            try:
                async with wait:
                    answer = await request(ib)
            except TimeoutError:
                raise self._unanswered(what, limit) from None
            except RequestError as exc:
                raise RequestRefused(exc.message, code=exc.code) from exc
            except ConnectionError as exc:
                why = self._doubt or exc
                raise ConnectionLost(f"the link broke during {what}: {why}") from exc
            else:
                self._require_trust(ib)
                return answer
            finally:
                self._waits.discard(wait)

    def _require_trust(self, ib: TappedIB) -> None:
        """Take no answer of a connection that is in doubt: it may lack something."""
        if self._ib is not ib or self._doubt:
            raise ConnectionLost(self._doubt or "the link broke")

    def _unanswered(self, what: str, limit: float) -> ConnectionLost:
        """A request without an answer puts the whole connection in doubt."""
        if self._doubt:
            return ConnectionLost(self._doubt)
        text = f"no answer to {what} in {limit:g} s"
        if what != _PROBE:
            self.abort(text)
        return GatewayTimeout(text)

    async def probe(self) -> datetime:
        """Ask for the gateway's time; proof that the link lives now."""
        told = await self._ask(
            _PROBE,
            lambda ib: ib.reqCurrentTimeAsync(),
            self._settings.probe_timeout_s,
        )
        return told.astimezone(UTC)

    async def positions(self) -> tuple[Position, ...]:
        """Return all positions of our account, fresh and complete."""
        answer = await self._ask("positions", lambda ib: ib.reqPositionsAsync())
        mine = (convert.from_position(p) for p in answer)
        return tuple(
            sorted(
                (p for p in mine if p.account == self._settings.account and p.quantity),
                key=lambda p: (p.symbol, p.con_id),
            )
        )

    async def open_orders(self) -> tuple[WorkingOrder, ...]:
        """Return our own open orders, fresh and complete.

        The Master client hears of others' orders meanwhile: those are left out.
        """
        told = await self._open_orders(lambda ib: ib.reqOpenOrdersAsync())
        return tuple(order for order in told if self._ours(order))

    async def all_open_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the open orders of every client, fresh and complete."""
        return await self._open_orders(lambda ib: ib.reqAllOpenOrdersAsync())

    async def _open_orders(
        self, request: Callable[[TappedIB], Awaitable[object]]
    ) -> tuple[WorkingOrder, ...]:
        async def collect(ib: TappedIB) -> tuple[WorkingOrder, ...]:
            ib.tap.open_orders = {}
            try:
                await request(ib)
                return tuple(ib.tap.open_orders.values())
            finally:
                ib.tap.open_orders = None

        return await self._ask("open orders", collect)

    async def completed_orders(self) -> tuple[CompletedOrder, ...]:
        """Return the orders that ended today."""

        async def collect(ib: TappedIB) -> tuple[CompletedOrder, ...]:
            ib.tap.completed_orders = []
            try:
                await ib.reqCompletedOrdersAsync(apiOnly=False)
                return tuple(ib.tap.completed_orders)
            finally:
                ib.tap.completed_orders = None

        return await self._ask("completed orders", collect)

    async def executions(self) -> tuple[tuple[Fill, ...], tuple[Commission, ...]]:
        """Return the day's executions, and the commissions that came with them.

        ib_async gives a report only to the first of an execution's repetitions.
        """

        async def collect(
            ib: TappedIB,
        ) -> tuple[tuple[Fill, ...], tuple[Commission, ...]]:
            ib.tap.commissions = []
            try:
                answer = await ib.reqExecutionsAsync()
                told = tuple(ib.tap.commissions)
            finally:
                ib.tap.commissions = None
            return tuple(
                convert.from_execution(f.contract, f.execution) for f in answer
            ), told

        return await self._ask("executions", collect)

    async def sync(self) -> Snapshot:
        """Read everything: positions, orders of all, completed orders, executions."""
        positions = await self.positions()
        own = await self.open_orders()
        everyone = await self.all_open_orders()
        completed = await self.completed_orders()
        fills, commissions = await self.executions()
        # What only the answer about everybody shows of ours is no silence of ours.
        own = tuple({o.perm_id: o for o in (*everyone, *own) if self._ours(o)}.values())
        return Snapshot(
            at=self._clock.now(),
            at_s=asyncio.get_running_loop().time(),
            positions=positions,
            open_orders=own,
            completed_orders=completed,
            fills=fills,
            commissions=commissions,
            foreign_orders=tuple(o for o in everyone if not self._ours(o)),
        )

    def _ours(self, order: WorkingOrder) -> bool:
        return order.client_id == self.client_id

    async def follow_account(self) -> None:
        """Subscribe to the values of our account and wait for the first full set."""
        await self._ask(
            "account values",
            lambda ib: ib.reqAccountUpdatesAsync(self._settings.account),
        )

    async def funds(self) -> Funds:
        """Return the account's funds as the gateway told them last."""
        values = {
            v.tag: v.value
            for v in self._live().accountValues(self._settings.account)
            if v.tag in convert.FUNDS and v.currency in {"USD", "BASE", ""}
        }

        def figure(tag: str) -> Decimal | None:
            return convert.funds(values[tag]) if tag in values else None

        return Funds(
            net_liquidation=figure("NetLiquidation"),
            available=figure("AvailableFunds"),
            buying_power=figure("BuyingPower"),
        )

    async def contract(self, symbol: str) -> Contract:
        """Return the SMART-routed contract of *symbol*, asked for once a day."""
        day = self._clock.now().date().isoformat()
        if day != self._contracts_day:
            self._contracts, self._contracts_day = {}, day
        if symbol not in self._contracts:
            wanted = ib_async.Stock(symbol, "SMART", "USD")
            self._contracts[symbol] = await self._details(wanted, symbol)
        return self._contracts[symbol]

    async def contract_by_id(self, position: Position) -> Contract:
        """Return the contract rebuilt from the con id, routed SMART.

        A contract copied from a position routes directly and is refused (10311).
        """
        wanted = ib_async.Contract(conId=position.con_id, exchange="SMART")
        return await self._details(wanted, position.symbol)

    async def _details(self, wanted: ib_async.Contract, symbol: str) -> Contract:
        answer = await self._ask(
            f"contract details of {symbol}",
            lambda ib: ib.reqContractDetailsAsync(wanted),
        )
        if not answer:
            raise RequestRefused(f"no contract for {symbol}", code=200)
        con_ids = {d.contract.conId for d in answer if d.contract}
        if len(con_ids) != 1:
            raise RequestRefused(
                f"{symbol} names {len(con_ids)} contracts: {sorted(con_ids)}", code=200
            )
        return convert.from_details(answer[0])

    # --- orders ---------------------------------------------------------------

    def reserve_order_ids(self, count: int, above: OrderId) -> list[OrderId]:
        """Return *count* order ids, each greater than *above* and all before."""
        client = self._live().client
        client.updateReqId(above + 1)  # type: ignore[no-untyped-call] # ib_async's
        return [OrderId(client.getReqId()) for _ in range(count)]

    async def ready_to_send(self) -> None:
        """Wait for a slot; after it the next order may go out without an await.

        Raises:
            ConnectionLost: the session is not ready; nothing may be sent.
        """
        await self._slot(self._live())
        self._require_ready()

    async def send(self, orders: Sequence[tuple[OrderId, Order]]) -> None:
        """Put *orders* on the wire; the first at once, the rest evenly paced.

        Raises:
            ConnectionLost: the session is not ready, or broke on the way.
            InvariantViolated: one has expired; nothing is sent (law I8).
        """
        self._require_ready()
        now = self._clock.now()
        for _, order in orders:
            if order.expires_at is not None and now > order.expires_at:
                raise InvariantViolated(f"{order.order_ref} has expired")
        ib = self._live()
        ids = {order.order_ref: order_id for order_id, order in orders}
        self._families.sent(orders, asyncio.get_running_loop().time())
        for index, (order_id, order) in enumerate(orders):
            if index:
                await self._slot(ib)
                self._require_ready()
            self._send_one(order_id, order, ids)

    def _require_ready(self) -> None:
        if not self.connected:
            raise ConnectionLost("the session is not ready: nothing is sent")

    async def _slot(self, ib: TappedIB) -> None:
        """Wait for a slot of *ib*; what waits for a dead socket dies with it."""
        await self._pacer.slot()
        self._require_trust(ib)

    def _send_one(
        self, order_id: OrderId, order: Order, ids: dict[OrderRef, OrderId]
    ) -> None:
        contract, wire = self._on_the_wire(order_id, order, ids)
        try:
            self._live().placeOrder(contract, wire)
        except ConnectionError as exc:
            raise ConnectionLost(f"the link broke at {order.order_ref}") from exc

    def _send_again_one(
        self, order_id: OrderId, order: Order, ids: dict[OrderRef, OrderId]
    ) -> None:
        """Send past ib_async's books, where a refused order is done for ever."""
        contract, wire = self._on_the_wire(order_id, order, ids)
        try:
            client = self._live().client
            client.placeOrder(order_id, contract, wire)  # type: ignore[no-untyped-call] # ib_async's
        except ConnectionError as exc:
            raise ConnectionLost(f"the link broke at {order.order_ref}") from exc

    def _on_the_wire(
        self, order_id: OrderId, order: Order, ids: dict[OrderRef, OrderId]
    ) -> tuple[ib_async.Contract, ib_async.Order]:
        if order.account != self._settings.account:
            raise InvariantViolated(f"order for account {order.account}")
        parent = ids[order.parent_ref] if order.parent_ref else OrderId(0)
        return (
            convert.to_contract(order.contract),
            convert.to_order(order, order_id, parent),
        )

    async def cancel(self, order_id: OrderId) -> None:
        """Ask for the cancellation of one of our own orders."""
        await self.ready_to_send()
        self._families.cancelled(order_id)
        try:
            self._live().client.cancelOrder(order_id)  # type: ignore[no-untyped-call] # ib_async's
        except ConnectionError as exc:
            raise ConnectionLost(f"the link broke at cancel {order_id}") from exc
