"""What counts as doubled, naked and lost, on evidence written by hand."""

from __future__ import annotations

import json

import pytest

from daemon.simulation.killing.day import Dooms, Passed
from daemon.simulation.killing.evidence import Books, State, read_ledger
from daemon.simulation.killing.harness import Class, Course, Result, shared
from daemon.simulation.killing.life import KINDS, Point
from daemon.simulation.killing.real import Case, Sample
from daemon.simulation.killing.table import Round, replay
from daemon.simulation.killing.verdict import (
    Aftermath,
    Expected,
    Verdict,
    resolution,
    silent,
    unended,
)

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
    assert (found.duplicates, found.naked, found.lost, found.broker.halves) == (
        [],
        [],
        [],
        [],
    )


def test_two_entries_of_one_bracket_are_a_duplicate_whatever_their_attempt():
    found = aftermath(*WHOLE, *family(7, "B", ":2"), *all_released(7))
    assert found.duplicates == ["KMI B: 2 entries"]


def test_an_entry_that_was_discarded_is_no_duplicate():
    half = [*family(4, "B"), error(4, 202), error(5, 202), error(6, 202)]
    again = [*family(7, "B", ":2"), *all_released(7)]
    found = aftermath(*family(1, "A"), *all_released(1), *half, *again)
    assert (found.duplicates, found.lost) == ([], [])
    assert (
        len(found.broker.halves) == 3
    )  # which a daemon that was asked to end never leaves


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


# --- how jobs and unknown orders end --------------------------------------------------

CUT = ("failed", "interrupted: the daemon ended before it did")
DONE = ("done", "2 rows: 2 submitted")
STOPPED = ("failed", "stopped while verifying: 1 closing order(s)")


def ends(runs, *, jobs=("submit",), **terms):
    return unended(Books({}, {}, runs, (), ()), Expected("log", (), jobs, **terms))


def test_a_job_that_ends_once_after_the_death_is_ended():
    assert ends({"submit": [CUT, DONE]}) == []


def test_a_job_that_never_began_has_no_end():
    assert ends({}) == ["submit: 0 terminal records: []"]


def test_a_run_that_stands_open_is_a_problem():
    problems = ends({"submit": [DONE, (None, "")]})
    assert problems == ["submit: a run without a terminal record"]


def test_a_job_that_ended_twice_is_a_problem_also_where_nobody_asked_for_it():
    problems = ends({"submit": [DONE], "moc_close": [DONE, DONE]})
    assert [text.partition(":")[0] for text in problems] == ["moc_close"]


def test_a_failed_job_is_a_problem_unless_the_judge_stopped_it():
    runs = {"submit": [DONE], "moc_close": [CUT, STOPPED]}
    terms = {"cut_short": ("interrupted",)}
    assert ends(runs, **terms) == [f"moc_close failed: {STOPPED[1]}"]
    assert ends(runs, asked_to_stop=("stopped while verifying",), **terms) == []


def test_an_order_that_stays_unknown_is_named_unless_it_was_told():
    states = {f"{BASE}:A:EN": [UNKNOWN]}
    told = (f"KMI: unknown\n{BASE}:A:EN",)
    assert silent(Books({}, states, {}, (), ())) == [f"{BASE}:A:EN"]
    assert silent(Books({}, states, {}, told, ())) == []


# --- the table ----------------------------------------------------------------------


def course_of(*kinds, point="wire.act#1.after"):
    return Course(Dooms((point,)), frozenset(kinds))


def result_of(*kinds, verdict=None, struck=(True,)):
    return Result(course_of(*kinds), verdict or Verdict(), struck, ())


def round_of(*results, **terms):
    found = [
        Class((Passed(Point(kind, "act", 1, "after"), 0.0, kind),)) for kind in KINDS
    ]
    return Round("kill", found, results, **terms)


def test_the_table_counts_a_day_for_each_kind_that_it_stands_for():
    done = round_of(
        result_of("wire", verdict=Verdict(naked=("a", "b"))),
        result_of("wire", verdict=Verdict(unknown={"x": "open order"})),
    )
    wire, clock = done.row("wire"), done.row("clock")
    assert (wire["runs"], wire["naked entries"], wire["unknowns"]) == (2, 2, 1)
    assert (clock["runs"], clock["points"]) == (0, 1)
    assert done.row(None)["failed"] == 1
    assert "1 by open order" in done.text()


def test_a_text_that_was_accepted_twice_is_counted_and_is_no_failure():
    done = round_of(*[result_of("wire", verdict=Verdict(doubled=("Close",)))] * 2)
    assert (done.row("wire")["accepted twice"], done.failures) == (2, [])
    assert "accepted twice: 2 x Close" in done.text()


def test_a_kind_of_which_points_were_found_but_no_day_was_played_is_missing():
    done = round_of(result_of("journal", "broker", "clock"), result_of("wire", "await"))
    assert done.missing == ["notifier", "channel"]
    assert "no day of kind notifier: it is not tested" in done.text()
    assert round_of(result_of(*KINDS)).missing == []
    assert round_of().missing == list(KINDS)


def test_only_a_wanted_kind_can_be_missing():
    done = round_of(result_of("wire"), wanted=frozenset({"wire", "clock"}))
    assert done.missing == ["clock"]


def test_a_day_on_which_a_death_did_not_come_plays_no_kind():
    done = round_of(result_of(*KINDS, struck=(True, False)))
    assert done.missing == list(KINDS)
    assert "on 1 days a death did not come" in done.text()


@pytest.mark.parametrize("share", [1, 10, 1000])
def test_a_share_holds_at_least_one_day_of_every_kind(share):
    courses = [course_of("wire", "clock", point=f"p{n}") for n in range(99)]
    courses[3:3] = [course_of("notifier", point="told")]
    kept = shared(courses, share)
    assert set().union(*(each.kinds for each in kept)) == {"wire", "clock", "notifier"}
    assert kept == [each for each in courses if each in kept]  # in their order
    assert len(kept) == {1: 100, 10: 11, 1000: 2}[share]


def test_real_deaths_fail_where_one_fails_and_where_there_is_none():
    case = Case("wire.placeOrder#4.after", close_soon=False)
    assert not Sample([(case, [])]).broken
    failed = Sample([(case, []), (case, ["lost leg: KMI B EN"])])
    assert failed.broken
    assert "2 points, 1 failed" in failed.text()
    assert Sample([]).broken
    assert "SIGKILL is not tested" in Sample([]).text()


def test_a_failure_names_the_command_that_plays_it_again():
    command = (
        "make kill-points ARGS='--how kill --pause 3 --seed 1 "
        "--point wire.act#1.after --trace'"
    )
    assert replay(Dooms(("wire.act#1.after",))) == command
    failed = result_of("wire", verdict=Verdict(lost=("KMI B EN",)))
    assert f"FAILED {command}" in round_of(failed).text()
