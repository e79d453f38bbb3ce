from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from daemon.calendar import TableCalendar, shipped_table
from daemon.config import load_config
from daemon.core.model import Severity
from daemon.core.outages import (
    Flaps,
    Kind,
    Memory,
    Outage,
    Outlook,
    Teller,
    alerts,
    flapping,
    planned,
)
from daemon.core.windows import parse_window

NEW_YORK, BUDAPEST = ZoneInfo("America/New_York"), ZoneInfo("Europe/Budapest")
CALENDAR = TableCalendar(shipped_table())
WINDOWS = load_config(None, {"HOME": "/home/user"}).planned()
AHEAD = timedelta(days=4)


def bud(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=BUDAPEST)


def outlook(day: date = date(2026, 2, 20), windows=WINDOWS) -> Outlook:
    return Outlook(
        windows=windows, sessions=CALENDAR.sessions(day - AHEAD, day + AHEAD)
    )


def due(since: str, until: str, **around) -> list[tuple[str, str, str]]:
    """Return kind, time in Budapest and window of each alert."""
    found = alerts(bud(since), outlook(**around), bud(until))
    return [
        (
            alert.kind.value,
            f"{alert.at.astimezone(BUDAPEST):%a %H:%M:%S}",
            alert.span.window.name if alert.span else "",
        )
        for alert in found
    ]


# --- which alert is due when ----------------------------------------------------------


def test_an_outage_in_no_window_is_alarmed_after_half_a_minute() -> None:
    assert due("02-19T12:00", "02-19T12:00:29") == []
    assert due("02-19T12:00", "02-19T18:00") == [("lost", "Thu 12:00:30", "")]


def test_the_nightly_reset_is_no_alarm_until_it_is_outlasted() -> None:
    """06:15 to 07:45 in Budapest."""
    assert due("02-20T06:16", "02-20T07:49") == []
    assert due("02-20T06:16", "02-20T08:00") == [
        ("lost", "Fri 07:50:00", "nightly reset")
    ]


def test_a_loss_just_before_the_window_belongs_to_it() -> None:
    assert due("02-20T06:14:45", "02-20T08:00") == [
        ("lost", "Fri 07:50:00", "nightly reset")
    ]
    assert due("02-20T06:14:00", "02-20T08:00") == [("lost", "Fri 06:14:30", "")]


def test_a_loss_after_the_window_is_none_of_its_business() -> None:
    assert due("02-20T07:45:01", "02-20T08:00") == [("lost", "Fri 07:45:31", "")]


def test_windows_that_follow_each_other_are_one() -> None:
    """The reset of Sunday morning, and the login from 07:00 to 18:00 behind it."""
    assert due("02-22T06:20", "02-22T20:00")[-1] == (
        "lost",
        "Sun 18:05:00",
        "weekly login",
    )


def test_a_missed_login_is_alarmed_on_sunday_evening_and_on_monday_morning() -> None:
    """Not at 15:35, when it is too late for a person."""
    assert due("02-22T07:00:05", "02-23T15:35") == [
        ("login", "Sun 07:00:35", "weekly login"),
        ("lost", "Sun 18:05:00", "weekly login"),
        ("overdue", "Mon 08:00:00", "weekly login"),
    ]


def test_a_gateway_dead_since_saturday_is_reminded_of_the_login_as_well() -> None:
    assert due("02-21T12:00", "02-23T15:35") == [
        ("lost", "Sat 12:00:30", ""),
        ("overdue", "Sun 18:05:00", "weekly login"),
        ("overdue", "Mon 08:00:00", "weekly login"),
    ]


def test_in_the_skew_weeks_the_windows_move_with_new_york() -> None:
    """2026-03-15: the login is from 06:00 to 17:00 in Budapest."""
    assert due("03-15T06:00:05", "03-16T12:00", day=date(2026, 3, 16)) == [
        ("login", "Sun 06:00:35", "weekly login"),
        ("lost", "Sun 17:05:00", "weekly login"),
        ("overdue", "Mon 08:00:00", "weekly login"),
    ]


def test_no_window_silences_the_hours_of_a_session() -> None:
    """The session of Thursday is watched from 15:00 to 22:15 in Budapest."""
    all_day = (parse_window("oops", "daily 14:00-23:00", "Europe/Budapest"),)
    there = {"windows": all_day}
    assert due("02-19T21:39", "02-19T23:00", **there) == [("lost", "Thu 21:39:30", "")]
    assert due("02-19T14:30", "02-19T23:00", **there) == [("lost", "Thu 15:00:00", "")]
    assert due("02-19T22:14:31", "02-19T23:30", **there) == [
        ("lost", "Thu 23:05:00", "oops")
    ]


def test_what_is_planned_excuses_nothing_near_a_session() -> None:
    there = outlook(
        windows=(parse_window("oops", "daily 14:00-23:00", "Europe/Budapest"),)
    )
    assert planned(there, bud("02-19T14:30")) is not None
    assert planned(there, bud("02-19T15:00")) is None
    assert planned(there, bud("02-19T22:14")) is None
    assert planned(there, bud("02-19T22:15")) is not None
    assert planned(there, bud("02-19T23:00")) is None


def test_the_names_of_alerts_are_the_same_whenever_they_are_asked_for() -> None:
    early = alerts(bud("02-22T07:00:05"), outlook(), bud("02-23T08:00"))
    late = alerts(bud("02-22T07:00:05"), outlook(), bud("02-26T08:00"))
    assert [a.name for a in early] == [a.name for a in late][:3]
    assert len({a.name for a in late}) == len(late)


# --- flapping -------------------------------------------------------------------------


def test_five_losses_in_ten_minutes_flap() -> None:
    now = bud("02-19T12:10")
    losses = [now - timedelta(minutes=n) for n in (10, 7, 5, 3, 1)]
    assert flapping(losses, now) == Flaps(losses[0], 5, losses[-1])
    assert flapping(losses[1:], now) is None
    assert flapping(losses, now + timedelta(seconds=1)) is None


# --- what survives a restart ----------------------------------------------------------


@pytest.mark.parametrize(
    "memory",
    [
        Memory(),
        Memory(Outage(datetime(2026, 2, 19, 15, tzinfo=UTC))),
        Memory(
            Outage(
                datetime(2026, 2, 19, 15, tzinfo=UTC),
                frozenset({"lost", "held"}),
                datetime(2026, 2, 19, 16, tzinfo=UTC),
            )
        ),
        Memory(
            flaps=Flaps(
                datetime(2026, 2, 19, 15, tzinfo=UTC),
                7,
                datetime(2026, 2, 19, 15, 9, tzinfo=UTC),
            )
        ),
    ],
)
def test_what_is_stored_comes_back(memory) -> None:
    assert Memory.of_json(memory.as_json()) == memory


def test_a_new_journal_remembers_nothing() -> None:
    assert Memory.of_json(None) == Memory()


# --- words ----------------------------------------------------------------------------

OUTAGE = Outage(bud("02-22T07:00:05").astimezone(UTC))


def told(at: str, kind: Kind):
    """Return the message of the alert of *kind* as it is told at *at*."""
    there = outlook()
    (found, *_) = [
        alert for alert in alerts(OUTAGE.since, there, bud(at)) if alert.kind is kind
    ]
    there = replace(
        there, next_job="submit", next_at=bud("02-23T15:35"), cutoff=bud("02-23T21:50")
    )
    return Teller(bud(at), BUDAPEST, there).alert(OUTAGE, found, "nothing listens")


def test_the_login_is_asked_for_quietly_with_its_deadline() -> None:
    message = told("02-22T07:00:35", Kind.LOGIN)
    assert message.severity is Severity.INFO
    assert message.body == (
        "since 07:00:05 CET (30 s): nothing listens\n"
        "Planned window weekly login: log in (second factor) before 18:00:00 CET."
    )


def test_an_outlasted_window_is_named_with_what_it_means_for_the_day() -> None:
    message = told("02-22T18:05:00", Kind.LOST)
    assert message.severity is Severity.ALARM
    assert message.body == (
        "since 07:00:05 CET (11 h 4 min): nothing listens\n"
        "It has outlasted the planned window weekly login, which ended at "
        "18:00:00 CET.\n"
        "Next: submit at Mon 23 15:35:00 CET, in 21 h 30 min."
    )


def test_a_missed_login_says_what_to_do_and_since_when_with_the_day() -> None:
    message = told("02-23T08:00:00", Kind.OVERDUE)
    assert message.severity is Severity.ALARM
    assert message.body == (
        "since Sun 22 07:00:05 CET (1 d 0 h): nothing listens\n"
        "Log in to the gateway now (second factor).\n"
        "Next: submit at 15:35:00 CET, in 7 h 35 min."
    )


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ("02-19T20:49:59", False),
        ("02-19T20:50:00", True),
        ("02-19T21:49:59", True),
        ("02-19T21:50:00", False),
    ],
)
def test_the_cutoff_is_named_in_its_last_hour(now, named) -> None:
    there = Outlook(cutoff=bud("02-19T21:50"))
    lines = Teller(bud(now), BUDAPEST, there).day()
    assert any("No closing order is taken after 21:50:00 CET" in x for x in lines) is (
        named
    )


def test_every_message_of_an_outage_has_its_own_key() -> None:
    teller = Teller(bud("02-23T08:00"), BUDAPEST, outlook())
    found = alerts(OUTAGE.since, outlook(), bud("02-23T08:00"))
    keys = [teller.alert(OUTAGE, alert, "").key for alert in found]
    keys += [teller.held(OUTAGE, 10, OUTAGE.since).key, teller.restored(OUTAGE).key]
    assert keys == [
        "outage/2026-02-22T06:00:05+00:00/login/20260222T060035Z",
        "outage/2026-02-22T06:00:05+00:00/lost",
        "outage/2026-02-22T06:00:05+00:00/overdue/20260223T070000Z",
        "outage/2026-02-22T06:00:05+00:00/held",
        "outage/2026-02-22T06:00:05+00:00/restored",
    ]
