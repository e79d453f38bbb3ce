from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.clock import SystemClock
from daemon.core.model import Message, Notice
from daemon.core.outages import Outlook
from daemon.core.windows import parse_moment, parse_window
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.notify.notifier import OutboxNotifier
from daemon.watch import LinkWatch

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

ALERT, ALL_CLEAR = "No session to the gateway", "Session to the gateway restored"
FLAPS = "The link to the gateway flaps"
STABLE = "The link to the gateway is stable again"
HELD = "Client id 10 is held by another host or program"

CUTOFF = (
    "No closing order is taken after 15:40:00 UTC, in 39 min: without a session close "
    "by hand in TWS before that."
)


class Link:
    """A broker's link that the test takes down and brings back."""

    client_id = 10

    def __init__(self) -> None:
        self._ready, self._lost = asyncio.Event(), asyncio.Event()
        self.trouble = ""
        self.lose("not connected yet")

    def lose(self, trouble: str) -> None:
        self.trouble = trouble
        self._ready.clear()
        self._lost.set()

    def restore(self) -> None:
        self.trouble = ""
        self._lost.clear()
        self._ready.set()

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def wait_lost(self) -> None:
        await self._lost.wait()


@dataclass
class Pager:
    """A channel that keeps what it was told, and when by the loop's clock."""

    name: str = "pager"
    takes_s: float = 0.0
    messages: list[tuple[float, str, str, str]] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        await asyncio.sleep(self.takes_s)
        at = round(asyncio.get_running_loop().time(), 1)
        self.messages.append((at, message.severity, message.subject, message.body))

    @property
    def told(self) -> list[tuple[float, str]]:
        return [(at, subject) for at, _, subject, _ in self.messages]


@dataclass
class Desk:
    """The state directory and the link, which outlive the watches."""

    folder: Path
    link: Link
    pager: Pager = field(default_factory=Pager)
    outlook: Outlook = field(default_factory=Outlook)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[LinkWatch]:
        """Run a watch as one daemon would, on the journal in the folder."""
        path = self.folder / "state" / "journal.sqlite"
        with open_journal(path, now=SystemClock().now()) as journal:
            watch = self.watch(journal)
            task = asyncio.get_running_loop().create_task(watch.run())
            try:
                yield watch
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def watch(self, journal: SqlJournal) -> LinkWatch:
        broker: Any = self.link
        return LinkWatch(
            broker=broker,
            clock=SystemClock(),
            notifier=OutboxNotifier(journal, SystemClock(), [self.pager]),
            journal=journal,
            outlook=lambda: self.outlook,
            zone=UTC,
        )


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path, Link())
    made.link.restore()
    return made


# --- one outage -----------------------------------------------------------------------


async def test_an_outage_is_told_once_after_half_a_minute_and_so_is_its_end(
    desk: Desk,
) -> None:
    async with desk.watching():
        await asyncio.sleep(100)
        desk.link.lose("client id 10 is in use")
        await asyncio.sleep(600)
        desk.link.restore()
        await asyncio.sleep(600)
    assert desk.pager.messages == [
        (
            130.0,
            "alarm",
            ALERT,
            "since 15:01:40 UTC (30 s): client id 10 is in use",
        ),
        (
            700.0,
            "info",
            ALL_CLEAR,
            "at 15:11:40 UTC, lost since 15:01:40 UTC (10 min)",
        ),
    ]


async def test_a_short_outage_is_not_told(desk: Desk) -> None:
    async with desk.watching():
        for _ in range(4):
            desk.link.lose("dropped")
            await asyncio.sleep(29)
            desk.link.restore()
            await asyncio.sleep(60)
    assert desk.pager.messages == []


async def test_a_start_without_a_gateway_is_told(desk: Desk) -> None:
    desk.link.lose("not connected yet")
    async with desk.watching():
        await asyncio.sleep(1)
        desk.link.trouble = "nothing listens on 127.0.0.1:4002"
        await asyncio.sleep(60)
    ((at, severity, subject, body),) = desk.pager.messages
    assert (at, severity, subject) == (30.0, "alarm", ALERT)
    assert body == "since 15:00:00 UTC (30 s): nothing listens on 127.0.0.1:4002"


async def test_an_ordinary_start_is_not_told(desk: Desk) -> None:
    desk.link.lose("not connected yet")
    async with desk.watching():
        await asyncio.sleep(1)
        desk.link.restore()
        await asyncio.sleep(600)
    assert desk.pager.messages == []


async def test_every_long_outage_has_its_own_alert_and_all_clear(desk: Desk) -> None:
    async with desk.watching():
        for _ in range(3):
            await asyncio.sleep(100)
            desk.link.lose("dropped")
            await asyncio.sleep(100)
            desk.link.restore()
        await asyncio.sleep(1)
    assert desk.pager.told == [
        (130.0, ALERT),
        (200.0, ALL_CLEAR),
        (330.0, ALERT),
        (400.0, ALL_CLEAR),
        (530.0, ALERT),
        (600.0, ALL_CLEAR),
    ]


async def test_an_end_while_the_alert_is_on_its_way_is_told_behind_it(
    desk: Desk,
) -> None:
    desk.pager.takes_s = 20
    async with desk.watching():
        await asyncio.sleep(0)
        desk.link.lose("dropped")
        await asyncio.sleep(35)
        desk.link.restore()
        await asyncio.sleep(60)
    assert [subject for _, subject in desk.pager.told] == [ALERT, ALL_CLEAR]


async def test_the_alert_says_what_it_means_for_the_day(desk: Desk) -> None:
    desk.outlook = Outlook(
        "moc_close",
        datetime(2026, 2, 19, 15, 30, tzinfo=UTC),
        datetime(2026, 2, 19, 15, 40, tzinfo=UTC),
    )
    desk.link.lose("nothing listens on 127.0.0.1:4002")
    async with desk.watching():
        await asyncio.sleep(31)
    assert desk.pager.messages[0][3].splitlines()[1:] == [
        "Next: moc_close at 15:30:00 UTC, in 29 min.",
        CUTOFF,
    ]


async def test_a_clock_that_is_set_back_does_not_delay_the_alert(desk: Desk) -> None:
    loop: Any = asyncio.get_running_loop()
    async with desk.watching():
        await asyncio.sleep(100)
        desk.link.lose("dropped")
        await asyncio.sleep(10)
        loop.step_wall(-3600)
        await asyncio.sleep(120)
    ((at, subject),) = desk.pager.told
    assert subject == ALERT
    assert at <= 170


async def test_a_journal_that_fails_does_not_silence_the_watch(desk: Desk) -> None:
    path = desk.folder / "state" / "journal.sqlite"
    journal = open_journal(path, now=SystemClock().now())
    watch = desk.watch(journal)
    task = asyncio.get_running_loop().create_task(watch.run())
    await asyncio.sleep(1)
    journal.close()
    with capture_logs() as logs:
        desk.link.lose("dropped")
        await asyncio.sleep(60)
        desk.link.restore()
        await asyncio.sleep(60)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert [subject for _, subject in desk.pager.told] == [ALERT, ALL_CLEAR]
    assert "outage.unrecorded" in {line["event"] for line in logs}


# --- restarts -------------------------------------------------------------------------


async def test_an_outage_over_restarts_is_one_alert_and_one_all_clear(
    desk: Desk,
) -> None:
    async with desk.watching():
        await asyncio.sleep(1)
        desk.link.lose("dropped")
        await asyncio.sleep(60)
    for _ in range(3):
        async with desk.watching():
            await asyncio.sleep(60)
    async with desk.watching():
        await asyncio.sleep(5)
        desk.link.restore()
        await asyncio.sleep(60)
    async with desk.watching():
        await asyncio.sleep(60)
    assert desk.pager.told == [(31.0, ALERT), (246.0, ALL_CLEAR)]
    assert desk.pager.messages[1][3] == (
        "at 15:04:06 UTC, lost since 15:00:01 UTC (4 min)"
    )


async def test_an_outage_that_was_not_told_before_the_restart_is_told_of_its_begin(
    desk: Desk,
) -> None:
    async with desk.watching():
        await asyncio.sleep(1)
        desk.link.lose("dropped")
        await asyncio.sleep(20)
    async with desk.watching():
        await asyncio.sleep(29)
        assert desk.pager.messages == []
        await asyncio.sleep(2)
    assert desk.pager.messages[0][3].startswith("since 15:00:01 UTC (50 s)")


async def test_an_outage_that_ended_while_nobody_watched_has_its_all_clear(
    desk: Desk,
) -> None:
    async with desk.watching():
        await asyncio.sleep(1)
        desk.link.lose("dropped")
        await asyncio.sleep(60)
    desk.link.restore()
    async with desk.watching():
        await asyncio.sleep(60)
    assert [subject for _, subject in desk.pager.told] == [ALERT, ALL_CLEAR]


async def test_an_all_clear_that_a_death_cut_short_is_told_by_the_next_daemon(
    desk: Desk,
) -> None:
    desk.pager.takes_s = 5
    async with desk.watching():
        await asyncio.sleep(1)
        desk.link.lose("dropped")
        await asyncio.sleep(60)
        desk.link.restore()
        await asyncio.sleep(1)  # the all-clear is on its way
    desk.link.lose("dropped once more")
    async with desk.watching():
        await asyncio.sleep(60)
    assert [subject for _, subject in desk.pager.told] == [ALERT, ALERT]
    path = desk.folder / "state" / "journal.sqlite"
    with open_journal(path, now=SystemClock().now()) as journal:
        waiting = [each.message.subject for each in journal.undelivered()]
    assert waiting == [ALL_CLEAR], "journaled, and so told by the outbox's loop"


# --- a held client id -----------------------------------------------------------------


async def test_a_client_id_held_for_a_minute_is_told_as_another_holder(
    desk: Desk,
) -> None:
    async with desk.watching() as watch:
        await asyncio.sleep(10)
        desk.link.lose("client id 10 is in use")
        for _ in range(60):
            watch.hear(Notice(-1, 326, "client id is already in use"))
            await asyncio.sleep(5)
        desk.link.restore()
        await asyncio.sleep(10)
    assert desk.pager.told == [(40.0, ALERT), (70.0, HELD), (310.0, ALL_CLEAR)]
    body = desk.pager.messages[1][3]
    assert "refused client id 10 as in use (326) since 15:00:10 UTC" in body
    assert "The id is never changed" in body


async def test_a_client_id_that_is_free_again_is_no_other_holder(desk: Desk) -> None:
    """The half-open session of our own goes; then the gateway is restarted."""
    async with desk.watching() as watch:
        await asyncio.sleep(10)
        desk.link.lose("client id 10 is in use")
        for _ in range(8):
            watch.hear(Notice(-1, 326, "client id is already in use"))
            await asyncio.sleep(5)
        desk.link.trouble = "nothing listens on 127.0.0.1:4002"
        await asyncio.sleep(300)
    assert desk.pager.told == [(40.0, ALERT)]


async def test_other_notices_are_no_held_id(desk: Desk) -> None:
    async with desk.watching() as watch:
        await asyncio.sleep(10)
        desk.link.lose("1100")
        for _ in range(30):
            watch.hear(Notice(-1, 1100, "Connectivity has been lost"))
            await asyncio.sleep(5)
    assert desk.pager.told == [(40.0, ALERT)]


# --- flapping -------------------------------------------------------------------------


async def blips(desk: Desk, count: int, *, away_s: float = 5, there_s: float = 55):
    for _ in range(count):
        desk.link.lose("the gateway closed the connection")
        await asyncio.sleep(away_s)
        desk.link.restore()
        await asyncio.sleep(there_s)


async def test_many_short_losses_are_one_alarm_with_their_count_and_one_all_clear(
    desk: Desk,
) -> None:
    async with desk.watching():
        await asyncio.sleep(60)
        await blips(desk, 12)
        await asyncio.sleep(1200)
    assert [(at, subject) for at, _, subject, _ in desk.pager.messages] == [
        (305.0, FLAPS),  # the end of the fifth
        (1325.0, STABLE),  # ten minutes after the end of the last
    ]
    assert desk.pager.messages[0][3] == (
        "5 losses since 15:01:00 UTC, each shorter than 30 s; the last: "
        "the gateway closed the connection"
    )
    assert desk.pager.messages[1][3] == (
        "12 losses from 15:01:00 UTC to 15:12:00 UTC, none since"
    )


async def test_short_losses_far_apart_are_nothing(desk: Desk) -> None:
    async with desk.watching():
        await blips(desk, 12, there_s=200)
    assert desk.pager.messages == []


async def test_flapping_over_a_restart_is_one_alarm_and_one_all_clear(
    desk: Desk,
) -> None:
    async with desk.watching():
        await asyncio.sleep(60)
        await blips(desk, 6)
    async with desk.watching():
        await blips(desk, 6)
        await asyncio.sleep(1200)
    assert [subject for _, subject in desk.pager.told] == [FLAPS, STABLE]


async def test_restarts_of_the_daemon_are_no_losses(desk: Desk) -> None:
    for _ in range(8):
        desk.link.lose("not connected yet")
        async with desk.watching():
            await asyncio.sleep(1)
            desk.link.restore()
            await asyncio.sleep(10)
    assert desk.pager.messages == []


# --- planned windows ------------------------------------------------------------------

RESET = parse_window("nightly reset", "daily 15:10-15:40", "UTC")


async def test_an_outage_within_a_planned_window_is_only_logged(desk: Desk) -> None:
    desk.outlook = Outlook(windows=(RESET,))
    with capture_logs() as logs:
        async with desk.watching():
            await asyncio.sleep(700)
            desk.link.lose("dropped")
            await asyncio.sleep(1200)
            desk.link.restore()
            await asyncio.sleep(60)
    assert desk.pager.messages == []
    assert [line["event"] for line in logs] == ["outage.planned"]


async def test_an_outage_that_outlasts_the_window_is_an_alarm_that_names_it(
    desk: Desk,
) -> None:
    desk.outlook = Outlook(windows=(RESET,))
    async with desk.watching():
        await asyncio.sleep(700)
        desk.link.lose("nothing listens on 127.0.0.1:4002")
        await asyncio.sleep(3000)
        desk.link.restore()
        await asyncio.sleep(1)
    (alert, clear) = desk.pager.messages
    assert (alert[1], alert[2]) == ("alarm", ALERT)
    assert 2700 <= alert[0] < 2731, "15:40 and five minutes of grace"
    assert alert[3].splitlines()[1] == (
        "It has outlasted the planned window nightly reset, which ended at "
        "15:40:00 UTC."
    )
    assert clear[2] == ALL_CLEAR


async def test_blips_within_a_planned_window_do_not_flap(desk: Desk) -> None:
    desk.outlook = Outlook(windows=(RESET,))
    async with desk.watching():
        await asyncio.sleep(700)
        await blips(desk, 12)
    assert desk.pager.messages == []


async def test_the_weekly_login_is_told_quietly_and_alarmed_when_it_is_missed(
    desk: Desk,
) -> None:
    """Thursday stands for the Sunday; the daemon is restarted in the night."""
    login = parse_window("weekly login", "thu 15:10-17:00", "UTC")
    again = parse_moment("fri 08:00", "UTC")
    window = type(login)(
        login.name, login.days, login.begin, login.end, login.zone, again
    )
    desk.outlook = Outlook(windows=(window,))
    async with desk.watching():
        await asyncio.sleep(700)
        desk.link.lose("1100 Connectivity has been lost")
        await asyncio.sleep(timedelta(hours=4).total_seconds())
    async with desk.watching():
        await asyncio.sleep(timedelta(hours=20).total_seconds())
        desk.link.restore()
        await asyncio.sleep(1)
    assert [(severity, text) for _, severity, text, _ in desk.pager.messages] == [
        ("info", "The gateway may wait for its weekly login"),
        ("alarm", ALERT),
        ("alarm", "Still no session to the gateway: was the login missed?"),
        ("info", ALL_CLEAR),
    ]
    quietly, alarmed, again, _ = [at for at, _ in desk.pager.told]
    assert quietly == 730
    assert 7500 <= alarmed < 7531, "17:00 and five minutes of grace"
    assert 61200 <= again < 61231, "08:00 of the next day"
