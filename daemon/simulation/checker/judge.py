"""The laws, judged while the ledger is read from its first line to its last."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from pathlib import Path

from daemon.simulation.checker.books import ZERO, Books, Order, Session
from daemon.simulation.checker.crossings import Crossings
from daemon.simulation.checker.entries import Entries
from daemon.simulation.checker.exposure import crossing
from daemon.simulation.checker.flatness import (
    AFTER_CLOSE,
    DECIDED_BEFORE,
    Flatness,
)
from daemon.simulation.checker.intents import compared
from daemon.simulation.checker.records import Record, read
from daemon.simulation.checker.testimony import Testimony, read_journal
from daemon.simulation.checker.values import (
    CheckError,
    Scope,
    Terms,
    Verdict,
    Violation,
)

IDLE_LIMIT = timedelta(seconds=60)
"""An exit may outlive its position by this."""
MISSED_PARENT = 10006
FREEZE = timedelta(minutes=10)
"""No MOC is cancelled from close minus this on (NYSE Rule 7.35(a)(8))."""


def check(  # noqa: PLR0913 # one call, all by name
    ledger: Iterable[str],
    journal: Path | None,
    *,
    client_id: int,
    accounts: frozenset[str],
    ignore: Iterable[str] = (),
    scope: Scope = "account",
    until: datetime | None = None,
    grace_s: float = 2.0,
) -> Verdict:
    """Judge the run that *ledger* and *journal* tell of, up to the instant *until*.

    Without a journal law I2 is not judged, and nobody was told anything. A session
    is judged if its close+5m lies between the first record and *until* (default: the
    last record). Who sent an order is said by its client id, not by its reference.

    Raises:
        CheckError: the evidence is missing, malformed or contradicts itself.
    """
    terms = Terms(client_id, accounts, tuple(ignore), scope, timedelta(seconds=grace_s))
    testimony = None if journal is None else read_journal(journal)
    judge = _Judge(terms, testimony)
    for record in read(ledger, until):
        judge.hear(record)
    return judge.close(until)


class _Judge:
    """Hears the records in order and keeps what was broken."""

    def __init__(self, terms: Terms, testimony: Testimony | None) -> None:
        self._terms = terms
        self._testimony = testimony
        self._books = Books()
        self._violations: list[Violation] = []
        self._flat: dict[date, bool] = {}
        self._instants: list[datetime] = []
        self._entries = Entries()
        self._doubled: set[Order] = set()
        self._idle: dict[Order, datetime] = {}
        self._outlived: set[Order] = set()
        self._agenda: list[tuple[datetime, date]] = []
        self._flatness = Flatness(terms, self._books)
        self._crossings = Crossings(terms, self._books)
        self._missed_parent: set[tuple[int, int]] = set()
        """Client and order id of children refused with 10006: they may come again."""
        self._own_orders = 0

    def hear(self, record: Record) -> None:
        """Take the next *record* in."""
        self._pass_time(record.at)
        number = len(self._instants)
        self._instants.append(record.at)
        concerned = self._books.apply(number, record)
        if record.event in {"placed", "modified"}:
            self._judge_sent(concerned[0], record)
        if record.event == "order_error" and record.whole("code") == MISSED_PARENT:
            named = record.whole("client_id"), record.whole("order_id")
            self._missed_parent.add(named)
        if record.event == "session":
            self._plan(self._books.sessions[record.day("date")], record.at)
        self._flatness.hear(number, record.at, concerned)
        if record.event in {"executed", "position"}:
            key = (record.text("account"), record.whole("con_id"))
            self._flatness.weigh(key, record.at)
            if record.event == "executed":
                self._crossings.hear(number, record, key)
        for order in concerned:
            self._watch_entry(order, record.at)
            self._watch_exit(order, record.at)

    def close(self, until: datetime | None) -> Verdict:
        """Return the verdict over all that was heard."""
        if not self._instants:
            raise CheckError("the ledger holds no record: nothing can be judged")
        end = until or self._instants[-1]
        self._pass_time(end, inclusive=True)
        self._judge_crossings(end)
        judged = {"I1", "I3", "I7", "I11"}
        if self._testimony is not None:
            judged.add("I2")
        if self._flat:
            judged.add("I4")
        ours = [
            order
            for order, _ in self._books.executions.values()
            if order is not None and order.client_id == self._terms.client_id
        ]
        return Verdict(
            violations=tuple(sorted(self._violations, key=lambda one: one.at)),
            flat=dict(self._flat),
            judged=frozenset(judged),
            positions_at_end=self._held(),
            orders=self._own_orders,
            executions=len(ours),
            sessions=len(self._flat),
        )

    def _accuse(self, law: str, at: datetime, text: str) -> None:
        self._violations.append(Violation(law, at, text))

    # --- what is sent: I11, I2, I1, I3 --------------------------------------------

    def _judge_sent(self, order: Order, record: Record) -> None:
        if order.client_id != self._terms.client_id:
            return
        if record.event == "placed":
            self._own_orders += 1
            self._judge_second_entry(order)
        account = str(record.fields.get("account") or "")
        if account not in self._terms.accounts:
            self._accuse("I11", record.at, f"{order} for account {account!r}")
        if self._testimony is not None:
            self._judge_intent(order, record, self._testimony)
        problem = crossing(self._books, order, self._instants, self._terms.grace)
        if problem is not None:
            self._accuse("I3", record.at, f"{order}: {problem}")

    def _judge_intent(self, order: Order, record: Record, said: Testimony) -> None:
        intent = said.intents.get(order.ref)
        if intent is None:
            self._accuse("I2", record.at, f"{order} has no intent")
            return
        if intent.created_at > record.at + self._terms.grace:
            when = intent.created_at.isoformat()
            self._accuse("I2", record.at, f"{order}: its intent came only at {when}")
        again = (order.client_id, order.order_id) in self._missed_parent
        for name, sent, meant in compared(order, record, intent, said.intents):
            # The family of a child that comes again is released already.
            if sent != meant and not (again and name == "transmit"):
                text = f"{order}: {name} is {sent} on the wire, {meant} in the intent"
                self._accuse("I2", record.at, text)

    def _judge_second_entry(self, order: Order) -> None:
        if not order.is_entry:
            return
        for earlier in self._entries.rivals(order):
            if not earlier.never_reached_the_market:
                self._doubled.add(earlier)
                text = f"{order} though {earlier} is not proven never transmitted"
                self._accuse("I1", order.at, text)
                break
        self._entries.add(order)

    def _watch_entry(self, order: Order, at: datetime) -> None:
        """Catch an earlier entry that comes alive after all beside its successor."""
        if order.client_id != self._terms.client_id:
            return
        if not order.is_entry or not _reached(order):
            return
        for other in self._entries.rivals(order):
            pair = {order, other}
            if _reached(other) and not pair & self._doubled:
                self._doubled |= pair
                self._accuse("I1", at, f"{order} and {other} both reached the market")

    # --- what passes: I3 of a fill, I7, I4 -----------------------------------------

    def _plan(self, session: Session, now: datetime) -> None:
        """Put the instants at which *session* is judged on the agenda."""
        for due in (session.close - DECIDED_BEFORE, session.close + AFTER_CLOSE):
            if due >= now:
                heappush(self._agenda, (due, session.date))

    def _pass_time(self, now: datetime, *, inclusive: bool = False) -> None:
        """Judge what falls due before *now*; *inclusive*: at *now* as well."""
        while self._agenda and (
            self._agenda[0][0] < now or (inclusive and self._agenda[0][0] == now)
        ):
            due, day = heappop(self._agenda)
            session = self._books.sessions[day]
            if due == session.close - DECIDED_BEFORE:
                self._flatness.decide()
            elif due == session.close + AFTER_CLOSE and day not in self._flat:
                self._judge_session(session, due)
        self._judge_idle(now)

    def _judge_idle(self, now: datetime) -> None:
        for order, since in list(self._idle.items()):
            due = since + IDLE_LIMIT
            if (
                due < now
                and order not in self._outlived
                and not self._frozen(order, due)
            ):
                self._outlived.add(order)
                text = f"{order} works on though there is nothing to exit"
                self._accuse("I7", due, text)

    def _frozen(self, order: Order, at: datetime) -> bool:
        """Return whether *order* is a MOC that nobody may cancel at *at*."""
        return order.order_type == "MOC" and any(
            session.close - FREEZE <= at <= session.close + AFTER_CLOSE
            for session in self._books.sessions.values()
        )

    def _watch_exit(self, order: Order, at: datetime) -> None:
        if self._is_idle(order):
            self._idle.setdefault(order, at)
        else:
            self._idle.pop(order, None)

    def _is_idle(self, order: Order) -> bool:
        """Return whether *order* is a live exit of ours that has nothing to exit.

        While our session is down nobody can cancel it, and once its cancel was asked
        for it is the broker's to end.
        """
        books = self._books
        if order.client_id != self._terms.client_id or order.is_entry:
            return False
        if not order.working or order.cancel_asked:
            return False
        if books.sees_connections and self._terms.client_id not in books.connected:
            return False
        parent_done = order.parent is None or order.parent.ended.now
        return parent_done and order.sign * books.position(order.key).now >= 0

    def _judge_crossings(self, end: datetime) -> None:
        alarms = () if self._testimony is None else self._testimony.alarms
        for at, text in self._crossings.untold(alarms, end):
            self._accuse("I3", at, text)

    def _judge_session(self, session: Session, due: datetime) -> None:
        for order in self._books.orders:
            if self._outlives(order, session):
                self._accuse("I7", due, f"{order} outlives its session")
        remainder = self._flatness.remainder()
        self._flat[session.date] = not remainder
        alarms = () if self._testimony is None else self._testimony.alarms
        untold = self._flatness.unannounced(session, remainder, alarms)
        if untold is not None:
            text = f"not flat, and nobody was told of {untold}{self._absence()}"
            self._accuse("I4", due, text)

    def _absence(self) -> str:
        """Return since when our session is down: then the process may be dead.

        Law I4 leaves that case to the switch outside, of which no evidence is here.
        """
        since = self._books.down_since.get(self._terms.client_id)
        return (
            "" if since is None else f"; our session is down since {since.isoformat()}"
        )

    def _outlives(self, order: Order, session: Session) -> bool:
        if order.client_id != self._terms.client_id or not order.working:
            return False
        return order.meaning is None or order.meaning.session <= session.date

    def _held(self) -> dict[tuple[str, str], Decimal]:
        return {
            (account, self._books.symbols[con_id]): shares
            for (account, con_id), shares in sorted(self._books.positions().items())
            if shares != ZERO and account in self._terms.accounts
        }


def _reached(order: Order) -> bool:
    return order.released or order.filled.now != ZERO
