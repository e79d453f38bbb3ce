from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.ledger import (
    Books,
    opening_balances,
    opening_json,
    opening_lots,
    own_shares,
    settle,
)
from daemon.core.model import (
    Account,
    Commission,
    ConId,
    ExecId,
    Fill,
    OrderId,
    OrderRef,
    PermId,
    Position,
    Side,
)
from daemon.errors import JournalError

ACCOUNT = Account("DU1234567")
AT = datetime(2026, 6, 10, 13, 35, tzinfo=UTC)
BUY, SELL = Side.BUY, Side.SELL


def fill(
    exec_id: str,
    side: Side,
    shares: str | int,
    price: str,
    second: int = 0,
    *,
    ref: str = "",
    con_id: int = 1,
) -> Fill:
    return Fill(
        exec_id=ExecId(exec_id),
        order_ref=OrderRef(ref),
        order_id=OrderId(1),
        perm_id=PermId(1),
        client_id=10,
        account=Account("DU1234567"),
        con_id=ConId(con_id),
        symbol="AKAM",
        side=side,
        quantity=Decimal(shares),
        price=Decimal(price),
        time=AT + timedelta(seconds=second),
    )


def paid(exec_id: str, amount: str | None) -> Commission:
    return Commission(ExecId(exec_id), None if amount is None else Decimal(amount))


def closed(books: Books) -> list[tuple[str, str, int, Decimal]]:
    return [
        (lot.entry.exec_id, lot.exit.exec_id, int(lot.quantity), lot.pnl)
        for lot in books.closed
    ]


def test_the_oldest_lot_is_closed_first() -> None:
    books = settle(
        [
            fill("e.1.01", BUY, 100, "10.00", 0),
            fill("e.2.01", BUY, 100, "11.00", 1),
            fill("e.3.01", SELL, 150, "12.00", 2),
        ]
    )
    assert closed(books) == [
        ("e.1.01", "e.3.01", 100, 200),
        ("e.2.01", "e.3.01", 50, 50),
    ]
    assert [(lot.fill.exec_id, lot.signed) for lot in books.open] == [("e.2.01", 50)]


def test_an_exit_before_a_new_entry_closes_the_old_lot() -> None:
    old = settle([fill("e.1.01", BUY, 68, "100.00", -86400)])
    books = settle(
        [fill("e.3.01", BUY, 68, "104.00", 30), fill("e.2.01", SELL, 68, "103.00", 0)],
        carried=old.open,
    )
    assert closed(books) == [("e.1.01", "e.2.01", 68, 204)]
    assert [lot.fill.exec_id for lot in books.open] == ["e.3.01"]


def test_an_exit_without_an_entry_of_the_day_is_booked_against_its_carried_lot() -> (
    None
):
    blco = settle([fill("e.1.01", BUY, 181, "16.10", -86400)], [paid("e.1.01", "1.00")])
    books = settle([fill("e.2.01", SELL, 181, "16.60")], [], blco.open)
    assert closed(books) == [("e.1.01", "e.2.01", 181, Decimal("90.50"))]
    assert books.open == ()


def test_a_sale_beyond_the_position_opens_a_short() -> None:
    lion = settle(
        [fill("e.1.01", BUY, 360, "20.00"), fill("e.2.01", SELL, 537, "21.00", 1)]
    )
    assert closed(lion) == [("e.1.01", "e.2.01", 360, 360)]
    assert lion.holdings() == {1: -177}
    bought = settle([fill("e.3.01", BUY, 177, "20.50", 2)], [], lion.open)
    assert closed(bought) == [("e.2.01", "e.3.01", 177, Decimal("88.50"))]
    assert bought.holdings() == {}


def test_within_one_second_our_entry_comes_before_its_exit() -> None:
    books = settle(
        [
            fill("e.1.01", SELL, 10, "12.00", ref="ibkrd:20260610:AKAM:A:TP"),
            fill("e.2.01", BUY, 10, "10.00", ref="ibkrd:20260610:AKAM:A:EN"),
        ]
    )
    assert closed(books) == [("e.2.01", "e.1.01", 10, 20)]


def test_instruments_do_not_mix() -> None:
    books = settle(
        [fill("e.1.01", BUY, 10, "1.00"), fill("e.2.01", SELL, 10, "2.00", con_id=2)]
    )
    assert books.closed == ()
    assert books.holdings() == {1: 10, 2: -10}


def test_the_highest_revision_of_an_execution_counts() -> None:
    books = settle(
        [
            fill("e.1.02", BUY, 90, "10.00"),
            fill("e.1.10", BUY, 80, "10.00"),
            fill("e.1.01", BUY, 100, "10.00"),
        ]
    )
    assert books.holdings() == {1: 80}


def test_an_execution_taken_back_is_not_booked() -> None:
    assert settle(
        [fill("e.1.02", BUY, 0, "10.00"), fill("e.1.01", BUY, 9, "10.00")]
    ) == (Books())


def test_a_carried_execution_that_is_told_again_is_booked_once() -> None:
    entry = fill("e.1.01", BUY, 17, "10.00")
    carried = settle([entry]).open
    assert settle([entry], [], carried).holdings() == {1: 17}


def test_commissions_are_split_by_shares_and_sum_exactly() -> None:
    books = settle(
        [
            fill("e.1.01", BUY, 3, "10.00"),
            fill("e.2.01", SELL, 1, "11.00", 1),
            fill("e.3.01", SELL, 1, "11.00", 2),
            fill("e.4.01", SELL, 1, "11.00", 3),
        ],
        [paid("e.1.01", "1.00"), *(paid(f"e.{n}.01", "0.35") for n in (2, 3, 4))],
    )
    parts = [lot.entry_commission for lot in books.closed]
    assert parts == [Decimal("0.3333"), Decimal("0.3334"), Decimal("0.3333")]
    assert sum(lot.commission or 0 for lot in books.closed) == Decimal("2.05")


def test_a_commission_that_is_not_known_is_pending_not_zero() -> None:
    books = settle(
        [fill("e.1.01", BUY, 10, "10.00"), fill("e.2.01", SELL, 10, "17.53", 1)],
        [paid("e.1.01", "1.00"), paid("e.2.01", None)],
    )
    assert books.closed[0].pnl == Decimal("75.30")
    assert books.closed[0].commission is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_known_commission_outweighs_the_sentinel_in_any_order(
    order: tuple[int, int],
) -> None:
    told = [paid("e.1.01", None), paid("e.1.01", "1.0035")]
    books = settle([fill("e.1.01", BUY, 10, "10.00")], [told[i] for i in order])
    assert books.open[0].commission == Decimal("1.0035")


def test_the_commission_of_a_corrected_execution_is_found() -> None:
    books = settle([fill("e.1.02", BUY, 10, "10.00")], [paid("e.1.01", "1.00")])
    assert books.open[0].commission == Decimal("1.00")


def test_a_commission_that_comes_after_the_lot_was_carried_is_taken() -> None:
    carried = settle([fill("e.1.01", BUY, 10, "10.00")]).open
    books = settle(
        [fill("e.2.01", SELL, 10, "11.00", 1)],
        [paid("e.1.01", "1.00"), paid("e.2.01", "0.40")],
        carried,
    )
    assert books.closed[0].commission == Decimal("1.40")


# --- what was held before the books began --------------------------------------------


def held(shares: str | int, cost: str = "31.00", **changes: object) -> Position:
    made = Position(ACCOUNT, ConId(1), "AKAM", Decimal(shares), Decimal(cost))
    return replace(made, **changes)  # type: ignore[arg-type] # a builder of tests


def test_a_carried_position_that_is_sold_leaves_the_books_empty() -> None:
    opening = opening_balances([held(100)], [], ACCOUNT, AT)
    books = settle([fill("e.1.01", SELL, 100, "32.50", 5)], [], opening)
    assert closed(books) == [("opening:AKAM", "e.1.01", 100, 150)]
    assert books.closed[0].entry_commission == 0
    assert books.open == ()


@pytest.mark.parametrize(
    ("shares", "fills", "opening", "cost"),
    [
        (100, [], 100, "31.00"),
        (-29, [], -29, "31.00"),
        ("10.5", [], "10.5", "31.00"),
        (100, [(BUY, 100)], 0, ""),
        (130, [(BUY, 30)], 100, "31.00"),
        (70, [(SELL, 30)], 100, "31.00"),
        (0, [(SELL, 100)], 100, "12.00"),
        (0, [(BUY, 40)], -40, "12.00"),
        (-50, [(SELL, 150)], 100, "12.00"),
        (0, [(BUY, 10), (SELL, 10)], 0, ""),
    ],
)
def test_the_opening_is_the_position_less_all_known_executions(
    shares: int | str,
    fills: list[tuple[Side, int]],
    opening: int | str,
    cost: str,
) -> None:
    known = [
        fill(f"e.{number}.01", side, made, "12.00")
        for number, (side, made) in enumerate(fills)
    ]
    lots = opening_balances([held(shares)], [*known, *known], ACCOUNT, AT)
    expected = [(Decimal(opening), Decimal(cost))] if opening else []
    assert [(lot.signed, lot.fill.price) for lot in lots] == expected
    assert settle(known, [], lots).holdings().get(ConId(1), 0) == Decimal(shares)


def test_what_was_sold_before_anybody_saw_it_is_neither_gain_nor_loss() -> None:
    sold = [fill("e.1.01", SELL, 30, "12.00"), fill("e.2.01", SELL, 70, "13.00", 1)]
    lots = opening_balances([], sold, ACCOUNT, AT)
    books = settle(sold, [], lots)
    assert sum(lot.pnl for lot in books.closed) == 0
    assert books.open == ()


def test_other_accounts_and_other_instruments_open_nothing() -> None:
    positions = [
        held(5, account=Account("U1")),
        held(2, con_id=ConId(2), sec_type="OPT"),
    ]
    foreign = replace(fill("e.1.01", SELL, 5, "1.00"), account=Account("U1"))
    assert opening_balances(positions, [foreign], ACCOUNT, AT) == ()


def test_the_opening_is_sold_before_what_was_bought_earlier_that_day() -> None:
    early = fill("e.1.01", BUY, 10, "40.00", -3600)
    lots = opening_balances([held(110)], [early], ACCOUNT, AT)
    night = settle([early, fill("e.2.01", SELL, 50, "32.00", 5)], [], lots)
    books = settle([fill("e.3.01", SELL, 60, "32.00", 86400)], [], night.open)
    assert closed(books) == [
        ("opening:AKAM", "e.3.01", 50, 50),
        ("e.1.01", "e.3.01", 10, -80),
    ]


def test_the_opening_comes_back_from_the_journal_as_it_was() -> None:
    lots = opening_balances(
        [held("-10.5", "30.125"), held(3, con_id=ConId(7), symbol="BRK.B")],
        [],
        ACCOUNT,
        AT,
    )
    stored = opening_json(lots)
    assert stored[0] == {
        "con_id": 1,
        "symbol": "AKAM",
        "account": "DU1234567",
        "quantity": "-10.5",
        "average_cost": "30.125",
        "at": "2026-06-10T13:35:00+00:00",
    }
    assert opening_lots(json.loads(json.dumps(stored))) == lots
    assert (opening_lots(None), opening_lots([])) == ((), ())


GOOD = {
    "con_id": 1,
    "symbol": "AKAM",
    "account": "DU1234567",
    "quantity": "5",
    "average_cost": "1.00",
    "at": "2026-06-10T13:35:00+00:00",
}


@pytest.mark.parametrize(
    "stored",
    [
        {},
        "text",
        [1],
        [{**GOOD, "quantity": "many"}],
        [{**GOOD, "at": "today"}],
        [{key: GOOD[key] for key in GOOD if key != "symbol"}],
    ],
)
def test_an_opening_that_cannot_be_read_is_refused(stored: object) -> None:
    assert len(opening_lots([GOOD])) == 1
    with pytest.raises(JournalError, match="opening balances cannot be read"):
        opening_lots(stored)


# --- whose shares ---------------------------------------------------------------------

OURS = "ibkrd:20260610:AKAM:A:EN"
BY_HAND = ""


@pytest.mark.parametrize(
    ("opening", "steps", "ours"),
    [
        (0, [(OURS, BUY, 270)], 270),
        (0, [(OURS, BUY, 270), (OURS, SELL, 270)], 0),
        (100, [(OURS, BUY, 270), (OURS, SELL, 270)], 0),
        (100, [(BY_HAND, SELL, 100)], 0),
        (100, [(OURS, BUY, 270), (BY_HAND, SELL, 100)], 270),
        (100, [(OURS, BUY, 270), (BY_HAND, SELL, 120)], 250),
        (0, [(OURS, BUY, 270), (BY_HAND, SELL, 270), (BY_HAND, BUY, 50)], 0),
        (0, [(BY_HAND, BUY, 100), (OURS, SELL, 40)], 0),
        (0, [(OURS, SELL, 40), (BY_HAND, BUY, 30)], -10),
        (-29, [(OURS, BUY, 29)], 0),
    ],
)
def test_our_own_shares_are_told_from_those_of_others(
    opening: int, steps: list[tuple[str, Side, int]], ours: int
) -> None:
    lots = opening_balances([held(opening)], [], ACCOUNT, AT)
    fills = [
        fill(f"e.{second}.01", side, shares, "1.00", second, ref=ref)
        for second, (ref, side, shares) in enumerate(steps)
    ]
    expected = {1: Decimal(ours)} if ours else {}
    assert own_shares(fills, ACCOUNT, lots) == expected
    assert own_shares(reversed([*fills, *fills]), ACCOUNT, lots) == expected


def test_our_shares_in_another_account_are_not_counted() -> None:
    bought = fill("e.1.01", BUY, 270, "1.00", ref=OURS)
    elsewhere = replace(bought, account=Account("U1"), exec_id=ExecId("e.2.01"))
    assert own_shares([bought, elsewhere], ACCOUNT) == {1: 270}
    foreign = opening_balances([held(-9, account=Account("U1"))], [], Account("U1"), AT)
    assert own_shares([bought], ACCOUNT, foreign) == {1: 270}


# --- any day --------------------------------------------------------------------------

trades = st.lists(
    st.tuples(
        st.sampled_from([BUY, SELL]),
        st.integers(1, 400),
        st.integers(100, 9999),
        st.integers(0, 5),
        st.integers(1, 2),
        st.one_of(st.none(), st.integers(1, 300)),
    ),
    max_size=14,
)


def day(
    made: list[tuple[Side, int, int, int, int, int | None]],
) -> tuple[list[Fill], list[Commission]]:
    fills, commissions = [], []
    second = 0
    for number, (side, shares, cents, later, con_id, fee) in enumerate(made):
        second += later
        exec_id = f"e.{number:03}.01"
        price = str(Decimal(cents) / 100)
        fills.append(fill(exec_id, side, shares, price, second, con_id=con_id))
        commissions.append(
            paid(exec_id, None if fee is None else str(Decimal(fee) / 100))
        )
    return fills, commissions


@given(trades, st.randoms(use_true_random=False))
def test_any_order_and_repetition_of_executions_gives_the_same_books(
    made: list[tuple[Side, int, int, int, int, int | None]], chance: object
) -> None:
    fills, commissions = day(made)
    told = [*fills, *fills[::2]]
    paid_again = [*commissions, *commissions[1::2]]
    chance.shuffle(told)  # type: ignore[attr-defined] # a random.Random
    chance.shuffle(paid_again)  # type: ignore[attr-defined] # a random.Random
    assert settle(told, paid_again) == settle(fills, commissions)


@given(trades, st.integers(0, 14))
def test_carrying_lots_over_a_day_changes_nothing(
    made: list[tuple[Side, int, int, int, int, int | None]], night: int
) -> None:
    fills, commissions = day(made)
    whole = settle(fills, commissions)
    first = settle(fills[:night], commissions[:night])
    second = settle(fills[night:], commissions[night:], first.open)
    assert sorted((*first.closed, *second.closed), key=repr) == sorted(
        whole.closed, key=repr
    )
    assert second.open == whole.open


@given(trades)
def test_the_books_hold_every_share_every_dollar_and_every_cent(
    made: list[tuple[Side, int, int, int, int, int | None]],
) -> None:
    fills, commissions = day(made)
    fees = [c if c.amount else paid(c.exec_id, "0.07") for c in commissions]
    books = settle(fills, fees)
    cash = -sum((f.side.sign * f.quantity * f.price for f in fills), Decimal(0))
    cost = sum((lot.signed * lot.fill.price for lot in books.open), Decimal(0))
    assert sum((lot.pnl for lot in books.closed), Decimal(0)) == cash + cost
    for con_id in (1, 2):
        shares = sum(f.side.sign * f.quantity for f in fills if f.con_id == con_id)
        assert books.holdings().get(ConId(con_id), 0) == shares
    if not books.open:
        charged = sum(
            (lot.commission or Decimal(0) for lot in books.closed), Decimal(0)
        )
        assert charged == sum((c.amount or Decimal(0) for c in fees), Decimal(0))
