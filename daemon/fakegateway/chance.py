"""Chance without state: the same question has the same answer in any order."""

from __future__ import annotations

from hashlib import blake2b

_UNIT = 1 << 64


def draw(seed: int, *question: object) -> float:
    """Return a number in [0, 1) that depends on *seed* and *question* alone."""
    text = ":".join(map(str, (seed, *question)))
    digest = blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _UNIT
