"""The grammar of order references, read independently of who writes them.

`ibkrd:<session>:<symbol>:<A|B|X>:<EN|TP|SL|TX|MOC|MKT>[.<part>][:<attempt>]`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

GRAMMAR = re.compile(
    r"ibkrd:(\d{8}):(.+):([ABX]):(EN|TP|SL|TX|MOC|MKT)(?:\.\d+)?(?::\d+)?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What an order says of itself; part and attempt do not make it another.

    It says nothing of who sent the order: that is the client id.
    """

    session: date
    symbol: str
    bracket: str
    leg: str


def read_reference(text: str) -> Reference | None:
    """Return what *text* means, None if it is not of the grammar.

    >>> read_reference("ibkrd:20260219:BRK B:A:EN:2").symbol
    'BRK B'
    """
    match = GRAMMAR.fullmatch(text)
    if match is None:
        return None
    day, symbol, bracket, leg = match.groups()
    try:
        session = datetime.strptime(f"{day}+0000", "%Y%m%d%z").date()
    except ValueError:
        return None
    return Reference(session, symbol, bracket, leg)
