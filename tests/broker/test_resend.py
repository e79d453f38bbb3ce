"""10006: a child that overtook its parent is sent once more, under its own id."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from daemon.core.model import WorkingOrder
from daemon.fakegateway.frames import frame
from daemon.fakegateway.plot import Reject
from daemon.fakegateway.values import GatewaySettings

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

REFUSED = "Missing parent order."


def refusal(order_id: int, code: int = 10006, text: str = REFUSED) -> bytes:
    return frame("4", "2", str(order_id), str(code), text, "")


def orphaning() -> GatewaySettings:
    return GatewaySettings(partial_fills=False, missing_parent="always")


async def sent(h, family) -> None:
    await h.ready()
    await h.session.send(list(zip((5, 6, 7), family, strict=True)))


def live(h) -> list[int]:
    """The order ids that the gateway told as working, each once."""
    told = [e for e in h.heard if isinstance(e, WorkingOrder)]
    return sorted({one.order_id for one in told})


async def test_a_child_without_its_parent_is_sent_once_more_and_lives(
    house, make_family
) -> None:
    async with house(settings=orphaning()) as h:
        with capture_logs() as logs:
            await sent(h, make_family())
            await asyncio.sleep(2)
        assert h.written("placed", "order_id") == [(5,), (6,), (7,), (6,)]
        assert live(h) == [5, 6, 7]
        assert {o.order_id for o in await h.session.open_orders()} == {5, 6, 7}
        assert h.notices(10006) == []  # it was not the last word
        assert [e["order_id"] for e in logs if e["event"] == "order.resent"] == [6]


async def test_the_second_refusal_stands_and_is_told(house, make_family) -> None:
    async with house() as h:
        await sent(h, make_family())
        await asyncio.sleep(1)
        h.mute(3)
        for told in (0, 1):
            h.inject(refusal(6))
            await asyncio.sleep(1)
            assert len(h.notices(10006)) == told
        assert [n.order_id for n in h.notices(10006)] == [6]


async def test_a_gateway_that_knows_the_id_already_leaves_the_refusal_standing(
    house, make_family
) -> None:
    """103 alone would say that another order may live under the id."""
    async with house() as h:
        h.world.plot(Reject(code=10006, text=REFUSED, leg="TP"))
        await sent(h, make_family())
        await asyncio.sleep(5)
        assert h.written("placed", "order_id") == [(5,), (6,), (7,), (6,)]
        assert [n.order_id for n in h.notices(10006)] == [6]
        assert [n.order_id for n in h.notices(103)] == [6]
        assert h.heard.index(h.notices(10006)[0]) < h.heard.index(h.notices(103)[0])
        assert live(h) == [5, 7]


async def test_a_child_whose_parent_is_dead_is_not_sent_again(
    house, make_family
) -> None:
    async with house() as h:
        await sent(h, make_family())
        await asyncio.sleep(1)
        h.inject(refusal(5, 201, "Order rejected - reason:No funds"), refusal(6))
        await asyncio.sleep(5)
        assert h.written("placed", "order_id") == [(5,), (6,), (7,)]
        assert [n.order_id for n in h.notices(10006)] == [6]


async def test_a_child_that_we_cancelled_is_not_sent_again(house, make_family) -> None:
    async with house() as h:
        await sent(h, make_family())
        await asyncio.sleep(1)
        await h.session.cancel(6)
        h.inject(refusal(6))
        await asyncio.sleep(5)
        assert h.written("placed", "order_id") == [(5,), (6,), (7,)]
        assert len(h.notices(10006)) == 1


@pytest.mark.parametrize("parent_is_told", [True, False])
async def test_without_evidence_that_the_stop_lives_nothing_goes_out_again(
    house, make_family, parent_is_told: bool
) -> None:
    """A target that transmits itself would set its parent off without a stop."""
    told = frame(
        "3", "5", "PreSubmitted", "0", "33", "0", "77", "0", "0", "10", "", "0"
    )
    async with house() as h:
        await h.ready()
        h.mute(3)  # no order is answered
        with capture_logs() as logs:
            await h.session.send(list(zip((5, 6, 7), make_family(), strict=True)))
            h.inject(*([told] if parent_is_told else []), refusal(6))
            await asyncio.sleep(1.9)
            assert h.notices(10006) == []
            await asyncio.sleep(0.3)
        assert [n.order_id for n in h.notices(10006)] == [6]
        assert [e for e in logs if e["event"] == "order.resent"] == []


async def test_a_stop_without_its_parent_goes_out_behind_the_target(
    house, make_family
) -> None:
    async with house(settings=orphaning()) as h:
        entry, _, stop = make_family()
        await h.ready()
        await h.session.send([(5, entry), (7, stop)])
        await asyncio.sleep(5)
        # The gateway does not speak of an order that was never transmitted.
        assert [n.order_id for n in h.notices(10006)] == [7]
        assert h.written("placed", "order_id") == [(5,), (7,)]


async def test_an_expired_child_is_not_sent_again(house, make_family, at) -> None:
    async with house(settings=orphaning()) as h:
        await h.ready()
        soon = at(0.06)
        family = [replace(one, expires_at=soon) for one in make_family()]
        await h.session.send(list(zip((5, 6, 7), family, strict=True)))
        await asyncio.sleep(5)
        assert h.written("placed", "order_id") == [(5,), (6,), (7,)]
        assert [n.order_id for n in h.notices(10006)] == [6]


async def test_a_refusal_that_was_kept_back_is_told_when_the_connection_ends(
    house, make_family
) -> None:
    async with house() as h:
        await sent(h, make_family())
        await asyncio.sleep(1)
        h.inject(refusal(6))
        await asyncio.sleep(0.01)
        assert h.notices(10006) == []
        h.world.drop(10)
        await h.lost()
        assert [n.order_id for n in h.notices(10006)] == [6]
        await h.ready()
        await asyncio.sleep(5)
        assert h.written("placed", "order_id") == [(5,), (6,), (7,)]


async def test_a_refusal_of_an_order_without_a_parent_is_told_at_once(
    house, make_order
) -> None:
    async with house() as h:
        await h.ready()
        await h.session.send([(5, make_order("A:EN", "BUY 1 LMT 90.00"))])
        h.inject(refusal(5))
        await asyncio.sleep(0.01)
        assert [n.order_id for n in h.notices(10006)] == [5]


async def test_what_was_sent_is_forgotten_after_half_a_minute(
    house, make_family
) -> None:
    """A daemon runs for months: what it holds must not grow by the order."""
    async with house() as h:
        await h.ready()
        for number in range(20):
            ids = (10 * number + 5, 10 * number + 6, 10 * number + 7)
            await h.session.send(list(zip(ids, make_family("80.00"), strict=True)))
            await asyncio.sleep(31)
        assert h.session.families_remembered == 1
