from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from daemon.fakegateway.sessions import Sessions, hours
from daemon.fakegateway.values import MarketSession

EASTERN = ZoneInfo("US/Eastern")


def session(day: date, close_hour: int = 16) -> MarketSession:
    return MarketSession(
        day,
        datetime(day.year, day.month, day.day, 9, 30, tzinfo=EASTERN),
        datetime(day.year, day.month, day.day, close_hour, tzinfo=EASTERN),
    )


WEDNESDAY = session(date(2026, 11, 25))
HALF_DAY = session(date(2026, 11, 27), close_hour=13)
SESSIONS = Sessions([HALF_DAY, WEDNESDAY])
ONE_US = timedelta(microseconds=1)


def test_a_session_takes_orders_until_its_close_and_not_at_it():
    assert SESSIONS.taking_orders(WEDNESDAY.close - ONE_US) == WEDNESDAY
    assert SESSIONS.taking_orders(WEDNESDAY.close) == HALF_DAY
    assert SESSIONS.taking_orders(HALF_DAY.close) is None


def test_a_session_is_open_from_its_open_to_just_before_its_close():
    assert SESSIONS.open_at(HALF_DAY.open - ONE_US) is None
    assert SESSIONS.open_at(HALF_DAY.open) == HALF_DAY
    assert SESSIONS.open_at(HALF_DAY.close) is None


def test_the_neighbours_of_a_session_are_known():
    assert SESSIONS.before(HALF_DAY) == WEDNESDAY
    assert SESSIONS.before(WEDNESDAY) is None
    assert SESSIONS.last_opened(WEDNESDAY.open - ONE_US) is None
    assert SESSIONS.last_opened(HALF_DAY.open - ONE_US) == WEDNESDAY


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (WEDNESDAY.close, HALF_DAY.open),
        (HALF_DAY.close, datetime(2026, 11, 30, 9, 30, tzinfo=EASTERN)),
        (
            datetime(2026, 12, 1, tzinfo=UTC),
            datetime(2026, 12, 1, 9, 30, tzinfo=EASTERN),
        ),
    ],
)
def test_the_next_open_is_known_or_guessed(now, opens):
    assert SESSIONS.next_open(now) == opens


def test_hours_show_the_holiday_the_half_day_and_the_weekend():
    trading, liquid = hours(SESSIONS, date(2026, 11, 25), EASTERN)
    assert liquid.split(";") == [
        "20261125:0930-20261125:1600",
        "20261126:CLOSED",
        "20261127:0930-20261127:1300",
        "20261128:CLOSED",
        "20261129:CLOSED",
        "20261130:0930-20261130:1600",
    ]
    assert trading.split(";")[:3] == [
        "20261125:0400-20261125:2000",
        "20261126:CLOSED",
        "20261127:0400-20261127:1700",
    ]
