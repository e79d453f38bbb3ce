"""What the daemon writes to the wire, frame by frame and by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from daemon.simulation.killing.life import Life

GREETING = b"API\0"
NAMES = {
    "3": "placeOrder",
    "4": "cancelOrder",
    "5": "reqOpenOrders",
    "6": "reqAccountUpdates",
    "7": "reqExecutions",
    "8": "reqIds",
    "9": "reqContractDetails",
    "15": "reqAutoOpenOrders",
    "16": "reqAllOpenOrders",
    "49": "reqCurrentTime",
    "58": "reqGlobalCancel",
    "61": "reqPositions",
    "62": "reqAccountSummary",
    "71": "startApi",
    "76": "reqAccountUpdatesMulti",
    "99": "reqCompletedOrders",
}
"""Message ids of the wire protocol, from the client to the gateway."""


NO_TRACE = frozenset({"reqCurrentTime"})
"""What changes nothing at the gateway, nor what it will answer later."""


def frames(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each frame of *data* with its name; the greeting is part of the first."""
    while data:
        start = len(GREETING) if data.startswith(GREETING) else 0
        size = int.from_bytes(data[start : start + 4], "big")
        end = start + 4 + size
        frame, data = data[:end], data[end:]
        name = frame[start + 4 :].split(b"\0", 1)[0].decode("ascii", "replace")
        yield "handshake" if start else NAMES.get(name, f"message{name}"), frame


def tapped(life: Life) -> Callable[[bytes, Callable[[bytes], None]], None]:
    """Return what lets the frames of *life* out one by one, with points around each."""

    def write(data: bytes, put: Callable[[bytes], None]) -> None:
        for name, frame in frames(data):
            call = life.call("wire", name)
            call.reach("before")
            put(frame)
            if name not in NO_TRACE:
                call.sent()
            call.reach("after")

    return write
