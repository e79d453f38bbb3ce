"""Law I4: flat at close+5m, or somebody was told in time what is left."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase

from daemon.simulation.checker.books import ZERO, Books, Key, Order, Session
from daemon.simulation.checker.exposure import live_exits
from daemon.simulation.checker.testimony import Message, names_exactly
from daemon.simulation.checker.values import Terms

AFTER_CLOSE = timedelta(minutes=5)
"""The session is judged at close plus this."""
DECIDED_BEFORE = timedelta(minutes=12)
"""What will not close is decided at close minus this ..."""
ALERT_BEFORE = timedelta(minutes=10)
"""... and told before close minus this."""
LATE_ALERT = timedelta(seconds=60)
"""What becomes known later is told within this."""
CLOSING_TYPES = frozenset({"MOC", "MKT"})
"""Orders that close for certain; a take-profit or a stop may never trade."""

Shares = dict[str, Decimal]
"""Signed whole shares by symbol, without zeros."""


class Flatness:
    """What is in scope, what covers it, and what was told of the rest."""

    def __init__(self, terms: Terms, books: Books) -> None:
        self._terms = terms
        self._books = books
        self._uncovered: Shares = {}
        self._causes: dict[str, datetime] = {}

    def remainder(self) -> Shares:
        """Return what is held in scope now."""
        left: defaultdict[str, Decimal] = defaultdict(Decimal)
        for key, shares in self._in_scope().items():
            left[self._books.symbols[key[1]]] += shares
        return {symbol: shares for symbol, shares in sorted(left.items()) if shares}

    def decide(self) -> None:
        """Note, at close-12m, the shares that no closing order of ours covers."""
        uncovered: defaultdict[str, Decimal] = defaultdict(Decimal)
        for key, shares in self._in_scope().items():
            sign = -1 if shares > 0 else 1
            covered = live_exits(
                self._books, key, self._terms.client_id, sign, CLOSING_TYPES
            )
            bare = max(ZERO, abs(shares) - covered)
            uncovered[self._books.symbols[key[1]]] += bare.copy_sign(shares)
        self._uncovered = {symbol: bare for symbol, bare in uncovered.items() if bare}

    def hear(self, number: int, at: datetime, concerned: list[Order]) -> None:
        """Note whether record *number* is a cause that nobody could know before."""
        for order in concerned:
            closing = order.order_type in CLOSING_TYPES and not order.is_entry
            own = order.client_id == self._terms.client_id
            died = order.ended.now and order.ended.since_at(number) == number
            if closing and own and died and order.quantity.now > order.filled.now:
                self._causes[order.symbol] = at
            position = self._books.position(order.key)
            grew = abs(position.now) > abs(position.at(number - 1))
            if grew:
                self._causes[order.symbol] = at

    def unannounced(
        self, session: Session, remainder: Shares, messages: tuple[Message, ...]
    ) -> str | None:
        """Return which part of *remainder* nobody was told in time, None if none."""
        early = session.close - ALERT_BEFORE
        heard = [one for one in messages if one.accepted_at >= session.open]
        missing: list[str] = []
        for symbol, shares in remainder.items():
            deadline = self._deadline(session, symbol, shares)
            known = self._uncovered.get(symbol, ZERO)
            told_at_last = _told(heard, {symbol: shares}, deadline)
            told_before = known and _told(heard, {symbol: known}, early)
            if not told_at_last and not told_before:
                missing.append(f"{symbol} {shares} by {deadline.isoformat()}")
        return ", ".join(missing) or None

    def _deadline(self, session: Session, symbol: str, shares: Decimal) -> datetime:
        early = session.close - ALERT_BEFORE
        if abs(shares) <= abs(self._uncovered.get(symbol, ZERO)):
            return early
        if self._still_covered(symbol):
            return session.close + AFTER_CLOSE + LATE_ALERT
        cause = self._causes.get(symbol)
        return early if cause is None else max(early, cause + LATE_ALERT)

    def _still_covered(self, symbol: str) -> bool:
        """Return whether a closing order of ours has not printed even now."""
        return any(
            live_exits(self._books, key, self._terms.client_id, sign, CLOSING_TYPES)
            for key in self._in_scope()
            if self._books.symbols[key[1]] == symbol
            for sign in (-1, 1)
        )

    def _in_scope(self) -> dict[Key, Decimal]:
        """Return the whole shares that must be closed, signed, without zeros."""
        held = self._books.positions()
        if self._terms.scope == "own":
            held = {
                key: shares
                for (client_id, key), shares in self._books.executed_by.items()
                if client_id == self._terms.client_id
            }
        return {
            key: Decimal(int(shares))
            for key, shares in sorted(held.items())
            if int(shares)
            and key[0] in self._terms.accounts
            and not self._ignored(self._books.symbols[key[1]])
        }

    def _ignored(self, symbol: str) -> bool:
        return any(fnmatchcase(symbol, pattern) for pattern in self._terms.ignore)


def _told(messages: list[Message], shares: Shares, deadline: datetime) -> bool:
    return any(
        one.accepted_at <= deadline and names_exactly(one.text, shares)
        for one in messages
    )
