"""Tells of outages: one alert for each, after a while, and one all-clear."""

from __future__ import annotations

import asyncio

import structlog

from daemon.core.model import Message, Severity
from daemon.ports import Broker, Clock, Notifier

log = structlog.get_logger(__name__)

PATIENCE_S = 30.0
"""An outage shorter than this is not worth a message (design section 4)."""


async def watch_link(broker: Broker, clock: Clock, notifier: Notifier) -> None:
    """Tell of every outage that outlasts `PATIENCE_S`, and of its end."""
    while True:
        await broker.wait_lost()
        since = clock.now()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await broker.wait_ready()
        except TimeoutError:
            await _tell_through(broker, clock, notifier, f"{since:%H:%M:%S} UTC")
            log.info("outage.ended", seconds=(clock.now() - since).total_seconds())


async def _tell_through(
    broker: Broker, clock: Clock, notifier: Notifier, since: str
) -> None:
    await notifier.tell(
        Message(
            Severity.ALARM,
            "No session to the gateway",
            f"since {since}: {broker.trouble}",
        )
    )
    await broker.wait_ready()
    await notifier.tell(
        Message(
            Severity.INFO,
            "Session to the gateway restored",
            f"{clock.now():%H:%M:%S} UTC, lost since {since}",
        )
    )
