"""One SQLite file as an engine whose every commit is on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

PRAGMAS = (
    "busy_timeout=5000",  # ms; before all others: the switch to WAL takes a lock
    "journal_mode=WAL",
    "synchronous=FULL",  # NORMAL may lose the last commits when the power fails
    "fullfsync=ON",  # macOS: a plain fsync stops in the drive's cache
    "checkpoint_fullfsync=ON",
    "wal_autocheckpoint=256",  # pages, 1 MiB: on a full disk the log must not grow
    "trusted_schema=OFF",
)
"""Set on every connection, because distributions change SQLite's defaults."""


def open_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """Return the engine of *path*; a migration switches *foreign_keys* off."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    pragmas = (*PRAGMAS, f"foreign_keys={'ON' if foreign_keys else 'OFF'}")

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN comes late, and never before a DDL statement.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Take the write lock at once: a later upgrade could meet SQLITE_BUSY."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
