from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.errors import AnotherInstance, ConfigError
from daemon.lock import InstanceLock

HOLDER = (
    "import sys; from pathlib import Path\n"
    "from daemon.lock import InstanceLock\n"
    "with InstanceLock(Path(sys.argv[1])):\n"
    "    print('locked', flush=True)\n"
    "    sys.stdin.read()\n"
)


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds *path*, until its input ends."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ibkrd.lock"


def test_a_second_instance_is_told_who_holds_the_lock(path: Path) -> None:
    with holder(path) as process:
        with pytest.raises(AnotherInstance) as refused, InstanceLock(path):
            pass
        process.communicate()
    started = datetime.fromtimestamp(int(path.stat().st_mtime), UTC).isoformat()
    text = str(refused.value)
    assert f"(pid {process.pid}, started {started}) holds {path}" in text
    assert "stop it first" in text


def test_the_kernel_frees_the_lock_of_a_killed_holder(path: Path) -> None:
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert f"pid {process.pid}" in path.read_text()
        with InstanceLock(path):
            assert re.fullmatch(
                rf"pid {os.getpid()}, started 20\S+\+00:00\n", path.read_text()
            )


def test_one_process_cannot_hold_it_twice(path: Path) -> None:
    with (
        InstanceLock(path),
        pytest.raises(AnotherInstance, match=f"pid {os.getpid()}"),
        InstanceLock(path),
    ):
        pass


def test_a_lock_that_was_left_can_be_taken_again(path: Path) -> None:
    lock = InstanceLock(path)
    for _ in range(2):
        with lock, pytest.raises(AnotherInstance), InstanceLock(path):
            pass


def test_a_child_that_outlives_the_lock_does_not_keep_it(path: Path) -> None:
    with ExitStack() as lock:
        lock.enter_context(InstanceLock(path))
        with subprocess.Popen(
            [sys.executable, "-c", "print('up', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "up\n"
            lock.close()
            with InstanceLock(path):
                assert child.poll() is None
            child.communicate("\n")


def test_the_file_is_private(path: Path) -> None:
    with InstanceLock(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_place_that_cannot_hold_a_lock_is_named(path: Path) -> None:
    path.parent.write_text("a file")
    with (
        pytest.raises(ConfigError, match=r"ibkrd\.lock cannot be locked"),
        InstanceLock(path),
    ):
        pass
