"""Mutated messages in both directions: read right, refused by name, never invented."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import fields as fields_of_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.broker.stream import MAX_MESSAGE
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.frames import frame
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.server import serve
from daemon.fakegateway.values import GatewaySettings
from daemon.fakegateway.world import World
from daemon.simulation.loop import run_virtual

# More for a nightly run: IBKRD_FUZZ_EXAMPLES=5000 pytest tests/frames
EXAMPLES = int(os.environ.get("IBKRD_FUZZ_EXAMPLES", "60"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

START = datetime.fromisoformat("2026-02-19T10:00:00-05:00")
HELLO = frame("178", "20260219 10:00:00 EST")
EVIDENCE = {"3", "4", "5", "9", "11", "15", "59", "61", "101"}
"""What the daemon believes of orders, executions, positions and ids."""
JUNK = (
    *(b"", b"junk", b"nan", b"-nan", b"inf", b"1e999", b"1e12", b"-", b"0x10", b"1_0"),
    *(b"9" * 40, b"\xff\xfe", "\u0663".encode(), b" 5", b"5 ", b"1,5", b"1.2.3"),
    b"1.7976931348623157E309",
)
FIGURES: dict[str, tuple[int, ...]] = {
    "3": (1, 2, 3, 4, 5, 6, 9),
    "4": (2, 3),
    "5": (1, 2, 13, 14, 16, 17, 24, 25, 57, 93),
    "9": (2,),
    "11": (1, 2, 3, 15, 18, 19, 20, 21, 22),
    "59": (3, 5),
    "61": (3, 14, 15),
    "101": (1, 12, 13, 23, 76, 86),
}
"""The fields that decide; junk in others is text, and may be told as text."""


def split(one: bytes) -> list[bytes]:
    return one[4:].split(b"\0")[:-1]


def join(parts: Sequence[bytes]) -> bytes:
    payload = b"".join(part + b"\0" for part in parts)
    return len(payload).to_bytes(4, "big") + payload


def figures(events: Sequence[object]) -> list[tuple[Any, ...]]:
    """Return what decides in *events*: kinds, numbers, sides, statuses and times."""
    return [
        (
            type(event).__name__,
            *(
                getattr(event, one.name)
                for one in fields_of_dataclass(event)  # type: ignore[arg-type]
                if isinstance(getattr(event, one.name), int | Decimal | Enum)
                or one.name in {"status", "time", "exec_id"}
            ),
        )
        for event in events
    ]


@pytest.fixture(scope="module")
def evidence(gateway_frames: Sequence[bytes]) -> list[bytes]:
    """One frame of each kind and wording that the quiet day has."""
    kinds: dict[tuple[Any, ...], bytes] = {}
    for one in gateway_frames[1:]:
        parts = split(one)
        if parts[0].decode() in EVIDENCE:
            kinds.setdefault((parts[0], *(p for p in parts if p.isalpha())), one)
    return list(kinds.values())


def assert_read_or_refused(
    read_bytes: Callable[..., Any], original: bytes, mutated: bytes
) -> None:
    before, after = read_bytes(HELLO, original), read_bytes(HELLO, mutated)
    assert before.doubts == []
    if after.doubts:
        assert after.told == []
        assert len(after.doubts) == 1
    else:
        assert figures(after.told) == figures(before.told)


@fuzzed
@given(data=st.data())
def test_a_field_too_few_or_too_many_invents_nothing(
    read_bytes, evidence, data
) -> None:
    original = data.draw(st.sampled_from(evidence))
    parts = split(original)
    at = data.draw(st.integers(0, len(parts) - 1))
    copies = data.draw(st.sampled_from([0, 2, 3]))
    mutated = join([*parts[:at], *[parts[at]] * copies, *parts[at + 1 :]])
    if mutated != original:
        assert_read_or_refused(read_bytes, original, mutated)


@fuzzed
@given(data=st.data())
def test_junk_in_a_field_that_decides_is_refused(read_bytes, evidence, data) -> None:
    original = data.draw(st.sampled_from(evidence))
    parts = split(original)
    places = FIGURES.get(parts[0].decode(), ())
    if not places:
        return
    at = data.draw(st.sampled_from([place for place in places if place < len(parts)]))
    junk = data.draw(st.sampled_from(JUNK))
    mutated = join([*parts[:at], junk, *parts[at + 1 :]])
    assert_read_or_refused(read_bytes, original, mutated)


@fuzzed
@given(data=st.data())
def test_junk_anywhere_raises_nothing(read_bytes, evidence, data) -> None:
    original = data.draw(st.sampled_from(evidence))
    parts = split(original)
    at = data.draw(st.integers(0, len(parts) - 1))
    junk = data.draw(st.sampled_from(JUNK) | st.binary(max_size=12))
    after = read_bytes(HELLO, join([*parts[:at], junk, *parts[at + 1 :]]))
    assert len(after.doubts) <= 1
    if after.doubts:
        assert after.told == []


@fuzzed
@given(data=st.data())
def test_a_message_cut_short_invents_nothing(read_bytes, evidence, data) -> None:
    original = data.draw(st.sampled_from(evidence))
    kept = data.draw(st.integers(0, len(original) - 5))
    payload = original[4 : 4 + kept]
    cut = len(payload).to_bytes(4, "big") + payload
    assert_read_or_refused(read_bytes, original, cut)
    assert read_bytes(HELLO, original[: 4 + kept]).told == []


@fuzzed
@given(chunks=st.lists(st.binary(max_size=64), max_size=6))
def test_no_bytes_raise_anything(read_bytes, chunks: list[bytes]) -> None:
    for greeting in (b"", HELLO):
        after = read_bytes(greeting, *chunks)
        assert len(after.doubts) <= 1


ids = st.sampled_from([str(n) for n in (*range(1, 110), 203, -1, 10**9)])
texts = st.sampled_from(["", "0", "1", "-1", "DU1234567", "BUY", "nan", "1e308", "x"])


@fuzzed
@given(message=st.lists(st.tuples(ids, st.lists(texts, max_size=40)), max_size=4))
def test_no_message_raises_anything(
    read_bytes, message: list[tuple[str, list[str]]]
) -> None:
    after = read_bytes(HELLO, *(frame(one, *more) for one, more in message))
    assert len(after.doubts) <= 1


@pytest.mark.parametrize("length", [MAX_MESSAGE + 1, 2**31, 2**32 - 1])
def test_no_absurd_length_is_waited_for(read_bytes, length: int) -> None:
    after = read_bytes(HELLO, length.to_bytes(4, "big"))
    assert len(after.doubts) == 1


# --- the gateway's side ---------------------------------------------------------------


class Client(asyncio.Protocol):
    """Somebody who sends what he likes."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed = True


START_API = frame("71", "2", "7", "")
GREETING = b"API\0" + b"\0\0\0\x09v157..178"
TIME, TIME_TOLD = frame("49", "1"), b"49\x001\x00"


async def _meet(stranger: bytes, message: bytes) -> tuple[bool, list[str]]:
    """Return whether the gateway still served, and what failed in its loop."""
    loop = asyncio.get_running_loop()
    failed: list[str] = []
    loop.set_exception_handler(lambda _, context: failed.append(repr(context)))
    world = World(
        clock=LoopClock(loop, START),
        sessions=[],
        listings=default_listings(),
        settings=GatewaySettings(),
        prices=Prices(1, bases={"AAPL": Decimal(100)}, sigma=0),
        ledger=Ledger(),
        seed=1,
    )
    reception = await serve(world, "127.0.0.1", 4002)
    _, one = await loop.create_connection(Client, "127.0.0.1", 4002)
    one.transport.write(stranger)
    _, other = await loop.create_connection(Client, "127.0.0.1", 4002)
    other.transport.write(GREETING)
    await asyncio.sleep(0.1)
    other.transport.write(START_API)
    await asyncio.sleep(0.1)
    other.transport.write(message)
    await asyncio.sleep(1)
    other.transport.write(TIME)
    await asyncio.sleep(1)
    answered = other.closed or TIME_TOLD in bytes(other.heard)
    world.drop_clients()
    one.transport.abort()
    other.transport.abort()
    reception.close()
    await asyncio.sleep(0.1)
    return answered, failed


def meet(stranger: bytes, message: bytes) -> tuple[bool, list[str]]:
    return run_virtual(lambda: _meet(stranger, message), START)


@pytest.fixture(scope="module")
def requests(quiet_day) -> list[bytes]:
    """What the daemon sent on the quiet day, after the start."""
    stream, found = quiet_day.received[len(GREETING) :], []
    while stream:
        end = 4 + int.from_bytes(stream[:4], "big")
        found.append(stream[:end])
        stream = stream[end:]
    return found[1:]


@settings(fuzzed, max_examples=max(60, EXAMPLES // 5))
@given(data=st.data())
def test_whatever_a_client_sends_the_gateway_serves_on_or_closes(
    requests, data
) -> None:
    parts = split(data.draw(st.sampled_from(requests)))
    at = data.draw(st.integers(0, len(parts) - 1))
    change = data.draw(st.sampled_from(["drop", "double", "junk", "cut"]))
    changed = {
        "drop": [*parts[:at], *parts[at + 1 :]],
        "double": [*parts[: at + 1], *parts[at:]],
        "junk": [*parts[:at], data.draw(st.sampled_from(JUNK)), *parts[at + 1 :]],
        "cut": parts[:at],
    }[change]
    stranger = data.draw(st.binary(max_size=40))
    answered, failed = meet(stranger, join(changed))
    assert failed == []
    assert answered
