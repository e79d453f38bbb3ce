"""The cumulative books: one entry a day, replaced when the day is reported again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from daemon.core.report import Report
from daemon.core.report_text import number
from daemon.errors import JournalError

BASIS = (
    "pnl of a day is gross, commission stands beside it, cumulative_pnl is the sum of"
    " pnl less commission; a day without a commission counts none"
)
_CENT = Decimal("0.01")

Entry = Mapping[str, object]


def cumulative_json(
    report: Report, previous: Mapping[str, object] | None, initial_capital: Decimal
) -> dict[str, object]:
    """Return the books after *report*, which replaces its own day in *previous*.

    The capital of *previous* stays: it is the history's.

    Raises:
        JournalError: *previous* is not what this function once returned.
    """
    day = _entry(report)
    history = [*_others(previous, str(day["date"])), day]
    history.sort(key=lambda entry: str(entry["date"]))
    capital = _capital(previous, initial_capital)
    total = cumulative_pnl(history)
    percent = (total / capital * 100).quantize(_CENT) if capital else Decimal(0)
    first = str(history[0]["date"])
    start = str(previous.get("start_date") or first) if previous else first
    return {
        "start_date": min(start, first),
        "initial_capital": number(capital),
        "trading_days": len(history),
        "cumulative_pnl": number(total),
        "cumulative_pnl_pct": number(percent),
        "basis": BASIS,
        "daily_history": history,
    }


def cumulative_pnl(history: Iterable[Entry]) -> Decimal:
    """Return the net result over the days of *history*, in USD.

    Raises:
        JournalError: an amount is not a number.
    """
    net = (_amount(e, "pnl") - _amount(e, "commission") for e in history)
    return sum(net, Decimal(0))


def _entry(report: Report) -> Entry:
    hits = report.totals.hits
    return {
        "date": report.session.date.isoformat(),
        "pnl": number(report.totals.pnl),
        "trades": len(report.trades),
        "filled": report.totals.entries_filled,
        "tp1_hits": hits.get("TP1", 0),
        "tp2_hits": hits.get("TP2", 0),
        "sl_hits": hits.get("SL", 0),
        "moc_exits": hits.get("MOC", 0),
        "commission": number(report.totals.commission),
        "pending_commissions": len(report.pending),
    }


def _others(previous: Mapping[str, object] | None, day: str) -> list[Entry]:
    if previous is None:
        return []
    history = previous.get("daily_history")
    if not isinstance(history, list):
        raise _unreadable("daily_history is not a list")
    for entry in history:
        if not isinstance(entry, dict) or not isinstance(entry.get("date"), str):
            raise _unreadable(f"a day without a date: {entry!r}")
    return [entry for entry in history if entry["date"] != day]


def _capital(previous: Mapping[str, object] | None, given: Decimal) -> Decimal:
    if previous is None or "initial_capital" not in previous:
        return given
    return _amount(previous, "initial_capital")


def _amount(entry: Entry, key: str) -> Decimal:
    value = entry.get(key)
    if value is None:
        return Decimal(0)
    try:
        amount = Decimal(str(value))
    except InvalidOperation as exc:
        raise _unreadable(f"{key} is {value!r}") from exc
    if not amount.is_finite():
        raise _unreadable(f"{key} is {value!r}")
    return amount


def _unreadable(cause: str) -> JournalError:
    return JournalError(
        f"the cumulative books cannot be read: {cause}; restore them from a backup or"
        " report the days again"
    )
