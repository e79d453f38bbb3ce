"""The trading rules that the configuration states, as one value for the core."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase

from daemon.core.model import Account


class Scope(StrEnum):
    """Whose shares are closed at the bell: design section 6."""

    ACCOUNT = "account"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class BooksStart:
    """Where the cumulative result starts."""

    initial_capital: Decimal = Decimal(100_000)
    """USD on the first day; the base of every percentage."""
    start_date: date | None = None
    """None: the first day that is reported."""


@dataclass(frozen=True, slots=True)
class TradingRules:
    """Limits and habits of one trading day; money in USD, times in seconds."""

    account: Account
    share_a: Decimal = Decimal("0.33")
    """Part of a row's quantity that goes to bracket A."""
    size_preset: int = 500
    """The gateway's order size limit (error 383 above it)."""
    row_limit_usd: Decimal = Decimal(50_000)
    day_limit_usd: Decimal = Decimal(200_000)
    loss_limit_usd: Decimal = Decimal(5_000)
    """Entries stop when the cumulative result is below minus this."""
    scope: Scope = Scope.ACCOUNT
    ignore: tuple[str, ...] = ("*.CVR",)
    """Symbols or patterns that are never traded and never counted."""
    acknowledge_timeout_s: float = 30.0
    cancel_timeout_s: float = 20.0
    entries_die_before_close_s: float = 1800.0
    """Entry orders are GTD to close minus this."""

    def ignores(self, symbol: str) -> bool:
        """Return whether *symbol* is on the ignore list, exactly or by pattern."""
        return any(fnmatchcase(symbol, pattern) for pattern in self.ignore)
