"""A: one process, one session, one client id, and what cuts them."""

from __future__ import annotations

import asyncio

import pytest

from daemon.errors import AccountRefused, ConfigError
from daemon.simulation.scenarios import collision

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
MRNA = "MRNA 82 at 44.15 stop 42.83 targets 45.47 46.80"
NOV = "NOV 292 at 19.64 stop 19.05 targets 20.23 20.82"

LOST = "No session to the gateway"
RESTORED = "Session to the gateway restored"
LOST_1100 = "Connectivity between IB and Trader Workstation has been lost."


def outages(day):
    """Return what was told of outages: the time, and whether of end or beginning."""
    return [
        (f"{one.at:%H:%M:%S}", one.severity, one.subject)
        for one in day.told
        if one.subject in {LOST, RESTORED}
    ]


# --- the client id ------------------------------------------------------------


@pytest.fixture(scope="module")
def collided(play_once):
    return play_once(
        BLCO, LH, MRNA, NOV, deeds=lambda hands: collision(hands.stage), state="A1"
    )


def test_a_foreign_holder_of_our_client_id_is_named_and_waited_out(collided):
    """A1: the close job met a held client id, and four positions stayed overnight."""
    assert collided.flat
    assert collided.problems == []
    assert collided.at_the_bell == {"BLCO": 270, "LH": 22, "MRNA": 82, "NOV": 292}


def test_the_closing_orders_are_sent_before_the_cutoff_although_the_id_was_held(
    collided,
):
    """A1: 15:40 to 15:41:30 the id is held; a MOC is not taken after 15:50."""
    sent = collided.times("placed", order_type="MOC")
    assert len(sent) == 4
    assert min(sent) > "15:41:30"
    assert max(sent) < "15:42:00"


def test_the_client_id_never_changes(collided):
    """A2: with another id the closer could not see the brackets."""
    used = collided.records("connected") + collided.records("refused_client")
    assert {record["client_id"] for record in used} == {10}
    assert len(collided.records("refused_client")) > 10


def test_a_held_id_is_one_alert_that_says_326s_cause_and_one_all_clear(collided):
    assert [subject for _, _, subject in outages(collided)] == [LOST, RESTORED]
    (alert,) = collided.messages(LOST)
    assert alert.severity == "alarm"
    assert f"{alert.at:%H:%M:%S}" == "15:38:30"
    assert "client id 10 is in use at 127.0.0.1:4002" in alert.body
    assert "waiting with the same id" in alert.body


def test_a_close_is_done_only_when_its_orders_are_journaled(collided):
    """A1: a printed header was taken for a close that had happened."""
    (ended,) = collided.sql(
        "SELECT ended_at FROM runs WHERE job = 'moc_close' AND outcome = 'done'"
    )
    working = collided.sql(
        "SELECT max(at) FROM order_states WHERE order_ref LIKE '%:MOC'"
        " AND state = 'working'"
    )
    assert working[0] < ended


# --- a gateway that is not there ----------------------------------------------


def test_a_gateway_that_starts_late_costs_one_alert_and_nothing_else(play_day):
    """A3: three refused connections, and the morning's check was lost."""

    async def deeds(hands):
        hands.close_gateway()
        await hands.until("09:20")
        await hands.open_gateway()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.started["submit"] == "09:35"
    (lost, back) = outages(day)
    assert lost == ("09:00:30", "alarm", LOST)
    assert back[0] < "09:20:10"
    assert "nothing listens on 127.0.0.1:4002" in day.messages(LOST)[0].body


def test_a_gateway_gone_after_a_green_probe_delays_the_close_and_no_more(play_day):
    """A6: the probe of 15:25 was green, at 15:31 the gateway was gone."""

    async def deeds(hands):
        await hands.until("15:31")
        hands.close_gateway()
        await hands.until("15:43")
        await hands.open_gateway()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert "15:43" < min(day.times("placed", order_type="MOC")) < "15:44"
    assert [subject for _, _, subject in outages(day)] == [LOST, RESTORED]


def test_an_absent_gateway_after_the_bell_delays_the_report_and_no_more(play_day):
    async def deeds(hands):
        await hands.until("16:02")
        hands.close_gateway()
        await hands.until("16:20")
        await hands.open_gateway()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.jobs[-1] == ("eod_report", "done")
    assert day.report["certificate"]["certified"] is True


# --- a gateway that has lost the broker ---------------------------------------


def test_a_broker_lost_at_noon_is_told_once_and_its_return_once(play_day):
    async def deeds(hands):
        await hands.until("12:00")
        hands.say(1100, LOST_1100)
        await hands.until("12:05")
        hands.say(1102, "Connectivity restored - data maintained.")

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert outages(day) == [
        ("12:00:30", "alarm", LOST),
        ("12:05:00", "info", RESTORED),
    ]
    assert f"1100 {LOST_1100}" in day.messages(LOST)[0].body


def test_nothing_is_sent_while_the_broker_is_away(play_day):
    async def deeds(hands):
        await hands.until("09:34:50")
        hands.gateway.lose_link()
        await hands.until("09:41")
        hands.gateway.restore_link(data_lost=True)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert min(day.times("placed")) > "09:41:00"
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}


def test_a_broker_lost_between_two_families_stops_the_second_one(play_day):
    async def deeds(hands):
        await hands.until("09:35:02.240")
        hands.say(1100, LOST_1100)
        await hands.until("09:36")
        hands.say(1102, "Connectivity restored - data maintained.")

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert [at for at in day.times("placed") if "09:35:02.241" < at < "09:36"] == []
    assert len(day.placed) == 12 + 2
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}


# --- a gateway that is mute ---------------------------------------------------


def test_a_frozen_connection_is_noticed_by_the_heartbeat_and_replaced(play_day):
    """A4: the socket stood, and for 55 minutes nothing was answered."""

    async def deeds(hands):
        await hands.until("12:00")
        line = hands.connection
        line.freeze()
        await hands.until("12:10")
        line.thaw()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    (noticed,) = day.logged("session.lost")
    assert "12:00:00" < noticed["at"] < "12:01:05"
    assert "without an answer" in noticed["cause"]
    assert [subject for _, _, subject in outages(day)] == [LOST, RESTORED]
    assert outages(day)[1][0] < "12:10:10"


def test_a_connection_frozen_before_the_close_is_noticed_within_ten_seconds(play_day):
    async def deeds(hands):
        await hands.until("15:39:55")
        line = hands.connection
        line.freeze()
        await hands.until("15:42")
        line.thaw()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    (noticed,) = day.logged("session.lost")
    assert noticed["at"] < "15:40:05"
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}


def test_a_gateway_that_accepts_and_never_answers_is_alarmed_within_a_minute(
    play_day,
):
    """A4: at 16:20 the port answered, the API did not; no alert for 55 minutes."""

    async def deeds(hands):
        loop = asyncio.get_running_loop()
        await hands.until("16:02")
        hands.connection.freeze()
        loop.network.on_connect = lambda line: line.freeze()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    (alert,) = day.messages(LOST)
    assert "16:02:00" < f"{alert.at:%H:%M:%S}" < "16:03:00"
    assert "did not finish the handshake" in alert.body


# --- the account --------------------------------------------------------------


def test_an_account_that_the_gateway_does_not_offer_ends_the_daemon(play_day):
    """I11: not one order byte for an account that is not allowed by name."""
    day = play_day(BLCO, account="DU7654321", ends_with=AccountRefused)
    assert str(day.failure) == (
        "account DU7654321 is not allowed here: the gateway at 127.0.0.1:4002 offers "
        "DU1234567; correct account.id or log the gateway in to the right account"
    )
    assert day.failure.exit_status == 8
    assert day.records("placed") == []


def test_without_an_account_the_daemon_ends_and_names_those_offered(play_day):
    day = play_day(
        BLCO,
        account="",
        settings={"accounts": ("DU1234567", "DU1234568")},
        ends_with=ConfigError,
    )
    assert str(day.failure) == (
        "account.id is not set: the gateway at 127.0.0.1:4002 offers DU1234567, "
        "DU1234568; name one of them"
    )
    assert day.failure.exit_status == 4
    assert day.records("placed") == []


def test_orders_go_to_the_configured_account_among_several(play_day):
    day = play_day(
        BLCO,
        account="DU1234568",
        settings={"accounts": ("DU1234567", "DU1234568")},
    )
    assert day.flat
    assert day.problems == []
    assert {order["account"] for order in day.records("placed")} == {"DU1234568"}
