"""`make kill-points`: every point of the canonical day, or one of them again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from daemon.simulation.killing import harness
from daemon.simulation.killing.day import Dooms, play
from daemon.simulation.killing.life import KINDS
from daemon.simulation.killing.real import CASES, play_real
from daemon.simulation.killing.table import Round, replay
from daemon.simulation.killing.trace import traced
from daemon.simulation.killing.verdict import judge


def main() -> int:
    """Play what the arguments ask for; return 1 where a promise is broken."""
    wish = _arguments()
    if wish.point:
        return _once(wish)
    hows = wish.how.split(",")
    rounds = [one for how in hows if how != "real" for one in _rounds(wish, how)]
    broken = any(one.failures or one.missing for one in rounds)
    if wish.json:
        wish.json.write_text(json.dumps([one.as_json() for one in rounds], indent=1))
    if "real" in hows:
        broken |= _real(wish.at_once)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kill-points",
        description="Kills the daemon at every step of a day, starts it again, and "
        "judges the day by the gateway's ledger and the journal.",
    )
    add = parser.add_argument
    add("--how", default="kill,term,real", help="deaths, SIGTERM, real processes")
    add("--restarts", type=int, choices=(1, 2), default=2, help="deaths in one day")
    add("--pause", type=float, default=3.0, help="seconds between end and start")
    add("--all", action="store_true", help="every point, not one of each class")
    add("--share", type=int, default=1, help="every n-th class only")
    add("--kinds", default="", help=f"only classes with points of: {','.join(KINDS)}")
    add("--workers", type=int, default=os.cpu_count() or 1)
    add("--at-once", type=int, default=12, help="real processes, which mostly wait")
    add("--seed", type=int, default=1, help="decides between FIN and RST")
    add("--json", type=Path, help="write the results to this file as well")
    add("--point", action="append", default=[], help="play this death only; twice: two")
    add("--trace", action="store_true", help="with --point: tell what happened")
    return parser.parse_args()


def _once(wish: argparse.Namespace) -> int:
    """Play one day again and tell of it."""
    how = "term" if wish.how == "term" else "kill"
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
    if wanted := frozenset(filter(None, wish.kinds.split(","))):
        courses = [course for course in courses if course.kinds & wanted]
    courses = harness.shared(courses, wish.share)
    rounds = [_round(f"{how}, restarted once", found, courses, wish.workers)]
    if wish.restarts == 2:
        again = harness.second_deaths(rounds[0].results)
        rounds.append(_round(f"{how}, restarted twice", found, again, wish.workers))
    return rounds


def _round(
    name: str,
    found: list[harness.Class],
    courses: list[harness.Course],
    workers: int,
) -> Round:
    def progress(number: int, result: harness.Result) -> None:
        if result.problems:
            sys.stderr.write(f"\rFAILED {replay(result.course.dooms)}\n")
        if number % 10 == 0 or number == len(courses):
            sys.stderr.write(f"\r{name}: {number} of {len(courses)} days")
            sys.stderr.flush()

    results = harness.run(courses, workers, progress)
    sys.stderr.write("\n")
    done = Round(name, found, results)
    _say(done.text() + "\n")
    return done


def _real(at_once: int) -> bool:
    """Kill real processes; return whether a promise is broken."""
    cases = sorted(CASES, key=lambda case: case.point)
    broken = 0
    for case, problems in play_real(cases, at_once):
        when = "close" if case.close_soon else "submit"
        for problem in problems:
            _say(f"FAILED SIGKILL at {case.point} ({when}): {problem}")
        broken += bool(problems)
    _say(f"real processes, SIGKILL: {len(cases)} points, {broken} failed")
    return broken > 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
