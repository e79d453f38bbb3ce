"""Where the bytes are cut makes no difference, in either direction."""

from __future__ import annotations

import asyncio
import os

import pytest

from daemon.simulation.memory import Connection
from daemon.simulation.pipe import bytewise

STRIDE = int(os.environ.get("IBKRD_FRAMES_STRIDE", "31"))
"""Each run cuts at every STRIDE-th byte, one place further than the run before: all
runs together cut at every byte. A greater number cuts less often in each run."""


class CutAt:
    """Cuts a stream before each byte whose number is *phase* modulo *stride*."""

    def __init__(self, phase: int, stride: int) -> None:
        self._phase, self._stride, self._passed = phase, stride, 0

    def __call__(self, waiting: int) -> int:
        gap = (self._phase - self._passed) % self._stride or self._stride
        size = min(gap, waiting)
        self._passed += size
        return size


def test_the_small_day_is_what_it_should_be(quiet_day) -> None:
    """The comparisons below mean nothing if this day is empty."""
    assert quiet_day.connects == 1
    assert quiet_day.failures == []
    assert [ref[-4:] for ref in quiet_day.placed] == ["A:EN", "A:TP", "A:SL", "B:EN"]
    (held,) = quiet_day.state.positions
    assert held.quantity == 33
    assert [o.order_id for o in quiet_day.state.open_orders] == [6, 7]
    assert [o.status for o in quiet_day.state.completed] == ["Filled", "Cancelled"]
    assert len(quiet_day.state.fills) == len(quiet_day.state.commissions) == 1
    kinds = {type(event).__name__ for event in quiet_day.events}
    assert kinds == {
        *("WorkingOrder", "OrderUpdate", "Fill"),
        *("Commission", "Notice", "LinkChange"),
    }


@pytest.fixture(scope="module")
def whole(play_small):
    return play_small()


def test_a_relay_changes_nothing(whole, quiet_day) -> None:
    assert whole.events == quiet_day.events
    assert whole.state == quiet_day.state


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
def test_a_cut_at_any_byte_makes_no_difference(
    play_small, whole, direction: str
) -> None:
    for phase in range(STRIDE):

        def tune(line: Connection, phase: int = phase) -> None:
            getattr(line, direction).chunker = CutAt(phase, STRIDE)

        cut = play_small(tune=tune)
        where = f"{direction} cut at every byte n with n % {STRIDE} == {phase}"
        assert cut.failures == [], where
        assert cut.heard == whole.heard, where
        assert cut.state == whole.state, where


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
def test_one_byte_at_a_time_makes_no_difference(
    play_small, whole, direction: str
) -> None:
    def tune(line: Connection) -> None:
        getattr(line, direction).chunker = bytewise

    slow = play_small(tune=tune)
    assert slow.failures == []
    assert slow.heard == whole.heard
    assert slow.state == whole.state


def test_bytes_that_wait_and_come_together_make_no_difference(
    play_small, whole
) -> None:
    """For half a second nothing arrives, then all of it at once."""

    def tune(line: Connection) -> None:
        loop = asyncio.get_running_loop()

        def pause() -> None:
            line.to_client.freeze()
            loop.call_later(0.5, go_on)

        def go_on() -> None:
            line.to_client.thaw()
            loop.call_later(0.001, pause)

        pause()

    merged = play_small(tune=tune)
    assert merged.failures == []
    assert merged.events == whole.events
    assert merged.state == whole.state
