from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import event

from daemon.core.model import (
    Account,
    Commission,
    ConId,
    Contract,
    ExecId,
    Fill,
    JobOutcome,
    JobResult,
    LinkChange,
    Message,
    Notice,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderType,
    OrderUpdate,
    PermId,
    RowOutcome,
    RowStatus,
    Severity,
    Side,
    WorkingOrder,
)
from daemon.core.outbox import Ending, Recorded, Waiting
from daemon.errors import AlreadyClaimed, InvariantViolated, JournalError
from daemon.journal.engine import open_engine
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.ports import Journal, RunId

DAY = date(2026, 2, 19)
NEXT_DAY = date(2026, 2, 20)
NOW = datetime(2026, 2, 19, 14, 35, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)

BLCO = Contract(
    con_id=ConId(526970210),
    symbol="BLCO",
    primary_exchange="NYSE",
    min_tick=Decimal("0.01"),
    order_types=frozenset({"LMT", "STP", "MOC"}),
    liquid_hours="20260219:0930-20260219:1600",
    time_zone="US/Eastern",
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", now=NOW) as opened:
        yield opened


@pytest.fixture
def run_id(journal: SqlJournal) -> RunId:
    return journal.start_run("submit", DAY, NOW, NOW)


def entry(ref: str = "ibkrd:20260219:BLCO:B:EN", order_id: int = 11) -> OrderRecord:
    order = Order(
        order_ref=OrderRef(ref),
        account=Account("DU1234567"),
        contract=BLCO,
        side=Side.BUY,
        quantity=181,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("17.20"),
        tif="GTD",
        good_till=datetime(2026, 2, 19, 20, 30, tzinfo=UTC),
        transmit=False,
        expires_at=datetime(2026, 2, 19, 15, 0, tzinfo=UTC),
    )
    return OrderRecord(order=order, session=DAY, order_id=OrderId(order_id))


def stop(order_id: int = 12) -> OrderRecord:
    order = Order(
        order_ref=OrderRef("ibkrd:20260219:BLCO:B:SL"),
        account=Account("DU1234567"),
        contract=BLCO,
        side=Side.SELL,
        quantity=181,
        order_type=OrderType.STOP,
        stop_price=Decimal("16.655"),
        oca_group="20260219:BLCO:B",
        oca_type=2,
        parent_ref=OrderRef("ibkrd:20260219:BLCO:B:EN"),
        good_after=datetime(2026, 2, 19, 20, 59, tzinfo=UTC),
    )
    return OrderRecord(order=order, session=DAY, order_id=OrderId(order_id))


def fill(exec_id: str, *, price: str = "17.18", at: datetime = NOW) -> Fill:
    return Fill(
        exec_id=ExecId(exec_id),
        order_ref=OrderRef("ibkrd:20260219:BLCO:B:EN"),
        order_id=OrderId(11),
        perm_id=PermId(900001),
        client_id=10,
        account=Account("DU1234567"),
        con_id=ConId(526970210),
        symbol="BLCO",
        side=Side.BUY,
        quantity=Decimal(181),
        price=Decimal(price),
        time=at,
        exchange="NYSE",
    )


def query(journal: SqlJournal, text: str) -> list[tuple[object, ...]]:
    """Read the file as the checker does: with nothing but sqlite3."""
    with closing(sqlite3.connect(journal.path)) as connection:
        return connection.execute(text).fetchall()


def test_it_is_what_the_jobs_ask_for(journal: SqlJournal) -> None:
    asked: Journal = journal
    assert asked.highest_order_id() == 0


# Runs


def test_runs_are_counted_for_each_session_and_job(journal: SqlJournal) -> None:
    started = [
        journal.start_run("submit", DAY, NOW, NOW),
        journal.start_run("submit", DAY, NOW, LATER),
        journal.start_run("moc_close", DAY, NOW, NOW),
        journal.start_run("submit", NEXT_DAY, NOW, NOW),
    ]
    assert started == [
        "2026-02-19/submit/1",
        "2026-02-19/submit/2",
        "2026-02-19/moc_close/1",
        "2026-02-20/submit/1",
    ]


def test_a_run_that_has_not_ended_has_no_outcome(
    journal: SqlJournal, run_id: RunId
) -> None:
    assert run_id == "2026-02-19/submit/1"
    assert journal.outcome("submit", DAY) is None
    assert journal.results(DAY) == {}


def test_the_last_terminal_result_of_a_job_counts(journal: SqlJournal) -> None:
    failed = JobResult(JobOutcome.FAILED, "gateway gone", {})
    done = JobResult(JobOutcome.DONE, "8 rows", {})
    for result in [failed] * 10 + [done]:
        run = journal.start_run("submit", DAY, NOW, NOW)
        journal.end_run(run, result, NOW)
    journal.start_run("submit", DAY, NOW, LATER)
    assert journal.outcome("submit", DAY) is JobOutcome.DONE
    assert journal.results(DAY) == {"submit": done}
    assert journal.outcome("submit", NEXT_DAY) is None


def test_the_detail_of_a_result_comes_back_as_it_was(
    journal: SqlJournal, run_id: RunId
) -> None:
    detail: dict[str, object] = {
        "rows": {"submitted": 8, "skipped": ["ÉVA", None]},
        "margin_s": 21.5,
        "flat": True,
        "empty": {},
    }
    journal.end_run(run_id, JobResult(JobOutcome.DONE, "8 rows", detail), NOW)
    assert journal.results(DAY)["submit"].detail == detail


def test_a_run_ends_exactly_once(journal: SqlJournal, run_id: RunId) -> None:
    journal.end_run(run_id, JobResult(JobOutcome.REFUSED, "no plan"), NOW)
    with pytest.raises(InvariantViolated, match="2026-02-19/submit/1 is not open"):
        journal.end_run(run_id, JobResult(JobOutcome.DONE, "8 rows"), LATER)
    assert journal.outcome("submit", DAY) is JobOutcome.REFUSED


def test_a_run_that_never_started_cannot_end(journal: SqlJournal) -> None:
    with pytest.raises(InvariantViolated, match="2026-02-19/nuke/7"):
        journal.end_run(RunId("2026-02-19/nuke/7"), JobResult(JobOutcome.DONE, ""), NOW)


def test_runs_that_a_killed_process_left_open_are_ended_as_failed(
    journal: SqlJournal, run_id: RunId
) -> None:
    close = journal.start_run("moc_close", DAY, NOW, NOW)
    journal.end_run(close, JobResult(JobOutcome.DONE, "flat"), NOW)
    later = journal.start_run("submit", NEXT_DAY, NOW, NOW)
    assert journal.close_stale_runs(LATER) == 2
    interrupted = JobResult(
        JobOutcome.FAILED, "interrupted: the daemon ended before it did"
    )
    assert journal.results(DAY) == {
        "moc_close": JobResult(JobOutcome.DONE, "flat"),
        "submit": interrupted,
    }
    assert journal.results(NEXT_DAY) == {"submit": interrupted}
    assert query(journal, "SELECT run_id, ended_at FROM runs ORDER BY run_id") == [
        (close, "2026-02-19T14:35:00.000000+00:00"),
        (run_id, "2026-02-19T14:35:05.000000+00:00"),
        (later, "2026-02-19T14:35:05.000000+00:00"),
    ]
    assert journal.close_stale_runs(LATER) == 0


def test_an_interrupted_run_does_not_undo_the_run_after_it(
    journal: SqlJournal, run_id: RunId
) -> None:
    again = journal.start_run("submit", DAY, NOW, NOW)
    journal.end_run(again, JobResult(JobOutcome.DONE, "8 rows"), NOW)
    assert run_id < again
    journal.close_stale_runs(LATER)
    assert journal.outcome("submit", DAY) is JobOutcome.DONE


# Claims


def test_a_key_is_claimed_once_for_ever(journal: SqlJournal, run_id: RunId) -> None:
    assert journal.claim("plan", "sha256:ab", run_id, NOW)
    assert not journal.claim("plan", "sha256:ab", run_id, LATER)
    assert journal.claim("plan", "sha256:cd", run_id, LATER)
    assert journal.claim("report", "sha256:ab", run_id, LATER)


def test_a_claim_survives_the_process(journal: SqlJournal, run_id: RunId) -> None:
    assert journal.claim("plan", "sha256:ab", run_id, NOW)
    journal.close()
    with open_journal(journal.path, now=LATER) as reopened:
        assert not reopened.claim("plan", "sha256:ab", run_id, LATER)


def test_a_claim_of_no_run_is_refused(journal: SqlJournal) -> None:
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        journal.claim("plan", "sha256:ab", RunId("2026-02-19/submit/9"), NOW)


# Intents


def test_an_order_comes_back_as_it_was_intended(
    journal: SqlJournal, run_id: RunId
) -> None:
    journal.intend([entry(), stop()], run_id, NOW)
    assert journal.orders(DAY) == {
        "ibkrd:20260219:BLCO:B:EN": entry(),
        "ibkrd:20260219:BLCO:B:SL": stop(),
    }
    assert journal.orders(NEXT_DAY) == {}


def test_a_reference_is_intended_once(journal: SqlJournal, run_id: RunId) -> None:
    journal.intend([entry()], run_id, NOW)
    with pytest.raises(AlreadyClaimed, match="ibkrd:20260219:BLCO:B:EN"):
        journal.intend([stop(20), entry(order_id=21)], run_id, LATER)
    assert journal.orders(DAY) == {"ibkrd:20260219:BLCO:B:EN": entry()}


def test_the_same_family_under_the_same_ids_is_claimed_already(
    journal: SqlJournal, run_id: RunId
) -> None:
    journal.intend([entry(), stop()], run_id, NOW)
    with pytest.raises(AlreadyClaimed):
        journal.intend([entry(), stop()], run_id, LATER)


def test_two_orders_never_share_an_order_id(journal: SqlJournal, run_id: RunId) -> None:
    journal.intend([entry(order_id=11)], run_id, NOW)
    with pytest.raises(InvariantViolated, match=r"intents\.order_id"):
        journal.intend([stop(order_id=11)], run_id, LATER)


def test_an_order_is_intended_before_it_is_sent(
    journal: SqlJournal, run_id: RunId
) -> None:
    late = replace(entry(), state=OrderState.SENT)
    with pytest.raises(InvariantViolated, match="BLCO:B:EN is sent"):
        journal.intend([late], run_id, NOW)
    assert journal.orders(DAY) == {}


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ({"quantity": 0}, "quantity"),
        ({"account": Account("")}, "account"),
        ({"order_ref": OrderRef("ibkrd:20260219:" + "X" * 26)}, "order_ref"),
    ],
)
def test_the_database_refuses_a_senseless_order(
    journal: SqlJournal, run_id: RunId, change: dict[str, object], law: str
) -> None:
    wrong = replace(entry(), order=replace(entry().order, **change))  # type: ignore[arg-type]
    with pytest.raises(JournalError, match=f"ck_intents_{law}"):
        journal.intend([wrong], run_id, NOW)


def test_the_highest_order_id_counts_every_session(
    journal: SqlJournal, run_id: RunId
) -> None:
    earlier = replace(entry(order_id=41), session=date(2026, 2, 18))
    journal.intend([earlier], run_id, NOW)
    journal.intend([stop(order_id=12)], run_id, NOW)
    assert journal.highest_order_id() == 41


def test_an_intent_is_readable_without_the_daemon(
    journal: SqlJournal, run_id: RunId
) -> None:
    journal.intend([entry()], run_id, NOW)
    assert query(
        journal,
        "SELECT order_ref, order_id, session, run_id, account, side, quantity, "
        "order_type, limit_price, stop_price, good_till, transmit, created_at, "
        "json_extract(contract, '$.min_tick') FROM intents",
    ) == [
        (
            "ibkrd:20260219:BLCO:B:EN",
            11,
            "2026-02-19",
            "2026-02-19/submit/1",
            "DU1234567",
            "BUY",
            181,
            "LMT",
            "17.20",
            None,
            "2026-02-19T20:30:00.000000+00:00",
            0,
            "2026-02-19T14:35:00.000000+00:00",
            "0.01",
        )
    ]


# States


def test_the_latest_state_of_an_order_counts(
    journal: SqlJournal, run_id: RunId
) -> None:
    journal.intend([entry(), stop()], run_id, NOW)
    sent = replace(entry(), state=OrderState.SENT)
    rejected = replace(
        entry(),
        state=OrderState.REJECTED,
        perm_id=PermId(900001),
        filled=Decimal(127),
        remaining=Decimal(54),
        code=201,
        text="Order rejected - reason: size",
    )
    journal.record_state(sent, NOW)
    journal.record_state(rejected, NOW)
    assert journal.orders(DAY) == {
        "ibkrd:20260219:BLCO:B:EN": rejected,
        "ibkrd:20260219:BLCO:B:SL": stop(),
    }
    assert query(journal, "SELECT state FROM order_states ORDER BY id") == [
        ("sent",),
        ("rejected",),
    ]


def test_a_state_without_an_intent_is_refused(journal: SqlJournal) -> None:
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        journal.record_state(replace(entry(), state=OrderState.WORKING), NOW)


@pytest.mark.parametrize(
    "table",
    [
        "claims",
        "intents",
        "order_states",
        "events",
        "executions",
        "messages",
        "deliveries",
    ],
)
@pytest.mark.parametrize("verb", ["UPDATE {} SET rowid = rowid", "DELETE FROM {}"])
def test_what_is_written_stays_written(
    journal: SqlJournal, run_id: RunId, table: str, verb: str
) -> None:
    journal.claim("plan", "sha256:ab", run_id, NOW)
    journal.intend([entry()], run_id, NOW)
    journal.record_state(entry(), NOW)
    journal.record_event(Notice(11, 399, "Warning"), NOW)
    journal.record_event(fill("0000e0d5.01"), NOW)
    journal.record_message(Message(Severity.INFO, "flat", ""), NOW)
    journal.end_wait(1, Ending.DELIVERED, NOW)
    with (
        closing(sqlite3.connect(journal.path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"),
    ):
        connection.execute(verb.format(table))


# Events


def test_what_the_broker_says_is_appended(journal: SqlJournal) -> None:
    journal.record_event(
        OrderUpdate(
            order_id=OrderId(11),
            perm_id=PermId(900001),
            client_id=10,
            order_ref=OrderRef("ibkrd:20260219:BLCO:B:EN"),
            status="Submitted",
            filled=Decimal(0),
            remaining=Decimal("181.0"),
        ),
        NOW,
    )
    journal.record_event(Notice(11, 10349, "TIF was set to DAY"), NOW)
    journal.record_event(LinkChange(connected=False, cause="1100"), LATER)
    assert query(
        journal,
        "SELECT id, at, kind, order_ref, json_extract(payload, '$.remaining'), "
        "json_extract(payload, '$.code'), json_extract(payload, '$.cause') "
        "FROM events ORDER BY id",
    ) == [
        (
            1,
            "2026-02-19T14:35:00.000000+00:00",
            "OrderUpdate",
            "ibkrd:20260219:BLCO:B:EN",
            "181.0",
            None,
            None,
        ),
        (2, "2026-02-19T14:35:00.000000+00:00", "Notice", None, None, 10349, None),
        (3, "2026-02-19T14:35:05.000000+00:00", "LinkChange", None, None, None, "1100"),
    ]


def test_a_foreign_order_has_no_reference(journal: SqlJournal) -> None:
    foreign = WorkingOrder(
        order_id=OrderId(0),
        perm_id=PermId(77),
        client_id=0,
        order_ref=OrderRef(""),
        account=Account("DU1234567"),
        con_id=ConId(1),
        symbol="FORM",
        side=Side.SELL,
        quantity=Decimal(29),
        order_type="STP",
        status="PreSubmitted",
        stop_price=Decimal("38.10"),
    )
    journal.record_event(foreign, NOW)
    assert query(
        journal,
        "SELECT kind, order_ref, json_extract(payload, '$.stop_price'), "
        "json_extract(payload, '$.side') FROM events",
    ) == [("WorkingOrder", None, "38.10", "SELL")]


# Executions


def test_a_fill_comes_back_as_it_was(journal: SqlJournal) -> None:
    journal.record_event(fill("0000e0d5.65a1.01.01", price="17.1850"), NOW)
    (found,) = journal.fills(NOW, LATER)
    assert found == fill("0000e0d5.65a1.01.01", price="17.1850")
    assert str(found.price) == "17.1850"


def test_a_fill_counts_once(journal: SqlJournal) -> None:
    for _ in range(3):
        journal.record_event(fill("0000e0d5.65a1.01.01"), NOW)
    assert len(journal.fills(NOW, LATER)) == 1


def test_the_highest_revision_of_an_execution_counts(journal: SqlJournal) -> None:
    for revision, price in (("02", "17.25"), ("10", "17.30"), ("01", "17.18")):
        journal.record_event(fill(f"0000e0d5.65a1.01.{revision}", price=price), NOW)
    journal.record_event(fill("0000e0d5.65a1.02.01", price="17.19"), NOW)
    assert [(each.exec_id, each.price) for each in journal.fills(NOW, LATER)] == [
        ("0000e0d5.65a1.01.10", Decimal("17.30")),
        ("0000e0d5.65a1.02.01", Decimal("17.19")),
    ]


def test_revisions_are_compared_as_numbers(journal: SqlJournal) -> None:
    for revision in ("002", "10"):
        journal.record_event(fill(f"0000e0d5.65a1.01.{revision}"), NOW)
    (found,) = journal.fills(NOW, LATER)
    assert found.exec_id == "0000e0d5.65a1.01.10"


def test_an_execution_taken_back_is_none(journal: SqlJournal) -> None:
    made = fill("0000e0d5.65a1.01.01")
    journal.record_event(made, NOW)
    undone = replace(fill("0000e0d5.65a1.01.02"), quantity=Decimal(0))
    journal.record_event(undone, LATER)
    assert journal.fills(NOW, LATER) == ()


def test_a_corrected_execution_counts_at_its_corrected_time(
    journal: SqlJournal,
) -> None:
    journal.record_event(fill("0000e0d5.65a1.01.01", at=NOW), NOW)
    journal.record_event(fill("0000e0d5.65a1.01.02", at=LATER), NOW)
    assert journal.fills(NOW, LATER) == ()
    (found,) = journal.fills(LATER, LATER + timedelta(seconds=1))
    assert found.exec_id == "0000e0d5.65a1.01.02"


def test_fills_come_by_time_from_since_to_before_until(journal: SqlJournal) -> None:
    half = timedelta(milliseconds=500)
    for exec_id, at in (
        ("b.01", LATER),
        ("a.01", NOW + half),
        ("d.01", NOW),
        ("c.01", NOW),
        ("e.01", NOW - half),
    ):
        journal.record_event(fill(exec_id, at=at), NOW)
    found = [each.exec_id for each in journal.fills(NOW, LATER)]
    assert found == ["c.01", "d.01", "a.01"]


def test_the_zone_in_which_a_time_is_asked_does_not_matter(
    journal: SqlJournal,
) -> None:
    budapest = timezone(timedelta(hours=1))
    journal.record_event(fill("a.01", at=NOW.astimezone(budapest)), NOW)
    (found,) = journal.fills(NOW.astimezone(budapest), LATER.astimezone(budapest))
    assert found.time == NOW
    assert query(journal, "SELECT time FROM executions") == [
        ("2026-02-19T14:35:00.000000+00:00",)
    ]


# Commissions


def test_a_commission_that_is_not_known_yet_is_filled_in(journal: SqlJournal) -> None:
    bought = fill("0000e0d5.65a1.01.01")
    pending = Commission(bought.exec_id, None)
    known = Commission(bought.exec_id, Decimal("1.05"), realized_pnl=Decimal("-57.48"))
    assert journal.commissions([bought]) == ()
    journal.record_event(pending, NOW)
    assert journal.commissions([bought]) == (pending,)
    journal.record_event(known, LATER)
    assert journal.commissions([bought]) == (known,)


def test_a_known_commission_is_never_forgotten(journal: SqlJournal) -> None:
    bought = fill("0000e0d5.65a1.01.01")
    journal.record_event(Commission(bought.exec_id, Decimal("1.05")), NOW)
    journal.record_event(Commission(bought.exec_id, None), LATER)
    assert journal.commissions([bought])[0].amount == Decimal("1.05")
    gain = Commission(bought.exec_id, None, realized_pnl=Decimal("75.30"))
    journal.record_event(gain, LATER)
    (found,) = journal.commissions([bought])
    assert (found.amount, found.realized_pnl) == (Decimal("1.05"), Decimal("75.30"))


def test_a_repeated_commission_leaves_its_first_record(journal: SqlJournal) -> None:
    known = Commission(ExecId("a.01"), Decimal("1.05"))
    journal.record_event(known, NOW)
    journal.record_event(known, LATER)
    journal.record_event(Commission(ExecId("a.01"), None), LATER)
    assert query(journal, "SELECT amount, recorded_at FROM commissions") == [
        ("1.05", "2026-02-19T14:35:00.000000+00:00")
    ]
    journal.record_event(replace(known, amount=Decimal("1.06")), LATER)
    assert query(journal, "SELECT amount, recorded_at FROM commissions") == [
        ("1.06", "2026-02-19T14:35:05.000000+00:00")
    ]


def test_commissions_are_found_for_more_fills_than_one_query_takes(
    journal: SqlJournal,
) -> None:
    fills = [fill(f"{number}.01") for number in range(1001)]
    for number in (0, 500, 1000):
        journal.record_event(Commission(fills[number].exec_id, Decimal(number)), NOW)
    found = journal.commissions(fills)
    assert [each.amount for each in found] == [0, 500, 1000]


@pytest.mark.parametrize("sentinel", ["1.7976931348623157E+308", "NaN", "-Infinity"])
def test_a_sentinel_is_never_an_amount(journal: SqlJournal, sentinel: str) -> None:
    with pytest.raises(JournalError, match="write None"):
        journal.record_event(Commission(ExecId("a.01"), Decimal(sentinel)), NOW)
    assert query(journal, "SELECT count(*) FROM commissions") == [(0,)]


def test_an_instant_without_a_zone_is_refused(journal: SqlJournal) -> None:
    with pytest.raises(JournalError, match="no time zone"):
        journal.record_event(Notice(-1, 2104, "ok"), NOW.replace(tzinfo=None))


# Plan rows, values, messages


def test_a_later_outcome_of_a_row_replaces_the_earlier(journal: SqlJournal) -> None:
    journal.record_rows(
        DAY,
        [
            RowOutcome(3, "LH", RowStatus.SKIPPED, "has a position"),
            RowOutcome(2, "BLCO", RowStatus.UNKNOWN),
        ],
        NOW,
    )
    journal.record_rows(DAY, [RowOutcome(2, "BLCO", RowStatus.REFUSED, "383")], LATER)
    journal.record_rows(NEXT_DAY, [RowOutcome(2, "NOV", RowStatus.SUBMITTED)], LATER)
    journal.record_rows(DAY, [], LATER)
    assert journal.rows(DAY) == (
        RowOutcome(2, "BLCO", RowStatus.REFUSED, "383"),
        RowOutcome(3, "LH", RowStatus.SKIPPED, "has a position"),
    )


def test_a_value_is_kept_until_it_is_replaced(journal: SqlJournal) -> None:
    assert journal.value("books") is None
    journal.put_value("books", {"pnl": "232.46", "days": [1, 2.5, None]}, NOW)
    assert journal.value("books") == {"pnl": "232.46", "days": [1, 2.5, None]}
    journal.put_value("books", [], LATER)
    assert journal.value("books") == []
    assert journal.value("other") is None


def test_a_value_that_json_does_not_know_is_refused(journal: SqlJournal) -> None:
    with pytest.raises(JournalError, match="Decimal is not JSON serializable"):
        journal.put_value("books", {"pnl": Decimal("232.46")}, NOW)


def test_messages_are_numbered_and_accepted_once_a_channel(
    journal: SqlJournal,
) -> None:
    first = journal.record_message(Message(Severity.INFO, "flat", ""), NOW)
    second = journal.record_message(Message(Severity.ALARM, "EVRG 235", "sell"), NOW)
    journal.record_accepted(second.number, "telegram", LATER)
    journal.record_accepted(second.number, "telegram", LATER)
    assert (first, second) == (Recorded(1), Recorded(2))
    assert query(journal, "SELECT * FROM acceptances") == [
        (2, "telegram", "2026-02-19T14:35:05.000000+00:00")
    ]
    assert query(journal, "SELECT severity, subject, body FROM messages") == [
        ("info", "flat", ""),
        ("alarm", "EVRG 235", "sell"),
    ]


def test_of_messages_with_one_key_only_the_first_is_kept(journal: SqlJournal) -> None:
    lost = Message(Severity.ALARM, "No session", "since 14:35", key="outage/1")
    again = Message(Severity.ALARM, "No session", "after a restart", key="outage/1")
    assert journal.record_message(lost, NOW) == Recorded(1, new=True)
    assert journal.record_message(again, LATER) == Recorded(1, new=False)
    assert [each.message for each in journal.undelivered()] == [lost]


def test_messages_without_a_key_are_all_kept(journal: SqlJournal) -> None:
    flat = Message(Severity.INFO, "flat", "")
    assert journal.record_message(flat, NOW) == Recorded(1)
    assert journal.record_message(flat, NOW) == Recorded(2)


def test_a_message_is_undelivered_until_its_wait_ends(journal: SqlJournal) -> None:
    told = Message(Severity.ALARM, "EVRG 235", "sell", key="flat/EVRG")
    for number in range(4):
        journal.record_message(replace(told, key=f"flat/{number}"), NOW)
    journal.record_accepted(1, "log", LATER)
    journal.end_wait(2, Ending.DELIVERED, LATER)
    journal.end_wait(3, Ending.ABANDONED, LATER, "older than 7 days")
    assert journal.undelivered() == (
        Waiting(1, replace(told, key="flat/0"), NOW),
        Waiting(4, replace(told, key="flat/3"), NOW),
    )
    assert query(journal, "SELECT * FROM deliveries") == [
        (2, "2026-02-19T14:35:05.000000+00:00", "delivered", ""),
        (3, "2026-02-19T14:35:05.000000+00:00", "abandoned", "older than 7 days"),
    ]


def test_the_first_ending_of_a_wait_stays(journal: SqlJournal) -> None:
    journal.record_message(Message(Severity.INFO, "flat", ""), NOW)
    journal.end_wait(1, Ending.DELIVERED, NOW)
    journal.end_wait(1, Ending.ABANDONED, LATER, "older than 7 days")
    assert query(journal, "SELECT ending FROM deliveries") == [("delivered",)]


# The file


def test_a_closed_journal_says_so(journal: SqlJournal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match=r"journal\.sqlite.*closed"):
        journal.highest_order_id()


def test_a_failed_call_leaves_the_journal_usable(
    journal: SqlJournal, run_id: RunId
) -> None:
    with pytest.raises(JournalError):
        journal.record_state(entry(), NOW)
    journal.intend([entry()], run_id, NOW)
    assert journal.highest_order_id() == 11


def test_a_full_disk_is_named_and_the_journal_lives_on(journal: SqlJournal) -> None:
    journal.close()
    engine = open_engine(journal.path)
    event.listen(engine, "connect", limit_pages)
    with SqlJournal(engine, journal.path) as cramped:
        with pytest.raises(JournalError, match=r"journal\.sqlite: .*disk is full"):
            cramped.put_value("books", "x" * 1_000_000, NOW)
        cramped.put_value("books", "small", NOW)
        assert cramped.value("books") == "small"


def limit_pages(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA max_page_count = 60")
