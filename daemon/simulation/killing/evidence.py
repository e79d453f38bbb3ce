"""What a day left behind, read as a stranger would: the ledger and the journal's file.

It shares no code with the daemon; of the checker it takes the grammar of references.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.simulation.checker.references import Reference, read_reference

CLIENT_ID = 10
DONE = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})


@dataclass
class Placed:
    """One order of ours as it arrived at the gateway, and what became of it."""

    order_id: int
    perm_id: int
    ref: str
    parent_id: int
    reached: bool = False
    """Whether it came to the market: it was transmitted, or it even executed."""
    ended: bool = False

    @property
    def meaning(self) -> Reference | None:
        """Return what its reference says."""
        return read_reference(self.ref)


@dataclass(frozen=True)
class Broker:
    """The gateway's side."""

    orders: tuple[Placed, ...]

    @property
    def entries(self) -> dict[tuple[str, str], list[Placed]]:
        """Return the entries of each row and bracket, whatever their attempt."""
        found: dict[tuple[str, str], list[Placed]] = defaultdict(list)
        for order in self.orders:
            meaning = order.meaning
            if meaning is not None and meaning.leg == "EN":
                found[meaning.symbol, meaning.bracket].append(order)
        return found

    @property
    def halves(self) -> list[str]:
        """Return the orders whose family was begun and not finished."""
        return [order.ref for order in self.orders if not order.reached]

    def children(self, parent: Placed) -> list[Placed]:
        """Return the orders that hang on *parent*."""
        return [one for one in self.orders if one.parent_id == parent.order_id]


def read_ledger(lines: Iterable[str]) -> Broker:
    """Return our orders as the gateway's ledger tells of them."""
    orders: dict[int, Placed] = {}
    for line in lines:
        record = json.loads(line)
        if record["event"] == "placed" and record["client_id"] == CLIENT_ID:
            orders[record["perm_id"]] = Placed(
                record["order_id"],
                record["perm_id"],
                record["order_ref"],
                record["parent_id"] or 0,
            )
        else:
            _happened(orders, record)
    return Broker(tuple(orders.values()))


def _happened(orders: dict[int, Placed], record: dict[str, Any]) -> None:
    order = orders.get(record.get("perm_id", 0))
    match record["event"]:
        case "released" | "executed" if order is not None:
            order.reached = True
        case "discarded" if order is not None:
            order.ended = True
        case "status" if order is not None:
            order.ended = order.ended or record["status"] in DONE
        case "order_error" if record["client_id"] == CLIENT_ID:
            for other in orders.values():
                if other.order_id == record["order_id"] and not other.reached:
                    other.ended = record["code"] in {161, 201, 202} or other.ended


@dataclass(frozen=True, slots=True)
class State:
    """One entry in the life of one order."""

    at: str
    state: str
    code: int | None
    text: str
    heard: str
    """What the broker had said of the order last: the kind of event, or nothing."""


@dataclass(frozen=True)
class Books:
    """The daemon's side."""

    rows: dict[str, tuple[str, str]]
    """Of each symbol the status and the reason."""
    states: dict[str, list[State]]
    """Of each reference its states in order, without the first, `intended`."""
    runs: dict[str, list[tuple[str | None, str]]]
    """Of each job the outcomes and summaries of its runs."""
    told: tuple[str, ...]
    """The messages that the person's channel accepted."""
    untold: tuple[str, ...]
    intents: frozenset[str] = field(default=frozenset())


def read_journal(path: Path, channel: str) -> Books:
    """Return what the journal at *path* says; *channel* is the person's."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        rows = {
            row["symbol"]: (row["status"], row["reason"])
            for row in db.execute("SELECT symbol, status, reason FROM plan_rows")
        }
        runs: dict[str, list[tuple[str | None, str]]] = defaultdict(list)
        for row in db.execute("SELECT job, outcome, summary FROM runs ORDER BY due"):
            runs[row["job"]].append((row["outcome"], row["summary"] or ""))
        messages = db.execute(
            "SELECT subject, body, EXISTS (SELECT 1 FROM acceptances a"
            " WHERE a.number = m.number AND a.channel = ?) AS told"
            " FROM messages m ORDER BY number",
            (channel,),
        ).fetchall()
        intents = db.execute("SELECT order_ref FROM intents").fetchall()
        return Books(
            rows,
            _states(db),
            dict(runs),
            tuple(f"{m['subject']}\n{m['body']}" for m in messages if m["told"]),
            tuple(m["subject"] for m in messages if not m["told"]),
            frozenset(row["order_ref"] for row in intents),
        )


def _states(db: sqlite3.Connection) -> dict[str, list[State]]:
    heard = _heard(db)
    states: dict[str, list[State]] = defaultdict(list)
    for row in db.execute(
        "SELECT order_ref, at, state, code, text FROM order_states ORDER BY id"
    ):
        said = [kind for at, kind in heard[row["order_ref"]] if at <= row["at"]]
        states[row["order_ref"]].append(
            State(
                row["at"],
                row["state"],
                row["code"],
                row["text"],
                said[-1] if said else "",
            )
        )
    return dict(states)


def _heard(db: sqlite3.Connection) -> dict[str, Sequence[tuple[str, str]]]:
    """Return when the broker said what of each order."""
    heard: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in db.execute(
        "SELECT order_ref, at, kind FROM events WHERE order_ref <> ''"
        " UNION ALL SELECT order_ref, recorded_at, 'Fill' FROM executions ORDER BY 2"
    ):
        heard[row["order_ref"]].append((row["at"], row["kind"]))
    return defaultdict(list, heard)
