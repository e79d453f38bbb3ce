"""Never twice, never lost: each order of a plan reaches the market once or is named."""

from __future__ import annotations

import pytest

from daemon.fakegateway.listings import reference_prices

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
NOV = "NOV 292 at 19.64 stop 19.05 targets 20.23 20.82"
UNKNOWN, RESOLVED = "order(s) of unknown fate", "are resolved"


def twenty_rows():
    """Twenty rows of four shares: 120 orders, 2.7 s on the wire."""
    names = [name for name in sorted(reference_prices()) if "." not in name][:20]
    for name in names:
        price = reference_prices()[name]
        stop, first, second = price * 9 // 10, price * 11 // 10, price * 12 // 10
        yield f"{name} 4 at {price} stop {stop} targets {first} {second}"


# --- many orders and a broken link --------------------------------------------------


@pytest.mark.slow
def test_120_orders_and_a_disconnect_lose_none_silently(play_day):
    """ib_async's own queue loses 82 of 120 orders with the socket, without a word."""

    async def deeds(hands):
        await hands.until("09:35:03.500")
        hands.connection.reset()

    rows = list(twenty_rows())
    limits = "[rules]\nday_limit_usd = 1000000\n"
    day = play_day(*rows, deeds=deeds, config=limits)
    assert day.flat
    assert day.problems == []
    names = [row.partition(" 4 at ")[0] for row in rows]
    assert day.rows == dict.fromkeys(names, "submitted")
    assert day.entries_at_work == sorted(f"{n}:{b}" for n in names for b in "AB")
    again = [ref for ref in day.placed if ref.endswith(":2")]
    assert len(again) % 3 == 0
    assert len([ref for ref in day.placed if ":X:" not in ref]) >= 120


# --- what may not be sent again -----------------------------------------------------


def test_a_bracket_that_a_person_cancelled_is_not_sent_again(play_day):
    """It has been at work: that it is gone is a decision, not a loss."""

    async def deeds(hands):
        await hands.until("09:36")
        orders = {o.ticket.order_ref: o for o in hands.gateway.open_orders(10)}
        hands.gateway.cancel(10, orders["ibkrd:20260219:LH:A:EN"].order_id)
        hands.gateway.cancel(10, orders["ibkrd:20260219:LH:B:EN"].order_id)
        await hands.until("09:37")
        await hands.stop_daemon()
        await hands.until("09:40")
        hands.start_daemon()

    day = play_day(BLCO, LH, deeds=deeds, fates={"LH": "never_filled"})
    assert day.flat
    assert day.problems == []
    assert not [ref for ref in day.placed if ref.endswith(":2")]
    assert day.states["ibkrd:20260219:LH:A:EN"] == "cancelled"


def test_a_bracket_cancelled_while_nobody_looked_is_not_sent_again(play_day):
    """The completed orders tell how it ended."""

    async def deeds(hands):
        await hands.until("09:36")
        orders = {o.ticket.order_ref: o for o in hands.gateway.open_orders(10)}
        await hands.stop_daemon()
        hands.gateway.cancel(10, orders["ibkrd:20260219:LH:A:EN"].order_id)
        hands.gateway.cancel(10, orders["ibkrd:20260219:LH:B:EN"].order_id)
        await hands.until("09:40")
        hands.start_daemon()

    day = play_day(BLCO, LH, deeds=deeds, fates={"LH": "never_filled"})
    assert day.flat
    assert day.problems == []
    assert not [ref for ref in day.placed if ref.endswith(":2")]
    assert day.messages(UNKNOWN) == []


def test_a_flat_position_is_not_sold_when_the_daemon_returns(play_day):
    """G6: a stale exit flag would have sold flat positions short."""

    async def deeds(hands):
        await hands.until("10:30")
        await hands.stop_daemon()
        hands.by_hand("SELL", 270, "BLCO")
        await hands.until("15:41")
        hands.start_daemon()

    day = play_day(BLCO, NOV, deeds=deeds)
    assert day.problems == []
    assert day.flat
    assert day.at_the_bell == {"NOV": 292}


# --- closing orders of unknown fate -------------------------------------------------


def test_a_closing_order_that_never_arrived_is_sent_again_after_proof(play_day):
    async def deeds(hands):
        await hands.until("15:40:00.395")
        hands.connection.reset()

    day = play_day(BLCO, LH, NOV, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22, "NOV": 292}


# --- what the books do not explain --------------------------------------------------


def test_positions_that_changed_unseen_are_named_once(play_day):
    """Executions of before the gateway's midnight, a transfer, a split."""

    async def deeds(hands):
        await hands.until("10:30")
        await hands.stop_daemon()
        hands.carry("EMN", 36, "74.00")
        await hands.until("11:00")
        hands.start_daemon()
        await hands.until("12:00")
        hands.gateway.drop(10)

    day = play_day(BLCO, deeds=deeds)
    assert day.flat
    assert day.problems == []
    (told,) = day.messages("position(s) that the books do not explain")
    assert told.severity == "alarm"
    assert "EMN: the broker holds 36, the books say 0" in told.body
    assert told.at.strftime("%H:%M") == "11:00"


# --- a clock that is wrong ------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_stepped_back_an_hour_sends_nothing_twice_and_is_alarmed(
    play_day, restarted
):
    """09:35 comes a second time; an hour later somebody sets the clock right."""

    async def deeds(hands):
        await hands.until("10:20")
        hands.step_clock(-3600)
        if restarted:
            await hands.until("09:30")
            await hands.stop_daemon()
            hands.start_daemon()
        await hands.until("10:19:59")
        hands.step_clock(3600)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert [ref for ref in day.placed if ":X:" not in ref] == sorted(
        {ref for ref in day.placed if ":X:" not in ref}, key=day.placed.index
    )
    assert len([ref for ref in day.placed if ":X:" not in ref]) == 12
    assert [job for job, _ in day.jobs].count("submit") == 1
    told, *more, again = day.messages("The host's clock is")
    assert len(more) == restarted  # a new daemon says it once more
    assert (told.severity, again.severity) == ("alarm", "info")
    assert "3600 s behind the gateway's" in told.subject
    assert f"{told.at:%H:%M}" in {"09:20", "09:21"}
