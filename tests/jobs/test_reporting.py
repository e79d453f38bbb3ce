from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.calendar import TableCalendar, shipped_table
from daemon.core.model import (
    Account,
    Commission,
    ConId,
    ExecId,
    Fill,
    OrderId,
    OrderRecord,
    OrderRef,
    PermId,
    Position,
    RowOutcome,
    RowStatus,
    Session,
    Side,
    Snapshot,
)
from daemon.core.rules import BooksStart, Scope, TradingRules
from daemon.errors import JournalError
from daemon.jobs import reporting
from daemon.jobs.reporting import (
    gather,
    held_by_us,
    note_opening,
    write_day,
    write_file,
    write_so_far,
)
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.ports import JobContext, Paths, RunId

SESSION = Session(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
MORNING = datetime(2026, 2, 19, 14, 36, tzinfo=UTC)
BELL = datetime(2026, 2, 19, 21, 0, 4, tzinfo=UTC)
AFTER = datetime(2026, 2, 19, 21, 5, tzinfo=UTC)
NOTHING: Any = None


@dataclass
class Clock:
    at: datetime = AFTER

    def now(self) -> datetime:
        return self.at


@dataclass
class Orders:
    """A desk that knows no orders."""

    known: Mapping[OrderRef, OrderRecord] = field(default_factory=dict)

    def orders(self, _session: date) -> Mapping[OrderRef, OrderRecord]:
        return self.known


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    path = tmp_path / "state" / "journal.sqlite"
    with open_journal(path, now=MORNING) as opened:
        yield opened


@pytest.fixture
def ctx(journal: SqlJournal, tmp_path: Path) -> JobContext:
    return JobContext(
        run_id=RunId("2026-02-19/eod_report/1"),
        session=SESSION,
        deadline=AFTER + timedelta(hours=11),
        rules=TradingRules(account=Account("DU1234567")),
        books=BooksStart(),
        paths=Paths(tmp_path / "state", tmp_path / "plans", tmp_path / "reports"),
        clock=Clock(),
        calendar=TableCalendar(shipped_table()),
        broker=NOTHING,
        journal=journal,
        desk=Orders(),
        notifier=NOTHING,
        stopping=NOTHING,
    )


def trade(
    journal: SqlJournal,
    number: int,
    text: str,
    at: datetime = MORNING,
    commission: str | None = "1.00",
) -> None:
    """Journal the execution that *text* says: `BUY 10 100.00 A:EN`."""
    side, shares, price, leg = text.split()
    exec_id = ExecId(f"0000e1a1.{number:04}.01")
    ref = f"ibkrd:{at:%Y%m%d}:AAPL:{leg}" if ":" in leg else leg
    fill = Fill(
        exec_id=exec_id,
        order_ref=OrderRef(ref),
        order_id=OrderId(number),
        perm_id=PermId(900000 + number),
        client_id=10,
        account=Account("DU1234567"),
        con_id=ConId(265598),
        symbol="AAPL",
        side=Side(side),
        quantity=Decimal(shares),
        price=Decimal(price),
        time=at,
    )
    journal.record_event(fill, at)
    if commission is not None:
        journal.record_event(Commission(exec_id, Decimal(commission)), at)


def round_trip(journal: SqlJournal) -> None:
    trade(journal, 1, "BUY 10 100.00 A:EN")
    trade(journal, 2, "SELL 10 101.00 A:TP", MORNING + timedelta(hours=2))


def read(ctx: JobContext, name: str) -> Any:  # JSON
    return json.loads((ctx.paths.reports / name).read_text(encoding="utf-8"))


def csv_rows(ctx: JobContext, name: str) -> list[dict[str, str]]:
    with (ctx.paths.reports / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- gathering ----------------------------------------------------------------------


def test_a_day_is_that_of_the_exchange_from_midnight_to_midnight(ctx) -> None:
    assert reporting.day_of(ctx) == (
        datetime(2026, 2, 19, 5, 0, tzinfo=UTC),
        datetime(2026, 2, 20, 5, 0, tzinfo=UTC),
    )


def test_on_the_day_when_the_clocks_change_a_day_has_23_hours(ctx) -> None:
    sunday = replace(SESSION, date=date(2026, 3, 8))
    since, until = reporting.day_of(replace(ctx, session=sunday))
    assert until - since == timedelta(hours=23)


def test_only_the_executions_of_the_day_are_reported(ctx, journal) -> None:
    round_trip(journal)
    trade(journal, 3, "BUY 5 90.00 B:EN", datetime(2026, 2, 18, 15, 0, tzinfo=UTC))
    trade(journal, 4, "SELL 5 99.00 B:TP", datetime(2026, 2, 20, 15, 0, tzinfo=UTC))
    report = gather(ctx, (), final=True)
    totals = report.totals
    assert (totals.executions, totals.commission) == (2, 2)
    assert (totals.bought_usd, totals.sold_usd) == (1000, 1010)


def test_shares_carried_from_earlier_days_are_sold_at_their_own_entry(
    ctx, journal
) -> None:
    trade(journal, 1, "BUY 10 90.00 B:EN", datetime(2026, 2, 18, 15, 0, tzinfo=UTC))
    trade(journal, 2, "SELL 10 101.00 X:MOC", BELL)
    report = gather(ctx, (), final=True)
    (closed,) = report.trades
    assert (closed.entry_price, closed.exit_price, closed.pnl) == (90, 101, 110)


def test_without_positions_flatness_is_not_known(ctx, journal) -> None:
    round_trip(journal)
    assert gather(ctx, None, final=True).flat is None
    assert gather(ctx, (), final=True).flat is True
    left = Position(Account("DU1234567"), ConId(265598), "AAPL", Decimal(3))
    assert gather(ctx, (left,), final=True).flat is False


def test_a_commission_that_is_not_known_is_pending_not_zero(ctx, journal) -> None:
    trade(journal, 1, "BUY 10 100.00 A:EN")
    trade(journal, 2, "SELL 10 101.00 A:TP", commission=None)
    report = gather(ctx, (), final=True)
    assert report.pending == ("0000e1a1.0002.01",)


def test_the_plans_details_stand_beside_the_trades(ctx, journal) -> None:
    round_trip(journal)
    plan = {
        "name": "plan.csv",
        "rows": {
            "AAPL": {
                "score": "142.5",
                "sector": "Utilities",
                "sl_price": "95.50",
                "tp1_price": "101.00",
                "tp2_price": None,
            }
        },
    }
    journal.put_value("plan/2026-02-19", plan, MORNING)
    write_day(ctx, gather(ctx, (), final=True))
    (row,) = csv_rows(ctx, "trades_2026-02-19.csv")
    assert (row["score"], row["sector"]) == ("142.5", "Utilities")
    assert (row["sl_price"], row["tp2_price"]) == ("95.50", "")


@pytest.mark.parametrize("stored", [None, [], {"rows": None}, {"rows": []}, "text"])
def test_without_readable_details_the_day_is_reported_all_the_same(
    ctx, journal, stored
) -> None:
    round_trip(journal)
    if stored is not None:
        journal.put_value("plan/2026-02-19", stored, MORNING)
    assert gather(ctx, (), final=True).details == {}


def test_the_rows_of_the_plan_are_accounted_for(ctx, journal) -> None:
    rows = [
        RowOutcome(2, "AAPL", RowStatus.SUBMITTED),
        RowOutcome(3, "LH", RowStatus.SKIPPED, "held"),
    ]
    journal.record_rows(SESSION.date, rows, MORNING)
    assert gather(ctx, (), final=True).rows == tuple(rows)


# --- what the account held before ----------------------------------------------------

ACCOUNT = Account("DU1234567")
EARLY = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)
NEXT_SESSION = Session(
    date(2026, 2, 20),
    datetime(2026, 2, 20, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 20, 21, 0, tzinfo=UTC),
)


def held(shares: int, cost: str = "90.00") -> Position:
    return Position(ACCOUNT, ConId(265598), "AAPL", Decimal(shares), Decimal(cost))


def synced(*positions: Position, at: datetime = EARLY, fills: Any = ()) -> Snapshot:
    return Snapshot(at, 0.0, positions, (), (), tuple(fills), ())


def test_a_carried_position_that_is_closed_leaves_the_books_right_for_ever(
    ctx, journal
) -> None:
    note_opening(journal, synced(held(100)), ACCOUNT, EARLY)
    trade(journal, 1, "SELL 100 101.00 X:MOC", BELL)
    report = gather(ctx, (), final=True)
    assert (report.differences, report.open) == ((), ())
    assert report.certified
    (closed,) = report.trades
    assert (closed.entry_price, closed.pnl, closed.commission) == (90, 1100, 1)
    following = gather(replace(ctx, session=NEXT_SESSION), (), final=True)
    assert following.differences == ()
    assert following.certified


def test_a_carried_position_that_is_kept_is_in_the_books(ctx, journal) -> None:
    note_opening(journal, synced(held(100)), ACCOUNT, EARLY)
    for session in (SESSION, NEXT_SESSION):
        report = gather(replace(ctx, session=session), (held(100),), final=True)
        assert report.differences == ()
        assert [lot.signed for lot in report.open] == [100]


def test_the_opening_is_noted_once(journal) -> None:
    note_opening(journal, synced(), ACCOUNT, EARLY)
    note_opening(journal, synced(held(100)), ACCOUNT, MORNING)
    assert journal.value("opening") == []


def test_the_opening_is_what_no_execution_of_the_journal_explains(journal) -> None:
    yesterday = datetime(2026, 2, 18, 15, 0, tzinfo=UTC)
    trade(journal, 1, "BUY 30 80.00 A:EN", yesterday)
    trade(journal, 2, "BUY 20 85.00 B:EN", MORNING)
    fills = journal.fills(MORNING, BELL)
    later = MORNING + timedelta(hours=1)
    note_opening(journal, synced(held(150), at=later, fills=fills), ACCOUNT, later)
    assert journal.value("opening") == [
        {
            "con_id": 265598,
            "symbol": "AAPL",
            "account": "DU1234567",
            "quantity": "100",
            "average_cost": "90.00",
            "at": "2026-02-19T15:36:00+00:00",
        }
    ]


def test_the_opening_waits_while_positions_may_lag_behind_an_execution(
    journal,
) -> None:
    trade(journal, 1, "BUY 20 85.00 B:EN", MORNING)
    fills = journal.fills(MORNING, BELL)
    soon = MORNING + timedelta(minutes=9)
    note_opening(journal, synced(held(100), at=soon, fills=fills), ACCOUNT, soon)
    assert journal.value("opening") is None
    later = MORNING + timedelta(minutes=10)
    note_opening(journal, synced(held(120), at=later, fills=fills), ACCOUNT, later)
    assert [one["quantity"] for one in journal.value("opening")] == ["100"]


@pytest.mark.parametrize(
    ("noted", "named"),
    [
        (datetime(2026, 2, 19, 4, 59, tzinfo=UTC), 0),  # before midnight in New York
        (datetime(2026, 2, 19, 14, 0, tzinfo=UTC), 1),
        (datetime(2026, 2, 20, 4, 59, tzinfo=UTC), 1),
        (datetime(2026, 2, 20, 14, 0, tzinfo=UTC), 0),
    ],
)
def test_the_opening_is_named_by_the_report_with_which_the_books_begin(
    ctx, journal, noted, named
) -> None:
    note_opening(journal, synced(held(100), at=noted), ACCOUNT, noted)
    report = gather(ctx, (held(100),), final=True)
    assert len(report.opening) == named
    write_day(ctx, report)
    assert len(read(ctx, "report_2026-02-19.json")["opening"]) == named


def test_an_opening_of_the_weekend_is_named_on_monday(ctx, journal) -> None:
    saturday = datetime(2026, 2, 21, 15, 0, tzinfo=UTC)
    note_opening(journal, synced(held(100), at=saturday), ACCOUNT, saturday)
    monday = replace(SESSION, date=date(2026, 2, 23))
    assert len(gather(replace(ctx, session=monday), None, final=True).opening) == 1
    friday = replace(ctx, session=NEXT_SESSION)
    assert gather(friday, None, final=True).opening == ()


# --- whose shares --------------------------------------------------------------------


def test_with_scope_own_what_others_hold_leaves_the_day_certified(ctx, journal) -> None:
    own = replace(ctx, rules=TradingRules(account=ACCOUNT, scope=Scope.OWN))
    note_opening(journal, synced(held(100)), ACCOUNT, EARLY)
    round_trip(journal)
    trade(journal, 3, "SELL 40 101.00 by-hand", MORNING + timedelta(hours=3))
    assert held_by_us(own) == {}
    report = gather(own, (held(60),), final=True)
    assert (report.remainder, report.differences) == ((), ())
    assert report.certified


def test_with_scope_own_what_we_hold_ourselves_is_not_closed(ctx, journal) -> None:
    own = replace(ctx, rules=TradingRules(account=ACCOUNT, scope=Scope.OWN))
    note_opening(journal, synced(held(100)), ACCOUNT, EARLY)
    trade(journal, 1, "BUY 10 100.00 A:EN", datetime(2026, 2, 18, 15, tzinfo=UTC))
    assert held_by_us(own) == {265598: 10}
    report = gather(own, (held(110),), final=True)
    assert report.remainder == (held(110),)
    assert report.differences == ()
    assert held_by_us(ctx) == {}


# --- writing -----------------------------------------------------------------------


def test_the_day_is_written_as_csv_json_and_books(ctx, journal) -> None:
    round_trip(journal)
    path = write_day(ctx, gather(ctx, (), final=True))
    assert path == ctx.paths.reports / "report_2026-02-19.json"
    assert sorted(p.name for p in ctx.paths.reports.iterdir()) == [
        "cumulative_pnl.json",
        "report_2026-02-19.json",
        "trades_2026-02-19.csv",
    ]
    (row,) = csv_rows(ctx, "trades_2026-02-19.csv")
    assert (row["ticker"], row["exit_type"], row["pnl"]) == ("AAPL", "TP1", "10.00")
    assert read(ctx, "cumulative_pnl.json")["cumulative_pnl"] == 8.0
    assert journal.value("books") == read(ctx, "cumulative_pnl.json")


def test_the_same_day_written_again_is_the_same_bytes(ctx, journal) -> None:
    round_trip(journal)
    write_day(ctx, gather(ctx, (), final=True))
    before = {p.name: p.read_bytes() for p in ctx.paths.reports.iterdir()}
    write_day(ctx, gather(ctx, (), final=True))
    assert {p.name: p.read_bytes() for p in ctx.paths.reports.iterdir()} == before


def test_a_late_commission_restates_the_day_and_does_not_count_it_twice(
    ctx, journal
) -> None:
    trade(journal, 1, "BUY 10 100.00 A:EN")
    trade(journal, 2, "SELL 10 101.00 A:TP", commission=None)
    write_day(ctx, gather(ctx, (), final=True))
    assert read(ctx, "cumulative_pnl.json")["cumulative_pnl"] == 9.0
    journal.record_event(Commission(ExecId("0000e1a1.0002.01"), Decimal("1.5")), AFTER)
    write_day(ctx, gather(ctx, (), final=True))
    books = read(ctx, "cumulative_pnl.json")
    assert (books["trading_days"], books["cumulative_pnl"]) == (1, 7.5)


def test_days_add_up_in_the_books(ctx, journal) -> None:
    round_trip(journal)
    write_day(ctx, gather(ctx, (), final=True))
    tomorrow = replace(
        SESSION,
        date=date(2026, 2, 20),
        open=SESSION.open + timedelta(days=1),
        close=SESSION.close + timedelta(days=1),
    )
    trade(journal, 3, "BUY 10 100.00 A:EN", MORNING + timedelta(days=1))
    trade(journal, 4, "SELL 10 99.00 A:SL", BELL + timedelta(days=1))
    ctx = replace(ctx, session=tomorrow)
    write_day(ctx, gather(ctx, (), final=True))
    books = read(ctx, "cumulative_pnl.json")
    assert (books["trading_days"], books["cumulative_pnl"]) == (2, -4.0)
    assert [day["date"] for day in books["daily_history"]] == [
        "2026-02-19",
        "2026-02-20",
    ]


def test_the_books_begin_where_the_configuration_says(ctx) -> None:
    start = BooksStart(Decimal(50_000), date(2026, 1, 2))
    ctx = replace(ctx, books=start)
    write_day(ctx, gather(ctx, (), final=True))
    books = read(ctx, "cumulative_pnl.json")
    assert (books["start_date"], books["initial_capital"]) == ("2026-01-02", 50000.0)


@pytest.mark.parametrize("stored", [["a list"], "text", {"daily_history": "none"}])
def test_books_that_cannot_be_read_are_never_replaced(ctx, journal, stored) -> None:
    round_trip(journal)
    journal.put_value("books", stored, MORNING)
    with pytest.raises(JournalError, match="restore"):
        write_day(ctx, gather(ctx, (), final=True))
    assert journal.value("books") == stored
    assert not (ctx.paths.reports / "cumulative_pnl.json").exists()


def test_the_day_so_far_leaves_the_days_own_files_and_the_books_alone(
    ctx, journal
) -> None:
    round_trip(journal)
    write_day(ctx, gather(ctx, (), final=True))
    before = {p.name: p.read_bytes() for p in ctx.paths.reports.iterdir()}
    books = journal.value("books")
    trade(journal, 3, "BUY 10 100.00 B:EN")
    path = write_so_far(ctx, gather(ctx, None, final=False))
    assert path.name == "report_2026-02-19_so_far.json"
    after = {p.name: p.read_bytes() for p in ctx.paths.reports.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        "report_2026-02-19_so_far.json",
        "trades_2026-02-19_so_far.csv",
    }
    assert journal.value("books") == books


# --- files ---------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_leaves_no_other_behind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    write_file(path, "first\n")
    write_file(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_file(path, "first\n")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "half \ud800")
    assert path.read_text(encoding="utf-8") == "first\n"


def test_line_ends_are_written_as_they_are(tmp_path: Path) -> None:
    write_file(tmp_path / "trades.csv", "a\nb\r\n")
    assert (tmp_path / "trades.csv").read_bytes() == b"a\nb\r\n"


def test_the_directory_of_the_reports_is_private(tmp_path: Path) -> None:
    write_file(tmp_path / "reports" / "report.json", "text\n")
    assert (tmp_path / "reports").stat().st_mode & 0o777 == 0o700
