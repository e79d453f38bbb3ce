"""What a person is told of an order that no job looks at."""

from __future__ import annotations

from decimal import Decimal

from daemon.core import notices
from daemon.core.model import Message, Notice, OrderRecord, Severity


def late_refusal(record: OrderRecord) -> Message:
    """Return that an order was refused when no job looked at it, with the remedy."""
    rule = notices.rule(record.code or 0)
    return Message(
        Severity.ALARM,
        f"{record.order.contract.symbol}: order refused ({record.code})",
        f"{record.order_ref}: {record.code} {record.text}\n{rule.remedy}",
    )


def doubtful(record: OrderRecord) -> Message:
    """Return that the broker's evidence leaves an order's fate open."""
    order = record.order
    return Message(
        Severity.ALARM,
        f"{order.contract.symbol}: order of unknown fate ({record.code})",
        f"{record.order_ref}: {order.side} {order.quantity}: {record.code} "
        f"{record.text}\nIt is not sent again; look in TWS.",
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


def unknown(records: list[OrderRecord]) -> Message:
    """Return that complete answers do not speak of *records*."""
    lines = "\n".join(
        f"{r.order_ref}: {r.order.side} {r.order.quantity} (order id {r.order_id})"
        for r in records
    )
    return Message(
        Severity.ALARM,
        f"{len(records)} order(s) of unknown fate",
        "The gateway answered completely and did not speak of these orders. "
        f"They are not sent again; look in TWS:\n{lines}",
    )
