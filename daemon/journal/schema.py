"""The journal's tables: the one schema, and the names that others read.

Decimals, instants (ISO 8601, UTC), dates and JSON are TEXT, so that the file can
be read with nothing but `sqlite3`.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeDecorator

from daemon.core.model import JobOutcome, OrderState, RowStatus, Severity, Side
from daemon.core.outbox import Ending

HEAD = "0002"
"""The newest revision under `migrations/versions`; four digits, so they sort."""

SENTINEL = Decimal("1e300")
"""IBKR writes 1.797e308 for "not known"; no money is that large (incident F4)."""


class DecimalText(TypeDecorator[Decimal]):
    """A finite decimal, kept digit by digit."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """Return *value* as text.

        Raises:
            ValueError: a sentinel, an infinity or not-a-number.
        """
        del dialect
        if value is None:
            return None
        if not value.is_finite() or abs(value) >= SENTINEL:
            raise ValueError(f"{value} is a sentinel, not an amount: write None")
        return str(value)

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> Decimal | None:
        """Return the decimal that was stored."""
        del dialect
        return None if value is None else Decimal(value)


class InstantText(TypeDecorator[datetime]):
    """An aware instant, in UTC at a fixed width, so that text order is time order."""

    impl = Text
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> str | None:
        """Return *value* as text.

        Raises:
            ValueError: *value* is naive.
        """
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> datetime | None:
        """Return the instant that was stored, in UTC."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


class DateText(TypeDecorator[date]):
    """A session's date."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> str | None:
        """Return *value* as text."""
        del dialect
        return None if value is None else value.isoformat()

    def process_result_value(self, value: str | None, dialect: Dialect) -> date | None:
        """Return the date that was stored."""
        del dialect
        return None if value is None else date.fromisoformat(value)


class JsonText(TypeDecorator[object]):
    """A JSON value; None is `null`, a missing value is left out of the insert."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str:
        """Return *value* as JSON.

        Raises:
            TypeError: *value* holds something that JSON does not know.
            ValueError: *value* holds an infinity or not-a-number.
        """
        del dialect
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:
        """Return the JSON value that was stored."""
        del dialect
        return None if value is None else json.loads(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Return the constraint that *column* holds one of *values*."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _table(name: str, *items: SchemaItem, autoincrement: bool = False) -> Table:
    """Return a table whose column types SQLite enforces."""
    return Table(
        name,
        metadata,
        *items,
        sqlite_strict=True,
        sqlite_autoincrement=autoincrement,
    )


runs = _table(
    "runs",
    Column("run_id", Text, primary_key=True),
    Column("job", Text, nullable=False),
    Column("session", DateText, nullable=False),
    Column("due", InstantText, nullable=False),
    Column("started_at", InstantText, nullable=False),
    Column("ended_at", InstantText),
    Column("outcome", Text),
    Column("summary", Text),
    Column("detail", JsonText),
    _one_of("outcome", JobOutcome),
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended"),
    Index(None, "session", "job"),
)

claims = _table(
    "claims",
    Column("kind", Text, nullable=False),
    Column("claim_key", Text, nullable=False),
    Column("run_id", Text, ForeignKey("runs.run_id"), nullable=False),
    Column("at", InstantText, nullable=False),
    PrimaryKeyConstraint("kind", "claim_key"),
)

intents = _table(
    "intents",
    Column("order_ref", Text, primary_key=True),
    Column("order_id", Integer, nullable=False, unique=True),
    Column("session", DateText, nullable=False, index=True),
    Column("run_id", Text, ForeignKey("runs.run_id"), nullable=False),
    Column("account", Text, nullable=False),
    Column("con_id", Integer, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("limit_price", DecimalText),
    Column("stop_price", DecimalText),
    Column("tif", Text, nullable=False),
    Column("good_till", InstantText),
    Column("good_after", InstantText),
    Column("oca_group", Text, nullable=False),
    Column("oca_type", Integer, nullable=False),
    Column("parent_ref", Text),
    Column("transmit", Integer, nullable=False),
    Column("expires_at", InstantText),
    Column("created_at", InstantText, nullable=False),
    Column("contract", JsonText, nullable=False),
    CheckConstraint("length(order_ref) BETWEEN 1 AND 40", name="order_ref"),
    CheckConstraint("order_id > 0", name="order_id"),
    CheckConstraint("length(account) > 0", name="account"),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("transmit IN (0, 1)", name="transmit"),
    _one_of("side", Side),
)

order_states = _table(
    "order_states",
    Column("id", Integer, primary_key=True),
    Column(
        "order_ref",
        Text,
        ForeignKey("intents.order_ref"),
        nullable=False,
        index=True,
    ),
    Column("at", InstantText, nullable=False),
    Column("state", Text, nullable=False),
    Column("perm_id", Integer, nullable=False),
    Column("filled", DecimalText, nullable=False),
    Column("remaining", DecimalText),
    Column("code", Integer),
    Column("text", Text, nullable=False),
    _one_of("state", OrderState),
    autoincrement=True,
)

events = _table(
    "events",
    Column("id", Integer, primary_key=True),
    Column("at", InstantText, nullable=False),
    Column("kind", Text, nullable=False),
    Column("order_ref", Text),
    Column("payload", JsonText, nullable=False),
    autoincrement=True,
)

executions = _table(
    "executions",
    Column("exec_id", Text, primary_key=True),
    Column("exec_key", Text, nullable=False, index=True),
    Column("order_ref", Text, nullable=False),
    Column("order_id", Integer, nullable=False),
    Column("perm_id", Integer, nullable=False),
    Column("client_id", Integer, nullable=False),
    Column("account", Text, nullable=False),
    Column("con_id", Integer, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", DecimalText, nullable=False),
    Column("price", DecimalText, nullable=False),
    Column("time", InstantText, nullable=False, index=True),
    Column("exchange", Text, nullable=False),
    Column("recorded_at", InstantText, nullable=False),
    _one_of("side", Side),
)

commissions = _table(
    "commissions",
    Column("exec_id", Text, primary_key=True),
    Column("amount", DecimalText),
    Column("currency", Text, nullable=False),
    Column("realized_pnl", DecimalText),
    Column("recorded_at", InstantText, nullable=False),
)

plan_rows = _table(
    "plan_rows",
    Column("session", DateText, nullable=False),
    Column("line", Integer, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", InstantText, nullable=False),
    PrimaryKeyConstraint("session", "line"),
    _one_of("status", RowStatus),
)

stored = _table(
    "stored",
    Column("key", Text, primary_key=True),
    Column("value", JsonText, nullable=False),
    Column("at", InstantText, nullable=False),
)

messages = _table(
    "messages",
    Column("number", Integer, primary_key=True),
    Column("at", InstantText, nullable=False),
    Column("severity", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("key", Text, nullable=False, server_default=""),
    _one_of("severity", Severity),
    autoincrement=True,
)

Index(
    "uq_messages_key",
    messages.c.key,
    unique=True,
    sqlite_where=messages.c.key != "",
    postgresql_where=messages.c.key != "",
)

acceptances = _table(
    "acceptances",
    Column("number", Integer, ForeignKey("messages.number"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("at", InstantText, nullable=False),
    PrimaryKeyConstraint("number", "channel"),
)

deliveries = _table(
    "deliveries",
    Column("number", Integer, ForeignKey("messages.number"), primary_key=True),
    Column("at", InstantText, nullable=False),
    Column("ending", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _one_of("ending", Ending),
)

# Alembic's own table, spelled as Alembic spells it: the daemon stamps a new file
# without loading Alembic (35 MB, 170 ms).
alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_WRITTEN_ONCE = (
    claims,
    intents,
    order_states,
    events,
    executions,
    messages,
    acceptances,
    deliveries,
)


def create_all(connection: Connection) -> None:
    """Create the whole schema in an empty database and stamp it as `HEAD`."""
    metadata.create_all(connection)
    for table in _WRITTEN_ONCE:
        for trigger in append_only(table.name):
            connection.exec_driver_sql(trigger)
    connection.execute(alembic_version.insert(), {"version_num": HEAD})


def append_only(table: str) -> tuple[str, str]:
    """Return the triggers by which SQLite refuses to change or delete rows."""
    update, delete = (
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    )
    return update, delete
