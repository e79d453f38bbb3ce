from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from daemon.core.windows import (
    Moment,
    Window,
    covering,
    next_moment,
    parse_moment,
    parse_window,
    spans,
    window_rows,
)

NEW_YORK, BUDAPEST = ZoneInfo("America/New_York"), ZoneInfo("Europe/Budapest")
RESET = parse_window("reset", "sun-fri 00:15-01:45 America/New_York", "UTC")
WEEKEND = parse_window("weekend", "fri 23:00-03:00 America/New_York", "UTC")
RESTART = parse_window("restart", "daily 23:45-00:00", "Europe/Budapest")


def ny(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_window_has_days_times_and_a_zone() -> None:
    assert (
        Window("weekend", frozenset({5}), time(23), time(3), "America/New_York")
        == WEEKEND
    )


@pytest.mark.parametrize(
    ("words", "days"),
    [
        ("daily", {1, 2, 3, 4, 5, 6, 7}),
        ("sun-fri", {1, 2, 3, 4, 5, 7}),
        ("fri-mon", {5, 6, 7, 1}),
        ("mon,thu", {1, 4}),
        ("Sat", {6}),
        ("tue-tue", {2}),
        ("mon-tue,sat-sun", {1, 2, 6, 7}),
    ],
)
def test_days_may_wrap_around_the_week(words, days) -> None:
    assert parse_window("w", f"{words} 01:00-02:00", "UTC").days == days


def test_a_window_without_a_zone_is_in_the_given_one() -> None:
    assert RESTART.zone == "Europe/Budapest"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no window: write days, times and a zone"),
        ("sun", "is no window"),
        ("sun 1:00-02:00 UTC", "is no window"),
        ("sun 01:00-24:00 UTC", "is no window"),
        ("sun 01:00 02:00 UTC", "is no window"),
        ("sun 01:00-01:00 UTC", "lasts a whole day"),
        ("son 01:00-02:00 UTC", "the days 'son' are not understood; write `daily`"),
        ("sun- 01:00-02:00 UTC", "the days 'sun-' are not understood"),
        ("sun 01:00-02:00 Europe/Budapset", "did you mean Europe/Budapest"),
    ],
)
def test_what_is_no_window_is_refused_with_the_remedy(text, said) -> None:
    with pytest.raises(ValueError, match=said):
        parse_window("w", text, "UTC")


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        ("2026-02-20T00:14:59", False),
        ("2026-02-20T00:15:00", True),
        ("2026-02-20T01:44:59", True),
        ("2026-02-20T01:45:00", False),
        ("2026-02-21T00:30:00", False),  # a Saturday
        ("2026-02-22T00:30:00", True),
    ],
)
def test_a_window_holds_its_begin_and_not_its_end(at, inside) -> None:
    assert (covering([RESET], ny(at)) is not None) is inside


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        ("2026-02-20T22:59:59", False),
        ("2026-02-20T23:00:00", True),
        ("2026-02-21T00:00:00", True),
        ("2026-02-21T02:59:59", True),
        ("2026-02-21T03:00:00", False),
        ("2026-02-20T02:00:00", False),  # the night before the Friday
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(
    at, inside
) -> None:
    assert (covering([WEEKEND], ny(at)) is not None) is inside


def test_a_window_may_end_at_midnight() -> None:
    assert covering([RESTART], utc("2026-02-19T22:59:59")) is not None
    assert covering([RESTART], utc("2026-02-19T23:00:00")) is None


def test_of_overlapping_windows_the_longer_counts() -> None:
    login = parse_window("login", "sun 01:00-12:00 America/New_York", "UTC")
    found = covering([RESET, login], ny("2026-02-22T01:10:00"))
    assert found is not None
    assert found.window.name == "login"


def test_a_window_keeps_its_time_of_day_in_its_own_zone_through_the_skew_weeks() -> (
    None
):
    """The reset is at 06:15 in Budapest, and at 05:15 while only New York changed."""
    begins = {
        day: next(iter(spans(RESET, ny(f"{day}T00:00:00"), ny(f"{day}T02:00:00"))))
        .begin.astimezone(BUDAPEST)
        .strftime("%H:%M")
        for day in ("2026-03-06", "2026-03-09", "2026-03-27", "2026-03-30")
    }
    assert begins == {
        "2026-03-06": "06:15",
        "2026-03-09": "05:15",
        "2026-03-27": "05:15",
        "2026-03-30": "06:15",
    }


def test_an_hour_that_comes_twice_is_covered_both_times() -> None:
    """New York, 2026-11-01: 01:00 to 02:00 comes twice."""
    (span,) = spans(RESET, ny("2026-11-01T00:00:00"), ny("2026-11-01T12:00:00"))
    assert (span.begin, span.end) == (
        utc("2026-11-01T04:15:00"),
        utc("2026-11-01T06:45:00"),
    )


def test_an_hour_that_is_left_out_does_not_shorten_a_window() -> None:
    """Budapest, 2026-03-29: 02:00 to 03:00 does not exist."""
    window = parse_window("w", "sun 01:30-02:30 Europe/Budapest", "UTC")
    (span,) = spans(window, utc("2026-03-29T00:00:00"), utc("2026-03-29T12:00:00"))
    assert (span.begin, span.end) == (
        utc("2026-03-29T00:30:00"),
        utc("2026-03-29T01:30:00"),
    )


def test_every_occurrence_that_touches_the_interval_is_found_in_order() -> None:
    found = list(spans(WEEKEND, ny("2026-02-21T01:00:00"), ny("2026-02-27T23:00:00")))
    assert [span.begin for span in found] == [
        ny("2026-02-20T23:00:00"),
        ny("2026-02-27T23:00:00"),
    ]


def test_a_moment_of_the_week_comes_every_week_in_its_zone() -> None:
    monday = parse_moment("mon 08:00", "Europe/Budapest")
    assert monday == Moment(1, time(8), "Europe/Budapest")
    first = next_moment(monday, utc("2026-03-22T17:05:00"))
    second = next_moment(monday, first)
    assert (first, second) == (utc("2026-03-23T07:00:00"), utc("2026-03-30T06:00:00"))


@pytest.mark.parametrize("text", ["", "08:00", "mon", "daily 08:00", "mon 8:00"])
def test_what_is_no_moment_of_the_week_is_refused(text) -> None:
    with pytest.raises(ValueError, match="no moment of the week: write a day, a time"):
        parse_moment(text, "Europe/Budapest")


def test_the_windows_of_days_are_shown_in_both_zones() -> None:
    rows = window_rows(
        [RESET, WEEKEND],
        (date(2026, 2, 20), date(2026, 2, 22)),
        ("America/New_York", "Europe/Budapest"),
    )
    assert rows == [
        {
            "window": "reset",
            "date": "2026-02-20",
            "weekday": "Fri",
            "from": "2026-02-20T00:15:00-05:00",
            "to": "2026-02-20T01:45:00-05:00",
            "exchange": "00:15-01:45",
            "local": "06:15-07:45",
        },
        {
            "window": "weekend",
            "date": "2026-02-20",
            "weekday": "Fri",
            "from": "2026-02-20T23:00:00-05:00",
            "to": "2026-02-21T03:00:00-05:00",
            "exchange": "23:00-03:00+1d",
            "local": "05:00+1d-09:00+1d",
        },
        {
            "window": "reset",
            "date": "2026-02-22",
            "weekday": "Sun",
            "from": "2026-02-22T00:15:00-05:00",
            "to": "2026-02-22T01:45:00-05:00",
            "exchange": "00:15-01:45",
            "local": "06:15-07:45",
        },
    ]
