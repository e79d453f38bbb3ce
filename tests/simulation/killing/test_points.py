"""A small share of `make kill-points`: the daemon dies, starts again, loses nothing."""

from __future__ import annotations

import pytest

from daemon.simulation.killing.day import Dooms
from daemon.simulation.killing.harness import Course, count, first_deaths, run_one
from daemon.simulation.killing.life import KINDS
from daemon.simulation.killing.real import Case, Sample, play_real

pytestmark = pytest.mark.slow

ONCE = [
    "journal.intend#1.after",  # intended, and not a byte of it sent
    "wire.placeOrder#4.after",  # the entry alone lies at the gateway
    "wire.placeOrder#6.after",  # the family is whole, its answer not yet there
    "journal.together#5.commit",  # the broker's evidence, not yet written
    "wire.cancelOrder#2.after",  # the close has cancelled a part of the exits
    "journal.intend#7.after",  # the closing order is intended
]
TWICE = [
    ("wire.placeOrder#5.before", "wire.cancelOrder#1.after"),  # while it repairs
    ("wire.placeOrder#19.after", "journal.intend#1.before"),  # while it closes
]


def play(*points, how="kill"):
    return run_one(Course(Dooms(points, how=how), frozenset(KINDS)))


@pytest.fixture(scope="module")
def found():
    """The points of the day without a death."""
    return count("kill")


def test_every_kind_of_port_has_points(found):
    assert set().union(*(each.kinds for each in found)) == set(KINDS)


def test_every_leg_of_every_family_has_a_point_before_and_after(found):
    names = {one.point.name for each in found for one in each.points}
    legs = [f"wire.placeOrder#{n}" for n in range(1, 21)]  # 18, and 2 at the close
    assert {f"{leg}.{where}" for leg in legs for where in ("before", "after")} <= names
    assert "wire.placeOrder#21.before" not in names


def test_the_legs_of_one_family_are_different_deaths(found):
    wanted = {f"wire.placeOrder#{n}.after" for n in range(1, 21)}
    held = [{one.point.name for one in each.points} & wanted for each in found]
    assert sorted(len(names) for names in held if names) == [1] * 20


def test_the_same_day_passes_the_same_points(found):
    again = count("kill")
    assert [[p.point for p in c.points] for c in again] == [
        [p.point for p in c.points] for c in found
    ]


def test_every_class_is_played_and_on_demand_every_point(found):
    chosen = first_deaths(found, Dooms(), every=False)
    every = first_deaths(found, Dooms(), every=True)
    assert len(chosen) >= len(found)
    assert len(every) == sum(len(each.points) for each in found)
    assert {c.dooms.points for c in chosen} < {c.dooms.points for c in every}


@pytest.mark.parametrize("point", ONCE)
def test_killed_once_nothing_is_doubled_naked_or_lost(point):
    result = play(point)
    assert result.struck == (True,)
    assert result.problems == ()


@pytest.mark.parametrize("points", TWICE, ids=lambda points: points[0])
def test_killed_twice_nothing_is_doubled_naked_or_lost(points):
    result = play(*points)
    assert result.struck == (True, True)
    assert result.problems == ()


def test_asked_to_stop_within_a_family_it_finishes_the_family():
    result = play("wire.placeOrder#4.after", how="term")
    assert result.struck == (True,)
    assert result.problems == ()


def test_a_point_that_is_not_there_is_a_failure():
    assert play("wire.placeOrder#99.after").problems == ("the point was not reached",)


@pytest.mark.parametrize(
    ("point", "close_soon"),
    [("wire.placeOrder#4.after", False), ("wire.placeOrder#13.after", True)],
)
def test_a_process_that_is_killed_doubles_and_loses_nothing(point, close_soon):
    sample = Sample(list(play_real([Case(point, close_soon=close_soon)], at_once=1)))
    assert not sample.broken, sample.text()
