from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from daemon.core.connection import Link
from daemon.errors import (
    AccountRefused,
    ConfigError,
    ConnectionLost,
    GatewayTimeout,
    JournalError,
)
from daemon.fakegateway.values import GatewaySettings
from daemon.simulation.foreign import occupy

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")


def now() -> float:
    return asyncio.get_running_loop().time()


# --- becoming ready ------------------------------------------------------------

QUESTIONS = {
    61: "positions",
    6: "account values",
    5: "open orders",
    16: "open orders",
    99: "completed orders",
    7: "executions",
}


async def test_ready_is_told_once_and_only_after_a_complete_sync(house) -> None:
    async with house() as h:
        h.world.endow("DU1234567", "AAPL", 181, 99)
        h.foreign(1, "BUY 10 LMT 90.00")
        h.on_synced.append(lambda: _note(h.session.connected, seen))
        seen: list[bool] = []
        await h.ready()
        assert seen == [False]
        assert h.session.link is Link.READY
        assert h.links == [True]
        assert [(p.symbol, p.quantity) for p in h.synced[0].positions] == [
            ("AAPL", 181)
        ]
        assert [o.order_ref for o in h.synced[0].foreign_orders] == ["by hand"]


async def _note(value: bool, seen: list[bool]) -> None:
    seen.append(value)


@pytest.mark.parametrize(("message_id", "question"), QUESTIONS.items())
async def test_a_question_without_an_answer_is_never_an_empty_answer(
    house, message_id: int, question: str
) -> None:
    async with house() as h:
        h.mute(message_id)
        await asyncio.sleep(45)
        assert h.synced == []
        assert h.links == []
        assert question in h.session.trouble
        assert len(h.written("connected")) >= 3
        assert set(h.written("connected", "client_id")) == {(10,)}
        h.mute()
        await h.ready(within_s=30)
        assert h.session.trouble == ""
        assert len(h.synced) == 1


async def test_a_handshake_that_never_ends_is_named_and_tried_again(house) -> None:
    async with house() as h:
        h.mute(71)
        await asyncio.sleep(11)
        assert "did not finish the handshake in 10 s" in h.session.trouble
        assert h.session.offered == ()
        h.mute()
        await h.ready(within_s=15)


async def test_a_port_that_nobody_answers_is_named_with_the_remedy(house) -> None:
    async with house(started=False) as h:
        h.shut()
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await asyncio.sleep(1)
        assert h.session.trouble == (
            "nothing listens on 127.0.0.1:4002: start the gateway, "
            "enable its API, and look at its port"
        )


class HangsUp(asyncio.Protocol):
    """What a port forwarder does whose gateway is down: accept, then end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def test_a_connection_closed_in_the_handshake_is_named_at_once(house) -> None:
    async with house(started=False) as h:
        h.shut()
        loop = asyncio.get_running_loop()
        forwarder = await loop.create_server(HangsUp, "127.0.0.1", 4002)
        h.running = loop.create_task(h.session.run())
        await asyncio.sleep(0.1)
        forwarder.close()
        assert h.session.trouble == (
            "127.0.0.1:4002: the gateway closed the connection during the handshake: "
            "the gateway behind the port may be down, or does not trust this address"
        )


async def test_a_question_during_the_handshake_disturbs_nothing(house) -> None:
    """ib_async asks for positions as it connects, and knows one such request."""
    async with house(started=False) as h:
        h.latency(0.1)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        while h.session.link is not Link.SYNCING:
            with pytest.raises(ConnectionLost, match="no session to the gateway"):
                await h.session.positions()
            await asyncio.sleep(0.01)
        assert now() > 0.5
        await h.ready(within_s=3)
        assert len(h.written("connected")) == 1


async def test_a_gateway_that_comes_late_is_found(house) -> None:
    async with house(started=False) as h:
        h.mute(71)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await asyncio.sleep(300)
        h.mute()
        began = now()
        await h.ready()
        assert now() - began < 10 + 6  # the attempt under way, and one pause


# --- client id in use -------------------------------------------------------------


async def test_a_client_id_in_use_is_named_within_a_tenth_of_a_second(house) -> None:
    async with house(started=False) as h:
        holder = await occupy("127.0.0.1", 4002, 10)
        await asyncio.sleep(1)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await asyncio.sleep(0.1)
        assert "client id 10 is in use at 127.0.0.1:4002" in h.session.trouble
        assert "waiting with the same id" in h.session.trouble
        holder.leave()


async def test_a_client_id_in_use_is_asked_for_again_never_another(house) -> None:
    async with house(started=False) as h:
        holder = await occupy("127.0.0.1", 4002, 10)
        await asyncio.sleep(1)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await asyncio.sleep(60)
        assert h.links == []
        assert set(h.written("refused_client", "client_id")) == {(10,)}
        assert 10 <= len(h.written("refused_client")) <= 40
        holder.leave()
        await h.ready(within_s=7)
        assert h.session.client_id == 10


# --- the account -------------------------------------------------------------------


async def test_an_account_that_is_not_offered_ends_the_session(house) -> None:
    async with house(account="U7654321") as h:
        with pytest.raises(AccountRefused) as caught:
            await h.running
        assert str(caught.value) == (
            "account U7654321 is not allowed here: the gateway at 127.0.0.1:4002 "
            "offers DU1234567; correct account.id or log the gateway in to the right "
            "account"
        )
        assert caught.value.exit_status == 8
        assert h.synced == []
        assert h.links == []


async def test_without_an_account_the_offered_ones_are_named(house) -> None:
    settings = GatewaySettings(accounts=("DU1234567", "DU7654321"))
    async with house(account="", settings=settings) as h:
        with pytest.raises(ConfigError, match="offers DU1234567, DU7654321; name one"):
            await h.running
        assert h.session.offered == ("DU1234567", "DU7654321")


async def test_the_account_is_looked_at_before_anything_is_asked_of_it(house) -> None:
    async with house(account="U7654321") as h:
        h.mute(5, 6, 7, 16, 99)  # an unanswered question would delay the refusal
        began = now()
        with pytest.raises(AccountRefused):
            await h.running
        assert now() - began < 0.1


async def test_an_order_for_another_account_is_never_sent(house, make_order) -> None:
    async with house() as h:
        await h.ready()
        alien = make_order("A:EN", "BUY 1 LMT 90.00", account="U7654321")
        with pytest.raises(Exception, match="order for account U7654321"):
            await h.session.send([(1, alien)])
        await asyncio.sleep(1)
        assert h.written("placed") == []


# --- read-only ---------------------------------------------------------------------


async def test_a_read_only_gateway_is_named_with_the_remedy(house) -> None:
    settings = GatewaySettings(read_only=True)
    async with house(settings=settings) as h:
        await asyncio.sleep(1)
        assert h.session.trouble == (
            "the gateway's API is read-only: clear 'Read-Only API' in its settings "
            "(Configure > API > Settings)"
        )
        assert h.links == []
        h.world.settings.read_only = False
        await h.ready(within_s=10)


# --- the broker behind the gateway ----------------------------------------------


async def test_nothing_is_sent_while_the_broker_is_away(
    house, make_family, make_order
) -> None:
    async with house() as h:
        await h.ready()
        await h.session.send([(5, make_order("X:MKT", "BUY 1 LMT 90.00"))])
        h.world.lose_link()
        await asyncio.sleep(0.1)
        assert h.session.link is Link.DEGRADED
        assert h.links == [True, False]
        assert h.session.trouble.startswith("1100 Connectivity")
        with pytest.raises(ConnectionLost):
            await h.session.ready_to_send()
        with pytest.raises(ConnectionLost):
            await h.session.send(list(zip((6, 7, 8), make_family(), strict=True)))
        with pytest.raises(ConnectionLost):
            await h.session.cancel(5)
        await asyncio.sleep(250)
        assert h.written("placed", "order_id") == [(5,)]
        assert h.written("cancel_requested") == []
        assert h.session.link is Link.DEGRADED  # probes answer, the broker is away


@pytest.mark.parametrize("code", [1101, 1102])
async def test_after_the_broker_came_back_everything_is_read_before_ready(
    house, code: int
) -> None:
    async with house() as h:
        await h.ready()
        h.say(1100)
        await asyncio.sleep(60)
        h.world.endow("DU1234567", "AAPL", 55, 99)
        h.mute(7)
        h.say(code)
        await asyncio.sleep(5)
        assert h.session.link is Link.SYNCING
        assert h.links == [True, False]
        h.mute()
        await h.ready(within_s=20)
        assert h.links == [True, False, True]
        assert [p.quantity for p in h.synced[-1].positions] == [55]


@pytest.mark.parametrize("code", [1101, 1102])
async def test_a_restoration_without_a_loss_reads_everything_anew(
    house, code: int
) -> None:
    async with house() as h:
        await h.ready()
        h.say(code)
        await h.lost(within_s=1)
        await h.ready(within_s=5)
        assert h.links == [True, False, True]
        assert len(h.synced) == 2
        assert len(h.written("connected")) == 1


async def test_a_sync_that_a_restoration_overtakes_is_made_again(house) -> None:
    async with house(started=False) as h:
        h.latency(0.2)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await h.until(Link.SYNCING)
        await asyncio.sleep(0.9)  # positions are told, the rest is not
        assert h.session.link is Link.SYNCING
        h.say(1100)
        await asyncio.sleep(0.3)
        assert h.session.link is Link.DEGRADED
        h.world.endow("DU1234567", "AAPL", 15, 99)
        h.say(1101)
        await h.ready(within_s=15)
        assert [len(s.positions) for s in h.synced] == [1]


async def test_a_loss_during_the_sync_keeps_it_from_ready(house) -> None:
    async with house(started=False) as h:
        h.latency(0.2)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await h.until(Link.SYNCING)
        h.say(1100)
        await asyncio.sleep(60)
        assert h.session.link is Link.DEGRADED
        assert h.synced == []
        assert h.links == []
        h.say(1102)
        await h.ready(within_s=10)
        assert len(h.synced) == 1


async def test_2110_is_a_loss_as_1100_is(house) -> None:
    async with house() as h:
        await h.ready()
        h.say(2110, "Connectivity between TWS and server is broken.")
        await asyncio.sleep(0.1)
        assert h.session.link is Link.DEGRADED
        with pytest.raises(ConnectionLost):
            await h.session.ready_to_send()
        h.say(1102)
        await h.ready(within_s=5)


@pytest.mark.parametrize("code", [2103, 2104, 2105, 2106, 2107, 2108, 2119, 2157, 2158])
async def test_a_farm_that_breaks_or_comes_back_is_no_lost_link(
    house, code: int
) -> None:
    """They carry market data, which is not traded on; a teardown would cost orders."""
    async with house() as h:
        await h.ready()
        h.say(code)
        await asyncio.sleep(60)
        assert h.links == [True]
        assert len(h.synced) == 1
        assert [n.code for n in h.notices(code)][-1:] == [code]


async def test_a_farm_that_comes_back_does_not_bring_the_broker_back(house) -> None:
    async with house() as h:
        await h.ready()
        h.say(1100)
        for code in (2104, 2106, 2158):
            h.say(code)
        await asyncio.sleep(280)
        assert h.session.link is Link.DEGRADED


async def test_what_1101_has_ended_is_subscribed_again(house) -> None:
    async with house() as h:
        await h.ready()
        h.mute(6)
        h.say(1101)
        await asyncio.sleep(5)
        assert h.session.link is Link.SYNCING  # it waits for the account's values
        h.mute()
        await h.ready(within_s=20)


async def test_what_1102_has_kept_is_not_asked_for_again(house) -> None:
    async with house() as h:
        await h.ready()
        h.mute(6)
        h.say(1102)
        await h.lost(within_s=1)
        await h.ready(within_s=5)


# --- a broker that never comes back by itself -------------------------------------


async def test_a_loss_that_nobody_ends_is_looked_into_on_a_new_connection(
    house,
) -> None:
    """The gateway was restarted behind our back, or told 1102 to nobody."""
    async with house() as h:
        await h.ready()
        h.say(1100)
        await asyncio.sleep(299)
        assert len(h.written("connected")) == 1
        assert h.session.link is Link.DEGRADED
        await asyncio.sleep(3)
        assert len(h.written("connected")) == 2
        await h.ready(within_s=15)
        assert len(h.synced) == 2


async def test_a_look_is_not_ready_before_the_gateway_has_been_quiet(house) -> None:
    async with house() as h:
        await h.ready()
        h.say(1100)
        await h.until(Link.DISCONNECTED, within_s=310)
        await h.until(Link.DEGRADED)
        began = now()
        await h.ready(within_s=30)
        assert 9.9 < now() - began < 11


@pytest.mark.parametrize("greeting", [1100, 2110])
async def test_a_look_at_a_broker_that_is_still_away_is_no_ready_session(
    house, greeting: int
) -> None:
    settings = GatewaySettings(partial_fills=False, link_lost_greeting=greeting)
    async with house(settings=settings) as h:
        await h.ready()
        h.world.lose_link()
        await asyncio.sleep(3600)
        assert h.links == [True, False]
        assert 11 <= len(h.written("connected")) <= 13
        h.world.restore_link(data_lost=False)
        await h.ready(within_s=5)
        assert len(h.synced) == 2


async def test_a_look_at_a_gateway_that_says_nothing_is_no_ready_session(house) -> None:
    """Silence proves nothing: it may answer from what it remembers."""
    async with house() as h:
        await h.ready()
        h.say(1100)
        await h.until(Link.DISCONNECTED, within_s=310)
        h.world.lose_link()
        await h.until(Link.DEGRADED)
        h.say(2110)
        await asyncio.sleep(200)
        assert h.session.link is Link.DEGRADED
        assert len(h.synced) == 1


async def test_a_broker_lost_before_a_drop_is_still_lost_after_it(house) -> None:
    async with house() as h:
        await h.ready()
        h.world.lose_link()
        await asyncio.sleep(1)
        h.world.drop(10)
        await h.until(Link.DISCONNECTED)
        await h.until(Link.DEGRADED)
        with pytest.raises(ConnectionLost):
            await h.session.ready_to_send()
        await asyncio.sleep(60)
        assert h.links == [True, False]


async def test_an_endless_outage_is_warned_of_once(house) -> None:
    async with house() as h:
        await h.ready()
        with capture_logs() as logs:
            h.say(1100, "Connectivity lost")
            h.world.lose_link()
            await asyncio.sleep(3600)
        assert failures(logs)[:1] == ["warning"]
        assert len(failures(logs)) > 5
        assert failures(logs).count("warning") <= 2  # 1100, and 2110 on a look


# --- what the gateway says of the session ----------------------------------------


async def test_a_changed_port_is_named_with_the_new_one(house) -> None:
    async with house() as h:
        await h.ready()
        h.say(
            1300, "TWS socket port has been reset ... reconnect on the new port -4009"
        )
        await h.lost(within_s=1)
        assert "changed to 4009: correct gateway.port" in h.session.trouble
        h.world.drop(10)
        h.shut()
        await asyncio.sleep(10)
        assert h.session.trouble.startswith("nothing listens on 127.0.0.1:4002")
        assert h.session.trouble.endswith("; it said that it goes to port 4009")


async def test_another_login_is_warned_of_once_and_ends_nothing(house) -> None:
    async with house() as h:
        await h.ready()
        with capture_logs() as logs:
            for _ in range(3):
                h.say(10197, "No market data during competing live session")
                await asyncio.sleep(10)
        (line,) = told(logs, "session.competed")
        assert line["log_level"] == "warning"
        assert "10197 No market data during competing" in line["cause"]
        assert h.links == [True]


async def test_a_refused_pace_is_halved_for_the_rest_of_the_connection(house) -> None:
    async with house() as h:
        await h.ready()
        with capture_logs() as logs:
            h.say(100, "Max rate of messages per second has been exceeded")
            h.say(100, "Max rate of messages per second has been exceeded")
            await asyncio.sleep(5)
            began = now()
            await asyncio.gather(*(h.session.ready_to_send() for _ in range(46)))
        assert now() - began == pytest.approx(2.0, abs=0.05)
        assert len(h.written("connected")) == 1
        (line,) = told(logs, "session.slowed_down")
        assert (line["log_level"], line["messages_per_second"]) == ("warning", 22.5)


async def test_the_pace_falls_to_five_and_no_further(house) -> None:
    async with house() as h:
        await h.ready()
        with capture_logs() as logs:
            for _ in range(6):
                h.say(100)
                await asyncio.sleep(2)
        rates = [e["messages_per_second"] for e in told(logs, "session.slowed_down")]
        assert rates == [22.5, 11.25, 5.625, 5.0]


async def test_a_connection_after_one_that_was_too_fast_begins_slowly(house) -> None:
    async with house() as h:
        await h.ready()
        h.say(100)
        await asyncio.sleep(1)
        for seconds in (2.0, 1.0):  # the one after kept the pace: as configured
            h.world.drop(10)
            await h.lost()
            await h.ready()
            await asyncio.sleep(1)
            began = now()
            await asyncio.gather(*(h.session.ready_to_send() for _ in range(46)))
            assert now() - began == pytest.approx(seconds, abs=0.05)


async def test_a_gateway_with_a_lower_limit_is_not_met_with_the_same_pace_again(
    house, make_order
) -> None:
    """Three violations end the session on the gateway's side."""
    settings = GatewaySettings(partial_fills=False, message_rate=20)
    async with house(settings=settings) as h:
        await h.ready()
        for order_id in range(5, 65):
            with suppress(ConnectionLost):
                await h.session.ready_to_send()
                ref = f"A{order_id}:EN"
                one = make_order(ref, "BUY 1 LMT 90.00")
                await h.session.send([(order_id, one)])
        await asyncio.sleep(1)
        assert len(h.written("connected")) == 1
        assert 1 <= len(h.notices(100)) <= 2
        assert len(h.written("placed")) == 60 - len(h.notices(100))


# --- order ids ------------------------------------------------------------------


async def test_the_gateways_first_order_id_is_known(house) -> None:
    async with house() as h:
        assert h.session.next_valid_id is None
        await h.ready()
        assert h.session.next_valid_id == 1


async def test_no_request_has_an_id_that_was_journaled(house) -> None:
    async with house() as h:
        h.floor.append(500)
        await h.ready()
        assert h.session.reserve_order_ids(1, above=0) == [502]  # 501: the executions


# --- liveness ------------------------------------------------------------------------


@pytest.mark.parametrize(("busy", "every_s"), [(True, 3), (False, 30)])
async def test_the_heart_beats_quickly_only_where_orders_are_near(
    house, busy: bool, every_s: int
) -> None:
    async with house() as h:
        h.busy.append(busy)
        await h.ready()
        answered = h.connection.client.get_extra_info("sockname")
        assert answered is not None
        h.connection.freeze()
        began = now()
        await h.lost(within_s=100)
        assert now() - began == pytest.approx(every_s + 3, abs=0.1)


async def test_a_gateway_that_shakes_hands_and_then_says_nothing_is_never_ready(
    house,
) -> None:
    """A4: for 75 minutes the socket stood and answered nothing."""
    async with house() as h:
        h.mute(5, 6, 7, 9, 16, 49, 61, 99)
        await asyncio.sleep(4500)
        assert h.links == []
        assert "positions request timed out" in h.session.trouble
        assert 200 < len(h.written("connected")) < 400
        h.mute()
        await h.ready(within_s=20)


async def test_an_hour_without_a_gateway_ends_nothing(house) -> None:
    async with house(started=False) as h:
        h.shut()
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await asyncio.sleep(3600)
        assert not h.running.done()
        assert "nothing listens" in h.session.trouble


async def test_an_hour_of_a_held_client_id_ends_nothing(house) -> None:
    async with house() as h:
        await h.ready()
        h.world.hold_client_id(10, for_s=3600)
        h.world.drop(10)
        await asyncio.sleep(3590)
        assert not h.running.done()
        await h.ready(within_s=20)


@pytest.mark.parametrize(("busy", "within_s"), [(True, 10.0), (False, 65.0)])
async def test_two_missed_probes_end_a_frozen_connection(
    house, busy: bool, within_s: float
) -> None:
    async with house() as h:
        await h.ready()
        h.busy.append(busy)
        await asyncio.sleep(100)
        h.connection.freeze()
        frozen = h.connection
        began = now()
        await h.until(Link.DISCONNECTED, within_s=within_s)
        assert now() - began > 6  # two probes of three seconds
        assert frozen.client.is_closing()
        assert h.links == [True, False]


async def test_what_was_sent_into_a_frozen_connection_is_not_sent_again(
    house, make_order
) -> None:
    async with house() as h:
        await h.ready()
        frozen = h.connection
        frozen.freeze()
        await h.session.send([(5, make_order("A:EN", "BUY 1 LMT 90.00"))])
        await asyncio.sleep(60)
        # The gateway has not noticed the end of its frozen session.
        assert "client id 10 is in use" in h.session.trouble
        assert h.written("placed") == []
        frozen.thaw()
        await h.ready(within_s=10)
        await asyncio.sleep(60)
        assert len(h.written("placed")) <= 1


async def test_one_missed_probe_stops_the_sending_until_all_is_read_anew(
    house,
) -> None:
    async with house() as h:
        await h.ready()
        h.mute(49)
        with pytest.raises(GatewayTimeout, match="no answer to current time in 3 s"):
            await h.session.probe()
        assert h.session.link is Link.DEGRADED
        with pytest.raises(ConnectionLost, match="nothing is sent"):
            await h.session.ready_to_send()
        h.mute()
        await h.session.probe()
        await h.ready(within_s=5)
        assert len(h.synced) == 2
        assert len(h.written("connected")) == 1


async def test_a_probe_does_not_undo_the_loss_of_the_broker(house) -> None:
    async with house() as h:
        await h.ready()
        h.mute(49)
        with pytest.raises(GatewayTimeout):
            await h.session.probe()
        h.say(1100)
        await asyncio.sleep(0.1)
        h.mute()
        await h.session.probe()
        await asyncio.sleep(60)
        assert h.session.link is Link.DEGRADED
        h.say(1102)
        await h.ready(within_s=5)


async def test_probes_are_counted_in_a_row(house) -> None:
    async with house() as h:
        await h.ready()
        for _ in range(3):
            h.mute(49)
            with pytest.raises(GatewayTimeout):
                await h.session.probe()
            h.mute()
            await h.session.probe()
            await h.ready(within_s=5)
        assert len(h.written("connected")) == 1


# --- losing the connection -----------------------------------------------------------


async def test_after_a_drop_the_session_is_back_and_synced_within_a_second(
    house,
) -> None:
    async with house() as h:
        await h.ready()
        h.world.drop(10)
        await h.lost(within_s=0.01)
        began = now()
        await h.ready()
        assert now() - began < 1.0
        assert len(h.synced) == 2
        assert h.links == [True, False, True]


async def test_a_request_whose_connection_broke_finds_no_ready_session(house) -> None:
    async with house(started=False) as h:
        h.latency(0.05)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await h.ready()
        asking = asyncio.get_running_loop().create_task(h.session.positions())
        await asyncio.sleep(0.01)
        h.world.drop(10)
        with pytest.raises(ConnectionLost, match=r"broke|closed"):
            await asking
        # Whoever waits for ready now must wait: a loop of tries would never yield.
        assert not h.session.connected
        with pytest.raises(TimeoutError):
            await h.ready(within_s=0.1)


async def test_an_abort_ends_all_that_wait_at_once(house) -> None:
    async with house() as h:
        await h.ready()
        h.mute(7, 61, 99)
        asked = asyncio.gather(
            h.session.positions(),
            h.session.executions(),
            h.session.completed_orders(),
            return_exceptions=True,
        )
        await asyncio.sleep(1)
        began = now()
        h.session.abort("tired of waiting")
        answers = await asked
        assert now() - began < 0.01
        assert [type(answer) for answer in answers] == [ConnectionLost] * 3


async def test_a_reset_at_any_turn_of_the_loop_is_survived(house) -> None:
    """Handshake, guard and sync take some eighty turns; each is a place to break."""
    loop = asyncio.get_running_loop()

    def reset_after(h, turns: int) -> None:
        if turns:
            loop.call_soon(reset_after, h, turns - 1)
        elif loop.network.connections:
            h.connection.reset()

    for turns in range(120):
        async with house() as h:
            reset_after(h, turns)
            await h.ready(within_s=5)
            await asyncio.sleep(1)
            assert h.session.link is Link.READY, turns


def told(logs, event: str):
    return [entry for entry in logs if entry["event"] == event]


def failures(logs) -> list[str]:
    return [entry["log_level"] for entry in told(logs, "session.failed")]


async def test_an_outage_is_a_warning_once_for_each_cause(house) -> None:
    async with house() as h:
        await h.ready()
        h.world.hold_client_id(10, for_s=60)
        with capture_logs() as logs:
            h.world.drop(10)
            await h.lost()
            await asyncio.sleep(50)
        failed = told(logs, "session.failed")
        assert [(e["cause"][:13], e["code"]) for e in failed[:2]] == [
            ("the gateway c", None),
            ("client id 10 ", 326),
        ]
        levels = [entry["log_level"] for entry in failed]
        assert levels[:2] == ["warning", "warning"]
        assert set(levels[2:]) == {"debug"}
        assert len(levels) > 5


async def test_the_next_outage_with_the_same_cause_is_a_warning_again(house) -> None:
    async with house() as h:
        with capture_logs() as logs:
            for _ in range(2):
                await h.ready()
                await asyncio.sleep(61)
                h.world.drop(10)
                await h.lost()
            await h.ready()
        assert failures(logs) == ["warning", "warning"]


async def test_a_session_that_falls_as_soon_as_it_is_ready_is_one_outage(house) -> None:
    """Else a gateway that drops us after each sync is tried every half second."""
    async with house() as h:
        with capture_logs() as logs:
            began = now()
            while now() - began < 120:
                await h.ready()
                h.world.drop(10)
                await h.lost()
        assert failures(logs)[:3] == ["warning", "debug", "debug"]
        assert set(failures(logs)[1:]) == {"debug"}
        assert 20 <= len(failures(logs)) <= 40


# --- ending --------------------------------------------------------------------


async def test_a_stopped_session_leaves_the_gateway_in_order(house) -> None:
    async with house() as h:
        await h.ready()
        h.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await h.running
        assert h.session.link is Link.STOPPED
        assert h.links == [True, False]
        await asyncio.sleep(1)
        assert h.written("disconnected", "client_id") == [(10,)]


async def test_a_session_can_be_stopped_in_the_handshake(house) -> None:
    async with house(started=False) as h:
        h.mute(71)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await asyncio.sleep(2)
        h.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await h.running
        assert h.session.link is Link.STOPPED


async def test_a_failure_of_the_journal_ends_the_session(house) -> None:
    async def fail() -> None:
        raise JournalError("disk full")

    async with house() as h:
        h.on_synced.append(fail)
        with pytest.raises(JournalError, match="disk full"):
            await h.running


async def test_a_failure_of_the_journal_in_a_later_sync_ends_the_session(
    house,
) -> None:
    async def fail() -> None:
        raise JournalError("disk full")

    async with house() as h:
        await h.ready()
        h.on_synced.append(fail)
        h.say(1102)
        with pytest.raises(ExceptionGroup) as caught:
            await h.running
        assert caught.group_contains(JournalError, match="disk full")
