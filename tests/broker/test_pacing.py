from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from daemon.broker.pacing import Pacer

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")


async def slots(pacer: Pacer, count: int) -> list[float]:
    """Return when each of *count* callers at once had its slot."""
    had: list[float] = []

    async def one() -> None:
        await pacer.slot()
        had.append(asyncio.get_running_loop().time())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(one())
    return had


def most_within_a_second(times: list[float]) -> int:
    return max(sum(1 for t in times if start <= t < start + 1) for start in times)


async def test_the_first_slot_is_free_at_once() -> None:
    began = asyncio.get_running_loop().time()
    await Pacer(45).slot()
    assert asyncio.get_running_loop().time() == began


async def test_a_burst_is_spread_evenly() -> None:
    times = await slots(Pacer(45), 120)
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) - min(gaps) < 1e-4
    assert times[-1] - times[0] == pytest.approx(119 / 45, abs=1e-3)
    assert most_within_a_second(times) <= 46  # the gateway allows 50


async def test_callers_are_served_in_their_order() -> None:
    pacer, served = Pacer(10), []

    async def one(number: int) -> None:
        await pacer.slot()
        served.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(one(number))
    assert served == list(range(20))


async def test_idleness_earns_no_burst() -> None:
    pacer = Pacer(10)
    await pacer.slot()
    await asyncio.sleep(3600)
    times = await slots(pacer, 21)
    assert times[-1] - times[0] == pytest.approx(2.0, abs=1e-3)


async def test_who_gives_up_waiting_harms_nobody() -> None:
    pacer = Pacer(10)
    await pacer.slot()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pacer.slot()
    began = asyncio.get_running_loop().time()
    await pacer.slot()
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.05, abs=1e-3)


async def test_a_hundred_and_twenty_messages_break_no_rule_of_the_gateway(
    house, make_order
) -> None:
    async with house() as h:
        await h.ready()
        began = asyncio.get_running_loop().time()
        for number in range(40):
            await h.session.ready_to_send()
            entry = make_order(f"A:EN:{number + 2}", "BUY 1 LMT 90.00", transmit=False)
            parent = {"parent_ref": entry.order_ref}
            exits = [
                make_order(f"A:TP:{number + 2}", "SELL 1 LMT 105.00", **parent),
                make_order(f"A:SL:{number + 2}", "SELL 1 STP 85.00", **parent),
            ]
            ids = range(100 + 3 * number, 103 + 3 * number)
            await h.session.send(list(zip(ids, [entry, *exits], strict=True)))
        took = asyncio.get_running_loop().time() - began
        await asyncio.sleep(1)
        assert len(h.written("placed")) == 120
        assert took == pytest.approx(119 / 45, abs=0.2)
        assert h.notices(100) == []
        assert h.session.connected


async def test_questions_and_orders_share_the_pace(house, make_order) -> None:
    async with house() as h:
        await h.ready()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(60):
                tasks.create_task(h.session.probe())
            for number in range(60):
                tasks.create_task(_send(h, number, make_order))
        assert len(h.written("placed")) == 60
        assert h.notices(100) == []
        assert h.session.connected


async def _send(h, number: int, make_order) -> None:
    await h.session.ready_to_send()
    order = make_order(f"X:MKT.{number + 1}", "BUY 1 LMT 90.00")
    await h.session.send([(100 + number, order)])


async def test_without_the_pace_the_gateway_would_object(house, make_order) -> None:
    """The gateway does count: 60 messages at once are too many for it."""
    async with house(messages_per_second=1000) as h:
        await h.ready()
        await asyncio.sleep(2)
        for number in range(51):
            await _send(h, number, make_order)
        await asyncio.sleep(0.5)
        assert len(h.notices(100)) == 1
