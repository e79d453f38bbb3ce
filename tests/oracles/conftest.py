"""The official clients as judges of the wire; without them nothing runs here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("ibapi") else ["*.py"]

ROOT = Path(__file__).resolve().parents[2]
START = "2026-02-19T15:35:00-05:00"
SPEED = "120"
"""Twelve seconds to the bell, seven to the last moment for a MOC."""


@pytest.fixture
def port() -> Iterator[int]:
    """Give the port of a gateway in its own process, in compressed time."""
    command = [
        *(sys.executable, "-m", "daemon.fakegateway", "--listen", "127.0.0.1:0"),
        *("--time", START, "--speed", SPEED, "--seed", "7"),
    ]
    with subprocess.Popen(  # noqa: S603  # our own command
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield int(said.rpartition(":")[2])
        process.terminate()
