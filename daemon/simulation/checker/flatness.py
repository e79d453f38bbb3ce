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
        """When the shares in scope last grew or lost a closing order."""
        self._causes_of_uncovered: dict[str, datetime] = {}
        self._held: dict[Key, Decimal] = {}

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
        self._causes_of_uncovered = dict(self._causes)

    def hear(self, number: int, at: datetime, concerned: list[Order]) -> None:
        """Note whether record *number* is a cause that nobody could know before."""
        for order in concerned:
            closing = order.order_type in CLOSING_TYPES and not order.is_entry
            own = order.client_id == self._terms.client_id
            died = order.ended.now and order.ended.since_at(number) == number
            if closing and own and died and order.quantity.now > order.filled.now:
                self._causes[order.symbol] = at

    def weigh(self, key: Key, at: datetime) -> None:
        """Note whether the shares of *key*, which a record moved, are now more."""
        before = self._held.get(key, ZERO)
        now = self._held[key] = self._wanted(key)
        if abs(now) > abs(before) or now * before < 0:
            self._causes[self._books.symbols[key[1]]] = at

    def unannounced(
        self, session: Session, remainder: Shares, alarms: tuple[Message, ...]
    ) -> str | None:
        """Return which part of *remainder* nobody was told in time, None if none.

        Only an alarm that was accepted after the cause tells of it.
        """
        missing: list[str] = []
        for symbol, shares in remainder.items():
            cause, deadline = self._time_to_tell(session, symbol, shares)
            since = max(session.open, cause or session.open)
            heard = [one for one in alarms if since <= one.accepted_at <= deadline]
            known = self._uncovered.get(symbol, ZERO)
            # What was told as decided may have been sold in part since.
            amounts = {shares, known} if _within(shares, known) else {shares}
            if not any(_told(heard, symbol, amount) for amount in amounts):
                missing.append(f"{symbol} {shares} by {deadline.isoformat()}")
        return ", ".join(missing) or None

    def _time_to_tell(
        self, session: Session, symbol: str, shares: Decimal
    ) -> tuple[datetime | None, datetime]:
        """Return when it could first be known that *shares* stay, and the deadline."""
        early = session.close - ALERT_BEFORE
        if _within(shares, self._uncovered.get(symbol, ZERO)):
            return self._causes_of_uncovered.get(symbol), early
        if self._still_covered(symbol):
            return session.close, session.close + AFTER_CLOSE + LATE_ALERT
        cause = self._causes.get(symbol)
        return cause, early if cause is None else max(early, cause + LATE_ALERT)

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
        wanted = {key: self._wanted(key) for key in sorted(self._books.positions())}
        return {key: shares for key, shares in wanted.items() if shares}

    def _wanted(self, key: Key) -> Decimal:
        """Return the whole shares of *key* that must be closed, signed.

        Of our own ones the owner may have sold some by hand: with scope `own` we ask
        for those that are still there.
        """
        if key[0] not in self._terms.accounts:
            return ZERO
        if self._ignored(self._books.symbols[key[1]]):
            return ZERO
        held = self._books.position(key).now
        if self._terms.scope == "own":
            own = self._books.executed_by.get((self._terms.client_id, key), ZERO)
            held = min(own, held, key=abs) if own * held > 0 else ZERO
        return Decimal(int(held))

    def _ignored(self, symbol: str) -> bool:
        return any(fnmatchcase(symbol, pattern) for pattern in self._terms.ignore)


def _within(shares: Decimal, known: Decimal) -> bool:
    """Return whether *shares* are part of the *known* ones."""
    return shares * known > 0 and abs(shares) <= abs(known)


def _told(heard: list[Message], symbol: str, shares: Decimal) -> bool:
    return any(names_exactly(one.text, {symbol: shares}) for one in heard)
