"""Run the migrations on the journal that `daemon.journal.migrate` names."""

from __future__ import annotations

from alembic import context

from daemon.journal.engine import open_engine
from daemon.journal.schema import metadata


def run() -> None:
    """Run them in one transaction: a failure leaves the file as it was.

    Foreign keys are off, because SQLite alters a table by replacing it, and checked
    before the commit instead.

    Raises:
        ValueError: a row points at nothing.
    """
    engine = open_engine(context.config.attributes["path"], foreign_keys=False)
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=metadata, transactional_ddl=True
        )
        with context.begin_transaction():
            context.run_migrations()
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise ValueError(f"{len(broken)} rows point at nothing: {broken[0]}")


if __name__ == "env_py":  # the name under which Alembic loads this file
    run()
