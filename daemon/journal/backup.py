"""Copies of the journal that stand by themselves: checked, synced, whole or absent."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

from daemon.errors import JournalDamaged, JournalError
from daemon.journal.faults import is_damage
from daemon.journal.reserve import MARGIN_BYTES, RESERVE_BYTES

FOLDER = "backups"
"""Beside the journal."""
KEEP = 30
"""Backups that are kept, one a session."""


def back_up(journal: Path, session: date, keep: int = KEEP) -> Path:
    """Copy *journal* for *session* to `backups/`; return the copy.

    Of the backups the newest *keep* stay.

    Raises:
        JournalDamaged: the journal cannot be read through.
        JournalError: the copy cannot be written, or is not good.
    """
    folder = journal.parent / FOLDER
    target = folder / f"journal-{session}.sqlite"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        _require_room(journal)
        copy(journal, target)
        for old in sorted(folder.glob("journal-????-??-??.sqlite"))[:-keep]:
            old.unlink()
    except OSError as exc:
        raise JournalError(
            f"{target} cannot be written ({exc.strerror or exc}): make room there, or "
            f"correct the rights of its directory"
        ) from exc
    return target


def copy(journal: Path, target: Path) -> None:
    """Write what is committed in *journal* to *target*, whole or not at all.

    Raises:
        JournalDamaged: the journal cannot be read through.
        JournalError: the copy is not good.
        OSError: it cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _vacuum(journal, part)
        sync(part)
        part.replace(target)
        sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Put the file, or the names in the directory, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _require_room(journal: Path) -> None:
    """Raise where the copy would take what the journal itself needs."""
    wal = journal.with_name(f"{journal.name}-wal")
    size = journal.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    disk = os.statvfs(journal.parent)
    wanted = size + RESERVE_BYTES + MARGIN_BYTES
    if disk.f_bavail * disk.f_frsize < wanted:
        raise OSError(f"less than {wanted} bytes are free")


def _vacuum(journal: Path, part: Path) -> None:
    """Write the copy and read it through once."""
    # Not through the engine: VACUUM cannot run inside the transaction it begins.
    try:
        with closing(sqlite3.connect(journal)) as connection:
            connection.execute("VACUUM INTO ?", (str(part),))
        with closing(sqlite3.connect(part)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as exc:
        if is_damage(exc):
            raise JournalDamaged(f"{journal} is damaged ({exc})") from exc
        raise JournalError(f"{journal} cannot be copied ({exc})") from exc
    if found != "ok":
        raise JournalError(f"the copy of {journal} is not good ({found})")
