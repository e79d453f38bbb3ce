"""`make kill-points`: every point of the canonical day, or one of them again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from daemon.errors import InvariantViolated
from daemon.simulation.killing import harness
from daemon.simulation.killing.day import Dooms, play
from daemon.simulation.killing.life import KINDS
from daemon.simulation.killing.real import CASES, Sample, play_real
from daemon.simulation.killing.table import Round, replay
from daemon.simulation.killing.trace import traced
from daemon.simulation.killing.verdict import judge


def main() -> int:
    """Play what the arguments ask for; return 1 where a promise is broken."""
    wish = _arguments()
    if wish.point:
        return _once(wish)
    rounds = [one for how in wish.how if how != "real" for one in _rounds(wish, how)]
    broken = any(one.failures or one.missing for one in rounds)
    if wish.json:
        wish.json.write_text(json.dumps([one.as_json() for one in rounds], indent=1))
    if "real" in wish.how:
        broken |= _real(wish.at_once)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kill-points",
        description="Kills the daemon at every step of a day, starts it again, and "
        "judges the day by the gateway's ledger and the journal.",
    )
    add = parser.add_argument
    hows = ("kill", "term", "real")
    add(
        "--how",
        type=_some_of(hows),
        default=hows,
        help="deaths, SIGTERM, real processes; several with commas",
    )
    add("--restarts", type=int, choices=(1, 2), default=2, help="deaths in one day")
    add("--pause", type=float, default=3.0, help="seconds between end and start")
    add("--all", action="store_true", help="every point, not one of each class")
    add("--share", type=_positive, default=1, help="every n-th class only")
    add(
        "--kinds",
        type=_some_of(KINDS),
        default=KINDS,
        help=f"only classes with points of: {','.join(KINDS)}",
    )
    add("--workers", type=int, default=os.cpu_count() or 1)
    add("--at-once", type=int, default=12, help="real processes, which mostly wait")
    add("--seed", type=int, default=1, help="decides between FIN and RST")
    add("--json", type=Path, help="write the results to this file as well")
    add("--point", action="append", default=[], help="play this death only; twice: two")
    add("--trace", action="store_true", help="with --point: tell what happened")
    return parser.parse_args()


def _some_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads some of *known*, separated by commas."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"{wrong[0]!r} is none of: {', '.join(known)}"
            )
        return names

    return read


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def _once(wish: argparse.Namespace) -> int:
    """Play one day again and tell of it."""
    how = "term" if wish.how == ("term",) else "kill"
    dooms = Dooms(tuple(wish.point), how, wish.pause, wish.seed)
    with harness.scratch() as folder:
        lived = play(dooms, Path(folder) / "day")
        verdict = judge(lived, how)
        if wish.trace:
            _say("\n".join(traced(lived)))
    _say(json.dumps(verdict.as_json(), indent=1))
    missed = [
        name
        for name, came in zip(dooms.points, lived.record.struck, strict=False)
        if not came
    ]
    for name in missed:
        _say(f"{name} was not reached: the names count the calls of each life")
    return 1 if verdict.problems or missed else 0


def _rounds(wish: argparse.Namespace, how: str) -> list[Round]:
    base = Dooms(how=how, pause_s=wish.pause, seed=wish.seed)
    found = harness.count(how)
    courses = harness.first_deaths(found, base, every=wish.all)
    wanted = frozenset(wish.kinds)
    courses = [course for course in courses if course.kinds & wanted]
    courses = harness.shared(courses, wish.share)
    once = Round(f"{how}, restarted once", found, (), wanted)
    rounds = [_played(once, courses, wish.workers)]
    if wish.restarts == 2:
        again = harness.second_deaths(rounds[0].results)
        twice = Round(f"{how}, restarted twice", found, (), wanted)
        rounds.append(_played(twice, again, wish.workers))
    return rounds


def _played(empty: Round, courses: list[harness.Course], workers: int) -> Round:
    """Return the round with its days played; tell how far it is."""

    def progress(number: int, result: harness.Result) -> None:
        if result.problems:
            sys.stderr.write(f"\rFAILED {replay(result.course.dooms)}\n")
        if number % 10 == 0 or number == len(courses):
            sys.stderr.write(f"\r{empty.name}: {number} of {len(courses)} days")
            sys.stderr.flush()

    done = replace(empty, results=harness.run(courses, workers, progress))
    sys.stderr.write("\n")
    _say(done.text() + "\n")
    return done


def _real(at_once: int) -> bool:
    """Kill real processes; return whether a promise is broken."""
    cases = sorted(CASES, key=lambda case: case.point)
    sample = Sample(tuple(play_real(cases, at_once)))
    _say(sample.text())
    return sample.broken


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InvariantViolated as exc:
        sys.exit(str(exc))
