"""`make mutants`: apply the planted faults one at a time; fail if one survives."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.mutants.mutant import Mutant, MutantError, read_mutants
from tools.mutants.trial import Verdict, open_court

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the chosen mutants; return 0 if each was caught, 1 if not, 2 for misuse."""
    chosen = _parser().parse_args(arguments)
    try:
        mutants = _select(read_mutants(chosen.root), chosen.names)
    except MutantError as exc:
        sys.stderr.write(f"mutants: {exc}\n")
        return 2
    return try_mutants(chosen.root, mutants, chosen.jobs)


def try_mutants(root: Path, mutants: Sequence[Mutant], jobs: int) -> int:
    """Print a line for each of *mutants* and their sum; return the exit status."""
    began = time.monotonic()
    width = max((len(mutant.name) for mutant in mutants), default=0)
    survivors = 0
    with open_court(root, jobs) as court:
        for verdict in court.try_all(mutants, court.red_without_fault(mutants)):
            _say(_line(verdict, width))
            survivors += not verdict.caught
    took = time.monotonic() - began
    _say(
        f"{len(mutants)} mutants, {len(mutants) - survivors} caught, "
        f"{survivors} not, in {took:.0f} s"
    )
    return 1 if survivors or not mutants else 0


def _line(verdict: Verdict, width: int) -> str:
    mutant = verdict.mutant
    outcome = (
        f"caught in {verdict.seconds:4.1f} s"
        if verdict.caught
        else f"NOT CAUGHT: {verdict.complaint}"
    )
    first = mutant.caught_by[0].rpartition("::")[2]
    more = f" and {len(mutant.caught_by) - 1} more" if mutant.caught_by[1:] else ""
    return f"{mutant.name:{width}}  {mutant.law:8}  {outcome}  by {first}{more}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _select(mutants: Sequence[Mutant], names: Sequence[str]) -> list[Mutant]:
    known = {mutant.name: mutant for mutant in mutants}
    if unknown := sorted(set(names) - known.keys()):
        raise MutantError(
            f"no mutant is named {', '.join(unknown)}; there are: {', '.join(known)}"
        )
    return [known[name] for name in names] if names else list(mutants)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants", description=__doc__
    )
    parser.add_argument("names", nargs="*", help="those to try (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project")
    return parser


if __name__ == "__main__":
    sys.exit(main())
