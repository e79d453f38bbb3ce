from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import event

from daemon.core.model import (
    Account,
    ConId,
    Contract,
    Notice,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderType,
    Side,
)
from daemon.errors import InvariantViolated, JournalError
from daemon.journal.engine import open_engine
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal

DAY = date(2026, 2, 19)
NOW = datetime(2026, 2, 19, 14, 35, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as opened:
        yield opened


def entry() -> OrderRecord:
    order = Order(
        order_ref=OrderRef("ibkrd:20260219:BLCO:B:EN"),
        account=Account("DU1234567"),
        contract=Contract(con_id=ConId(526970210), symbol="BLCO"),
        side=Side.BUY,
        quantity=181,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("17.20"),
    )
    return OrderRecord(order=order, session=DAY, order_id=OrderId(11))


def on_disk(journal: SqlJournal) -> list[str]:
    """Return the notices that another reader of the file sees."""
    with closing(sqlite3.connect(journal.path)) as connection:
        found = connection.execute("SELECT payload FROM events ORDER BY id")
        return [json.loads(payload)["text"] for (payload,) in found]


def say(journal: SqlJournal, text: str) -> None:
    journal.record_event(Notice(-1, 2104, text), NOW)


def fail_after(journal: SqlJournal) -> None:
    say(journal, "one")
    raise LookupError


def fail_after_a_block(journal: SqlJournal) -> None:
    with journal.together():
        say(journal, "one")
    raise LookupError


@contextmanager
def counted(journal: SqlJournal) -> Iterator[tuple[SqlJournal, list[str]]]:
    """Open the file again, and note how each transaction ends."""
    journal.close()
    seen: list[str] = []
    engine = open_engine(journal.path)
    event.listen(engine, "commit", lambda _: seen.append("COMMIT"))
    event.listen(engine, "rollback", lambda _: seen.append("ROLLBACK"))
    with SqlJournal(engine, journal.path) as opened:
        yield opened, seen


def test_what_is_written_together_is_seen_together(journal: SqlJournal) -> None:
    with journal.together():
        say(journal, "one")
        assert on_disk(journal) == []
        say(journal, "two")
        assert on_disk(journal) == []
    assert on_disk(journal) == ["one", "two"]


def test_together_is_one_commit(journal: SqlJournal) -> None:
    with counted(journal) as (opened, seen):
        with opened.together():
            for _ in range(10):
                say(opened, "one")
                opened.highest_order_id()
        assert seen == ["COMMIT"]


def test_each_call_by_itself_is_a_commit(journal: SqlJournal) -> None:
    with counted(journal) as (opened, seen):
        say(opened, "one")
        say(opened, "two")
        assert seen == ["COMMIT", "COMMIT"]


def test_an_error_takes_back_everything_of_the_block(journal: SqlJournal) -> None:
    with pytest.raises(LookupError), journal.together():
        fail_after(journal)
    assert on_disk(journal) == []


def test_after_an_error_the_journal_goes_on(journal: SqlJournal) -> None:
    with pytest.raises(LookupError), journal.together():
        fail_after(journal)
    say(journal, "two")
    assert on_disk(journal) == ["two"]


def test_a_block_inside_a_block_belongs_to_the_outer_one(journal: SqlJournal) -> None:
    with journal.together():
        say(journal, "one")
        with journal.together():
            say(journal, "two")
        assert on_disk(journal) == []
    assert on_disk(journal) == ["one", "two"]


def test_an_error_after_an_inner_block_takes_that_back_too(journal: SqlJournal) -> None:
    with pytest.raises(LookupError), journal.together():
        fail_after_a_block(journal)
    assert on_disk(journal) == []


def test_what_was_written_is_read_inside_the_block(journal: SqlJournal) -> None:
    with journal.together():
        journal.put_value("books", {"net": "1"}, NOW)
        assert journal.value("books") == {"net": "1"}


def test_an_intent_is_never_part_of_a_block(journal: SqlJournal) -> None:
    """Its commit must stand before the wire, whatever becomes of the rest."""
    run_id = journal.start_run("submit", DAY, NOW, NOW)
    with (
        pytest.raises(InvariantViolated, match="committed before the wire, alone"),
        journal.together(),
    ):
        journal.intend([entry()], run_id, NOW)
    assert journal.orders(DAY) == {}
    journal.intend([entry()], run_id, NOW)
    assert list(journal.orders(DAY)) == ["ibkrd:20260219:BLCO:B:EN"]


def test_a_block_of_a_closed_journal_is_an_error(journal: SqlJournal) -> None:
    journal.close()
    with pytest.raises(JournalError, match=r"journal\.sqlite"), journal.together():
        pass
