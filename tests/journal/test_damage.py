"""What is no journal any more is set aside; a new one bars the session's entries."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.errors import JournalDamaged, JournalError
from daemon.journal.damage import (
    open_or_replace,
    set_aside,
    set_aside_when_damaged,
)
from daemon.journal.open import open_journal

NOW = datetime(2026, 2, 19, 14, 30, tzinfo=UTC)
DAY = date(2026, 2, 19)
NEXT_DAY = date(2026, 2, 20)
ASIDE = "journal.sqlite.20260219T143000Z.damaged"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a journal of two hundred values."""
    path = tmp_path / "state" / "journal.sqlite"
    with open_journal(path, now=NOW) as journal:
        for number in range(200):
            journal.put_value(f"day {number}", "x" * 500, NOW)
    return path


def overwrite(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def with_a_page_of_noise(path: Path) -> None:
    overwrite(path, 20 * 4096, b"\xff" * 8192)


def with_another_head(path: Path) -> None:
    overwrite(path, 0, b"BLCO,BUY,LIMIT,17.20")


def of_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def of_noise(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_to_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_in_its_head(path: Path) -> None:
    os.truncate(path, 50)


def cut_to_a_page(path: Path) -> None:
    os.truncate(path, 4096)


def with_another_key_in_an_index(path: Path) -> None:
    """Change one letter of a primary key's index: the table itself is whole."""
    index = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        name = "sqlite_autoindex_stored_1"
        ((page,),) = connection.execute(index, (name,)).fetchall()
    start = (page - 1) * 4096
    content = path.read_bytes()[start : start + 4096]
    overwrite(path, start + content.index(b"day 1"), b"dax 1")


def without_a_table(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").write_text("what somebody put there")


def with_rows_that_break_its_laws(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(
            "INSERT INTO messages (number, at, severity, subject, body) "
            "VALUES (1, '2026-02-19', 'whisper', 'flat', '')"
        )


DAMAGES = [
    with_a_page_of_noise,
    with_another_head,
    of_zeros,
    of_noise,
    emptied,
    cut_to_half,
    cut_in_its_head,
    cut_to_a_page,
    with_another_key_in_an_index,
    without_a_table,
    a_directory,
    with_rows_that_break_its_laws,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_an_error_of_its_own(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    with pytest.raises(JournalDamaged, match=r"journal\.sqlite is damaged \("):
        open_journal(path, now=NOW)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_set_aside_as_it_is(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    before = content(path)
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert journal.value("day 1") is None
        assert journal.path == path
    aside = path.with_name(ASIDE)
    assert content(aside) == before
    assert aside.stat().st_mode & 0o077 == 0


def content(path: Path) -> object:
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    return path.read_bytes()


def test_the_new_journal_bars_the_session_and_no_other(path: Path) -> None:
    of_zeros(path)
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        folder = path.parent
        assert journal.barred(DAY) == (
            f"{path} is damaged (file is not a database). It lies at {folder}/{ASIDE} "
            f"and a new journal is begun: no entry of 2026-02-19 is sent, closing and "
            f"report go on. Check the account's orders and positions by hand. The "
            f"cumulative result, and with it the loss limit, begins anew unless a "
            f"backup ({folder}/backups) is put in its place."
        )
        assert journal.replaced(DAY) == journal.barred(DAY)
        assert journal.barred(NEXT_DAY) == ""
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert "is damaged" in journal.barred(DAY)


def test_a_good_journal_is_opened_as_it_is(path: Path) -> None:
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert journal.value("day 1") == "x" * 500
        assert journal.barred(DAY) == ""
    assert list(path.parent.glob("*.damaged")) == []


def test_a_first_start_bars_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert journal.barred(DAY) == ""


def test_setting_aside_is_an_error_in_the_log(path: Path) -> None:
    emptied(path)
    with capture_logs() as logs:
        open_or_replace(path, now=NOW, session=DAY).close()
    assert logs == [
        {
            "event": "journal.set_aside",
            "log_level": "error",
            "file": str(path.with_name(ASIDE)),
            "cause": f"{path} is damaged (it is empty)",
        }
    ]


def test_the_wal_and_its_index_go_with_the_file(path: Path) -> None:
    of_noise(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(f"journal.sqlite{suffix}").write_bytes(b"left by a kill")
    aside = set_aside(path, NOW, "noise")
    assert {file.name for file in path.parent.iterdir()} == {
        ASIDE,
        f"{ASIDE}-wal",
        f"{ASIDE}-shm",
        "journal.reserve",
    }
    assert aside.with_name(f"{ASIDE}-wal").read_bytes() == b"left by a kill"


def test_two_within_one_second_lie_beside_each_other(path: Path) -> None:
    for content_ in (b"first", b"second"):
        path.write_bytes(content_)
        open_or_replace(path, now=NOW, session=DAY).close()
    found = sorted(path.parent.glob("*.damaged"))
    assert [file.name for file in found] == [
        "journal.sqlite.20260219T143000Z.2.damaged",
        ASIDE,
    ]
    assert [file.read_bytes() for file in found] == [b"second", b"first"]


def test_a_file_that_is_lost_beside_its_wal_bars_the_session(path: Path) -> None:
    with open_journal(path, now=NOW) as journal:
        journal.put_value("books", {"net": "1"}, NOW)
        path.unlink()
    path.with_name("journal.sqlite-wal").write_bytes(b"what a kill leaves")
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert "only its -wal is there" in journal.barred(DAY)
    assert path.with_name(f"{ASIDE}-wal").read_bytes() == b"what a kill leaves"


def test_a_start_that_was_killed_after_the_setting_aside_bars_the_session(
    path: Path,
) -> None:
    set_aside(path, NOW, "noise")
    hours = timedelta(hours=3)
    with open_or_replace(path, now=NOW + hours, session=DAY) as journal:
        assert f"lies at {path.with_name(ASIDE)}" in journal.barred(DAY)


def test_what_was_set_aside_long_ago_bars_nothing(path: Path) -> None:
    set_aside(path, NOW, "noise")
    days = timedelta(days=2)
    with open_or_replace(path, now=NOW + days, session=NEXT_DAY) as journal:
        assert journal.barred(NEXT_DAY) == ""


def test_a_backup_in_its_place_is_opened_without_a_bar(path: Path) -> None:
    backup = path.read_bytes()
    of_zeros(path)
    set_aside(path, NOW, "zeros")
    path.write_bytes(backup)
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert journal.value("day 1") == "x" * 500
        assert journal.barred(DAY) == ""


def test_a_name_that_is_not_ours_is_no_trace_of_damage(path: Path) -> None:
    path.rename(path.with_name("journal.sqlite.Zoes.damaged"))
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert journal.barred(DAY) == ""


def test_a_foreign_database_is_refused_and_stays(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE trades (ticker TEXT)")
    with pytest.raises(JournalError, match="not a journal: move it away"):
        open_or_replace(path, now=NOW, session=DAY)
    assert path.exists()


# Damage that shows later


def test_damage_that_shows_during_the_day_is_reported_and_raised(path: Path) -> None:
    reports: list[JournalError] = []
    with open_journal(path, now=NOW, report=reports.append) as journal:
        path.with_name("journal.sqlite-wal").unlink(missing_ok=True)
        overwrite(path, 4096, b"\xff" * (path.stat().st_size - 4096))
        with pytest.raises(JournalDamaged, match=r"journal\.sqlite is damaged \("):
            journal.value("day 7")
    assert [type(report) for report in reports] == [JournalDamaged]


def damaged_inside(path: Path) -> None:
    with (
        set_aside_when_damaged(path, lambda: NOW),
        open_journal(path, now=NOW) as journal,
    ):
        overwrite(path, 4096, b"\xff" * (path.stat().st_size - 4096))
        journal.value("day 7")


def test_a_journal_that_proved_damaged_is_set_aside_at_the_end(path: Path) -> None:
    with pytest.raises(JournalDamaged):
        damaged_inside(path)
    assert path.with_name(ASIDE).exists()
    assert not path.exists()
    with open_or_replace(path, now=NOW, session=DAY) as journal:
        assert re.search("damaged.*no entry of 2026-02-19", journal.barred(DAY))


def another_error(path: Path) -> None:
    with set_aside_when_damaged(path, lambda: NOW):
        raise JournalError("no room")


def test_another_error_leaves_the_journal_where_it_is(path: Path) -> None:
    with pytest.raises(JournalError, match="no room"):
        another_error(path)
    assert path.exists()


def test_what_cannot_be_set_aside_says_what_to_do(path: Path) -> None:
    with pytest.raises(JournalError, match=r"^zeros, and .*set aside \(.*by hand$"):
        set_aside(path.with_name("j" * 250), NOW, "zeros")
