"""The journal is lost, damaged, or out of room: the close and the report go on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import asynccontextmanager, closing

import pytest
from sqlalchemy import Engine, event

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
MRNA = "MRNA 82 at 44.15 stop 42.83 targets 45.47 46.80"
NOV = "NOV 292 at 19.64 stop 19.05 targets 20.23 20.82"
ROWS = (BLCO, LH, MRNA, NOV)


def journal_of(hands):
    return hands.stage.config.paths.state / "journal.sqlite"


# --- damage ---------------------------------------------------------------------------


def replaced_between(stop, start, damage):
    """Return the deeds that damage the journal while the daemon is away."""

    async def deeds(hands):
        hands.carry("IRDM", 190)
        await hands.until(stop)
        await hands.stop_daemon()
        damage(journal_of(hands))
        await hands.until(start)
        hands.start_daemon()

    return deeds


def with_noise(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [with_noise, emptied])
def test_with_a_damaged_journal_no_entry_is_sent_and_the_account_gets_flat(
    play_day, damage
):
    day = play_day(BLCO, LH, deeds=replaced_between("09:20", "09:25", damage))
    assert day.placed == ["ibkrd:20260219:IRDM:X:MOC"]
    assert day.at_the_bell == {"IRDM": 190}
    assert day.flat
    assert day.problems == []
    assert day.jobs == [
        ("submit", "refused"),
        ("moc_close", "done"),
        ("eod_report", "done"),
    ]
    assert day.rows == {"BLCO": "skipped", "LH": "skipped"}
    assert day.report["rows"]["total"] == 2
    (aside,) = day.state.glob("journal.sqlite.*.damaged")
    assert aside.name == "journal.sqlite.20260219T142500Z.damaged"
    first, second = day.alarms
    assert first.subject == "The journal was damaged: no entries, closing goes on"
    assert first.at.strftime("%H:%M:%S") == "09:25:00"
    for part in (str(aside), "no entry of 2026-02-19", "by hand", "/backups"):
        assert part in first.body
    assert second.subject.startswith("Submit 2026-02-19: 0 orders: 2 rows not sent")
    assert [line["file"] for line in day.logged("journal.set_aside")] == [str(aside)]


def test_a_restart_after_the_damage_bars_the_session_still_and_says_it_once(play_day):
    async def deeds(hands):
        await replaced_between("09:20", "09:25", with_noise)(hands)
        await hands.until("09:30")
        await hands.stop_daemon()
        hands.start_daemon()

    day = play_day(BLCO, deeds=deeds)
    assert day.placed == ["ibkrd:20260219:IRDM:X:MOC"]
    assert len(day.messages("The journal was damaged")) == 1
    assert day.rows == {"BLCO": "skipped"}


def test_orders_that_the_new_journal_does_not_know_are_cancelled_and_closed(play_day):
    """They are ours by client id; nobody but the broker knows of them."""
    day = play_day(*ROWS, deeds=replaced_between("11:00", "11:05", with_noise))
    entries = [ref for ref in day.placed if ":EN" in ref]
    assert len(entries) == 8
    assert len(set(day.placed)) == len(day.placed)
    assert day.at_the_bell == {
        "BLCO": 270,
        "IRDM": 190,
        "LH": 22,
        "MRNA": 82,
        "NOV": 292,
    }
    assert day.flat
    assert day.statuses == [0, 0]
    assert day.report["certificate"]["flat"] is True
    totals = day.report["totals"]
    assert totals["executions"] == len(day.records("executed"))
    # The broker's evidence shows our orders at work, and no journal intends them.
    assert {violation.law for violation in day.verdict.violations} <= {"I2", "I5"}


def test_the_gateways_next_id_keeps_a_new_journal_above_every_order_id(play_day):
    """The highest id is lost with the journal: the gateway never gives a lower one."""
    day = play_day(BLCO, LH, deeds=replaced_between("11:00", "11:05", with_noise))
    ids = [record["order_id"] for record in day.records("placed", client_id=10)]
    assert ids == sorted(set(ids))
    assert len(ids) >= 15


def test_a_journal_damaged_behind_the_closing_orders_closes_nothing_twice(play_day):
    """The orders of before are cancelled; new ones have references of their own."""
    day = play_day(BLCO, LH, deeds=replaced_between("15:42", "15:43", with_noise))
    closing = [ref for ref in day.placed if ":MOC" in ref]
    assert closing == [
        "ibkrd:20260219:BLCO:X:MOC",
        "ibkrd:20260219:IRDM:X:MOC",
        "ibkrd:20260219:LH:X:MOC",
        "ibkrd:20260219:BLCO:X:MOC:2",
        "ibkrd:20260219:IRDM:X:MOC:2",
        "ibkrd:20260219:LH:X:MOC:2",
    ]
    assert [told.subject for told in day.alarms] == [
        "The journal was damaged: no entries, closing goes on",
        "3 order(s) under our client id that the journal does not know",
    ]
    assert day.flat
    assert day.verdict.positions_at_end == {}
    assert day.at_the_bell == {"BLCO": 270, "IRDM": 190, "LH": 22}


# --- a full disk ----------------------------------------------------------------------


class PageLimit:
    """A disk by SQLite's own limit of pages: full, but for what the reserve held."""

    RESERVE_PAGES = 1000

    def __init__(self):
        self.limit = None
        self.reserve = None

    def fill(self, hands):
        path = journal_of(hands)
        self.reserve = path.with_name("journal.reserve")
        with closing(sqlite3.connect(path)) as connection:
            (self.limit,) = connection.execute("PRAGMA page_count").fetchone()

    def make_room(self, _hands):
        self.limit += 100_000
        self.reserve.rmdir()

    def begin(self, connection):
        if self.limit is None:
            return
        if not self.reserve.exists():
            self.limit += self.RESERVE_PAGES
            self.reserve.mkdir()  # no other can be made: the disk is full
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self.limit}")

    @asynccontextmanager
    async def under(self, _hands):
        event.listen(Engine, "begin", self.begin)
        try:
            yield
        finally:
            event.remove(Engine, "begin", self.begin)


class SmallDisk:
    """A file system of its own over the state directory, 12 MiB, in memory."""

    def fill(self, hands):
        place = hands.stage.config.paths.state
        room = os.statvfs(place)
        (place / "other").write_bytes(bytes(room.f_bavail * room.f_frsize))

    def make_room(self, hands):
        (hands.stage.config.paths.state / "other").unlink()

    @asynccontextmanager
    async def under(self, hands):
        state = hands.stage.config.paths.state
        kept = state.with_name("kept")
        shutil.copytree(state / "plans", kept / "plans")
        options = ["-t", "tmpfs", "-o", "size=12m,mode=700", "tmpfs", str(state)]
        subprocess.run(["mount", *options], check=True)  # noqa: ASYNC221, S603, S607
        try:
            shutil.copytree(kept / "plans", state / "plans")
            yield
        finally:
            (state / "other").unlink(missing_ok=True)
            left = shutil.ignore_patterns("*.sock", "ibkrd.lock")
            shutil.copytree(state, kept, dirs_exist_ok=True, ignore=left)
            command = ["umount", "--lazy", str(state)]
            subprocess.run(command, check=True)  # noqa: ASYNC221, S603
            shutil.copytree(kept, state, dirs_exist_ok=True)


@pytest.fixture(params=[PageLimit, SmallDisk])
def disk(request):
    """Return a disk that can be filled; a real one needs the right to mount it."""
    if request.param is SmallDisk:
        request.getfixturevalue("small_disk")
    return request.param()


def on(disk, *moments):
    """Return the deeds that fill the disk, and make room again, and restart."""

    async def deeds(hands):
        hands.carry("IRDM", 190)
        async with disk.under(hands):
            for clock, deed in moments:
                await hands.until(clock)
                if deed == "restart":
                    await hands.stop_daemon()
                    hands.start_daemon()
                else:
                    getattr(disk, deed)(hands)
            await hands.until("23:00")

    return deeds


MANY = (
    *("ADBE", "AKAM", "AMD", "AMH", "AMZN", "BHP", "CENX", "CNC"),
    *("CNX", "DTE", "EGP", "EMN", "EOG", "KMI", "ON", "WEC"),
)
"""A plan that is larger than a page of the file: its claim finds the disk full."""


def test_on_a_full_disk_no_entry_is_sent_and_the_account_gets_flat(play_day, disk):
    rows = [*ROWS, *(f"{one} 9 at 50 stop 48 targets 52 54" for one in MANY)]
    day = play_day(*rows, deeds=on(disk, ("09:34", "fill")))
    assert day.placed == ["ibkrd:20260219:IRDM:X:MOC"]
    assert day.at_the_bell == {"IRDM": 190}
    assert day.flat
    assert day.problems == []
    assert day.jobs == [
        ("submit", "failed"),
        ("moc_close", "done"),
        ("eod_report", "done"),
    ]
    (told,) = day.messages("No room for the journal")
    assert told.severity == "alarm"
    assert told.at.strftime("%H:%M") == "09:35"
    for part in (str(day.state), "no entry is sent", "make 16 MiB of room"):
        assert part in told.body
    (sent,) = day.messages("Submit 2026")
    assert sent.severity == "alarm"
    assert "BLCO: unknown: A and B not sent: the disk of" in sent.body
    assert day.rows == dict.fromkeys(("BLCO", "LH", "MRNA", "NOV", *MANY), "skipped")
    assert day.report["rows"]["total"] == 20


def test_on_a_disk_that_is_full_before_the_close_the_account_gets_flat(play_day, disk):
    day = play_day(*ROWS, deeds=on(disk, ("15:39", "fill")))
    assert day.at_the_bell == {
        "BLCO": 270,
        "IRDM": 190,
        "LH": 22,
        "MRNA": 82,
        "NOV": 292,
    }
    assert day.flat
    assert day.problems == []
    assert len(day.messages("No room for the journal")) == 1
    fills = "SELECT exec_id, quantity, price FROM executions ORDER BY exec_id"
    assert day.sql(fills) == sorted(
        (one["exec_id"], one["quantity"], one["price"])
        for one in day.records("executed")
    )
    assert day.report["totals"]["executions"] == len(day.records("executed"))
    assert day.report["certificate"]["flat"] is True


def test_a_disk_that_gets_full_in_the_batch_sends_no_further_entry(play_day, disk):
    day = play_day(*ROWS, deeds=on(disk, ("09:35:02.230", "fill")))
    entries = [ref for ref in day.placed if ":EN" in ref]
    assert 0 < len(entries) < 8
    assert len(day.placed) == 3 * len(entries) + len(day.at_the_bell)
    assert day.flat
    assert day.problems == []
    assert ("submit", "failed") in day.jobs
    assert len(day.messages("No room for the journal")) == 1
    (sent,) = day.messages("Submit 2026")
    assert "not sent: the disk of" in sent.body
    assert day.report["rows"]["total"] == 4


def test_with_room_again_a_restart_sends_the_rest_and_nothing_twice(play_day, disk):
    moments = ("09:35:02.230", "fill"), ("09:40", "make_room"), ("09:45", "restart")
    day = play_day(*ROWS, deeds=on(disk, *moments))
    assert len([ref for ref in day.placed if ":EN" in ref]) == 8
    assert day.problems == []
    assert day.flat
    assert day.rows == dict.fromkeys(("BLCO", "LH", "MRNA", "NOV"), "submitted")
    (again,) = day.messages("Room for the journal again")
    assert "09:40" <= again.at.strftime("%H:%M") <= "09:42"


def test_a_restart_on_the_full_disk_closes_what_is_open(play_day, disk):
    day = play_day(*ROWS, deeds=on(disk, ("15:30", "fill"), ("15:35", "restart")))
    assert day.at_the_bell == {
        "BLCO": 270,
        "IRDM": 190,
        "LH": 22,
        "MRNA": 82,
        "NOV": 292,
    }
    assert day.flat
    assert day.problems == []
    assert len(day.messages("No room for the journal")) == 1


# --- the copy after the report --------------------------------------------------------


def test_after_the_report_a_copy_of_the_journal_is_made(play_day):
    day = play_day(BLCO, LH)
    (copy,) = (day.state / "backups").iterdir()
    assert copy.name == "journal-2026-02-19.sqlite"
    with closing(sqlite3.connect(copy)) as db:
        (orders,) = db.execute("SELECT count(*) FROM intents").fetchone()
        (books,) = db.execute("SELECT value FROM stored WHERE key='books'").fetchone()
    assert orders == len(day.placed)
    assert (books,) == day.sql("SELECT value FROM stored WHERE key='books'")[0]
    assert day.problems == []


def test_a_copy_that_fails_is_told_and_the_report_stands(play_day):
    async def deeds(hands):
        (journal_of(hands).parent / "backups").write_text("a file")

    day = play_day(BLCO, deeds=deeds)
    (told,) = day.messages("No backup of the journal after 2026-02-19")
    assert told.severity == "warning"
    assert "correct the rights of its directory" in told.body
    assert day.jobs[-1] == ("eod_report", "done")
    assert day.problems == []
