"""A full disk: no entry, but everything else, until the reserve is spent, too."""

from __future__ import annotations

import os
import resource
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
    Message,
    Notice,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderType,
    Severity,
    Side,
)
from daemon.errors import DiskFull, EntriesBarred, JournalError
from daemon.journal.engine import open_engine
from daemon.journal.open import open_journal
from daemon.journal.reserve import Reserve
from daemon.journal.store import SqlJournal

DAY = date(2026, 2, 19)
NEXT_DAY = date(2026, 2, 20)
NOW = datetime(2026, 2, 19, 14, 35, tzinfo=UTC)
MIB = 1024 * 1024
ENTRY = "ibkrd:20260219:BLCO:B:EN"
STOP = "ibkrd:20260219:BLCO:B:SL"
MOC = "ibkrd:20260219:BLCO:X:MOC"


def order(ref: str, order_id: int, day: date = DAY) -> OrderRecord:
    made = Order(
        order_ref=OrderRef(ref),
        account=Account("DU1234567"),
        contract=Contract(con_id=ConId(526970210), symbol="BLCO"),
        side=Side.BUY if ref.endswith("EN") else Side.SELL,
        quantity=181,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("17.20"),
    )
    return OrderRecord(order=made, session=day, order_id=OrderId(order_id))


def text_of(journal: SqlJournal) -> str:
    """Return everything that another reader of the file sees."""
    with closing(sqlite3.connect(journal.path)) as connection:
        return "\n".join(connection.iterdump())


# The reserve


def test_the_reserve_is_made_of_real_bytes_beside_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    open_journal(path, now=NOW).close()
    found = (tmp_path / "state" / "journal.reserve").stat()
    assert found.st_size == 4 * MIB
    assert found.st_blocks * 512 >= 4 * MIB
    assert found.st_mode & 0o777 == 0o600


def test_a_reserve_that_is_whole_is_left_alone(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "journal.reserve", MIB)
    reserve.make()
    before = reserve.path.stat().st_mtime_ns
    reserve.make()
    assert reserve.path.stat().st_mtime_ns == before


@pytest.mark.parametrize("hole", [False, True])
def test_a_reserve_that_is_not_whole_is_made_again(
    tmp_path: Path, *, hole: bool
) -> None:
    reserve = Reserve(tmp_path / "journal.reserve", MIB)
    with reserve.path.open("wb") as file:
        file.truncate(MIB if hole else 1000)
    reserve.make()
    found = reserve.path.stat()
    assert (found.st_size, found.st_blocks * 512) == (MIB, MIB)


def test_a_reserve_is_given_up_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "journal.reserve", MIB)
    reserve.make()
    assert reserve.release() is True
    assert reserve.release() is False
    assert list(tmp_path.iterdir()) == []


def test_a_reserve_that_would_fill_the_disk_is_not_made(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(b"x" * 20 * MIB)
    with pytest.raises(OSError, match="less than 5242880 bytes are free"):
        Reserve(small_disk / "journal.reserve").make()
    assert [path.name for path in small_disk.iterdir()] == ["other"]


# Fullness by SQLite's own limit of pages: everywhere, to the byte


class Disk:
    """Lets the file grow by *room* pages while the reserve is there, by more after."""

    def __init__(self, path: Path, room: int, more: int = 200) -> None:
        self.reserve = path.with_name("journal.reserve")
        self.more = more
        with closing(sqlite3.connect(path)) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
        self.limit = pages + room

    def begin(self, connection: object) -> None:
        grown = self.limit + (0 if self.reserve.exists() else self.more)
        connection.exec_driver_sql(f"PRAGMA max_page_count = {grown}")  # type: ignore[attr-defined]


@contextmanager
def cramped(
    tmp_path: Path, room: int = 0, more: int = 200
) -> Iterator[tuple[SqlJournal, list[JournalError]]]:
    """Open a journal on a disk that is full but for *room* pages and the reserve."""
    path = tmp_path / "state" / "journal.sqlite"
    open_journal(path, now=NOW).close()
    engine = open_engine(path)
    event.listen(engine, "begin", Disk(path, room, more).begin)
    reports: list[JournalError] = []
    with SqlJournal(engine, path, reports.append) as journal:
        yield journal, reports


def fill(journal: SqlJournal) -> None:
    """Write what finds no room without the reserve."""
    journal.put_value("fill", "x" * 10_000, NOW)


def test_a_write_that_finds_no_room_takes_the_reserve(tmp_path: Path) -> None:
    with cramped(tmp_path) as (journal, reports):
        fill(journal)
        assert journal.value("fill") == "x" * 10_000
        assert not (tmp_path / "state" / "journal.reserve").exists()
        assert [type(report) for report in reports] == [DiskFull]
        assert str(reports[0]) == (
            f"the disk of {tmp_path}/state is full: the journal lives on its reserve; "
            f"no entry is sent until there is room, closing and report go on: make "
            f"16 MiB of room there"
        )


def test_a_shortage_is_reported_once(tmp_path: Path) -> None:
    with cramped(tmp_path, more=20) as (journal, reports):
        fill(journal)
        with pytest.raises(JournalError, match="disk is full"):
            journal.put_value("more", "x" * 200_000, NOW)
        assert len(reports) == 1


def test_without_room_no_entry_is_intended_and_the_close_is(tmp_path: Path) -> None:
    with cramped(tmp_path) as (journal, _):
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        fill(journal)
        family = [order(ENTRY, 11), order(STOP, 12)]
        with pytest.raises(DiskFull, match=r"/state is full.*make 16 MiB of room"):
            journal.intend(family, run_id, NOW)
        journal.intend([order(MOC, 13)], run_id, NOW)
        journal.intend([order(STOP, 14)], run_id, NOW)
        assert sorted(journal.orders(DAY)) == [STOP, MOC]
        assert "full" in journal.barred(DAY)


def test_the_entry_that_finds_the_disk_full_is_not_intended(tmp_path: Path) -> None:
    """The reserve is for what follows: an entry may not use it up."""
    with cramped(tmp_path) as (journal, reports):
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        big = [order(f"ibkrd:20260219:S{n}:A:EN", n) for n in range(1, 60)]
        with pytest.raises(DiskFull):
            journal.intend(big, run_id, NOW)
        assert journal.orders(DAY) == {}
        assert len(reports) == 1
        journal.intend([order(MOC, 13)], run_id, NOW)
        assert list(journal.orders(DAY)) == [MOC]


def test_closing_orders_that_find_the_disk_full_are_intended(tmp_path: Path) -> None:
    with cramped(tmp_path) as (journal, reports):
        run_id = journal.start_run("moc_close", DAY, NOW, NOW)
        many = [order(f"ibkrd:20260219:S{n}:X:MOC", n) for n in range(1, 60)]
        journal.intend(many, run_id, NOW)
        assert len(journal.orders(DAY)) == 59
        assert len(reports) == 1


@pytest.mark.parametrize("room", range(8))
def test_a_block_is_whole_wherever_in_it_the_disk_is_full(
    tmp_path: Path, room: int
) -> None:
    """What was written before in the same block is written again, once."""
    with cramped(tmp_path, room) as (journal, reports):
        with journal.together():
            for number in range(40):
                journal.record_event(Notice(number, 2104, "x" * 800), NOW)
            number = journal.record_message(
                Message(Severity.ALARM, "subject", "x" * 5000), NOW
            ).number
            journal.record_accepted(number, "log", NOW)
        text = text_of(journal)
        assert text.count('INSERT INTO "events"') == 40
        assert text.count('INSERT INTO "messages"') == 1
        assert text.count('INSERT INTO "acceptances"') == 1
        assert len(reports) == 1
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as again:
        assert text_of(again) == text


def test_when_the_reserve_is_spent_too_the_write_fails(tmp_path: Path) -> None:
    with cramped(tmp_path, more=1) as (journal, _):
        with pytest.raises(JournalError, match=r"journal\.sqlite: .*disk is full"):
            fill(journal)
        assert journal.value("fill") is None
        journal.put_value("books", "small", NOW)
        assert journal.value("books") == "small"


def test_with_room_again_entries_are_allowed_again(tmp_path: Path) -> None:
    with cramped(tmp_path) as (journal, _):
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        fill(journal)
        assert journal.make_room() is True
        assert (tmp_path / "state" / "journal.reserve").exists()
        assert journal.barred(DAY) == ""
        journal.intend([order(ENTRY, 11)], run_id, NOW)
        assert list(journal.orders(DAY)) == [ENTRY]


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse every write beyond *size*: an error that is not ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_system_refuses_is_want_of_room_too(tmp_path: Path) -> None:
    """A quota, for example: SQLite calls only ENOSPC a full disk."""
    path = tmp_path / "state" / "journal.sqlite"
    reports: list[JournalError] = []
    with open_journal(path, now=NOW, report=reports.append) as journal:
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        log = path.with_name("journal.sqlite-wal")
        with no_file_larger_than(log.stat().st_size), pytest.raises(DiskFull):
            journal.intend([order(ENTRY, 11)], run_id, NOW)
        assert [type(report) for report in reports] == [DiskFull]
        journal.intend([order(MOC, 12)], run_id, NOW)
        assert list(journal.orders(DAY)) == [MOC]


# A session of its own


def test_a_barred_session_takes_no_entry_and_the_next_one_does(tmp_path: Path) -> None:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as journal:
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        journal.bar(DAY, "the journal was damaged", NOW)
        with pytest.raises(EntriesBarred, match="the journal was damaged"):
            journal.intend([order(ENTRY, 11)], run_id, NOW)
        journal.intend([order(MOC, 12)], run_id, NOW)
        tomorrow = order("ibkrd:20260220:BLCO:B:EN", 13, NEXT_DAY)
        journal.intend([tomorrow], run_id, NOW)
        assert (journal.barred(DAY), journal.barred(NEXT_DAY)) == (
            "the journal was damaged",
            "",
        )
        assert list(journal.orders(DAY)) == [MOC]


# A real full disk


def occupy(disk: Path, leave: int = 0) -> Path:
    """Fill *disk* to the last byte but *leave*."""
    ballast = disk / "other"
    room = os.statvfs(disk)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - leave))
    with pytest.raises(OSError, match="No space left"):
        (disk / "more").write_bytes(bytes(leave + 1))
    (disk / "more").unlink()
    return ballast


@pytest.fixture
def place(small_disk: Path) -> Path:
    return small_disk / "journal.sqlite"


@pytest.mark.parametrize("leave", [0, 4096, 3 * 4096, 6 * 4096])
def test_on_a_really_full_disk_entries_stop_and_the_close_goes_on(
    place: Path, leave: int
) -> None:
    reports: list[JournalError] = []
    with open_journal(place, now=NOW, report=reports.append) as journal:
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        occupy(place.parent, leave)
        entries = [order(f"ibkrd:20260219:S{n}:A:EN", n) for n in range(1, 60)]
        with pytest.raises(DiskFull):
            journal.intend(entries, run_id, NOW)
        journal.intend([order(MOC, 100)], run_id, NOW)
        assert list(journal.orders(DAY)) == [MOC]
        assert len(reports) == 1
    with open_journal(place, now=NOW, report=reports.append) as journal:
        assert list(journal.orders(DAY)) == [MOC]
        assert "its reserve cannot be made" in journal.barred(DAY)


def test_the_reserve_carries_the_writes_of_five_days(place: Path) -> None:
    """The write-ahead log is emptied in time: it grows no further than a megabyte."""
    with open_journal(place, now=NOW) as journal:
        occupy(place.parent)
        for number in range(2500):
            journal.record_event(Notice(number, 2104, "x" * 800), NOW)
        assert text_of(journal).count('INSERT INTO "events"') == 2500
        assert place.with_name("journal.sqlite-wal").stat().st_size < 1.5 * MIB


def test_a_restart_on_a_full_disk_opens_by_the_reserve(place: Path) -> None:
    reports: list[JournalError] = []
    with open_journal(place, now=NOW) as journal:
        journal.start_run("submit", DAY, NOW, NOW)
    occupy(place.parent)
    with open_journal(place, now=NOW, report=reports.append) as journal:
        run_id = journal.start_run("moc_close", DAY, NOW, NOW)
        journal.intend([order(MOC, 100)], run_id, NOW)
        with pytest.raises(DiskFull):
            journal.intend([order(ENTRY, 101)], run_id, NOW)
    assert [type(report) for report in reports] == [DiskFull]


def test_a_killed_writer_on_a_full_disk_loses_nothing(place: Path) -> None:
    with open_journal(place, now=NOW) as journal:
        journal.put_value("before", "x" * 10_000, NOW)
        occupy(place.parent)
        journal.put_value("after", "x" * 10_000, NOW)
        copies = place.parent.parent / "copy"
        copies.mkdir(mode=0o700)
        for file in place.parent.glob("journal.sqlite*"):
            (copies / file.name).write_bytes(file.read_bytes())
    with open_journal(copies / "journal.sqlite", now=NOW) as found:
        assert found.value("after") == found.value("before") == "x" * 10_000


def test_room_that_is_made_is_found_at_the_next_look(place: Path) -> None:
    with open_journal(place, now=NOW) as journal:
        ballast = occupy(place.parent)
        fill(journal)
        assert journal.make_room() is False
        os.truncate(ballast, 1000)
        assert journal.make_room() is True
        assert journal.barred(DAY) == ""


def test_without_room_for_a_reserve_the_journal_opens_and_takes_no_entry(
    place: Path,
) -> None:
    occupy(place.parent, leave=2 * MIB)
    reports: list[JournalError] = []
    with open_journal(place, now=NOW, report=reports.append) as journal:
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        with pytest.raises(DiskFull, match="its reserve cannot be made"):
            journal.intend([order(ENTRY, 11)], run_id, NOW)
        journal.intend([order(MOC, 12)], run_id, NOW)
    assert len(reports) == 1
