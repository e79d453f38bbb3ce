"""Where in the session each job may stand, as far as the text alone can tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from daemon.core.session import (
    Anchor,
    OrdinaryDay,
    Relative,
    ordinary_place,
    parse_when,
)

NEW_YORK_EXCHANGES = frozenset({"XNYS", "XNAS"})
"""Exchanges on whose hours a crontab line can be judged without a calendar."""

_ORDINARY = OrdinaryDay(
    "America/New_York", timedelta(hours=9, minutes=30), timedelta(hours=16)
)
_LENGTHS = (timedelta(hours=6, minutes=30), timedelta(hours=3, minutes=30))
"""From the open to the close: an ordinary session, and a half-day."""

_ANY_DAY = date(2026, 1, 1)
"""Only its year counts: how far the clocks of two zones are apart on most days."""

_NOTHING = timedelta()
_ENTRIES_UNTIL = timedelta(minutes=30)
_LAST_ALERT = timedelta(minutes=12)


@dataclass(frozen=True, slots=True)
class _Rule:
    """*holds* gets the distance after the open and the distance after the close."""

    wanted: str
    remedy: str
    holds: Callable[[timedelta, timedelta], bool]
    only: Anchor | None = None


_RULES: Mapping[str, _Rule] = {
    "submit": _Rule(
        "a moment from the open to before open+30m",
        "no entry is sent before the open nor from open+30m on",
        lambda opened, _: _NOTHING <= opened < _ENTRIES_UNTIL,
    ),
    "moc_close": _Rule(
        "a moment after the open and not after close-12m",
        "the exchange takes no closing order after close-10m",
        lambda opened, closed: opened > _NOTHING and closed <= -_LAST_ALERT,
    ),
    "eod_report": _Rule(
        "the close or a distance after it, such as close+5m",
        "the report needs the closing auction",
        lambda _, closed: closed >= _NOTHING,
        Anchor.CLOSE,
    ),
}


def require_place(job: str, text: str, exchange: str) -> None:
    """Refuse a *text* that puts *job* outside its place in the session.

    Moments relative to the session are judged on an ordinary session of New York and
    on a half-day. A crontab line is judged by its ordinary place there; on other
    exchanges only a calendar can tell, and `ibkrd schedule` does.

    Raises:
        ValueError: the text says where the job may stand, and why.
    """
    when = parse_when(text)
    if not isinstance(when, Relative):
        if exchange not in NEW_YORK_EXCHANGES:
            return
        when, _ = ordinary_place(when, _ANY_DAY, _ORDINARY)
    rule = _RULES[job]
    anchored = rule.only in {None, when.anchor}
    if not anchored or not all(rule.holds(*_after(when, n)) for n in _LENGTHS):
        raise ValueError(f"expected {rule.wanted}, on half-days too; {rule.remedy}")


def _after(when: Relative, length: timedelta) -> tuple[timedelta, timedelta]:
    """Return how long after the open and after the close of such a session it is."""
    if when.anchor is Anchor.OPEN:
        return when.offset, when.offset - length
    return when.offset + length, when.offset
