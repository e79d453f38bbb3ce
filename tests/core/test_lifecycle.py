from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.lifecycle import (
    OrderEvent,
    acknowledged,
    advance,
    cancel_answered,
    conclude,
    replay,
)
from daemon.core.model import (
    Account,
    CompletedOrder,
    ConId,
    Contract,
    ExecId,
    Fill,
    Notice,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderType,
    OrderUpdate,
    PermId,
    Side,
    WorkingOrder,
)
from daemon.errors import InvariantViolated

REF = OrderRef("ibkrd:20260312:IRDM:B:EN")
ACCOUNT = Account("DU1234567")
AT = datetime(2026, 3, 12, 19, 40, tzinfo=UTC)


def record(state: OrderState = OrderState.SENT, **changes: object) -> OrderRecord:
    order = Order(
        order_ref=REF,
        account=ACCOUNT,
        contract=Contract(ConId(11), "IRDM"),
        side=Side.BUY,
        quantity=190,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("24.10"),
    )
    made = OrderRecord(order, date(2026, 3, 12), OrderId(7), state)
    return replace(made, **changes)  # type: ignore[arg-type] # a builder of tests


def told(status: str, filled: int = 0, perm_id: int = 900) -> OrderUpdate:
    return OrderUpdate(
        order_id=OrderId(7),
        perm_id=PermId(perm_id),
        client_id=10,
        order_ref=OrderRef(""),
        status=status,
        filled=Decimal(filled),
        remaining=Decimal(190 - filled),
    )


def opened(status: str, ref: str = REF) -> WorkingOrder:
    return WorkingOrder(
        order_id=OrderId(7),
        perm_id=PermId(900),
        client_id=10,
        order_ref=OrderRef(ref),
        account=ACCOUNT,
        con_id=ConId(11),
        symbol="IRDM",
        side=Side.BUY,
        quantity=Decimal(190),
        order_type="LMT",
        status=status,
        remaining=Decimal(190),
    )


def fill(exec_id: str, shares: int, second: int = 0) -> Fill:
    return Fill(
        exec_id=ExecId(exec_id),
        order_ref=REF,
        order_id=OrderId(7),
        perm_id=PermId(900),
        client_id=10,
        account=ACCOUNT,
        con_id=ConId(11),
        symbol="IRDM",
        side=Side.BUY,
        quantity=Decimal(shares),
        price=Decimal("24.10"),
        time=AT + timedelta(seconds=second),
    )


def done(status: str, filled: int) -> CompletedOrder:
    return CompletedOrder(
        perm_id=PermId(900),
        order_ref=REF,
        account=ACCOUNT,
        con_id=ConId(11),
        symbol="IRDM",
        side=Side.BUY,
        quantity=Decimal(190),
        filled=Decimal(filled),
        status=status,
    )


def notice(code: int, text: str = "") -> Notice:
    return Notice(7, code, text)


@pytest.mark.parametrize(
    ("before", "event", "after"),
    [
        ("sent", told("PendingSubmit"), "acknowledged"),
        ("sent", told("PendingSubmit", perm_id=0), "sent"),
        ("sent", told("ApiPending"), "acknowledged"),
        ("sent", told("PreSubmitted"), "working"),
        ("sent", told("Submitted"), "working"),
        ("sent", told("Submitted", perm_id=0), "sent"),
        ("sent", opened("PreSubmitted"), "working"),
        ("intended", opened("Submitted"), "working"),
        ("expired", opened("Submitted"), "working"),
        ("working", told("WarnState"), "working"),
        ("sent", told("SomethingNew"), "sent"),
        ("working", told("PendingCancel"), "working"),
        ("cancelled", told("PendingCancel"), "cancelled"),
        ("working", told("PreCancelled"), "working"),
        ("working", told("Cancelled"), "cancelled"),
        ("sent", told("ApiCancelled"), "cancelled"),
        ("sent", told("Inactive"), "rejected"),
        ("working", told("Inactive"), "rejected"),
        ("rejected", told("Cancelled"), "rejected"),
        ("rejected", told("Submitted"), "working"),
        ("cancelled", told("Submitted"), "working"),
        ("sent", told("Filled", 190), "filled"),
        ("working", opened("Filled"), "filled"),
        ("filled", told("Submitted", 127), "filled"),
        ("filled", told("Cancelled", 190), "filled"),
        ("unknown", told("Submitted"), "working"),
        ("unknown", done("Cancelled", 0), "cancelled"),
        ("unknown", done("Filled", 190), "filled"),
        ("unknown", done("Inactive", 0), "rejected"),
        ("unknown", fill("e.1.01", 190), "filled"),
        ("unknown", fill("e.1.01", 127), "working"),
        ("working", notice(202, "Order Canceled - reason:"), "cancelled"),
        ("sent", notice(201, "Order rejected - reason:Margin"), "rejected"),
        ("working", notice(201, "Order rejected - reason:Margin"), "unknown"),
        ("working", notice(354, "not subscribed"), "rejected"),
        ("working", notice(10349, "TIF was set to DAY"), "working"),
        ("sent", notice(399, "will not be placed"), "sent"),
        ("sent", notice(1100, "lost"), "sent"),
        ("working", notice(10148, "cannot be cancelled, state: Filled."), "filled"),
        ("working", notice(10147, "not found"), "unknown"),
        ("filled", notice(10147, "not found"), "filled"),
        ("cancelled", notice(161, "not cancellable"), "cancelled"),
    ],
)
def test_evidence_moves_an_order_as_the_table_says(
    before: str, event: OrderEvent, after: str
) -> None:
    assert advance(record(OrderState(before)), event).state == after


def test_executions_fill_an_order_without_any_status() -> None:
    after = replay(record(), [fill("e.1.01", 127), fill("e.2.01", 63)])
    assert (after.state, after.filled, after.remaining) == (OrderState.FILLED, 190, 0)


def test_a_repeated_execution_is_counted_once() -> None:
    after = replay(record(), [fill("e.1.01", 127), fill("e.1.01", 127)])
    assert (after.state, after.filled, after.remaining) == (OrderState.WORKING, 127, 63)


def test_a_late_fill_after_cancelled_is_carried() -> None:
    after = replay(
        record(), [told("Submitted"), told("Cancelled"), fill("e.1.01", 127)]
    )
    assert (after.state, after.filled) == (OrderState.CANCELLED, 127)


def test_a_full_late_fill_after_cancelled_makes_the_order_filled() -> None:
    after = replay(record(OrderState.CANCELLED), [fill("e.1.01", 190)])
    assert after.state is OrderState.FILLED


@pytest.mark.parametrize("end", [told("Inactive", 127), notice(354, "no data")])
def test_a_partly_filled_order_that_is_ended_is_cancelled_not_rejected(
    end: OrderEvent,
) -> None:
    after = replay(record(), [fill("e.1.01", 127), end])
    assert (after.state, after.filled) == (OrderState.CANCELLED, 127)


def test_a_fill_that_a_status_told_before_is_not_added_again() -> None:
    events = [told("Submitted", 127), fill("e.1.01", 127), fill("e.2.01", 10)]
    assert replay(record(), events).filled == 137


def test_an_open_order_without_a_filled_quantity_takes_nothing_back() -> None:
    after = replay(record(), [told("Submitted", 127), opened("Submitted")])
    assert (after.filled, after.remaining) == (127, 63)


@pytest.mark.parametrize(
    "events",
    [
        [told("PreSubmitted"), notice(354, "a"), notice(10349, "b")],
        [told("PreSubmitted"), notice(10349, "b"), notice(354, "a"), told("Cancelled")],
        [told("PreSubmitted"), notice(354, "a"), notice(202, "c"), told("Cancelled")],
        [told("PreSubmitted"), told("Cancelled"), notice(354, "a")],
    ],
)
def test_the_record_names_the_code_that_ended_the_order(
    events: list[OrderEvent],
) -> None:
    after = replay(record(), events)
    assert (after.state, after.code, after.text) == (OrderState.REJECTED, 354, "a")


def test_a_repeated_execution_is_no_new_evidence_for_an_unknown_order() -> None:
    lost = replay(record(), [fill("e.1.01", 127), notice(10147, "not found")])
    assert advance(lost, fill("e.1.01", 127)).state is OrderState.UNKNOWN


@pytest.mark.parametrize(("perm_id", "after"), [(900, "unknown"), (0, "rejected")])
def test_a_refusal_ends_an_unknown_order_only_if_it_was_never_acknowledged(
    perm_id: int, after: str
) -> None:
    lost = record(OrderState.UNKNOWN, perm_id=PermId(perm_id))
    assert advance(lost, notice(201, "Order rejected - reason:Margin")).state == after


def test_a_refusal_told_twice_is_told_once() -> None:
    refusal = notice(201, "Order rejected - reason:Margin")
    after = replay(record(OrderState.WORKING), [refusal, refusal])
    assert after.state is OrderState.UNKNOWN


def test_the_first_of_two_refusals_is_the_one_that_ended_the_order() -> None:
    after = replay(record(), [notice(383, "a"), notice(201, "b")])
    assert (after.state, after.code) == (OrderState.REJECTED, 383)


def test_a_revived_order_keeps_no_code_of_its_death() -> None:
    after = replay(record(), [notice(201, "no"), told("Submitted")])
    assert (after.state, after.code, after.text) == (OrderState.WORKING, None, "")


@pytest.mark.parametrize(
    "event",
    [
        opened("Submitted", "ibkrd:20260312:IRDM:A:EN"),
        replace(told("Submitted"), order_id=OrderId(8)),
        replace(told("Submitted", perm_id=0), order_id=OrderId(8)),
        Notice(8, 201, "rejected"),
        replace(fill("e.1.01", 1), order_ref=OrderRef("ibkrd:20260312:LH:A:EN")),
    ],
)
def test_evidence_of_another_order_is_a_bug(event: OrderEvent) -> None:
    with pytest.raises(InvariantViolated, match="does not belong"):
        advance(record(), event)


@pytest.mark.parametrize(
    ("state", "perm_id", "answered"),
    [
        ("sent", 0, False),
        ("sent", 900, False),
        ("acknowledged", 900, True),
        ("working", 900, True),
        ("working", 0, False),
        ("unknown", 900, False),
        ("rejected", 0, True),
        ("filled", 900, True),
    ],
)
def test_acknowledged_needs_a_perm_id_or_an_end(
    state: str, perm_id: int, answered: bool
) -> None:
    given_record = record(OrderState(state), perm_id=PermId(perm_id))
    assert acknowledged(given_record) is answered


@pytest.mark.parametrize(
    ("events", "answered"),
    [
        ([told("Submitted")], False),
        ([told("Submitted"), told("PendingCancel")], False),
        ([told("Submitted"), notice(10147, "not found")], True),
        ([told("Submitted"), notice(10148, "state: Filled")], True),
        ([told("Submitted"), notice(201, "rejected")], False),
        ([told("Submitted"), told("Cancelled")], True),
    ],
)
def test_a_cancel_is_answered_by_an_end_or_by_a_refusal(
    events: list[OrderEvent], answered: bool
) -> None:
    assert cancel_answered(replay(record(), events)) is answered


@pytest.mark.parametrize(
    ("before", "state"),
    [
        ("intended", "sent"),
        ("intended", "expired"),
        ("sent", "unknown"),
        ("working", "unknown"),
        ("unknown", "cancelled"),
        ("filled", "filled"),
    ],
)
def test_what_no_evidence_contradicts_may_be_concluded(before: str, state: str) -> None:
    after = conclude(record(OrderState(before)), OrderState(state), "why")
    assert after.state == state


@pytest.mark.parametrize(
    ("before", "state"),
    [
        ("unknown", "sent"),
        ("unknown", "rejected"),
        ("filled", "unknown"),
        ("cancelled", "sent"),
        ("sent", "rejected"),
        ("working", "expired"),
    ],
)
def test_an_unknown_order_is_never_called_rejected_nor_sent_again(
    before: str, state: str
) -> None:
    with pytest.raises(InvariantViolated, match="only the broker's evidence"):
        conclude(record(OrderState(before)), OrderState(state))


STATUSES = [
    "PendingSubmit",
    "PreSubmitted",
    "Submitted",
    "PendingCancel",
    "PreCancelled",
    "ApiPending",
    "ApiCancelled",
    "Cancelled",
    "Filled",
    "Inactive",
    "WarnState",
    "Novelty",
]
CODES = [103, 161, 201, 202, 354, 383, 399, 404, 1100, 2104, 10147, 10148, 10349, 77777]
FILLS = [fill("e.1.01", 100), fill("e.2.01", 27, 1), fill("e.3.01", 63, 2)]

statuses = st.builds(
    told,
    st.sampled_from(STATUSES),
    st.sampled_from([0, 100, 127, 190]),
    st.sampled_from([0, 900]),
)
notices = st.builds(
    notice, st.sampled_from(CODES), st.sampled_from(["", "state: Filled", "modify"])
)
evidence = st.one_of(
    statuses,
    notices,
    st.sampled_from(FILLS),
    st.builds(opened, st.sampled_from(STATUSES)),
    st.builds(done, st.sampled_from(STATUSES), st.sampled_from([0, 127, 190])),
)


@given(st.sampled_from(OrderState), st.lists(evidence, max_size=12))
def test_no_evidence_in_any_order_crashes_and_a_repeat_changes_nothing(
    state: OrderState, events: list[OrderEvent]
) -> None:
    now = record(state)
    for event in events:
        after = advance(now, event)
        assert advance(after, event) == after
        assert after.filled >= now.filled
        now = after


@given(st.permutations(FILLS), st.lists(st.sampled_from(FILLS)))
def test_executions_in_any_order_and_repetition_fill_the_order(
    order: list[Fill], repeats: list[Fill]
) -> None:
    after = replay(record(), [*repeats, *order])
    assert (after.state, after.filled, len(after.executions)) == (
        OrderState.FILLED,
        190,
        3,
    )
