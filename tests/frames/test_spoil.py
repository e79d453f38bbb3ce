"""A gateway whose bytes are spoilt or end: named, connected anew, the same state."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

STEP = int(os.environ.get("IBKRD_FRAMES_STEP", "3"))
"""Every STEP-th place is spoilt, each in one way; 1 spoils each place in every way."""


def _inject(garbage: bytes) -> Callable[[Any], None]:
    def deed(relay: Any) -> None:
        relay.daemon.write(garbage)

    return deed


def _end(relay: Any) -> None:
    relay.silent = True
    relay.daemon.close()


def _reset(relay: Any) -> None:
    relay.silent = True
    relay.daemon.abort()


def _hush(relay: Any) -> None:
    relay.silent = True


DEEDS: dict[str, Callable[[Any], None]] = {
    "a foreign protocol": _inject(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "the end": _end,
    "ones": _inject(b"\xff" * 9),
    "a reset": _reset,
    "an empty message": _inject(b"\0\0\0\0"),
    "silence": _hush,
    "text": _inject(b"junk\0"),
    "a cut message": _inject(b"\0\0\0\x2011\x00-1\x005\0"),
}
NAMES = (
    "cannot be read",
    "closed the connection",
    "the connection broke",
    "without an answer",
    "no answer to",
    "request timed out",
    "did not finish the handshake",
)


def places(frames: Sequence[bytes]) -> list[int]:
    """Return each frame's first byte, and one byte within it that moves about."""
    found, at = [], 0
    for number, frame in enumerate(frames):
        within = 1 + (number * 7) % (len(frame) - 1)
        found += [at, at + within]
        at += len(frame)
    return found


def test_what_is_spoilt_ends_by_name_and_in_the_same_state(
    play_small, spoil, quiet_day, gateway_frames
) -> None:
    everywhere = places(gateway_frames)
    assert len(everywhere) > 60
    for number, place in enumerate(everywhere[:: max(1, STEP)]):
        ways = list(DEEDS) if STEP == 1 else [list(DEEDS)[number % len(DEEDS)]]
        for way in ways:
            _spoil_one(play_small, spoil(place, DEEDS[way]), quiet_day, way)


def _spoil_one(play_small: Any, spoilt: Any, quiet_day: Any, way: str) -> None:
    where = f"{way} at byte {spoilt.at} of {len(quiet_day.sent)}"
    day = play_small(relayed=True, spoil=spoilt)
    assert day.failures, where
    assert any(name in day.failures[0] for name in NAMES), (where, day.failures)
    assert day.connects >= 1, where
    assert day.state == quiet_day.state, where
    assert day.placed == quiet_day.placed, where
    invented = day.evidence - quiet_day.evidence
    assert not [one for one in invented if one.startswith(("Fill", "Commission"))], (
        where
    )
    assert not [one for one in invented if _about_no_order(one)], (where, invented)


def _about_no_order(evidence: str) -> bool:
    return evidence.startswith(("OrderUpdate", "WorkingOrder")) and not any(
        f"order_id={known}," in evidence for known in (5, 6, 7, 8)
    )
