"""IBKR's message codes as data: what each one does to an order, and the remedy.

Sources: IBKR's message code page; the truth about 399, 404, 10349 (the order
lives) and 354 (ends a working order) from paper trading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Disposition(StrEnum):
    """What a message does to the order that it names."""

    NOTICE = "notice"
    ORDER_LIVES = "order_lives"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FILLED = "filled"
    CONNECTION = "connection"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NoticeRule:
    """One code: its disposition, its meaning for a person and what to change."""

    code: int
    disposition: Disposition
    meaning: str
    remedy: str


_NONE = "nothing to do"
_BYPASS = (
    "gateway: Configuration > API > Precautions > "
    "Bypass Order Precautions for API Orders"
)
_SIZE = (
    "gateway: raise the preset's size limit, or set size_preset to it so that "
    "orders are split"
)
_PRICE = (
    "gateway: widen the preset's percentage constraint, or bypass precautions for "
    "API orders; check the plan's price"
)
_RECONCILE = "nothing is resent; compare with the broker's open orders and executions"
_REPORT = "the order was built wrongly: report it with the log of the day"
_PLAN = "correct the plan's row"
_WAIT = "wait for the reconnect; open orders stay at the broker"
_READ_ONLY = "gateway: Configuration > API > Settings > clear Read-Only API"
_LOGIN = "close the other login of this user (mobile, web, TWS)"
_TIF = "gateway: clear the preset's time in force; the daemon always states it"

_Texts = Mapping[int, tuple[str, str]]

_NOTICES: _Texts = {
    101: ("too many market data lines", "close other market data users"),
    102: ("duplicate request id", _REPORT),
    162: ("historical data service message", _NONE),
    165: ("historical data service notice", _NONE),
    322: ("duplicate or excess request, e.g. a third account summary", _REPORT),
    366: ("no historical data request under this id", _NONE),
    2100: ("account updates were taken over by another request", _NONE),
    2101: ("account data cannot be subscribed", _NONE),
    2103: ("a market data farm is broken", _WAIT),
    2104: ("a market data farm is connected", _NONE),
    2105: ("a historical data farm is broken", _WAIT),
    2106: ("a historical data farm is connected", _NONE),
    2107: ("a historical data farm is inactive until needed", _NONE),
    2108: ("a market data farm is inactive until needed", _NONE),
    2119: ("a market data farm is connecting", _NONE),
    2150: ("a position's derived values are not available", _NONE),
    2157: ("the security definition farm is broken", _WAIT),
    2158: ("the security definition farm is connected", _NONE),
    10167: ("delayed market data is shown", _NONE),
    10197: ("no market data during a competing session", _LOGIN),
}

_LIVES: _Texts = {
    105: ("the modification does not match the order, which stays as it was", _REPORT),
    329: ("the order's type cannot be changed; it stays as it was", _REPORT),
    399: ("a message on a live order, e.g. held until the open", "read the text"),
    404: ("held until shares are located for a short sale", "cancel it by hand"),
    481: ("the size was reduced by the broker", "compare the quantity"),
    2102: ("cannot be modified while it is being processed", _NONE),
    2109: ("outside-hours flag ignored", _NONE),
    2137: ("the order is larger than the position that it closes", _RECONCILE),
    2168: ("fractional shares may be executed as principal", _NONE),
    2169: ("fractional shares notice", _NONE),
    2174: ("a time without a zone was read in a default zone", _REPORT),
    10349: ("the time in force was set by a preset; the order is live", _TIF),
}

_REJECTED: _Texts = {
    106: ("the order id cannot be transmitted", _REPORT),
    107: ("the order is incomplete", _REPORT),
    109: ("the price is out of the allowed range", _PRICE),
    110: ("the price does not fit the minimum tick", _REPORT),
    111: ("time in force and order type do not go together", _REPORT),
    113: ("a MOC must be a DAY order", _REPORT),
    163: ("the price is too far from the market for the preset", _PRICE),
    200: ("no such security, or an ambiguous one", _PLAN),
    201: ("order rejected", "read the reason; funds, permissions or halts"),
    203: ("the security is not available for this account", "check permissions"),
    321: ("request refused: validation, or a read-only API", _READ_ONLY),
    354: ("no market data subscription: a precaution ended the order", _BYPASS),
    382: ("the size is over the preset's limit", _SIZE),
    383: ("the size is over the preset's limit", _SIZE),
    387: ("order type not supported here", "use an order type that it lists"),
    388: ("the size is below the minimum", _PLAN),
    391: ("a time of the order is invalid", _REPORT),
    413: ("a what-if order must be transmitted", _REPORT),
    434: ("the size is zero", _PLAN),
    435: ("no account named", _REPORT),
    462: ("an attribute is not supported", _REPORT),
    478: ("attributes conflict", _REPORT),
    10006: ("the parent order is missing", "resent once; else report it"),
    10268: ("the eTradeOnly attribute is not supported", _REPORT),
    10269: ("the firmQuoteOnly attribute is not supported", _REPORT),
    10270: ("the nbboPriceCap attribute is not supported", _REPORT),
    10311: ("direct routing is held back by a precaution", _BYPASS),
    10318: ("fractional size is not supported", "whole shares only"),
}

_CANCELLED: _Texts = {202: ("order cancelled", "read the reason")}

_CONNECTION: _Texts = {
    326: ("the client id is in use", "end the other holder; the id never changes"),
    502: ("the gateway is not reachable", "start it and allow API connections"),
    503: ("the gateway is too old", "update the gateway"),
    504: ("not connected", _WAIT),
    507: ("bad message, or the socket was closed", _WAIT),
    1100: ("the gateway lost the broker's servers", _WAIT),
    1101: ("restored with data lost: everything is asked again", _NONE),
    1102: ("restored with data kept: everything is asked again", _NONE),
    1300: ("the gateway's port changed", "set gateway.port to the new port"),
    2110: ("the gateway lost the broker's servers; it restores itself", _WAIT),
}

_UNKNOWN: _Texts = {
    100: ("too many messages a second; some may be lost", _RECONCILE),
    103: ("duplicate order id: another order may live under it", _RECONCILE),
    104: ("a filled order cannot be modified", _RECONCILE),
    135: ("no order with this id", _RECONCILE),
    136: ("this order cannot be cancelled", _RECONCILE),
    161: ("the order is not in a state that can be cancelled", _RECONCILE),
    10147: ("the order to cancel is not found", _RECONCILE),
    10148: ("the order to cancel cannot be cancelled; see its state", _RECONCILE),
    10149: ("invalid order id", _RECONCILE),
    10329: ("held back by a precaution", _BYPASS),
    10335: ("held back by a precaution", _BYPASS),
    10341: ("held back by a precaution", _BYPASS),
}


def _rules() -> Iterator[NoticeRule]:
    for disposition, texts in (
        (Disposition.NOTICE, _NOTICES),
        (Disposition.ORDER_LIVES, _LIVES),
        (Disposition.REJECTED, _REJECTED),
        (Disposition.CANCELLED, _CANCELLED),
        (Disposition.CONNECTION, _CONNECTION),
        (Disposition.UNKNOWN, _UNKNOWN),
    ):
        for code, (meaning, remedy) in texts.items():
            yield NoticeRule(code, disposition, meaning, remedy)


RULES: Mapping[int, NoticeRule] = {rule.code: rule for rule in _rules()}
