"""A restart of the gateway's process: what is gone, and how it comes back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from daemon.fakegateway.api import WorldClock
from daemon.fakegateway.door import Door, Doorway
from daemon.fakegateway.roster import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartTerms:
    """How a gateway restarts, in seconds one after the other.

    It is down, then a relay before it accepts and ends, then it accepts and is mute,
    then it serves; client ids that were connected linger (326) after that.
    """

    down_s: float = 30.0
    empty_s: float = 0.0
    deaf_s: float = 0.0
    linger_s: float = 0.0
    forget_untransmitted: bool = True
    forget_completed: bool = True
    next_id: int | None = None
    """Where the order ids of every client begin anew; None: they go on."""


def begin(terms: RestartTerms, clock: WorldClock, door: Door, roster: Roster) -> None:
    """End every connection and let the door open again by and by."""
    away_s = terms.down_s + terms.empty_s + terms.deaf_s
    for client_id in roster.client_ids:
        if terms.linger_s:
            roster.hold(client_id, away_s + terms.linger_s)
    roster.drop_all()
    door.turn(Doorway.SHUT)
    at_s = terms.down_s
    for doorway, lasts_s in (
        (Doorway.EMPTY, terms.empty_s),
        (Doorway.DEAF, terms.deaf_s),
    ):
        if lasts_s:
            clock.call_later(at_s, partial(door.turn, doorway))
        at_s += lasts_s
    clock.call_later(at_s, partial(door.turn, Doorway.OPEN))
