from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.cli import run_cli
from daemon.log import release_logging

COLUMNS = (
    "instrument_id,direction,order_type,limit_price,quantity,stop_loss,take_profit_1,"
    "take_profit_2,risk_usd,score,gex_regime,sector,multiplier_total,mult_vix,"
    "mult_utility,sector_bmi,sector_regime,is_mean_reversion"
)
REST = "100,120,positive,Energy,1,1,1,50,neutral,False"
"""The columns that decide nothing."""
NOV = f"NOV,BUY,LIMIT,19.64,292,19.05,20.23,20.82,{REST}"
PLAN = "execution_plan_run_20260219_130502_a1b2c3.csv"


@dataclass(frozen=True)
class Ended:
    """What a command left: its status, and what it said on both streams."""

    status: int
    out: str
    err: str


class Shell:
    """Runs `ibkrd` as its door does, in a home of its own, without a process."""

    def __init__(self, home: Path, read: Callable[[], tuple[str, str]]) -> None:
        self.home = home
        self._read = read

    @property
    def config(self) -> Path:
        return self.home / "config.toml"

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "ibkrd"

    def configured(self, text: str) -> list[str]:
        """Write config.toml; return the option that names it."""
        self.config.write_text(text)
        return ["--config", str(self.config)]

    def plan(self, *rows: str, name: str = PLAN, header: str = COLUMNS) -> Path:
        """Write a plan of whole lines."""
        return self.plan_text("".join(f"{row}\n" for row in (header, *rows)), name)

    def plan_text(self, text: str, name: str = PLAN) -> Path:
        path = self.home / name
        path.write_text(text)
        return path

    def __call__(self, *arguments: object) -> Ended:
        status = run_cli([str(argument) for argument in arguments])
        release_logging()
        return Ended(status, *self._read())


@pytest.fixture
def ibkrd(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    for name in ("IBKRD_CONFIG", "IBKRD_TELEGRAM_TOKEN", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Shell(tmp_path, capsys.readouterr)


@pytest.fixture
def nov() -> str:
    """A row that is good."""
    return NOV
