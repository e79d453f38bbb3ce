"""One day with deaths in it as a list of what happened, for who looks for the cause."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from daemon.simulation.killing.day import NEW_YORK, Lived
from daemon.simulation.killing.evidence import read_journal

QUIET = frozenset({"session", "listing", "position", "commission"})
SHOWN = ("order_ref", "order_id", "status", "code", "text", "quantity", "client_id")


def traced(lived: Lived) -> list[str]:
    """Return what the gateway, the person, the daemon's ends and the journal say."""
    lines = [*_ledger(lived), *_told(lived), *_ends(lived), *_journal(lived)]
    return [f"{_clock(at)}  {who:<8} {text}" for at, who, text in sorted(lines)]


Line = tuple[datetime, str, str]


def _ledger(lived: Lived) -> Iterator[Line]:
    for text in lived.files.ledger.read_text(encoding="utf-8").splitlines():
        record: dict[str, Any] = json.loads(text)
        if record["event"] not in QUIET:
            shown = " ".join(f"{record[k]}" for k in SHOWN if record.get(k))
            perm = record.get("perm_id", "")
            at = datetime.fromisoformat(record["at"])
            yield at, "gateway", f"{record['event']} {shown} ({perm})"


def _told(lived: Lived) -> Iterator[Line]:
    for told in lived.record.pager.told:
        body = told.body.replace("\n", " / ")
        yield told.at, "person", f"{told.severity}: {told.subject} | {body}"


def _ends(lived: Lived) -> Iterator[Line]:
    for number, at in enumerate(lived.record.ends, 1):
        yield at, "daemon", f"life {number} ended"


def _journal(lived: Lived) -> Iterator[Line]:
    books = read_journal(lived.files.journal, lived.record.pager.name)
    for ref, states in books.states.items():
        for one in states:
            code = f" {one.code} {one.text}" if one.code else ""
            at = datetime.fromisoformat(one.at)
            yield at, "journal", f"{ref} {one.state}{code}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(NEW_YORK):%H:%M:%S.%f}"
