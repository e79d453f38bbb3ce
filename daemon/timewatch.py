"""Tells of a wrong clock: every job hangs on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from daemon.core.model import Message, Severity
from daemon.ports import Broker, Notifier

log = structlog.get_logger(__name__)

EVERY_S = 60.0
TOLERANCE = timedelta(seconds=5)
"""The gateway tells whole seconds, and a loaded host answers late."""


async def watch_clock(broker: Broker, notifier: Notifier) -> None:
    """Tell once that the host's clock differs from the gateway's, and of its end."""
    wrong = False
    while True:
        await asyncio.sleep(EVERY_S)
        offset = broker.clock_offset
        if offset is None or (abs(offset) > TOLERANCE) is wrong:
            continue
        wrong = not wrong
        log.warning("clock.differs", seconds=offset.total_seconds(), wrong=wrong)
        await notifier.tell(_differs(offset) if wrong else _RIGHT)


_RIGHT = Message(
    Severity.INFO,
    "The host's clock is right again",
    "It agrees with the gateway's.",
)


def _differs(offset: timedelta) -> Message:
    seconds = round(abs(offset).total_seconds())
    behind = offset > timedelta(0)
    where = "behind" if behind else "ahead of"
    when = "late" if behind else "early"
    return Message(
        Severity.ALARM,
        f"The host's clock is {seconds} s {where} the gateway's",
        f"Every job comes that much too {when}, the close included. Set the clock "
        "(NTP) now; until then watch the cutoff and close by hand in TWS if it nears.",
    )
