"""A readable timeline of a simulated day: what the broker did, what was told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from daemon.core.model import Message, Severity

MARKS = {Severity.INFO: " ", Severity.WARNING: "!", Severity.ALARM: "!!"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline; *who* is `daemon` or `broker`."""

    at: datetime
    who: str
    text: str
    loud: bool = False


class Timeline:
    """Makes lines of the gateway's ledger and of the daemon's messages.

    It is a channel of the notifier, too: what it shows was accepted by it.
    """

    name = "timeline"

    def __init__(
        self, write: Callable[[Line], None], now: Callable[[], datetime]
    ) -> None:
        self._write = write
        self._now = now
        self._sessions: set[int] = set()

    async def send(self, message: Message) -> None:
        """Show *message* as a line, its body below."""
        loud = message.severity is not Severity.INFO
        self._write(Line(self._now(), "daemon", message.subject, loud))
        for text in message.body.splitlines():
            self._write(Line(self._now(), "", f"  {text}", loud))

    def take(self, ledger_line: str) -> None:
        """Show one record of the ledger if it is worth a line."""
        record = json.loads(ledger_line)
        text = _TEXTS.get(record["event"], _nothing)(record)
        if text:
            at = datetime.fromisoformat(record["at"])
            self._write(Line(at, "broker", text, record["event"] in _LOUD))


def shown(line: Line, zone: ZoneInfo) -> str:
    """Return *line* as text with the time of day in *zone*."""
    time = line.at.astimezone(zone).strftime("%H:%M:%S") if line.who else " " * 8
    return f"{time}  {line.who:<6}  {line.text}"


_LOUD = frozenset({"refused_client", "order_error", "dropped"})


def _nothing(_: dict[str, Any]) -> str:
    return ""


def _connected(record: dict[str, Any]) -> str:
    return f"client id {record['client_id']} connected"


def _disconnected(record: dict[str, Any]) -> str:
    return f"client id {record['client_id']} disconnected"


def _refused(record: dict[str, Any]) -> str:
    return f"client id {record['client_id']} refused: already in use (326)"


def _executed(record: dict[str, Any]) -> str:
    return (
        f"{record['side']} {record['quantity']} {record['symbol']} at "
        f"{record['price']}  [{_name(record)}]"
    )


def _status(record: dict[str, Any]) -> str:
    if record["status"] == "Cancelled":
        return f"cancelled  [{_name(record)}]"
    if record["status"] == "PreSubmitted" and ":MOC" in record["order_ref"]:
        return f"accepted for the closing auction  [{_name(record)}]"
    return ""


def _name(record: dict[str, Any]) -> str:
    """Return the order's reference without what is the same all day."""
    return record["order_ref"].removeprefix("ibkrd:").partition(":")[2] or "foreign"


def _error(record: dict[str, Any]) -> str:
    if record["code"] == 202:  # the answer to our own cancels
        return ""
    return f"order {record['order_id']}: {record['code']} {record['text']}"


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "connected": _connected,
    "disconnected": _disconnected,
    "refused_client": _refused,
    "executed": _executed,
    "status": _status,
    "order_error": _error,
    "dropped": lambda record: f"gateway cut client id {record['client_id']}",
    "notice": lambda record: f"notice {record['code']} {record['text']}",
}
