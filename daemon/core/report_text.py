"""The report as CSV, as JSON and as a message; the same report, the same bytes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from daemon.core.accounting import tally
from daemon.core.model import (
    Fill,
    Message,
    OrderState,
    Position,
    RowStatus,
    Severity,
    Side,
)
from daemon.core.report import PlanDetail, Report, Trade

COLUMNS = (
    "date",
    "ticker",
    "direction",
    "entry_price",
    "entry_qty",
    "exit_price",
    "exit_qty",
    "exit_type",
    "pnl",
    "pnl_pct",
    "commission",
    "score",
    "sector",
    "sl_price",
    "tp1_price",
    "tp2_price",
)
BASIS = (
    "pnl is gross, realized first in first out; commission stands beside it; net is"
    " pnl less commission. Totals are sums over the executions of the day; the"
    " commission of a trade covers both sides of its shares, also of an entry of an"
    " earlier day, so that trades and totals differ where lots were carried."
)

_CENT = Decimal("0.01")
_PRICE = Decimal("0.0001")


def trades_csv(report: Report) -> str:
    """Return one line per trade; an unknown commission is empty, never 0."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for trade in report.trades:
        detail = report.details.get(trade.symbol, PlanDetail())
        writer.writerow(_csv_row(report, trade, detail))
    return out.getvalue()


def report_json(report: Report) -> dict[str, object]:
    """Return the report for a program; amounts in USD, quantities in shares."""
    totals = report.totals
    return {
        "session": report.session.date.isoformat(),
        "as_of": _stamp(report, report.at),
        "final": report.final,
        "basis": BASIS,
        "totals": {
            "executions": totals.executions,
            "bought_shares": number(totals.bought_shares),
            "sold_shares": number(totals.sold_shares),
            "bought_usd": number(totals.bought_usd),
            "sold_usd": number(totals.sold_usd),
            "pnl": number(totals.pnl),
            "commission": number(totals.commission),
            "net": number(totals.net),
            "entries_filled": totals.entries_filled,
            "exits": dict(totals.hits),
        },
        "pending_commissions": list(report.pending),
        "rows": {
            "total": len(report.rows),
            **tally(report.rows),
            "list": [
                {
                    "line": row.line,
                    "symbol": row.symbol,
                    "status": row.status.value,
                    "reason": row.reason,
                }
                for row in report.rows
            ],
        },
        "trades": [_trade(trade) for trade in report.trades],
        "open": [
            {
                "symbol": lot.fill.symbol,
                "quantity": number(lot.signed),
                "price": number(lot.fill.price),
                "since": _stamp(report, lot.fill.time),
            }
            for lot in report.open
        ],
        "opening": [
            {
                "symbol": lot.fill.symbol,
                "quantity": number(lot.signed),
                "average_cost": number(lot.fill.price),
                "as_of": _stamp(report, lot.fill.time),
            }
            for lot in report.opening
        ],
        "orders": {
            "total": len(report.orders),
            **Counter(order.state.value for order in report.orders),
        },
        "certificate": {
            "certified": report.certified,
            "flat": report.flat,
            "remainder": _remainder(report.remainder),
            "reconciled": None if report.flat is None else not report.differences,
            "differences": list(report.differences),
            "orders": len(report.orders),
            "unknown": report.unknown,
        },
        "late_fills": [_late(report, fill) for fill in report.late],
    }


def report_message(report: Report) -> Message:
    """Return the short message for the person; every time carries its zone."""
    kind = "Report" if report.final else "Report so far"
    subject = (
        f"{kind} {report.session.date}: {_usd(report.totals.net, signed=True)} net,"
        f" {_flatness(report)}"
    )
    return Message(_severity(report), subject, "\n".join(_lines(report)))


def number(value: Decimal | None) -> float | int | None:
    """Return *value* as JSON knows numbers; printed, it has the same digits."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def _csv_row(report: Report, trade: Trade, detail: PlanDetail) -> list[str]:
    return [
        report.session.date.isoformat(),
        trade.symbol,
        _direction(trade),
        _price(trade.entry_price),
        _plain(trade.quantity),
        _price(trade.exit_price),
        _plain(trade.quantity),
        trade.exit_type,
        _money(trade.pnl),
        str(_percent(trade)),
        "" if trade.commission is None else _money(trade.commission),
        _plain(detail.score),
        detail.sector,
        _money(detail.stop_loss),
        _money(detail.take_profit_1),
        _money(detail.take_profit_2),
    ]


def _trade(trade: Trade) -> dict[str, object]:
    return {
        "ticker": trade.symbol,
        "direction": _direction(trade),
        "bracket": trade.bracket.value if trade.bracket else None,
        "entry_ref": trade.entry_ref,
        "entry_day": trade.entry_day.isoformat(),
        "entry_price": number(trade.entry_price.quantize(_PRICE)),
        "exit_price": number(trade.exit_price.quantize(_PRICE)),
        "quantity": number(trade.quantity),
        "exit_type": trade.exit_type,
        "pnl": number(trade.pnl),
        "pnl_pct": number(_percent(trade)),
        "commission": number(trade.commission),
    }


def _late(report: Report, fill: Fill) -> dict[str, object]:
    return {
        "exec_id": fill.exec_id,
        "order_ref": fill.order_ref,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": number(fill.quantity),
        "price": number(fill.price),
        "time": _stamp(report, fill.time),
    }


def _remainder(left: tuple[Position, ...] | None) -> list[dict[str, object]] | None:
    if left is None:
        return None
    return [{"symbol": p.symbol, "quantity": number(p.quantity)} for p in left]


def _direction(trade: Trade) -> str:
    return "LONG" if trade.side is Side.BUY else "SHORT"


def _percent(trade: Trade) -> Decimal:
    paid = trade.entry_price * trade.quantity
    return (trade.pnl / paid * 100).quantize(_CENT) if paid else Decimal(0)


def _money(value: Decimal | None) -> str:
    """Return all digits of *value*, at least two decimals."""
    if value is None:
        return ""
    exact = value.normalize()
    return f"{exact if _decimals(exact) > 2 else exact.quantize(_CENT):f}"


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _price(value: Decimal) -> str:
    return _money(value.quantize(_PRICE))


def _plain(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():f}"


def _usd(value: Decimal, *, signed: bool = False) -> str:
    return f"{value.quantize(_CENT):{'+' if signed else ''},} USD"


def _stamp(report: Report, moment: datetime) -> str:
    """Return *moment* in the zone of the session, named."""
    local = moment.astimezone(report.session.close.tzinfo)
    return f"{local:%Y-%m-%d %H:%M:%S %Z}"


def _severity(report: Report) -> Severity:
    if report.unknown or (report.final and not report.flat):
        return Severity.ALARM
    refused = any(
        row.status in {RowStatus.REFUSED, RowStatus.UNKNOWN} for row in report.rows
    )
    doubtful = report.pending or (report.final and report.differences)
    return Severity.WARNING if refused or doubtful else Severity.INFO


def _flatness(report: Report) -> str:
    if report.remainder is None:
        return "positions not known"
    if not report.remainder:
        return "flat"
    if report.final:
        return "NOT FLAT"
    return f"{len(report.remainder)} open"


def _lines(report: Report) -> Iterator[str]:
    totals, counts = report.totals, tally(report.rows)
    yield f"As of {_stamp(report, report.at)}"
    yield (
        f"Result {_usd(totals.pnl, signed=True)} gross,"
        f" commission {_usd(totals.commission)}"
    )
    if report.pending:
        yield f"Commission pending for {len(report.pending)} execution(s)"
    exits = ", ".join(f"{kind} {count}" for kind, count in totals.hits.items())
    yield f"Entries filled {totals.entries_filled}; exits: {exits or 'none'}"
    parts = " + ".join(f"{count} {status}" for status, count in counts.items())
    yield f"Rows {len(report.rows)} = {parts}"
    for row in report.rows:
        if row.reason:
            yield f"  {row.symbol} {row.status.value}: {row.reason}"
    for position in report.remainder or ():
        label = "NOT CLOSED" if report.final else "open"
        yield f"  {label}: {position.symbol} {_plain(position.quantity)}"
    for order in report.orders:
        if order.state is OrderState.UNKNOWN:
            yield f"  unknown: {order.order_ref}, look for it in TWS"
    if report.final:
        yield from (f"  books differ: {text}" for text in report.differences)
    if report.late:
        yield f"Executions after the close: {len(report.late)}"
