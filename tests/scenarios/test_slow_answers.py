"""Slow is not absent: what is only late is neither ended nor sent again."""

from __future__ import annotations

import pytest

from daemon.fakegateway.faults import Drop, Refuse, Restart, Temper

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
NOV = "NOV 292 at 19.64 stop 19.05 targets 20.23 20.82"


@pytest.mark.parametrize("latency_s", [34.0, 75.0, 130.0], ids=["34", "75", "130"])
def test_slow_answers_at_the_close_end_no_closing_order(play_day, latency_s):
    """Unknown after 30 s; the cancel that asked for it would land on a live order."""
    slow = Temper("latency_s", latency_s, at="15:39:50")
    day = play_day(BLCO, LH, NOV, faults=(slow,))
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22, "NOV": 292}


@pytest.mark.parametrize("latency_s", [5.0, 34.0])
def test_slow_answers_at_the_submit_end_no_bracket(play_day, latency_s):
    slow = Temper("latency_s", latency_s, at="09:35:00.5", for_s=300)
    drop = (Drop(at="09:35:03"),) if latency_s < 30 else ()
    day = play_day(BLCO, LH, NOV, faults=(slow, *drop))
    assert day.flat
    assert day.problems == []
    ours = {r["order_id"] for r in day.records("placed", client_id=10)}
    morning = [r for r in day.records("cancel_requested") if r["at"][11:13] == "14"]
    assert not [r for r in morning if r["order_id"] in ours and r["perm_id"]]
    assert day.rows == {"BLCO": "submitted", "LH": "submitted", "NOV": "submitted"}


def test_after_a_restart_of_the_gateway_nothing_is_sent_again(play_day):
    """It forgot what a person cancelled meanwhile: that looks like never arrived."""

    async def deeds(hands):
        await hands.until("09:36")
        orders = {o.ticket.order_ref: o for o in hands.gateway.open_orders(10)}
        if entry := orders.get("ibkrd:20260219:BLCO:A:EN"):
            hands.gateway.cancel(10, entry.order_id)

    faults = (Refuse(at="09:35:02.230", for_s=100), Restart(at="09:36:45"))
    day = play_day(BLCO, LH, faults=faults, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert not [ref for ref in day.placed if ref.endswith(":2")]
    assert day.messages("order(s) of unknown fate")
