from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.connection import (
    Link,
    LinkInput,
    LinkNotice,
    Outage,
    advance,
    link_notice,
    new_port,
)
from daemon.core.model import Notice, OrderId
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


# --- what notices say of the session ------------------------------------------------

N = LinkNotice
SAID = {
    100: N.TOO_FAST,
    326: N.ID_IN_USE,
    1100: N.BROKER_LOST,
    1101: N.DATA_LOST,
    1102: N.DATA_KEPT,
    1300: N.PORT_CHANGED,
    2103: N.NOTHING,
    2104: N.FARM_CONNECTED,
    2105: N.NOTHING,
    2106: N.FARM_CONNECTED,
    2107: N.NOTHING,
    2108: N.NOTHING,
    2110: N.BROKER_LOST,
    2119: N.NOTHING,
    2157: N.NOTHING,
    2158: N.FARM_CONNECTED,
    10197: N.OTHER_LOGIN,
    201: N.NOTHING,
    10006: N.NOTHING,
}


@pytest.mark.parametrize(("code", "said"), SAID.items())
def test_a_code_says_of_the_session(code: int, said: LinkNotice) -> None:
    assert link_notice(Notice(OrderId(-1), code, "text")) is said


def test_321_is_read_only_by_its_text_alone() -> None:
    text = "cause - The API interface is currently in Read-Only mode."
    assert link_notice(Notice(OrderId(-1), 321, text)) is N.READ_ONLY
    assert link_notice(Notice(OrderId(5), 321, "no such field")) is N.NOTHING


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("please reconnect on the new port -4009", "4009"),
        ("Please reconnect on the new port - 7497.", "7497"),
        ("the socket port has been reset", ""),
    ],
)
def test_the_new_port_is_read_from_the_text(text: str, port: str) -> None:
    assert new_port(Notice(OrderId(-1), 1300, text)) == port


# --- a broker that is away -------------------------------------------------------


def test_an_outage_of_this_connection_is_not_over_by_a_farm() -> None:
    told_here = Outage("1100", looked_at=0.0, farm_connected=True)
    assert not told_here.is_over(9999.0)


@pytest.mark.parametrize(
    ("farm_connected", "now", "over"),
    [(True, 9.9, False), (True, 10.0, True), (False, 10.0, False), (False, 9e9, False)],
)
def test_on_a_new_connection_a_farm_and_ten_quiet_seconds_end_it(
    farm_connected: bool, now: float, over: bool
) -> None:
    outage = Outage("1100", 0.0, inherited=True, farm_connected=farm_connected)
    assert outage.is_over(now) is over


def test_a_look_is_due_after_five_minutes() -> None:
    outage = Outage("1100", looked_at=100.0)
    assert not outage.look_is_due(399.9)
    assert outage.look_is_due(400.0)
    assert outage.wait_s(150.0) == 250.0
    assert Outage("1100", 100.0, True, True).wait_s(104.0) == 6.0
    assert outage.wait_s(500.0) == 0.0
