"""The day's plan: from the text of the CSV to rows, or to a list of problems.

Structural faults refuse the whole plan and are all listed at once; what policy
leaves out (quantity below 2, limits) is decided later, in `daemon.core.selection`.
"""

from __future__ import annotations

import csv
import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from daemon.core.refs import MAX_SYMBOL

COLUMNS = (
    "instrument_id",
    "direction",
    "order_type",
    "limit_price",
    "quantity",
    "stop_loss",
    "take_profit_1",
    "take_profit_2",
    "risk_usd",
    "score",
    "gex_regime",
    "sector",
    "multiplier_total",
    "mult_vix",
    "mult_utility",
    "sector_bmi",
    "sector_regime",
    "is_mean_reversion",
)
_PRICES = ("limit_price", "stop_loss", "take_profit_1", "take_profit_2")
_FIGURES = (
    "risk_usd",
    "score",
    "multiplier_total",
    "mult_vix",
    "mult_utility",
    "sector_bmi",
)
"""Numbers for the reader: they may be empty, but not nonsense."""
_TEXTS = ("gex_regime", "sector", "sector_regime", "is_mean_reversion")

_SYMBOL = re.compile(r"[A-Z0-9](?:[A-Z0-9 .-]*[A-Z0-9])?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_MAX_NUMBER = 24
"""Characters of a number: above it Decimal arithmetic would round."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One structural fault; *line* counts from 1, 0 is the file as a whole."""

    line: int
    column: str
    text: str
    remedy: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "file"
        column = f", {self.column}" if self.column else ""
        return f"{place}{column}: {self.text}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One row of the plan; prices in USD a share, *line* counts from 1."""

    line: int
    symbol: str
    limit_price: Decimal
    quantity: int
    stop_loss: Decimal
    take_profit_1: Decimal
    take_profit_2: Decimal
    risk_usd: Decimal | None = None
    score: Decimal | None = None
    sector: str = ""

    @property
    def notional(self) -> Decimal:
        """Return the USD that the row buys for at its limit."""
        return self.limit_price * self.quantity


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows in file order; a plan with problems is not traded at all."""

    rows: tuple[PlanRow, ...]
    problems: tuple[Problem, ...]


def parse_plan(text: str | bytes, *, size_preset: int, share_a: Decimal) -> Plan:
    """Return the rows of the plan CSV *text* and every structural problem.

    *size_preset* is the gateway's order size limit in shares (error 383), which
    each of the two legs must respect; *share_a* is the part that leg A takes.
    """
    decoded = _decode(text)
    if isinstance(decoded, Problem):
        return Plan((), (decoded,))
    if not decoded.strip():
        return Plan((), (_EMPTY,))
    found: list[Problem] = []
    lines = _lines(decoded, found)
    header = _header(lines, found)
    if not header:
        return Plan((), tuple(found))
    rows = list(_rows(lines[1:], header, _LegLimit(size_preset, share_a), found))
    found.extend(_duplicates(lines[1:], header))
    if not any(fields for _, fields in lines[1:]):
        found.append(_NO_ROWS)
    return Plan(tuple(rows), tuple(sorted(set(found), key=_place)))


def split_quantity(quantity: int, share_a: Decimal) -> tuple[int, int]:
    """Return the shares of bracket A and bracket B; each has at least one.

    A is *share_a* of *quantity*, rounded half to even as Python does.

    Raises:
        ValueError: fewer than two shares cannot be split.

    >>> split_quantity(270, Decimal("0.33"))
    (89, 181)
    """
    if quantity < 2:
        raise ValueError(f"{quantity} shares cannot make two brackets")
    part = int((quantity * share_a).to_integral_value(ROUND_HALF_EVEN))
    a = min(max(1, part), quantity - 1)
    return a, quantity - a


@dataclass(frozen=True, slots=True)
class _LegLimit:
    """What a single leg may hold: the preset and the split that makes the legs."""

    size_preset: int
    share_a: Decimal


_EMPTY = Problem(0, "", "the file is empty", "write the plan again")
_NO_ROWS = Problem(
    0, "", "there is a header but no row", "write the plan again, or pause the entries"
)


def _place(problem: Problem) -> tuple[int, int, str]:
    column = problem.column
    position = COLUMNS.index(column) if column in COLUMNS else -1
    return (problem.line or 10**9, position, problem.text)


def _decode(text: str | bytes) -> str | Problem:
    """Return the text without its byte order mark."""
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        line = text[: exc.start].count(b"\n") + 1
        fault = f"byte {exc.start} (0x{text[exc.start]:02x}) is not UTF-8"
        return Problem(line, "", fault, "save the plan as UTF-8")


_Line = tuple[int, list[str]]


def _lines(text: str, found: list[Problem]) -> list[_Line]:
    """Return the numbered lines as fields; a blank or broken line has none.

    Each line is read on its own, so that a stray quote cannot swallow the next
    rows and every number is the one that an editor shows.
    """
    physical = text.split("\n")
    if physical[-1]:
        found.append(
            Problem(
                len(physical),
                "",
                "the last line does not end: the file is half written",
                "wait for the whole plan, or end the last line with a newline",
            )
        )
    else:
        physical.pop()
    return [
        (number, _fields(number, line.removesuffix("\r"), found))
        for number, line in enumerate(physical, start=1)
    ]


def _fields(line: int, text: str, found: list[Problem]) -> list[str]:
    if not text.strip():
        return []
    control = next((c for c in text if unicodedata.category(c).startswith("C")), None)
    if control is not None:
        fault = f"there is a control character (U+{ord(control):04X})"
        found.append(Problem(line, "", fault, "remove it"))
        return []
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as exc:
        fault = f"the line is not CSV ({exc})"
        found.append(Problem(line, "", fault, "close or remove the quotes"))
        return []
    return [field.strip() for field in fields]


def _header(lines: Sequence[_Line], found: list[Problem]) -> list[str]:
    """Return the names of the columns; empty where there is no header at all."""
    names = lines[0][1]
    known = [name for name in names if name in COLUMNS]
    if not known:
        expected = ", ".join(COLUMNS)
        fault = "the header row is missing"
        found.append(Problem(1, "", fault, f"put this line first: {expected}"))
        return []
    for name, count in Counter(known).items():
        if count > 1:
            fault = f"the column stands {count} times"
            found.append(Problem(1, name, fault, "keep one of them"))
    found.extend(
        Problem(1, name, "the column is missing", _hint(name, names))
        for name in COLUMNS
        if name not in known
    )
    return names


def _hint(name: str, names: Sequence[str]) -> str:
    strange = [other for other in names if other not in COLUMNS]
    near = difflib.get_close_matches(name, strange, n=1)
    return f"rename {near[0]!r} to {name!r}" if near else f"add {name!r} to the header"


def _rows(
    lines: Iterable[_Line],
    header: Sequence[str],
    limit: _LegLimit,
    found: list[Problem],
) -> Iterator[PlanRow]:
    for line, fields in lines:
        if not fields:
            continue
        if len(fields) != len(header):
            fault = f"{len(fields)} fields where the header has {len(header)}"
            found.append(Problem(line, "", fault, "write the row again"))
            continue
        reader = _Reader(line, dict(zip(header, fields, strict=True)), found)
        row = _row(reader, limit)
        if row is not None:
            yield row


@dataclass(frozen=True, slots=True)
class _Reader:
    """One line by column; what is wrong with it goes to *found*.

    A column that the header lacks reads as None: it was reported there.
    """

    line: int
    fields: Mapping[str, str]
    found: list[Problem]

    def report(self, column: str, text: str, remedy: str) -> None:
        self.found.append(Problem(self.line, column, text, remedy))

    def text(self, column: str) -> str:
        value = self.fields.get(column, "")
        if value.startswith(("=", "+", "-", "@")) and len(value) > 1:
            self.report(column, f"{value!r} reads as a formula", "write plain text")
        return value

    def word(self, column: str, only: str) -> None:
        value = self.fields.get(column)
        if value is not None and value != only:
            self.report(column, f"{value!r} is not {only}", f"only {only} is traded")

    def number(self, column: str) -> Decimal | None:
        value = self.fields.get(column)
        if value is None:
            return None
        if len(value) > _MAX_NUMBER or _NUMBER.fullmatch(value) is None:
            fault = f"{value!r} is not a number" if value else "there is no number"
            self.report(column, fault, "write a finite number such as 115.79")
            return None
        return Decimal(value)

    def price(self, column: str) -> Decimal | None:
        value = self.number(column)
        if value is not None and value <= 0:
            self.report(column, f"{value} is not a price", "write a price above 0")
            return None
        return value

    def figure(self, column: str) -> Decimal | None:
        return self.number(column) if self.fields.get(column) else None

    def quantity(self) -> int | None:
        value = self.number("quantity")
        if value is None:
            return None
        if value != value.to_integral_value() or value < 0:
            fault = f"{value} is not a whole number of shares"
            self.report("quantity", fault, "write a whole number, 0 or more")
            return None
        return int(value)

    def symbol(self) -> str | None:
        value = self.fields.get("instrument_id")
        if value is None:
            return None
        if _SYMBOL.fullmatch(value) is None or len(value) > MAX_SYMBOL:
            self.report(
                "instrument_id",
                f"{value!r} is not a symbol" if value else "there is no symbol",
                f"write it as IBKR does: capital letters, digits, space, dot or hyphen,"
                f" at most {MAX_SYMBOL} characters",
            )
            return None
        return value


def _row(reader: _Reader, limit: _LegLimit) -> PlanRow | None:
    symbol = reader.symbol()
    reader.word("direction", "BUY")
    reader.word("order_type", "LIMIT")
    prices = {column: reader.price(column) for column in _PRICES}
    quantity = reader.quantity()
    figures = {column: reader.figure(column) for column in _FIGURES}
    texts = {column: reader.text(column) for column in _TEXTS}
    _check_order(reader, prices)
    _check_legs(reader, quantity, limit)
    whole = {column: price for column, price in prices.items() if price is not None}
    if symbol is None or quantity is None or len(whole) < len(prices):
        return None
    return PlanRow(
        line=reader.line,
        symbol=symbol,
        limit_price=whole["limit_price"],
        quantity=quantity,
        stop_loss=whole["stop_loss"],
        take_profit_1=whole["take_profit_1"],
        take_profit_2=whole["take_profit_2"],
        risk_usd=figures["risk_usd"],
        score=figures["score"],
        sector=texts["sector"],
    )


def _check_order(reader: _Reader, prices: Mapping[str, Decimal | None]) -> None:
    """Report a stop or a take-profit on the wrong side of the entry."""
    entry, stop = prices["limit_price"], prices["stop_loss"]
    if entry is None:
        return
    if stop is not None and stop >= entry:
        fault = f"{stop} is not below the entry {entry}"
        reader.report("stop_loss", fault, "write a stop below limit_price")
    for column in ("take_profit_1", "take_profit_2"):
        target = prices[column]
        if target is not None and target <= entry:
            fault = f"{target} is not above the entry {entry}"
            reader.report(column, fault, "write a take-profit above limit_price")


def _check_legs(reader: _Reader, quantity: int | None, limit: _LegLimit) -> None:
    if quantity is None or quantity < 2:
        return
    largest = max(split_quantity(quantity, limit.share_a))
    if largest > limit.size_preset:
        fault = (
            f"{quantity} shares make a leg of {largest}, above the gateway's"
            f" size preset of {limit.size_preset}"
        )
        remedy = (
            "lower the quantity, or raise the preset in the gateway and size_preset"
        )
        reader.report("quantity", fault, remedy)


def _duplicates(lines: Iterable[_Line], header: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each line whose symbol stood before, broken rows included."""
    if header.count("instrument_id") != 1:
        return
    column = header.index("instrument_id")
    first: dict[str, int] = {}
    for line, fields in lines:
        symbol = fields[column] if len(fields) > column else ""
        if symbol and first.setdefault(symbol, line) != line:
            fault = f"{symbol} stands on line {first[symbol]} already"
            yield Problem(line, "instrument_id", fault, "keep one row a symbol")
