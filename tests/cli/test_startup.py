"""A command imports what it needs: whoever asks for help does not wait for pandas."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from daemon.cli import run_cli
status = run_cli(sys.argv[1:])
sys.stderr.write(json.dumps([status, sorted({n.split(".")[0] for n in sys.modules})]))
"""
HEAVY = {
    "ib_async",
    "eventkit",
    "pandas",
    "numpy",
    "exchange_calendars",
    "sqlalchemy",
    "alembic",
    "apscheduler",
    "aiohttp",
    "time_machine",
}


@pytest.mark.parametrize(
    ("arguments", "status", "without"),
    [
        (["--help"], 0, HEAVY | {"pydantic", "rich", "asyncio", "structlog"}),
        (["--version"], 0, HEAVY | {"pydantic", "rich", "asyncio", "structlog"}),
        (["status"], 3, HEAVY | {"rich", "asyncio", "structlog"}),
        (["schedule", "--json"], 0, HEAVY | {"rich", "asyncio"}),
        (["schedule"], 0, HEAVY | {"asyncio"}),
        (["plan", "--session", "2026-02-19"], 4, HEAVY | {"asyncio", "structlog"}),
    ],
)
def test_a_short_command_loads_nothing_heavy(tmp_path, arguments, status, without):
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path)},
        check=True,
    )
    returned, loaded = json.loads(ended.stderr.splitlines()[-1])
    assert returned == status
    assert without & set(loaded) == set()
