# ruff: noqa: ASYNC240 - the tests' own files, before and after the loop is needed
from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.control.client import call
from daemon.control.protocol import (
    CommandFailed,
    socket_path,
    uid_of_ucred,
    uid_of_xucred,
)
from daemon.control.server import ControlServer
from daemon.errors import (
    AnotherInstance,
    ConfigError,
    NotRunning,
    PlanError,
    PortInUse,
)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def echo(args: dict[str, object]) -> dict[str, object]:
    return {"echo": args}


async def refuse(args: dict[str, object]) -> dict[str, object]:
    raise PlanError(f"{args['file']}: line 3: stop above entry")


async def crash(args: dict[str, object]) -> dict[str, object]:
    return {"share": 1 / len(args)}


async def no_json(_args: dict[str, object]) -> dict[str, object]:
    return {"path": Path("plan.csv")}


HANDLERS = {"echo": echo, "refuse": refuse, "crash": crash, "no_json": no_json}


async def ask(
    state_dir: Path, verb: str, args: dict[str, object] | None = None
) -> dict[str, object]:
    return await asyncio.to_thread(call, state_dir, verb, args or {}, 5.0)


async def say(state_dir: Path, line: bytes, *, end: bool = True) -> dict[str, Any]:
    """Send *line* as it is; return the whole answer."""
    reader, writer = await asyncio.open_unix_connection(socket_path(state_dir))
    writer.write(line)
    if end:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return dict(json.loads(answer))


async def test_a_command_is_answered(state_dir: Path) -> None:
    async with ControlServer(state_dir, HANDLERS):
        answer = await ask(state_dir, "echo", {"symbol": "BLCO", "file": "Árvíz.csv"})
    assert answer == {"echo": {"symbol": "BLCO", "file": "Árvíz.csv"}}


async def test_commands_are_answered_one_after_the_other_and_together(
    state_dir: Path,
) -> None:
    async with ControlServer(state_dir, HANDLERS):
        await ask(state_dir, "echo")
        answers = await asyncio.gather(
            *(ask(state_dir, "echo", {"n": number}) for number in range(8))
        )
    assert answers == [{"echo": {"n": number}} for number in range(8)]


async def test_a_long_answer_arrives_whole(state_dir: Path) -> None:
    async def orders(_args: dict[str, object]) -> dict[str, object]:
        return {"orders": ["ibkrd:20260219:BLCO:B:TP"] * 50_000}

    async with ControlServer(state_dir, {"orders": orders}):
        answer = await ask(state_dir, "orders")
    assert answer == {"orders": ["ibkrd:20260219:BLCO:B:TP"] * 50_000}


async def test_an_unknown_command_is_refused_with_those_that_are_known(
    state_dir: Path,
) -> None:
    async with ControlServer(state_dir, HANDLERS):
        with pytest.raises(CommandFailed, match="unknown command 'fatten'") as failed:
            await ask(state_dir, "fatten")
    assert "crash, echo, no_json, refuse" in str(failed.value)
    assert failed.value.exit_status == 2


async def test_a_refusal_keeps_its_text_and_its_exit_status(state_dir: Path) -> None:
    async with ControlServer(state_dir, HANDLERS):
        with pytest.raises(CommandFailed, match="line 3: stop above") as failed:
            await ask(state_dir, "refuse", {"file": "plan.csv"})
    assert failed.value.exit_status == 4


@pytest.mark.parametrize(
    ("verb", "error"),
    [("crash", "ZeroDivisionError"), ("no_json", "not JSON serializable")],
)
async def test_a_bug_in_a_command_is_logged_and_answered(
    state_dir: Path, verb: str, error: str
) -> None:
    async with ControlServer(state_dir, HANDLERS):
        with capture_logs() as logs, pytest.raises(CommandFailed, match=error):
            await ask(state_dir, verb)
        assert await ask(state_dir, "echo") == {"echo": {}}
    assert [(log["event"], log["log_level"], log["verb"]) for log in logs] == [
        ("control.crashed", "error", verb)
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status\n",
        b"[]\n",
        b'{"verb": 3}\n',
        b'{"args": {}}\n',
        b'{"verb": "echo", "args": []}\n',
        b'{"verb": "echo"',
        b"\xff\xfe\n",
        b'{"verb": "echo", "args": {"x": "' + b"x" * 65_536 + b'"}}\n',
    ],
)
async def test_what_is_no_request_is_answered_with_an_error(
    state_dir: Path, line: bytes
) -> None:
    async with ControlServer(state_dir, HANDLERS):
        answer = await say(state_dir, line)
    assert answer["ok"] is False
    assert answer["error"].startswith("not a request: ")


async def test_only_the_first_request_of_a_connection_counts(state_dir: Path) -> None:
    seen: list[object] = []

    async def note(args: dict[str, object]) -> dict[str, object]:
        seen.append(args)
        return {}

    async with ControlServer(state_dir, {"note": note}):
        await say(state_dir, b'{"verb": "note"}\n{"verb": "note"}\n')
    assert seen == [{}]


async def test_a_client_that_says_nothing_is_answered_in_time(
    state_dir: Path,
) -> None:
    async with ControlServer(state_dir, HANDLERS, read_timeout_s=0.02):
        answer = await say(state_dir, b'{"verb":', end=False)
    assert answer == {
        "ok": False,
        "error": "no request within 0.02 s",
        "exit_status": 1,
    }


async def test_a_client_that_goes_away_does_no_harm(state_dir: Path) -> None:
    entered, gone = asyncio.Event(), asyncio.Event()

    async def slow(_args: dict[str, object]) -> dict[str, object]:
        entered.set()
        await gone.wait()
        return {"orders": ["x" * 1000] * 1000}

    async with ControlServer(state_dir, HANDLERS | {"slow": slow}):
        _, writer = await asyncio.open_unix_connection(socket_path(state_dir))
        writer.write(b'{"verb": "slow"}\n')
        await entered.wait()
        writer.close()
        await writer.wait_closed()
        gone.set()
        assert await ask(state_dir, "echo") == {"echo": {}}


async def test_another_user_is_not_answered(state_dir: Path) -> None:
    async with ControlServer(state_dir, HANDLERS, uid=os.getuid() + 1):
        with capture_logs() as logs, pytest.raises(NotRunning):
            await ask(state_dir, "echo")
    assert logs == [
        {"event": "control.refused", "log_level": "warning", "uid": os.getuid()}
    ]


def test_the_peer_is_read_from_what_each_kernel_gives() -> None:
    linux = bytes.fromhex("39050000f501000014000000")
    macos = bytes.fromhex("00000000f50100000100000014000000") + bytes(60)
    assert uid_of_ucred(linux) == 501
    assert uid_of_xucred(macos) == 501


async def test_the_socket_is_private_and_goes_with_the_server(state_dir: Path) -> None:
    async with ControlServer(state_dir, HANDLERS) as server:
        assert server.path == state_dir / "control.sock"
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert list(state_dir.iterdir()) == []


async def test_an_error_of_the_daemon_leaves_as_it_is(state_dir: Path) -> None:
    with pytest.raises(PlanError, match="line 3"):
        async with ControlServer(state_dir, HANDLERS):
            raise PlanError("line 3")
    assert list(state_dir.iterdir()) == []


async def test_a_daemon_that_is_cancelled_leaves_no_socket(state_dir: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02), ControlServer(state_dir, HANDLERS):
            await asyncio.Event().wait()
    assert list(state_dir.iterdir()) == []


async def test_a_directory_that_others_may_enter_is_refused(state_dir: Path) -> None:
    state_dir.mkdir()
    state_dir.chmod(0o750)
    with pytest.raises(ConfigError, match="chmod 700"):
        await ControlServer(state_dir, HANDLERS).__aenter__()


async def test_the_socket_of_a_dead_daemon_is_replaced(state_dir: Path) -> None:
    state_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(state_dir / "control.sock"))
    async with ControlServer(state_dir, HANDLERS):
        assert await ask(state_dir, "echo") == {"echo": {}}


async def test_the_socket_of_a_living_daemon_is_left_alone(state_dir: Path) -> None:
    async with ControlServer(state_dir, HANDLERS):
        with pytest.raises(AnotherInstance, match=r"control\.sock: stop it first"):
            await ControlServer(state_dir, {}).__aenter__()
        assert await ask(state_dir, "echo") == {"echo": {}}


async def test_a_file_under_the_name_of_the_socket_is_left_alone(
    state_dir: Path,
) -> None:
    state_dir.mkdir(mode=0o700)
    (state_dir / "control.sock").write_text("notes")
    with pytest.raises(PortInUse, match="is not a socket: move it away"):
        await ControlServer(state_dir, HANDLERS).__aenter__()
    assert (state_dir / "control.sock").read_text() == "notes"


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    return tmp_path / ("Library/Application Support/" * 4) / "ibkrd"


@pytest.fixture
def runtime(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    folder = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    return folder


async def test_a_socket_with_too_long_a_path_goes_elsewhere(
    deep: Path, runtime: Path
) -> None:
    async with ControlServer(deep, HANDLERS) as server:
        assert server.path.parent.parent == runtime
        assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
        assert (deep / "control.path").read_text() == f"{server.path}\n"
        assert await ask(deep, "echo") == {"echo": {}}
    assert not server.path.exists()
    assert list(deep.iterdir()) == []


async def test_two_state_directories_never_share_a_socket(
    deep: Path, runtime: Path
) -> None:
    async with (
        ControlServer(deep, HANDLERS) as first,
        ControlServer(deep.with_name("paper"), HANDLERS) as second,
    ):
        assert first.path.parent.parent == second.path.parent.parent == runtime
        assert first.path != second.path


async def test_a_short_directory_that_is_not_ours_alone_is_refused(
    deep: Path, runtime: Path
) -> None:
    async with ControlServer(deep, HANDLERS) as server:
        folder = server.path.parent
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        await ControlServer(deep, HANDLERS).__aenter__()
    folder.rmdir()
    folder.symlink_to(runtime)
    with pytest.raises(ConfigError, match="directory of this user alone"):
        await ControlServer(deep, HANDLERS).__aenter__()


async def test_the_pointer_of_a_dead_daemon_is_replaced(state_dir: Path) -> None:
    state_dir.mkdir(mode=0o700)
    (state_dir / "control.path").write_text("/nowhere/control.sock\n")
    async with ControlServer(state_dir, HANDLERS):
        assert await ask(state_dir, "echo") == {"echo": {}}


async def test_an_answer_that_is_under_way_is_finished_at_the_end(
    state_dir: Path,
) -> None:
    entered, stopped = asyncio.Event(), asyncio.Event()

    async def stop(_args: dict[str, object]) -> dict[str, object]:
        entered.set()
        await stopped.wait()
        return {"stopping": True}

    async with asyncio.TaskGroup() as tasks, ControlServer(state_dir, {"stop": stop}):
        asked = tasks.create_task(ask(state_dir, "stop"))
        await entered.wait()
        asyncio.get_running_loop().call_soon(stopped.set)
    assert asked.result() == {"stopping": True}


async def test_a_command_that_never_ends_does_not_keep_the_daemon(
    state_dir: Path,
) -> None:
    entered = asyncio.Event()

    async def hang(_args: dict[str, object]) -> dict[str, object]:
        entered.set()
        await asyncio.Event().wait()
        return {}

    async with ControlServer(state_dir, {"hang": hang}, grace_s=0.02):
        asked = asyncio.gather(ask(state_dir, "hang"), return_exceptions=True)
        await entered.wait()
    (answer,) = await asked
    assert isinstance(answer, NotRunning)
    assert "closed without a complete answer" in str(answer)


# The client


def serve_once(path: Path, answer: bytes) -> Callable[[], None]:
    """Return what answers one connection on *path* with *answer*."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def run() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    return run


@pytest.mark.parametrize("exists", [True, False])
def test_without_a_daemon_the_client_says_how_to_start_one(
    state_dir: Path, exists: bool
) -> None:
    if exists:
        state_dir.mkdir()
    with pytest.raises(NotRunning, match=r"control\.sock .*start it with `ibkrd run`"):
        call(state_dir, "status", {}, 5.0)


def test_a_dead_daemons_socket_is_nobody(state_dir: Path) -> None:
    state_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(state_dir / "control.sock"))
    with pytest.raises(NotRunning, match="refused"):
        call(state_dir, "status", {}, 5.0)


def test_a_path_too_long_without_a_daemon_is_nobody(deep: Path) -> None:
    with pytest.raises(NotRunning, match="AF_UNIX path too long"):
        call(deep, "status", {}, 5.0)


def test_a_daemon_that_does_not_answer_in_time_is_named(state_dir: Path) -> None:
    state_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(state_dir / "control.sock"))
        mute.listen(1)
        with pytest.raises(NotRunning, match=r"did not answer .* within 0\.05 s"):
            call(state_dir, "status", {}, 0.05)


@pytest.mark.parametrize("answer", [b"", b'{"ok": true, "resu', b"[]\n"])
async def test_half_an_answer_is_none(state_dir: Path, answer: bytes) -> None:
    state_dir.mkdir()
    run = serve_once(state_dir / "control.sock", answer)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.to_thread(run))
        with pytest.raises(NotRunning, match="without a complete answer"):
            await ask(state_dir, "status")
