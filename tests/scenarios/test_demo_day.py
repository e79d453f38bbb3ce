"""The first incident's day, 2026-02-19, as `ibkrd demo` plays it."""

from __future__ import annotations

import csv
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.simulation.demo import PLAN, DemoRequest, play_demo
from daemon.simulation.story import FATES_OF_2026_02_19

PLAY = """\
import sys
from pathlib import Path
from daemon.simulation.demo import DemoRequest, play_demo
play_demo(DemoRequest(state=Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def demo(play_once):
    return play_once(text=PLAN.read_text(), fates=FATES_OF_2026_02_19)


def test_the_day_that_stayed_overnight_ends_flat(demo):
    """A1: BLCO 181, LH 15, MRNA 55 and NOV 196 stayed overnight."""
    assert demo.flat
    assert demo.problems == []
    assert demo.at_the_bell == {
        "BLCO": 181,
        "EOG": 45,
        "LH": 15,
        "MRNA": 55,
        "NOV": 196,
    }
    assert demo.verdict.positions_at_end == {}


def test_every_law_of_the_day_was_judged(demo):
    assert demo.verdict.judged == {"I1", "I2", "I3", "I4", "I7", "I11"}
    assert demo.verdict.sessions == 1


def test_every_plan_row_has_exactly_one_outcome(demo):
    """B7: CUK 377 stood in the plan, and there was no trace of an order."""
    assert demo.rows == {
        "BLCO": "submitted",
        "LH": "submitted",
        "MRNA": "submitted",
        "NOV": "submitted",
        "WEC": "submitted",
        "KMI": "submitted",
        "AKAM": "submitted",
        "EOG": "submitted",
        "MAIN": "skipped",
    }
    rows = demo.report["rows"]
    assert (rows["total"], rows["submitted"], rows["skipped"]) == (9, 8, 1)
    assert (rows["refused"], rows["unknown"]) == (0, 0)
    assert demo.reason("MAIN") == "quantity 1 is below 2: it makes no two brackets"


def test_each_order_reference_is_placed_once(demo):
    brackets = [ref for ref in demo.placed if ":X:" not in ref]
    assert len(demo.placed) == len(set(demo.placed)) == 8 * 6 + 5
    assert brackets[:6] == [
        "ibkrd:20260219:BLCO:A:EN",
        "ibkrd:20260219:BLCO:A:TP",
        "ibkrd:20260219:BLCO:A:SL",
        "ibkrd:20260219:BLCO:B:EN",
        "ibkrd:20260219:BLCO:B:TP",
        "ibkrd:20260219:BLCO:B:SL",
    ]


def test_only_the_last_leg_of_a_family_transmits_it(demo):
    """No entry may work at the broker without its exits."""
    family = demo.records("placed", symbol="BLCO")[:3]
    assert [leg["transmit"] for leg in family] == [False, False, True]
    assert [leg["order_type"] for leg in family] == ["LMT", "LMT", "STP"]
    released = {one["perm_id"]: one["at"] for one in demo.records("released")}
    assert all(released[leg["perm_id"]] >= family[2]["at"] for leg in family)
    waiting = [leg for leg in demo.records("placed") if not leg["transmit"]]
    assert len(waiting) == 16 * 2


def test_an_intent_is_committed_before_its_order_is_on_the_wire(demo):
    """I2: the predecessor placed first and recorded afterwards."""
    intended = dict(demo.sql("SELECT order_ref, created_at FROM intents"))
    for order in demo.records("placed"):
        assert intended[order["order_ref"]] <= order["at"]
    assert len(intended) == 53


def test_the_reports_totals_are_the_sums_of_the_gateways_executions(demo):
    """F2: the report said 0 trades; six exits had no reference."""
    executed = demo.records("executed")
    signed = {"BUY": Decimal(-1), "SELL": Decimal(1)}
    gross = sum(
        signed[one["side"]] * Decimal(one["quantity"]) * Decimal(one["price"])
        for one in executed
    )
    paid = sum(Decimal(one["amount"]) for one in demo.records("commission"))
    totals = demo.report["totals"]
    assert totals["executions"] == len(executed) > 30
    assert Decimal(str(totals["pnl"])) == gross
    assert Decimal(str(totals["commission"])) == paid > 0
    assert Decimal(str(totals["net"])) == gross - paid
    assert demo.report["pending_commissions"] == []


def test_the_trades_of_the_csv_add_up_to_the_total(demo):
    with (demo.state / "reports" / "trades_2026-02-19.csv").open() as file:
        trades = list(csv.DictReader(file))
    totals = demo.report["totals"]
    assert sum(Decimal(one["pnl"]) for one in trades) == Decimal(str(totals["pnl"]))
    shares = Counter[tuple[str, str]]()
    for one in trades:
        shares[one["ticker"], one["exit_type"]] += int(one["exit_qty"])
    assert shares == {
        ("BLCO", "TP1"): 89,
        ("BLCO", "MOC"): 181,
        ("EOG", "MOC"): 45,
        ("KMI", "TP1"): 79,
        ("KMI", "TP2"): 161,
        ("LH", "TP1"): 7,
        ("LH", "MOC"): 15,
        ("MRNA", "TP1"): 27,
        ("MRNA", "MOC"): 55,
        ("NOV", "TP1"): 96,
        ("NOV", "MOC"): 196,
        ("WEC", "SL"): 113,
    }


def test_the_jobs_run_at_their_place_and_end_once(demo):
    assert demo.jobs == [
        ("submit", "done"),
        ("moc_close", "done"),
        ("eod_report", "done"),
    ]
    assert demo.started == {
        "submit": "09:35",
        "moc_close": "15:40",
        "eod_report": "16:05",
    }


def test_a_quiet_day_tells_three_things_and_alarms_nobody(demo):
    assert [one.subject.split(":")[0] for one in demo.told] == [
        "Submit 2026-02-19",
        "Close 2026-02-19",
        "Report 2026-02-19",
    ]
    assert [one.severity for one in demo.told] == ["info", "info", "info"]


def test_what_is_told_of_the_close_names_every_share(demo):
    (close,) = demo.messages("Close 2026-02-19")
    assert close.body.splitlines() == [
        "SELL 181 BLCO MOC: working",
        "SELL 45 EOG MOC: working",
        "SELL 15 LH MOC: working",
        "SELL 55 MRNA MOC: working",
        "SELL 196 NOV MOC: working",
    ]


def test_the_journal_at_rest_is_what_the_broker_has(demo):
    """I5: orders, fills and commissions of the journal are the gateway's own."""
    ended = {s["order_ref"]: s["status"] for s in demo.records("status")}
    assert {ref: state.capitalize() for ref, state in demo.states.items()} == ended
    fills = "SELECT exec_id, quantity, price FROM executions ORDER BY exec_id"
    assert demo.sql(fills) == sorted(
        (one["exec_id"], one["quantity"], one["price"])
        for one in demo.records("executed")
    )
    paid = "SELECT exec_id, amount FROM commissions ORDER BY exec_id"
    assert demo.sql(paid) == sorted(
        (one["exec_id"], one["amount"]) for one in demo.records("commission")
    )


# --- the same seed ------------------------------------------------------------------


def traces(state: Path) -> dict[str, str]:
    """Return all that a day left, by file name; the state's own path apart."""
    with closing(sqlite3.connect(state / "journal.sqlite")) as db:
        rows = [line for line in db.iterdump() if line.startswith("INSERT")]
    names = ["gateway-ledger.jsonl", "ibkrd.log"]
    reports = sorted(path.name for path in (state / "reports").iterdir())
    assert len(rows) > 500
    assert len(reports) == 3
    texts = {name: (state / name).read_text() for name in names}
    texts |= {name: (state / "reports" / name).read_text() for name in reports}
    texts["journal.sqlite"] = "\n".join(rows)
    return {name: text.replace(str(state), "STATE") for name, text in texts.items()}


def test_the_same_seed_leaves_the_same_bytes(tmp_path):
    first = play_demo(DemoRequest(state=tmp_path / "first"))
    second = play_demo(DemoRequest(state=tmp_path / "second"))
    assert first["ledger_sha256"] == second["ledger_sha256"]
    assert traces(tmp_path / "first") == traces(tmp_path / "second")


@pytest.mark.slow
def test_processes_with_other_hashes_leave_the_same_bytes(tmp_path):
    children = [
        subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", PLAY, str(tmp_path / hash_seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "HOME": str(tmp_path)},
        )
        for hash_seed in ("1", "2")
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert traces(tmp_path / "1") == traces(tmp_path / "2")


@pytest.mark.slow
def test_another_seed_leaves_another_day(tmp_path):
    first = play_demo(DemoRequest(state=tmp_path / "first", seed=1))
    other = play_demo(DemoRequest(state=tmp_path / "other", seed=2))
    assert first["ledger_sha256"] != other["ledger_sha256"]
    assert other["flat"] is True
    assert other["violations"] == []
