"""The first schema."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table; frozen: later changes are revisions of their own."""
    _create_intent_tables()
    _create_broker_tables()
    _create_result_tables()
    for table in (
        "claims",
        "intents",
        "order_states",
        "events",
        "executions",
        "messages",
        "acceptances",
    ):
        _forbid_changes(table)


def downgrade() -> None:
    """Refuse: an older ibkrd starts from the backup that the upgrade made."""
    raise NotImplementedError("restore the backup beside the journal")


def _create_intent_tables() -> None:
    """Create what we meant to do."""
    _create(
        "runs",
        _text("run_id"),
        _text("job"),
        _text("session"),
        _text("due"),
        _text("started_at"),
        _text("ended_at", nullable=True),
        _text("outcome", nullable=True),
        _text("summary", nullable=True),
        _text("detail", nullable=True),
        PrimaryKeyConstraint("run_id"),
        CheckConstraint(
            "outcome IN ('done', 'skipped', 'refused', 'failed')", name="outcome"
        ),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended"),
    )
    op.create_index("ix_runs_session", "runs", ["session", "job"])
    _create(
        "claims",
        _text("kind"),
        _text("claim_key"),
        _text("run_id"),
        _text("at"),
        PrimaryKeyConstraint("kind", "claim_key"),
        ForeignKeyConstraint(["run_id"], ["runs.run_id"]),
    )
    _create(
        "intents",
        _text("order_ref"),
        _integer("order_id"),
        _text("session"),
        _text("run_id"),
        _text("account"),
        _integer("con_id"),
        _text("symbol"),
        _text("side"),
        _integer("quantity"),
        _text("order_type"),
        _text("limit_price", nullable=True),
        _text("stop_price", nullable=True),
        _text("tif"),
        _text("good_till", nullable=True),
        _text("good_after", nullable=True),
        _text("oca_group"),
        _integer("oca_type"),
        _text("parent_ref", nullable=True),
        _integer("transmit"),
        _text("expires_at", nullable=True),
        _text("created_at"),
        _text("contract"),
        PrimaryKeyConstraint("order_ref"),
        CheckConstraint("length(order_ref) BETWEEN 1 AND 40", name="order_ref"),
        CheckConstraint("order_id > 0", name="order_id"),
        CheckConstraint("length(account) > 0", name="account"),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("transmit IN (0, 1)", name="transmit"),
        CheckConstraint("side IN ('BUY', 'SELL')", name="side"),
        UniqueConstraint("order_id"),
        ForeignKeyConstraint(["run_id"], ["runs.run_id"]),
    )
    op.create_index("ix_intents_session", "intents", ["session"])


def _create_broker_tables() -> None:
    """Create what the broker said."""
    _create(
        "order_states",
        _number("id"),
        _text("order_ref"),
        _text("at"),
        _text("state"),
        _integer("perm_id"),
        _text("filled"),
        _text("remaining", nullable=True),
        Column("code", Integer),
        _text("text"),
        CheckConstraint(
            "state IN ('intended', 'sent', 'acknowledged', 'working', 'filled', "
            "'cancelled', 'rejected', 'expired', 'unknown')",
            name="state",
        ),
        ForeignKeyConstraint(["order_ref"], ["intents.order_ref"]),
        autoincrement=True,
    )
    op.create_index("ix_order_states_order_ref", "order_states", ["order_ref"])
    _create(
        "events",
        _number("id"),
        _text("at"),
        _text("kind"),
        _text("order_ref", nullable=True),
        _text("payload"),
        autoincrement=True,
    )
    _create(
        "executions",
        _text("exec_id"),
        _text("exec_key"),
        _text("order_ref"),
        _integer("order_id"),
        _integer("perm_id"),
        _integer("client_id"),
        _text("account"),
        _integer("con_id"),
        _text("symbol"),
        _text("side"),
        _text("quantity"),
        _text("price"),
        _text("time"),
        _text("exchange"),
        _text("recorded_at"),
        PrimaryKeyConstraint("exec_id"),
        CheckConstraint("side IN ('BUY', 'SELL')", name="side"),
    )
    op.create_index("ix_executions_exec_key", "executions", ["exec_key"])
    op.create_index("ix_executions_time", "executions", ["time"])
    _create(
        "commissions",
        _text("exec_id"),
        _text("amount", nullable=True),
        _text("currency"),
        _text("realized_pnl", nullable=True),
        _text("recorded_at"),
        PrimaryKeyConstraint("exec_id"),
    )


def _create_result_tables() -> None:
    """Create what became of it, and what was told."""
    _create(
        "plan_rows",
        _text("session"),
        _integer("line"),
        _text("symbol"),
        _text("status"),
        _text("reason"),
        _text("at"),
        PrimaryKeyConstraint("session", "line"),
        CheckConstraint(
            "status IN ('submitted', 'skipped', 'refused', 'unknown')", name="status"
        ),
    )
    _create(
        "stored",
        _text("key"),
        _text("value"),
        _text("at"),
        PrimaryKeyConstraint("key"),
    )
    _create(
        "messages",
        _number("number"),
        _text("at"),
        _text("severity"),
        _text("subject"),
        _text("body"),
        CheckConstraint("severity IN ('info', 'warning', 'alarm')", name="severity"),
        autoincrement=True,
    )
    _create(
        "acceptances",
        _integer("number"),
        _text("channel"),
        _text("at"),
        PrimaryKeyConstraint("number", "channel"),
        ForeignKeyConstraint(["number"], ["messages.number"]),
    )


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    """Return a text column."""
    return Column(name, Text, nullable=nullable)


def _integer(name: str) -> Column[int]:
    """Return an integer column."""
    return Column(name, Integer, nullable=False)


def _number(name: str) -> Column[int]:
    """Return a key that the database counts up, never twice the same."""
    return Column(name, Integer, primary_key=True)


def _create(name: str, *items: SchemaItem, autoincrement: bool = False) -> None:
    """Create a table whose column types SQLite enforces."""
    op.create_table(
        name, *items, sqlite_strict=True, sqlite_autoincrement=autoincrement
    )


def _forbid_changes(table: str) -> None:
    """Let the database refuse to change or delete a row of *table*."""
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
