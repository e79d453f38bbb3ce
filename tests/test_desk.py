from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.core.model import (
    Account,
    CompletedOrder,
    ConId,
    Contract,
    Message,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderType,
    PermId,
    Session,
    Side,
    Snapshot,
)
from daemon.desk import OrderDesk
from daemon.errors import AlreadyClaimed, ConnectionLost, InvariantViolated
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.orderbook import OrderBook
from daemon.ports import RunId

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

NOW = datetime(2026, 2, 19, 15, 0, tzinfo=UTC)
SESSION = Session(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
S = OrderState


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Wire:
    """A broker that needs a tenth of a second a leg, and says what is on disk."""

    journal: SqlJournal
    clock: Clock
    client_id: int = 10
    breaks_after: int = 99
    slot_s: float = 0.0
    ready: bool = True
    above: list[int] = field(default_factory=list)
    sent: list[tuple[int, str]] = field(default_factory=list)
    on_disk: list[list[str]] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    snapshot: Snapshot = field(
        default_factory=lambda: Snapshot(NOW, 0.0, (), (), (), (), ())
    )

    async def ready_to_send(self) -> None:
        self.clock.at += timedelta(seconds=self.slot_s)
        if not self.ready:
            raise ConnectionLost("the session is not ready: nothing is sent")

    def reserve_order_ids(self, count: int, above: OrderId) -> list[OrderId]:
        self.above.append(above)
        return [OrderId(above + 1 + i) for i in range(count)]

    async def send(self, orders: Sequence[tuple[OrderId, Order]]) -> None:
        for index, (order_id, order) in enumerate(orders):
            if index:
                await asyncio.sleep(0.1)
            if len(self.sent) >= self.breaks_after:
                raise ConnectionLost("the link broke while waiting to send")
            self.on_disk.append(intents(self.journal))
            self.sent.append((order_id, order.order_ref))

    async def cancel(self, order_id: OrderId) -> None:
        self.cancelled.append(order_id)

    async def sync(self) -> Snapshot:
        return self.snapshot


def intents(journal: SqlJournal) -> list[str]:
    """Return the references that another reader of the file sees."""
    with closing(sqlite3.connect(journal.path)) as connection:
        found = connection.execute("SELECT order_ref FROM intents ORDER BY order_id")
        return [ref for (ref,) in found]


@dataclass
class Bench:
    journal: SqlJournal
    wire: Wire
    desk: OrderDesk
    book: OrderBook
    told: list[Message]
    run_id: RunId

    async def submit(self, orders: Sequence[Order]) -> None:
        await self.desk.submit(orders, SESSION, self.run_id)

    def states(self) -> dict[str, OrderState]:
        return {
            r.order_ref: r.state for r in self.journal.orders(SESSION.date).values()
        }


def order(ref: str, **more) -> Order:
    made = Order(
        order_ref=OrderRef(f"ibkrd:20260219:{ref}"),
        account=Account("DU1234567"),
        contract=Contract(con_id=ConId(526970210), symbol="BLCO"),
        side=Side.BUY,
        quantity=181,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("17.20"),
    )
    return replace(made, **more)


def family(name: str = "BLCO:B", **more) -> list[Order]:
    return [order(f"{name}:{leg}", **more) for leg in ("EN", "TP", "SL")]


FAMILY = [f"ibkrd:20260219:BLCO:B:{leg}" for leg in ("EN", "TP", "SL")]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as opened:
        yield opened


@pytest.fixture
def bench(journal: SqlJournal) -> Bench:
    clock = Clock()
    wire = Wire(journal, clock)
    told: list[Message] = []
    book = OrderBook(journal=journal, clock=clock, client_id=10, tell=told.append)
    desk = OrderDesk(
        broker=wire,
        journal=journal,
        clock=clock,
        book=book,
        today=lambda: SESSION,
    )
    run_id = journal.start_run("submit", SESSION.date, NOW, NOW)
    return Bench(journal, wire, desk, book, told, run_id)


# --- intent first ------------------------------------------------------------------


async def test_the_whole_family_is_on_disk_before_its_first_leg_goes_out(bench) -> None:
    await bench.submit(family())
    assert bench.wire.on_disk == [FAMILY, FAMILY, FAMILY]
    assert [ref for _, ref in bench.wire.sent] == FAMILY


async def test_a_family_that_went_out_is_sent(bench) -> None:
    await bench.submit(family())
    assert set(bench.states().values()) == {S.SENT}


async def test_the_first_leg_follows_the_commit_at_once(bench) -> None:
    """At most one turn of the loop: what happens in it, `send` checks again."""
    turns: list[str] = []
    commit, send = bench.journal.intend, bench.wire.send

    def count() -> None:
        turns.append("a turn of the loop")
        if not bench.wire.sent:
            asyncio.get_running_loop().call_soon(count)

    def intend(*given) -> None:
        commit(*given)
        asyncio.get_running_loop().call_soon(count)

    async def sending(orders) -> None:
        assert len(turns) <= 1
        await send(orders)

    bench.journal.intend, bench.wire.send = intend, sending
    await bench.submit(family())
    assert len(bench.wire.sent) == 3


async def test_order_ids_are_asked_for_above_the_highest_journaled(bench) -> None:
    await bench.submit(family())
    await bench.submit(family("BLCO:A"))
    assert bench.wire.above == [0, 3]
    assert [order_id for order_id, _ in bench.wire.sent] == [1, 2, 3, 4, 5, 6]


# --- what is refused leaves nothing --------------------------------------------------


async def test_a_family_that_was_intended_before_is_never_sent_again(bench) -> None:
    await bench.submit(family())
    with pytest.raises(AlreadyClaimed, match="ibkrd:20260219:BLCO:B:EN"):
        await bench.submit(family())
    assert len(bench.wire.sent) == 3


async def test_one_reference_that_was_intended_before_refuses_the_family(bench) -> None:
    await bench.submit([order("BLCO:B:SL")])
    with pytest.raises(AlreadyClaimed):
        await bench.submit(family())
    assert bench.wire.sent == [(1, "ibkrd:20260219:BLCO:B:SL")]
    assert list(bench.states()) == ["ibkrd:20260219:BLCO:B:SL"]


async def test_without_a_ready_session_nothing_is_intended(bench) -> None:
    bench.wire.ready = False
    with pytest.raises(ConnectionLost):
        await bench.submit(family())
    assert bench.states() == {}
    assert bench.wire.sent == []


async def test_an_intent_that_expired_while_it_waited_is_never_committed(bench) -> None:
    bench.wire.slot_s = 5
    with pytest.raises(InvariantViolated, match="expired"):
        await bench.submit(family(expires_at=NOW + timedelta(seconds=4)))
    assert bench.states() == {}
    assert bench.wire.sent == []


# --- partial failure -----------------------------------------------------------


async def test_a_link_that_breaks_within_a_family_leaves_it_intended(bench) -> None:
    bench.wire.breaks_after = 1
    with pytest.raises(ConnectionLost):
        await bench.submit(family())
    assert set(bench.states().values()) == {S.INTENDED}
    bench.wire.breaks_after = 99
    with pytest.raises(AlreadyClaimed):
        await bench.submit(family())
    assert len(bench.wire.sent) == 1


async def test_the_next_connections_sync_calls_a_broken_family_unknown(
    bench,
) -> None:
    bench.wire.breaks_after = 1
    with pytest.raises(ConnectionLost):
        await bench.submit(family())
    await bench.desk.reconcile()  # over the same connection silence says nothing
    assert set(bench.states().values()) == {S.INTENDED}
    bench.book.adopt(bench.wire.snapshot, SESSION, fresh=True)
    assert set(bench.states().values()) == {S.UNKNOWN}
    assert [m.subject for m in bench.told] == ["3 order(s) of unknown fate"]


# --- one family at a time -----------------------------------------------------------


async def test_families_never_mix_on_the_wire(bench) -> None:
    names = ["BLCO:A", "BLCO:B", "LH:A", "LH:B"]
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(bench.submit(family(name)))
    went_out = [ref.rsplit(":", 1)[0] for _, ref in bench.wire.sent]
    assert went_out == [f"ibkrd:20260219:{name}" for name in names for _ in range(3)]


async def test_between_families_no_family_is_half_sent(bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.submit(family()))
        second = tasks.create_task(bench.submit(family("BLCO:A")))
        await asyncio.sleep(0.15)
        assert len(bench.wire.sent) == 2
        async with bench.desk.between_families():
            assert len(bench.wire.sent) in {3, 6}
            sent = len(bench.wire.sent)
            await asyncio.sleep(10)
            assert len(bench.wire.sent) == sent
            second.cancel()
            await asyncio.sleep(0)
    assert len(bench.wire.sent) % 3 == 0


async def test_a_family_whose_job_is_stopped_between_families_is_not_begun(
    bench,
) -> None:
    async with asyncio.TaskGroup() as tasks, bench.desk.between_families():
        waiting = tasks.create_task(bench.submit(family()))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(1)
        assert waiting.cancelled()
    assert bench.states() == {}


# --- the rest -------------------------------------------------------------------


async def test_a_cancel_goes_out_under_the_order_id(bench) -> None:
    await bench.submit(family())
    record: OrderRecord = bench.desk.orders(SESSION.date)[OrderRef(FAMILY[2])]
    await bench.desk.cancel(record)
    assert bench.wire.cancelled == [3]


async def test_a_reconciliation_journals_what_the_broker_completed(bench) -> None:
    await bench.submit(family())
    ended = CompletedOrder(
        perm_id=PermId(900001),
        order_ref=OrderRef(FAMILY[0]),
        account=Account("DU1234567"),
        con_id=ConId(526970210),
        symbol="BLCO",
        side=Side.BUY,
        quantity=Decimal(181),
        filled=Decimal(181),
        status="Filled",
    )
    bench.wire.snapshot = replace(bench.wire.snapshot, completed_orders=(ended,))
    assert await bench.desk.reconcile() is bench.wire.snapshot
    assert bench.states()[FAMILY[0]] is S.FILLED


async def test_what_is_marked_is_journaled(bench) -> None:
    await bench.submit(family())
    await bench.desk.mark([OrderRef(FAMILY[1])], S.UNKNOWN)
    assert bench.states()[FAMILY[1]] is S.UNKNOWN
    assert bench.states()[FAMILY[0]] is S.SENT
