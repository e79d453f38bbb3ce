from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from daemon.clock import SystemClock
from daemon.core.model import Message
from daemon.watch import watch_link

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")


class Link:
    """A broker's link that the test takes down and brings back."""

    def __init__(self) -> None:
        self._ready, self._lost = asyncio.Event(), asyncio.Event()
        self.trouble = ""
        self.lose("not connected yet")

    def lose(self, trouble: str) -> None:
        self.trouble = trouble
        self._ready.clear()
        self._lost.set()

    def restore(self) -> None:
        self.trouble = ""
        self._lost.clear()
        self._ready.set()

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def wait_lost(self) -> None:
        await self._lost.wait()


@dataclass
class Told:
    messages: list[tuple[float, str, str, str]] = field(default_factory=list)
    takes_s: float = 0.0

    async def tell(self, message: Message) -> bool:
        await asyncio.sleep(self.takes_s)
        at = round(asyncio.get_running_loop().time(), 1)
        self.messages.append((at, message.severity, message.subject, message.body))
        return True

    @property
    def subjects(self) -> list[tuple[float, str]]:
        return [(at, subject) for at, _, subject, _ in self.messages]


ALERT, ALL_CLEAR = "No session to the gateway", "Session to the gateway restored"


@asynccontextmanager
async def watching(link: Link, told: Told) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(watch_link(link, SystemClock(), told))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_outage_is_told_once_after_half_a_minute_and_so_is_its_end() -> None:
    link, told = Link(), Told()
    link.restore()
    async with watching(link, told):
        await asyncio.sleep(100)
        link.lose("client id 10 is in use")
        await asyncio.sleep(600)
        link.restore()
        await asyncio.sleep(600)
    assert told.messages == [
        (130.0, "alarm", ALERT, "since 15:01:40 UTC: client id 10 is in use"),
        (700.0, "info", ALL_CLEAR, "15:11:40 UTC, lost since 15:01:40 UTC"),
    ]


async def test_a_short_outage_is_not_told() -> None:
    link, told = Link(), Told()
    link.restore()
    async with watching(link, told):
        for _ in range(5):
            link.lose("dropped")
            await asyncio.sleep(29)
            link.restore()
            await asyncio.sleep(60)
    assert told.messages == []


async def test_a_start_without_a_gateway_is_told() -> None:
    link, told = Link(), Told()
    async with watching(link, told):
        await asyncio.sleep(1)
        link.trouble = "nothing listens on 127.0.0.1:4002"
        await asyncio.sleep(60)
    assert told.messages == [
        (30.0, "alarm", ALERT, "since 15:00:00 UTC: nothing listens on 127.0.0.1:4002")
    ]


async def test_an_ordinary_start_is_not_told() -> None:
    link, told = Link(), Told()
    async with watching(link, told):
        await asyncio.sleep(1)
        link.restore()
        await asyncio.sleep(600)
    assert told.messages == []


async def test_every_long_outage_has_its_own_alert_and_all_clear() -> None:
    link, told = Link(), Told()
    async with watching(link, told):
        link.restore()
        for _ in range(3):
            await asyncio.sleep(100)
            link.lose("dropped")
            await asyncio.sleep(100)
            link.restore()
        await asyncio.sleep(1)
    assert told.subjects == [
        (130.0, ALERT),
        (200.0, ALL_CLEAR),
        (330.0, ALERT),
        (400.0, ALL_CLEAR),
        (530.0, ALERT),
        (600.0, ALL_CLEAR),
    ]


async def test_an_end_while_the_alert_is_on_its_way_is_told_behind_it() -> None:
    link, told = Link(), Told(takes_s=20)
    link.restore()
    async with watching(link, told):
        link.lose("dropped")
        await asyncio.sleep(35)
        link.restore()
        await asyncio.sleep(60)
    assert [subject for _, subject in told.subjects] == [ALERT, ALL_CLEAR]
