from __future__ import annotations

from pathlib import Path

import pytest

from daemon.journal.engine import open_engine


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("fullfsync", 1),
        ("checkpoint_fullfsync", 1),
        ("foreign_keys", 1),
        ("busy_timeout", 5000),
        ("trusted_schema", 0),
        ("wal_autocheckpoint", 256),
    ],
)
def test_every_connection_is_durable_and_strict(
    tmp_path: Path, setting: str, value: object
) -> None:
    with open_engine(tmp_path / "journal.sqlite").connect() as connection:
        found = connection.exec_driver_sql(f"PRAGMA {setting}").scalar_one()
    assert found == value


def test_a_transaction_holds_the_write_lock_from_its_start(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "journal.sqlite")
    with engine.connect() as first, first.begin():
        second = engine.connect()
        driver = second.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(Exception, match="database is locked"):
            second.begin()
        second.close()
