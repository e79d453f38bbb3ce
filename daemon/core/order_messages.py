"""What a person is told of an order that no job looks at."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from daemon.core import notices
from daemon.core.model import Message, Notice, OrderRecord, Severity, WorkingOrder
from daemon.core.reconcile import Unbooked, never_worked


def late_refusal(record: OrderRecord) -> Message:
    """Return that an order was refused when no job looked at it, with the remedy."""
    symbol, code = record.order.contract.symbol, record.code
    if code is None:
        return Message(
            Severity.ALARM,
            f"{symbol}: order refused (no reason yet)",
            f"{record.order_ref}: the broker ended it and gave no reason so far; its "
            "line in TWS and the report say more",
        )
    return Message(
        Severity.ALARM,
        f"{symbol}: order refused ({code})",
        f"{record.order_ref}: {code} {record.text}\n{notices.rule(code).remedy}",
    )


def doubtful(record: OrderRecord) -> Message:
    """Return that the broker's evidence leaves an order's fate open."""
    order = record.order
    rule = notices.rule(record.code or 0)
    return Message(
        Severity.ALARM,
        f"{order.contract.symbol}: order of unknown fate ({record.code})",
        f"{record.order_ref}: {order.side} {order.quantity}: {record.code} "
        f"{record.text}\n{rule.meaning}; {rule.remedy}\n"
        "It is asked for, and nothing is sent in its place; look in TWS.",
        key=f"{record.order_ref} {record.code}",  # thirty times is no more news
    )


def oversold(record: OrderRecord, shares: Decimal) -> Message:
    """Return that an exit sold *shares* more than its entry had bought."""
    symbol = record.order.contract.symbol
    return Message(
        Severity.ALARM,
        f"{symbol}: {shares} shares sold beyond the entry",
        f"{record.order_ref}: the broker executed an exit for {shares} shares of "
        f"{symbol} that its entry had not bought. What stays short is bought back at "
        "the close; look in TWS now.",
    )


def turned(record: OrderRecord, net: Decimal) -> Message:
    """Return that an entry filled into a short, which leaves *net* shares."""
    symbol = record.order.contract.symbol
    return Message(
        Severity.ALARM,
        f"{symbol}: an entry filled into a short",
        f"{record.order_ref}: {symbol} was short by an exit that sold too much; the "
        f"entry's late fill makes it long by {net}. The close takes care of it.",
    )


def closing_died(record: OrderRecord) -> Message:
    """Return that a closing order was cancelled by somebody else."""
    order = record.order
    left = order.quantity - record.filled
    return Message(
        Severity.ALARM,
        f"{order.contract.symbol}: closing order cancelled",
        f"{record.order_ref}: {order.side} {left} {order.contract.symbol} will not "
        f"execute ({record.code or 'no code'} {record.text}). It is sent again while "
        "there is time; after the cutoff close by hand in TWS.",
    )


def queued(record: OrderRecord, notice: Notice) -> Message:
    """Return that an order is held for a later session (399)."""
    order = record.order
    return Message(
        Severity.ALARM,
        f"{order.contract.symbol}: order held for a later session (399)",
        f"{record.order_ref}: {order.side} {order.quantity} {order.order_type} will "
        f"not execute today: {notice.text}\nCancel it in TWS and close by hand.",
    )


def unknown(records: Iterable[OrderRecord]) -> Message:
    """Return that nothing is known of *records*, which may be at the broker or not."""
    lines = [
        f"{r.order_ref}: {r.order.side} {r.order.quantity} (order id {r.order_id})"
        for r in records
    ]
    return Message(
        Severity.ALARM,
        f"{len(lines)} order(s) of unknown fate",
        "The gateway does not say whether it has these orders. They are asked for, "
        "and sent again only if it is proven that it never had them; look in TWS:\n"
        + "\n".join(lines),
    )


def unguarded(stop: OrderRecord, shares: Decimal) -> Message:
    """Return that *shares* of a bracket have no stop any more."""
    symbol = stop.order.contract.symbol
    why = f"{stop.state}, {stop.code or 'no code'} {stop.text}".strip()
    return Message(
        Severity.ALARM,
        f"{symbol}: {shares} shares without a stop",
        f"{stop.order_ref}: the stop has ended ({why}) and its shares are held. They "
        "are sold at the close; until then set a stop or sell by hand in TWS.",
        key=f"unguarded/{stop.order_ref}",
    )


def revived(record: OrderRecord) -> Message:
    """Return that an order lives of which it was proven that it never had."""
    order = record.order
    return Message(
        Severity.ALARM,
        f"{order.contract.symbol}: an order lives that the gateway said it never had",
        f"{record.order_ref}: {order.side} {order.quantity} (order id "
        f"{record.order_id}) is {record.state}. It may have been sent again under a "
        "reference that ends in a higher number: cancel one of the two in TWS now.",
        key=f"revived/{record.order_ref}",
    )


def unbooked(found: Iterable[Unbooked]) -> Message:
    """Return that positions differ from what the executions make."""
    lines = [
        f"{one.symbol}: the broker holds {one.held}, the books say {one.booked}"
        for one in found
    ]
    return Message(
        Severity.ALARM,
        f"{len(lines)} position(s) that the books do not explain",
        "Executions are missing: of the time before the gateway's midnight, by "
        "transfer or corporate action. The close goes by the broker's positions; the "
        "report lacks these trades:\n" + "\n".join(lines),
    )


def strangers(orders: Iterable[WorkingOrder]) -> Message:
    """Return that somebody else has sent *orders* under our client id."""
    found = sorted(orders, key=lambda order: order.perm_id)
    lines = [
        f"{o.symbol}: {o.side} {o.quantity} {o.order_type} (order id {o.order_id}, "
        f"reference {o.order_ref or 'none'})"
        for o in found
    ]
    return Message(
        Severity.ALARM,
        f"{len(lines)} order(s) under our client id that the journal does not know",
        "A script used our client id while we were away, or the journal was lost. "
        "They are left alone until the close, which cancels them; look in TWS:\n"
        + "\n".join(lines),
        key="strangers/" + "/".join(str(order.perm_id) for order in found),
    )


def rolled_back(offered: int, known: int) -> Message:
    """Return that the gateway's order ids begin anew below those that it had given."""
    return Message(
        Severity.WARNING,
        "The gateway's order ids begin anew",
        f"Its sequence was reset: it offers {offered}, and has had orders of ours up "
        f"to {known}. Ours go on above {known}, so that none is given twice. Nothing "
        "to do; a script on the same client id could get ids of ours.",
        key=f"ids/{offered}/{known}",
    )


def resolved(records: Iterable[OrderRecord]) -> Message:
    """Return what became of orders whose fate was unknown."""
    lines = [f"{r.order_ref}: {_end(r)}" for r in records]
    return Message(
        Severity.INFO,
        f"{len(lines)} order(s) of unknown fate are resolved",
        "The broker's evidence says what became of them:\n" + "\n".join(lines),
    )


def _end(record: OrderRecord) -> str:
    if never_worked(record):
        return f"never was at work at the broker ({record.code})"
    done = f", {record.filled} of {record.order.quantity} executed"
    return f"{record.state}{done * bool(record.filled)}"
