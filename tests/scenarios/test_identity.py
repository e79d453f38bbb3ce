"""Order ids are no identity: a gateway forgets its sequence, a script takes our id."""

from __future__ import annotations

import pytest

from daemon.fakegateway.faults import LinkLost, Restart
from daemon.fakegateway.plot import Reject

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
ROLLED_BACK = "The gateway's order ids begin anew"


def ids(day, **wanted):
    return [r["order_id"] for r in day.records("placed", client_id=10, **wanted)]


def ours(day):
    """The problems of the day but that the script's own orders have no intent."""
    return [one for one in day.problems if "KMI" not in one and one != "placed twice: "]


def test_a_gateway_that_forgot_its_sequence_never_gives_an_id_twice(play_day):
    """After "Reset API order ID sequence" nextValidId begins at 1 again."""
    day = play_day(BLCO, LH, faults=(Restart(at="10:00", down_s=40, next_id=1),))
    assert day.flat
    assert day.problems == []
    assert ids(day) == sorted(set(ids(day)))
    assert day.records("order_error", code=103) == []
    (told,) = day.messages(ROLLED_BACK)
    assert told.severity == "warning"
    assert "it offers 1" in told.body
    assert f"go on above {max(ids(day)[:12])}" in told.body


def test_ids_of_orders_that_are_over_are_not_given_again(play_day):
    """No open order holds ib_async's counter up: the journal alone knows the ids."""

    async def deeds(hands):
        await hands.until("09:59")
        for order in hands.gateway.open_orders(10):
            hands.gateway.cancel(10, order.order_id)

    restart = Restart(at="10:00", down_s=40, next_id=1)
    day = play_day(BLCO, LH, deeds=deeds, faults=(restart,))
    assert day.flat
    assert day.problems == []
    assert ids(day) == sorted(set(ids(day)))
    assert day.records("order_error", code=103) == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}


def test_a_restart_of_the_gateway_alone_is_not_called_a_rollback(play_day):
    day = play_day(BLCO, LH, faults=(Restart(at="10:00", down_s=40),))
    assert day.flat
    assert day.problems == []
    assert day.messages(ROLLED_BACK) == []


def test_a_lost_link_to_the_broker_is_not_called_a_rollback(play_day):
    """What the connection offered at its start is not offered again by 1101."""
    lost = LinkLost(at="11:00", for_s=5, data_lost=True)
    day = play_day(BLCO, LH, faults=(lost,))
    assert day.flat
    assert day.problems == []
    assert day.messages(ROLLED_BACK) == []


def test_an_intent_that_never_reached_the_wire_is_not_called_a_rollback(play_day):
    async def deeds(hands):
        await hands.until("09:35:02.190")
        hands.connection.reset()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.messages(ROLLED_BACK) == []


def away_while_a_script_trades(next_id):
    """Return the deeds of a script that takes our client id and ids after ours."""

    async def deeds(hands):
        await hands.until("10:00")
        await hands.stop_daemon()
        first = hands.gateway.next_valid_id(10)
        hands.as_script(first, "KMI")
        hands.as_script(first + 1, "KMI", order_type="LMT", limit_price=1)
        await hands.until("10:05")
        if next_id is not None:
            Restart(next_id=next_id, down_s=1).begin(hands.gateway)
        await hands.until("15:30")
        hands.start_daemon()

    return deeds


def test_a_script_on_our_client_id_while_we_are_away_costs_nothing(play_day):
    """Its order is cancelled at the close, its share is sold: scope account."""
    day = play_day(BLCO, LH, deeds=away_while_a_script_trades(None))
    assert day.flat
    assert ours(day) == []
    assert day.records("order_error", code=103) == []
    assert day.at_the_bell == {"BLCO": 270, "KMI": 1, "LH": 22}


def test_an_id_that_a_script_used_up_is_refused_and_the_close_goes_on(play_day):
    """103: the next id is taken by an order that is done and that nobody lists."""
    day = play_day(BLCO, LH, deeds=away_while_a_script_trades(1))
    assert day.flat
    assert ours(day) == []
    assert day.at_the_bell == {"BLCO": 270, "KMI": 1, "LH": 22}
    assert set(day.states.values()) <= {"filled", "cancelled"}


def test_a_closing_order_whose_id_is_taken_goes_out_under_another(play_day):
    """103 says that the order was refused; whatever has the id is not ours."""

    async def deeds(hands):
        await hands.until("15:30")
        hands.gateway.plot(Reject(symbol="LH", code=103, times=1))

    day = play_day(BLCO, LH, deeds=deeds)
    (taken,) = day.records("order_error", code=103)
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    (again,) = day.records("placed", order_ref="ibkrd:20260219:LH:X:MOC:2")
    assert again["order_id"] > taken["order_id"]
    assert day.records("cancel_requested", order_id=taken["order_id"]) == []


def test_a_scripts_order_under_an_id_of_ours_is_neither_taken_nor_ended(play_day):
    """The gateway forgot its sequence: the script got the ids of our lost legs."""

    async def deeds(hands):
        await hands.until("09:35:02.190")
        hands.connection.cut()
        lost = hands.gateway.next_valid_id(10)
        await hands.until("09:36")
        hands.gateway.drop(10)
        hands.as_script(lost, "KMI", order_type="LMT", limit_price=1)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert ours(day) == []
    (script,) = day.records("placed", client_id=10, order_ref="")
    states = day.sql(
        "SELECT DISTINCT state FROM order_states JOIN intents USING (order_ref)"
        " WHERE order_id = ?",
        script["order_id"],
    )
    assert ("working",) not in states
    cancelled = day.times("cancel_requested", perm_id=script["perm_id"])
    assert min(cancelled) > "15:40"
    (told,) = day.messages("Submit 2026-02-19")
    assert told.severity == "alarm"
    assert "BLCO: unknown: no answer for A TP" in told.body
    assert "LH: submitted: A sent again" in told.body
