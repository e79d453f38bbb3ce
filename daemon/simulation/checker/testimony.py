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
    tif: str
    good_after: datetime | None
    good_till: datetime | None
    oca_group: str
    oca_type: int
    parent_ref: str | None
    transmit: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One alarm and the instant at which the first channel accepted it."""

    accepted_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Testimony:
    """The journal, as far as the laws ask for it."""

    intents: dict[str, Intent]
    alarms: tuple[Message, ...]
    """Messages of severity `alarm`: all is well, however exact, tells of no harm."""


def read_journal(path: Path) -> Testimony:
    """Return what the journal at *path* says; it is not changed."""
    if not path.is_file():
        raise CheckError(f"no journal at {path}")
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as db:
            db.row_factory = sqlite3.Row
            return Testimony(_intents(db), tuple(_alarms(db)))
    except sqlite3.Error as exc:
        raise CheckError(f"the journal at {path} cannot be read: {exc}") from exc


def _intents(db: sqlite3.Connection) -> dict[str, Intent]:
    rows = db.execute(
        "SELECT order_ref, order_id, account, con_id, symbol, side, quantity,"
        " order_type, limit_price, stop_price, tif, good_after, good_till, oca_group,"
        " oca_type, parent_ref, transmit, created_at FROM intents"
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
            tif=row["tif"],
            good_after=_moment(row, "good_after"),
            good_till=_moment(row, "good_till"),
            oca_group=row["oca_group"] or "",
            oca_type=int(row["oca_type"] or 0),
            parent_ref=row["parent_ref"] or None,
            transmit=bool(row["transmit"]),
            created_at=instant(row["created_at"], f"journal: {row['order_ref']}"),
        )
        for row in rows
    }


def _alarms(db: sqlite3.Connection) -> Iterable[Message]:
    """Yield the alarms that a channel accepted.

    Nobody need read the log: its acceptances count only in a journal where no other
    channel ever accepted anything, because then the log is all that there is.
    """
    rows = db.execute(
        "SELECT m.number, m.subject, m.body, min(a.at) AS accepted"
        " FROM messages m JOIN acceptances a USING (number)"
        " WHERE m.severity = 'alarm' AND (a.channel <> 'log' OR NOT EXISTS"
        " (SELECT 1 FROM acceptances WHERE channel <> 'log'))"
        " GROUP BY m.number ORDER BY accepted, m.number"
    )
    for row in rows:
        accepted = instant(row["accepted"], f"journal: message {row['number']}")
        yield Message(accepted, f"{row['subject']}\n{row['body']}")


def _number(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _moment(row: sqlite3.Row, name: str) -> datetime | None:
    place = f"journal: {row['order_ref']}: {name}"
    return instant(row[name], place) if row[name] else None


def names(text: str, symbol: str) -> bool:
    """Return whether *text* names *symbol* as a word.

    >>> names("BLCO: short 29", "BLCO"), names("BLCO.X: short 29", "BLCO")
    (True, False)
    """
    return bool(re.search(_word(symbol), text))


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
    count = rf"(?<![\w.]){format(abs(shares).normalize(), 'f')}(?:\.0+)?(?![\w]|\.\d)"
    return names(piece, symbol) and bool(re.search(count, piece))


def _word(symbol: str) -> str:
    return rf"(?<![\w.]){re.escape(symbol)}(?![\w]|\.\w)"
