"""Outages as a person hears of them: one alert, one all-clear, by day and by night."""

from __future__ import annotations

from datetime import date, time

import pytest

from daemon.fakegateway.faults import Deaf, Drop, Linger, LinkLost, Refuse

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"

LOST = "No session to the gateway"
RESTORED = "Session to the gateway restored"
HELD = "Client id 10 is held by another host or program"
FLAPS = "The link to the gateway flaps"
STABLE = "The link to the gateway is stable again"
LOGIN = "The gateway may wait for its weekly login"
MISSED = "Still no session to the gateway: was the login missed?"
OUTAGES = {LOST, RESTORED, HELD, FLAPS, STABLE, LOGIN, MISSED}

NIGHT = {"begin": time(20), "end": time(8), "nights": 1, "plan_name": ""}
"""From Thursday 20:00 to Friday 08:00 in New York."""


def outages(day):
    """Return day, time, severity and subject of what was told of outages."""
    return [
        (f"{one.at:%a %H:%M:%S}", one.severity, one.subject)
        for one in day.told
        if one.subject in OUTAGES
    ]


# --- by day ---------------------------------------------------------------------------


def test_a_gateway_down_from_ten_past_ten_is_tried_for_ever_and_told_twice(play_day):
    """A3: three refused connections, and the check was lost."""
    day = play_day(BLCO, LH, faults=[Refuse(at="10:10", for_s=3600)])
    assert day.flat
    assert day.problems == []
    assert outages(day) == [
        ("Thu 10:10:30", "alarm", LOST),
        (day_of(day, RESTORED), "info", RESTORED),
    ]
    assert "11:10:00" <= day_of(day, RESTORED)[4:] < "11:10:10"
    (alert,) = day.messages(LOST)
    assert "nothing listens on 127.0.0.1:4002" in alert.body
    assert "Next: moc_close at 21:40:00 CET, in 5 h 29 min." in alert.body
    assert [line["cause"][:15] for line in day.logged("session.failed")] == [
        "the gateway clo",
        "nothing listens",
    ], "each cause is a WARNING once, the rest is DEBUG"


def day_of(day, subject):
    (at,) = [at for at, _, told in outages(day) if told == subject]
    return at


def test_a_half_open_gateway_at_twenty_past_four_is_alarmed_within_a_minute(play_day):
    """A4: no alert for 55 minutes, because the alert path raised."""
    day = play_day(BLCO, faults=[Deaf(at="16:20")], end=time(16, 40))
    assert day.flat
    (lost,) = outages(day)
    assert lost[1:] == ("alarm", LOST)
    assert "16:20:30" <= lost[0][4:] < "16:21:00"


def test_a_client_id_held_for_ten_minutes_is_named_waited_out_and_called_another_holder(
    play_day,
):
    """A1: at 15:35 another program has our id; it leaves at 15:45."""
    day = play_day(BLCO, LH, faults=[Linger(10, at="15:35", for_s=600)])
    assert day.flat
    assert day.problems == []
    told = outages(day)
    assert [(severity, subject) for _, severity, subject in told] == [
        ("alarm", LOST),
        ("alarm", HELD),
        ("info", RESTORED),
    ]
    times = [at[4:] for at, _, _ in told]
    assert times[0] == "15:35:30"
    assert "15:36:00" < times[1] <= "15:36:15"
    assert "15:45:00" <= times[2] < "15:45:10"
    assert "client id 10 is in use" in day.messages(LOST)[0].body
    held = day.messages(HELD)[0].body
    assert "another host, another ibkrd or a script" in held
    assert "The id is never changed" in held
    assert "No closing order is taken after 21:50:00 CET, in 13 min" in held
    used = day.records("connected") + day.records("refused_client")
    assert {record["client_id"] for record in used} == {10}
    assert "15:45" < min(day.times("placed", order_type="MOC")) < "15:46"


def test_a_link_that_flaps_is_one_alarm_and_one_all_clear(play_day):
    cuts = [Drop(at=f"12:{minute:02}") for minute in range(12)]
    day = play_day(BLCO, LH, faults=cuts)
    assert day.flat
    assert day.problems == []
    assert [(severity, subject) for _, severity, subject in outages(day)] == [
        ("alarm", FLAPS),
        ("info", STABLE),
    ]
    assert "12:04:00" <= day_of(day, FLAPS)[4:] < "12:04:10"
    assert "12:21:00" <= day_of(day, STABLE)[4:] < "12:21:10"
    assert day.messages(STABLE)[0].body.startswith("12 losses from 18:00:00 CET")


# --- over restarts --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "start"),
    [
        ("12:00:10", "12:00:20"),  # before the alert
        ("12:10", "12:12"),  # after it
        ("12:10", "12:35"),  # and back when the gateway is
    ],
)
def test_an_outage_over_a_restart_is_one_alert_and_one_all_clear(play_day, stop, start):
    async def deeds(hands):
        await hands.until(stop)
        await hands.stop_daemon()
        await hands.until(start)
        hands.start_daemon()

    day = play_day(BLCO, LH, faults=[Refuse(at="12:00", for_s=1800)], deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert [(severity, subject) for _, severity, subject in outages(day)] == [
        ("alarm", LOST),
        ("info", RESTORED),
    ]
    assert "lost since 18:00:00 CET" in day.messages(RESTORED)[0].body


# --- by night -------------------------------------------------------------------------


def test_the_nightly_reset_is_no_alarm(play_day):
    """06:15 to 07:45 in Budapest: blips, a lost link, and a gateway that is gone."""
    night = [
        Drop(at="00:16"),
        LinkLost(at="00:20", for_s=1200),
        Refuse(at="00:50", for_s=3000),
    ]
    day = play_day(text="", faults=night, **NIGHT)
    assert day.problems == []
    assert outages(day) == []
    assert day.alarms == []


def test_a_reset_that_outlasts_its_window_is_one_alarm_that_names_it(play_day):
    day = play_day(text="", faults=[LinkLost(at="00:20", for_s=7200)], **NIGHT)
    assert day.problems == []
    assert [(severity, subject) for _, severity, subject in outages(day)] == [
        ("alarm", LOST),
        ("info", RESTORED),
    ]
    assert "01:50:00" <= day_of(day, LOST)[4:] < "01:50:31"
    assert "02:20:00" <= day_of(day, RESTORED)[4:] < "02:20:10"
    assert (
        "It has outlasted the planned window nightly reset, which ended at "
        "07:45:00 CET." in day.messages(LOST)[0].body
    )


def test_the_same_outage_two_hours_later_is_an_alarm_after_half_a_minute(play_day):
    day = play_day(text="", faults=[LinkLost(at="02:20", for_s=600)], **NIGHT)
    assert outages(day) == [
        ("Fri 02:20:30", "alarm", LOST),
        ("Fri 02:30:00", "info", RESTORED),
    ]


def test_a_missed_sunday_login_is_alarmed_on_sunday_evening_and_on_monday_morning(
    play_day,
):
    """Not on Monday at 15:35, when the plan is due."""
    day = play_day(
        text="",
        day=date(2026, 2, 22),
        begin=time(11),
        nights=1,
        end=time(2, 30),
        plan_name="",
        faults=[LinkLost(at="11:10", for_s=54_000)],
    )
    assert day.problems == []
    told = [(at[:9], severity, subject) for at, severity, subject in outages(day)]
    assert told == [
        ("Sun 11:10", "info", LOGIN),
        ("Sun 12:05", "alarm", LOST),
        ("Mon 02:00", "alarm", MISSED),
        ("Mon 02:10", "info", RESTORED),
    ]
    assert "weekly login, which ended at 18:00:00 CET" in day.messages(LOST)[0].body
