"""One canonical day for each point: counted, chosen, played in parallel, judged."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from random import Random

from daemon.errors import InvariantViolated
from daemon.simulation.killing.day import Dooms, Lived, Passed, play
from daemon.simulation.killing.verdict import Verdict, judge

EARLY = 4.0
"""How much a second death comes early: with 1 it comes anywhere alike."""


@dataclass(frozen=True, slots=True)
class Class:
    """Points between which nothing leaves the process: a death at each is the same.

    Nothing but time, and a probe, which leaves no trace. For `term` it is one turn of
    the loop: a signal is heard between two turns.
    """

    points: tuple[Passed, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """Return the kinds of its points."""
        return frozenset(passed.point.kind for passed in self.points)

    @property
    def chosen(self) -> tuple[Passed, ...]:
        """Return what stands for the class: its first point.

        The world goes on while nothing leaves the process: after a second of it the
        last point is another case.
        """
        first, last = self.points[0], self.points[-1]
        return (first, last) if last.at_s - first.at_s > 1 else (first,)


@dataclass(frozen=True, slots=True)
class Course:
    """One day to play: which deaths, and the kinds of points for which it stands."""

    dooms: Dooms
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Result:
    """One day that was played and judged."""

    course: Course
    verdict: Verdict
    struck: tuple[bool, ...]
    again: tuple[str, ...]
    """The points of the life after the first death, one of each class."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Return why the day fails; the first death must come."""
        missed = () if self.struck[:1] != (False,) else ("the point was not reached",)
        return (*missed, *self.verdict.problems)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a directory in memory where there is one: syncing proves nothing here.

    The death of a process loses nothing that it wrote; the death of a host does.
    """
    memory = Path("/dev/shm")  # noqa: S108 # Linux; a fresh directory of our own in it
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    return tempfile.TemporaryDirectory(dir=memory if usable else None)


def count(how: str) -> list[Class]:
    """Play the day without a death; return its points in classes, in their order.

    Raises:
        InvariantViolated: the daemon ends by itself: its day has no points to die at.
    """
    with scratch() as folder:
        lived = play(Dooms(how=how), Path(folder) / "day")
    if lived.record.failures:
        cause = "; ".join(lived.record.failures)
        raise InvariantViolated(f"the day fails without a death: {cause}")
    return classes(lived.record.lives[0])


def classes(passed: Iterable[Passed]) -> list[Class]:
    """Return *passed* in classes."""
    return [Class(tuple(same)) for _, same in groupby(passed, lambda one: one.mark)]


def first_deaths(found: Sequence[Class], base: Dooms, *, every: bool) -> list[Course]:
    """Return a day for each class, or for *every* point."""
    return [
        Course(
            _with(base, one.point.name),
            frozenset({one.point.kind}) if every else each.kinds,
        )
        for each in found
        for one in (each.points if every else each.chosen)
    ]


def second_deaths(results: Iterable[Result]) -> list[Course]:
    """Return the same days with another death in the life after the first.

    Drawn from its points, the same each time, more of them early: there it repairs.
    """
    return [
        Course(_with(result.course.dooms, _drawn(result)), result.course.kinds)
        for result in results
        if result.again
    ]


def _drawn(result: Result) -> str:
    chance = Random(f"again/{result.course.dooms.points[0]}").random()
    return result.again[int(len(result.again) * chance**EARLY)]


def _with(dooms: Dooms, name: str) -> Dooms:
    return replace(dooms, points=(*dooms.points, name))


def shared(courses: Sequence[Course], share: int) -> list[Course]:
    """Return every *share*-th of *courses*, and at least one of each of their kinds."""
    kept = set(range(share // 2, len(courses), share))
    for kind in sorted({kind for course in courses for kind in course.kinds}):
        own = [n for n, course in enumerate(courses) if kind in course.kinds]
        if kept.isdisjoint(own):
            kept.add(own[len(own) // 2])
    return [courses[n] for n in sorted(kept)]


def run(
    courses: Sequence[Course], workers: int, progress: Callable[[int, Result], None]
) -> list[Result]:
    """Play and judge *courses*, in *workers* processes where there is more than one."""
    results = []
    for number, result in enumerate(_results(courses, workers), 1):
        results.append(result)
        progress(number, result)
    return results


def _results(courses: Sequence[Course], workers: int) -> Iterator[Result]:
    if workers < 2:
        yield from map(run_one, courses)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(run_one, courses, chunksize=2)


def run_one(course: Course) -> Result:
    """Play one day in a directory of its own and judge it."""
    with scratch() as folder:
        lived = play(course.dooms, Path(folder) / "day")
        return Result(
            course,
            judge(lived, course.dooms.how),
            tuple(lived.record.struck),
            _again(lived),
        )


def _again(lived: Lived) -> tuple[str, ...]:
    if len(lived.record.lives) != 2:
        return ()
    return tuple(each.points[0].point.name for each in classes(lived.record.lives[1]))
