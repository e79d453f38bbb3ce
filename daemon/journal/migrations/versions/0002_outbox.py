"""Messages wait until a channel accepts them, and have a key."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Text,
    text,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the key and the ends of waits; what was told before waits no more."""
    op.add_column("messages", Column("key", Text, nullable=False, server_default=""))
    keyed = text("\"key\" != ''")
    op.create_index(
        "uq_messages_key",
        "messages",
        ["key"],
        unique=True,
        sqlite_where=keyed,
        postgresql_where=keyed,
    )
    op.create_table(
        "deliveries",
        Column("number", Integer, nullable=False),
        Column("at", Text, nullable=False),
        Column("ending", Text, nullable=False),
        Column("reason", Text, nullable=False),
        PrimaryKeyConstraint("number"),
        CheckConstraint("ending IN ('delivered', 'abandoned')", name="ending"),
        ForeignKeyConstraint(["number"], ["messages.number"]),
        sqlite_strict=True,
    )
    _deliver_what_was_accepted()
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER deliveries_no_{verb.lower()} BEFORE {verb} ON deliveries "
            "BEGIN SELECT RAISE(ABORT, 'deliveries is append-only'); END"
        )


def downgrade() -> None:
    """Refuse: an older ibkrd starts from the backup that the upgrade made."""
    raise NotImplementedError("restore the backup beside the journal")


def _deliver_what_was_accepted() -> None:
    """Count the log's acceptance only where no other channel ever accepted one."""
    op.execute(
        "INSERT INTO deliveries (number, at, ending, reason) "
        "SELECT number, min(at), 'delivered', '' FROM acceptances "
        "WHERE channel <> 'log' OR NOT EXISTS "
        "(SELECT 1 FROM acceptances WHERE channel <> 'log') GROUP BY number"
    )
