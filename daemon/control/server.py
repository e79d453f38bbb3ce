"""The daemon's end of the control socket: one request a connection, one line each."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from daemon.control.protocol import (
    POINTER_NAME,
    REQUEST_LIMIT,
    SOCKET_NAME,
    decode,
    encode,
    fits,
    peer_uid,
)
from daemon.errors import AnotherInstance, ConfigError, IbkrdError, PortInUse

Handler = Callable[[dict[str, object]], Awaitable[dict[str, object]]]

READ_TIMEOUT_S = 5.0
"""A client that asks writes its line at once; nobody types into the socket."""

GRACE_S = 2.0
"""For the answer to `stop` itself; what takes longer is cancelled."""


class ControlServer:
    """Answers commands from enter to exit, on a socket that only our user can use.

    Args:
        state_dir: the directory in which clients look for the socket.
        handlers: what each verb does with its arguments; the answer is ready for JSON.
        uid: the one user who may ask.
        read_timeout_s: how long a client may take to say what it wants.
        grace_s: how long the end waits for answers that are under way.

    Raises:
        AnotherInstance: another daemon answers on the socket.
        PortInUse: something that is no socket has its name.
        ConfigError: no socket can be made in the directory.
    """

    def __init__(
        self,
        state_dir: Path,
        handlers: Mapping[str, Handler],
        *,
        uid: int | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._state_dir = state_dir
        self._handlers = handlers
        self._uid = os.getuid() if uid is None else uid
        self._read_timeout_s = read_timeout_s
        self._grace_s = grace_s
        self._tasks = asyncio.TaskGroup()
        self._serving: set[asyncio.Task[None]] = set()
        self._log: Any = structlog.get_logger()

    async def __aenter__(self) -> Self:
        self.path = place_socket(self._state_dir)
        listener = _bind(self.path)
        _point_at(self._state_dir, self.path)
        await self._tasks.__aenter__()
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=REQUEST_LIMIT, start_serving=False
        )
        await self._server.start_serving()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.path.unlink(missing_ok=True)
        (self._state_dir / POINTER_NAME).unlink(missing_ok=True)
        try:
            if self._serving:
                await asyncio.wait(self._serving, timeout=self._grace_s)
        finally:
            for task in self._serving:
                task.cancel()
            # Not with our own error: the group would hand it on wrapped in a group.
            await self._tasks.__aexit__(None, None, None)

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve a connection in a task of the group, which ends before we do."""
        if not self._server.is_serving():
            writer.close()
            return
        task = self._tasks.create_task(self._serve(reader, writer), name="control")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the one request of a connection; a client that goes is no error."""
        try:
            uid = peer_uid(writer.get_extra_info("socket"))
            if uid != self._uid:
                self._log.warning("control.refused", uid=uid)
                return
            answer = await self._answer(reader)
            async with asyncio.timeout(self._read_timeout_s):
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, TimeoutError) as exc:
            self._log.info("control.abandoned", cause=type(exc).__name__)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """Return the answer to the next line; every failure is an answer too."""
        try:
            async with asyncio.timeout(self._read_timeout_s):
                line = await reader.readline()
            verb, args = _request(line)
        except TimeoutError:
            return _error(f"no request within {self._read_timeout_s:g} s")
        except ValueError as exc:
            return _error(f"not a request: {exc}")
        handler = self._handlers.get(verb)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return _error(f"unknown command {verb!r}: this daemon knows {known}", 2)
        return await self._handled(verb, handler, args)

    async def _handled(
        self, verb: str, handler: Handler, args: dict[str, object]
    ) -> bytes:
        """Return what *handler* has to say, or why it could not."""
        try:
            return encode({"ok": True, "result": await handler(args)})
        except IbkrdError as exc:
            self._log.warning("control.failed", verb=verb, cause=str(exc))
            return _error(str(exc), exc.exit_status)
        except Exception as exc:  # noqa: BLE001 - a door: a bug in a command must not end the trading day
            self._log.exception("control.crashed", verb=verb)
            return _error(f"{verb} failed inside the daemon ({exc!r}): see its log")


def place_socket(state_dir: Path) -> Path:
    """Return where the socket of *state_dir* goes, in a directory that is ours alone.

    Raises:
        ConfigError: no private directory with a short enough path.
    """
    path = state_dir / SOCKET_NAME
    if not fits(path):
        digest = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:16]
        # systemd's RuntimeDirectory= first: PrivateTmp= hides /tmp from the client.
        runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        path = Path(runtime or tempfile.gettempdir()) / f"ibkrd-{digest}" / SOCKET_NAME
    if not fits(path):
        raise ConfigError(
            f"{path} is too long for a socket: choose a shorter state directory"
        )
    _check_private(path.parent)
    return path


def _check_private(folder: Path) -> None:
    """Create *folder* 0700, or see that it is.

    Raises:
        ConfigError: it belongs to, or is open to, another user.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise ConfigError(f"{folder} cannot hold a socket: {exc.strerror}") from exc
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not ours or found.st_mode & 0o077:
        raise ConfigError(
            f"{folder} must be a directory of this user alone: chmod 700 '{folder}'"
        )


def _bind(path: Path) -> socket.socket:
    """Return a listening socket at *path*, instead of one that a dead daemon left.

    Raises:
        AnotherInstance: a daemon answers there.
        PortInUse: *path* is no socket.
    """
    if path.exists() and not path.is_socket():
        raise PortInUse(f"{path} is not a socket: move it away")
    if _answers(path):
        raise AnotherInstance(f"another ibkrd answers on {path}: stop it first")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)  # the directory is 0700: nobody slips in before
    return listener


def _answers(path: Path) -> bool:
    """Return whether somebody listens on *path*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        outcome = probe.connect_ex(str(path))
    return outcome not in (errno.ENOENT, errno.ECONNREFUSED)


def _point_at(state_dir: Path, path: Path) -> None:
    """Leave word in *state_dir* of a socket that could not be there."""
    pointer = state_dir / POINTER_NAME
    pointer.unlink(missing_ok=True)
    if path.parent != state_dir:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = pointer.with_suffix(".new")
        draft.write_text(f"{path}\n", encoding="utf-8")
        draft.rename(pointer)


def _request(line: bytes) -> tuple[str, dict[str, object]]:
    """Return the verb and the arguments of a request.

    Raises:
        ValueError: the line is no such thing.
    """
    message = decode(line)
    verb, args = message.get("verb"), message.get("args", {})
    if not isinstance(verb, str) or not isinstance(args, dict):
        raise ValueError("`verb` must be text, `args` an object")  # noqa: TRY004 - the caller's one error
    return verb, args


def _error(text: str, exit_status: int = 1) -> bytes:
    """Return the answer that says no, and with what status a command ends."""
    return encode({"ok": False, "error": text, "exit_status": exit_status})
