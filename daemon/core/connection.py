"""The life of the session to the gateway, as a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from daemon.core.model import Notice
from daemon.errors import InvariantViolated


class Link(StrEnum):
    """Where the session stands; only `ready` may send an order."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    SYNCING = "syncing"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPED = "stopped"


class LinkInput(StrEnum):
    """What happens to the session."""

    ATTEMPT = "attempt"
    ACCEPTED = "accepted"
    SYNCED = "synced"
    BROKER_LOST = "broker_lost"
    """1100, or a probe without an answer: the socket stands, the broker is away."""
    BROKER_BACK = "broker_back"
    """1101 or 1102, or the probe answers again: everything is read anew."""
    LOST = "lost"
    STOP = "stop"


_TABLE: dict[tuple[Link, LinkInput], Link] = (
    {
        (Link.DISCONNECTED, LinkInput.ATTEMPT): Link.CONNECTING,
        (Link.CONNECTING, LinkInput.ACCEPTED): Link.SYNCING,
        (Link.SYNCING, LinkInput.SYNCED): Link.READY,
        (Link.SYNCING, LinkInput.BROKER_BACK): Link.SYNCING,
        (Link.SYNCING, LinkInput.BROKER_LOST): Link.DEGRADED,
        (Link.READY, LinkInput.BROKER_LOST): Link.DEGRADED,
        (Link.READY, LinkInput.BROKER_BACK): Link.SYNCING,
        (Link.DEGRADED, LinkInput.BROKER_LOST): Link.DEGRADED,
        (Link.DEGRADED, LinkInput.BROKER_BACK): Link.SYNCING,
    }
    | {(link, LinkInput.STOP): Link.STOPPED for link in Link}
    | {
        (link, LinkInput.LOST): Link.DISCONNECTED
        for link in Link
        if link is not Link.STOPPED
    }
    | {(Link.STOPPED, LinkInput.LOST): Link.STOPPED}
)


def advance(link: Link, happened: LinkInput) -> Link:
    """Return the state after *happened*.

    Raises:
        InvariantViolated: the pair has no meaning; nothing changed.
    """
    try:
        return _TABLE[link, happened]
    except KeyError:
        raise InvariantViolated(f"{happened} while {link}") from None


class LinkNotice(Enum):
    """What a notice of the gateway says of the session."""

    NOTHING = auto()
    """Also the farms that break and come back (2103, 2105, 2157): only data."""
    ID_IN_USE = auto()
    READ_ONLY = auto()
    PORT_CHANGED = auto()
    BROKER_LOST = auto()
    DATA_LOST = auto()
    """Restored, but what was subscribed is gone (1101)."""
    DATA_KEPT = auto()
    FARM_CONNECTED = auto()
    """A farm of the broker's answers: at the start of a session, that it stands."""
    TOO_FAST = auto()
    OTHER_LOGIN = auto()
    """The same user is logged in elsewhere (10197)."""


_LINK_NOTICES = {
    100: LinkNotice.TOO_FAST,
    326: LinkNotice.ID_IN_USE,
    1100: LinkNotice.BROKER_LOST,
    1101: LinkNotice.DATA_LOST,
    1102: LinkNotice.DATA_KEPT,
    1300: LinkNotice.PORT_CHANGED,
    2104: LinkNotice.FARM_CONNECTED,
    2106: LinkNotice.FARM_CONNECTED,
    2110: LinkNotice.BROKER_LOST,
    2158: LinkNotice.FARM_CONNECTED,
    10197: LinkNotice.OTHER_LOGIN,
}
_READ_ONLY = 321
_PORT = re.compile(r"(?<!\d)(\d{2,5})\D*$")


def link_notice(notice: Notice) -> LinkNotice:
    """Return what *notice* says of the session; of 321 only the text does."""
    if notice.code == _READ_ONLY and "read-only" in notice.text.lower():
        return LinkNotice.READ_ONLY
    return _LINK_NOTICES.get(notice.code, LinkNotice.NOTHING)


def new_port(notice: Notice) -> str:
    """Return the port that the text of 1300 names, empty where it names none."""
    found = _PORT.search(notice.text)
    return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Outage:
    """The broker is away behind a gateway that stands; times in loop seconds.

    1101 and 1102 end it. They may never come (the gateway was restarted, or the
    restoration was told to nobody), so now and then we connect anew to look. On such
    a connection silence proves nothing: it must say that a farm of the broker's is
    connected, and not say within `QUIET_S` that the broker is away.
    """

    cause: str
    looked_at: float
    """When the connection began on which we listen."""
    inherited: bool = False
    """Whether it began on an earlier connection, and this one said nothing yet."""
    farm_connected: bool = False

    def is_over(self, now: float) -> bool:
        """Return whether this connection proves that the broker is back."""
        quiet = now - self.looked_at >= QUIET_S
        return self.inherited and self.farm_connected and quiet

    def look_is_due(self, now: float) -> bool:
        """Return whether to connect anew."""
        return now - self.looked_at >= LOOK_EVERY_S

    def wait_s(self, now: float) -> float:
        """Return after how many seconds the next of the two may hold."""
        pause = QUIET_S if self.inherited and self.farm_connected else LOOK_EVERY_S
        return max(0.0, self.looked_at + pause - now)


QUIET_S = 10.0
"""Gateways repeat 1100 every 4 to 6 s while it lasts (logs of 2021 and 2025)."""
LOOK_EVERY_S = 300.0
"""Seconds after which a lost broker is looked for on a new connection."""
