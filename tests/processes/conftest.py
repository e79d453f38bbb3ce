"""Real processes in real time: what they say is waited for, with a limit, never slept.

The gateway has its own clock (`--time`); the daemon believes the time that
`run_at.py` gives it. Both run on from there at the speed of the world.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
IBKRD = [sys.executable, "-m", "daemon"]
ACCOUNT = "DU1234567"
LIMIT_S = 20.0
"""Real seconds until a line is given up; a slow machine needs a few."""
PLAN = "execution_plan_run_20260219_130502_a1b2c3.csv"
"""Stamped 08:05 in New York on Thursday 2026-02-19."""
ROWS = """\
instrument_id,direction,order_type,limit_price,quantity,stop_loss,take_profit_1,\
take_profit_2,risk_usd,score,gex_regime,sector,multiplier_total,mult_vix,mult_utility,\
sector_bmi,sector_regime,is_mean_reversion
KMI,BUY,LIMIT,33.00,100,29.00,36.00,38.00,100,120,positive,Energy,1,1,1,50,neutral,False
NOV,BUY,LIMIT,15.00,40,14.00,16.00,17.00,100,110,positive,Energy,1,1,1,50,neutral,False
"""
"""KMI trades near 31.70 and is bought at once; NOV trades near 19.20 and is not."""


class Process:
    """A child whose output is read line by line; both streams are one."""

    def __init__(self, command: Sequence[str | Path], env: dict[str, str]) -> None:
        self._child = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
        )
        assert self._child.stdout is not None
        self._output = self._child.stdout.fileno()
        self._rest = b""
        self._ended = False
        self.pid = self._child.pid
        self.lines: list[str] = []
        """Everything that was read so far."""
        self._told: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()

    # --- what it says -----------------------------------------------------------

    def until(self, text: str, limit_s: float = LIMIT_S) -> str:
        """Return the first line with *text* that was not returned before."""
        deadline = time.monotonic() + limit_s
        looked = 0
        while True:
            for index in range(looked, len(self.lines)):
                if text in self.lines[index] and index not in self._told:
                    self._told.add(index)
                    return self.lines[index]
            looked = len(self.lines)
            if self._ended or not self._read(deadline):
                said = "\n".join(self.lines)
                pytest.fail(f"{text!r} was not said; but:\n{said}", pytrace=False)

    def event(self, name: str, **wanted: object) -> dict[str, Any]:
        """Return the first such record of the log that was not returned before."""
        while True:
            record = json.loads(self.until(f'"event": "{name}"'))
            if wanted.items() <= record.items():
                return dict(record)

    def events(self) -> list[dict[str, Any]]:
        """Return every record of the log that was read."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def logged(self, name: str) -> list[dict[str, Any]]:
        return [record for record in self.events() if record["event"] == name]

    def _read(self, deadline: float) -> bool:
        """Take what comes until *deadline*; return whether something came."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._output], [], [], left)[0]:
            return False
        chunk = os.read(self._output, 65536)
        self._ended = not chunk
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        self.lines += [line.decode() for line in whole]
        return True

    # --- what is done to it -------------------------------------------------------

    def pestered(self, number: signal.Signals, until: str | None) -> int:
        """Send a signal each millisecond until *until* is said, or until the end."""
        deadline, sent = time.monotonic() + LIMIT_S, 0
        while not self._ended and time.monotonic() < deadline:
            if until and any(until in line for line in self.lines):
                break
            if self._child.poll() is None:
                self._child.send_signal(number)
                sent += 1
            self._read(time.monotonic() + 0.001)
        return sent

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{line}\n".encode())
        self._child.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Return the exit status, when all output was read."""
        deadline = time.monotonic() + limit_s
        while not self._ended:
            if not self._read(deadline):
                said = "\n".join(self.lines)
                pytest.fail(f"it did not end; it said:\n{said}", pytrace=False)
        return self._child.wait(limit_s)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    @property
    def alive(self) -> bool:
        return self._child.poll() is None


@dataclass
class Gateway:
    """`ibkrd gateway` on a port of its own, and the ledger that it keeps."""

    process: Process
    port: int
    ledger: Path

    def records(self, event: str) -> list[dict[str, Any]]:
        lines = self.ledger.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        return [record for record in whole if record["event"] == event]

    def placed(self) -> Counter[str]:
        """Return how often each reference arrived as a new order."""
        return Counter(record["order_ref"] for record in self.records("placed"))


@dataclass
class House:
    """Starts what a test needs, on a home directory of its own, and ends it."""

    home: Path
    stack: ExitStack
    env: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def reports(self) -> Path:
        return self.state / "reports"

    def gateway(
        self, at: str, *options: str, speed: float = 1.0, port: int = 0
    ) -> Gateway:
        """Start the gateway at the instant *at* of its world."""
        ledger = self.home / "ledger.jsonl"
        process = self.start(
            *(*IBKRD, "gateway", "--listen", f"127.0.0.1:{port}", "--time", at),
            *("--speed", str(speed), "--ledger", ledger, *options),
        )
        said = process.until("listening on 127.0.0.1:")
        bound = int(said.split(",")[0].rpartition(":")[2])
        return Gateway(process, bound, ledger)

    def config(
        self, port: int, account: str = ACCOUNT, log_level: str = "INFO"
    ) -> Path:
        """Write config.toml for the gateway at *port*.

        With DEBUG a daemon says so much that it must be listened to all the time.
        """
        path = self.home / "config.toml"
        path.write_text(
            f'[gateway]\nport = {port}\n[account]\nid = "{account}"\n'
            f'[paths]\nstate = "{self.state}"\n[log]\nlevel = "{log_level}"\n'
        )
        return path

    def plan(self, rows: str = ROWS) -> None:
        plans = self.state / "plans"
        plans.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.state.chmod(0o700)
        (plans / PLAN).write_text(rows)

    def daemon(self, at: str) -> Process:
        """Start `ibkrd run`, whose host's clock shows *at*."""
        config = str(self.home / "config.toml")
        return self.start(*self.run_at(at, "--config", config, "run"))

    def run_at(self, at: str, *arguments: str) -> list[str]:
        """Return the command line of `ibkrd` on a host whose clock shows *at*."""
        return [sys.executable, str(HERE / "run_at.py"), at, *arguments]

    def command(self, *arguments: str) -> Process:
        """Start `ibkrd` with the same configuration, at the host's own time."""
        return self.start(
            *IBKRD, "--config", str(self.home / "config.toml"), *arguments
        )

    def start(self, *command: str | Path) -> Process:
        return self.stack.enter_context(Process(command, self.env))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    with ExitStack() as stack:
        yield House(tmp_path, stack, env=env)


@pytest.fixture
def free_port() -> int:
    """Return a port on which nothing listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
