"""The supervised session on whole days: frozen, garbled, lost for ever, too quick."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"

LOST = "No session to the gateway"
RESTORED = "Session to the gateway restored"


def outages(day):
    return [one.subject for one in day.told if one.subject in {LOST, RESTORED}]


@pytest.mark.parametrize(
    "moment", ["09:34:58", "09:35:02.160", "09:35:02.200", "15:39:58", "15:40:00.350"]
)
def test_nothing_stale_is_transmitted_when_a_frozen_gateway_thaws(play_day, moment):
    """A6: the probe before the batch; what a frozen socket holds goes out at thaw."""
    thaw = f"{moment[:3]}{int(moment[3:5]) + 3}:30"

    async def deeds(hands):
        await hands.until(moment)
        hands.gateway.freeze()
        await hands.until(thaw)
        hands.gateway.thaw()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    anew = min(at for at in day.times("connected") if at > thaw)
    assert [at for at in day.times("placed") if moment < at < anew] == []
    assert [at for at in day.times("placed") if at > anew]


def test_a_loss_of_the_broker_that_nobody_ends_costs_five_minutes(play_day):
    """1102 was told to nobody: a new connection finds the farms connected."""

    async def deeds(hands):
        await hands.until("12:00")
        hands.say(1100, "Connectivity has been lost.")

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert outages(day) == [LOST, RESTORED]
    (back,) = day.messages(RESTORED)
    assert "12:05:09" < f"{back.at:%H:%M:%S}" < "12:05:20"


def test_a_broker_that_is_away_for_hours_is_never_called_ready(play_day):
    async def deeds(hands):
        await hands.until("09:32")
        hands.gateway.lose_link()
        await hands.until("11:00")
        hands.gateway.restore_link(data_lost=True)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.records("placed") == []
    assert outages(day) == [LOST, RESTORED]
    assert len(day.records("connected")) > 15  # it looked


def test_a_gateway_that_sends_garbage_at_noon_costs_one_reconnect(play_day):
    async def deeds(hands):
        await hands.until("12:00")
        hands.connection.server.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    (failed,) = day.logged("session.failed")
    assert "bytes that cannot be read" in failed["cause"]
    assert "HTTP/1.1 502" in failed["cause"]
    assert len(day.records("connected")) == 2
    assert day.messages(LOST) == []  # back before anybody had to know


def test_children_that_overtake_their_parents_are_sent_once_more(play_day):
    day = play_day(BLCO, LH, settings={"missing_parent": "always"})
    assert day.flat
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    again = [ref for ref in day.placed if day.placed.count(ref) == 2]
    assert sorted(set(again)) == [
        "ibkrd:20260219:BLCO:A:TP",
        "ibkrd:20260219:BLCO:B:TP",
        "ibkrd:20260219:LH:A:TP",
        "ibkrd:20260219:LH:B:TP",
    ]
    assert not [ref for ref in day.placed if day.placed.count(ref) > 2]
    assert "rejected" not in day.states.values()
    assert day.messages("10006") == []
