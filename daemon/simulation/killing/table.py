"""The result for a person and for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daemon.simulation.killing.day import Dooms
from daemon.simulation.killing.harness import Class, Result
from daemon.simulation.killing.life import KINDS

COLUMNS = (
    "kind",
    "points",
    "classes",
    "runs",
    "duplicates",
    "naked entries",
    "lost legs",
    "not sent",
    "unknowns",
    "accepted twice",
    "failed",
)
SHOWN = 12
"""Failures that are listed; JSON holds them all."""


@dataclass(frozen=True, slots=True)
class Round:
    """All days of one kind of death."""

    name: str
    found: Sequence[Class]
    results: Sequence[Result]
    wanted: frozenset[str] = frozenset(KINDS)
    """The kinds of which a day must be played."""

    @property
    def failures(self) -> list[Result]:
        """Return the days that fail."""
        return [result for result in self.results if result.problems]

    @property
    def missing(self) -> list[str]:
        """Return the wanted kinds of which no day was played with all its deaths."""
        played = {
            kind for r in self.results if all(r.struck) for kind in r.course.kinds
        }
        return [kind for kind in KINDS if kind in self.wanted - played]

    @property
    def spared(self) -> int:
        """Return of how many days a death did not come."""
        return sum(not all(result.struck) for result in self.results)

    def row(self, kind: str | None) -> dict[str, Any]:
        """Return the sums over the days that stand for points of *kind*, or of all."""
        results = [r for r in self.results if kind is None or kind in r.course.kinds]
        verdicts = [result.verdict for result in results]
        points = [
            one.point
            for each in self.found
            for one in each.points
            if kind in {None, one.point.kind}
        ]
        figures = (
            kind or "all",
            len(points),
            sum(kind is None or kind in each.kinds for each in self.found),
            len(results),
            sum(len(v.duplicates) for v in verdicts),
            sum(len(v.naked) for v in verdicts),
            sum(len(v.lost) for v in verdicts),
            sum(len(v.unsent) for v in verdicts),
            sum(len(v.unknown) for v in verdicts),
            sum(len(v.doubled) for v in verdicts),
            sum(bool(result.problems) for result in results),
        )
        return dict(zip(COLUMNS, figures, strict=True))

    @property
    def resolutions(self) -> dict[str, int]:
        """Return how the unknown orders became known, and how often."""
        counts = Counter(
            how for result in self.results for how in result.verdict.unknown.values()
        )
        return dict(counts.most_common())

    @property
    def repeats(self) -> dict[str, int]:
        """Return the subjects of what was accepted twice, and on how many days."""
        counts = Counter(one for r in self.results for one in r.verdict.doubled)
        return dict(counts.most_common())

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "round": self.name,
            "kinds": [self.row(kind) for kind in KINDS],
            "all": self.row(None),
            "missing": self.missing,
            "resolutions": self.resolutions,
            "repeats": self.repeats,
            "spared": self.spared,
            "failures": [
                {"replay": replay(r.course.dooms), **r.verdict.as_json()}
                | {"problems": list(r.problems)}
                for r in self.failures
            ],
        }

    def text(self) -> str:
        """Return the table, how unknown orders were resolved, and what failed."""
        rows = [self.row(kind) for kind in (*KINDS, None)]
        cells = [list(COLUMNS), *([str(v) for v in row.values()] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
        lines = [
            "  ".join(
                cell.rjust(width) if index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        how = ", ".join(f"{n} by {how}" for how, n in self.resolutions.items())
        repeats = [f"accepted twice: {n} x {text}" for text, n in self.repeats.items()]
        return "\n".join(
            [
                self.name,
                *lines,
                f"unknown orders resolved: {how or 'none'}",
                *repeats[:SHOWN],
                *self._bad(),
            ]
        )

    def _bad(self) -> list[str]:
        lines = [f"no day of kind {kind}: it is not tested" for kind in self.missing]
        if self.spared:
            lines.append(f"on {self.spared} days a death did not come")
        kinds = Counter(_shape(r) for r in self.failures)
        lines += [f"{n} x {shape}" for shape, n in kinds.most_common(SHOWN)]
        for result in self.failures[:SHOWN]:
            lines.append(f"FAILED {replay(result.course.dooms)}")
            lines += [f"       {problem}" for problem in result.problems[:6]]
        if len(self.failures) > SHOWN:
            lines.append(f"and {len(self.failures) - SHOWN} more: see --json FILE")
        return lines


def _shape(result: Result) -> str:
    """Return what kind of failure a day is, so that equal ones can be counted."""
    kinds = {problem.partition(":")[0][:60] for problem in result.problems}
    return " + ".join(sorted(kinds))


def replay(dooms: Dooms) -> str:
    """Return the command that plays the day again."""
    points = " ".join(f"--point {name}" for name in dooms.points)
    options = (
        f"--how {dooms.how} --pause {dooms.pause_s:g} --seed {dooms.seed} {points}"
        " --trace"
    )
    return f"make kill-points ARGS='{options}'"
