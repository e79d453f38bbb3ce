from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from daemon.broker.requests import Requests, SessionSettings
from daemon.clock import SystemClock
from daemon.core.connection import Link
from daemon.core.model import (
    Account,
    Commission,
    ConId,
    Fill,
    OrderUpdate,
    Position,
    WorkingOrder,
)
from daemon.errors import (
    ConnectionLost,
    GatewayTimeout,
    InvariantViolated,
    RequestRefused,
)
from daemon.fakegateway.server import serve
from daemon.fakegateway.values import GatewaySettings

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")


def now() -> float:
    return asyncio.get_running_loop().time()


# --- questions ---------------------------------------------------------------------


async def test_a_probe_tells_the_gateways_time_aware_and_in_utc(house) -> None:
    async with house() as h:
        await h.ready()
        told = await h.session.probe()
        assert told.tzinfo is UTC
        assert told == datetime(2026, 2, 19, 15, 0, tzinfo=UTC)


async def test_positions_are_those_of_our_account_that_are_not_zero(house) -> None:
    settings = GatewaySettings(accounts=("DU1234567", "DU7654321"))
    async with house(settings=settings) as h:
        await h.ready()
        h.world.endow("DU1234567", "LH", Decimal(-15), Decimal(250))
        h.world.endow("DU1234567", "AAPL", Decimal(181), Decimal("99.5"))
        h.world.endow("DU1234567", "NOV", Decimal(0), Decimal(0))
        h.world.endow("DU7654321", "MRNA", Decimal(55), Decimal(30))
        positions = await h.session.positions()
        assert [(p.symbol, p.quantity, p.average_cost) for p in positions] == [
            ("AAPL", Decimal(181), Decimal("99.5")),
            ("LH", Decimal(-15), Decimal(250)),
        ]


async def test_own_open_orders_are_ours_and_the_rest_is_foreign(
    house, make_family
) -> None:
    async with house() as h:
        await h.ready()
        h.foreign(1, "BUY 10 LMT 90.00")
        await h.session.send(list(zip((5, 6, 7), make_family(), strict=True)))
        await asyncio.sleep(1)
        snapshot = await h.session.sync()
        assert [
            (o.order_id, o.order_ref, o.client_id, o.status, o.remaining)
            for o in snapshot.open_orders
        ] == [
            (5, "ibkrd:20260219:AAPL:A:EN", 10, "Submitted", 33),
            (6, "ibkrd:20260219:AAPL:A:TP", 10, "PreSubmitted", 33),
            (7, "ibkrd:20260219:AAPL:A:SL", 10, "PreSubmitted", 33),
        ]
        assert [(o.client_id, o.order_ref) for o in snapshot.foreign_orders] == [
            (99, "by hand")
        ]


async def test_what_the_master_client_hears_meanwhile_is_not_our_open_order(
    house,
) -> None:
    """A cancel of a foreign order's id could end one of ours with that id."""
    settings = GatewaySettings(master_client_id=10)
    async with house(settings=settings, started=False) as h:
        h.latency(0.1)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await h.ready()
        asking = asyncio.get_running_loop().create_task(h.session.open_orders())
        await asyncio.sleep(0.01)
        h.foreign(5, "BUY 10 LMT 90.00")
        assert await asking == ()
        heard = [e for e in h.heard if isinstance(e, WorkingOrder)]
        assert {o.client_id for o in heard} == {99}


async def test_the_answer_says_how_much_of_an_open_order_is_filled(
    house, make_order
) -> None:
    settings = GatewaySettings(partial_fills=True)
    async with house(settings=settings) as h:
        await h.ready()
        for number in range(5, 15):
            order = make_order(f"X:MKT.{number}", "BUY 400 MKT")
            await h.session.send([(number, order)])
        await asyncio.sleep(0.3)
        parts = [o for o in await h.session.open_orders() if o.filled]
        assert parts
        assert all(0 < o.filled < 400 for o in parts)
        assert all(o.remaining == 400 - o.filled for o in parts)


async def test_orders_that_ended_are_completed_orders(house, make_order) -> None:
    async with house() as h:
        await h.ready()
        await h.session.send([(5, make_order("A:EN", "BUY 10 LMT 90.00"))])
        await asyncio.sleep(1)
        await h.session.cancel(5)
        await asyncio.sleep(1)
        assert [
            (c.order_ref, c.status, c.quantity, c.filled)
            for c in await h.session.completed_orders()
        ] == [("ibkrd:20260219:AAPL:A:EN", "Cancelled", 10, 0)]
        assert await h.session.open_orders() == ()


async def test_a_completed_order_that_nobody_asked_for_is_no_error(
    house, make_order
) -> None:
    settings = GatewaySettings(partial_fills=False, unsolicited_completed_orders=True)
    async with house(settings=settings) as h:
        await h.ready()  # the sync has asked for completed orders once
        await h.session.send([(5, make_order("A:EN", "BUY 10 LMT 100.50"))])
        await asyncio.sleep(5)
        assert len(await h.session.completed_orders()) == 1
        # An ERROR of ib_async ("KeyError: 'completedOrders'") would fail this test.


async def test_executions_come_with_what_is_known_of_their_commissions(
    house, make_order
) -> None:
    settings = GatewaySettings(partial_fills=False, commission_delay_s=30)
    async with house(settings=settings) as h:
        await h.ready()
        await h.session.send([(5, make_order("A:EN", "BUY 10 LMT 100.50"))])
        await asyncio.sleep(5)
        fills, commissions = await h.session.executions()
        assert [(f.order_ref, f.quantity, f.side.value) for f in fills] == [
            ("ibkrd:20260219:AAPL:A:EN", 10, "BUY")
        ]
        assert commissions == ()
        await asyncio.sleep(30)
        fills, commissions = await h.session.executions()
        assert [c.exec_id for c in commissions] == [fills[0].exec_id]
        assert commissions[0].amount is not None


async def test_executions_of_other_clients_are_told_too(house) -> None:
    async with house() as h:
        await h.ready()
        h.foreign(1, "BUY 10 MKT")
        await asyncio.sleep(5)
        fills, commissions = await h.session.executions()
        assert [(f.client_id, f.order_ref, f.quantity) for f in fills] == [
            (99, "by hand", 10)
        ]
        assert commissions == ()  # told to the Master client only


async def test_what_was_executed_while_we_were_away_is_told_after_the_reconnect(
    house, make_order
) -> None:
    async with house() as h:
        await h.ready()
        await h.session.send([(5, make_order("A:EN", "BUY 10 MKT"))])
        await asyncio.sleep(0.01)
        h.world.drop(10)
        h.world.hold_client_id(10, for_s=60)
        await asyncio.sleep(59)
        assert [e for e in h.heard if isinstance(e, Fill)] == []
        await h.ready()
        told = {e.exec_id: e for e in h.heard if isinstance(e, Fill)}
        assert [(f.order_ref, f.quantity) for f in told.values()] == [
            ("ibkrd:20260219:AAPL:A:EN", 10)
        ]
        paid = {e.exec_id for e in h.heard if isinstance(e, Commission)}
        assert paid == set(told)


async def test_funds_are_what_the_gateway_told_last(house) -> None:
    settings = GatewaySettings(cash=Decimal(25_000))
    async with house(settings=settings) as h:
        await h.ready()
        funds = await h.session.funds()
        assert funds.net_liquidation == Decimal(25_000)
        assert funds.available == Decimal(25_000)


async def test_without_a_session_every_question_is_an_error(house) -> None:
    async with house(started=False) as h:
        for question in (
            h.session.probe,
            h.session.positions,
            h.session.open_orders,
            h.session.all_open_orders,
            h.session.completed_orders,
            h.session.executions,
            h.session.sync,
            h.session.funds,
            h.session.ready_to_send,
        ):
            with pytest.raises(ConnectionLost, match="no session to the gateway"):
                await question()


async def test_questions_of_one_kind_at_once_are_all_answered(house) -> None:
    async with house(started=False) as h:
        h.latency(0.05)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await h.ready()
        h.world.endow("DU1234567", "AAPL", Decimal(181), Decimal(99))
        async with asyncio.timeout(8), asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(question())
                for _ in range(5)
                for question in (
                    h.session.probe,
                    h.session.positions,
                    h.session.open_orders,
                    h.session.all_open_orders,
                    h.session.completed_orders,
                    h.session.executions,
                )
            ]
        assert [len(task.result()) for task in asked[1::6]] == [1] * 5


async def test_the_answers_of_own_and_all_open_orders_are_not_mixed(
    house, make_order
) -> None:
    async with house(started=False) as h:
        h.latency(0.05)
        h.running = asyncio.get_running_loop().create_task(h.session.run())
        await h.ready()
        h.foreign(1, "BUY 10 LMT 90.00")
        await h.session.send([(5, make_order("A:EN", "BUY 10 LMT 90.00"))])
        await asyncio.sleep(1)
        own, everyone = await asyncio.gather(
            h.session.open_orders(), h.session.all_open_orders()
        )
        assert [o.client_id for o in own] == [10]
        assert sorted(o.client_id for o in everyone) == [10, 99]


async def test_a_question_without_an_answer_ends_the_connection(house) -> None:
    async with house() as h:
        await h.ready()
        h.mute(61)
        with pytest.raises(GatewayTimeout, match="no answer to positions in 10 s"):
            await h.session.positions()
        assert h.session.link is Link.DISCONNECTED
        assert h.session.trouble == "no answer to positions in 10 s"
        h.mute()
        await h.ready(within_s=2)
        assert await h.session.positions() == ()


async def test_questions_leave_nothing_behind() -> None:
    settings = SessionSettings("127.0.0.1", 4002, 10, Account("DU1234567"))
    requests = Requests(settings, SystemClock())
    for symbol in ("AAPL", "LH", "MRNA"):
        with pytest.raises(ConnectionLost):
            await requests.contract(symbol)
    assert len(requests._locks) == 0  # noqa: SLF001 # memory has no other witness


# --- contracts -----------------------------------------------------------------------


async def test_a_contract_is_routed_smart_and_carries_what_the_exchange_says(
    house,
) -> None:
    async with house() as h:
        await h.ready()
        contract = await h.session.contract("AAPL")
        assert (contract.con_id, contract.symbol) == (265598, "AAPL")
        assert contract.exchange == "SMART"
        assert contract.min_tick == Decimal("0.01")
        assert "MOC" in contract.order_types
        assert "20260219:0930-20260219:1600" in contract.liquid_hours


async def test_a_contract_is_asked_for_once_a_day(house) -> None:
    async with house() as h:
        await h.ready()
        first = await h.session.contract("AAPL")
        h.mute(9)
        assert await h.session.contract("AAPL") is first
        await asyncio.sleep(86_400)
        with pytest.raises(GatewayTimeout, match="contract details of AAPL"):
            await h.session.contract("AAPL")


async def test_a_symbol_without_a_contract_is_refused_by_its_name(house) -> None:
    async with house() as h:
        await h.ready()
        with pytest.raises(RequestRefused, match="200: No security definition") as told:
            await h.session.contract("NOSUCH")
        assert told.value.code == 200
        assert h.session.connected


async def test_the_refusal_of_a_question_names_no_order(house) -> None:
    """Questions and orders share one counter, which the gateway may reset."""
    async with house() as h:
        await h.ready()
        with pytest.raises(RequestRefused):
            await h.session.contract("NOSUCH")
        assert [n.order_id for n in h.notices(200)] == [-1]


async def test_a_contract_rebuilt_from_a_position_is_routed_smart(house) -> None:
    async with house() as h:
        await h.ready()
        position = Position(Account("DU1234567"), ConId(265598), "AAPL", Decimal(1))
        contract = await h.session.contract_by_id(position)
        assert (contract.con_id, contract.exchange) == (265598, "SMART")


# --- orders -----------------------------------------------------------------------


async def test_a_family_goes_out_in_its_order_under_its_parent(
    house, make_family
) -> None:
    async with house() as h:
        await h.ready()
        await h.session.send(list(zip((5, 6, 7), make_family(), strict=True)))
        await asyncio.sleep(1)
        assert h.written(
            "placed", "order_id", "order_ref", "parent_id", "transmit", "order_type"
        ) == [
            (5, "ibkrd:20260219:AAPL:A:EN", 0, False, "LMT"),
            (6, "ibkrd:20260219:AAPL:A:TP", 5, False, "LMT"),
            (7, "ibkrd:20260219:AAPL:A:SL", 5, True, "STP"),
        ]
        assert set(h.written("placed", "account", "tif")) == {("DU1234567", "DAY")}


async def test_times_of_an_order_are_sent_in_utc(house, make_order) -> None:
    async with house() as h:
        await h.ready()
        entry = make_order(
            "A:EN",
            "BUY 1 LMT 90.00",
            tif="GTD",
            good_till=datetime.fromisoformat("2026-02-19T15:30:00-05:00"),
        )
        await h.session.send([(5, entry)])
        await asyncio.sleep(1)
        assert h.written("placed", "good_till") == [("20260219-20:30:00",)]


async def test_an_expired_order_is_never_sent(house, make_order, at) -> None:
    async with house() as h:
        await h.ready()
        late = make_order("A:EN", "BUY 1 LMT 90.00", expires_at=at(-1))
        with pytest.raises(InvariantViolated, match="expired"):
            await h.session.send([(5, late)])
        await asyncio.sleep(1)
        assert h.written("placed") == []


async def test_what_waits_for_a_dead_connection_is_not_sent_on_the_next(
    house, make_family, make_order
) -> None:
    async with house(messages_per_second=1) as h:
        await h.ready()
        await asyncio.sleep(5)
        bracket = list(zip((5, 6, 7), make_family(), strict=True))
        sending = asyncio.get_running_loop().create_task(_send(h, bracket))
        alone = [(9, make_order("X:MKT", "BUY 1 LMT 90.00"))]
        single = asyncio.get_running_loop().create_task(_send(h, alone))
        ended = asyncio.get_running_loop().create_task(h.session.cancel(5))
        await asyncio.sleep(0.1)
        h.world.drop(10)
        for task in (sending, single, ended):
            with pytest.raises(ConnectionLost):
                await task
        await h.ready()
        await asyncio.sleep(60)
        assert h.written("placed", "order_id") == [(5,)]
        assert h.written("cancel_requested") == []


async def _send(h, orders) -> None:
    await h.session.ready_to_send()
    await h.session.send(orders)


async def test_a_question_that_waits_for_a_dead_connection_ends_with_it(house) -> None:
    async with house(messages_per_second=1) as h:
        await h.ready()
        await asyncio.sleep(5)
        asked = [
            asyncio.get_running_loop().create_task(h.session.contract(symbol))
            for symbol in ("AAPL", "LH", "NOV", "MRNA")
        ]
        await asyncio.sleep(0.5)
        h.session.abort("planned")
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each).__name__ for each in ended] == [
            "Contract",
            *["ConnectionLost"] * 3,
        ]


async def test_nothing_is_asked_on_a_connection_that_was_given_up(
    house, caplog
) -> None:
    async with house(messages_per_second=1) as h:
        await h.ready()
        await asyncio.sleep(5)
        await h.session.probe()
        loop = asyncio.get_running_loop()
        # In the very turn in which the slot of the next question comes.
        loop.call_later(1 - 5e-7, h.session.abort, "planned")
        h.mute(61)
        with (
            caplog.at_level(logging.INFO, "daemon.fakegateway"),
            pytest.raises(ConnectionLost, match="planned"),
        ):
            await h.session.positions()
        assert "gateway.message_muted" not in caplog.text
        h.mute()
        await h.ready()


async def test_the_cancel_of_an_order_that_is_not_there_is_answered(house) -> None:
    async with house() as h:
        await h.ready()
        await h.session.cancel(77)
        await asyncio.sleep(1)
        assert [n.order_id for n in h.notices(10147)] == [77]


async def test_the_status_of_an_order_is_told_with_its_ids(house, make_order) -> None:
    async with house() as h:
        await h.ready()
        await h.session.send([(5, make_order("A:EN", "BUY 10 LMT 90.00"))])
        await asyncio.sleep(1)
        told = [e for e in h.heard if isinstance(e, OrderUpdate)]
        assert {(u.order_id, u.client_id) for u in told} == {(5, 10)}
        assert told[-1].status == "Submitted"
        assert told[-1].perm_id > 0


# --- order ids ---------------------------------------------------------------------


async def test_an_order_id_at_or_below_the_highest_journaled_is_never_used(
    house,
) -> None:
    async with house() as h:
        await h.ready()
        assert h.session.reserve_order_ids(3, above=500) == [501, 502, 503]
        assert h.session.reserve_order_ids(2, above=0) == [504, 505]


async def test_order_ids_stay_above_after_the_gateway_reset_its_counter(
    house, make_order
) -> None:
    async with house() as h:
        await h.ready()
        (first,) = h.session.reserve_order_ids(1, above=500)
        await h.session.send([(first, make_order("A:EN", "BUY 1 LMT 90.00"))])
        await asyncio.sleep(1)
        # The same gateway after "Reset API order ID sequence": it starts at 1.
        async with house(started=False, port=4003) as other:
            h.world.drop(10)
            h.shut()
            reset = await serve(other.world, "127.0.0.1", 4002)
            await h.lost()
            await h.ready()
            assert other.world.next_valid_id(10) == 1
            assert h.session.reserve_order_ids(2, above=first) == [502, 503]
            reset.close()


async def test_order_ids_are_above_those_that_questions_use(house) -> None:
    async with house() as h:
        await h.ready()
        before = h.session.reserve_order_ids(1, above=0)
        for symbol in ("AAPL", "LH"):
            await h.session.contract(symbol)
        after = h.session.reserve_order_ids(1, above=0)
        assert after[0] > before[0] + 2
