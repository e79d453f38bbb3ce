"""Every code of the table, said by the gateway on orders of ours in every stage.

The orders live at the gateway all the while, but for the stillborn one: what a code
says is a hint, and what the broker says afterwards is what counts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from daemon.core.codes import RULES
from daemon.core.model import OrderRecord, OrderState
from daemon.errors import RequestRefused
from daemon.fakegateway.values import Refusal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.virtual(start="2026-02-19T10:00:00-05:00"),
]

CANCELLED, WARNED = "Cancelled", "ValidationError"
"""What ib_async makes of a code on a working order: dead, or stuck as a warning."""


class Course(NamedTuple):
    """Our state of an order after a code that came upon it in each stage."""

    young: str
    working: str
    cancelling: str
    cancel_answered: bool = False
    """Whether nothing further is awaited by who cancelled."""


UNTOUCHED = Course("sent", "working", "working")
REFUSED = Course("rejected", "unknown", "unknown")
"""On an order that works it may mean a change or a cancel that was refused."""
ENDED = Course("rejected", "rejected", "rejected", cancel_answered=True)
GONE = Course("cancelled", "cancelled", "cancelled", cancel_answered=True)
CONTESTED = Course("unknown", "unknown", "unknown")
ANSWERED = Course("unknown", "unknown", "unknown", cancel_answered=True)
"""An answer to a cancel that does not say what became of the order."""


@dataclass(frozen=True)
class Case:
    course: Course
    ib_async: str
    text: str = "a text of the gateway"


CASES: dict[int, Case] = {
    # --- notices: whatever id they come with, the order does not care
    101: Case(UNTOUCHED, CANCELLED),
    102: Case(UNTOUCHED, CANCELLED),
    162: Case(UNTOUCHED, CANCELLED),
    165: Case(UNTOUCHED, WARNED),
    300: Case(UNTOUCHED, CANCELLED),
    366: Case(UNTOUCHED, CANCELLED),
    2100: Case(UNTOUCHED, WARNED),
    2101: Case(UNTOUCHED, WARNED),
    2103: Case(UNTOUCHED, WARNED, "Market data farm connection is broken:usfarm"),
    2104: Case(UNTOUCHED, WARNED, "Market data farm connection is OK:usfarm"),
    2105: Case(UNTOUCHED, WARNED, "HMDS data farm connection is broken:ushmds"),
    2106: Case(UNTOUCHED, WARNED, "HMDS data farm connection is OK:ushmds"),
    2107: Case(UNTOUCHED, WARNED),
    2108: Case(UNTOUCHED, WARNED),
    2119: Case(UNTOUCHED, WARNED, "Market data farm is connecting:usfarm"),
    2150: Case(UNTOUCHED, WARNED),
    2157: Case(UNTOUCHED, WARNED, "Sec-def data farm connection is broken:secdefil"),
    2158: Case(UNTOUCHED, WARNED, "Sec-def data farm connection is OK:secdefil"),
    2176: Case(UNTOUCHED, WARNED),
    10089: Case(UNTOUCHED, CANCELLED),
    10090: Case(UNTOUCHED, CANCELLED),
    10167: Case(UNTOUCHED, WARNED),
    10168: Case(UNTOUCHED, CANCELLED),
    10187: Case(UNTOUCHED, CANCELLED),
    10197: Case(UNTOUCHED, CANCELLED),
    # --- the order lives
    105: Case(UNTOUCHED, WARNED, "Order being modified does not match the original."),
    329: Case(UNTOUCHED, WARNED, "Order modify failed. Cannot change the type."),
    399: Case(UNTOUCHED, WARNED, "Order Message:\nBUY 10 AAPL\nWarning: price capped"),
    404: Case(UNTOUCHED, WARNED, "Order held while securities are located."),
    422: Case(UNTOUCHED, CANCELLED),
    481: Case(UNTOUCHED, CANCELLED, "Order size was reduced."),
    2102: Case(UNTOUCHED, WARNED, "Unable to modify: it is still being processed."),
    2109: Case(UNTOUCHED, WARNED, "Outside Regular Trading Hours is ignored."),
    2137: Case(UNTOUCHED, WARNED),
    2161: Case(UNTOUCHED, WARNED),
    2168: Case(UNTOUCHED, WARNED),
    2169: Case(UNTOUCHED, WARNED),
    2174: Case(UNTOUCHED, WARNED),
    10349: Case(
        UNTOUCHED, CANCELLED, "Order TIF was set to DAY based on order preset."
    ),
    # --- a refusal of the new order, and a doubt on one that works
    106: Case(REFUSED, CANCELLED),
    107: Case(REFUSED, CANCELLED),
    109: Case(REFUSED, CANCELLED),
    110: Case(REFUSED, WARNED, "The price does not conform to the minimum variation."),
    111: Case(REFUSED, CANCELLED),
    113: Case(REFUSED, CANCELLED),
    116: Case(REFUSED, CANCELLED),
    139: Case(REFUSED, CANCELLED),
    140: Case(REFUSED, CANCELLED),
    141: Case(REFUSED, CANCELLED),
    145: Case(REFUSED, CANCELLED),
    146: Case(REFUSED, CANCELLED),
    154: Case(REFUSED, CANCELLED, "Orders cannot be sent for a halted security."),
    160: Case(REFUSED, CANCELLED),
    163: Case(REFUSED, CANCELLED, "The price would violate the percentage constraint."),
    200: Case(REFUSED, CANCELLED, "No security definition has been found."),
    201: Case(REFUSED, CANCELLED, "Order rejected - reason:Exchange is closed."),
    203: Case(REFUSED, CANCELLED),
    320: Case(REFUSED, CANCELLED),
    321: Case(REFUSED, WARNED, "Error validating request.-'bO' : cause - a field"),
    334: Case(REFUSED, CANCELLED),
    336: Case(REFUSED, CANCELLED),
    337: Case(REFUSED, CANCELLED),
    343: Case(REFUSED, CANCELLED),
    355: Case(REFUSED, CANCELLED),
    361: Case(REFUSED, CANCELLED),
    382: Case(REFUSED, CANCELLED),
    383: Case(REFUSED, CANCELLED, "size exceeds the Size Limit of 500."),
    387: Case(REFUSED, CANCELLED),
    388: Case(REFUSED, CANCELLED),
    391: Case(REFUSED, CANCELLED),
    392: Case(REFUSED, CANCELLED),
    395: Case(REFUSED, CANCELLED),
    396: Case(REFUSED, CANCELLED),
    397: Case(REFUSED, CANCELLED),
    401: Case(REFUSED, CANCELLED),
    403: Case(REFUSED, CANCELLED),
    405: Case(REFUSED, CANCELLED),
    407: Case(REFUSED, CANCELLED),
    412: Case(REFUSED, CANCELLED),
    413: Case(REFUSED, CANCELLED),
    421: Case(REFUSED, CANCELLED),
    434: Case(REFUSED, WARNED, "The order size cannot be zero."),
    435: Case(REFUSED, CANCELLED),
    436: Case(REFUSED, CANCELLED),
    460: Case(REFUSED, CANCELLED, "No trading permissions."),
    462: Case(REFUSED, CANCELLED),
    478: Case(REFUSED, CANCELLED),
    10006: Case(REFUSED, CANCELLED, "Missing parent order."),
    10015: Case(REFUSED, CANCELLED),
    10052: Case(REFUSED, CANCELLED, "Invalid time in force:GTD"),
    10243: Case(REFUSED, CANCELLED),
    10268: Case(REFUSED, CANCELLED),
    10269: Case(REFUSED, CANCELLED),
    10270: Case(REFUSED, CANCELLED),
    10311: Case(REFUSED, CANCELLED, "This order will be directly routed to NYSE."),
    10318: Case(REFUSED, CANCELLED),
    # --- the end of an order, also of one that works
    202: Case(GONE, CANCELLED, "Order Canceled - reason:"),
    354: Case(ENDED, CANCELLED, "Requested market data is not subscribed."),
    # --- nothing is known
    100: Case(CONTESTED, CANCELLED, "Max rate of messages per second exceeded."),
    103: Case(CONTESTED, CANCELLED, "Duplicate order id"),
    104: Case(CONTESTED, CANCELLED, "Cannot modify a filled order."),
    133: Case(CONTESTED, CANCELLED),
    134: Case(CONTESTED, CANCELLED),
    135: Case(ANSWERED, CANCELLED, "Can't find order with id"),
    136: Case(ANSWERED, CANCELLED, "This order cannot be cancelled."),
    161: Case(ANSWERED, CANCELLED, "Cancel attempted in no cancellable state."),
    164: Case(CONTESTED, CANCELLED),
    322: Case(CONTESTED, CANCELLED),
    323: Case(CONTESTED, CANCELLED),
    438: Case(CONTESTED, CANCELLED),
    10147: Case(ANSWERED, CANCELLED, "OrderId that needs to be cancelled not found."),
    10148: Case(ANSWERED, CANCELLED, "OrderId cannot be cancelled."),
    10149: Case(ANSWERED, CANCELLED, "Invalid order id"),
    10329: Case(CONTESTED, CANCELLED),
    10335: Case(CONTESTED, CANCELLED),
    10341: Case(CONTESTED, CANCELLED),
}

CONNECTION = (326, 502, 503, 504, 505, 507, 1100, 1101, 1102, 1300, 2110)
"""They come with no order and speak of none."""

ALARMS = {
    "rejected": "AAPL: order refused ({code})",
    "unknown": "AAPL: order of unknown fate ({code})",
}


@pytest.fixture
async def ib_async_says(ask_plain_ib_async) -> dict[int, str]:
    """What a plain ib_async client would believe of the same working order."""
    return await ask_plain_ib_async({code: case.text for code, case in CASES.items()})


def expected_alarms(code: int, *states: str) -> list[str]:
    named = [ALARMS[state] for state in states if state in ALARMS]
    return sorted(alarm.format(code=code) for alarm in named)


def test_every_code_of_the_table_has_its_case():
    assert sorted(RULES) == sorted([*CASES, *CONNECTION])


@pytest.mark.parametrize("code", sorted(set(RULES) - set(CONNECTION)))
async def test_a_code_moves_our_order_as_its_case_says_and_the_broker_has_the_last_word(
    desk, stages, ib_async_says, code
):
    case = CASES[code]
    async with desk() as d:
        orders = await stages(d)
        assert [d.state(ref) for ref in orders.all] == [
            "working",
            "working",
            "sent",
            "sent",
        ]
        await d.say(code, case.text, orders.all)
        course = case.course
        assert d.state(orders.young) == course.young
        assert d.state(orders.stillborn) == course.young
        assert d.state(orders.working) == course.working
        assert d.state(orders.cancelling) == course.cancelling
        assert d.answered(orders.cancelling) is course.cancel_answered
        assert ib_async_says[code] == case.ib_async
        assert [s for s in d.told() if s.startswith("AAPL")] == expected_alarms(
            code, course.working, course.cancelling, course.young, course.young
        )
        # The gateway answers at last: the three lived all the while.
        await asyncio.sleep(60)
        await d.look()
        assert d.state(orders.working) == "working"
        assert d.state(orders.young) == "working"
        # A cancel that is confirmed changes nothing of what had ended before it.
        ended = "rejected" if course is ENDED else "cancelled"
        assert d.state(orders.cancelling) == ended
        if course.young == "rejected":
            assert d.state(orders.stillborn) == "rejected"


@pytest.mark.parametrize(
    "code", [399, 404, 481, 2109, 2137, 10197, 10349, 105, 329, 103, 104, 161, 201]
)
async def test_ib_async_takes_a_working_order_for_dead_or_stuck_and_we_do_not(
    ib_async_says, code
):
    """Hence our own state machine: its status is never read."""
    assert ib_async_says[code] in {"Cancelled", "ValidationError"}
    assert CASES[code].course.working in {"working", "unknown"}


@pytest.mark.parametrize(
    ("code", "text", "state", "cancel_answered"),
    [
        (201, "Order rejected - reason:Cannot modify this order.", "working", False),
        (201, "Order rejected - reason:Revision of a MOC.", "working", False),
        (110, "Order modification: the price is off the tick.", "working", False),
        (10148, "OrderId 7 cannot be cancelled, state: Filled.", "filled", True),
        (10148, "OrderId 7 cannot be cancelled, state: Cancelled.", "cancelled", True),
        (10148, "OrderId 7, state: PendingCancel.", "working", False),
    ],
)
async def test_the_text_decides_where_the_code_alone_does_not(
    desk, stages, code, text, state, cancel_answered
):
    async with desk() as d:
        orders = await stages(d)
        await d.say(code, text, [orders.working, orders.cancelling])
        assert d.state(orders.working) == state
        assert d.state(orders.cancelling) == state
        assert d.answered(orders.cancelling) is cancel_answered
        assert d.told() == []


async def test_a_code_that_names_no_order_touches_none(desk, stages):
    """With the id -1 every code but those of the connection is news for nobody."""
    async with desk() as d:
        orders = await stages(d)
        for code, case in CASES.items():
            d.gateway.broadcast(Refusal(code, case.text))
        await asyncio.sleep(0.1)
        states = [d.state(ref) for ref in orders.all]
        assert states == ["working", "working", "sent", "sent"]
        assert [d.record(ref).code for ref in orders.all] == [None, None, None, None]
        assert d.told() == []


@pytest.mark.parametrize("code", CONNECTION)
async def test_a_code_of_the_connection_says_nothing_of_an_order(desk, stages, code):
    async with desk() as d:
        orders = await stages(d)
        d.gateway.broadcast(Refusal(code, "text of the gateway"))
        await asyncio.sleep(0.01)
        states = [d.state(ref) for ref in orders.all]
        assert states == ["working", "working", "sent", "sent"]
        assert [s for s in d.told() if "order" in s] == []


async def test_a_code_of_the_connection_on_an_orders_id_leaves_the_order_alone(
    desk, stages
):
    """Also one that has an id by mistake; the others act upon the session."""
    async with desk() as d:
        orders = await stages(d)
        for code in (502, 503, 504, 505, 507, 2110):
            await d.say(code, "text of the gateway", orders.all)
        states = [d.state(ref) for ref in orders.all]
        assert states == ["working", "working", "sent", "sent"]
        assert d.told() == []


# --- what is in no table --------------------------------------------------------------

UNLISTED = 987654


async def test_an_unlisted_code_concludes_nothing_and_is_told_once(desk, stages):
    """Thirty repetitions are one alarm; with another text it is no other news."""
    async with desk() as d:
        orders = await stages(d)
        for number in range(30):
            text = "never heard of" if number % 2 else f"never heard of {number}"
            await d.say(UNLISTED, text, [orders.working])
        assert d.state(orders.working) == "unknown"
        assert d.told() == ["AAPL: order of unknown fate (987654)"]
        await d.look()
        assert d.state(orders.working) == "working"
        await d.say(UNLISTED, "never heard of it again", [orders.working])
        assert d.state(orders.working) == "unknown"
        assert d.told() == ["AAPL: order of unknown fate (987654)"]


async def test_an_unlisted_code_of_the_system_range_leaves_the_order_alone(
    desk, stages
):
    async with desk() as d:
        orders = await stages(d)
        await d.say(2187, "never heard of", orders.all)
        states = [d.state(ref) for ref in orders.all]
        assert states == ["working", "working", "sent", "sent"]
        assert d.told() == []


# --- requests and orders share one counter --------------------------------------------


async def test_the_refusal_of_a_request_never_names_an_order_of_the_same_id(desk):
    async with desk() as d:
        ref = await d.place("A:EN")
        await asyncio.sleep(1)
        placed = d.record(ref)
        # An order of ours that has the id of the very next request.
        same_id = OrderRecord(
            order=_renamed(placed.order),
            session=placed.session,
            order_id=placed.order_id + 1,
            state=OrderState.INTENDED,
        )
        now = d.parts.session.connected_since
        d.parts.journal.intend([same_id], d.run_id, now)
        d.parts.book.add([same_id])
        d.parts.book.mark([same_id.order_ref], OrderState.SENT)
        with pytest.raises(RequestRefused):
            await d.parts.session.contract("ZZTOP")
        await asyncio.sleep(0.01)
        assert d.state(same_id.order_ref) == "sent"
        # The same code on the same id with no request under way is the order's.
        await d.say(200, "No security definition has been found", [same_id.order_ref])
        assert d.state(same_id.order_ref) == "rejected"


def _renamed(order):
    return type(order)(
        order_ref="ibkrd:20260219:AAPL:B:EN",
        account=order.account,
        contract=order.contract,
        side=order.side,
        quantity=order.quantity,
        order_type=order.order_type,
        limit_price=order.limit_price,
    )
