from __future__ import annotations

import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.fakegateway import faults
from daemon.fakegateway.faults import (
    Busy,
    CommissionLate,
    Correct,
    Deaf,
    Drop,
    DuplicateStatus,
    Empty,
    ExecutionLate,
    Fault,
    Freeze,
    LateReject,
    Linger,
    LinkLost,
    MissingStatus,
    Mute,
    OrderFault,
    Refuse,
    Reject,
    Restart,
    Say,
    Script,
    Temper,
)
from daemon.fakegateway.scenario import KINDS, ScenarioError, play, read_script

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "gateway.md"


def test_a_fault_begins_and_ends_at_its_time(stage):
    s = stage()
    play(s.world, [LinkLost(at="15:41", for_s=90), LinkLost(at="+60", for_s=5)])
    s.run_to("16:00")
    assert [one[0][11:19] for one in s.written("link_lost", "at")] == [
        "14:36:00",
        "20:41:00",
    ]
    assert [one[0][11:19] for one in s.written("link_restored", "at")] == [
        "14:36:05",
        "20:42:30",
    ]


def test_a_time_of_day_that_is_past_is_tomorrows(stage):
    s = stage()
    play(s.world, [Say(2103, at="09:30")])
    s.run_to("16:00")
    assert s.talk() == []
    s.run_for(18 * 3600)
    assert s.talk() == ["notice 2103"]


def test_a_fault_without_a_time_begins_at_once_and_one_without_an_end_stays(stage):
    s = stage()
    play(s.world, [Reject(201, symbol="AAPL"), DuplicateStatus()])
    assert s.world.settings.duplicate_statuses
    s.run_for(3600)
    s.place(1, "BUY 10 MKT")
    s.run_for(1)
    assert s.errors(1) == [201]


def test_an_order_fault_ends_with_its_time(stage):
    s = stage()
    play(s.world, [Reject(201, for_s=60)])
    s.run_for(61)
    s.place(1, "BUY 10 MKT")
    s.run_for(1)
    assert s.errors(1) == []


@pytest.mark.parametrize(
    ("fault", "setting", "during", "after"),
    [
        (DuplicateStatus(for_s=9), "duplicate_statuses", True, False),
        (MissingStatus(0.4, for_s=9), "missing_statuses", 0.4, 0.0),
        (ExecutionLate(2.0, for_s=9), "execution_lag_s", 2.0, 0.0),
        (Busy(20, for_s=9), "message_rate", 20, 50),
        (Mute(("positions",), for_s=9), "mute", {61}, set()),
        (CommissionLate(for_s=9), "commission_delay_s", 9, 9),
        (CommissionLate(), "commission_delay_s", None, None),
        (
            Temper("cancel_cascades", "always", for_s=9),
            "cancel_cascades",
            "always",
            "never",
        ),
    ],
)
def test_a_temper_lasts_as_long_as_its_fault(stage, fault, setting, during, after):
    s = stage()
    play(s.world, [fault])
    assert getattr(s.world.settings, setting) == during
    s.run_for(10)
    assert getattr(s.world.settings, setting) == after


@pytest.mark.parametrize(
    ("fault", "how"), [(Refuse(for_s=9), "reset"), (Empty(for_s=9), "closed")]
)
def test_the_door_is_shut_or_empty_until_its_end(stage, fault, how):
    s = stage()
    play(s.world, [fault])
    assert s.wire().ended == how
    s.run_for(10)
    assert s.wire().start(8)[0].startswith("15|")


def test_a_deaf_gateway_takes_connections_and_never_answers_them(stage):
    s = stage()
    play(s.world, [Deaf(for_s=9)])
    line = s.wire()
    s.run_for(10)
    assert (line.start(8), line.ended) == ([], "")


def test_a_frozen_gateway_thaws(stage):
    s = stage()
    line = s.wire()
    play(s.world, [Freeze(for_s=9)])
    assert line.start(8) == []
    s.run_for(10)
    assert line.told


def test_a_lingering_id_is_cut_and_held(stage):
    s = stage()
    line, other = s.wire(), s.wire()
    line.start(8)
    other.start(9)
    play(s.world, [Linger(8, for_s=40)])
    assert (line.ended, other.ended) == ("closed", "")
    assert s.wire().start(8)[0].startswith("4|2|-1|326|")
    s.run_for(41)
    assert s.wire().start(8)[0].startswith("15|")


def test_a_drop_cuts_every_connection(stage):
    s = stage()
    line = s.wire()
    line.start(8)
    play(s.world, [Drop()])
    assert line.ended == "closed"


def test_a_restart_is_played_with_its_terms(stage):
    s = stage()
    s.place(5, "BUY 10 LMT 90")
    s.run_for(1)
    play(s.world, [Restart(down_s=5, next_id=1)])
    s.run_for(6)
    assert s.world.next_valid_id(7) == 1


def test_the_latest_execution_of_a_symbol_is_corrected(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(5)
    play(s.world, [Correct("AAPL", shares=60, price="99.5"), Correct("WEC", shares=1)])
    assert s.position == "60"
    assert s.world.executions()[-1].price == Decimal("99.5")


def test_a_script_takes_our_id_only_while_we_are_away(stage):
    s = stage()
    s.place(5, "BUY 10 LMT 90")
    s.run_for(1)
    stranger = Script(7, "SELL", 10, "AAPL", "LMT", "110", "theirs", (5,), for_s=60)
    play(s.world, [stranger])
    s.run_for(1)
    assert sorted(s.open()) == [5]
    s.world.detach(7)
    play(s.world, [stranger])
    s.run_for(1)
    assert {n: one.ticket.order_ref for n, one in s.open().items()} == {6: "theirs"}
    assert not s.connect(7)
    s.run_for(60)
    assert s.connect(7)


# --- files -----------------------------------------------------------------------


def test_a_scenario_is_read_from_toml(tmp_path):
    path = tmp_path / "evening.toml"
    path.write_text(
        """
        [[fault]]
        kind = "LinkLost"
        at = "15:41"
        for_s = 90
        data_lost = true

        [[fault]]
        kind = "LateReject"
        code = 354
        leg = "EN"
        """
    )
    assert read_script(path) == [
        LinkLost(at="15:41", for_s=90.0, data_lost=True),
        LateReject(354, leg="EN"),
    ]


def test_a_scenario_is_read_from_json(tmp_path):
    path = tmp_path / "evening.json"
    path.write_text('[{"kind": "Mute", "requests": ["positions"], "for_s": 30}]')
    assert read_script(path) == [Mute(("positions",), for_s=30.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[fault]]\nkind = "Boom"', "fault 1: kind = 'Boom' is none of Busy, "),
        ('[[fault]]\nkind = "Drop"\nfors = 1', "fault 1: Drop has no 'fors', only at,"),
        ('[[fault]]\nkind = "Drop"\nfor_s = "1"', "for_s = '1' is not of type"),
        ('[[fault]]\nkind = "Busy"\nrate = true', "rate = True is not of type"),
        (
            '[[fault]]\nkind = "Drop"\nat = "noon"',
            "at = 'noon' is no time: write 15:41",
        ),
        ('[[fault]]\nkind = "Reject"', "Reject needs more"),
        ('[[fault]]\nkind = "Mute"\nrequests = ["x"]', "requests ['x'] are none of"),
        (
            '[[fault]]\nkind = "Temper"\nsetting = "x"\nvalue = 1',
            "setting = 'x' is none",
        ),
        ("fault = 1", "a list of faults is wanted"),
        ("[[fault", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_said_with_its_place(tmp_path, text, said):
    path = tmp_path / "evening.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_script(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_problem_of_a_scenario_is_listed(tmp_path):
    path = tmp_path / "evening.toml"
    path.write_text('[[fault]]\nkind = "A"\n[[fault]]\nkind = "B"')
    with pytest.raises(ScenarioError, match=r"(?s)fault 1.*fault 2"):
        read_script(path)


def test_every_fault_can_be_named_in_a_file():
    named = {
        name
        for name in faults.__all__
        if name not in {"REQUESTS", "Fault", "OrderFault", "Undo"}
    }
    assert set(KINDS) == named


def own_terms(kind):
    """Return the fields that *kind* does not share with its whole family."""
    family = OrderFault if issubclass(kind, OrderFault) else Fault
    return {one.name for one in fields(kind)} - {one.name for one in fields(family)}


def test_the_reference_lists_every_fault_with_its_terms():
    text = REFERENCE.read_text(encoding="utf-8")
    section = text.partition("## Faults")[2].partition("## Guesses")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if "`" in line]
    listed = {
        name: set(re.findall(r"`(\w+)`", row[1]))
        for row in rows
        if len(row) == 2
        for name in re.findall(r"`(\w+)`", row[0])
    }
    assert listed == {name: own_terms(kind) for name, kind in KINDS.items()}
