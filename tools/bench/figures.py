"""Samples, their percentiles, and how a person reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured for one side: seconds, unless *unit* says otherwise."""

    values: tuple[float, ...]
    unit: str = "s"
    note: str = ""
    """Said in place of figures where there are none."""
    complete: bool = True
    """Whether all of it was done: the time of a part is not compared."""

    def at(self, share: float) -> float:
        """Return the nearest-rank percentile, *share* between 0 and 1."""
        return percentile(self.values, share)

    @property
    def text(self) -> str:
        """Return median, 95th percentile and count, or the note."""
        if not self.values:
            return self.note
        shown = figure(self.at(0.5), self.unit)
        if len(self.values) > 1:
            shown += f" (p95 {figure(self.at(0.95), self.unit)}, n {len(self.values)})"
        return f"{shown}{'; ' if self.note else ''}{self.note}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    key: str
    what: str
    ours: Samples
    plain: Samples
    target: str

    @property
    def ratio(self) -> str:
        """Return ibkrd's median divided by ib_async's, empty where there is none."""
        measured = self.ours.values and self.plain.values and self.plain.at(0.5)
        if not (measured and self.ours.complete and self.plain.complete):
            return ""
        ratio = self.ours.at(0.5) / self.plain.at(0.5)
        return f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of *values* that is not below that share of them.

    >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.95)
    (2, 4)
    """
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def figure(value: float, unit: str) -> str:
    """Return *value* with three significant figures; short times in milliseconds.

    >>> figure(0.0123, "s"), figure(1.2345, "s"), figure(48, "orders")
    ('12 ms', '1.23 s', '48 orders')
    """
    if unit == "s" and abs(value) < 0.1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.3g} {unit}"
