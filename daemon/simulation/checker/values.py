"""What the checker is told and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

Scope = Literal["account", "own"]


class CheckError(ValueError):
    """The evidence cannot be read, so that no verdict is possible."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach of one law of the design, at an instant of the ledger."""

    law: str
    at: datetime
    text: str

    def __str__(self) -> str:
        return f"{self.law} {self.at.isoformat()} {self.text}"


@dataclass(frozen=True, slots=True)
class Terms:
    """Whom the checker judges, and how strictly.

    *scope* `account` wants every position in *accounts* closed, `own` the balance of
    our own executions as far as it is still held; symbols that match a pattern of
    *ignore* may stay. Executions of the last *grace* before an order count as not yet
    received by its sender; so far may the journal's clock be ahead of the gateway's.
    """

    client_id: int
    accounts: frozenset[str]
    ignore: tuple[str, ...] = ()
    scope: Scope = "account"
    grace: timedelta = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence shows.

    *flat* holds each session that was judged at its close+5m; *judged* the laws for
    which there was evidence; positions are those of the allowed accounts, by account
    and symbol, without zeros.
    """

    violations: tuple[Violation, ...]
    flat: dict[date, bool]
    judged: frozenset[str]
    positions_at_end: dict[tuple[str, str], Decimal]
    orders: int
    executions: int
    sessions: int

    @property
    def lawful(self) -> bool:
        """Return whether no law was broken."""
        return not self.violations

    @property
    def all_flat(self) -> bool:
        """Return whether at least one session was judged and each ended flat."""
        return bool(self.flat) and all(self.flat.values())
