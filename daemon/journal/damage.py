"""A damaged journal is set aside, never deleted; entries wait for the next session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import structlog

from daemon.errors import JournalDamaged, JournalError
from daemon.journal.backup import FOLDER, sync
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal

log = structlog.get_logger(__name__)

STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"\.(\d{8}T\d{6}Z)(?:\.\d+)?\.damaged$")
LATELY = timedelta(hours=24)
"""A journal that is created this soon after one was set aside takes its place."""


def open_or_replace(
    path: Path,
    *,
    now: datetime,
    session: date,
    report: Callable[[JournalError], None] = lambda _: None,
) -> SqlJournal:
    """Return the journal at *path*; in place of a damaged one a new one.

    The new one bars the entries of *session*: what was sent is not known any more.

    Raises:
        JournalError: as `open_journal`, but for damage.
    """
    aside = None if path.exists() else _lately_aside(path, now)
    cause = "the journal was damaged"
    try:
        journal = open_journal(path, now=now, report=report)
    except JournalDamaged as exc:
        cause = str(exc)
        aside = set_aside(path, now, cause)
        journal = open_journal(path, now=now, report=report)
    if aside is not None:
        journal.bar(session, _reason(cause, aside, session), now)
    return journal


@contextmanager
def set_aside_when_damaged(path: Path, now: Callable[[], datetime]) -> Iterator[None]:
    """Set the journal aside when the block ends because it is damaged."""
    try:
        yield
    except JournalDamaged as exc:
        set_aside(path, now(), str(exc))
        raise


def set_aside(path: Path, now: datetime, cause: str) -> Path:
    """Move the journal with its -wal and -shm away; return where it lies now.

    The file itself goes first: a -wal that is left alone is damage, too.

    Raises:
        JournalError: it cannot be moved.
    """
    try:
        aside = _free_name(path, now)
        for suffix in ("", "-wal", "-shm"):
            source = path.with_name(f"{path.name}{suffix}")
            if source.exists():
                target = source.rename(aside.with_name(f"{aside.name}{suffix}"))
                target.chmod(0o700 if target.is_dir() else 0o600)
        sync(path.parent)
    except OSError as exc:
        raise JournalError(
            f"{cause}, and {path} cannot be set aside ({exc.strerror}): move it away "
            f"with its -wal and -shm by hand"
        ) from exc
    log.error("journal.set_aside", file=str(aside), cause=cause)
    return aside


def _free_name(path: Path, now: datetime) -> Path:
    """Return a name of its own for what was found damaged at *now*."""
    stamp = now.astimezone(UTC).strftime(STAMP)
    name, number = f"{path.name}.{stamp}.damaged", 1
    while path.with_name(name).exists() or path.with_name(f"{name}-wal").exists():
        number += 1
        name = f"{path.name}.{stamp}.{number}.damaged"
    return path.with_name(name)


def _lately_aside(path: Path, now: datetime) -> Path | None:
    """Return the journal that was set aside last, if that was lately."""
    stamps = {
        aside: datetime.strptime(match[1], STAMP).replace(tzinfo=UTC)
        for aside in path.parent.glob(f"{path.name}.*.damaged")
        if (match := _NAME.search(aside.name))
    }
    lately = [aside for aside, at in stamps.items() if abs(now - at) < LATELY]
    return max(lately, key=lambda aside: stamps[aside], default=None)


def _reason(cause: str, aside: Path, session: date) -> str:
    """Return for a person what happened, what goes on, and what to do."""
    return (
        f"{cause}. It lies at {aside} and a new journal is begun: no entry of "
        f"{session} is sent, closing and report go on. Check the account's orders and "
        f"positions by hand. The cumulative result, and with it the loss limit, begins "
        f"anew unless a backup ({aside.parent / FOLDER}) is put in its place."
    )
