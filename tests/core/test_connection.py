from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.connection import Link, LinkInput, advance
from daemon.errors import InvariantViolated

L, I = Link, LinkInput  # noqa: E741

TABLE = {
    (L.DISCONNECTED, I.ATTEMPT): L.CONNECTING,
    (L.CONNECTING, I.ACCEPTED): L.SYNCING,
    (L.SYNCING, I.SYNCED): L.READY,
    (L.SYNCING, I.BROKER_BACK): L.SYNCING,
    (L.SYNCING, I.BROKER_LOST): L.DEGRADED,
    (L.READY, I.BROKER_LOST): L.DEGRADED,
    (L.READY, I.BROKER_BACK): L.SYNCING,
    (L.DEGRADED, I.BROKER_LOST): L.DEGRADED,
    (L.DEGRADED, I.BROKER_BACK): L.SYNCING,
    (L.DISCONNECTED, I.LOST): L.DISCONNECTED,
    (L.CONNECTING, I.LOST): L.DISCONNECTED,
    (L.SYNCING, I.LOST): L.DISCONNECTED,
    (L.READY, I.LOST): L.DISCONNECTED,
    (L.DEGRADED, I.LOST): L.DISCONNECTED,
    (L.STOPPED, I.LOST): L.STOPPED,
    (L.DISCONNECTED, I.STOP): L.STOPPED,
    (L.CONNECTING, I.STOP): L.STOPPED,
    (L.SYNCING, I.STOP): L.STOPPED,
    (L.READY, I.STOP): L.STOPPED,
    (L.DEGRADED, I.STOP): L.STOPPED,
    (L.STOPPED, I.STOP): L.STOPPED,
}


@pytest.mark.parametrize(("pair", "after"), TABLE.items())
def test_what_happens_moves_the_session(
    pair: tuple[Link, LinkInput], after: Link
) -> None:
    assert advance(*pair) is after


@pytest.mark.parametrize(
    ("link", "happened"), [pair for pair in product(L, I) if pair not in TABLE]
)
def test_a_pair_without_a_meaning_is_refused(link: Link, happened: LinkInput) -> None:
    with pytest.raises(InvariantViolated, match=f"{happened} while {link}"):
        advance(link, happened)


def walk(inputs: list[LinkInput]) -> list[Link]:
    """Return the states on the way; what has no meaning changes nothing."""
    states = [L.DISCONNECTED]
    for happened in inputs:
        try:
            states.append(advance(states[-1], happened))
        except InvariantViolated:
            states.append(states[-1])
    return states


@given(st.lists(st.sampled_from(LinkInput)))
def test_ready_is_only_reached_through_a_sync(inputs: list[LinkInput]) -> None:
    for before, after in pairwise(walk(inputs)):
        if after is L.READY and before is not L.READY:
            assert before is L.SYNCING


@given(st.lists(st.sampled_from(LinkInput)))
def test_whatever_the_broker_lost_is_read_again_before_ready(
    inputs: list[LinkInput],
) -> None:
    states = walk(inputs)
    for number, state in enumerate(states):
        if state is L.DEGRADED:
            later = states[number:]
            until_ready = later[: later.index(L.READY)] if L.READY in later else []
            assert not until_ready or L.SYNCING in until_ready


@given(st.lists(st.sampled_from(LinkInput)))
def test_stopped_is_for_ever(inputs: list[LinkInput]) -> None:
    states = walk([I.STOP, *inputs])
    assert set(states[1:]) == {L.STOPPED}
