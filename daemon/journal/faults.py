"""What the database says went wrong, sorted by what has to be done about it."""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

_NO_ROOM = frozenset(
    {
        "SQLITE_FULL",
        "SQLITE_IOERR_WRITE",  # a quota, among others: only ENOSPC becomes FULL
        "SQLITE_IOERR_FSYNC",  # file systems that allocate at the sync
        "SQLITE_IOERR_SHMSIZE",  # the index of the WAL could not grow
    }
)
_DAMAGED = (
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_IOERR_READ",  # bad sectors
    "SQLITE_IOERR_SHORT_READ",
)


def is_out_of_room(error: BaseException | None) -> bool:
    """Return whether a write failed for want of room on the disk."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return _name(error) in _NO_ROOM


def is_damage(error: BaseException) -> bool:
    """Return whether the file's content cannot be what was written."""
    return _name(error).startswith(_DAMAGED)


def said(error: BaseException) -> str:
    """Return the database's own words, without SQLAlchemy's additions."""
    return str(error.orig if isinstance(error, DBAPIError) else error)


def constraint_of(error: DBAPIError) -> str | None:
    """Return SQLite's name of the constraint that refused a row, if one did."""
    if isinstance(error.orig, sqlite3.IntegrityError):
        return error.orig.sqlite_errorname
    return None


def _name(error: BaseException | None) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlite_errorname", ""))
