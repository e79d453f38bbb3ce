"""The life of the session to the gateway, as a table."""

from __future__ import annotations

from enum import StrEnum

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
