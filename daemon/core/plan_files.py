"""Plan files: which of the names in the directory is the plan of this session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from daemon.core.model import Session

_NAME = re.compile(r"execution_plan_run_([0-9]{8})_([0-9]{6})_[0-9A-Za-z]{6}\.csv")


@dataclass(frozen=True, slots=True)
class Choice:
    """The plan file to read, or why there is none: exactly one is not empty."""

    name: str
    refusal: str


def parse_stamp(name: str) -> datetime | None:
    """Return the instant in a plan's file name, None for any other name.

    >>> parse_stamp("execution_plan_run_20260219_131502_9f3a1c.csv").isoformat()
    '2026-02-19T13:15:02+00:00'
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        stamp = datetime.strptime(f"{match[1]}{match[2]}+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        return None
    return stamp.astimezone(UTC)


def choose_plan(
    names: Iterable[str],
    session: Session,
    previous_close: datetime,
    deadline: datetime,
) -> Choice:
    """Return the newest plan whose stamp lies in (*previous_close*, *deadline*)."""
    candidates = sorted(names)
    stamped = [(stamp, name) for name in candidates if (stamp := parse_stamp(name))]
    fitting = [pair for pair in stamped if previous_close < pair[0] < deadline]
    if fitting:
        return Choice(max(fitting)[1], "")
    missing = f"no plan for the session {session.date}"
    if not stamped:
        return Choice("", f"{missing}: {_no_names(candidates)}")
    stamp, name = max(stamped)
    why = (
        f"after the submit deadline {_utc(deadline)}"
        if stamp >= deadline
        else f"not after the previous session's close {_utc(previous_close)}"
    )
    return Choice("", f"{missing}: the newest, {name}, is of {_utc(stamp)}, {why}")


def _no_names(names: Sequence[str]) -> str:
    pattern = "execution_plan_run_YYYYMMDD_HHMMSS_xxxxxx.csv (UTC)"
    near = [name for name in names if name.startswith("execution_plan")]
    if not near:
        return f"there is no file named {pattern}"
    return f"{near[-1]} is not named {pattern}"


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
