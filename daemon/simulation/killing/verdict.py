"""Whether a day with deaths in it kept the promise: never twice, never lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from daemon.simulation.checker import check
from daemon.simulation.day import ACCOUNT
from daemon.simulation.killing.day import DAY, END, NEW_YORK, SYMBOLS, Lived, Pager
from daemon.simulation.killing.evidence import (
    CLIENT_ID,
    Books,
    Broker,
    State,
    read_journal,
    read_ledger,
)

LEGS = ("EN", "TP", "SL")
INTERRUPTED = ("interrupted", "stopped")
"""How the summary of a run begins that its daemon's end cut short."""
JOBS = ("submit", "moc_close", "eod_report")


@dataclass(frozen=True)
class Verdict:
    """What is wrong with one day, and how what was unknown became known."""

    duplicates: tuple[str, ...] = ()
    """Rows and brackets of which two entries could reach the market."""
    naked: tuple[str, ...] = ()
    """Entries that reached the market without take-profit or stop."""
    lost: tuple[str, ...] = ()
    """Legs that neither reached the broker nor are accounted for and told."""
    unsent: tuple[str, ...] = ()
    """Legs that did not reach the market, though accounted for."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Each order that was unknown, and what resolved it."""
    other: tuple[str, ...] = ()
    """Broken laws, jobs without their one end, messages that nobody got."""
    doubled: tuple[str, ...] = ()
    """Messages that the person got twice: between "sent" and "noted" this must be."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Return every reason for which the promise is broken."""
        return (
            *(f"duplicate: {text}" for text in self.duplicates),
            *(f"naked entry: {text}" for text in self.naked),
            *(f"lost leg: {text}" for text in self.lost),
            *self.other,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {**asdict(self), "problems": list(self.problems)}


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Both sides of what is left of a plan of *symbols*, held against each other."""

    broker: Broker
    books: Books
    symbols: Sequence[str]

    @property
    def duplicates(self) -> list[str]:
        """Return rows and brackets with two entries that could reach the market."""
        twice = [
            f"{symbol} {bracket}: {len(reached)} entries"
            for (symbol, bracket), entries in self.broker.entries.items()
            if len(reached := [one for one in entries if one.reached]) > 1
        ]
        refs = Counter(order.ref for order in self.broker.orders)
        return twice + [f"{ref} placed {n} times" for ref, n in refs.items() if n > 1]

    @property
    def naked(self) -> list[str]:
        """Return the entries that reached the market without an exit of theirs."""
        return [
            f"{entry.ref} without {leg}"
            for entries in self.broker.entries.values()
            for entry in entries
            if entry.reached
            for leg in ("TP", "SL")
            if not any(
                child.reached and child.meaning is not None and child.meaning.leg == leg
                for child in self.broker.children(entry)
            )
        ]

    @property
    def unsent(self) -> list[str]:
        """Return the legs of the plan that did not reach the market."""
        reached = {
            (order.meaning.symbol, order.meaning.bracket, order.meaning.leg)
            for order in self.broker.orders
            if order.reached and order.meaning is not None
        }
        return [
            f"{symbol} {bracket} {leg}"
            for symbol in self.symbols
            for bracket in "AB"
            for leg in LEGS
            if (symbol, bracket, leg) not in reached
        ]

    @property
    def lost(self) -> list[str]:
        """Return the legs of which nobody was told, and those that lie half sent."""
        unsent = [leg for leg in self.unsent if not self._accounted(leg.split()[0])]
        lying = [o.ref for o in self.broker.orders if not o.reached and not o.ended]
        return unsent + [f"{ref} lies untransmitted at the gateway" for ref in lying]

    def _accounted(self, symbol: str) -> bool:
        """Return whether the row's outcome says that not all was sent, and was told."""
        status, reason = self.books.rows.get(symbol, ("", ""))
        told = any(symbol in text for text in self.books.told)
        return status in {"skipped", "refused", "unknown"} and bool(reason) and told

    @property
    def halves(self) -> list[str]:
        """Return the orders whose family was begun and not finished."""
        return [order.ref for order in self.broker.orders if not order.reached]


def judge(lived: Lived, how: str = "kill") -> Verdict:
    """Return the verdict over a day, from its files and its pager.

    A daemon that is asked to end finishes the legs in flight: *how* `term`.
    """
    lines = lived.files.ledger.read_text(encoding="utf-8").splitlines()
    books = read_journal(lived.files.journal, lived.record.pager.name)
    found = Aftermath(read_ledger(lines), books, SYMBOLS)
    halves = found.halves if how == "term" else ()
    return Verdict(
        duplicates=tuple(found.duplicates),
        naked=tuple(found.naked),
        lost=tuple(found.lost),
        unsent=tuple(found.unsent),
        unknown=_unknown(books),
        other=(
            *_broken_laws(lived, lines),
            *_jobs(books),
            *(f"told to nobody: {subject}" for subject in books.untold),
            *(f"never resolved, never told: {ref}" for ref in _silent(books)),
            *(f"begun and not finished: {ref}" for ref in halves),
            *lived.record.failures,
        ),
        doubled=tuple(_doubled(lived.record.pager)),
    )


def _broken_laws(lived: Lived, lines: list[str]) -> list[str]:
    verdict = check(
        lines,
        lived.files.journal,
        client_id=CLIENT_ID,
        accounts=frozenset({ACCOUNT}),
        until=datetime.combine(DAY, END, NEW_YORK),
    )
    left = [f"{symbol} {n}" for (_, symbol), n in verdict.positions_at_end.items()]
    return [
        *map(str, verdict.violations),
        *([] if verdict.flat.get(DAY) else ["not flat at the close"]),
        *(f"held at the end: {text}" for text in left),
    ]


def _jobs(books: Books) -> list[str]:
    problems = []
    for job in JOBS:
        outcomes = books.runs.get(job, [])
        open_ = [summary for outcome, summary in outcomes if outcome is None]
        ended = [
            (outcome, summary)
            for outcome, summary in outcomes
            if outcome is not None and not summary.startswith(INTERRUPTED)
        ]
        if open_:
            problems.append(f"{job}: a run without a terminal record")
        if len(ended) != 1:
            problems.append(f"{job}: {len(ended)} terminal records: {ended}")
        elif ended[0][0] == "failed":
            problems.append(f"{job} failed: {ended[0][1]}")
    return problems


def _doubled(pager: Pager) -> list[str]:
    told = Counter((one.subject, one.body) for one in pager.told)
    return [subject for (subject, _), n in told.items() if n > 1]


def _unknown(books: Books) -> dict[str, str]:
    found = ((ref, resolution(states)) for ref, states in books.states.items())
    return {ref: how for ref, how in found if how is not None}


def resolution(states: Sequence[State]) -> str | None:
    """Return by what an order became known again; None if it always was."""
    unknown = [index for index, one in enumerate(states) if one.state == "unknown"]
    if not unknown:
        return None
    after = states[unknown[-1] + 1 :]
    if not after:
        return "never"
    first = after[0]
    if first.state in {"cancelled", "expired", "rejected"}:
        return _ended(first)
    return _EVIDENCE.get(first.heard, "completed order")


_EVIDENCE = {
    "WorkingOrder": "open order",
    "OrderUpdate": "order status",
    "Fill": "execution",
}
"""By what was heard of an order last; completed orders are not journaled as events."""


def _ended(state: State) -> str:
    match state.code:
        case 202 | 161:
            return "discarded (202, 161)"
        case 10147:
            return "absent (10147, silent twice)"
        case None:
            return "proven absent" if not state.heard else "completed order"
        case code:
            return f"code {code}"


def _silent(books: Books) -> list[str]:
    """Return the orders that stayed unknown without anybody being told."""
    return [
        ref
        for ref, how in _unknown(books).items()
        if how == "never"
        and not any("unknown" in text and ref in text for text in books.told)
    ]
