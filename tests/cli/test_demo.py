"""`ibkrd demo` as a person sees it, and as a program does."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

DEMO = [sys.executable, "-m", "daemon", "demo"]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Terminal:
    """Runs a command on a pseudo-terminal and keeps what appears on it."""

    def __init__(self, command, env):
        self.shown = ""
        self._ours, theirs = pty.openpty()
        self._child = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **env},
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait()
        os.close(self._ours)

    def until(self, text, limit_s=20.0):
        deadline = time.monotonic() + limit_s
        while text not in self.shown:
            assert self._read(deadline), f"{text!r} was not shown, but:\n{self.shown}"

    def type(self, text):
        os.write(self._ours, text.encode())

    def signal(self, number):
        self._child.send_signal(number)

    def wait(self, limit_s=20.0):
        """Return the exit status when everything was shown."""
        deadline = time.monotonic() + limit_s
        while self._read(deadline):
            pass
        return self._child.wait(limit_s)

    def _read(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._ours], [], [], left)[0]:
            return False
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:  # Linux: nobody has the other end any more
            return False
        self.shown += chunk.decode()
        return bool(chunk)


def demo(home, *options):
    """Run the command without a terminal."""
    return subprocess.run(  # noqa: S603 - our own program
        [*DEMO, *options],
        capture_output=True,
        text=True,
        env={"HOME": str(home)},
        timeout=30,
        check=False,
    )


def test_a_terminal_shows_the_day_and_how_far_it_is(tmp_path):
    with Terminal(DEMO, {"HOME": str(tmp_path)}) as terminal:
        assert terminal.wait() == 0
        shown = terminal.shown
    assert re.search(r"1[0-5]:\d\d New York.*━.*\d+ %", shown)
    for line in (
        "09:00:00  broker  client id 10 connected",
        "daemon  Submit 2026-02-19: 9 rows: 8 submitted, 1 skipped",
        "daemon  Close 2026-02-19: 5 closing order(s) for 5 position(s)",
        "flat      yes (by the gateway's ledger)",
        "at close  BLCO 181, EOG 45, LH 15, MRNA 55, NOV 196",
    ):
        assert line in shown
    # The bar leaves, and the cursor comes back.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "━" not in shown[shown.rindex("\x1b[?25h") :]


@pytest.mark.slow
def test_no_control_character_reaches_what_is_no_terminal(tmp_path):
    ended = demo(tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert CONTROL.search(ended.stdout) is None
    assert "━" not in ended.stdout
    first, *_, last = ended.stdout.splitlines()
    assert first == "09:00:00  broker  client id 10 connected"
    state = tmp_path / ".cache" / "ibkrd" / "demo" / "2026-02-19-seed-1"
    assert last == f"report    {state}/reports/report_2026-02-19.json"
    assert json.loads((state / "reports" / "report_2026-02-19.json").read_text())


def test_json_is_all_that_json_prints(ibkrd):
    place = ibkrd.home / 'a "quoted\\ place'
    ended = ibkrd("demo", "--json", "--state", place)
    assert (ended.status, ended.err) == (0, "")
    summary = json.loads(ended.out)
    assert (summary["flat"], summary["violations"]) == (True, [])
    rows = summary["rows"]
    assert rows["total"] == rows["submitted"] + rows["skipped"] + rows["refused"] == 9
    assert rows["unknown"] == 0
    assert summary["report"].startswith(f"{place}/2026-02-19-seed-1/reports/")


@pytest.mark.slow
def test_pace_takes_its_time_and_plays_the_same_day_again(ibkrd):
    place = ibkrd.home / "played"
    first = json.loads(ibkrd("demo", "--json", "--state", place).out)
    began = time.monotonic()
    # 7.5 hours at 18000 times real speed are one second and a half.
    ended = ibkrd("demo", "--json", "--state", place, "--pace", "18000")
    assert time.monotonic() - began >= 1.5
    assert ended.status == 0
    assert json.loads(ended.out) == first


@pytest.mark.parametrize("how", ["typed", "SIGTERM"])
def test_ctrl_c_ends_a_paced_day_and_leaves_the_terminal_as_it_was(tmp_path, how):
    command = [*DEMO, "--pace", "60"]
    # The terminal's line discipline turns ^C into SIGINT for its session.
    controlling = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    wrapped = [sys.executable, "-c", controlling, *command]
    with Terminal(wrapped, {"HOME": str(tmp_path)}) as terminal:
        terminal.until("client id 10 connected")
        if how == "typed":
            terminal.type("\x03")
        else:
            terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 130
        shown = terminal.shown
    assert "ibkrd: stopped before the end of 2026-02-19: play it again" in shown
    assert "Traceback" not in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("day", "at_the_close", "bell"),
    [
        ("2026-11-27", "12:40:", "13:00:"),  # a half-day
        ("2026-03-10", "15:40:", "16:00:"),  # New York is ahead of Budapest's change
        ("2026-10-27", "15:40:", "16:00:"),  # and behind it
    ],
)
def test_any_session_ends_flat(ibkrd, day, at_the_close, bell):
    ended = ibkrd("demo", "--date", day)
    assert ended.status == 0, ended.out
    lines = ended.out.splitlines()
    (closing,) = [line for line in lines if f"daemon  Close {day}" in line]
    assert closing.startswith(at_the_close)
    auction = [line for line in lines if line.endswith(":MOC]") and "SELL" in line]
    assert {line[:6] for line in auction} == {bell}
    assert "flat      yes (by the gateway's ledger)" in lines
    assert "at close  BLCO 181, EOG 45, LH 15, MRNA 55, NOV 196" in lines


def test_a_plan_of_another_day_is_played_as_if_it_were_of_this_one(ibkrd, nov):
    path = ibkrd.plan(nov, name="execution_plan_run_20250613_120000_ffffff.csv")
    ended = ibkrd("demo", "--plan", path, "--date", "2026-03-02", "--json")
    assert ended.status == 0
    summary = json.loads(ended.out)
    assert (summary["day"], summary["flat"]) == ("2026-03-02", True)
    assert summary["rows"]["submitted"] == summary["rows"]["total"] == 1


def test_symbols_that_no_exchange_knows_are_refused_and_the_day_goes_on(ibkrd, nov):
    path = ibkrd.plan(nov, nov.replace("NOV", "ZZNONE"))
    ended = ibkrd("demo", "--plan", path, "--json")
    assert ended.status == 0
    rows = json.loads(ended.out)["rows"]
    assert (rows["submitted"], rows["refused"]) == (1, 1)
