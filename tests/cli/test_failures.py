"""What nobody foresaw ends in one line, too, and shows nothing that is secret."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from types import ModuleType

import click
import pytest

from daemon.cli import LazyGroup
from daemon.errors import GatewayTimeout, OutsideCalendar
from daemon.log import configure_logging

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawX"


@pytest.fixture
def failing(ibkrd, monkeypatch):
    """Return what runs a command of ours that ends with a given exception."""

    def run(exc, *, log=False):
        @click.command("fails")
        def command():
            secret = TOKEN
            if log:
                configure_logging("json", "INFO", sys.stderr, secrets={"DU7654321"})
            assert secret
            raise exc

        module = ModuleType("daemon.cli.fails")
        module.__dict__["command"] = command
        monkeypatch.setitem(sys.modules, "daemon.cli.fails", module)
        monkeypatch.setitem(LazyGroup.COMMANDS, "fails", "Fails.")
        return ibkrd("fails")

    return run


def test_a_bug_is_one_line_with_its_place(failing):
    ended = failing(ZeroDivisionError("by\nnothing"))
    assert ended.status == 1
    text, place = ended.err.split(" at ")
    assert text == "ibkrd: a bug, please report it: ZeroDivisionError"
    assert place.startswith("test_failures.py:")
    assert place.endswith(": by nothing\n")


def test_no_secret_is_shown_by_a_bug(failing):
    ended = failing(ValueError(f"{TOKEN} of DU1234567 refused"))
    assert ended.status == 1
    assert ended.err.endswith(": *** of DU***567 refused\n")


def test_the_traceback_of_a_bug_goes_to_the_log_without_values(failing):
    ended = failing(ValueError("for DU7654321"), log=True)
    assert ended.status == 1
    logged, said = ended.err.splitlines()
    record = json.loads(logged)
    assert (record["event"], record["level"]) == ("command.crashed", "error")
    assert record["exception"][0]["exc_value"] == "for DU***321"
    assert record["exception"][0]["frames"][-1]["name"] == "command"
    assert said.startswith("ibkrd: a bug, please report it: ValueError at ")
    assert TOKEN not in ended.err


@pytest.mark.parametrize(
    ("exc", "status", "told"),
    [
        (OutsideCalendar("ask for a day inside"), 1, "ibkrd: ask for a day inside\n"),
        (GatewayTimeout("no answer"), 5, "ibkrd: no answer\n"),
        (
            ExceptionGroup(
                "tasks", [ExceptionGroup("inner", [GatewayTimeout("late")])]
            ),
            5,
            "ibkrd: late\n",
        ),
        (
            ExceptionGroup("tasks", [ValueError("x"), GatewayTimeout("late")]),
            5,
            "ibkrd: late\n",
        ),
        (KeyboardInterrupt(), 130, "\nibkrd: stopped\n"),
        (
            PermissionError(13, "Permission denied", "/var/lib/x"),
            1,
            "ibkrd: /var/lib/x: Permission denied: correct it, or name another place\n",
        ),
    ],
)
def test_an_error_keeps_its_own_status_and_text(failing, exc, status, told):
    ended = failing(exc)
    assert (ended.status, ended.err) == (status, told)


def test_a_child_that_fails_is_no_traceback(failing):
    ended = failing(subprocess.CalledProcessError(3, ["child", TOKEN]))
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "CalledProcessError" in ended.err
    assert "***" in ended.err
    assert TOKEN not in ended.err


def test_a_group_of_bugs_is_told_by_the_first_of_them(failing):
    ended = failing(ExceptionGroup("tasks", [ZeroDivisionError("a"), ValueError("b")]))
    assert ended.status == 1
    assert "ZeroDivisionError" in ended.err


def test_a_foreign_distribution_of_the_same_import_name_is_named():
    script = (
        "import daemon; daemon.__dist__ = 'python-daemon'\n"
        "from daemon.__main__ import main; main()"
    )
    ended = python(script)
    assert ended.returncode == 1
    assert "install ibkrd into an environment of its own" in ended.stderr


def test_the_door_ignores_the_report_signal_before_it_imports_anything():
    ended = python(
        "import signal, sys\n"
        "before = set(sys.modules)\n"
        "import daemon.__main__\n"
        "print(int(signal.getsignal(signal.SIGUSR1)))\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    assert ended.stdout == (
        f"{int(signal.SIG_IGN)}\n['__future__', 'daemon', 'daemon.__main__']\n"
    ), ended.stderr


def python(script):
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
