"""Journals that earlier versions wrote open with everything that was in them.

For each schema `data/` holds a day's journal as that version left it, and beside it
what a person would count in it. A new migration adds the pair of the schema before.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory

from daemon.core.model import Side
from daemon.errors import JournalError
from daemon.journal.migrate import migrations
from daemon.journal.open import open_journal
from daemon.journal.schema import HEAD
from daemon.ports import RunId

pytestmark = pytest.mark.slow

DATA = Path(__file__).parent / "data"
STORED = sorted(path.name[8:12] for path in DATA.glob("journal-*.sqlite.gz"))
NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture(params=STORED)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path, version: str) -> Path:
    """Return the stored journal as an earlier version left it."""
    path = tmp_path / "state" / "journal.sqlite"
    path.parent.mkdir(mode=0o700)
    stored = DATA / f"journal-{version}.sqlite.gz"
    path.write_bytes(gzip.decompress(stored.read_bytes()))
    return path


@pytest.fixture
def figures(version: str) -> dict[str, Any]:
    text = (DATA / f"journal-{version}.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def tables(path: Path) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    names = [name for (name,) in ask(path, query)]
    return [name for name in names if name != "alembic_version"]


def columns(path: Path, table: str) -> list[str]:
    return [row[1] for row in ask(path, f"PRAGMA table_info({table})")]


def rows(path: Path, table: str, names: list[str]) -> list[tuple[Any, ...]]:
    listed = ", ".join(f'"{name}"' for name in names)
    return sorted(ask(path, f"SELECT {listed} FROM {table}"), key=repr)  # noqa: S608


def content(path: Path, like: Path | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table, in the columns that *like* has."""
    shape = like or path
    return {table: rows(path, table, columns(shape, table)) for table in tables(shape)}


def version_of(path: Path) -> str:
    return str(ask(path, "SELECT version_num FROM alembic_version")[0][0])


def schema(path: Path) -> dict[str, str]:
    found = ask(path, "SELECT name, sql FROM sqlite_master")
    return {name: " ".join((sql or "").split()) for name, sql in found}


def test_every_schema_before_the_newest_has_a_stored_journal(tmp_path: Path) -> None:
    scripts = ScriptDirectory.from_config(migrations(tmp_path / "unused.sqlite"))
    revisions = {script.revision for script in scripts.walk_revisions()}
    assert revisions - {HEAD} <= set(STORED)


def test_the_stored_file_is_of_its_version(path: Path, version: str) -> None:
    assert version_of(path) == version


def test_it_names_no_machine(path: Path) -> None:
    data = path.read_bytes()
    assert not any(
        place in data for place in (b"/home/", b"/root", b"/tmp/", b"/Users")
    )


def test_opening_brings_it_to_the_newest_schema(path: Path, tmp_path: Path) -> None:
    open_journal(path, now=NOW).close()
    assert version_of(path) == HEAD
    new = tmp_path / "new" / "journal.sqlite"
    open_journal(new, now=NOW).close()
    assert schema(path).keys() >= schema(new).keys()
    created = schema(new)
    triggers = {name: created[name] for name in created if "_no_" in name}
    assert {name: schema(path)[name] for name in triggers} == triggers


def test_no_row_is_lost_or_changed(path: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.sqlite"
    old.write_bytes(path.read_bytes())
    before = content(old)
    open_journal(path, now=NOW).close()
    assert content(path, like=old) == before


def test_the_rows_are_those_that_were_counted(
    path: Path, figures: dict[str, Any]
) -> None:
    open_journal(path, now=NOW).close()
    counted = {table: len(found) for table, found in content(path).items()}
    assert {name: counted[name] for name in figures["rows_of"]} == figures["rows_of"]


def test_the_orders_of_the_day_are_read_as_they_were(
    path: Path, figures: dict[str, Any]
) -> None:
    with open_journal(path, now=NOW) as journal:
        orders = journal.orders(date.fromisoformat(figures["session"]))
        states = Counter(str(record.state) for record in orders.values())
        types = Counter(str(record.order.order_type) for record in orders.values())
        assert dict(states) == figures["states"]
        assert dict(types) == figures["types"]
        assert journal.highest_order_id() == figures["highest_order_id"]


def test_the_money_of_the_day_is_read_as_it_was(
    path: Path, figures: dict[str, Any]
) -> None:
    day = datetime.fromisoformat(figures["session"]).replace(tzinfo=UTC)
    with open_journal(path, now=NOW) as journal:
        fills = journal.fills(day, day + timedelta(days=1))
        paid = [one.amount for one in journal.commissions(fills)]
    shares: Counter[Side] = Counter()
    gross = Decimal(0)
    for fill in fills:
        shares[fill.side] += int(fill.quantity)
        gross -= fill.side.sign * fill.quantity * fill.price
    assert str(shares[Side.BUY]) == figures["bought"]
    assert str(shares[Side.SELL]) == figures["sold"]
    assert gross == Decimal(figures["gross"])
    assert sum(amount for amount in paid if amount) == Decimal(figures["commission"])


def test_what_the_day_came_to_is_read_as_it_was(
    path: Path, figures: dict[str, Any]
) -> None:
    session = date.fromisoformat(figures["session"])
    with open_journal(path, now=NOW) as journal:
        results = journal.results(session)
        outcomes = {row.symbol: str(row.status) for row in journal.rows(session)}
        books = journal.value("books")
        claimed = journal.claim("plan", str(session), RunId(""), NOW)
    assert {job: one.summary for job, one in results.items()} == figures["jobs"]
    assert outcomes == figures["plan_rows"]
    assert isinstance(books, dict)
    assert books["cumulative_pnl"] == figures["cumulative_pnl"]
    assert claimed is False


def test_the_old_file_is_kept_beside_it(path: Path, version: str) -> None:
    before = content(path)
    open_journal(path, now=NOW).close()
    backup = path.with_name(f"journal.sqlite.20260302T140000Z.before-{HEAD}")
    assert backup.stat().st_mode & 0o777 == 0o600
    assert version_of(backup) == version
    assert content(backup) == before


def test_a_second_opening_changes_nothing(path: Path) -> None:
    open_journal(path, now=NOW).close()
    after = content(path)
    files = sorted(file.name for file in path.parent.iterdir())
    open_journal(path, now=LATER).close()
    assert content(path) == after
    assert sorted(file.name for file in path.parent.iterdir()) == files


APPEND_ONLY = [
    "acceptances",
    "claims",
    "events",
    "executions",
    "intents",
    "messages",
    "order_states",
]


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_what_was_written_once_still_cannot_be_changed(path: Path, table: str) -> None:
    open_journal(path, now=NOW).close()
    name = columns(path, table)[0]
    for statement in (f"UPDATE {table} SET {name} = 1", f"DELETE FROM {table}"):  # noqa: S608
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
            ask(path, statement)


@pytest.mark.parametrize(
    ("statement", "law"),
    [
        ("INSERT INTO intents SELECT * FROM intents LIMIT 1", "UNIQUE"),
        ("INSERT INTO executions SELECT * FROM executions LIMIT 1", "UNIQUE"),
        ("UPDATE plan_rows SET status = 'perhaps'", "CHECK"),
        ("UPDATE runs SET ended_at = NULL", "CHECK"),
        ("UPDATE runs SET due = NULL", "NOT NULL"),
    ],
)
def test_the_constraints_still_stand(path: Path, statement: str, law: str) -> None:
    open_journal(path, now=NOW).close()
    with pytest.raises(sqlite3.IntegrityError, match=f"{law} constraint failed"):
        ask(path, statement)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from daemon.journal.migrate import migrate

source, target = Path(sys.argv[1]), Path(sys.argv[2])

def die_at(point):
    left = [point]
    def count(*_):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, moment, count)

for point in range(1, 1000):
    path = target / f"killed-{point:03}.sqlite"
    shutil.copy(source, path)
    child = os.fork()
    if not child:
        die_at(point)
        migrate(path)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
"""
"""Migrates copies; kills each one step later, before and after every statement."""


def test_a_migration_that_is_killed_leaves_a_usable_file(
    path: Path, version: str, tmp_path: Path
) -> None:
    if version == HEAD:
        pytest.skip("nothing is left to migrate")
    before = content(path)
    places = tmp_path / "killed"
    places.mkdir(mode=0o700)
    command = [sys.executable, "-c", KILLED, str(path), str(places)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own
    *killed, whole = sorted(places.glob("killed-*.sqlite"))
    assert len(killed) > 20
    assert version_of(whole) == HEAD
    for file in killed:
        assert version_of(file) == version
        assert content(file) == before
        assert ask(file, "PRAGMA integrity_check") == [("ok",)]
    for file in (killed[0], killed[len(killed) // 2], killed[-1]):
        open_journal(file, now=NOW).close()
        assert version_of(file) == HEAD
        assert content(file, like=path) == before


def test_a_failed_upgrade_names_the_remedy_and_keeps_the_file(
    path: Path, version: str
) -> None:
    if version == HEAD:
        pytest.skip("nothing is left to migrate")
    before = content(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"could not be migrated|cannot be used"):
            open_journal(path, now=NOW)
        holder.execute("ROLLBACK")
    assert content(path) == before
    open_journal(path, now=LATER).close()
    assert version_of(path) == HEAD
