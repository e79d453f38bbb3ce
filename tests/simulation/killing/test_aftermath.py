"""What counts as doubled, naked and lost, on evidence written by hand."""

from __future__ import annotations

import json

import pytest

from daemon.simulation.killing.day import Dooms, Passed
from daemon.simulation.killing.evidence import Books, State, read_ledger
from daemon.simulation.killing.harness import Class, Course, Result
from daemon.simulation.killing.life import KINDS, Point
from daemon.simulation.killing.table import Round, replay
from daemon.simulation.killing.verdict import Aftermath, Verdict, resolution

BASE = "ibkrd:20260219:KMI"
FAMILY = ("EN", "TP", "SL")


def placed(number, ref, parent=0):
    return {
        "event": "placed",
        "client_id": 10,
        "order_id": number,
        "perm_id": 900 + number,
        "order_ref": ref,
        "parent_id": parent,
    }


def released(number):
    return {"event": "released", "perm_id": 900 + number}


def error(number, code):
    return {
        "event": "order_error",
        "client_id": 10,
        "order_id": number,
        "code": code,
        "text": "",
    }


def family(first, bracket, attempt=""):
    """Return the three legs of one bracket, ids from *first*, none transmitted."""
    return [
        placed(first + n, f"{BASE}:{bracket}:{leg}{attempt}", first if n else 0)
        for n, leg in enumerate(FAMILY)
    ]


def all_released(first):
    return [released(first + n) for n in range(3)]


WHOLE = [*family(1, "A"), *all_released(1), *family(4, "B"), *all_released(4)]


def aftermath(*records, rows=None, told=()):
    broker = read_ledger(json.dumps(record) for record in records)
    return Aftermath(broker, Books(rows or {}, {}, {}, told, ()), ("KMI",))


def test_a_plan_that_was_sent_once_has_no_fault():
    found = aftermath(*WHOLE)
    assert (found.duplicates, found.naked, found.lost, found.halves) == ([], [], [], [])


def test_two_entries_of_one_bracket_are_a_duplicate_whatever_their_attempt():
    found = aftermath(*WHOLE, *family(7, "B", ":2"), *all_released(7))
    assert found.duplicates == ["KMI B: 2 entries"]


def test_an_entry_that_was_discarded_is_no_duplicate():
    half = [*family(4, "B"), error(4, 202), error(5, 202), error(6, 202)]
    again = [*family(7, "B", ":2"), *all_released(7)]
    found = aftermath(*family(1, "A"), *all_released(1), *half, *again)
    assert (found.duplicates, found.lost) == ([], [])
    assert len(found.halves) == 3  # which a daemon that was asked to end never leaves


def test_one_reference_placed_twice_is_a_duplicate():
    found = aftermath(*WHOLE, placed(7, f"{BASE}:A:SL", 1))
    assert f"{BASE}:A:SL placed 2 times" in found.duplicates


@pytest.mark.parametrize(("missing", "leg"), [(1, "TP"), (2, "SL")])
def test_an_entry_without_one_of_its_exits_is_naked(missing, leg):
    records = [r for r in WHOLE if r != released(1 + missing)]
    assert aftermath(*records).naked == [f"{BASE}:A:EN without {leg}"]


def test_a_leg_that_never_came_and_of_which_nobody_was_told_is_lost():
    found = aftermath(*WHOLE[:6])
    assert found.lost == ["KMI B EN", "KMI B TP", "KMI B SL"]


def test_a_leg_that_never_came_is_not_lost_where_its_row_is_refused_and_told():
    rows = {"KMI": ("refused", "B EN never reached the broker")}
    assert aftermath(*WHOLE[:6], rows=rows, told=("KMI: refused",)).lost == []
    assert len(aftermath(*WHOLE[:6], rows=rows).lost) == 3
    said_submitted = {"KMI": ("submitted", "B EN never reached the broker")}
    found = aftermath(*WHOLE[:6], rows=said_submitted, told=("KMI: submitted",))
    assert len(found.lost) == 3


def test_what_lies_untransmitted_at_the_gateway_is_lost():
    found = aftermath(*WHOLE, *family(7, "B", ":2"))
    assert found.lost[0] == f"{BASE}:B:EN:2 lies untransmitted at the gateway"


# --- how an unknown order became known ----------------------------------------------

UNKNOWN = State("10:00", "unknown", None, "", "")


@pytest.mark.parametrize(
    ("after", "how"),
    [
        ([], "never"),
        ([State("10:01", "cancelled", 202, "", "Notice")], "discarded (202, 161)"),
        (
            [State("10:01", "cancelled", 10147, "", "Notice")],
            "absent (10147, silent twice)",
        ),
        ([State("10:01", "working", None, "", "WorkingOrder")], "open order"),
        ([State("10:01", "filled", None, "", "Fill")], "execution"),
        ([State("10:01", "filled", None, "", "")], "completed order"),
    ],
)
def test_how_an_unknown_order_became_known(after, how):
    assert resolution([UNKNOWN, *after]) == how


def test_an_order_that_never_was_unknown_has_no_resolution():
    assert resolution([State("10:01", "working", None, "", "WorkingOrder")]) is None


# --- the table ----------------------------------------------------------------------


def round_of(*verdicts, kinds=KINDS):
    found = [
        Class((Passed(Point(kind, "act", 1, "after"), 0.0, kind),)) for kind in kinds
    ]
    course = Course(Dooms(("wire.act#1.after",)), frozenset({"wire"}))
    return Round("kill", found, [Result(course, v, (True,), ()) for v in verdicts])


def test_the_table_counts_a_day_for_each_kind_that_it_stands_for():
    done = round_of(Verdict(naked=("a", "b")), Verdict(unknown={"x": "open order"}))
    wire, clock = done.row("wire"), done.row("clock")
    assert (wire["runs"], wire["naked entries"], wire["unknowns"]) == (2, 2, 1)
    assert (clock["runs"], clock["points"]) == (0, 1)
    assert done.row(None)["failed"] == 1
    assert "1 by open order" in done.text()


def test_a_kind_without_a_point_is_named():
    assert round_of().missing == []
    bare = round_of(kinds=("journal", "wire"))
    assert bare.missing == ["broker", "notifier", "clock", "channel", "await"]
    assert "no point of kind broker: it is not tested" in bare.text()


def test_a_failure_names_the_command_that_plays_it_again():
    command = (
        "make kill-points ARGS='--how kill --pause 3 --seed 1 "
        "--point wire.act#1.after --trace'"
    )
    assert replay(Dooms(("wire.act#1.after",))) == command
    assert f"FAILED {command}" in round_of(Verdict(lost=("KMI B EN",))).text()
