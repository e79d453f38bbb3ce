"""What the journal's file says: intents, and messages that a channel accepted."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from daemon.simulation.checker.records import instant
from daemon.simulation.checker.values import CheckError


@dataclass(frozen=True, slots=True)
class Intent:
    """One order that the daemon committed itself to send."""

    order_id: int
    account: str
    con_id: int
    symbol: str
    side: str
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One message and the instant at which the first channel accepted it."""

    accepted_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Testimony:
    """The journal, as far as the laws ask for it."""

    intents: dict[str, Intent]
    messages: tuple[Message, ...]


def read_journal(path: Path) -> Testimony:
    """Return what the journal at *path* says; it is not changed."""
    if not path.is_file():
        raise CheckError(f"no journal at {path}")
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as db:
            db.row_factory = sqlite3.Row
            return Testimony(_intents(db), tuple(_messages(db)))
    except sqlite3.Error as exc:
        raise CheckError(f"the journal at {path} cannot be read: {exc}") from exc


def _intents(db: sqlite3.Connection) -> dict[str, Intent]:
    rows = db.execute(
        "SELECT order_ref, order_id, account, con_id, symbol, side, quantity,"
        " order_type, limit_price, stop_price, created_at FROM intents"
    )
    return {
        row["order_ref"]: Intent(
            order_id=int(row["order_id"]),
            account=row["account"],
            con_id=int(row["con_id"]),
            symbol=row["symbol"],
            side=row["side"],
            quantity=Decimal(str(row["quantity"])),
            order_type=row["order_type"],
            limit_price=_number(row["limit_price"]),
            stop_price=_number(row["stop_price"]),
            created_at=instant(row["created_at"], f"journal: {row['order_ref']}"),
        )
        for row in rows
    }


def _messages(db: sqlite3.Connection) -> Iterable[Message]:
    rows = db.execute(
        "SELECT m.number, m.subject, m.body, min(a.at) AS accepted"
        " FROM messages m JOIN acceptances a USING (number) GROUP BY m.number"
    )
    for row in rows:
        accepted = instant(row["accepted"], f"journal: message {row['number']}")
        yield Message(accepted, f"{row['subject']}\n{row['body']}")


def _number(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def names_exactly(text: str, remainder: Mapping[str, Decimal]) -> bool:
    """Return whether *text* names each symbol of *remainder* with its shares.

    Both must stand in one line or between the same semicolons; 1,234 is 1234.

    >>> names_exactly("left: BLCO 181; LH 15", {"BLCO": Decimal(181)})
    True
    >>> names_exactly("left: BLCO 181", {"BLCO": Decimal(18)})
    False
    """
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    pieces = re.split(r"[;\n,]", plain)
    return all(
        any(_names(piece, symbol, shares) for piece in pieces)
        for symbol, shares in remainder.items()
    )


def _names(piece: str, symbol: str, shares: Decimal) -> bool:
    name = rf"(?<![\w.]){re.escape(symbol)}(?![\w]|\.\w)"
    count = rf"(?<![\w.]){format(abs(shares).normalize(), 'f')}(?:\.0+)?(?![\w]|\.\d)"
    return bool(re.search(name, piece) and re.search(count, piece))
