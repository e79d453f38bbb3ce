"""Whether a day with deaths in it kept the promise: never twice, never lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon.simulation.checker import CheckError, check
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
KILLED = ("interrupted",)
"""How the summary of a run begins that its daemon's death cut short."""
INTERRUPTED = (*KILLED, "stopped")
"""The same of its daemon's end, also where it was asked to end."""
LAWS = frozenset({"I1", "I2", "I3"})
"""Laws without which the checker's verdict says nothing of a plan sent once."""
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
    """Subjects of messages with the same text that the channel accepted twice."""

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


@dataclass(frozen=True, slots=True)
class Expected:
    """What the evidence must show when everything is over."""

    channel: str
    """Which is the person's."""
    symbols: Sequence[str]
    """Of the plan."""
    jobs: Sequence[str]
    """That must have begun; whatever has begun must have its one end."""
    cut_short: tuple[str, ...] = INTERRUPTED
    """How the summaries of runs begin that are no end of their job."""
    asked_to_stop: tuple[str, ...] = ()
    """How the summary of a failed run begins that the judge himself stopped."""
    closed: datetime | None = None
    """An instant by which the session is over and nothing may be held."""


def judge(lived: Lived, how: str = "kill") -> Verdict:
    """Return the verdict over a day, from its files and its pager.

    A daemon that is asked to end finishes the legs in flight: *how* `term`.
    """
    lines = lived.files.ledger.read_text(encoding="utf-8").splitlines()
    expected = Expected(
        lived.record.pager.name,
        SYMBOLS,
        JOBS,
        closed=datetime.combine(DAY, END, NEW_YORK),
    )
    found = weigh(lines, lived.files.journal, expected)
    halves = read_ledger(lines).halves if how == "term" else ()
    return replace(
        found,
        other=(
            *found.other,
            *(f"begun and not finished: {ref}" for ref in halves),
            *lived.record.failures,
        ),
        doubled=tuple(_doubled(lived.record.pager)),
    )


def weigh(lines: Sequence[str], journal: Path, expected: Expected) -> Verdict:
    """Return what the ledger's *lines* and the journal's file show by themselves."""
    books = read_journal(journal, expected.channel)
    found = Aftermath(read_ledger(lines), books, expected.symbols)
    return Verdict(
        duplicates=tuple(found.duplicates),
        naked=tuple(found.naked),
        lost=tuple(found.lost),
        unsent=tuple(found.unsent),
        unknown=_unknown(books),
        other=(
            *_broken_laws(lines, journal, expected.closed),
            *unended(books, expected),
            *(f"told to nobody: {subject}" for subject in books.untold),
            *(f"never resolved, never told: {ref}" for ref in silent(books)),
        ),
    )


def _broken_laws(
    lines: Sequence[str], journal: Path, closed: datetime | None
) -> list[str]:
    try:
        verdict = check(
            lines,
            journal,
            client_id=CLIENT_ID,
            accounts=frozenset({ACCOUNT}),
            until=closed,
        )
    except CheckError as exc:
        return [f"no verdict: {exc}"]
    problems = [
        *(f"{law} was not judged" for law in sorted(LAWS - verdict.judged)),
        *map(str, verdict.violations),
    ]
    if closed is None:
        return problems
    held = [f"{symbol} {n}" for (_, symbol), n in verdict.positions_at_end.items()]
    return [
        *problems,
        *([] if verdict.flat.get(closed.date()) else ["not flat at the close"]),
        *(f"held at the end: {text}" for text in held),
    ]


def unended(books: Books, expected: Expected) -> list[str]:
    """Return what is wrong with the ends of the jobs that were to begin, or began."""
    problems = []
    for job in dict.fromkeys((*expected.jobs, *books.runs)):
        outcomes = books.runs.get(job, [])
        open_ = [summary for outcome, summary in outcomes if outcome is None]
        ended = [
            (outcome, summary)
            for outcome, summary in outcomes
            if outcome is not None and not summary.startswith(expected.cut_short)
        ]
        if open_:
            problems.append(f"{job}: a run without a terminal record")
        if len(ended) != 1:
            problems.append(f"{job}: {len(ended)} terminal records: {ended}")
        elif _failed(*ended[0], expected.asked_to_stop):
            problems.append(f"{job} failed: {ended[0][1]}")
    return problems


def _failed(outcome: str, summary: str, pardoned: tuple[str, ...]) -> bool:
    return outcome == "failed" and not summary.startswith(pardoned)


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


def silent(books: Books) -> list[str]:
    """Return the orders that stayed unknown without anybody being told."""
    return [
        ref
        for ref, how in _unknown(books).items()
        if how == "never"
        and not any("unknown" in text and ref in text for text in books.told)
    ]
