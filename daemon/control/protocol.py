"""What both ends of the control socket know: where it is, and what a line says."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from pathlib import Path

from daemon.errors import IbkrdError

SOCKET_NAME = "control.sock"
POINTER_NAME = "control.path"
"""Names the socket where the state directory's own path is too long for one."""

REQUEST_LIMIT = 64 * 1024
"""Bytes of the longest request line."""

PATH_LIMIT = 103
"""Bytes of the longest socket path: `sun_path` is 104 with its NUL on macOS."""


class CommandFailed(IbkrdError):
    """The daemon answered a command with an error: do what its text says."""

    def __init__(self, text: str, *, exit_status: int = 1) -> None:
        super().__init__(text)
        self.exit_status = exit_status


def encode(message: dict[str, object]) -> bytes:
    """Return *message* as one JSON line.

    Raises:
        TypeError: *message* holds something that JSON does not know.
        ValueError: *message* holds an infinity or not-a-number.
    """
    return json.dumps(message, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """Return the object on *line*.

    Raises:
        ValueError: the line is not one JSON object.
    """
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the caller's one error
    return message


def fits(path: Path) -> bool:
    """Return whether a unix socket can have this path."""
    return len(os.fsencode(path)) <= PATH_LIMIT


def socket_path(state_dir: Path) -> Path:
    """Return where the daemon of *state_dir* listens, as far as it said so."""
    try:
        return Path((state_dir / POINTER_NAME).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return state_dir / SOCKET_NAME


def peer_uid(connection: socket.socket) -> int:
    """Return the user id of the process at the other end, as the kernel knows it."""
    if sys.platform == "darwin":
        # <sys/un.h>: SOL_LOCAL is 0, LOCAL_PEERCRED is 1, a struct xucred 76 bytes.
        return uid_of_xucred(connection.getsockopt(0, 1, 76))
    return uid_of_ucred(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )


def uid_of_ucred(credentials: bytes) -> int:
    """Return the uid of Linux's struct ucred: pid, uid, gid."""
    _pid, uid, _gid = struct.unpack("iII", credentials)
    return int(uid)


def uid_of_xucred(credentials: bytes) -> int:
    """Return the uid of macOS's struct xucred: version, uid, groups."""
    _version, uid = struct.unpack_from("II", credentials)
    return int(uid)
