from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.cumulative import cumulative_json
from daemon.core.ledger import opening_balances, settle
from daemon.core.model import (
    Account,
    Commission,
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
    RowOutcome,
    RowStatus,
    Session,
    Severity,
    Side,
)
from daemon.core.report import Day, PlanDetail, Report, build_report, exit_type
from daemon.core.report_text import report_json, report_message, trades_csv
from daemon.core.rules import Scope, TradingRules
from daemon.errors import JournalError

NEW_YORK = ZoneInfo("America/New_York")
ACCOUNT = Account("DU1234567")
RULES = TradingRules(account=ACCOUNT)
SESSION = Session(
    date(2026, 6, 3),
    open=datetime(2026, 6, 3, 9, 30, tzinfo=NEW_YORK),
    close=datetime(2026, 6, 3, 16, 0, tzinfo=NEW_YORK),
)
OPEN = datetime(2026, 6, 3, 9, 40, tzinfo=NEW_YORK)
BELL = datetime(2026, 6, 3, 16, 0, 4, tzinfo=NEW_YORK)
CON_IDS = {"AKAM": ConId(1), "ST": ConId(2), "EOG": ConId(3), "IRDM": ConId(4)}


def fill(
    exec_id: str,
    order: str,
    shares: int,
    price: str,
    at: datetime = OPEN,
    *,
    symbol: str = "AKAM",
    side: Side | None = None,
) -> Fill:
    entry = order.endswith("EN")
    return Fill(
        exec_id=ExecId(exec_id),
        order_ref=OrderRef(f"ibkrd:20260603:{symbol}:{order}" if order else ""),
        order_id=OrderId(1),
        perm_id=PermId(77),
        client_id=10,
        account=ACCOUNT,
        con_id=CON_IDS[symbol],
        symbol=symbol,
        side=side or (Side.BUY if entry else Side.SELL),
        quantity=Decimal(shares),
        price=Decimal(price),
        time=at,
    )


def paid(exec_id: str, amount: str | None = "1.00") -> Commission:
    return Commission(ExecId(exec_id), None if amount is None else Decimal(amount))


DAY_FILLS = (
    fill("a.1.01", "A:EN", 60, "90.00"),
    fill("a.2.01", "B:EN", 121, "90.00"),
    fill("a.3.01", "A:TP", 60, "91.255", OPEN + timedelta(hours=1)),
    fill("a.4.01", "X:MOC.1", 100, "89.50", BELL),
    fill("a.5.01", "X:MOC.2", 21, "89.50", BELL),
    fill("s.1.01", "B:EN", 190, "31.00", symbol="ST"),
    fill("s.2.01", "B:SL", 190, "30.40", OPEN + timedelta(hours=2), symbol="ST"),
)
DAY_FEES = tuple(paid(f.exec_id) for f in DAY_FILLS)
ROWS = (
    RowOutcome(3, "ST", RowStatus.SUBMITTED),
    RowOutcome(2, "AKAM", RowStatus.SUBMITTED),
    RowOutcome(4, "CUK", RowStatus.SKIPPED, "377 shares are over the row limit"),
)
DETAILS = {
    "AKAM": PlanDetail(
        score=Decimal("142.5"),
        sector="Technology",
        stop_loss=Decimal("87.1"),
        take_profit_1=Decimal("91.25"),
        take_profit_2=Decimal("93.5"),
    )
}
DAY = Day(
    session=SESSION,
    now=datetime(2026, 6, 3, 22, 5, tzinfo=ZoneInfo("Europe/Budapest")),
    final=True,
    fills=DAY_FILLS,
    commissions=DAY_FEES,
    rows=ROWS,
    details=DETAILS,
    positions=(),
)


def order(order_id: int, state: OrderState) -> OrderRecord:
    contract = Contract(ConId(1), "AKAM")
    made = Order(
        OrderRef(f"ibkrd:20260603:AKAM:A:EN:{order_id}"),
        ACCOUNT,
        contract,
        Side.BUY,
        1,
        OrderType.LIMIT,
    )
    return OrderRecord(made, SESSION.date, OrderId(order_id), state)


def report(**changes: object) -> Report:
    day = replace(DAY, **changes)  # type: ignore[arg-type] # a builder of tests
    return build_report(day, RULES)


def held(symbol: str, shares: int) -> Position:
    return Position(ACCOUNT, CON_IDS[symbol], symbol, Decimal(shares))


@pytest.mark.parametrize(
    ("ref", "kind"),
    [
        ("ibkrd:20260603:AKAM:A:TP", "TP1"),
        ("ibkrd:20260603:AKAM:B:TP:2", "TP2"),
        ("ibkrd:20260603:AKAM:A:SL", "SL"),
        ("ibkrd:20260603:AKAM:B:SL", "SL"),
        ("ibkrd:20260603:AKAM:B:TX", "TIMED"),
        ("ibkrd:20260603:AKAM:X:MOC.2", "MOC"),
        ("ibkrd:20260603:AKAM:X:MKT", "MKT"),
        ("ibkrd:20260603:AKAM:A:EN", "ENTRY"),
        ("", "FOREIGN"),
        ("AKAM exit by hand", "FOREIGN"),
    ],
)
def test_the_exit_type_comes_from_the_reference(ref: str, kind: str) -> None:
    assert exit_type(ref) == kind


def test_the_csv_has_one_line_per_entry_order_and_way_out() -> None:
    assert trades_csv(report()) == (
        "date,ticker,direction,entry_price,entry_qty,exit_price,exit_qty,exit_type,"
        "pnl,pnl_pct,commission,score,sector,sl_price,tp1_price,tp2_price\n"
        "2026-06-03,AKAM,LONG,90.00,60,91.255,60,TP1,75.30,1.39,2.00,142.5,Technology,"
        "87.10,91.25,93.50\n"
        "2026-06-03,AKAM,LONG,90.00,121,89.50,121,MOC,-60.50,-0.56,3.00,142.5,"
        "Technology,87.10,91.25,93.50\n"
        "2026-06-03,ST,LONG,31.00,190,30.40,190,SL,-114.00,-1.94,2.00,,,,,\n"
    )


def test_totals_are_the_sums_of_the_executions() -> None:
    totals = report().totals
    assert (totals.executions, totals.bought_shares, totals.sold_shares) == (
        7,
        371,
        371,
    )
    assert totals.bought_usd == Decimal("22180.00")
    assert totals.sold_usd == Decimal("22080.80")
    assert totals.pnl == Decimal("-99.20")
    assert totals.commission == Decimal("7.00")
    assert totals.net == Decimal("-106.20")


def test_hits_count_orders_and_a_split_closing_order_once() -> None:
    totals = report().totals
    assert totals.hits == {"MOC": 1, "SL": 1, "TP1": 1}
    assert totals.entries_filled == 3


def test_many_executions_of_one_order_are_one_trade() -> None:
    fills = (
        fill("i.1.01", "B:EN", 127, "24.00", symbol="IRDM"),
        fill("i.2.01", "B:EN", 63, "25.00", symbol="IRDM"),
        fill("i.3.01", "X:MOC", 100, "26.00", BELL, symbol="IRDM"),
        fill("i.4.01", "X:MOC", 90, "26.00", BELL, symbol="IRDM"),
    )
    (trade,) = report(fills=fills, commissions=()).trades
    assert (trade.quantity, trade.pnl) == (190, 317)
    assert trade.entry_price * 190 == Decimal(4623)
    assert trade.commission is None


def test_an_execution_without_a_reference_is_booked_as_foreign() -> None:
    fills = (
        fill("c.1.01", "", 183, "30.00", symbol="ST", side=Side.BUY),
        fill("c.2.01", "", 183, "31.00", BELL, symbol="ST", side=Side.SELL),
    )
    found = report(fills=fills, commissions=())
    assert [(t.exit_type, t.pnl) for t in found.trades] == [("FOREIGN", 183)]
    assert found.totals.entries_filled == 0


def test_a_pending_commission_is_named_and_not_counted_as_zero() -> None:
    fees = (*DAY_FEES[:2], paid("a.3.01", None), *DAY_FEES[3:])
    found = report(commissions=fees)
    assert found.pending == ("a.3.01",)
    assert found.totals.commission == Decimal("6.00")
    first = next(csv.DictReader(io.StringIO(trades_csv(found))))
    assert (first["pnl"], first["commission"]) == ("75.30", "")
    assert "Commission pending for 1 execution(s)" in report_message(found).body


def test_a_late_commission_restates_the_day() -> None:
    before = cumulative_json(report(commissions=DAY_FEES[1:]), None, Decimal(100_000))
    after = cumulative_json(report(), before, Decimal(100_000))
    assert before["cumulative_pnl"] == -105.2
    assert after["cumulative_pnl"] == -106.2
    assert after["trading_days"] == 1


def test_an_exit_of_a_carried_lot_is_a_trade_of_the_day() -> None:
    night = fill("n.1.01", "B:EN", 181, "16.10", OPEN - timedelta(days=1))
    carried = settle([night], [paid("n.1.01")]).open
    sold = (fill("n.2.01", "X:MOC", 181, "16.60", BELL),)
    found = report(fills=sold, commissions=(paid("n.2.01"),), carried=carried)
    (trade,) = found.trades
    assert (trade.pnl, trade.commission) == (Decimal("90.50"), Decimal("2.00"))
    assert trade.entry_day == date(2026, 6, 2)
    assert found.totals.commission == Decimal("1.00")


def test_the_json_accounts_for_every_row() -> None:
    rows = report_json(report())["rows"]
    assert rows == {
        "total": 3,
        "submitted": 2,
        "skipped": 1,
        "refused": 0,
        "unknown": 0,
        "list": [
            {"line": 2, "symbol": "AKAM", "status": "submitted", "reason": ""},
            {"line": 3, "symbol": "ST", "status": "submitted", "reason": ""},
            {
                "line": 4,
                "symbol": "CUK",
                "status": "skipped",
                "reason": "377 shares are over the row limit",
            },
        ],
    }


def test_the_json_has_totals_trades_and_late_fills_in_numbers() -> None:
    data = json.loads(json.dumps(report_json(report())))
    assert data["totals"] == {
        "executions": 7,
        "bought_shares": 371,
        "sold_shares": 371,
        "bought_usd": 22180,
        "sold_usd": 22080.8,
        "pnl": -99.2,
        "commission": 7,
        "net": -106.2,
        "entries_filled": 3,
        "exits": {"MOC": 1, "SL": 1, "TP1": 1},
    }
    assert data["as_of"] == "2026-06-03 16:05:00 EDT"
    assert data["trades"][0]["exit_price"] == 91.255
    assert data["late_fills"] == []


def test_what_executes_after_the_close_without_an_auction_is_late() -> None:
    stray = (
        fill("z.1.01", "B:SL", 5, "89.00", BELL),
        fill("z.2.01", "", 5, "89.00", BELL),
        fill("z.3.01", "X:MKT", 5, "89.00", BELL),
        fill("z.4.01", "X:MOC", 5, "89.00", BELL),
    )
    found = report(fills=(*DAY_FILLS, *stray))
    late = report_json(found)["late_fills"]
    assert isinstance(late, list)
    assert [one["exec_id"] for one in late] == ["z.1.01", "z.2.01", "z.3.01"]
    assert late[0]["time"] == "2026-06-03 16:00:04 EDT"
    assert "Executions after the close: 3" in report_message(found).body


def test_orders_are_counted_by_state() -> None:
    orders = (order(2, OrderState.FILLED), order(1, OrderState.FILLED))
    found = report_json(report(orders=(*orders, order(3, OrderState.CANCELLED))))
    assert found["orders"] == {"total": 3, "filled": 2, "cancelled": 1}


def test_a_day_that_ends_flat_and_reconciled_is_certified() -> None:
    found = report()
    assert found.certified
    assert report_message(found).severity is Severity.INFO
    assert report_message(found).subject == ("Report 2026-06-03: -106.20 USD net, flat")


@pytest.mark.parametrize(
    ("changes", "severity", "said"),
    [
        ({"positions": None}, Severity.ALARM, "positions not known"),
        ({"positions": (held("EOG", 235),)}, Severity.ALARM, "NOT CLOSED: EOG 235"),
        ({"orders": (order(1, OrderState.UNKNOWN),)}, Severity.ALARM, "AKAM:A:EN"),
        (
            {"fills": DAY_FILLS[:-1]},
            Severity.WARNING,
            "books differ: ST: books 190, broker 0",
        ),
        ({"final": False}, Severity.INFO, "Report so far"),
    ],
)
def test_a_day_with_a_doubt_is_not_certified(
    changes: dict[str, object], severity: Severity, said: str
) -> None:
    found = report(**changes)
    message = report_message(found)
    assert not found.certified
    assert message.severity is severity
    assert said in f"{message.subject}\n{message.body}"


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        (RowStatus.SKIPPED, Severity.INFO),
        (RowStatus.REFUSED, Severity.WARNING),
        (RowStatus.UNKNOWN, Severity.WARNING),
    ],
)
def test_a_refused_row_is_a_warning_and_named(
    status: RowStatus, severity: Severity
) -> None:
    message = report_message(report(rows=(RowOutcome(2, "NBIS", status, "163: why"),)))
    assert message.severity is severity
    assert f"  NBIS {status}: 163: why" in message.body.splitlines()


def test_the_message_is_short_and_its_time_carries_the_zone() -> None:
    assert report_message(report()).body == (
        "As of 2026-06-03 16:05:00 EDT\n"
        "Result -99.20 USD gross, commission 7.00 USD\n"
        "Entries filled 3; exits: MOC 1, SL 1, TP1 1\n"
        "Rows 3 = 2 submitted + 1 skipped + 0 refused + 0 unknown\n"
        "  CUK skipped: 377 shares are over the row limit"
    )


def test_a_report_before_the_end_lists_what_is_open() -> None:
    found = report(
        final=False,
        fills=DAY_FILLS[:2],
        positions=(held("AKAM", 181),),
        now=OPEN + timedelta(minutes=5),
    )
    message = report_message(found)
    assert message.severity is Severity.INFO
    assert message.subject == "Report so far 2026-06-03: -2.00 USD net, 1 open"
    assert "  open: AKAM 181" in message.body.splitlines()
    assert report_json(found)["open"] == [
        {
            "symbol": "AKAM",
            "quantity": quantity,
            "price": 90,
            "since": "2026-06-03 09:40:00 EDT",
        }
        for quantity in (60, 121)
    ]


def test_ignored_symbols_and_other_accounts_do_not_break_the_books() -> None:
    right = Position(ACCOUNT, ConId(9), "AVDL.CVR", Decimal(40))
    other = Position(Account("U1"), ConId(9), "EOG", Decimal(40))
    assert report(positions=(right, other)).certified


def test_with_scope_own_a_foreign_position_leaves_the_day_flat() -> None:
    rules = replace(RULES, scope=Scope.OWN)
    found = build_report(replace(DAY, positions=(held("EOG", 235),)), rules)
    assert found.flat is True
    assert found.differences == ()
    assert found.certified


def test_with_scope_own_only_our_own_shares_are_reconciled() -> None:
    rules = replace(RULES, scope=Scope.OWN)
    own = {CON_IDS["ST"]: Decimal(190), CON_IDS["IRDM"]: Decimal(5)}
    day = replace(DAY, own=own, fills=DAY_FILLS[:-1])
    carried = settle([fill("i.1.01", "B:EN", 5, "20.00", symbol="IRDM")]).open
    day = replace(day, carried=carried, positions=(held("ST", 200), held("IRDM", 3)))
    found = build_report(day, rules)
    assert found.remainder == (held("IRDM", 3), held("ST", 200))
    assert found.differences == ("IRDM: books 5, broker 3",)


def test_two_instruments_of_one_symbol_are_reconciled_apart() -> None:
    option = Position(ACCOUNT, ConId(99), "ST", Decimal(2), sec_type="OPT")
    other = Position(ACCOUNT, ConId(98), "ST", Decimal(7))
    bought = fill("o.1.01", "", 2, "3.00", symbol="ST", side=Side.BUY)
    fills = (*DAY_FILLS, replace(bought, con_id=ConId(99)))
    expiring = Position(ACCOUNT, ConId(97), "EOG", Decimal(3), sec_type="OPT")
    found = report(fills=fills, positions=(option, other, expiring))
    assert found.differences == ("ST: books 0, broker 7",)


def test_the_opening_is_named_in_the_json() -> None:
    at = datetime(2026, 6, 3, 13, 0, tzinfo=ZoneInfo("UTC"))
    lots = opening_balances([held("EOG", -235)], [], ACCOUNT, at)
    assert report_json(report(opening=lots))["opening"] == [
        {
            "symbol": "EOG",
            "quantity": -235,
            "average_cost": 0,
            "as_of": "2026-06-03 09:00:00 EDT",
        }
    ]
    assert report_json(report())["opening"] == []


# --- the cumulative books ---------------------------------------------------


def test_the_cumulative_books_are_net_and_say_so() -> None:
    books = cumulative_json(report(), None, Decimal(100_000))
    assert books == {
        "start_date": "2026-06-03",
        "initial_capital": 100_000,
        "trading_days": 1,
        "cumulative_pnl": -106.2,
        "cumulative_pnl_pct": -0.11,
        "basis": (
            "pnl of a day is gross, commission stands beside it, cumulative_pnl is the"
            " sum of pnl less commission; a day without a commission counts none"
        ),
        "daily_history": [
            {
                "date": "2026-06-03",
                "pnl": -99.2,
                "trades": 3,
                "filled": 3,
                "tp1_hits": 1,
                "tp2_hits": 0,
                "sl_hits": 1,
                "moc_exits": 1,
                "commission": 7,
                "pending_commissions": 0,
            }
        ],
    }


OLD = {
    "start_date": "2026-02-16",
    "initial_capital": 50_000,
    "daily_history": [
        {"date": "2026-06-04", "pnl": 1.5},
        {"date": "2026-03-10", "pnl": 333.37},
    ],
}


def test_a_day_is_inserted_in_order_and_the_history_kept() -> None:
    books = cumulative_json(report(), OLD, Decimal(100_000))
    history = books["daily_history"]
    assert isinstance(history, list)
    assert [day["date"] for day in history] == [
        "2026-03-10",
        "2026-06-03",
        "2026-06-04",
    ]
    assert books["start_date"] == "2026-02-16"
    assert books["initial_capital"] == 50_000
    assert books["cumulative_pnl"] == 228.67


def test_an_empty_first_run_is_replaced_by_the_good_one() -> None:
    empty = cumulative_json(report(fills=(), commissions=()), OLD, Decimal(0))
    good = cumulative_json(report(), empty, Decimal(0))
    assert good == cumulative_json(report(), OLD, Decimal(0))
    again = json.loads(json.dumps(good))
    assert cumulative_json(report(), again, Decimal(0)) == good


@pytest.mark.parametrize(
    "history",
    [
        None,
        {},
        [1],
        [{"pnl": 1}],
        [{"date": 20260310}],
        [{"date": "2026-03-10", "pnl": "lots"}],
        [{"date": "2026-03-10", "pnl": float("nan")}],
    ],
)
def test_unreadable_books_are_an_error_not_an_empty_history(history: object) -> None:
    with pytest.raises(JournalError, match="cannot be read"):
        cumulative_json(report(), {"daily_history": history}, Decimal(1))


# --- the same day, the same bytes -------------------------------------------


def written(found: Report) -> tuple[str, str, str]:
    return (
        trades_csv(found),
        json.dumps(report_json(found)),
        report_message(found).body,
    )


@given(
    st.permutations(DAY_FILLS),
    st.lists(st.sampled_from(DAY_FILLS)),
    st.permutations(DAY_FEES),
    st.permutations(ROWS),
)
def test_any_order_and_repetition_of_the_evidence_gives_the_same_bytes(
    fills: list[Fill],
    repeats: list[Fill],
    fees: list[Commission],
    rows: list[RowOutcome],
) -> None:
    found = report(fills=(*repeats, *fills), commissions=tuple(fees), rows=tuple(rows))
    assert written(found) == written(report())
