"""Children whose words are stamped as they come, and the house that ends them all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
DAY = "2026-02-19"
ACCOUNT = "DU1234567"
CLIENT_ID = 10
PLAN = "execution_plan_run_20260219_130502_a1b2c3.csv"
"""Stamped 08:05 in New York on the Thursday."""
LIMIT_S = 60.0
"""Longest wait for a word; nothing measured here takes as long."""


class BenchError(Exception):
    """A child did not do what the measurement needs."""


@dataclass(frozen=True, slots=True)
class Word:
    """One record that a child printed; *at* on the monotonic clock, as it arrived."""

    at: float
    record: dict[str, Any]


class Child(asyncio.SubprocessProtocol):
    """One process; a line that is no JSON is the text of an event `line`."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.pid = 0
        self._transport: asyncio.SubprocessTransport | None = None
        self._rest = b""
        self._read = 0
        self._news = asyncio.Event()
        self._ended = asyncio.Event()

    # --- asyncio's side -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        if isinstance(transport, asyncio.SubprocessTransport):
            self._transport = transport
            self.pid = transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Stamp whole lines."""
        del fd
        at = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.words.append(Word(at, _record(line)))
        self._news.set()

    def process_exited(self) -> None:
        """Wake those who wait."""
        self._ended.set()
        self._news.set()

    # --- ours -----------------------------------------------------------------------

    async def until(
        self, event: str, limit_s: float = LIMIT_S, **wanted: object
    ) -> Word:
        """Return the next record of *event* after the one that was returned last.

        Raises:
            BenchError: it did not come.
        """
        try:
            async with asyncio.timeout(limit_s):
                return await self._until(event, wanted)
        except TimeoutError:
            raise BenchError(f"{event!r} was not said: {self._said()}") from None

    async def _until(self, event: str, wanted: dict[str, object]) -> Word:
        while True:
            while self._read < len(self.words):
                word = self.words[self._read]
                self._read += 1
                found = word.record["event"] == event
                if found and wanted.items() <= word.record.items():
                    return word
            if self._ended.is_set():
                raise BenchError(f"it ended before {event!r}: {self._said()}")
            self._news.clear()
            await self._news.wait()

    def _said(self) -> str:
        words = [word.record for word in self.words[-12:]]
        return "; ".join(str(word.get("text", word["event"])) for word in words)

    def tell(self, word: str) -> None:
        """Write a line to its input."""
        pipe = self._transport.get_pipe_transport(0) if self._transport else None
        if isinstance(pipe, asyncio.WriteTransport):
            pipe.write(f"{word}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self._transport is not None and not self._ended.is_set():
            self._transport.send_signal(number)

    async def end(self) -> None:
        """Ask it to end; it gets two seconds."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(2):
                await self._ended.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self._ended.wait()
        if self._transport is not None:
            self._transport.close()

    async def resident_kib(self) -> int:
        """Return the memory that it occupies, in KiB."""
        asked = await asyncio.create_subprocess_exec(
            *("ps", "-o", "rss=", "-p", str(self.pid)), stdout=subprocess.PIPE
        )
        said, _ = await asked.communicate()
        return int(said)


def _record(line: bytes) -> dict[str, Any]:
    if line.startswith(b"{"):
        return dict(json.loads(line))
    return {"event": "line", "text": line.decode(errors="replace")}


@dataclass(frozen=True, slots=True)
class Gateway:
    """`ibkrd gateway` and the ledger that it keeps."""

    child: Child
    port: int
    ledger: Path

    def records(self, event: str, client_id: int) -> list[dict[str, Any]]:
        """Return what the gateway wrote down of one client."""
        lines = self.ledger.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        return [
            record
            for record in whole
            if record["event"] == event and record.get("client_id") == client_id
        ]


class House:
    """Starts processes on a directory of their own and ends all of them."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._stack = AsyncExitStack()
        self._rooms = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def room(self) -> Path:
        """Return a directory that nobody has used."""
        self._rooms += 1
        room = self._place / str(self._rooms)
        room.mkdir(parents=True, mode=0o700)
        return room

    async def start(self, command: Sequence[str | Path], home: Path) -> Child:
        """Start a child; it is ended with the house at the latest."""
        env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        _, child = await asyncio.get_running_loop().subprocess_exec(
            Child, *map(str, command), stderr=subprocess.STDOUT, env=env
        )
        self._stack.push_async_callback(child.end)
        return child

    async def gateway(self, at: str) -> Gateway:
        """Start the gateway at the time of day *at* of its world, in New York."""
        home = self.room()
        ledger = home / "ledger.jsonl"
        child = await self.start(
            [
                *(sys.executable, "-m", "daemon", "gateway"),
                *("--listen", "127.0.0.1:0", "--time", f"{DAY}T{at}"),
                *("--ledger", ledger),
            ],
            home,
        )
        said = str((await child.until("line")).record["text"])
        port = said.partition(",")[0].rpartition(":")[2]
        return Gateway(child, int(port), ledger)

    async def relay(self, port: int) -> tuple[Child, int]:
        """Start a cable to *port*; return it and the port at its near end."""
        child = await self.start([sys.executable, HERE / "relay.py", str(port)], HERE)
        said = await child.until("listening")
        return child, int(said.record["port"])

    async def plain(self, port: int, how: str, *more: object, client_id: int) -> Child:
        """Start a script of ib_async."""
        arguments = [str(port), str(client_id), how, *map(str, more)]
        return await self.start([sys.executable, HERE / "plain.py", *arguments], HERE)

    async def daemon(self, port: int, at: str | None, plan: str = "") -> Child:
        """Start `ibkrd run` on a new state, at a New York time of the day, or now."""
        home = self.room()
        plans = home / "state" / "plans"
        plans.mkdir(parents=True, mode=0o700)
        plans.parent.chmod(0o700)
        if plan:
            (plans / PLAN).write_text(plan, encoding="utf-8")
        config = home / "config.toml"
        config.write_text(
            f"[gateway]\nport = {port}\nclient_id = {CLIENT_ID}\n"
            f'[account]\nid = "{ACCOUNT}"\n[paths]\nstate = "{home / "state"}"\n'
        )
        host = (
            ["-m", "daemon"] if at is None else [HERE / "host.py", f"{DAY}T{at}-05:00"]
        )
        command = [sys.executable, *host, "--config", config, "run"]
        return await self.start(command, home)


def plan_text(rows: int) -> str:
    """Return a plan of *rows* rows that rest below the market, a hundred USD each."""
    head = (
        "instrument_id,direction,order_type,limit_price,quantity,stop_loss,"
        "take_profit_1,take_profit_2,risk_usd,score,gex_regime,sector,"
        "multiplier_total,mult_vix,mult_utility,sector_bmi,sector_regime,"
        "is_mean_reversion"
    )
    tail = "100,120,positive,Energy,1,1,1,50,neutral,False"
    letters = "ABCDEFGHIJ"
    symbols = [f"Q{a}{b}" for a in letters for b in letters][:rows]
    lines = [f"{s},BUY,LIMIT,8.00,12,7.50,9.00,9.50,{tail}" for s in symbols]
    return "\n".join([head, *lines]) + "\n"
