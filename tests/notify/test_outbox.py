"""What no channel accepted is told again until one does, also after a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from daemon.clock import SystemClock
from daemon.core.model import Message, Severity
from daemon.errors import JournalError, NotifyError
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.notify.channels import Channel, LogChannel
from daemon.notify.notifier import OutboxNotifier

pytestmark = pytest.mark.virtual(start="2026-02-19T15:40:00-05:00")

BUDAPEST = ZoneInfo("Europe/Budapest")
ALARM = Message(Severity.ALARM, "not flat: EVRG 235", "sell 235 EVRG by hand")
LATE = "LATE: of 2026-02-19 21:40:00 CET; no channel accepted it before.\n"


@dataclass
class Telephone:
    """A channel that is down from time to time, by the loop's clock."""

    name: str = "telegram"
    takes_s: float = 0.0
    failure: Exception | None = None
    tries: list[float] = field(default_factory=list)
    told: list[tuple[float, str]] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        at = round(asyncio.get_running_loop().time(), 1)
        self.tries.append(at)
        await asyncio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        self.told.append((at, message.subject))
        self.last = message


def alarm(subject: str, key: str = "") -> Message:
    return Message(Severity.ALARM, subject, "", key)


def open_at(folder: Path) -> SqlJournal:
    return open_journal(folder / "state" / "journal.sqlite", now=SystemClock().now())


def rows(journal: SqlJournal, query: str) -> list[Any]:
    with closing(sqlite3.connect(journal.path)) as connection:
        return connection.execute(query).fetchall()


@asynccontextmanager
async def outbox(
    journal: SqlJournal, *channels: Channel
) -> AsyncIterator[OutboxNotifier]:
    """Run the outbox's loop while the block runs."""
    made = OutboxNotifier(journal, SystemClock(), channels, zone=BUDAPEST)
    task = asyncio.get_running_loop().create_task(made.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def journal(tmp_path: Path):
    with open_at(tmp_path) as opened:
        yield opened


async def test_a_message_is_tried_again_until_a_channel_accepts_and_then_no_more(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    async with outbox(journal, LogChannel(), phone) as box:
        assert not await box.tell(ALARM)
        await asyncio.sleep(1200)
        phone.failure = None
        await asyncio.sleep(3600)
    assert phone.tries == [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215]
    assert phone.told == [(1215, "not flat: EVRG 235")]
    assert phone.last.body == f"{LATE}sell 235 EVRG by hand"
    assert rows(journal, "SELECT channel, substr(at, 12, 8) FROM acceptances") == [
        ("log", "20:40:00"),
        ("telegram", "21:00:15"),
    ]
    assert rows(journal, "SELECT number, ending FROM deliveries") == [(1, "delivered")]


async def test_what_waits_is_told_oldest_first_as_soon_as_a_channel_accepts(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    async with outbox(journal, phone) as box:
        for subject in ("first", "second", "third"):
            await box.tell(alarm(subject))
        await asyncio.sleep(100)
        phone.failure = None
        await box.tell(alarm("fourth"))
        await asyncio.sleep(1)
    # A new alarm does not wait behind old ones.
    assert phone.told == [
        (100, "fourth"),
        (100, "first"),
        (100, "second"),
        (100, "third"),
    ]


async def test_undelivered_messages_survive_a_restart_and_are_told_once(
    tmp_path: Path,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    with open_at(tmp_path) as journal:
        async with outbox(journal, LogChannel(), phone) as box:
            await box.tell(ALARM)
            await box.tell(alarm("BLCO 181"))
    await asyncio.sleep(600)
    phone.failure = None
    for _ in range(2):
        with open_at(tmp_path) as journal, capture_logs() as logs:
            async with outbox(journal, LogChannel(), phone):
                await asyncio.sleep(100)
    assert [subject for _, subject in phone.told] == ["not flat: EVRG 235", "BLCO 181"]
    assert phone.last.body == LATE.rstrip()
    assert [line["event"] for line in logs] == []


async def test_a_message_with_a_known_key_is_not_told_again_nor_after_a_restart(
    tmp_path: Path,
) -> None:
    phone = Telephone()
    for _ in range(2):
        with open_at(tmp_path) as journal:
            async with outbox(journal, phone) as box:
                assert await box.tell(alarm("No session", "outage/1"))
                assert await box.tell(alarm("No session", "outage/1"))
    assert [subject for _, subject in phone.told] == ["No session"]


async def test_a_known_key_that_still_waits_is_not_called_told(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    async with outbox(journal, phone) as box:
        assert not await box.tell(alarm("No session", "outage/1"))
        assert not await box.tell(alarm("No session", "outage/1"))
    assert box.status()["undelivered"] == 1


async def test_a_slow_channel_does_not_delay_the_other(journal: SqlJournal) -> None:
    slow, quick = Telephone("mail", takes_s=10), Telephone()
    async with outbox(journal, slow, quick) as box:
        assert await box.tell(ALARM)
    assert quick.told[0][0] == slow.told[0][0] == 0
    assert rows(journal, "SELECT channel, substr(at, 12, 8) FROM acceptances") == [
        ("telegram", "20:40:00"),
        ("mail", "20:40:10"),
    ]


async def test_one_channel_that_counts_is_enough_and_the_other_is_not_retried(
    journal: SqlJournal,
) -> None:
    broken = Telephone("mail", failure=NotifyError("no route"))
    works = Telephone()
    async with outbox(journal, broken, works) as box:
        assert await box.tell(ALARM)
        await asyncio.sleep(3600)
    assert (broken.tries, works.tries) == ([0], [0])


async def test_while_the_channels_fail_nobody_waits_for_their_timeouts(
    journal: SqlJournal,
) -> None:
    phone = Telephone(takes_s=10, failure=NotifyError("no answer in 10 s"))
    loop = asyncio.get_running_loop()
    async with outbox(journal, phone) as box:
        await box.tell(alarm("first"))
        began = loop.time()
        await box.tell(alarm("second"))
        await box.tell(alarm("third"))
        assert loop.time() == began
        await asyncio.sleep(0.1)
        assert len(phone.tries) == 2, "the loop did not try the new ones at once"
        phone.failure = None
        await asyncio.sleep(60)
    assert sorted(subject for _, subject in phone.told) == ["first", "second", "third"]


async def test_a_cancelled_teller_leaves_its_message_to_the_loop(
    journal: SqlJournal,
) -> None:
    phone = Telephone(takes_s=10)
    async with outbox(journal, phone) as box:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await box.tell(ALARM)
        await asyncio.sleep(60)
    assert phone.told == [(3, "not flat: EVRG 235")]


async def test_a_failing_channel_is_a_warning_once_in_a_stretch(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    with capture_logs() as logs:
        async with outbox(journal, phone) as box:
            await box.tell(ALARM)
            await asyncio.sleep(100)
            phone.failure = None
            await asyncio.sleep(100)
            phone.failure = NotifyError("nobody answers")
            await box.tell(alarm("BLCO 181"))
    found = [(line["event"], line["log_level"]) for line in logs]
    assert found == [
        ("notify.failed", "warning"),
        ("notify.undelivered", "error"),
        *[("notify.failed", "debug")] * 4,
        ("notify.recovered", "info"),
        ("notify.delivered_late", "info"),
        ("notify.failed", "warning"),
        ("notify.undelivered", "error"),
    ]


async def test_a_stretch_that_turns_out_to_need_a_person_is_a_second_warning(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("no route"))
    with capture_logs() as logs:
        async with outbox(journal, phone) as box:
            await box.tell(ALARM)
            phone.failure = NotifyError("chat not found", hopeless=True)
            await asyncio.sleep(1000)
    warned = [line["cause"] for line in logs if line["log_level"] == "warning"]
    assert warned == ["no route", "chat not found"]


async def test_what_only_a_person_can_mend_is_retried_at_the_slow_pace(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("chat not found", hopeless=True))
    async with outbox(journal, phone) as box:
        await box.tell(ALARM)
        await asyncio.sleep(1000)
        phone.failure = None
        await asyncio.sleep(300)
    assert phone.tries == [0, 300, 600, 900, 1200]
    assert phone.told == [(1200, "not flat: EVRG 235")]


async def test_a_channel_that_asks_for_rest_gets_it_from_old_and_new_messages(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("429", retry_after_s=40))
    async with outbox(journal, phone) as box:
        await box.tell(ALARM)
        phone.failure = None
        await asyncio.sleep(20)
        assert not await box.tell(alarm("BLCO 181"))
        await asyncio.sleep(100)
    assert phone.tries == [0, 40, 40]
    assert phone.told == [(40, "not flat: EVRG 235"), (40, "BLCO 181")]


async def test_a_message_that_the_channel_refuses_does_not_hold_up_the_next(
    journal: SqlJournal,
) -> None:
    class Picky(Telephone):
        async def send(self, message: Message) -> None:
            if message.subject == "poison":
                raise NotifyError("text refused", of_message=True)
            await super().send(message)

    phone = Picky(failure=NotifyError("nobody answers"))
    async with outbox(journal, phone) as box:
        await box.tell(alarm("poison"))
        await box.tell(alarm("BLCO 181"))
        await asyncio.sleep(1)
        phone.failure = None
        await asyncio.sleep(60)
        assert [subject for _, subject in phone.told] == ["BLCO 181"]
        assert box.status()["undelivered"] == 1


async def test_a_message_of_last_week_is_given_up_and_journaled_so(
    tmp_path: Path,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    with open_at(tmp_path) as journal:
        async with outbox(journal, phone) as box:
            await box.tell(ALARM)
    await asyncio.sleep(timedelta(days=7, minutes=1).total_seconds())
    phone.failure = None
    with open_at(tmp_path) as journal, capture_logs() as logs:
        async with outbox(journal, phone) as box:
            await asyncio.sleep(10)
            assert box.status()["undelivered"] == 0
        found = rows(journal, "SELECT number, ending, reason FROM deliveries")
    assert phone.told == []
    assert found == [(1, "abandoned", "no channel accepted it in 7 days")]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [
        "notify.abandoned"
    ]


async def test_without_a_journal_a_message_is_still_told_again(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    async with outbox(journal, phone) as box:
        journal.close()
        with pytest.raises(JournalError):
            await box.tell(ALARM)
        phone.failure = None
        await asyncio.sleep(60)
    assert phone.told == [(5, "not flat: EVRG 235")]


async def test_an_acceptance_that_cannot_be_journaled_ends_nothing(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    async with outbox(journal, phone) as box:
        await box.tell(ALARM)
        journal.close()
        phone.failure = None
        with capture_logs() as logs:
            await asyncio.sleep(60)
        assert box.status()["undelivered"] == 0
    assert phone.told == [(5, "not flat: EVRG 235")]
    assert "notify.unrecorded" in [line["event"] for line in logs]


async def test_the_last_try_of_a_stop_reaches_what_waits(journal: SqlJournal) -> None:
    phone = Telephone(failure=NotifyError("nobody answers"))
    async with outbox(journal, phone) as box:
        await box.tell(ALARM)
        await box.tell(alarm("BLCO 181"))
        await asyncio.sleep(400)
        phone.failure = None
        await box.last_try()
    assert phone.told == [(400, "not flat: EVRG 235"), (400, "BLCO 181")]


async def test_the_status_shows_what_waits_since_when_and_why(
    journal: SqlJournal,
) -> None:
    phone = Telephone()
    async with outbox(journal, LogChannel(), phone) as box:
        await box.tell(ALARM)
        assert box.status() == {"undelivered": 0, "oldest": None, "failing": []}
        phone.failure = NotifyError("nobody answers")
        await box.tell(ALARM)
        await asyncio.sleep(30)
        await box.tell(alarm("BLCO 181"))
        status = box.status()
    assert status == {
        "undelivered": 2,
        "oldest": datetime(2026, 2, 19, 20, 40, tzinfo=UTC).isoformat(),
        "failing": [
            {
                "channel": "telegram",
                "since": datetime(2026, 2, 19, 20, 40, tzinfo=UTC).isoformat(),
                "cause": "nobody answers",
            }
        ],
    }


async def test_a_bug_in_a_channel_is_a_traceback_once_and_ends_nothing(
    journal: SqlJournal,
) -> None:
    phone = Telephone(failure=ZeroDivisionError())
    with capture_logs() as logs:
        async with outbox(journal, phone) as box:
            await box.tell(ALARM)
            await asyncio.sleep(100)
            phone.failure = None
            await asyncio.sleep(100)
    assert [(e["event"], e["log_level"]) for e in logs if "crashed" in e["event"]] == [
        ("notify.crashed", "error")
    ]
    assert len(phone.told) == 1
