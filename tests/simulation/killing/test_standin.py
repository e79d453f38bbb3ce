"""What stands in for a port behaves as it, passes points, and is mute when dead."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

from daemon.simulation.killing.frames import tapped
from daemon.simulation.killing.life import Killed, Life
from daemon.simulation.killing.standin import stand_in


class Drawer:
    """A port of every shape."""

    def __init__(self):
        self.kept = []
        self.ends = []
        self.label = "drawer"

    @property
    def size(self):
        return len(self.kept)

    def put(self, thing):
        self.kept.append(thing)
        return len(self.kept)

    def refuse(self):
        raise ValueError("no room")

    def rows(self):
        return tuple(self.kept)

    async def fetch(self, thing):
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            self.ends.append("fetch")
        self.kept.append(thing)
        return thing

    @contextmanager
    def together(self):
        before = list(self.kept)
        try:
            yield "handle"
        except BaseException:
            self.kept[:] = before
            self.ends.append("rolled back")
            raise
        self.ends.append("committed")


def killing(life):
    life.mute = True


def lead(doom=None):
    """Return a drawer, its stand-in, its life and the points that it passes."""
    points = []
    life = Life(doom, killing, lambda point: points.append(point.name))
    drawer = Drawer()
    return drawer, stand_in("journal", drawer, life), life, points


def test_a_call_passes_a_point_before_and_after():
    drawer, stand, _, points = lead()
    assert (stand.put("a"), stand.put("b")) == (1, 2)
    assert drawer.kept == ["a", "b"]
    assert points == [
        "journal.put#1.before",
        "journal.put#1.after",
        "journal.put#2.before",
        "journal.put#2.after",
    ]


def test_a_property_is_a_call_and_an_attribute_is_none():
    _, stand, _, points = lead()
    assert stand.size == 0
    assert stand.label == "drawer"
    assert points == ["journal.size#1.before", "journal.size#1.after"]


def test_an_error_passes_the_point_after():
    _, stand, _, points = lead()
    with pytest.raises(ValueError, match="no room"):
        stand.refuse()
    assert points == ["journal.refuse#1.before", "journal.refuse#1.after"]


async def test_a_coroutine_passes_a_point_at_each_of_its_waits():
    _, stand, _, points = lead()
    assert await stand.fetch("a") == "a"
    assert [name.rpartition(".")[2] for name in points] == [
        "before",
        "wait1",
        "wait2",
        "after",
    ]


def test_a_block_passes_points_around_its_commit():
    drawer, stand, _, points = lead()
    with stand.together() as given:
        stand.put("a")
    assert given == "handle"
    assert drawer.ends == ["committed"]
    assert points == [
        "journal.together#1.before",
        "journal.together#1.inside",
        "journal.put#1.before",
        "journal.put#1.after",
        "journal.together#1.commit",
        "journal.together#1.after",
    ]


@pytest.mark.parametrize(
    ("where", "kept"), [("before", []), ("after", ["a"])], ids=["before", "after"]
)
def test_a_death_around_a_call(where, kept):
    drawer, stand, _, _ = lead(f"journal.put#1.{where}")
    with pytest.raises(Killed):
        stand.put("a")
    assert drawer.kept == kept


@pytest.mark.parametrize(
    "doom", ["together#1.inside", "put#1.after", "together#1.commit"]
)
def test_a_death_inside_a_block_rolls_back(doom):
    drawer, stand, _, _ = lead(f"journal.{doom}")

    def work():
        with stand.together():
            stand.put("a")

    with pytest.raises(Killed):
        work()
    assert drawer.kept == []
    assert drawer.ends == ["rolled back"]


def test_a_death_that_a_handler_hides_still_rolls_back():
    drawer, stand, life, _ = lead("journal.put#1.after")

    def work():
        with stand.together():
            try:
                stand.put("a")
            except Killed:
                raise ValueError from None

    with pytest.raises(Killed):
        work()
    assert life.mute
    assert drawer.kept == []


async def test_a_death_at_a_wait_ends_the_coroutine_there():
    drawer, stand, _, _ = lead("journal.fetch#1.wait2")
    with pytest.raises(Killed):
        await stand.fetch("a")
    assert drawer.kept == []
    assert drawer.ends == ["fetch"]


def test_the_dead_do_not_act():
    drawer, stand, _, points = lead("journal.put#1.after")
    with pytest.raises(Killed):
        stand.put("a")
    passed = list(points)
    for act in (lambda: stand.put("b"), lambda: stand.size, stand.together):
        with pytest.raises(Killed):
            act()
    assert drawer.kept == ["a"]
    assert points == passed


def test_what_has_left_is_counted_once_a_transaction_and_not_for_reading():
    _, stand, life, _ = lead()
    stand.put("a")
    assert life.left == 1
    stand.rows()
    assert life.left == 1
    with stand.together():
        stand.put("b")
        stand.put("c")
        assert life.left == 1
    assert life.left == 2


# --- the wire -----------------------------------------------------------------------

GREETING = b"API\0\0\0\0\x09v157..178"
ORDER = b"\0\0\0\x073\x00100\0\0"
CANCEL = b"\0\0\0\x064\x001\x007\0"
PROBE = b"\0\0\0\x0549\x001\0"


def wired(doom=None):
    points, out = [], []
    life = Life(doom, killing, lambda point: points.append(point.name))
    return tapped(life), life, points, out


def test_frames_are_let_out_one_by_one_and_named():
    write, life, points, out = wired()
    write(GREETING, out.append)
    write(ORDER + CANCEL + PROBE, out.append)
    assert out == [GREETING, ORDER, CANCEL, PROBE]
    assert [name for name in points if name.endswith("after")] == [
        "wire.handshake#1.after",
        "wire.placeOrder#1.after",
        "wire.cancelOrder#1.after",
        "wire.reqCurrentTime#1.after",
    ]
    assert life.left == 3  # a probe leaves no trace


@pytest.mark.parametrize(
    ("where", "left"), [("before", []), ("after", [ORDER])], ids=["before", "after"]
)
def test_a_death_between_two_frames_of_one_write(where, left):
    write, _, _, out = wired(f"wire.placeOrder#1.{where}")
    with pytest.raises(Killed):
        write(ORDER + CANCEL, out.append)
    assert out == left
    with pytest.raises(Killed):
        write(CANCEL, out.append)
    assert out == left
