from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from daemon.core.model import Session
from daemon.core.session import (
    Anchor,
    Crontab,
    Firing,
    OrdinaryDay,
    Relative,
    fire_time,
    ordinary_day,
    parse_when,
    submit_deadline,
)

NEW_YORK = OrdinaryDay(
    "America/New_York", timedelta(hours=9, minutes=30), timedelta(hours=16)
)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


ORDINARY = Session(
    date(2026, 2, 19), utc("2026-02-19T14:30:00"), utc("2026-02-19T21:00:00")
)
SUMMER = Session(
    date(2026, 6, 10), utc("2026-06-10T13:30:00"), utc("2026-06-10T20:00:00")
)
SKEW = Session(date(2026, 3, 9), utc("2026-03-09T13:30:00"), utc("2026-03-09T20:00:00"))
HALF_DAY = Session(
    date(2026, 11, 27),
    utc("2026-11-27T14:30:00"),
    utc("2026-11-27T18:00:00"),
    half_day=True,
)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("close-20m", Relative(Anchor.CLOSE, timedelta(minutes=-20))),
        ("open+5m", Relative(Anchor.OPEN, timedelta(minutes=5))),
        ("open-5m", Relative(Anchor.OPEN, timedelta(minutes=-5))),
        ("close+1h", Relative(Anchor.CLOSE, timedelta(hours=1))),
        ("close-90s", Relative(Anchor.CLOSE, timedelta(seconds=-90))),
        (" close+0m ", Relative(Anchor.CLOSE, timedelta(0))),
        (
            "40 21 * * 1-5 Europe/Budapest",
            Crontab(time(21, 40), frozenset({1, 2, 3, 4, 5}), "Europe/Budapest"),
        ),
        (
            "5 9  * * mon,Wed,fri America/New_York",
            Crontab(time(9, 5), frozenset({1, 3, 5}), "America/New_York"),
        ),
        ("0 0 * * 0 UTC", Crontab(time(0, 0), frozenset({7}), "UTC")),
        ("0 0 * * 5-7 UTC", Crontab(time(0, 0), frozenset({5, 6, 7}), "UTC")),
        ("0 0 * * * UTC", Crontab(time(0, 0), frozenset(range(1, 8)), "UTC")),
    ],
)
def test_both_forms_of_a_moment_are_read(text, when):
    assert parse_when(text) == when


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "write `open\\+5m`, `close-20m`, or a crontab line with a zone"),
        ("noon", "write `open\\+5m`"),
        ("close", "write `open\\+5m`"),
        ("close-20", "write `open\\+5m`"),
        ("close-1.5h", "write `open\\+5m`"),
        ("21:40", "write `open\\+5m`"),
        ("close - 20m", "has 3 words: keep minute, hour"),
        ("close-13h", "stay within 12h of the close"),
        ("40 21 * * 1-5", "names no zone.*`40 21 \\* \\* 1-5 Europe/Budapest`"),
        ("40 21 * * 1-5 python close.py", "has 7 words.*without a command"),
        ("*/5 21 * * 1-5 UTC", "the minute '\\*/5' is not one number from 0 to 59"),
        ("0,30 21 * * 1-5 UTC", "a job runs once a session"),
        ("60 21 * * 1-5 UTC", "the minute '60'"),
        ("40 24 * * 1-5 UTC", "the hour '24' is not one number from 0 to 23"),
        ("40 -1 * * 1-5 UTC", "the hour '-1'"),
        ("40 21 1 * 1-5 UTC", "write `\\* \\*` there"),
        ("40 21 * 3 1-5 UTC", "write `\\* \\*` there"),
        ("40 21 * * 1-5/2 UTC", "write `1-5`, `1,3,5`, `mon-fri` or `\\*`"),
        ("40 21 * * 5-1 UTC", "the weekdays '5-1' are not understood"),
        ("40 21 * * 8 UTC", "the weekdays '8'"),
        ("40 21 * * mon- UTC", "the weekdays 'mon-'"),
        ("40 21 * * 1-5 Europe/Budapst", "did you mean Europe/Budapest"),
        ("40 21 * * 1-5 ../etc/passwd", "there is no zone"),
        ("40 21 * * 1-5 nowhere/at.all.x", "there is no zone"),
    ],
)
def test_anything_else_is_refused_with_the_remedy(text, remedy):
    with pytest.raises(ValueError, match=remedy):
        parse_when(text)


def fired(text, session, *, adjust=True):
    return fire_time(parse_when(text), session, NEW_YORK, adjust=adjust)


@pytest.mark.parametrize(
    ("text", "session", "at"),
    [
        ("open+5m", ORDINARY, "2026-02-19T14:35:00"),
        ("close-20m", ORDINARY, "2026-02-19T20:40:00"),
        ("close-20m", SUMMER, "2026-06-10T19:40:00"),
        ("close-20m", SKEW, "2026-03-09T19:40:00"),
        ("close-20m", HALF_DAY, "2026-11-27T17:40:00"),
    ],
)
def test_a_relative_moment_keeps_its_distance_on_every_session(text, session, at):
    assert fired(text, session) == Firing(utc(at))


@pytest.mark.parametrize(
    ("text", "session", "at"),
    [
        ("40 21 * * 1-5 Europe/Budapest", ORDINARY, "2026-02-19T20:40:00"),
        ("40 21 * * 1-5 Europe/Budapest", SUMMER, "2026-06-10T19:40:00"),
        ("35 15 * * 1-5 Europe/Budapest", HALF_DAY, "2026-11-27T14:35:00"),
        ("40 15 * * 1-5 America/New_York", SKEW, "2026-03-09T19:40:00"),
    ],
)
def test_a_pasted_line_that_falls_right_is_left_alone(text, session, at):
    assert fired(text, session) == Firing(utc(at), utc(at))
    assert not fired(text, session).moved


SKEWED = "Europe/Budapest is +5 h from America/New_York, usually +6 h"


@pytest.mark.parametrize(
    ("text", "session", "firing"),
    [
        (
            "40 21 * * 1-5 Europe/Budapest",
            SKEW,
            Firing(utc("2026-03-09T19:40:00"), utc("2026-03-09T20:40:00"), SKEWED),
        ),
        (
            "35 15 * * 1-5 Europe/Budapest",
            SKEW,
            Firing(utc("2026-03-09T13:35:00"), utc("2026-03-09T14:35:00"), SKEWED),
        ),
        (
            "40 21 * * 1-5 Europe/Budapest",
            HALF_DAY,
            Firing(
                utc("2026-11-27T17:40:00"),
                utc("2026-11-27T20:40:00"),
                "the close is 13:00 America/New_York",
            ),
        ),
        (
            "40 15 * * 1-5 America/New_York",
            HALF_DAY,
            Firing(
                utc("2026-11-27T17:40:00"),
                utc("2026-11-27T20:40:00"),
                "the close is 13:00 America/New_York",
            ),
        ),
    ],
)
def test_a_pasted_line_that_falls_wrong_is_moved_with_the_reason(text, session, firing):
    assert fired(text, session) == firing
    assert fired(text, session).moved


def test_a_late_open_moves_what_hangs_on_the_open():
    late = Session(ORDINARY.date, utc("2026-02-19T15:30:00"), ORDINARY.close)
    assert fired("35 15 * * 1-5 Europe/Budapest", late) == Firing(
        utc("2026-02-19T15:35:00"),
        utc("2026-02-19T14:35:00"),
        "the open is 10:30 America/New_York",
    )
    assert not fired("40 21 * * 1-5 Europe/Budapest", late).moved


def test_without_adjusting_a_pasted_line_stays_literal_and_the_reason_is_known():
    firing = fired("40 21 * * 1-5 Europe/Budapest", SKEW, adjust=False)
    assert firing == Firing(
        utc("2026-03-09T20:40:00"), utc("2026-03-09T20:40:00"), SKEWED
    )
    assert not firing.moved


def test_a_line_does_not_fire_on_a_weekday_that_it_leaves_out():
    assert ORDINARY.date.isoweekday() == 4
    assert fired("40 21 * * 1-3,5 Europe/Budapest", ORDINARY) is None
    assert fired("40 21 * * 4 Europe/Budapest", ORDINARY) is not None


def test_a_line_east_of_midnight_belongs_to_the_session_of_the_day_before():
    # 05:40 on Friday in Tokyo is 15:40 on Thursday in New York, in summer.
    thursday = Session(
        date(2026, 6, 11), utc("2026-06-11T13:30:00"), utc("2026-06-11T20:00:00")
    )
    assert fired("40 4 * * 2-6 Asia/Tokyo", thursday) == Firing(
        utc("2026-06-11T19:40:00"), utc("2026-06-11T19:40:00")
    )
    assert fired("40 4 * * 5 Asia/Tokyo", thursday) is not None
    assert fired("40 4 * * 4 Asia/Tokyo", thursday) is None


def test_the_nearer_end_of_the_ordinary_day_is_the_anchor():
    # 12:44 is nearer to the open, 12:46 to the close, 12:45 in the middle.
    at = {
        text: fired(f"{text} 12 * * 1-5 America/New_York", HALF_DAY).at
        for text in ("44", "45", "46")
    }
    assert at == {
        "44": utc("2026-11-27T17:44:00"),
        "45": utc("2026-11-27T14:45:00"),
        "46": utc("2026-11-27T14:46:00"),
    }


def test_the_ordinary_day_is_that_of_the_full_sessions():
    sessions = [HALF_DAY, SKEW, SUMMER, HALF_DAY, HALF_DAY]
    assert ordinary_day(sessions, "America/New_York") == NEW_YORK


def test_half_days_alone_do_not_show_the_ordinary_day():
    with pytest.raises(ValueError, match="no full session"):
        ordinary_day([HALF_DAY], "America/New_York")


def test_entries_may_be_sent_until_half_an_hour_after_the_open():
    assert submit_deadline(HALF_DAY) == utc("2026-11-27T15:00:00")
