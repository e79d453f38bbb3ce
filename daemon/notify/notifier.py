"""The outbox: journaled first, then told, and told again until a channel accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

import structlog

from daemon.core.model import Message
from daemon.core.outbox import GIVE_UP, Ending, Waiting, pause_s, too_old, worded
from daemon.errors import JournalError
from daemon.notify.channels import Channel
from daemon.notify.line import Line
from daemon.ports import Clock, Journal

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Letter:
    """One message that waits, and how it fares."""

    waiting: Waiting
    tried: bool = False
    on_its_way: bool = False

    @property
    def number(self) -> int | None:
        return self.waiting.number


class OutboxNotifier:
    """Tells a message on every channel; what none accepts waits for the next try.

    A failing channel is itself visible (A4). Beside other channels the log's
    acceptance does not count: nobody reads it during an incident.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        channels: Sequence[Channel],
        *,
        zone: tzinfo = UTC,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._zone = zone
        lines = [Line(channel, clock) for channel in channels]
        self._counting = [line for line in lines if not line.is_log] or lines
        self._beside = [line for line in lines if line not in self._counting]
        self._letters: list[_Letter] = []
        self._posted: asyncio.Queue[_Letter] = asyncio.Queue()
        self._woken = asyncio.Event()
        self._running = False
        self._failures = 0
        self._next_s = 0.0
        """On the loop's clock: when what was tried before is tried again."""

    async def tell(self, message: Message) -> bool:
        """Return whether a channel accepted *message* now; never raises for a channel.

        Of messages with one key only the first is told. While the channels fail, a
        message goes to the loop at once, so that nobody waits for their timeouts.

        Raises:
            JournalError: the message could not be journaled; it was told all the same.
        """
        now = self._clock.now()
        try:
            recorded = self._journal.record_message(message, now)
        except JournalError:
            # A full disk is no reason to be silent about it.
            await self._take(_Letter(Waiting(None, message, now)))
            raise
        if not recorded.new:
            return all(each.number != recorded.number for each in self._letters)
        return await self._take(_Letter(Waiting(recorded.number, message, now)))

    def post(self, message: Message) -> None:
        """Journal *message* at once, and leave the telling to `tell_posted`.

        Within a transaction of the journal it stands or falls with what it tells of.

        Raises:
            JournalError: the message could not be journaled.
        """
        now = self._clock.now()
        recorded = self._journal.record_message(message, now)
        if recorded.new:
            letter = _Letter(Waiting(recorded.number, message, now), on_its_way=True)
            self._letters.append(letter)
            self._posted.put_nowait(letter)

    async def tell_posted(self) -> None:
        """Tell what was posted, in order; for a task."""
        while True:
            letter = await self._posted.get()
            letter.on_its_way = False
            await self._tell_first(letter)
            self._posted.task_done()

    async def all_posted_told(self) -> None:
        """Wait until everything that was posted has been tried."""
        await self._posted.join()

    async def run(self) -> None:
        """Try again what no channel accepted, also before a restart; for a task."""
        known = {letter.number for letter in self._letters}
        old = [w for w in self._journal.undelivered() if w.number not in known]
        if old:
            log.warning("notify.taken_up", messages=len(old))
        self._letters[:0] = [_Letter(waiting, tried=True) for waiting in old]
        self._running = True
        try:
            while True:
                await self._until_due()
                await self._round()
        finally:
            self._running = False

    async def last_try(self) -> None:
        """Try everything once more: the daemon stops, and the next one goes on."""
        await self._try_each(list(self._letters))

    def status(self) -> dict[str, Any]:
        """Return what waits and which channels fail, ready for JSON."""
        oldest = min((each.waiting.since for each in self._letters), default=None)
        return {
            "undelivered": len(self._letters),
            "oldest": None if oldest is None else oldest.isoformat(),
            "failing": [
                {
                    "channel": line.name,
                    "since": line.failing.since.isoformat(),
                    "cause": line.failing.cause,
                }
                for line in (*self._beside, *self._counting)
                if line.failing is not None
            ],
        }

    # --- one message --------------------------------------------------------------

    async def _take(self, letter: _Letter) -> bool:
        """Tell a new message once, or leave that to the loop where it is in vain."""
        self._letters.append(letter)
        return await self._tell_first(letter)

    async def _tell_first(self, letter: _Letter) -> bool:
        for line in self._beside:
            await self._through(line, letter)
        if self._running and all(line.failing for line in self._counting):
            self._woken.set()
            return False
        return await self._try(letter)

    async def _try(self, letter: _Letter) -> bool:
        """Return whether a channel that counts accepted; all are tried at once."""
        first = not letter.tried
        letter.on_its_way = True
        try:
            accepted = await self._through_all(letter)
        finally:
            letter.on_its_way = False
            letter.tried = True
            self._woken.set()
        if first and not accepted:
            subject = letter.waiting.message.subject
            log.error("notify.undelivered", number=letter.number, subject=subject)
        self._pace(accepted=accepted)
        return accepted

    async def _through_all(self, letter: _Letter) -> bool:
        if len(self._counting) == 1:
            return await self._through(self._counting[0], letter)
        async with asyncio.TaskGroup() as tasks:
            tries = [
                tasks.create_task(self._through(line, letter), name=f"tell.{line.name}")
                for line in self._counting
            ]
        return any(each.result() for each in tries)

    async def _through(self, line: Line, letter: _Letter) -> bool:
        """Return whether *line* accepted, which is journaled at once."""
        now = self._clock.now()
        if not await line.send(worded(letter.waiting, now, self._zone), letter.number):
            return False
        if line in self._counting and letter in self._letters:
            self._letters.remove(letter)
        self._note(line, letter)
        return True

    def _note(self, line: Line, letter: _Letter) -> None:
        """Journal the acceptance; the person has the message even where that fails."""
        now, number = self._clock.now(), letter.number
        if letter.tried and line in self._counting:
            waited_s = (now - letter.waiting.since).total_seconds()
            log.info("notify.delivered_late", number=number, waited_s=waited_s)
        if number is not None:
            with _unrecorded(number), self._journal.together():
                self._journal.record_accepted(number, line.name, now)
                if line in self._counting:
                    self._journal.end_wait(number, Ending.DELIVERED, now)

    # --- those that wait ------------------------------------------------------------

    def _pace(self, *, accepted: bool) -> None:
        """Set when those that wait are tried again."""
        now = asyncio.get_running_loop().time()
        if accepted:
            self._failures, self._next_s = 0, now
            return
        if now < self._next_s:  # a new message failed between two tries of the old ones
            return
        self._failures += 1
        rests = [line.pause_s() for line in self._counting]
        self._next_s = now + max(pause_s(self._failures), min(rests, default=0.0))

    async def _until_due(self) -> None:
        """Wait for an untried message, or for the time of those tried before."""
        while not self._due():
            left_s = self._next_s - asyncio.get_running_loop().time()
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s if self._idle() else None):
                    await self._woken.wait()

    def _idle(self) -> list[_Letter]:
        return [letter for letter in self._letters if not letter.on_its_way]

    def _due(self) -> list[_Letter]:
        if asyncio.get_running_loop().time() >= self._next_s:
            return self._idle()
        return [letter for letter in self._idle() if not letter.tried]

    async def _round(self) -> None:
        self._give_up()
        await self._try_each(self._due())

    async def _try_each(self, letters: Sequence[_Letter]) -> None:
        """Try in order, and stop at a failure that the next ones would meet as well."""
        for letter in letters:
            if letter.on_its_way or letter not in self._letters:
                continue
            if not await self._try(letter) and not self._refused_only_that():
                break

    def _refused_only_that(self) -> bool:
        return any(line.failing and line.failing.of_message for line in self._counting)

    def _give_up(self) -> None:
        """End the wait of what nobody would act on any more; it is never silent."""
        now = self._clock.now()
        for letter in [each for each in self._letters if too_old(each.waiting, now)]:
            self._letters.remove(letter)
            number, subject = letter.number, letter.waiting.message.subject
            log.error("notify.abandoned", number=number, subject=subject)
            reason = f"no channel accepted it in {GIVE_UP.days} days"
            if number is not None:
                with _unrecorded(number):
                    self._journal.end_wait(number, Ending.ABANDONED, now, reason)


@contextmanager
def _unrecorded(number: int) -> Iterator[None]:
    """Let the daemon live where only the end of a message's wait is not journaled."""
    try:
        yield
    except JournalError as exc:
        log.warning("notify.unrecorded", number=number, cause=str(exc))
