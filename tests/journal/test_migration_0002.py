from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command

from daemon.core.model import Message, Severity
from daemon.core.outbox import Recorded, Waiting
from daemon.journal.migrate import migrations
from daemon.journal.open import open_journal

NOW = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)
AT = "2026-02-18T21:05:00.000000+00:00"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a journal of the first schema with three alarms in it."""
    path = tmp_path / "state" / "journal.sqlite"
    path.parent.mkdir(mode=0o700)
    command.upgrade(migrations(path), "0001")
    insert = "INSERT INTO messages VALUES (?, ?, 'alarm', ?, 'sell')"
    for number in (1, 2, 3):
        execute(path, insert, number, AT, f"EVRG {number}")
    return path


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


def accept(path: Path, number: int, channel: str) -> None:
    execute(path, "INSERT INTO acceptances VALUES (?, ?, ?)", number, channel, AT)


def waiting(path: Path) -> list[int | None]:
    with open_journal(path, now=NOW) as journal:
        return [each.number for each in journal.undelivered()]


def test_what_a_channel_accepted_before_the_upgrade_is_not_told_again(
    old: Path,
) -> None:
    for number in (1, 2, 3):
        accept(old, number, "log")
    accept(old, 2, "telegram")
    assert waiting(old) == [1, 3]


def test_the_log_counts_in_a_journal_where_it_was_all_there_was(old: Path) -> None:
    accept(old, 1, "log")
    accept(old, 3, "log")
    assert waiting(old) == [2]


def test_an_upgraded_journal_keeps_its_messages_and_takes_keys(old: Path) -> None:
    with open_journal(old, now=NOW) as journal:
        (first, *_) = journal.undelivered()
        lost = Message(Severity.ALARM, "No session", "", key="outage/1")
        numbers = [journal.record_message(lost, NOW) for _ in range(2)]
    at = datetime(2026, 2, 18, 21, 5, tzinfo=UTC)
    assert first == Waiting(1, Message(Severity.ALARM, "EVRG 1", "sell"), at)
    assert numbers == [Recorded(4), Recorded(4, new=False)]
