"""The ledger's lines as records, every field asked for by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from daemon.simulation.checker.values import CheckError


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the ledger; *number* counts lines from 1."""

    number: int
    event: str
    at: datetime
    fields: dict[str, object]

    def text(self, name: str) -> str:
        """Return the field *name* as text."""
        return str(self._field(name))

    def whole(self, name: str) -> int:
        """Return the field *name* as an integer."""
        try:
            return int(str(self._field(name)))
        except ValueError as exc:
            raise self._bad(name, "a whole number") from exc

    def number_of(self, name: str) -> Decimal:
        """Return the field *name* as a decimal number."""
        try:
            return Decimal(str(self._field(name)))
        except InvalidOperation as exc:
            raise self._bad(name, "a number") from exc

    def number_or_none(self, name: str) -> Decimal | None:
        """Return the field *name* as a decimal number, None where it is null."""
        return None if self.fields.get(name) is None else self.number_of(name)

    def truth(self, name: str) -> bool:
        """Return the field *name* as a boolean."""
        value = self._field(name)
        if not isinstance(value, bool):
            raise self._bad(name, "true or false")
        return value

    def instant(self, name: str) -> datetime:
        """Return the field *name* as an aware instant."""
        return instant(self.text(name), f"ledger line {self.number}: {name}")

    def day(self, name: str) -> date:
        """Return the field *name* as a date."""
        try:
            return date.fromisoformat(self.text(name))
        except ValueError as exc:
            raise self._bad(name, "a date as 2026-02-19") from exc

    def _field(self, name: str) -> object:
        if self.fields.get(name) is None:
            raise CheckError(
                f"ledger line {self.number}: {self.event} has no field {name!r}"
            )
        return self.fields[name]

    def _bad(self, name: str, wanted: str) -> CheckError:
        return CheckError(
            f"ledger line {self.number}: {name} is {self.fields[name]!r}, not {wanted}"
        )


def read(lines: Iterable[str], until: datetime | None) -> Iterator[Record]:
    """Yield the records of *lines* up to *until*, in their order."""
    latest: datetime | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _record(number, line)
        if latest is not None and record.at < latest:
            raise CheckError(
                f"ledger line {number}: time goes back from {latest} to {record.at}"
            )
        latest = record.at
        if until is None or record.at <= until:
            yield record


def instant(text: str, place: str) -> datetime:
    """Return the ISO instant *text*; without a zone it is UTC, as the contract says."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise CheckError(f"{place} is {text!r}, not an ISO 8601 instant") from exc
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _record(number: int, line: str) -> Record:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as exc:
        raise CheckError(f"ledger line {number}: not JSON: {exc}") from exc
    if not isinstance(fields, dict) or not {"event", "at"} <= fields.keys():
        raise CheckError(f"ledger line {number}: not an object with event and at")
    at = instant(str(fields["at"]), f"ledger line {number}: at")
    return Record(number, str(fields["event"]), at, fields)
