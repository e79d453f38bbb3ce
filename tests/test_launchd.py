from __future__ import annotations

import plistlib
from pathlib import Path

PLIST = Path(__file__).parents[1] / "deploy" / "launchd" / "ibkrd.plist"
KEYS = {
    "Label": str,
    "ProgramArguments": list,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "LegacyTimers": bool,
    "Umask": int,
}
"""Keys of launchd.plist(5) that we use: a misspelt one would be accepted silently."""


def test_every_key_is_known_and_of_its_type() -> None:
    found = plistlib.loads(PLIST.read_bytes())
    assert {key: type(value) for key, value in found.items()} == KEYS


def test_sigusr1_is_ignored_before_the_interpreter_starts() -> None:
    command = plistlib.loads(PLIST.read_bytes())["ProgramArguments"][-1]
    assert command.startswith("trap '' USR1; exec ")


def test_a_clean_stop_stays_stopped() -> None:
    found = plistlib.loads(PLIST.read_bytes())
    assert found["KeepAlive"] == {"SuccessfulExit": False}
