from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from daemon.errors import JournalDamaged, JournalError
from daemon.journal.migrate import migrate, migrations
from daemon.journal.open import open_journal
from daemon.journal.schema import HEAD

NOW = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)
DAY = date(2026, 2, 19)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def schema(path: Path) -> dict[str, str]:
    """Return each thing's SQL by its name, blanks made equal."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
    return {name: " ".join((sql or "").split()) for name, sql in found}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_migrated_journal_equals_a_created_one(path: Path, tmp_path: Path) -> None:
    open_journal(path, now=NOW).close()
    migrate(tmp_path / "migrated.sqlite")
    created = schema(path)
    assert "intents_no_update" in created
    assert schema(tmp_path / "migrated.sqlite") == created


def test_both_bear_the_newest_revision(path: Path, tmp_path: Path) -> None:
    open_journal(path, now=NOW).close()
    migrate(tmp_path / "migrated.sqlite")
    for file in (path, tmp_path / "migrated.sqlite"):
        with closing(sqlite3.connect(file)) as connection:
            versions = connection.execute("SELECT * FROM alembic_version").fetchall()
        assert versions == [(HEAD,)]


def test_the_head_is_the_last_revision_and_revisions_sort(tmp_path: Path) -> None:
    scripts = ScriptDirectory.from_config(migrations(tmp_path / "unused.sqlite"))
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions[0] == HEAD
    assert revisions == sorted(revisions, reverse=True)
    assert all(re.fullmatch(r"\d{4}", revision) for revision in revisions)


def test_a_new_journal_is_private(path: Path) -> None:
    with open_journal(path, now=NOW) as journal:
        journal.start_run("submit", DAY, NOW, NOW)
        assert journal.path == path
        assert mode(path.parent) == 0o700
        assert {file.name: mode(file) for file in path.parent.iterdir()} == {
            "journal.reserve": 0o600,
            "journal.sqlite": 0o600,
            "journal.sqlite-shm": 0o600,
            "journal.sqlite-wal": 0o600,
        }


def test_a_journal_that_others_could_read_is_closed_to_them(path: Path) -> None:
    open_journal(path, now=NOW).close()
    path.chmod(0o644)
    open_journal(path, now=NOW).close()
    assert mode(path) == 0o600


def test_a_directory_that_is_open_to_others_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    path.parent.chmod(0o755)
    with pytest.raises(JournalError, match=r"\(0755\): chmod 700 '.*/state'"):
        open_journal(path, now=NOW)


def test_a_place_that_is_no_directory_is_named(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(JournalError, match=r"journal\.sqlite cannot be opened"):
        open_journal(path, now=NOW)


def test_what_was_written_is_there_again(path: Path) -> None:
    with open_journal(path, now=NOW) as journal:
        journal.start_run("submit", DAY, NOW, NOW)
    with open_journal(path, now=NOW) as journal:
        assert journal.start_run("submit", DAY, NOW, NOW) == "2026-02-19/submit/2"


def test_an_older_journal_is_backed_up_and_migrated(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    execute(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    with open_journal(path, now=NOW) as journal:
        assert journal.start_run("submit", DAY, NOW, NOW) == "2026-02-19/submit/1"
    backup = path.with_name(f"journal.sqlite.20260219T140000Z.before-{HEAD}")
    assert list(schema(backup)) == ["alembic_version"]
    assert mode(backup) == 0o600


def test_a_failed_migration_leaves_the_file_as_it_was(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    execute(
        path,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "CREATE TABLE stored (key TEXT)",
    )
    before = schema(path)
    with pytest.raises(JournalError, match=r"not be migrated.*stored already exists"):
        open_journal(path, now=NOW)
    assert schema(path) == before


def test_a_newer_journal_is_refused_by_its_version(path: Path) -> None:
    open_journal(path, now=NOW).close()
    execute(path, "UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(JournalError, match="has schema 0999, this ibkrd knows 0002"):
        open_journal(path, now=NOW)


def test_a_foreign_database_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    execute(path, "CREATE TABLE trades (ticker TEXT)")
    with pytest.raises(JournalError, match="not a journal: move it away"):
        open_journal(path, now=NOW)
    assert list(schema(path)) == ["trades"]


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"BLCO,BUY,LIMIT,17.20\n" * 100)
    with pytest.raises(JournalDamaged, match=r"damaged \(file is not a database\)"):
        open_journal(path, now=NOW)
    assert path.read_bytes() == b"BLCO,BUY,LIMIT,17.20\n" * 100


def test_a_new_journal_appears_whole_or_not_at_all(path: Path) -> None:
    """A start that was killed leaves no file that a later one takes for a journal."""
    path.parent.mkdir(mode=0o700)
    half = path.with_name("journal.sqlite.new")
    execute(half, "CREATE TABLE runs (half TEXT)")
    half.with_name("journal.sqlite.new-wal").write_bytes(b"left by a kill")
    with open_journal(path, now=NOW) as journal:
        assert journal.start_run("submit", DAY, NOW, NOW) == "2026-02-19/submit/1"
    assert list(path.parent.glob("*.new*")) == []


def test_the_daemon_never_loads_alembic(path: Path) -> None:
    program = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from daemon.journal.open import open_journal\n"
        "open_journal(Path(sys.argv[1]), now=datetime(2026, 2, 19, tzinfo=UTC))\n"
        "print([name for name in sys.modules if name.startswith('alembic')])"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program, str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[]\n"
