from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.core.model import Message
from daemon.errors import JournalDamaged
from daemon.journal.open import open_journal
from daemon.journal.store import SqlJournal
from daemon.keeper import JournalKeeper

pytestmark = pytest.mark.virtual

NOW = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)


@dataclass
class Told:
    """A notifier that remembers what it told."""

    messages: list[Message] = field(default_factory=list)

    async def tell(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    @property
    def lines(self) -> list[str]:
        return [f"{one.severity.value}: {one.subject}" for one in self.messages]


@dataclass
class Bench:
    keeper: JournalKeeper
    journal: SqlJournal
    told: Told
    reserve: Path
    task: asyncio.Task[None]


@asynccontextmanager
async def keeps_watch(tmp_path: Path) -> AsyncIterator[Bench]:
    keeper, told = JournalKeeper(), Told()
    path = tmp_path / "state" / "journal.sqlite"
    with open_journal(path, now=NOW, report=keeper.note) as journal:
        task = asyncio.get_running_loop().create_task(keeper.run(journal, told))
        try:
            yield Bench(keeper, journal, told, path.with_name("journal.reserve"), task)
        finally:
            task.cancel()
            await asyncio.wait({task})


def lose_the_reserve(bench: Bench) -> None:
    """Let no reserve be made: something else lies in its place."""
    bench.reserve.unlink()
    bench.reserve.mkdir()
    bench.journal.make_room()


async def test_damage_ends_the_daemon(tmp_path: Path) -> None:
    async with keeps_watch(tmp_path) as bench:
        bench.keeper.note(JournalDamaged("journal.sqlite is damaged"))
        with pytest.raises(JournalDamaged, match=r"journal\.sqlite is damaged"):
            await bench.task
        assert bench.told.lines == []


async def test_a_full_disk_is_told_at_once_and_its_end_within_a_minute(
    tmp_path: Path,
) -> None:
    async with keeps_watch(tmp_path) as bench:
        lose_the_reserve(bench)
        await asyncio.sleep(1)
        assert bench.told.lines == ["alarm: No room for the journal"]
        assert "its reserve cannot be made" in bench.told.messages[0].body
        await asyncio.sleep(3600)
        assert len(bench.told.lines) == 1
        bench.reserve.rmdir()
        await asyncio.sleep(61)
        assert bench.told.lines[1:] == ["info: Room for the journal again"]
        assert bench.reserve.is_file()
        await asyncio.sleep(3600)
        assert len(bench.told.lines) == 2


async def test_each_shortage_is_told(tmp_path: Path) -> None:
    async with keeps_watch(tmp_path) as bench:
        for _ in range(2):
            lose_the_reserve(bench)
            bench.reserve.rmdir()
            await asyncio.sleep(100)
        assert (
            bench.told.lines
            == [
                "alarm: No room for the journal",
                "info: Room for the journal again",
            ]
            * 2
        )


async def test_damage_that_shows_on_a_full_disk_ends_the_daemon(tmp_path: Path) -> None:
    async with keeps_watch(tmp_path) as bench:
        lose_the_reserve(bench)
        await asyncio.sleep(100)
        bench.keeper.note(JournalDamaged("journal.sqlite is damaged"))
        with pytest.raises(JournalDamaged):
            await bench.task
