"""Bring a journal to the newest schema: `python -m daemon.journal.migrate PATH`."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError


def migrations(path: Path) -> Config:
    """Return Alembic's configuration for the journal at *path*."""
    config = Config()
    config.set_main_option("script_location", "daemon.journal:migrations")
    config.attributes["path"] = path
    return config


def migrate(path: Path) -> None:
    """Run every migration that *path* has not seen, all in one transaction."""
    command.upgrade(migrations(path), "head")


if __name__ == "__main__":
    try:
        migrate(Path(sys.argv[1]))
    except DBAPIError as exc:
        sys.exit(str(exc.orig))
