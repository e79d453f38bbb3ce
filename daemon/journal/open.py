"""Open the journal: create it, bring an older one up to date, refuse a strange one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from daemon.errors import JournalDamaged, JournalError
from daemon.journal.backup import copy, sync
from daemon.journal.engine import open_engine
from daemon.journal.faults import is_damage, is_out_of_room, said
from daemon.journal.reserve import Reserve
from daemon.journal.schema import HEAD, create_all
from daemon.journal.store import RESERVE, SqlJournal

_MIGRATION_TIMEOUT_S = 120.0
"""A year of days is some ten megabytes, rewritten in about a second."""


def open_journal(
    path: Path,
    *,
    now: datetime,
    report: Callable[[JournalError], None] = lambda _: None,
) -> SqlJournal:
    """Return the journal at *path*, of the newest schema; *now* names a backup.

    *report* is told when the disk is full and when the file proves to be damaged.

    Raises:
        JournalDamaged: the file is not what was written.
        JournalError: the file is strange, or of a newer version, or cannot be used, or
            its directory is open to other users.
    """
    _make_private(path.parent)
    try:
        engine = _newest(path, now)
    except JournalError as exc:
        # The afternoon's restart on a full disk: the close needs the journal.
        full = is_out_of_room(exc.__cause__)
        if not (full and Reserve(path.with_name(RESERVE)).release()):
            raise
        engine = _newest(path, now)
    journal = SqlJournal(engine, path, report)
    journal.make_room()
    return journal


def _newest(path: Path, now: datetime) -> Engine:
    """Return the engine of the file, created or migrated where it needs to be."""
    try:
        if not _is_there(path):
            _create(path)
        engine = open_engine(path)
        version = _checked_version(engine, path)
        if version < HEAD:
            _back_up(path, now)
            _migrate(path)
    except OSError as exc:
        raise _unusable(path, exc) from exc
    except (SQLAlchemyError, sqlite3.Error) as exc:
        if is_damage(exc):
            raise JournalDamaged(f"{path} is damaged ({said(exc)})") from exc
        raise JournalError(
            f"{path} cannot be used ({said(exc)}): make room on the disk, or end the "
            f"program that has it open"
        ) from exc
    return engine


def _make_private(folder: Path) -> None:
    """Create the directory, 0700, where it is not yet.

    Raises:
        JournalError: other users may enter the directory, or it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode & 0o777
    except OSError as exc:
        raise _unusable(folder / "journal.sqlite", exc) from exc
    if mode & 0o077:
        raise JournalError(
            f"{folder} is open to other users ({mode:04o}): chmod 700 '{folder}'"
        )


def _is_there(path: Path) -> bool:
    """Return whether there is a journal; close it to other users.

    A journal appears whole (see `_create`): what is empty was lost.

    Raises:
        JournalDamaged: something lies there that cannot be one.
    """
    if path.is_dir():
        raise JournalDamaged(f"{path} is damaged (it is a directory)")
    if not path.exists():
        if path.with_name(f"{path.name}-wal").exists():
            raise JournalDamaged(f"{path} is damaged (only its -wal is there)")
        return False
    if path.stat().st_size == 0:
        raise JournalDamaged(f"{path} is damaged (it is empty)")
    path.chmod(0o600)
    return True


def _create(path: Path) -> None:
    """Make the journal under another name first: under its own it is never half."""
    new = path.with_name(f"{path.name}.new")
    for suffix in ("", "-wal", "-shm"):
        new.with_name(f"{new.name}{suffix}").unlink(missing_ok=True)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with open_engine(new).begin() as connection:
        create_all(connection)
    sync(new)
    new.rename(path)
    sync(path.parent)


def _unusable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"{path} cannot be opened ({error.strerror}): correct the rights of its "
        f"directory or choose another state directory"
    )


def _checked_version(engine: Engine, path: Path) -> str:
    """Return the schema version, empty before the first.

    Raises:
        JournalDamaged: the file is damaged.
        JournalError: it is no journal, or of a newer version.
    """
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        if found != ["ok"]:
            raise JournalDamaged(f"{path} is damaged ({found[0]})")
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master")
        names = tables.scalars().all()
        if not names:
            raise JournalDamaged(f"{path} is damaged (it holds no table)")
        if "alembic_version" not in names:
            raise JournalError(
                f"{path} is a database, but not a journal: move it away or choose "
                f"another state directory"
            )
        versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        version = str(versions.scalar() or "")
    if version > HEAD:
        raise JournalError(
            f"{path} has schema {version}, this ibkrd knows {HEAD}: install the ibkrd "
            f"that wrote it, or a newer one"
        )
    return version


def _back_up(path: Path, now: datetime) -> None:
    """Copy the journal beside itself before its schema is changed."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy(path, path.with_name(f"{path.name}.{stamp}.before-{HEAD}"))


def _migrate(path: Path) -> None:
    """Run the migrations in a child process: Alembic costs 35 MB.

    Raises:
        JournalError: a migration failed; the file is as it was.
    """
    command = [sys.executable, "-P", "-m", "daemon.journal.migrate", str(path)]
    try:
        subprocess.run(  # noqa: S603 - our own interpreter and module
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=_MIGRATION_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as exc:
        cause = (exc.stderr.strip() or "no message").splitlines()[-1]
        raise JournalError(
            f"{path} could not be migrated to schema {HEAD} ({cause}); it is "
            f"unchanged: install the ibkrd that wrote it and report the fault"
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise JournalError(
            f"{path} was not migrated within {_MIGRATION_TIMEOUT_S:.0f} s: see "
            f"whether another program has it open"
        ) from exc
