"""A kill or a power cut at any moment: what was acknowledged is there, none is half."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from daemon.core.model import (
    Account,
    ConId,
    Contract,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderType,
    Side,
)
from daemon.journal import statements as sql
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal

pytestmark = pytest.mark.slow

DAY = date(2026, 2, 19)
NOW = datetime(2026, 2, 19, 14, 35, tzinfo=UTC)
LEGS = ("EN", "TP", "SL")


def family(number: int) -> list[OrderRecord]:
    """Return the three orders of bracket *number*."""
    return [
        OrderRecord(
            order=Order(
                order_ref=OrderRef(f"ibkrd:20260219:S{number}:B:{leg}"),
                account=Account("DU1234567"),
                contract=Contract(con_id=ConId(number), symbol=f"S{number}"),
                side=Side.BUY if leg == "EN" else Side.SELL,
                quantity=181,
                order_type=OrderType.LIMIT,
                limit_price=Decimal("17.20"),
            ),
            session=DAY,
            order_id=OrderId(number * 3 + place),
        )
        for place, leg in enumerate(LEGS)
    ]


def families(journal: SqlJournal) -> dict[int, int]:
    """Return how many orders of each family the journal holds."""
    found: dict[int, int] = {}
    for record in journal.orders(DAY).values():
        number = int(record.order.contract.symbol[1:])
        found[number] = found.get(number, 0) + 1
    return found


# Kills

WRITER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from daemon.core.model import Notice
from test_crash import NOW, DAY, family, open_journal

first = int(sys.argv[2])
with open_journal(Path(sys.argv[1]), now=NOW) as journal:
    run_id = journal.start_run("submit", DAY, NOW, NOW)
    for number in range(first, first + 100_000):
        journal.intend(family(number), run_id, NOW)
        print("family", number, flush=True)
        with journal.together():
            for _ in range(3):
                journal.record_event(Notice(number, 2104, "x" * 300), NOW)
        print("events", number, flush=True)
"""
"""Commits a family, says so; commits three events, says so; and so on for ever."""


def killed_after(path: Path, first: int, lines: int) -> list[list[str]]:
    """Let a writer live until it has said *lines* lines; return all that it said."""
    command = [sys.executable, "-c", WRITER, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.split() for line in said if line.endswith("\n")]


def test_what_a_killed_writer_acknowledged_is_there_and_nothing_is_half(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    acknowledged: dict[str, set[int]] = {"family": set(), "events": set()}
    for life, lines in enumerate((1, 2, 7, 40, 111, 300)):
        for kind, number in killed_after(path, 1 + life * 1000, lines):
            acknowledged[kind].add(int(number))
    with open_journal(path, now=NOW) as journal:
        found = families(journal)
        with closing(sqlite3.connect(path)) as reader:
            query = (
                "SELECT json_extract(payload, '$.order_id'), count(*) FROM events "
                "GROUP BY 1"
            )
            events = dict(reader.execute(query).fetchall())
    assert set(found.values()) == {3}
    assert set(events.values()) == {3}
    assert acknowledged["family"] <= set(found)
    assert acknowledged["events"] <= set(events)
    # At most the one commit that was under way at each kill is there unsaid.
    assert len(set(found) - acknowledged["family"]) <= 6
    assert len(set(events) - acknowledged["events"]) <= 6


# Power cuts: what was synced is on the disk, of the rest anything may be

COMMITS = 12


@contextmanager
def reopened(folder: Path, file: bytes, wal: bytes) -> Iterator[SqlJournal]:
    """Open what a power cut left: *file* with the first bytes of its log."""
    folder.mkdir(mode=0o700)
    (folder / "journal.sqlite").write_bytes(file)
    (folder / "journal.sqlite-wal").write_bytes(wal)
    with open_journal(folder / "journal.sqlite", now=NOW) as journal:
        yield journal


class Written:
    """A journal after twelve commits: its file, its log, and where each commit ends."""

    def __init__(self, path: Path) -> None:
        log = path.with_name("journal.sqlite-wal")
        with open_journal(path, now=NOW) as journal:
            run_id = journal.start_run("submit", DAY, NOW, NOW)
            self.ends = [log.stat().st_size]
            for number in range(1, COMMITS + 1):
                journal.intend(family(number), run_id, NOW)
                self.ends.append(log.stat().st_size)
            self.file = path.read_bytes()
            self.log = log.read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("written") / "state" / "journal.sqlite")


def test_each_commit_lengthens_the_log(written: Written) -> None:
    assert written.ends == sorted(set(written.ends))
    assert len(written.ends) == COMMITS + 1


@pytest.mark.parametrize("count", range(COMMITS + 1))
def test_a_log_that_ends_with_a_commit_holds_all_to_it(
    written: Written, tmp_path: Path, count: int
) -> None:
    log = written.log[: written.ends[count]]
    with reopened(tmp_path / "state", written.file, log) as journal:
        assert families(journal) == dict.fromkeys(range(1, count + 1), 3)


@pytest.mark.parametrize("count", range(COMMITS))
def test_a_log_that_is_torn_in_the_next_commit_holds_all_before_it(
    written: Written, tmp_path: Path, count: int
) -> None:
    start, end = written.ends[count], written.ends[count + 1]
    for place in (start + 1, start + 24, start + 4000, end - 4096, end - 1):
        log = written.log[:place]
        with reopened(tmp_path / f"at {place}", written.file, log) as journal:
            assert families(journal) == dict.fromkeys(range(1, count + 1), 3)
            journal.intend(family(99), journal.start_run("x", DAY, NOW, NOW), NOW)
            assert families(journal)[99] == 3


@pytest.mark.parametrize("count", range(COMMITS))
def test_a_log_whose_next_commit_is_garbled_holds_all_before_it(
    written: Written, tmp_path: Path, count: int
) -> None:
    start, end = written.ends[count], written.ends[count + 1]
    noise = Random(count).randbytes(end - start)  # noqa: S311 - repeatable
    flipped = bytearray(written.log[:end])
    flipped[(start + end) // 2] ^= 1
    unwritten = written.log[:start] + bytes(4096) + written.log[start + 4096 : end]
    for name, log in {
        "noise": written.log[:start] + noise,
        "flipped": bytes(flipped),
        "unwritten": unwritten,
        "later": written.log[:start] + bytes(end - start) + written.log[end:],
    }.items():
        with reopened(tmp_path / name, written.file, log) as journal:
            assert families(journal) == dict.fromkeys(range(1, count + 1), 3)


def test_a_log_that_is_gone_leaves_what_the_file_holds(
    written: Written, tmp_path: Path
) -> None:
    with reopened(tmp_path / "state", written.file, b"") as journal:
        assert families(journal) == {}


# Order ids


def test_no_order_id_is_below_any_that_was_ever_journaled(tmp_path: Path) -> None:
    """Ids that were reserved and never sent count like all others, of any session."""
    path = tmp_path / "state" / "journal.sqlite"
    with open_journal(path, now=NOW) as journal:
        assert journal.highest_order_id() == 0
        run_id = journal.start_run("submit", DAY, NOW, NOW)
        for number in (500, 7, 90):
            journal.intend(family(number), run_id, NOW)
    with open_journal(path, now=NOW) as journal:
        assert journal.highest_order_id() == 1502


def test_the_highest_order_id_is_looked_up_and_not_searched_for(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    open_journal(path, now=NOW).close()
    with closing(sqlite3.connect(path)) as connection:
        text = sql.HIGHEST_ORDER_ID.compile(compile_kwargs={"literal_binds": True})
        (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
    assert str(plan[3]).startswith("SEARCH intents USING COVERING INDEX")
