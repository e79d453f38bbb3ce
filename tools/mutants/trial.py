"""The trial of every mutant: who was caught, and who survived."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory

from tools.mutants.mutant import Mutant, MutantError
from tools.mutants.stage import Run, Stage

RED = frozenset({"FAILED", "ERROR"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant; an empty *complaint* means that it was caught."""

    mutant: Mutant
    complaint: str
    seconds: float

    @property
    def caught(self) -> bool:
        """Return whether every test that it names turned red."""
        return not self.complaint


class Court:
    """Some stages, each for one mutant at a time."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._free: Queue[Stage] = Queue()
        for stage in stages:
            self._free.put(stage)

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        """Wait for a free stage and keep it while the block runs."""
        stage = self._free.get()
        try:
            yield stage
        finally:
            self._free.put(stage)

    def red_without_fault(self, mutants: Sequence[Mutant]) -> dict[str, str]:
        """Return the named tests that do not pass on the clean copy, and why."""
        nodes = sorted({node for mutant in mutants for node in mutant.caught_by})
        with self.stage() as stage:
            run = stage.pytest(nodes, "-n", str(len(self._stages)))
        outcomes = run.outcomes()
        return {
            node: _why_not_green(run, outcomes.get(node, set()))
            for node in nodes
            if outcomes.get(node) != {"PASSED"}
        }

    def try_all(
        self, mutants: Sequence[Mutant], red: dict[str, str]
    ) -> Iterator[Verdict]:
        """Yield the verdict on each of *mutants*, in their order."""
        with ThreadPoolExecutor(len(self._stages)) as pool:
            yield from pool.map(lambda mutant: self._try(mutant, red), mutants)

    def _try(self, mutant: Mutant, red: dict[str, str]) -> Verdict:
        if bad := [node for node in mutant.caught_by if node in red]:
            return Verdict(mutant, f"without it: {bad[0]} {red[bad[0]]}", 0.0)
        with self.stage() as stage:
            began = time.monotonic()
            complaint = _complaint(mutant, stage)
            return Verdict(mutant, complaint, time.monotonic() - began)


def _why_not_green(run: Run, outcomes: set[str]) -> str:
    if outcomes:
        return "fails"
    last = run.output.strip().rpartition("\n")[2]
    return f"did not run ({last})"


def _complaint(mutant: Mutant, stage: Stage) -> str:
    """Return why the mutant is not caught; empty where it is."""
    try:
        with stage.broken(mutant):
            run = stage.pytest(mutant.caught_by, "-n", "0")
    except MutantError as exc:
        return str(exc)
    if run.status is None:
        return ""  # a test that hangs for minutes is red
    outcomes = run.outcomes()
    silent = [n for n in mutant.caught_by if not RED & outcomes.get(n, set())]
    if not silent:
        return ""
    if any(node not in outcomes for node in silent):
        last = run.output.strip().rpartition("\n")[2]
        return f"with it the tests do not run: {last}"
    return f"survives {', '.join(silent)}"


@contextmanager
def open_court(root: Path, jobs: int) -> Iterator[Court]:
    """Open *jobs* copies of the project at *root*; they are gone afterwards."""
    with TemporaryDirectory(prefix="mutants-") as place:
        stages = [Stage(root, Path(place).resolve() / str(n)) for n in range(jobs)]
        for stage in stages:
            stage.make()
        yield Court(stages)
