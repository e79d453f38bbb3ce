from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.core.lifecycle import acknowledged
from daemon.core.model import (
    Account,
    Commission,
    CompletedOrder,
    ConId,
    Contract,
    ExecId,
    Fill,
    LinkChange,
    Message,
    Notice,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderType,
    OrderUpdate,
    PermId,
    Session,
    Severity,
    Side,
    Snapshot,
    WorkingOrder,
)
from daemon.errors import InvariantViolated, JournalError
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.orderbook import OrderBook

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

DAY = date(2026, 2, 19)
NOW = datetime(2026, 2, 19, 15, 0, tzinfo=UTC)
SESSION = Session(
    date=DAY,
    open=datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    close=datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
BLCO = Contract(con_id=ConId(526970210), symbol="BLCO")
EN = OrderRef("ibkrd:20260219:BLCO:B:EN")
SL = OrderRef("ibkrd:20260219:BLCO:B:SL")
S = OrderState


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


class Bench:
    """A book over a real journal, with an entry 5 and a stop 6 that were sent."""

    def __init__(self, journal: SqlJournal) -> None:
        self.journal = journal
        self.told: list[Message] = []
        self.clock = Clock()
        self.book = self.another_book()
        self.run_id = journal.start_run("submit", DAY, NOW, NOW)

    def another_book(self) -> OrderBook:
        return OrderBook(
            journal=self.journal,
            clock=self.clock,
            client_id=10,
            tell=self.told.append,
        )

    def sent(self, *records: OrderRecord) -> None:
        self.journal.intend(records, self.run_id, NOW)
        self.book.add(records)
        self.book.mark([r.order_ref for r in records], S.SENT)

    def take(self, *events) -> None:
        for event in events:
            self.book.put(event)
        self.book.drain()

    def state(self, ref: OrderRef = EN) -> OrderState:
        return self.book.orders(DAY)[ref].state

    def journaled(self, ref: OrderRef = EN) -> OrderState:
        return self.journal.orders(DAY)[ref].state

    def query(self, text: str) -> list[tuple[object, ...]]:
        """Read the file as the checker does: what is there is committed."""
        with closing(sqlite3.connect(self.journal.path)) as connection:
            return connection.execute(text).fetchall()


def record(
    ref: str = EN, order_id: int = 5, quantity: int = 181, day: date = DAY
) -> OrderRecord:
    order = Order(
        order_ref=OrderRef(ref),
        account=Account("DU1234567"),
        contract=BLCO,
        side=Side.BUY,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("17.20"),
    )
    return OrderRecord(order=order, session=day, order_id=OrderId(order_id))


def status(text: str, order_id: int = 5, **more) -> OrderUpdate:
    made = OrderUpdate(
        order_id=OrderId(order_id),
        perm_id=PermId(900000 + order_id),
        client_id=10,
        order_ref=OrderRef(""),
        status=text,
        filled=Decimal(0),
        remaining=Decimal(181),
    )
    return replace(made, **more)


def working(text: str, ref: str = EN, order_id: int = 5, **more) -> WorkingOrder:
    made = WorkingOrder(
        order_id=OrderId(order_id),
        perm_id=PermId(900000 + order_id),
        client_id=10,
        order_ref=OrderRef(ref),
        account=Account("DU1234567"),
        con_id=BLCO.con_id,
        symbol="BLCO",
        side=Side.BUY,
        quantity=Decimal(181),
        order_type="LMT",
        status=text,
    )
    return replace(made, **more)


def fill(exec_id: str = "0000e1a1.01.01", shares: int = 181, **more) -> Fill:
    made = Fill(
        exec_id=ExecId(exec_id),
        order_ref=EN,
        order_id=OrderId(5),
        perm_id=PermId(900005),
        client_id=10,
        account=Account("DU1234567"),
        con_id=BLCO.con_id,
        symbol="BLCO",
        side=Side.BUY,
        quantity=Decimal(shares),
        price=Decimal("17.18"),
        time=NOW,
    )
    return replace(made, **more)


def completed(text: str, ref: str = EN, filled: int = 0) -> CompletedOrder:
    return CompletedOrder(
        perm_id=PermId(900005),
        order_ref=OrderRef(ref),
        account=Account("DU1234567"),
        con_id=BLCO.con_id,
        symbol="BLCO",
        side=Side.BUY,
        quantity=Decimal(181),
        filled=Decimal(filled),
        status=text,
    )


def snapshot(**parts) -> Snapshot:
    empty = Snapshot(
        at=NOW,
        at_s=0.0,
        positions=(),
        open_orders=(),
        completed_orders=(),
        fills=(),
        commissions=(),
    )
    return replace(empty, **parts)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as opened:
        yield opened


@pytest.fixture
def bench(journal: SqlJournal) -> Bench:
    made = Bench(journal)
    made.sent(record(EN, 5), record(SL, 6))
    return made


@asynccontextmanager
async def pumping(book: OrderBook) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.get_running_loop().create_task(book.pump(), name="pump")
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, JournalError):
            await task


# --- evidence ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (working("Submitted"), S.WORKING),
        (status("Submitted"), S.WORKING),
        (status("Filled", filled=Decimal(181)), S.FILLED),
        (status("Cancelled"), S.CANCELLED),
        (fill(), S.FILLED),
        (fill(shares=80), S.WORKING),
        (Notice(5, 201, "Order rejected - reason:margin"), S.REJECTED),
    ],
)
async def test_evidence_moves_the_order_and_is_journaled(bench, event, state) -> None:
    bench.take(event)
    assert bench.state() is state
    assert bench.journaled() is state
    assert bench.state(SL) is S.SENT


async def test_a_status_is_matched_by_perm_id_whatever_its_order_id(bench) -> None:
    bench.take(working("Submitted"))
    bench.take(status("Cancelled", order_id=0, perm_id=PermId(900005), client_id=0))
    assert bench.state() is S.CANCELLED


async def test_the_same_order_id_of_another_client_is_another_order(bench) -> None:
    bench.take(status("Cancelled", client_id=99, perm_id=PermId(7)))
    assert bench.state() is S.SENT


async def test_an_order_with_a_foreign_reference_is_foreign_whatever_its_ids(
    bench,
) -> None:
    bench.take(working("Cancelled", ref="by hand"))
    assert bench.state() is S.SENT


async def test_a_status_without_ids_of_ours_moves_nothing(bench) -> None:
    bench.take(status("Cancelled", order_id=77))
    assert {bench.state(EN), bench.state(SL)} == {S.SENT}


async def test_a_foreign_fill_is_journaled_and_moves_nothing(bench) -> None:
    bench.take(fill("0000ffff.01.01", order_ref=OrderRef("by hand"), client_id=99))
    assert bench.state() is S.SENT
    day = timedelta(days=1)
    assert [f.order_ref for f in bench.journal.fills(NOW - day, NOW + day)] == [
        "by hand"
    ]


async def test_a_notice_of_a_foreign_order_id_moves_nothing(bench) -> None:
    bench.take(
        Notice(77, 201, "Order rejected"),
        Notice(-1, 201, "Order rejected"),
        Notice(-1, 1100, "Connectivity lost"),
    )
    assert {bench.state(EN), bench.state(SL)} == {S.SENT}
    assert bench.told == []


@pytest.mark.parametrize(
    "notice",
    [
        Notice(5, 10349, "Order TIF was set to DAY based on order preset."),
        Notice(5, 399, "Order Message: held until the open"),
        Notice(5, 404, "shares are being located"),
        Notice(5, 2109, "Outside Regular Trading Hours is ignored"),
        Notice(5, 105, "Order being modified does not match the original order."),
    ],
)
async def test_what_is_said_of_a_live_order_leaves_it_working(bench, notice) -> None:
    bench.take(working("Submitted"), notice)
    assert bench.state() is S.WORKING
    assert bench.journaled() is S.WORKING
    bench.take(status("Submitted"))
    assert bench.state() is S.WORKING
    assert bench.told == []


async def test_an_order_that_is_held_for_a_later_session_is_alarmed(bench) -> None:
    bench.take(
        working("PreSubmitted"),
        Notice(
            5,
            399,
            "Order Message: Warning: Your order will not be placed at the exchange "
            "until 2026-02-20 09:30:00 US/Eastern.",
        ),
    )
    assert bench.state() is S.WORKING
    (message,) = bench.told
    assert message.severity is Severity.ALARM
    assert message.subject == "BLCO: order held for a later session (399)"


async def test_a_corrected_execution_counts_once(bench) -> None:
    bench.take(
        working("Submitted"),
        fill("0000e1a1.68a1.01.01", shares=100),
        fill("0000e1a1.68a1.01.02", shares=90),
        fill("0000e1a1.68a2.01.01", shares=50),
    )
    order = bench.book.orders(DAY)[EN]
    assert sum(each.quantity for each in order.executions) == 140
    assert order.state is S.WORKING


async def test_evidence_that_comes_again_is_journaled_once_as_a_state(bench) -> None:
    for _ in range(3):
        bench.take(fill())
    states = bench.query(
        f"SELECT state FROM order_states WHERE order_ref = '{EN}'"  # noqa: S608
    )
    assert [state for (state,) in states].count("filled") == 1


async def test_a_commission_is_journaled_under_its_execution(bench) -> None:
    bench.take(fill(), Commission(ExecId("0000e1a1.01.01"), Decimal("1.81")))
    (known,) = bench.journal.commissions([fill()])
    assert known.amount == Decimal("1.81")


async def test_a_restarted_book_knows_what_the_last_one_knew(bench) -> None:
    bench.take(working("Submitted"), fill(shares=80))
    again = bench.another_book()
    known = bench.book.orders(DAY)[EN]
    assert (known.state, known.filled) == (S.WORKING, 80)
    # The gateway tells the day's executions anew at every connect.
    assert again.orders(DAY)[EN] == replace(known, executions=())
    again.put(status("Cancelled", order_ref=OrderRef("")))
    again.drain()
    assert again.orders(DAY)[EN].state is S.CANCELLED


# --- the pump ------------------------------------------------------------------------


async def test_what_came_together_is_committed_together(bench) -> None:
    query = "SELECT count(*) FROM executions"
    async with pumping(bench.book):
        for number in range(20):
            bench.book.put(fill(f"0000e1a1.{number:02}.01", shares=1))
        await bench.book.wait([EN], lambda r: r.filled > 0, 10)
        assert bench.query(query) == [(20,)]
    assert len(bench.book.orders(DAY)[EN].executions) == 20


async def test_a_change_is_committed_before_anybody_sees_it(bench) -> None:
    seen: list[list[tuple[object, ...]]] = []

    async def watch() -> None:
        await bench.book.wait([EN], lambda r: r.state is S.WORKING, 10)
        seen.append(
            bench.query(
                "SELECT state FROM order_states WHERE order_ref LIKE '%B:EN'"
                " ORDER BY id DESC LIMIT 1"
            )
        )

    async with pumping(bench.book), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        await asyncio.sleep(0.1)
        bench.book.put(working("Submitted"))
    assert seen == [[("working",)]]


async def test_a_failure_of_the_journal_ends_the_pump(bench, journal) -> None:
    async with pumping(bench.book) as pump:
        await asyncio.sleep(0.1)
        journal.close()
        bench.book.put(working("Submitted"))
        with pytest.raises(JournalError):
            await pump


async def test_a_failure_of_the_journal_is_not_swallowed_by_a_drain(
    bench, journal
) -> None:
    journal.close()
    bench.book.put(working("Submitted"))
    with pytest.raises(JournalError):
        bench.book.drain()


async def test_a_lost_link_is_journaled_and_logged(bench) -> None:
    with capture_logs() as logs:
        bench.take(LinkChange(connected=False, cause="1100 lost"))
    assert [(e["event"], e["cause"]) for e in logs] == [("session.lost", "1100 lost")]


# --- waiting ----------------------------------------------------------------------


async def test_a_wait_ends_when_the_last_order_is_answered(bench) -> None:
    async with pumping(bench.book), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bench.book.wait([EN, SL], acknowledged, 30))
        await asyncio.sleep(1)
        bench.book.put(working("Submitted"))
        await asyncio.sleep(1)
        assert not waiting.done()
        bench.book.put(working("PreSubmitted", ref=SL, order_id=6))
    assert waiting.result() == {}
    assert asyncio.get_running_loop().time() < 3


async def test_a_wait_returns_the_orders_without_an_answer(bench) -> None:
    bench.take(working("Submitted"))
    silent = await bench.book.wait([EN, SL], acknowledged, 30)
    assert [(ref, r.state) for ref, r in silent.items()] == [(SL, S.SENT)]
    assert asyncio.get_running_loop().time() == pytest.approx(30, abs=0.01)


async def test_a_wait_for_what_holds_already_ends_at_once(bench) -> None:
    bench.take(working("Submitted"))
    assert await bench.book.wait([EN], acknowledged, 30) == {}
    assert asyncio.get_running_loop().time() == 0


async def test_a_wait_for_an_order_that_is_not_ours_is_refused(bench) -> None:
    """An order that is not known is never taken for one that has answered."""
    other = OrderRef("ibkrd:20260219:BLCO:A:EN")
    for ref in (other, OrderRef("by hand")):
        with pytest.raises(InvariantViolated, match=f"{ref} is no order of ours"):
            await bench.book.wait([EN, ref], acknowledged, 30)
        with pytest.raises(InvariantViolated, match=f"{ref} is no order of ours"):
            bench.book.mark([ref], S.UNKNOWN)


async def test_a_late_refusal_is_told(bench) -> None:
    bench.take(working("Submitted"))
    bench.clock.at += timedelta(minutes=2)
    bench.take(Notice(5, 354, "not subscribed"))
    assert bench.state() is S.REJECTED
    (message,) = bench.told
    assert (message.severity, message.subject) == (
        Severity.ALARM,
        "BLCO: order refused (354)",
    )


async def test_a_refusal_that_somebody_waits_for_is_his_to_tell(bench) -> None:
    async with pumping(bench.book), asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.book.wait([EN], acknowledged, 30))
        await asyncio.sleep(0.1)
        bench.book.put(Notice(5, 201, "Order rejected"))
    assert bench.state() is S.REJECTED
    assert bench.told == []


# --- our own conclusions ------------------------------------------------------------


async def test_faster_evidence_is_not_undone_by_our_own_mark(bench) -> None:
    bench.take(working("Submitted"))
    bench.book.mark([EN], S.SENT)
    assert bench.state() is S.WORKING


async def test_an_ended_order_never_becomes_unknown(bench) -> None:
    bench.take(fill())
    bench.book.mark([EN], S.UNKNOWN)
    assert bench.state() is S.FILLED


async def test_an_order_is_in_flight_until_it_is_answered(bench) -> None:
    assert bench.book.in_flight()
    bench.take(working("Submitted"))
    assert bench.book.in_flight()
    bench.take(working("PreSubmitted", ref=SL, order_id=6))
    assert not bench.book.in_flight()


# --- a complete sync ------------------------------------------------------------------


async def test_after_a_reconnect_what_nobody_speaks_of_is_unknown_and_alarmed(
    bench,
) -> None:
    bench.book.adopt(snapshot(open_orders=(working("Submitted"),)), SESSION, fresh=True)
    assert bench.journaled(SL) is S.UNKNOWN
    assert bench.state(EN) is not S.UNKNOWN
    (message,) = bench.told
    assert message.severity is Severity.ALARM
    assert message.subject == "1 order(s) of unknown fate"
    assert SL in message.body
    assert EN not in message.body


async def test_the_unknown_is_alarmed_once(bench) -> None:
    bench.book.adopt(snapshot(), SESSION, fresh=True)
    bench.book.adopt(snapshot(), SESSION, fresh=True)
    assert len(bench.told) == 1


async def test_an_ordinary_look_concludes_nothing_from_silence(bench) -> None:
    bench.book.adopt(snapshot(), SESSION, fresh=False)
    assert bench.state() is S.SENT
    assert bench.told == []


async def test_a_completed_order_ends_ours(bench) -> None:
    both = (completed("Filled", filled=181), completed("Cancelled", ref=SL))
    bench.book.adopt(snapshot(completed_orders=both), SESSION, fresh=True)
    assert bench.journaled(EN) is S.FILLED
    assert bench.journaled(SL) is S.CANCELLED
    assert bench.told == []


async def test_what_waits_in_the_inbox_is_taken_before_the_sync_concludes(
    bench,
) -> None:
    bench.book.put(working("Submitted"))
    bench.book.put(fill())
    spoken = (working("PreSubmitted", ref=SL, order_id=6),)
    bench.book.adopt(snapshot(open_orders=spoken), SESSION, fresh=True)
    assert bench.state() is S.FILLED
    assert bench.told == []


async def test_evidence_brings_an_unknown_order_back(bench) -> None:
    bench.book.adopt(snapshot(), SESSION, fresh=True)
    assert bench.state() is S.UNKNOWN
    bench.take(working("Submitted"))
    assert bench.state() is S.WORKING


# --- months ---------------------------------------------------------------------


async def test_sessions_whose_orders_ended_are_forgotten(bench) -> None:
    book = bench.book
    bench.take(fill(), status("Cancelled", order_id=6))
    for number in range(1, 200):
        day = DAY + timedelta(days=number)
        ref = OrderRef(f"ibkrd:{day:%Y%m%d}:BLCO:B:EN")
        bench.sent(record(ref, 100 + number, day=day))
        bench.take(
            status("Cancelled", order_id=100 + number),
            working("Cancelled", ref=ref, order_id=100 + number),
        )
    held = (book._sessions, book._by_id, book._by_perm, book._expected)  # noqa: SLF001
    assert [len(each) for each in held] == [1, 1, 1, 1]


async def test_a_session_with_a_living_order_is_kept(bench) -> None:
    bench.take(working("Submitted"), status("Cancelled", order_id=6))
    bench.book.orders(DAY + timedelta(days=1))
    bench.take(status("Cancelled"))  # by our order id alone
    assert bench.state() is S.CANCELLED


async def test_a_forgotten_session_is_read_again_when_asked_for(bench) -> None:
    bench.take(fill(), status("Cancelled", order_id=6))
    bench.book.orders(DAY + timedelta(days=1))
    assert (bench.state(EN), bench.state(SL)) == (S.FILLED, S.CANCELLED)
    bench.take(fill())  # told again by the gateway
    assert bench.state() is S.FILLED


def sale(exec_id: str, shares: int) -> Fill:
    return fill(
        exec_id,
        shares,
        order_ref=SL,
        order_id=OrderId(6),
        perm_id=PermId(900006),
        side=Side.SELL,
    )


def test_an_exit_that_sells_more_than_its_entry_bought_is_told(bench) -> None:
    """C2, I3: the broker may work an exit at full size after the first shares."""
    bench.take(fill("0000e1a1.01.01", 2), sale("0000e1a2.01.01", 17))
    (message,) = bench.told
    assert (message.severity, message.subject) == (
        Severity.ALARM,
        "BLCO: 15 shares sold beyond the entry",
    )


def test_an_exit_that_sells_what_its_entry_bought_is_no_news(bench) -> None:
    bench.take(fill("0000e1a1.01.01", 181), sale("0000e1a2.01.01", 181))
    assert bench.told == []


def test_an_entry_that_fills_into_the_short_of_its_exit_is_told(bench) -> None:
    bench.take(
        fill("0000e1a1.01.01", 2),
        sale("0000e1a2.01.01", 17),
        fill("0000e1a1.02.01", 20),
    )
    assert [message.subject for message in bench.told] == [
        "BLCO: 15 shares sold beyond the entry",
        "BLCO: an entry filled into a short",
    ]
