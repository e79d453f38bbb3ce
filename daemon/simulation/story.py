"""What happens to each row of a plan on a simulated day: a fate as a price path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from random import Random

from daemon.core.plan import PlanRow
from daemon.fakegateway.prices import Waypoint


class Fate(StrEnum):
    """How the day of one symbol goes."""

    FIRST_TARGET = "first_target"
    """A takes its profit, B stays until the close."""
    BOTH_TARGETS = "both_targets"
    STOPPED = "stopped"
    DRIFTING = "drifting"
    """Filled, and everything stays until the close."""
    NEVER_FILLED = "never_filled"


FATES_OF_2026_02_19: Mapping[str, Fate] = {
    "BLCO": Fate.FIRST_TARGET,
    "LH": Fate.FIRST_TARGET,
    "MRNA": Fate.FIRST_TARGET,
    "NOV": Fate.FIRST_TARGET,
    "WEC": Fate.STOPPED,
    "KMI": Fate.BOTH_TARGETS,
    "AKAM": Fate.NEVER_FILLED,
    "EOG": Fate.DRIFTING,
}
"""The day of the first incident: 181, 15, 55 and 196 shares stay until the close."""

_OPEN, _FILLED = 0.0, 0.035
"""Fractions of the session: the bell, and after the entries of open+5m."""


def draw_fates(rows: Sequence[PlanRow], seed: int) -> dict[str, Fate]:
    """Return a fate for every row, the same for the same *seed*."""
    chance = Random(f"fates/{seed}")
    fates = list(Fate)
    return {row.symbol: chance.choice(fates) for row in rows}


def waypoints(row: PlanRow, fate: Fate) -> tuple[Waypoint, ...]:
    """Return the prices through which *row*'s symbol goes under *fate*."""
    entry, stop = row.limit_price, row.stop_loss
    first, second = row.take_profit_1, row.take_profit_2
    before = Waypoint(_OPEN, _near(entry, "1.003"))
    filled = Waypoint(_FILLED, _near(entry, "0.997"))
    between = (entry + first) / 2
    rest: list[tuple[float, Decimal]]
    match fate:
        case Fate.FIRST_TARGET:
            rest = [(0.35, _near(first, "1.003")), (0.6, between), (1.0, between)]
        case Fate.BOTH_TARGETS:
            rest = [(0.30, _near(first, "1.003")), (0.6, _near(second, "1.004"))]
        case Fate.STOPPED:
            rest = [(0.40, _near(stop, "0.996")), (1.0, _near(stop, "0.992"))]
        case Fate.DRIFTING:
            rest = [(0.50, _near(entry, "1.004")), (1.0, _near(entry, "1.003"))]
        case Fate.NEVER_FILLED:
            before = Waypoint(_OPEN, _near(entry, "1.010"))
            filled = Waypoint(_FILLED, _near(entry, "1.012"))
            rest = [(1.0, _near(entry, "1.025"))]
    return (before, filled, *(Waypoint(at, price) for at, price in rest))


def _near(price: Decimal, factor: str) -> Decimal:
    return (price * Decimal(factor)).quantize(Decimal("0.01"))
