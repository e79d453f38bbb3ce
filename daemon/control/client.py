"""The command line's end of the control socket; synchronous and quick to load."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from daemon.control.protocol import (
    CommandFailed,
    decode,
    encode,
    peer_uid,
    socket_path,
)
from daemon.errors import NotRunning


def call(
    state_dir: Path, verb: str, args: dict[str, object], timeout_s: float
) -> dict[str, object]:
    """Return what the daemon of *state_dir* answers to *verb* within *timeout_s*.

    Raises:
        NotRunning: no daemon listens there, or it gave no complete answer in time.
        CommandFailed: the daemon's answer is an error.
    """
    path = socket_path(state_dir)
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            _check_peer(connection, path)
            connection.sendall(encode({"verb": verb, "args": args}))
            line = _line(connection, deadline)
        except TimeoutError as exc:
            raise NotRunning(
                f"the daemon did not answer on {path} within {timeout_s:g} s: look at "
                f"its log; if it hangs, stop it and start it again"
            ) from exc
        except OSError as exc:
            raise NotRunning(
                f"no daemon answers on {path} ({exc.strerror or exc}): start it with "
                f"`ibkrd run`, or name the right state directory"
            ) from exc
    return _result(line, path)


def _check_peer(connection: socket.socket, path: Path) -> None:
    """See that the other end is ours: the socket may lie in a shared directory."""
    uid = peer_uid(connection)
    if uid != os.getuid():
        raise NotRunning(f"user {uid} listens on {path}, not this user: remove it")


def _line(connection: socket.socket, deadline: float) -> bytes:
    """Return all that comes until the other end closes.

    Raises:
        TimeoutError: it did not close before *deadline*.
    """
    received = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(65536)
        if not chunk:
            return bytes(received)
        received += chunk


def _result(line: bytes, path: Path) -> dict[str, object]:
    """Return the result on *line*; half an answer is none."""
    try:
        answer = decode(line)
    except ValueError as exc:
        raise NotRunning(
            f"the daemon on {path} closed without a complete answer: it may be "
            f"stopping; try again"
        ) from exc
    result = answer.get("result")
    if answer.get("ok") is True and isinstance(result, dict):
        return result
    status = answer.get("exit_status")
    raise CommandFailed(
        str(answer.get("error")), exit_status=status if isinstance(status, int) else 1
    )
