"""Order references: deterministic, unique for life, read back exactly.

`ibkrd:<session>:<symbol>:<A|B|X>:<EN|TP|SL|TX|MOC|MKT>[.<part>][:<attempt>]`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from daemon.core.model import Bracket, Leg, OrderRef

MAX_LENGTH = 40
"""Characters of a reference: what IBKR is known to carry back whole."""

MAX_SYMBOL = 12
"""Characters of a symbol that leave room for part 99 and attempt 999."""

_REFERENCE = re.compile(
    r"ibkrd:(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    r":(?P<symbol>[!-9;-~](?:[ -9;-~]*[!-9;-~])?)"
    r":(?P<bracket>[ABX])"
    r":(?P<leg>EN|TP|SL|TX|MOC|MKT)"
    r"(?:\.(?P<part>[1-9][0-9]*))?"
    r"(?::(?P<attempt>[2-9]|[1-9][0-9]+))?"
)


@dataclass(frozen=True, slots=True)
class Ref:
    """What one order is: session, symbol, bracket, leg, split part, attempt.

    *part* counts from 1 and is None for an order that was not split; *attempt*
    counts from 1. A `Ref` that exists can be written and read back.

    Raises:
        ValueError: the reference could not be read back exactly.
    """

    session: date
    symbol: str
    bracket: Bracket
    leg: Leg
    part: int | None = None
    attempt: int = 1

    def __post_init__(self) -> None:
        text = self.text
        if len(text) > MAX_LENGTH:
            raise ValueError(
                f"order reference {text!r} has {len(text)} characters,"
                f" more than {MAX_LENGTH}"
            )
        if _fields(text) != self._key():
            raise ValueError(
                f"order reference {text!r} cannot be read back: the symbol is"
                " printable ASCII without a colon, part counts from 1, attempt from 1"
            )

    @property
    def text(self) -> OrderRef:
        """Return the reference as it goes over the wire."""
        part = "" if self.part is None else f".{self.part}"
        attempt = "" if self.attempt == 1 else f":{self.attempt}"
        return OrderRef(
            f"ibkrd:{self.session:%Y%m%d}:{self.symbol}"
            f":{self.bracket}:{self.leg}{part}{attempt}"
        )

    def _key(self) -> tuple[object, ...]:
        return (
            self.session,
            self.symbol,
            self.bracket,
            self.leg,
            self.part,
            self.attempt,
        )


def parse(text: str) -> Ref | None:
    """Return the reference that *text* is, None for a text that is not ours.

    >>> parse("ibkrd:20260219:BRK B:B:TP").symbol
    'BRK B'
    >>> parse("my hand-entered order") is None
    True
    """
    if len(text) > MAX_LENGTH:
        return None
    fields = _fields(text)
    return None if fields is None else Ref(*fields)


_Fields = tuple[date, str, Bracket, Leg, int | None, int]


def _fields(text: str) -> _Fields | None:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    try:
        session = date(*(int(match[part]) for part in ("year", "month", "day")))
    except ValueError:
        return None
    return (
        session,
        match["symbol"],
        Bracket(match["bracket"]),
        Leg(match["leg"]),
        int(match["part"]) if match["part"] else None,
        int(match["attempt"] or 1),
    )
