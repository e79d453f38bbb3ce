from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from daemon.core.model import (
    Account,
    Bracket,
    CompletedOrder,
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
    Snapshot,
    WorkingOrder,
)
from daemon.core.reconcile import (
    Adopted,
    Confirmed,
    Expired,
    Foreign,
    Known,
    Missing,
    Unbooked,
    Unknown,
    attempts,
    last_attempt,
    never_worked,
    reconcile,
    to_discard,
)

S = OrderState
DAY = date(2026, 2, 19)
SESSION = Session(
    date=DAY,
    open=datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    close=datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
AT = datetime(2026, 2, 19, 14, 40, tzinfo=UTC)
AT_S = 5000.0
ACCOUNT = Account("DU1234567")
LH = Contract(con_id=ConId(11), symbol="LH")


def record(leg: str = "EN", state: OrderState = S.SENT, **more) -> OrderRecord:
    """Return an order for 7 LH in bracket A; its id is that of its leg."""
    ids = {"EN": 5, "TP": 6, "SL": 7, "MOC": 8}
    bracket = "X" if leg == "MOC" else "A"
    attempt = more.pop("attempt", 1)
    tail = "" if attempt == 1 else f":{attempt}"
    order = Order(
        order_ref=OrderRef(f"ibkrd:20260219:LH:{bracket}:{leg}{tail}"),
        account=ACCOUNT,
        contract=LH,
        side=Side.BUY if leg == "EN" else Side.SELL,
        quantity=7,
        order_type=OrderType.LIMIT,
    )
    order_id = more.pop("order_id", ids[leg] + 10 * (attempt - 1))
    return OrderRecord(order, DAY, OrderId(order_id), state=state, **more)


def shown(one: OrderRecord, status: str = "Submitted", **more) -> WorkingOrder:
    """Return *one* as the list of open orders shows it."""
    made = WorkingOrder(
        order_id=one.order_id,
        perm_id=PermId(900 + one.order_id),
        client_id=10,
        order_ref=one.order_ref,
        account=ACCOUNT,
        con_id=LH.con_id,
        symbol="LH",
        side=one.order.side,
        quantity=Decimal(7),
        order_type="LMT",
        status=status,
    )
    return replace(made, **more)


def completed(one: OrderRecord, status: str, filled: int) -> CompletedOrder:
    return CompletedOrder(
        perm_id=PermId(900 + one.order_id),
        order_ref=one.order_ref,
        account=ACCOUNT,
        con_id=LH.con_id,
        symbol="LH",
        side=one.order.side,
        quantity=Decimal(7),
        filled=Decimal(filled),
        status=status,
    )


def executed(one: OrderRecord, shares: int = 7) -> Fill:
    return Fill(
        exec_id=ExecId("0000e0d5.1.01.01"),
        order_ref=one.order_ref,
        order_id=one.order_id,
        perm_id=PermId(900 + one.order_id),
        client_id=10,
        account=ACCOUNT,
        con_id=LH.con_id,
        symbol="LH",
        side=one.order.side,
        quantity=Decimal(shares),
        price=Decimal("272.40"),
        time=AT,
    )


def answers(**parts) -> Snapshot:
    empty: dict[str, object] = dict.fromkeys(
        ("positions", "open_orders", "completed_orders", "fills", "commissions"), ()
    )
    return Snapshot(**{"at": AT, "at_s": AT_S, **empty, **parts})


def found(*records: OrderRecord, snapshot: Snapshot | None = None, **known):
    return reconcile(Known(records, SESSION, 10, **known), snapshot or answers())


def silent_since(one: OrderRecord, seconds: float) -> dict[OrderRef, float]:
    return {one.order_ref: AT_S - seconds}


NOT_FOUND = {
    "code": 10147,
    "text": "OrderId 5 that needs to be cancelled is not found.",
}
DISCARDED = {"code": 202, "text": "Order Canceled - reason:Order was discarded"}


# --- what the broker speaks of ------------------------------------------------------


def test_an_open_order_makes_an_intended_one_working():
    one = record(state=S.INTENDED)
    (adopted,) = found(one, snapshot=answers(open_orders=(shown(one),)))
    assert isinstance(adopted, Adopted)
    assert adopted.after.state is S.WORKING
    assert adopted.after.perm_id == 905


def test_what_the_broker_says_as_we_have_it_is_confirmed():
    one = record(state=S.WORKING, perm_id=PermId(905), remaining=Decimal(7))
    assert found(one, snapshot=answers(open_orders=(shown(one),))) == (Confirmed(one),)


def test_an_execution_that_nobody_saw_fills_the_order():
    one = record(state=S.UNKNOWN)
    (adopted,) = found(one, snapshot=answers(fills=(executed(one),)))
    assert isinstance(adopted, Adopted)
    assert (adopted.after.state, adopted.after.filled) == (S.FILLED, 7)


def test_a_completed_order_ends_ours():
    one = record(state=S.WORKING, perm_id=PermId(905))
    told = answers(completed_orders=(completed(one, "Cancelled", 0),))
    (adopted,) = found(one, snapshot=told)
    assert isinstance(adopted, Adopted)
    assert adopted.after.state is S.CANCELLED


def test_an_open_order_of_before_its_end_revives_nothing():
    """The list of open orders is older than the events that came after it."""
    one = record(state=S.CANCELLED, perm_id=PermId(905), remaining=Decimal(7))
    assert found(one, snapshot=answers(open_orders=(shown(one),))) == (Confirmed(one),)


def test_a_working_order_of_another_client_is_foreign_whatever_its_reference():
    one = record(state=S.WORKING, perm_id=PermId(905))
    other = shown(one, client_id=0, perm_id=PermId(1))
    findings = found(one, snapshot=answers(foreign_orders=(other,)))
    assert findings == (Unknown(one, AT_S), Foreign(other))


def test_an_order_of_a_script_under_our_client_id_and_order_id_is_foreign():
    one = record(state=S.SENT)
    other = shown(one, order_ref=OrderRef("script"), perm_id=PermId(1))
    findings = found(one, snapshot=answers(open_orders=(other,)))
    assert findings == (Unknown(one, AT_S), Foreign(other))


def test_our_order_without_its_reference_is_known_by_its_perm_id():
    one = record(state=S.WORKING, perm_id=PermId(905), remaining=Decimal(7))
    nameless = shown(one, order_ref=OrderRef(""))
    assert found(one, snapshot=answers(open_orders=(nameless,))) == (Confirmed(one),)


def test_a_clock_that_was_set_proves_no_absence():
    """Ten seconds lie between two answers, whatever the host's clock says."""
    one = record(state=S.UNKNOWN, **NOT_FOUND)
    stepped = answers(at=AT + timedelta(hours=1))
    (unknown,) = found(one, silent=silent_since(one, 2), snapshot=stepped)
    assert isinstance(unknown, Unknown)


def test_likeness_proves_nothing():
    """Same symbol, side, quantity and time: still not ours without its name."""
    one = record(state=S.UNKNOWN)
    like = replace(executed(one), order_ref=OrderRef(""), perm_id=PermId(1))
    assert found(one, snapshot=answers(fills=(like,))) == (Unknown(one, AT_S),)


# --- what nobody speaks of ----------------------------------------------------------


@pytest.mark.parametrize("state", [S.INTENDED, S.SENT, S.ACKNOWLEDGED, S.WORKING])
def test_silence_is_unknown_and_no_answer(state):
    one = record(state=state, **NOT_FOUND)
    since = silent_since(one, 60)
    assert found(one, silent=since) == (Unknown(one, AT_S - 60),)


def test_two_silent_answers_and_not_found_prove_an_absence():
    one = record(state=S.UNKNOWN, **NOT_FOUND)
    assert found(one, silent=silent_since(one, 10)) == (Missing(one),)


@pytest.mark.parametrize(
    "seconds", [0, 9.999], ids=["the first answer", "too close together"]
)
def test_one_silent_answer_proves_nothing(seconds):
    one = record(state=S.UNKNOWN, **NOT_FOUND)
    (unknown,) = found(one, silent=silent_since(one, seconds))
    assert isinstance(unknown, Unknown)


@pytest.mark.parametrize("code", [None, 161, 202, 10148, 354])
def test_silence_without_the_gateways_word_proves_nothing(code):
    one = record(state=S.UNKNOWN, code=code)
    (unknown,) = found(one, silent=silent_since(one, 3600))
    assert isinstance(unknown, Unknown)


def test_what_has_executed_is_never_missing():
    one = record(state=S.UNKNOWN, filled=Decimal(2), **NOT_FOUND)
    (unknown,) = found(one, silent=silent_since(one, 3600))
    assert isinstance(unknown, Unknown)


def test_what_the_broker_has_answered_is_never_missing():
    """The gateway's midnight makes it forget a fill, and answer 10147."""
    one = record(state=S.UNKNOWN, perm_id=PermId(905), **NOT_FOUND)
    (unknown,) = found(one, silent=silent_since(one, 3600))
    assert isinstance(unknown, Unknown)


def test_behind_the_close_absence_proves_nothing():
    """The gateway's midnight may have passed: executions of before are gone."""
    one = record(state=S.UNKNOWN, **NOT_FOUND)
    late = answers(at=SESSION.close + timedelta(seconds=1))
    (unknown,) = found(one, silent=silent_since(one, 3600), snapshot=late)
    assert isinstance(unknown, Unknown)


def test_an_order_of_a_session_that_is_over_has_expired():
    one = record(state=S.WORKING, perm_id=PermId(905))
    tomorrow = Session(
        date=date(2026, 2, 20),
        open=SESSION.open + timedelta(days=1),
        close=SESSION.close + timedelta(days=1),
    )
    at = tomorrow.open
    known = Known((one,), tomorrow, 10)
    assert reconcile(known, answers(at=at)) == (Expired(one),)


def test_in_the_night_behind_its_close_an_order_has_expired():
    one = record(state=S.UNKNOWN)
    night = answers(at=SESSION.close + timedelta(hours=4, seconds=1))
    assert found(one, snapshot=night) == (Expired(one),)


def test_an_order_that_is_over_needs_no_word():
    done = record(state=S.FILLED, filled=Decimal(7))
    assert found(done) == ()


# --- positions ----------------------------------------------------------------------


def position(shares: int) -> Position:
    return Position(ACCOUNT, LH.con_id, "LH", Decimal(shares))


@pytest.mark.parametrize(
    ("held", "booked", "named"),
    [
        (7, 7, ()),
        (7, 0, (Unbooked(LH.con_id, "LH", Decimal(7), Decimal(0)),)),
        (0, 7, (Unbooked(LH.con_id, "11", Decimal(0), Decimal(7)),)),
        (-7, 7, (Unbooked(LH.con_id, "LH", Decimal(-7), Decimal(7)),)),
    ],
    ids=["equal", "bought unseen", "sold unseen", "turned unseen"],
)
def test_shares_that_the_executions_do_not_make_are_named(held, booked, named):
    positions = (position(held),) if held else ()
    shares = {LH.con_id: Decimal(booked)} if booked else {}
    assert found(snapshot=answers(positions=positions), booked=shares) == named


def test_without_books_positions_are_not_compared():
    assert found(snapshot=answers(positions=(position(7),))) == ()


# --- families sent by half ----------------------------------------------------------


def asked_for(
    *records: OrderRecord, silence_s: float = 10, unsent=(), **snapshot
) -> list[int]:
    """The order ids that are asked for when all have been silent for so long."""
    told = answers(**snapshot)
    silent = {one.order_ref: AT_S - silence_s for one in records}
    known = Known(records, SESSION, 10, silent, unsent)
    asked = to_discard(known, reconcile(known, told), told)
    return [one.order_id for one in asked]


def test_after_two_silent_answers_an_entry_is_asked_for_by_its_order_id():
    family = [record(leg, S.UNKNOWN) for leg in ("EN", "TP", "SL")]
    assert asked_for(*family) == [5]
    assert asked_for(*family, silence_s=9.9) == []


@pytest.mark.parametrize(
    "gone",
    [record("EN", S.CANCELLED, **DISCARDED), record("EN", S.UNKNOWN, **NOT_FOUND)],
    ids=["discarded", "never placed"],
)
def test_its_children_are_asked_for_once_the_entry_is_no_more(gone):
    """Before that a cancel could end the stop of an entry that was only slow."""
    assert asked_for(gone, record("TP", S.UNKNOWN), record("SL", S.UNKNOWN)) == [6, 7]


def test_a_leg_that_was_never_placed_is_not_asked_for_again():
    family = [record("EN", S.UNKNOWN, **NOT_FOUND), record("SL", S.UNKNOWN)]
    assert asked_for(*family) == [7]


def test_an_answer_that_says_nothing_is_asked_for_again():
    """161 came, and the link broke before its 202."""
    gone = record("EN", S.CANCELLED, **DISCARDED)
    assert asked_for(gone, record("TP", S.UNKNOWN, code=161)) == [6]


@pytest.mark.parametrize(
    "alive",
    [
        record("EN", S.WORKING, perm_id=PermId(905)),
        record("EN", S.FILLED, filled=Decimal(7)),
        record("EN", S.CANCELLED, filled=Decimal(2)),
    ],
    ids=["working", "filled", "cancelled with shares"],
)
def test_the_exits_of_an_entry_that_lives_or_has_filled_are_left_alone(alive):
    """A cancel could end the only stop of a position."""
    assert asked_for(alive, record("SL", S.UNKNOWN)) == []


def test_an_id_under_which_the_gateway_shows_another_order_is_never_cancelled():
    one = record("EN", S.UNKNOWN)
    other = shown(one, order_ref=OrderRef("script"), perm_id=PermId(1))
    assert asked_for(one, open_orders=(other,)) == []


def test_an_id_that_was_refused_as_taken_is_never_cancelled():
    assert asked_for(record(state=S.UNKNOWN, code=103)) == []


@pytest.mark.parametrize(("silence_s", "asked"), [(149.9, []), (150, [8])])
def test_a_closing_order_that_may_be_slow_is_not_asked_for(silence_s, asked):
    """The question ends what comes alive meanwhile: nothing would close the shares."""
    assert asked_for(record("MOC", S.UNKNOWN), silence_s=silence_s) == asked


def test_a_closing_order_that_was_never_marked_as_sent_is_not_slow():
    one = record("MOC", S.UNKNOWN)
    assert asked_for(one, unsent={one.order_ref}) == [8]


@pytest.mark.parametrize(
    ("before_the_cutoff", "asked"),
    [(timedelta(seconds=181), [8]), (timedelta(seconds=180), [])],
)
def test_closing_orders_are_not_touched_from_three_minutes_before_the_cutoff(
    before_the_cutoff, asked
):
    late = SESSION.cutoff - before_the_cutoff
    assert asked_for(record("MOC", S.UNKNOWN), silence_s=600, at=late) == asked


# --- what may be sent again ---------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "never"),
    [
        (record(state=S.CANCELLED, **NOT_FOUND), True),
        (record(state=S.CANCELLED, code=103), True),
        (record(state=S.CANCELLED, **DISCARDED), True),
        (record(state=S.CANCELLED, perm_id=PermId(905), **DISCARDED), True),
        (record(state=S.CANCELLED, perm_id=PermId(905), **NOT_FOUND), False),
        (record(state=S.CANCELLED, perm_id=PermId(905), code=202), False),
        (record(state=S.CANCELLED, code=201, text="was discarded"), False),
        (record(state=S.CANCELLED, filled=Decimal(2), **NOT_FOUND), False),
        (record(state=S.UNKNOWN, **NOT_FOUND), False),
        (record(state=S.REJECTED, code=201), False),
        (record(state=S.EXPIRED, **NOT_FOUND), False),
        (record("TP", S.REJECTED, code=10006), True),
    ],
    ids=[
        "not found, twice silent",
        "its id was taken",
        "discarded",
        "discarded, with a perm id",
        "was there and is gone",
        "cancelled by a person",
        "refused in these words",
        "partly executed",
        "unproven",
        "refused",
        "expired",
        "a child without its parent",
    ],
)
def test_only_what_provably_never_was_at_work_may_be_sent_again(one, never):
    assert never_worked(one) is never


def test_attempts_are_told_apart():
    first = [record(leg, S.CANCELLED) for leg in ("EN", "TP", "SL")]
    second = [record(leg, attempt=2) for leg in ("EN", "TP", "SL")]
    moc = record("MOC")
    made = attempts([*first, *second, moc], "LH", Bracket.A)
    assert made == {1: tuple(first), 2: tuple(second)}
    assert last_attempt([*first, *second, moc]) == (*second, moc)
