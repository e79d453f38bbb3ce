"""Finding the day's plan: wait until it is there, whole and standing still."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from daemon.core.plan_files import choose_plan
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


async def wait_for_plan(ctx: JobContext) -> PlanFile | str:
    """Return the session's plan, or why there is none at the deadline.

    A half-written file is waited for; at the deadline it is read as it stands,
    and its incomplete last line is then a problem of the plan.
    """
    last: _Seen | None = None
    while True:
        seen, refusal = _look(ctx)
        late = ctx.clock.now() >= ctx.deadline - REPORTING
        if seen is not None and (seen == last or late):
            data = (ctx.paths.plans / seen.name).read_bytes()
            if late or data.endswith(b"\n"):
                return PlanFile(seen.name, data)
        elif late:
            return refusal
        if last is None and seen is None:
            log.info("plan.awaited", directory=str(ctx.paths.plans), cause=refusal)
        last = seen
        await asyncio.sleep(STILL_S)


def _look(ctx: JobContext) -> tuple[_Seen | None, str]:
    directory = ctx.paths.plans
    try:
        names = [path.name for path in directory.iterdir() if path.is_file()]
    except OSError as exc:
        return None, f"the plan directory {directory} cannot be read: {exc.strerror}"
    previous = ctx.calendar.previous(ctx.session.date)
    choice = choose_plan(names, ctx.session, previous.close, ctx.deadline)
    if not choice.name:
        return None, f"{choice.refusal} (in {directory})"
    return _stat(directory / choice.name), ""


def _stat(path: Path) -> _Seen | None:
    try:
        stat = path.stat()
    except FileNotFoundError:  # renamed between listing and looking
        return None
    return _Seen(path.name, stat.st_size, stat.st_mtime_ns)
