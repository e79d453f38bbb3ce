"""Told means delivered: a channel that is down delays a message, and loses none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from daemon.control.client import call
from daemon.core.model import Message
from daemon.errors import NotifyError
from daemon.fakegateway.faults import Refuse

pytestmark = pytest.mark.slow

NEW_YORK = ZoneInfo("America/New_York")
BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
LOST = "No session to the gateway"
RESTORED = "Session to the gateway restored"
GONE = [Refuse(at="12:00", for_s=120)]
"""Nothing listens from 12:00 to 12:02: one alert, one all-clear."""


@dataclass
class Telephone:
    """A channel that nobody answers between two times of day in New York."""

    down: tuple[str, str]
    name: str = "telephone"
    told: list[tuple[str, str]] = field(default_factory=list)
    bodies: dict[str, str] = field(default_factory=dict)

    async def send(self, message: Message) -> None:
        now = f"{datetime.now(NEW_YORK):%H:%M:%S}"  # noqa: TID251 - virtual time
        if self.down[0] <= now < self.down[1]:
            raise NotifyError("nobody answers")
        self.told.append((now, message.subject))
        self.bodies[message.subject] = message.body

    def times(self, subject: str) -> list[str]:
        return [at for at, told in self.told if told == subject]


def accepted(day: Any) -> list[tuple[str, str]]:
    """Return the subject of each message that the telephone accepted, journaled."""
    return day.sql(
        "SELECT subject, substr(a.at, 12, 5) FROM messages JOIN acceptances a"
        " USING (number) WHERE channel = 'telephone' ORDER BY a.at, number"
    )


async def status(hands: Any) -> dict[str, Any]:
    """Ask the running daemon as `ibkrd status` does."""
    state = hands.stage.config.paths.state
    answer = await asyncio.to_thread(call, state, "status", {}, 5.0)
    return answer["messages"]


def restarted(stop: str, start: str):
    async def deeds(hands):
        await hands.until(stop)
        await hands.stop_daemon()
        await hands.until(start)
        hands.start_daemon()

    return deeds


def test_a_channel_down_for_twenty_minutes_around_an_alarm_gets_it_afterwards_once(
    play_day,
):
    """A4: the alert path raised, the error was swallowed, and nobody was told."""
    phone = Telephone(down=("11:55", "12:15"))
    day = play_day(BLCO, LH, faults=GONE, channels=(phone,))
    assert day.flat
    assert day.problems == []
    (alert,), (clear,) = phone.times(LOST), phone.times(RESTORED)
    assert "12:15:00" <= alert <= clear < "12:20:31"
    assert phone.bodies[LOST].splitlines()[0] == (
        "LATE: of 2026-02-19 18:00:30 CET; no channel accepted it before."
    )
    assert [subject for subject, _ in accepted(day)].count(LOST) == 1


def test_what_waited_is_told_in_the_order_in_which_it_happened(play_day):
    phone = Telephone(down=("09:30", "15:00"))
    day = play_day(BLCO, LH, faults=GONE, channels=(phone,))
    assert day.problems == []
    late = [subject for at, subject in phone.told if at < "15:10"]
    assert late.index(LOST) < late.index(RESTORED)
    assert late[0].startswith("Submit 2026-02-19")
    assert [subject for subject, _ in accepted(day)] == [s for _, s in phone.told]


def test_a_daemon_stopped_with_undelivered_messages_delivers_them_after_its_start(
    play_day,
):
    phone = Telephone(down=("11:55", "12:40"))
    day = play_day(
        BLCO, LH, faults=GONE, channels=(phone,), deeds=restarted("12:10", "12:30")
    )
    assert day.flat
    assert day.problems == []
    (alert,), (clear,) = phone.times(LOST), phone.times(RESTORED)
    assert "12:40:00" <= alert <= clear < "12:45:01"
    assert "LATE: of 2026-02-19 18:00:30 CET" in phone.bodies[LOST]


def test_the_last_try_of_a_stop_delivers_what_a_channel_takes_again(play_day):
    """The outbox is between two tries, five minutes apart, when the stop comes."""
    phone = Telephone(down=("11:55", "12:29:30"))
    day = play_day(
        BLCO, LH, faults=GONE, channels=(phone,), deeds=restarted("12:30", "12:35")
    )
    assert day.problems == []
    (alert,) = phone.times(LOST)
    assert "12:29:30" < alert < "12:30:01"


def test_a_delivered_message_is_not_told_again_by_the_next_daemon(play_day):
    phone = Telephone(down=("00:00", "00:00"))
    day = play_day(
        BLCO, LH, faults=GONE, channels=(phone,), deeds=restarted("13:00", "13:05")
    )
    assert day.problems == []
    assert phone.times(LOST) == ["12:00:30"]
    assert len(phone.told) == len(set(phone.told))


def test_a_failing_channel_is_visible_in_log_and_status(play_day):
    """A4: a failing alert channel is itself visible."""
    phone = Telephone(down=("11:55", "12:15"))
    seen: list[dict[str, Any]] = []

    async def deeds(hands):
        await hands.until("12:10")
        seen.append(await status(hands))
        await hands.until("12:30")
        seen.append(await status(hands))

    day = play_day(BLCO, LH, faults=GONE, channels=(phone,), deeds=deeds)
    during, after = seen
    assert during == {
        "undelivered": 2,
        "oldest": during["oldest"],
        "failing": [
            {
                "channel": "telephone",
                "since": during["oldest"],
                "cause": "nobody answers",
            }
        ],
    }
    assert during["oldest"].startswith("2026-02-19T17:00:30")
    assert after == {"undelivered": 0, "oldest": None, "failing": []}
    assert [line["level"] for line in day.logged("notify.failed")] == ["warning"]
    assert len(day.logged("notify.undelivered")) == 2


def test_a_channel_that_hangs_delays_no_closing_order(play_day):
    """Nothing may block a job: the close is sent as if the channel answered."""

    class Hanging(Telephone):
        async def send(self, _: Message) -> None:
            await asyncio.sleep(10)
            raise NotifyError("no answer in 10 s")

    quick = play_day(BLCO, LH, state="quick")
    slow = play_day(BLCO, LH, channels=(Hanging(down=("", "")),), state="slow")
    assert slow.problems == []
    assert slow.times("placed", order_type="MOC") == quick.times(
        "placed", order_type="MOC"
    )
