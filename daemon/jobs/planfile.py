"""Finding the day's plan: wait until it is there, whole and standing still."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from daemon.core.plan_files import Choice, choose_plan
from daemon.ports import JobContext

log = structlog.get_logger(__name__)

STILL_S = 2.0
"""A file is read when its size and time have stood still this long."""
REPORTING = timedelta(seconds=30)
"""Left of the job's deadline to say that there was no plan."""


@dataclass(frozen=True, slots=True)
class PlanFile:
    """One plan as it was read."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Return the digest of the content."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class _Seen:
    name: str
    size: int
    modified_ns: int


async def wait_for_plan(
    ctx: JobContext, refused: Collection[str] = ()
) -> PlanFile | str:
    """Return the session's plan, or why there is none at the deadline.

    A half-written file is waited for; at the deadline it is read as it stands, and
    its incomplete last line is then a problem of the plan. A content in *refused*
    (digests) is as good as none: a corrected one may still come.
    """
    last: _Seen | None = None
    awaited = ""
    while True:
        seen, refusal = _look(ctx)
        late = ctx.clock.now() >= ctx.deadline - REPORTING
        if seen is not None and (seen == last or late):
            found = _read(ctx.paths.plans / seen.name)
            whole = found is not None and (late or found.data.endswith(b"\n"))
            if found is not None and whole and found.sha256 not in refused:
                return found
            refusal = f"{seen.name} is not usable, and no other plan came"
        if late:
            return refusal
        if seen is None and refusal != awaited:
            log.info("plan.awaited", directory=str(ctx.paths.plans), cause=refusal)
            awaited = refusal
        last = seen
        await asyncio.sleep(STILL_S)


def newest_plan(ctx: JobContext) -> Choice:
    """Return the newest plan that fits the session, or why there is none."""
    directory = ctx.paths.plans
    try:
        names = [path.name for path in directory.iterdir() if path.is_file()]
    except OSError as exc:
        cause = f"the plan directory {directory} cannot be read: {exc.strerror}"
        return Choice("", cause)
    previous = ctx.calendar.previous(ctx.session.date)
    choice = choose_plan(names, ctx.session, previous.close, ctx.deadline)
    return choice if choice.name else Choice("", f"{choice.refusal} (in {directory})")


def _look(ctx: JobContext) -> tuple[_Seen | None, str]:
    choice = newest_plan(ctx)
    seen = _stat(ctx.paths.plans / choice.name) if choice.name else None
    return seen, choice.refusal or f"{choice.name} has gone again"


def _read(path: Path) -> PlanFile | None:
    """Return the file, None where it cannot be read now: it may be, later."""
    try:
        return PlanFile(path.name, path.read_bytes())
    except OSError as exc:
        log.warning("plan.unreadable", plan=path.name, cause=exc.strerror)
        return None


def _stat(path: Path) -> _Seen | None:
    try:
        stat = path.stat()
    except FileNotFoundError:  # renamed between listing and looking
        return None
    return _Seen(path.name, stat.st_size, stat.st_mtime_ns)
