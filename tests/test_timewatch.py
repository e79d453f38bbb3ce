from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from daemon.core.model import Message
from daemon.timewatch import watch_clock

pytestmark = pytest.mark.virtual


@dataclass
class Gateway:
    """A broker of which only the clock matters: how far ours is behind its own."""

    clock_offset: timedelta | None = None


@dataclass
class Pager:
    """A notifier that remembers when it was told what."""

    told: list[tuple[float, str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    async def tell(self, message: Message) -> bool:
        at = round(asyncio.get_running_loop().time(), 1)
        self.told.append((at, message.severity.value, message.subject))
        self.bodies.append(message.body)
        return True

    @property
    def subjects(self) -> list[str]:
        return [subject for _, _, subject in self.told]


@pytest.fixture
async def watched() -> AsyncIterator[tuple[Gateway, Pager]]:
    gateway, pager = Gateway(), Pager()
    broker: Any = gateway
    notifier: Any = pager
    task = asyncio.get_running_loop().create_task(watch_clock(broker, notifier))
    yield gateway, pager
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


RIGHT = "The host's clock is right again"


async def test_a_wrong_clock_is_told_once(watched) -> None:
    gateway, pager = watched
    began = asyncio.get_running_loop().time()
    gateway.clock_offset = timedelta(seconds=3600)
    await asyncio.sleep(86_400)
    ((at, severity, subject),) = pager.told
    assert at - began == pytest.approx(60, abs=0.1)
    assert severity == "alarm"
    assert subject == "The host's clock is 3600 s behind the gateway's"


async def test_the_all_clear_is_told_once(watched) -> None:
    gateway, pager = watched
    gateway.clock_offset = timedelta(seconds=-90)
    await asyncio.sleep(61)
    gateway.clock_offset = timedelta(0)
    await asyncio.sleep(3600)
    assert [(severity, subject) for _, severity, subject in pager.told] == [
        ("alarm", "The host's clock is 90 s ahead of the gateway's"),
        ("info", RIGHT),
    ]


async def test_a_clock_that_goes_wrong_again_is_told_again(watched) -> None:
    gateway, pager = watched
    for seconds in (60, 0, 61):
        gateway.clock_offset = timedelta(seconds=seconds)
        await asyncio.sleep(60)
    assert pager.subjects == [
        "The host's clock is 60 s behind the gateway's",
        RIGHT,
        "The host's clock is 61 s behind the gateway's",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"), [(4.9, 0), (5.0, 0), (5.1, 1), (-5.0, 0), (-5.1, 1)]
)
async def test_five_seconds_are_tolerated_on_either_side(
    watched, seconds, told
) -> None:
    gateway, pager = watched
    gateway.clock_offset = timedelta(seconds=seconds)
    await asyncio.sleep(600)
    assert len(pager.told) == told


async def test_before_the_first_probe_nothing_is_told(watched) -> None:
    gateway, pager = watched
    await asyncio.sleep(600)
    gateway.clock_offset = timedelta(0)
    await asyncio.sleep(600)
    assert pager.told == []


async def test_an_offset_that_is_not_known_any_more_is_no_all_clear(watched) -> None:
    gateway, pager = watched
    gateway.clock_offset = timedelta(seconds=60)
    await asyncio.sleep(61)
    gateway.clock_offset = None
    await asyncio.sleep(600)
    assert len(pager.told) == 1


@pytest.mark.parametrize(("seconds", "words"), [(30, "too late"), (-30, "too early")])
async def test_a_person_reads_what_it_does_to_the_jobs_and_what_to_do(
    watched, seconds, words
) -> None:
    gateway, pager = watched
    gateway.clock_offset = timedelta(seconds=seconds)
    await asyncio.sleep(61)
    assert words in pager.bodies[0]
    assert "Set the clock (NTP) now" in pager.bodies[0]
