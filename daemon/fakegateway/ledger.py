"""The gateway's own account of what happened, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

LedgerValue = str | int | float | bool | None
"""What a field becomes: ready for JSON."""


class Ledger:
    """Append-only record; docs/reference/ledger.md lists the events and fields."""

    def __init__(self, sink: Callable[[str], object] | None = None) -> None:
        self.records: list[dict[str, LedgerValue]] = []
        self._sink = sink

    def write(self, event: str, at: datetime, **fields: object) -> None:
        """Append *event* of the moment *at*; keys keep the order of writing."""
        record: dict[str, LedgerValue] = {"event": event, "at": _plain(at)}
        for name, value in fields.items():
            record[name] = _plain(value)
        self.records.append(record)
        if self._sink is not None:
            self._sink(to_line(record))


def to_line(record: dict[str, LedgerValue]) -> str:
    """Return *record* as one compact line of JSON, newline included."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def plain_number(number: Decimal) -> str:
    """Return the one spelling of *number*: no exponent, no trailing zeros.

    >>> plain_number(Decimal("10.0")), plain_number(Decimal("1E+2"))
    ('10', '100')
    """
    return format(number.normalize() + 0, "f")


def _plain(value: object) -> LedgerValue:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return plain_number(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case _:
            raise TypeError(f"{value!r} has no place in the ledger")
