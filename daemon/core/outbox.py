"""The outbox without its channels: what waits to be told, how long, how often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from daemon.core.model import Message

FIRST_PAUSE_S = 5.0
"""After the first failed try: most failures of a channel are blips."""

LAST_PAUSE_S = 300.0
"""The slow pace; a channel that is back is noticed within it."""

LATE = timedelta(seconds=60)
"""A message that waited longer says since when: its reader may act on old news."""

GIVE_UP = timedelta(days=7)
"""Nobody acts on an older message; it stands in the journal."""


class Ending(StrEnum):
    """How the wait of a message ended."""

    DELIVERED = "delivered"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message's number in the journal; not *new* where its key was known."""

    number: int
    new: bool = True


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that no channel that counts has accepted yet."""

    number: int | None
    """None where the journal could not be written."""
    message: Message
    since: datetime


def pause_s(failures: int) -> float:
    """Return the wait after *failures* failed tries in a row, in seconds.

    >>> [pause_s(failures) for failures in (1, 2, 3, 6, 7, 999)]
    [5.0, 10.0, 20.0, 160.0, 300.0, 300.0]
    """
    return min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(failures, 1) - 1, 16))


def worded(waiting: Waiting, now: datetime, zone: tzinfo) -> Message:
    """Return the message as it is told at *now*: a late one says so first."""
    if now - waiting.since < LATE:
        return waiting.message
    since = f"{waiting.since.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
    note = f"LATE: of {since}; no channel accepted it before."
    body = f"{note}\n{waiting.message.body}".rstrip()
    return replace(waiting.message, body=body)


def too_old(waiting: Waiting, now: datetime) -> bool:
    """Return whether nobody would act on the message any more."""
    return now - waiting.since > GIVE_UP
