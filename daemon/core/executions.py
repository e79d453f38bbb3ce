"""Executions, each once: repeats dropped, the highest revision kept."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from daemon.core.model import ExecId, Fill


def revision(exec_id: ExecId) -> tuple[int, str]:
    """Return the order of a revision: the part of the id after the last dot."""
    part = exec_id.rpartition(".")[2]
    return (int(part) if part.isdecimal() else 0, part)


def exec_key(exec_id: ExecId) -> str:
    """Return the exec id without its revision, as `Fill.key` does."""
    return exec_id.rpartition(".")[0] or exec_id


def latest(fills: Iterable[Fill]) -> tuple[Fill, ...]:
    """Return each execution once, at its highest revision, by time, then id.

    A correction to zero shares takes the execution back: it is left out.
    """
    best: dict[str, Fill] = {}
    for fill in fills:
        known = best.get(fill.key)
        if known is None or revision(fill.exec_id) > revision(known.exec_id):
            best[fill.key] = fill
    kept = (fill for fill in best.values() if fill.quantity)
    return tuple(sorted(kept, key=lambda fill: (fill.time, fill.exec_id)))


def net(fills: Iterable[Fill]) -> Decimal:
    """Return the signed sum of shares, each execution once."""
    signed = (fill.side.sign * fill.quantity for fill in latest(fills))
    return sum(signed, Decimal(0))


def shares(fills: Iterable[Fill]) -> Decimal:
    """Return the unsigned sum of shares, each execution once."""
    return sum((fill.quantity for fill in latest(fills)), Decimal(0))
