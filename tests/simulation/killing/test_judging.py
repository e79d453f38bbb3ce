"""What is judged of a whole day's files: evidence that was tampered with is found."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from daemon.simulation.killing.day import Dooms, play
from daemon.simulation.killing.real import Case, judge_files
from daemon.simulation.killing.verdict import Expected, weigh

JOBS = ("submit", "moc_close", "eod_report")
CLOSED = datetime(2026, 11, 27, 13, 30, tzinfo=ZoneInfo("America/New_York"))
EXPECTED = Expected("pager", ("BLCO", "MRNA", "NOV"), JOBS, closed=CLOSED)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """The canonical day without a death."""
    return play(Dooms(), tmp_path_factory.mktemp("day") / "state")


@pytest.fixture(scope="module")
def records(lived):
    lines = lived.files.ledger.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def weighed(records, lived, expected=EXPECTED):
    return weigh([json.dumps(r) for r in records], lived.files.journal, expected)


def altered(records, event, **fields):
    """Return *records* with the first *event* of ours altered."""
    n = next(n for n, record in enumerate(records) if record["event"] == event)
    return [*records[:n], {**records[n], **fields}, *records[n + 1 :]]


def test_a_day_without_a_death_has_no_problem(lived, records):
    assert weighed(records, lived).problems == ()


def test_an_order_without_an_intent_breaks_a_law(lived, records):
    found = weighed(altered(records, "placed", order_ref="ibkrd:x"), lived)
    assert any("I2" in text and "has no intent" in text for text in found.other)


def test_an_order_other_than_intended_breaks_a_law_though_nothing_is_doubled_or_lost(
    lived, records
):
    found = weighed(altered(records, "placed", limit_price="17.21"), lived)
    assert (found.duplicates, found.naked, found.lost) == ((), (), ())
    assert any("17.21 on the wire" in text for text in found.problems)


def test_evidence_that_cannot_be_read_is_no_verdict(lived, records):
    found = weighed([*records, {"event": "released"}], lived)
    assert any(text.startswith("no verdict: ") for text in found.problems)


def test_a_session_that_is_not_over_may_hold_positions(lived, records):
    bought = next(n for n, one in enumerate(records) if one["event"] == "executed")
    part = records[: bought + 1]
    assert any("held at the end" in text for text in weighed(part, lived).problems)
    until_now = Expected("pager", ("BLCO", "MRNA", "NOV"), JOBS)
    problems = weighed(part, lived, until_now).problems
    assert not any("held" in text or "flat" in text for text in problems)


def test_a_message_that_the_persons_channel_did_not_accept_is_told_to_nobody(
    lived, records
):
    expected = Expected("smoke signals", ("BLCO", "MRNA", "NOV"), JOBS, closed=CLOSED)
    untold = [
        text
        for text in weighed(records, lived, expected).problems
        if text.startswith("told to nobody: ")
    ]
    assert len(untold) == len(lived.record.pager.told)


def test_real_files_are_judged_by_laws_and_jobs(lived, records):
    """Of another day: what is judged shows by what is missing in its files."""
    lines = [json.dumps(r) for r in altered(records, "placed", limit_price="17.21")]
    case = Case("wire.placeOrder#1.after", close_soon=True)
    problems = judge_files(lines, lived.files.journal, case)
    assert "lost leg: KMI A EN" in problems
    assert any("I2" in text for text in problems)
    assert not any("moc_close" in text for text in problems)
