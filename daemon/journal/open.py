"""Open the journal: create it, bring an older one up to date, refuse a strange one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from daemon.errors import JournalError
from daemon.journal.engine import open_engine
from daemon.journal.schema import HEAD, create_all
from daemon.journal.store import SqlJournal

_MIGRATION_TIMEOUT_S = 120.0
"""A year of days is some ten megabytes, rewritten in about a second."""


def open_journal(path: Path, *, now: datetime) -> SqlJournal:
    """Return the journal at *path*, of the newest schema; *now* names a backup.

    Raises:
        JournalError: the file is damaged, strange, or of a newer version, or its
            directory is open to other users.
    """
    _make_private(path)
    engine = open_engine(path)
    try:
        version = _checked_version(engine, path)
        if version is None:
            with engine.begin() as connection:
                create_all(connection)
        elif version < HEAD:
            _back_up(path, now)
            _migrate(path)
    except (OperationalError, sqlite3.OperationalError) as exc:
        raise JournalError(
            f"{path} cannot be used ({_said(exc)}): make room on the disk, or end the "
            f"program that has it open"
        ) from exc
    except (SQLAlchemyError, sqlite3.Error) as exc:
        raise JournalError(_damaged(path, _said(exc))) from exc
    return SqlJournal(engine, path)


def _make_private(path: Path) -> None:
    """Create the directory 0700 and the file 0600 where they are not yet.

    Raises:
        JournalError: other users may enter the directory, or it cannot be written.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode & 0o777
        if mode & 0o077:
            raise JournalError(
                f"{folder} is open to other users ({mode:04o}): chmod 700 '{folder}'"
            )
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
    except OSError as exc:
        raise JournalError(
            f"{path} cannot be opened ({exc.strerror}): correct the rights of its "
            f"directory or choose another state directory"
        ) from exc


def _checked_version(engine: Engine, path: Path) -> str | None:
    """Return the schema version, empty before the first, None in an empty file.

    Raises:
        JournalError: the file is damaged, no journal, or of a newer version.
    """
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
        if found != ["ok"]:
            raise JournalError(_damaged(path, str(found[0])))
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master")
        names = tables.scalars().all()
        if not names:
            return None
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
    backup = path.with_name(f"{path.name}.{stamp}.before-{HEAD}")
    os.close(os.open(backup, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
    # Not through the engine: VACUUM cannot run inside the transaction it begins.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))


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


def _damaged(path: Path, cause: str) -> str:
    """Return what to do about a file that cannot be read as a database."""
    return (
        f"{path} is damaged ({cause}): keep a copy, then restore a backup, or move it "
        f"away with its -wal and -shm, and check the account's orders and positions "
        f"by hand before the next start"
    )


def _said(error: Exception) -> str:
    """Return the database's own words, without SQLAlchemy's additions."""
    return str(error.orig if isinstance(error, DBAPIError) else error)
