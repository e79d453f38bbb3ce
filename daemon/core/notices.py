"""What a message of the gateway means for an order, and for a person."""

from __future__ import annotations

import re
from datetime import date

from daemon.core.codes import RULES, Disposition, NoticeRule
from daemon.core.model import Notice, OrderState

__all__ = [
    "ANSWERS_TO_CANCEL",
    "NOT_FOUND",
    "Disposition",
    "NoticeRule",
    "classify",
    "describe",
    "queued_beyond",
    "rule",
]

ANSWERS_TO_CANCEL = frozenset({135, 136, 161, 202, 10147, 10148, 10149})
"""Codes with which the gateway answers a cancel: no further answer follows."""

NOT_FOUND = frozenset({135, 10147})
"""Those that say that the gateway has no such order: no proof by themselves."""

_ENDS_A_WORKING_ORDER = frozenset({354})
"""Refusals that come seconds after acceptance and end the order (paper, 2026-05)."""
_REFUSED_CHANGE = re.compile(r"\b(modif|revis)", re.IGNORECASE)
_STATE = re.compile(r"state:?\s*(\w+)", re.IGNORECASE)
_QUEUED = re.compile(r"not be placed at the exchange until", re.IGNORECASE)
_DAY = re.compile(r"until\s+(\d{4})-?(\d{2})-?(\d{2})", re.IGNORECASE)
_BY_STATE = {
    "filled": Disposition.FILLED,
    "cancelled": Disposition.CANCELLED,
    "apicancelled": Disposition.CANCELLED,
    "pendingcancel": Disposition.ORDER_LIVES,
}


def rule(code: int) -> NoticeRule:
    """Return the rule of *code*; an unlisted code is said to be unlisted."""
    if known := RULES.get(code):
        return known
    if 2100 <= code < 2200:
        return NoticeRule(
            code, Disposition.NOTICE, "a system notice", "nothing to do; read the text"
        )
    return NoticeRule(
        code,
        Disposition.UNKNOWN,
        f"code {code} is not in the table",
        "nothing is concluded from it; read the text and compare with the broker",
    )


def classify(code: int, text: str, state: OrderState) -> Disposition:
    """Return what *code* does to an order in *state*; *text* decides where it must.

    A refusal of an order that already works may mean a refused modification: it is
    UNKNOWN unless the text says so (the order lives) or the code is known to end
    working orders.
    """
    disposition = rule(code).disposition
    if code == 10148:
        return _cancel_refused(text)
    if disposition is Disposition.REJECTED and state in {
        OrderState.ACKNOWLEDGED,
        OrderState.WORKING,
    }:
        return _refused_late(code, text, state)
    return disposition


def _cancel_refused(text: str) -> Disposition:
    found = _STATE.search(text)
    said = found.group(1).lower() if found else ""
    return _BY_STATE.get(said, Disposition.UNKNOWN)


def _refused_late(code: int, text: str, state: OrderState) -> Disposition:
    if _REFUSED_CHANGE.search(text):
        return Disposition.ORDER_LIVES
    if code in _ENDS_A_WORKING_ORDER or state is OrderState.ACKNOWLEDGED:
        return Disposition.REJECTED
    return Disposition.UNKNOWN


def queued_beyond(notice: Notice, session: date) -> bool:
    """Return whether the broker holds the order for a day after *session*.

    399 "will not be placed at the exchange until ..."; without a readable date it
    counts as later, because a closing order that waits is an open position.
    """
    if notice.code != 399 or not _QUEUED.search(notice.text):
        return False
    found = _DAY.search(notice.text)
    if found is None:
        return True
    return "".join(found.groups()) > session.strftime("%Y%m%d")


def describe(notice: Notice) -> str:
    """Return one line for a person: code, meaning, the gateway's text, remedy."""
    known = rule(notice.code)
    said = " ".join(notice.text.split())
    return f"{notice.code}: {known.meaning} ({said}); {known.remedy}"
