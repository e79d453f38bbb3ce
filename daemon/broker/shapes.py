"""What a message of server version 178 must look like before it is believed.

ib_async decodes by position: a field too many or too few shifts all that follow, an
empty number becomes 0, and "nan" is a number. The messages that say what we hold and
what works are therefore looked at before they are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

SPOKEN = 178
"""The highest version that ib_async offers, and so that of every gateway today; of
an older one only the message ids are looked at."""
LIMIT = Decimal(10) ** 12
"""No price, quantity or amount of one account reaches this, in shares or USD."""

ORDER_STATUS, ERROR, OPEN_ORDER, NEXT_VALID_ID = 3, 4, 5, 9
EXECUTION, MANAGED_ACCOUNTS, CURRENT_TIME = 11, 15, 49
COMMISSION, POSITION, COMPLETED_ORDER = 59, 61, 101

_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][+-]?\d{1,3})?", re.ASCII)
_WORD = re.compile(r"[A-Z][A-Za-z]+", re.ASCII)
_TIME = re.compile(r"\d{8}( {1,2}|-)\d\d:\d\d:\d\d( |$)", re.ASCII)
_UNSET = (Decimal("1E300"), Decimal("1.7976931348623158E308"))
"""Between these a number is the sentinel for "not known"."""


class Unreadable(Exception):
    """Bytes or a message that cannot be what the gateway meant to say."""

    def __init__(self, reason: str, fields: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.fields = fields
        """What was read as fields; empty where it did not come to that."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one kind of message, by their place."""

    name: str
    count: int | None = None
    """How many there are; None where the message has optional parts."""
    least: int = 1
    whole: tuple[int, ...] = ()
    """Places that hold an id or a count."""
    numbers: tuple[int, ...] = ()
    """Places that hold a price, a quantity or an amount."""
    known_or_not: tuple[int, ...] = ()
    """The same, or empty, or the sentinel for "not known"."""
    words: tuple[int, ...] = ()
    """Places that hold one of IBKR's words: a status, a side."""
    given: tuple[int, ...] = ()
    """Places that must not be empty."""
    times: tuple[int, ...] = ()
    """Places that hold a date and a time of day."""


SHAPES: Mapping[int, Shape] = {
    ORDER_STATUS: Shape(
        "order status",
        count=12,
        whole=(1, 6, 7, 9),
        numbers=(3, 4),
        known_or_not=(5, 8, 11),
        words=(2,),
        given=(5,),
    ),
    ERROR: Shape("error", count=6, whole=(2, 3)),
    OPEN_ORDER: Shape(
        "open order",
        least=94,
        whole=(1, 2, 24, 25, 57),
        numbers=(14,),
        known_or_not=(16, 17),
        words=(13,),
        given=(16, 17),
    ),
    NEXT_VALID_ID: Shape("next valid id", count=3, whole=(2,)),
    EXECUTION: Shape(
        "execution",
        count=32,
        whole=(1, 2, 3, 21, 22),
        numbers=(19, 20, 24, 25),
        words=(18,),
        given=(14, 16),
        times=(15,),
    ),
    MANAGED_ACCOUNTS: Shape("managed accounts", count=3),
    CURRENT_TIME: Shape("current time", count=3, whole=(2,)),
    52: Shape("end of contract details", count=3, whole=(2,)),
    54: Shape("end of account values", count=3),
    55: Shape("end of executions", count=3, whole=(2,)),
    COMMISSION: Shape("commission", count=8, known_or_not=(3, 5, 6), given=(2, 3, 5)),
    POSITION: Shape(
        "position",
        count=16,
        whole=(3,),
        numbers=(14,),
        known_or_not=(15,),
        given=(2, 15),
    ),
    COMPLETED_ORDER: Shape(
        "completed order", least=88, whole=(1, 23), numbers=(13,), words=(12,)
    ),
}
"""The messages whose content decides about shares or ends a request."""


def check(fields: Sequence[str], version: int) -> None:
    """Let nothing pass that its decoder would read as something else.

    Raises:
        Unreadable: the text says which field of which message is wrong.
    """
    if not _WHOLE.fullmatch(fields[0]):
        raise Unreadable("no message id", fields)
    shape = SHAPES.get(int(fields[0])) if version == SPOKEN else None
    if shape is None:
        return
    _check_count(fields, shape)
    for places, fits, wanted in (
        (shape.whole, _is_whole, "a whole number"),
        (shape.numbers, _is_number, "a number"),
        (shape.known_or_not, _is_known_or_not, "a number or nothing"),
        (shape.words, is_word, "a word"),
        (shape.given, bool, "something"),
        (shape.times, _is_time, "a time"),
    ):
        for place in places:
            if not fits(fields[place]):
                raise _wrong(shape, fields, place, wanted)


def is_word(text: str) -> bool:
    """Return whether *text* can be one of IBKR's words, such as `PreSubmitted`."""
    return _WORD.fullmatch(text) is not None


def name_of(fields: Sequence[str]) -> str:
    """Return the id of a message and what it is, for a person."""
    message_id = fields[0] if fields else ""
    if not _WHOLE.fullmatch(message_id):
        return "a message without an id"
    shape = SHAPES.get(int(message_id))
    return f"message {message_id} ({shape.name})" if shape else f"message {message_id}"


def _check_count(fields: Sequence[str], shape: Shape) -> None:
    count = len(fields)
    if shape.count not in {None, count}:
        raise Unreadable(f"{count} fields where {shape.count} are right", fields)
    places = (*shape.whole, *shape.numbers, *shape.known_or_not, *shape.words)
    least = max(shape.least, *(place + 1 for place in places), 1)
    if count < least:
        raise Unreadable(f"{count} fields where at least {least} are right", fields)


def _is_whole(text: str) -> bool:
    return _WHOLE.fullmatch(text) is not None


def _is_time(text: str) -> bool:
    return _TIME.match(text) is not None


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and abs(Decimal(text)) < LIMIT


def _is_known_or_not(text: str) -> bool:
    if not text or _is_number(text):
        return True
    least, most = _UNSET
    return _NUMBER.fullmatch(text) is not None and least <= abs(Decimal(text)) <= most


def _wrong(shape: Shape, fields: Sequence[str], place: int, wanted: str) -> Unreadable:
    return Unreadable(
        f"field {place} of the {shape.name} is {fields[place][:24]!r}, not {wanted}",
        fields,
    )
