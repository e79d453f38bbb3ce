from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.flatten import (
    ClosingPlan,
    Evidence,
    closing_quantity,
    fills_since,
    plan_cancels,
    plan_closing,
    remainder,
)
from daemon.core.model import (
    Account,
    ConId,
    Contract,
    ExecId,
    Fill,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderType,
    PermId,
    Position,
    Session,
    Side,
    WorkingOrder,
)
from daemon.core.rules import Scope, TradingRules

ACCOUNT = Account("DU1234567")
RULES = TradingRules(account=ACCOUNT)
DAY = date(2026, 3, 5)
SESSION = Session(
    DAY,
    open=datetime(2026, 3, 5, 14, 30, tzinfo=UTC),
    close=datetime(2026, 3, 5, 21, 0, tzinfo=UTC),
)
NOW = datetime(2026, 3, 5, 20, 40, tzinfo=UTC)
LION = ConId(537)
CONTRACT = Contract(LION, "LION", primary_exchange="NASDAQ")
MOC = "ibkrd:20260305:LION:X:MOC"
OTHER_EXIT = {
    f"ibkrd:20260305:LION:{bracket}:{leg}": f"ibkrd:20260305:LION:{bracket}:{other}"
    for bracket in "AB"
    for leg, other in (("TP", "SL"), ("SL", "TP"))
}


def position(shares: str | int, symbol: str = "LION", **changes: object) -> Position:
    made = Position(ACCOUNT, LION, symbol, Decimal(shares))
    return replace(made, **changes)  # type: ignore[arg-type] # a builder of tests


def fill(exec_id: str, side: Side, shares: int, at: datetime = NOW) -> Fill:
    return Fill(
        exec_id=ExecId(exec_id),
        order_ref=OrderRef(""),
        order_id=OrderId(1),
        perm_id=PermId(1),
        client_id=10,
        account=ACCOUNT,
        con_id=LION,
        symbol="LION",
        side=side,
        quantity=Decimal(shares),
        price=Decimal("20.00"),
        time=at,
    )


def working(
    order_id: int, ref: str, shares: int, side: Side = Side.SELL, **changes: object
) -> WorkingOrder:
    made = WorkingOrder(
        order_id=OrderId(order_id),
        perm_id=PermId(900 + order_id),
        client_id=10,
        order_ref=OrderRef(ref),
        account=ACCOUNT,
        con_id=LION,
        symbol="LION",
        side=side,
        quantity=Decimal(shares),
        order_type="LMT",
        status="Submitted",
        remaining=Decimal(shares),
    )
    return replace(made, **changes)  # type: ignore[arg-type] # a builder of tests


def record(
    order_id: int,
    ref: str,
    shares: int,
    state: OrderState = OrderState.WORKING,
    side: Side = Side.SELL,
) -> OrderRecord:
    order = Order(OrderRef(ref), ACCOUNT, CONTRACT, side, shares, OrderType.LIMIT)
    return OrderRecord(order, DAY, OrderId(order_id), state)


def evidence(*positions: Position, **changes: object) -> Evidence:
    made = Evidence(positions, (), (), (), {LION: CONTRACT})
    return replace(made, **changes)  # type: ignore[arg-type] # a builder of tests


def plan(*positions: Position, **changes: object) -> ClosingPlan:
    found = evidence(*positions, **changes)
    return plan_closing(found, SESSION, RULES, OrderType.MARKET_ON_CLOSE)


def sizes(made: ClosingPlan) -> list[tuple[str, str, int]]:
    return [(o.order_ref, o.side.value, o.quantity) for o in made.orders]


# --- what to cancel ---------------------------------------------------------


def test_entries_then_take_profits_then_stops_are_cancelled() -> None:
    refs = ("A:SL", "B:TP", "B:EN", "A:TP", "A:EN")
    records = [
        record(number, f"ibkrd:20260305:LION:{ref}", 10)
        for number, ref in enumerate(refs, start=1)
    ]
    assert plan_cancels(records, []) == (3, 5, 2, 4, 1)


def test_an_unknown_order_is_cancelled_and_an_ended_or_unsent_one_is_not() -> None:
    states = (OrderState.UNKNOWN, OrderState.FILLED, OrderState.INTENDED)
    records = [
        record(number, f"ibkrd:20260305:LION:B:EN:{number + 1}", 10, state)
        for number, state in enumerate(states, start=1)
    ]
    assert plan_cancels(records, []) == (1,)


def test_an_own_order_without_a_record_is_cancelled_too() -> None:
    orders = [working(4, "", 10), working(5, "ibkrd:20260305:LION:A:TP", 10)]
    assert plan_cancels([], orders) == (4, 5)


@pytest.mark.parametrize("leg", ["X:MOC", "X:MKT", "X:MOC.2:3", "B:TX"])
def test_running_the_close_again_does_not_undo_it(leg: str) -> None:
    ref = f"ibkrd:20260305:LION:{leg}"
    assert plan_cancels([record(1, ref, 10)], [working(1, ref, 10)]) == ()


# --- how many shares --------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "side", "executed", "live", "closed"),
    [
        (537, Side.SELL, 177, 0, 360),  # LION: the snapshot still said 537
        (537, Side.SELL, 537, 0, 0),
        (537, Side.SELL, 600, 0, 0),
        (190, Side.BUY, 63, 0, 190),  # IRDM: bought after the answer, next pass
        (537, Side.SELL, 177, 360, 0),
        (537, Side.SELL, 177, 500, 0),
        (-130, Side.BUY, 0, 0, 130),  # DTE
        (-130, Side.BUY, 30, 0, 100),
        (-130, Side.BUY, 200, 0, 0),
        (0, Side.BUY, 100, 0, 0),
    ],
)
def test_the_smaller_of_position_and_executions_is_closed(
    held: int, side: Side, executed: int, live: int, closed: int
) -> None:
    fills = [fill("e.1.01", side, executed)] if executed else []
    assert closing_quantity(Decimal(held), fills, live) == closed


def test_an_execution_told_twice_is_subtracted_once() -> None:
    fills = [fill("e.1.01", Side.SELL, 17), fill("e.1.01", Side.SELL, 17)]
    assert closing_quantity(Decimal(100), fills, 0) == 83


def test_a_purchase_does_not_hide_a_sale_that_the_answer_lacks() -> None:
    bought = fill("e.1.01", Side.BUY, 1)
    sold = fill("e.2.01", Side.SELL, 1, NOW + timedelta(seconds=1))
    assert closing_quantity(Decimal(538), [bought, sold], 0) == 537


def test_executions_just_before_the_answer_count_because_positions_lag() -> None:
    early = fill("e.1.01", Side.SELL, 1, NOW - timedelta(seconds=11))
    close = fill("e.2.01", Side.SELL, 2, NOW - timedelta(seconds=10))
    after = fill("e.3.01", Side.SELL, 4, NOW + timedelta(seconds=1))
    assert fills_since([after, close, early], NOW) == (close, after)


# --- the closing orders -----------------------------------------------------


def test_a_long_is_sold_on_close_with_everything_stated() -> None:
    (order,) = plan(position(181)).orders
    assert order == Order(
        order_ref=OrderRef("ibkrd:20260305:LION:X:MOC"),
        account=ACCOUNT,
        contract=CONTRACT,
        side=Side.SELL,
        quantity=181,
        order_type=OrderType.MARKET_ON_CLOSE,
        tif="DAY",
        expires_at=datetime(2026, 3, 5, 20, 50, tzinfo=UTC),
    )


def test_a_short_is_bought_back_and_told() -> None:
    made = plan(position(-177))
    assert sizes(made) == [("ibkrd:20260305:LION:X:MOC", "BUY", 177)]
    assert made.notes == ("LION: short 177; it is bought back",)
    assert made.shorts == made.notes
    assert made.alerts == ()


def test_a_quantity_above_the_preset_is_split() -> None:
    assert sizes(plan(position(611))) == [
        ("ibkrd:20260305:LION:X:MOC.1", "SELL", 500),
        ("ibkrd:20260305:LION:X:MOC.2", "SELL", 111),
    ]


@pytest.mark.parametrize(
    ("shares", "parts"), [(500, [500]), (501, [500, 1]), (1000, [500, 500])]
)
def test_no_part_is_empty_or_above_the_preset(shares: int, parts: list[int]) -> None:
    assert [order.quantity for order in plan(position(shares)).orders] == parts


def test_a_market_order_has_its_own_leg_and_expires_two_minutes_before_the_close() -> (
    None
):
    made = plan_closing(evidence(position(55)), SESSION, RULES, OrderType.MARKET)
    (order,) = made.orders
    assert order.order_ref == "ibkrd:20260305:LION:X:MKT"
    assert order.order_type is OrderType.MARKET
    assert order.expires_at == datetime(2026, 3, 5, 20, 58, tzinfo=UTC)


def test_a_second_pass_has_references_of_its_own() -> None:
    dead = record(9, "ibkrd:20260305:LION:X:MOC.2", 111, OrderState.REJECTED)
    assert sizes(plan(position(111), records=(dead,))) == [
        ("ibkrd:20260305:LION:X:MOC:2", "SELL", 111)
    ]


def test_a_reference_of_which_only_the_broker_knows_is_not_used_again() -> None:
    """The journal in which it was intended is lost."""
    told = (
        "ibkrd:20260305:LION:X:MOC:4",
        "ibkrd:20260304:LION:X:MOC:7",
        "ibkrd:20260305:BLCO:X:MOC:8",
        "ibkrd:20260305:LION:B:SL:9",
        "by hand",
    )
    assert sizes(plan(position(111), told=told)) == [
        ("ibkrd:20260305:LION:X:MOC:5", "SELL", 111)
    ]


def test_the_asked_attempt_is_a_floor() -> None:
    found = evidence(position(5))
    made = plan_closing(found, SESSION, RULES, OrderType.MARKET_ON_CLOSE, 3)
    assert sizes(made) == [("ibkrd:20260305:LION:X:MOC:3", "SELL", 5)]


def test_nothing_is_sent_again_for_shares_under_a_live_closing_order() -> None:
    ref = "ibkrd:20260305:LION:X:MOC"
    made = plan(
        position(537), working=(working(9, ref, 360),), records=(record(9, ref, 360),)
    )
    assert sizes(made) == [("ibkrd:20260305:LION:X:MOC:2", "SELL", 177)]
    assert made.alerts == ()


def test_shares_held_back_for_the_next_answer_are_not_called_covered() -> None:
    made = plan(position(360), fills_since=(fill("e.1.01", Side.SELL, 177),))
    assert [order.quantity for order in made.orders] == [183]
    assert made.waiting == ("LION: 177 wait for the next positions answer",)
    sold = plan(position(100), fills_since=(fill("e.1.01", Side.SELL, 100),))
    assert (sold.orders, sold.alerts) == ((), ())
    assert sold.waiting == ("LION: 100 wait for the next positions answer",)


def test_a_fill_that_the_position_holds_already_leaves_nothing_open() -> None:
    # LASR: the sale was in the answer and was subtracted again, 17 stayed.
    sale = fill("e.1.01", Side.SELL, 17)
    first = plan(position(83), fills_since=fills_since([sale], NOW))
    assert sizes(first) == [(MOC, "SELL", 66)]
    sent = working(9, MOC, 66)
    later = plan(
        position(83),
        fills_since=fills_since([sale], NOW + timedelta(seconds=12)),
        working=(sent,),
        records=(record(9, MOC, 66),),
    )
    assert sizes(later) == [(f"{MOC}:2", "SELL", 17)]


def test_the_quantity_does_not_depend_on_the_names_of_dead_exits() -> None:
    # CNX: exits with unknown references had been counted by name.
    dead = working(1, "AKAM exit", 183, status="Cancelled")
    assert sizes(plan(position(183), working=(dead,))) == [(MOC, "SELL", 183)]


def test_shares_under_a_live_closing_order_do_not_wait() -> None:
    assert plan(position(360), working=(working(9, MOC, 360),)) == ClosingPlan()


def test_an_unproven_closing_order_is_live() -> None:
    lost = record(9, "ibkrd:20260305:LION:X:MOC", 537, OrderState.UNKNOWN)
    made = plan(position(537), records=(lost,))
    assert made.orders == ()
    assert made.alerts == (
        (
            "LION: 537 under ibkrd:20260305:LION:X:MOC (unknown, not among the open"
            " orders) are not closed again: the order is not proven dead"
        ),
    )


def test_an_intent_that_the_broker_does_not_list_was_never_sent() -> None:
    unsent = record(9, "ibkrd:20260305:LION:X:MOC", 111, OrderState.INTENDED)
    assert [o.quantity for o in plan(position(111), records=(unsent,)).orders] == [111]


def test_a_bracket_counts_once_at_its_largest_member() -> None:
    exits = (
        working(3, "ibkrd:20260305:LION:B:TP", 360),
        working(4, "ibkrd:20260305:LION:B:SL", 360),
    )
    made = plan(position(537), working=exits)
    assert [order.quantity for order in made.orders] == [177]
    assert len(made.alerts) == 2


def test_shares_under_a_foreign_closing_order_are_left_and_told() -> None:
    by_hand = working(0, "", 68, client_id=0, perm_id=PermId(77))
    made = plan(position(100), working=(by_hand,))
    assert [order.quantity for order in made.orders] == [32]
    assert made.alerts == ("LION: 68 under order 0 of client 0 are not closed here",)


def test_a_foreign_bracket_counts_once() -> None:
    by_hand = (
        working(1, "", 60, client_id=0, oca_group="g"),
        working(2, "", 60, client_id=0, oca_group="g"),
        working(3, "", 10, client_id=0, parent_id=OrderId(5)),
        working(4, "", 10, client_id=0, parent_id=OrderId(5)),
    )
    assert [o.quantity for o in plan(position(100), working=by_hand).orders] == [30]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Cancelled"},
        {"status": "Inactive"},
        {"side": Side.BUY},
        {"con_id": ConId(1)},
        {"account": Account("DU7654321")},
    ],
)
def test_dead_opening_and_other_orders_take_nothing_off(
    changes: dict[str, object],
) -> None:
    other = working(1, "", 100, **changes)
    assert [o.quantity for o in plan(position(100), working=(other,)).orders] == [100]


def test_a_cancel_under_way_is_still_live() -> None:
    ending = working(1, "ibkrd:20260305:LION:B:SL", 100, status="PendingCancel")
    assert plan(position(100), working=(ending,)).orders == ()


def test_a_partly_filled_order_takes_off_what_is_left_of_it() -> None:
    half = working(1, "", 100, filled=Decimal(40), remaining=Decimal(60))
    assert [o.quantity for o in plan(position(100), working=(half,)).orders] == [40]


def test_live_orders_beyond_the_position_are_told() -> None:
    made = plan(position(91), working=(working(1, MOC, 182),))
    assert made.orders == ()
    assert made.alerts == (
        (
            "LION: live closing orders for 182 shares exceed the position of 91;"
            " cancel what is too much"
        ),
    )


def test_a_timed_exit_is_named_with_what_a_person_must_do() -> None:
    timed = working(6, "ibkrd:20260305:LION:B:TX", 181)
    made = plan(position(181), working=(timed,))
    assert made.orders == ()
    assert made.alerts == (
        (
            "LION: the broker closes 181 one minute before the close; cancel"
            " ibkrd:20260305:LION:B:TX before closing by hand"
        ),
    )


def test_ignored_symbols_are_shown_and_left() -> None:
    right = position(40, "AVDL.CVR")
    made = plan(right)
    assert (made.orders, made.alerts, made.ignored) == ((), (), (right,))


@pytest.mark.parametrize(
    ("symbol", "ignored"), [("AVDL.CVR", True), ("avdl.cvr", False), ("CVR", False)]
)
def test_the_ignore_list_takes_patterns(symbol: str, ignored: bool) -> None:
    assert RULES.ignores(symbol) is ignored


def test_whole_shares_are_closed_and_the_fraction_is_noted() -> None:
    made = plan(position("100.5"))
    assert [order.quantity for order in made.orders] == [100]
    assert made.alerts == ()
    assert made.notes == ("LION: 0.5 of a share stays; close it by hand",)
    assert made.shorts == ()


def test_a_fraction_alone_leaves_nothing_to_do() -> None:
    for shares in ("0.5", "-0.5"):
        made = plan(position(shares))
        assert (made.orders, made.alerts, made.waiting, made.shorts) == ((), (), (), ())
        assert made.notes == ("LION: 0.5 of a share stays; close it by hand",)


def test_a_foreign_order_for_a_fraction_more_than_the_whole_is_not_too_much() -> None:
    by_hand = working(0, "", 1, client_id=0, quantity=Decimal("100.5"))
    made = plan(position("100.5"), working=(by_hand,))
    assert made.orders == ()
    assert made.alerts == ("LION: 101 under order 0 of client 0 are not closed here",)


def test_what_is_not_stock_is_noted_and_left() -> None:
    made = plan(position(2, sec_type="OPT"))
    assert made == ClosingPlan(notes=("LION: OPT is not closed here, only stock",))


@pytest.mark.parametrize("changes", [{"sec_type": "OPT"}, {}])
def test_with_scope_own_what_others_hold_is_not_even_noted(
    changes: dict[str, object],
) -> None:
    rules = replace(RULES, scope=Scope.OWN)
    held = position("10.5", **changes)
    made = plan_closing(evidence(held), SESSION, rules, OrderType.MARKET_ON_CLOSE)
    assert made == ClosingPlan(ignored=(held,))


@pytest.mark.parametrize(
    ("symbol", "contracts", "said"),
    [
        ("LION", {}, "100 LION: the gateway gave no contract for it"),
        (
            "LION",
            {LION: replace(CONTRACT, order_types=frozenset({"LMT", "MKT"}))},
            "100 LION: its listing takes no MOC order",
        ),
        ("LIONESS.LONG.X", {LION: CONTRACT}, "does not fit an order reference"),
    ],
)
def test_what_cannot_be_closed_is_told(
    symbol: str, contracts: dict[ConId, Contract], said: str
) -> None:
    made = plan(position(100, symbol), contracts=contracts)
    assert made.orders == ()
    assert said in made.alerts[0]


def test_other_accounts_are_not_touched() -> None:
    assert plan(position(100, account=Account("U1"))) == ClosingPlan()


@pytest.mark.parametrize(
    ("own", "live", "closed"),
    [(100, 0, [100]), (100, 100, []), (0, 0, []), (-5, 0, []), (900, 0, [300])],
)
def test_scope_own_closes_only_the_shares_of_the_ledger(
    own: int, live: int, closed: list[int]
) -> None:
    rules = replace(RULES, scope=Scope.OWN)
    orders = (working(1, MOC, live),) if live else ()
    found = evidence(position(300), own={LION: Decimal(own)}, working=orders)
    made = plan_closing(found, SESSION, rules, OrderType.MARKET_ON_CLOSE)
    assert [order.quantity for order in made.orders] == closed


# --- what is left -----------------------------------------------------------


def test_the_remainder_is_every_whole_share_in_scope() -> None:
    evrg, short = position(235, "EVRG"), position(-29, "FORM")
    others = [
        position(0, "LH"),
        position("0.4", "LH"),
        position(40, "AVDL.CVR"),
        position(3, "SPX", sec_type="OPT"),
        position(9, "LH", account=Account("U1")),
    ]
    assert remainder([evrg, *others, short], RULES) == (evrg, short)


def test_with_scope_own_a_foreign_position_is_no_remainder() -> None:
    rules = replace(RULES, scope=Scope.OWN)
    held = position(235, "EVRG")
    assert remainder([held], rules, {}) == ()
    assert remainder([held], rules, {LION: Decimal(1)}) == (held,)


def test_without_a_ledger_every_position_is_a_remainder() -> None:
    held = position(235, "EVRG")
    assert remainder([held], replace(RULES, scope=Scope.OWN)) == (held,)


# --- any interleaving -------------------------------------------------------


@dataclass
class Market:
    """A broker with two brackets that fill while we close, and lagging positions."""

    now: datetime = NOW
    orders: dict[int, WorkingOrder] = field(default_factory=dict)
    records: dict[int, OrderRecord] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    history: list[tuple[datetime, int]] = field(default_factory=list)

    @property
    def held(self) -> int:
        return self.history[-1][1]

    def held_at(self, moment: datetime) -> int:
        return [shares for at, shares in self.history if at <= moment][-1]

    def add(self, ref: str, side: Side, shares: int) -> None:
        order_id = len(self.records) + 1
        self.orders[order_id] = working(order_id, ref, shares, side)
        self.records[order_id] = record(order_id, ref, shares, side=side)

    def execute(self, order_id: int, shares: int) -> None:
        order = self.orders.get(order_id)
        if order is None:
            return
        done = min(Decimal(shares), order.remaining)
        self.fills.append(
            fill(f"e.{len(self.fills)}.01", order.side, int(done), self.now)
        )
        change = order.side.sign * int(done)
        self.history.append((self.now, self.held + change))
        self._reduce(order_id, int(done), fills=True)
        sibling = OTHER_EXIT.get(order.order_ref, "")
        for other, member in list(self.orders.items()):
            if member.order_ref == sibling:
                self._reduce(other, int(done), fills=False)

    def _reduce(self, order_id: int, shares: int, *, fills: bool) -> None:
        order, known = self.orders[order_id], self.records[order_id]
        left = order.remaining - shares
        self.orders[order_id] = replace(
            order,
            remaining=left,
            quantity=order.quantity if fills else order.quantity - shares,
            filled=order.filled + shares if fills else order.filled,
        )
        filled = known.filled + shares if fills else known.filled
        self.records[order_id] = replace(known, filled=filled)
        if left <= 0:
            self.end(order_id)

    def end(self, order_id: int) -> None:
        if self.orders.pop(order_id, None):
            known = self.records[order_id]
            self.records[order_id] = replace(known, state=OrderState.CANCELLED)

    def close(self, lag: int) -> None:
        seen = self.held_at(self.now - timedelta(seconds=lag))
        found = Evidence(
            positions=(position(seen),),
            working=tuple(self.orders.values()),
            records=tuple(self.records.values()),
            fills_since=fills_since(self.fills, self.now),
            contracts={LION: CONTRACT},
        )
        made = plan_closing(found, SESSION, RULES, OrderType.MARKET_ON_CLOSE)
        for order in made.orders:
            self.add(order.order_ref, order.side, order.quantity)

    def live_selling(self) -> Decimal:
        families: dict[str, Decimal] = {}
        for order_id, order in self.orders.items():
            if order.side is Side.SELL:
                exits = order.order_ref in OTHER_EXIT
                family = order.order_ref[:-2] if exits else str(order_id)
                largest = max(families.get(family, Decimal(0)), order.remaining)
                families[family] = largest
        return sum(families.values(), Decimal(0))


actions = st.lists(
    st.one_of(
        st.tuples(st.just("execute"), st.integers(1, 6), st.integers(1, 300)),
        st.tuples(st.just("end"), st.integers(1, 6), st.just(0)),
        st.tuples(st.just("close"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 9), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=400)
@given(actions)
def test_live_closing_orders_never_exceed_the_position_in_any_interleaving(
    steps: list[tuple[str, int, int]],
) -> None:
    market = Market(history=[(NOW - timedelta(hours=1), 537)])
    market.add("ibkrd:20260305:LION:A:EN", Side.BUY, 63)
    for bracket, shares in (("A", 177), ("B", 360)):
        for leg in ("TP", "SL"):
            ref = f"ibkrd:20260305:LION:{bracket}:{leg}"
            market.add(ref, Side.SELL, shares)
    for name, number, shares in steps:
        match name:
            case "execute":
                market.execute(number, shares)
            case "end":
                market.end(number)
            case "close":
                market.close(number)
            case _:
                market.now += timedelta(seconds=number)
        assert market.live_selling() <= market.held
