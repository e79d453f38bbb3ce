from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from daemon.core.accounting import account_row, tally
from daemon.core.model import (
    Account,
    ConId,
    Contract,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderType,
    PermId,
    RowOutcome,
    RowStatus,
    Side,
)
from daemon.core.plan import PlanRow

S, R = OrderState, RowStatus
ROW = PlanRow(
    line=4,
    symbol="LH",
    quantity=22,
    limit_price=Decimal(250),
    stop_loss=Decimal(240),
    take_profit_1=Decimal(260),
    take_profit_2=Decimal(270),
)


def order(leg: str, state: OrderState, code: int | None = None, text: str = ""):
    """Return the record of leg `A:EN`; the gateway knows it unless it was refused."""
    known = state in {S.ACKNOWLEDGED, S.WORKING, S.FILLED, S.CANCELLED}
    return OrderRecord(
        order=Order(
            order_ref=OrderRef(f"ibkrd:20260219:LH:{leg}"),
            account=Account("DU1234567"),
            contract=Contract(con_id=ConId(6762), symbol="LH"),
            side=Side.BUY,
            quantity=7,
            order_type=OrderType.LIMIT,
        ),
        session=date(2026, 2, 19),
        order_id=OrderId(5),
        perm_id=PermId(900005 if known else 0),
        state=state,
        code=code,
        text=text,
    )


def legs(**states: OrderState) -> list[OrderRecord]:
    """Return the six orders of a row, working where nothing else is said."""
    names = ("A:EN", "A:TP", "A:SL", "B:EN", "B:TP", "B:SL")
    return [order(n, states.get(n.replace(":", "_"), S.WORKING)) for n in names]


def test_a_row_whose_orders_all_stand_is_submitted() -> None:
    assert account_row(ROW, legs()) == RowOutcome(4, "LH", R.SUBMITTED, "")


@pytest.mark.parametrize("ended", [S.FILLED, S.CANCELLED, S.EXPIRED])
def test_an_order_that_has_ended_was_submitted(ended: OrderState) -> None:
    assert account_row(ROW, legs(A_EN=ended, A_TP=ended)).status is R.SUBMITTED


def test_a_row_without_an_order_is_unknown_not_submitted() -> None:
    assert account_row(ROW, []) == RowOutcome(
        4, "LH", R.UNKNOWN, "no answer for no order"
    )


@pytest.mark.parametrize("silent", [S.INTENDED, S.SENT, S.UNKNOWN])
def test_one_order_without_an_answer_makes_the_row_unknown(silent: OrderState) -> None:
    outcome = account_row(ROW, legs(B_SL=silent))
    assert outcome.status is R.UNKNOWN
    assert outcome.reason == "no answer for B SL"


def test_every_order_without_an_answer_is_named() -> None:
    outcome = account_row(ROW, legs(A_EN=S.SENT, B_EN=S.UNKNOWN))
    assert outcome.reason == "no answer for A EN, B EN"


def test_an_acknowledgement_without_a_perm_id_is_no_answer() -> None:
    told = order("A:EN", S.SENT)
    assert account_row(ROW, [told]).status is R.UNKNOWN


def test_a_row_is_refused_when_no_entry_stands() -> None:
    refused = [
        order("A:EN", S.REJECTED, 201, "margin"),
        order("A:TP", S.CANCELLED),
        order("A:SL", S.CANCELLED),
        order("B:EN", S.REJECTED, 201, "margin"),
        order("B:TP", S.CANCELLED),
        order("B:SL", S.CANCELLED),
    ]
    outcome = account_row(ROW, refused)
    assert outcome.status is R.REFUSED
    assert outcome.reason == "A EN refused: 201 margin; B EN refused: 201 margin"


def test_one_entry_that_stands_leaves_the_row_submitted_and_names_the_other() -> None:
    records = [*legs()[1:], order("A:EN", S.REJECTED, 383, "size limit")]
    outcome = account_row(ROW, records)
    assert outcome.status is R.SUBMITTED
    assert outcome.reason == "A EN refused: 383 size limit"


def test_a_refused_exit_leaves_the_row_submitted_and_is_named() -> None:
    records = [*legs()[:5], order("B:SL", S.REJECTED, 201, "no")]
    assert account_row(ROW, records) == RowOutcome(
        4, "LH", R.SUBMITTED, "B SL refused: 201 no"
    )


def test_the_tally_counts_every_row_in_exactly_one_status() -> None:
    outcomes = [
        RowOutcome(2, "LH", R.SUBMITTED),
        RowOutcome(3, "NOV", R.SUBMITTED),
        RowOutcome(4, "BLCO", R.SKIPPED, "held"),
        RowOutcome(5, "MRNA", R.UNKNOWN, "no answer"),
    ]
    counts = tally(outcomes)
    assert counts == {"submitted": 2, "skipped": 1, "refused": 0, "unknown": 1}
    assert sum(counts.values()) == len(outcomes)
