from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from daemon.core.model import Notice
from daemon.errors import DiskFull, JournalDamaged, JournalError
from daemon.journal.backup import back_up
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal

NOW = datetime(2026, 2, 19, 21, 5, tzinfo=UTC)
DAY = date(2026, 2, 19)
MIB = 1024 * 1024


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as opened:
        opened.put_value("books", {"cumulative_pnl": 370.94}, NOW)
        yield opened


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


async def test_a_backup_is_a_whole_journal_by_itself(journal: SqlJournal) -> None:
    copy = await journal.back_up(DAY)
    assert copy == journal.path.parent / "backups" / "journal-2026-02-19.sqlite"
    assert dump(copy) == dump(journal.path)
    journal.close()
    restored = journal.path.parent / "restored" / "journal.sqlite"
    restored.parent.mkdir(mode=0o700)
    copy.rename(restored)
    with open_journal(restored, now=NOW) as again:
        assert again.value("books") == {"cumulative_pnl": 370.94}


async def test_only_its_owner_reads_it_and_nothing_lies_beside_it(
    journal: SqlJournal,
) -> None:
    copy = await journal.back_up(DAY)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]


async def test_a_second_backup_of_a_session_replaces_the_first(
    journal: SqlJournal,
) -> None:
    await journal.back_up(DAY)
    journal.put_value("books", {"cumulative_pnl": 400.00}, NOW)
    copy = await journal.back_up(DAY)
    assert dump(copy) == dump(journal.path)


async def test_what_a_killed_backup_left_is_no_hindrance(journal: SqlJournal) -> None:
    folder = journal.path.parent / "backups"
    folder.mkdir()
    (folder / "journal-2026-02-19.sqlite.part").write_bytes(b"half")
    copy = await journal.back_up(DAY)
    assert [file.name for file in folder.iterdir()] == [copy.name]


async def test_the_newest_thirty_are_kept(journal: SqlJournal) -> None:
    folder = journal.path.parent / "backups"
    folder.mkdir()
    days = [DAY - timedelta(days=n) for n in range(1, 40)]
    for day in days:
        (folder / f"journal-{day}.sqlite").write_bytes(b"old")
    (folder / "journal-of-mine.sqlite").write_bytes(b"by hand")
    await journal.back_up(DAY)
    kept = sorted(file.name for file in folder.iterdir())
    wanted = [DAY - timedelta(days=n) for n in range(30)]
    assert kept == sorted(
        [*(f"journal-{day}.sqlite" for day in wanted), "journal-of-mine.sqlite"]
    )


async def test_the_journal_is_written_while_it_is_copied(journal: SqlJournal) -> None:
    """The copy holds one moment of the journal; the loop goes on beside it."""
    with journal.together():
        for number in range(5000):
            journal.record_event(Notice(number, 2104, "x" * 800), NOW)
    copying = asyncio.get_running_loop().create_task(journal.back_up(DAY))
    written = 0
    while not copying.done():
        journal.put_value(f"meanwhile {written}", "x" * 1000, NOW)
        written += 1
        await asyncio.sleep(0)
    copy = await copying
    assert written > 1
    with closing(sqlite3.connect(copy)) as connection:
        (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
    assert events == 5000
    assert journal.value(f"meanwhile {written - 1}") == "x" * 1000


async def test_a_place_that_cannot_be_written_is_named(journal: SqlJournal) -> None:
    (journal.path.parent / "backups").write_text("a file")
    with pytest.raises(
        JournalError, match=r"backups/journal-2026-02-19\.sqlite cannot"
    ):
        await journal.back_up(DAY)


async def test_a_damaged_journal_replaces_no_backup(journal: SqlJournal) -> None:
    with journal.together():
        for number in range(500):
            journal.record_event(Notice(number, 2104, "x" * 800), NOW)
    copy = await journal.back_up(DAY)
    before = copy.read_bytes()
    journal.close()
    with journal.path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 200_000)
    with pytest.raises(JournalDamaged, match=r"journal\.sqlite is damaged \("):
        back_up(journal.path, DAY)
    assert copy.read_bytes() == before
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]


async def test_a_copy_takes_no_room_that_the_journal_needs(small_disk: Path) -> None:
    with open_journal(small_disk / "journal.sqlite", now=NOW) as journal:
        (small_disk / "other").write_bytes(bytes(15 * MIB))
        with pytest.raises(JournalError, match=r"cannot be written \(less than \d+ b"):
            await journal.back_up(DAY)
        assert list((small_disk / "backups").iterdir()) == []
        assert journal.barred(DAY) == ""


async def test_a_journal_on_its_reserve_is_not_copied(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(bytes(20 * MIB))
    with open_journal(small_disk / "journal.sqlite", now=NOW) as journal:
        with pytest.raises(DiskFull):
            await journal.back_up(DAY)
        assert not (small_disk / "backups").exists()
