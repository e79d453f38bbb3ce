from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.core.model import Message, Severity
from daemon.errors import JournalError, NotifyError
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.notify.channels import Channel, LogChannel
from daemon.notify.notifier import OutboxNotifier
from daemon.ports import Notifier

NOW = datetime(2026, 5, 11, 14, 20, tzinfo=UTC)
ALARM = Message(Severity.ALARM, "not flat: EVRG 235", "sell 235 EVRG by hand")


class StoppedClock:
    def now(self) -> datetime:
        return NOW


@dataclass
class Telephone:
    """A channel that keeps what it was told, or refuses it."""

    name: str
    refuses: bool = False
    told: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        if self.refuses:
            raise NotifyError("nobody answers")
        self.told.append(message)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as opened:
        yield opened


def rows(journal: SqlJournal, table: str) -> list[Any]:
    with closing(sqlite3.connect(journal.path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - a literal


def notifier(journal: SqlJournal, *channels: Channel) -> OutboxNotifier:
    return OutboxNotifier(journal, StoppedClock(), channels)


AT = "2026-05-11T14:20:00.000000+00:00"
JOURNALED = (1, AT, "alarm", "not flat: EVRG 235", "sell 235 EVRG by hand", "")


async def test_every_channel_is_told_and_its_acceptance_journaled(
    journal: SqlJournal,
) -> None:
    first, second = Telephone("first"), Telephone("second")
    asked: Notifier = notifier(journal, first, second)
    assert await asked.tell(ALARM)
    assert first.told == second.told == [ALARM]
    assert rows(journal, "messages") == [JOURNALED]
    assert rows(journal, "acceptances") == [(1, "first", AT), (1, "second", AT)]
    assert rows(journal, "deliveries") == [(1, AT, "delivered", "")]


async def test_a_failing_channel_is_visible_and_the_next_is_tried(
    journal: SqlJournal,
) -> None:
    broken, works = Telephone("telegram", refuses=True), Telephone("mail")
    with capture_logs() as logs:
        assert await notifier(journal, broken, works).tell(ALARM)
    assert works.told == [ALARM]
    assert rows(journal, "acceptances") == [(1, "mail", AT)]
    assert logs == [
        {
            "event": "notify.failed",
            "log_level": "warning",
            "channel": "telegram",
            "number": 1,
            "cause": "nobody answers",
        }
    ]


@pytest.mark.parametrize("refusing", [0, 2])
async def test_a_message_that_nobody_accepted_is_journaled_and_an_error(
    journal: SqlJournal, refusing: int
) -> None:
    channels = [Telephone(str(number), refuses=True) for number in range(refusing)]
    with capture_logs() as logs:
        assert not await notifier(journal, *channels).tell(ALARM)
    assert rows(journal, "messages") == [JOURNALED]
    assert rows(journal, "acceptances") == []
    assert logs[-1] == {
        "event": "notify.undelivered",
        "log_level": "error",
        "number": 1,
        "subject": "not flat: EVRG 235",
    }


async def test_the_log_alone_reaches_nobody_where_a_telephone_should(
    journal: SqlJournal,
) -> None:
    broken = Telephone("telegram", refuses=True)
    assert not await notifier(journal, LogChannel(), broken).tell(ALARM)
    assert rows(journal, "acceptances") == [(1, "log", AT)]
    assert rows(journal, "deliveries") == []


async def test_the_log_is_enough_where_it_is_all_there_is(journal: SqlJournal) -> None:
    assert await notifier(journal, LogChannel()).tell(ALARM)


async def test_a_broken_journal_does_not_silence_the_alarm(
    journal: SqlJournal,
) -> None:
    works = Telephone("telegram")
    journal.close()
    with pytest.raises(JournalError):
        await notifier(journal, works).tell(ALARM)
    assert works.told == [ALARM]


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (Severity.INFO, "info"),
        (Severity.WARNING, "warning"),
        (Severity.ALARM, "error"),
    ],
)
async def test_the_log_is_as_loud_as_the_message(
    severity: Severity, level: str
) -> None:
    with capture_logs() as logs:
        await LogChannel().send(Message(severity, "EVRG 235", "sell by hand"))
    assert LogChannel().name == "log"
    assert logs == [
        {
            "event": "message.told",
            "log_level": level,
            "subject": "EVRG 235",
            "body": "sell by hand",
        }
    ]
