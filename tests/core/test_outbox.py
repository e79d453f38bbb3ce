from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from daemon.core.model import Message, Severity
from daemon.core.outbox import Waiting, pause_s, too_old, worded

SINCE = datetime(2026, 5, 11, 14, 20, tzinfo=UTC)
ALARM = Message(Severity.ALARM, "not flat: EVRG 235", "sell 235 EVRG by hand", "k")
WAITING = Waiting(7, ALARM, SINCE)
BUDAPEST = ZoneInfo("Europe/Budapest")


def test_the_pauses_double_from_five_seconds_to_five_minutes() -> None:
    assert [pause_s(n) for n in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert pause_s(10_000) == 300


def test_a_message_that_hardly_waited_is_told_as_it_was_written() -> None:
    assert worded(WAITING, SINCE + timedelta(seconds=59), BUDAPEST) == ALARM


def test_a_late_message_says_first_of_when_it_is_with_the_zone() -> None:
    told = worded(WAITING, SINCE + timedelta(minutes=20), BUDAPEST)
    assert told == Message(
        Severity.ALARM,
        "not flat: EVRG 235",
        "LATE: of 2026-05-11 16:20:00 CEST; no channel accepted it before.\n"
        "sell 235 EVRG by hand",
        "k",
    )


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(days=7), False),
        (timedelta(days=7, seconds=1), True),
        (timedelta(hours=-1), False),
    ],
)
def test_nobody_acts_on_a_message_of_last_week(age, expected) -> None:
    assert too_old(WAITING, SINCE + age) is expected
