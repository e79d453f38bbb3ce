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
_PRECAUTIONS = "gateway: Configuration > API > Precautions"
_BYPASS = f"{_PRECAUTIONS} > Bypass Order Precautions for API Orders"
_REDIRECT = f"{_PRECAUTIONS} > Bypass Redirect Order warning for Stock API Orders"
_PRESETS = "Configuration > Presets > Stocks"
_SIZE = (
    "gateway: raise the preset's size limit, or set size_preset to it so that "
    f"orders are split ({_PRESETS} > Size Limit)"
)
_PRICE = (
    f"gateway: widen {_PRESETS} > Percentage, or bypass precautions for API orders; "
    "check the plan's price"
)
_TICKS = (
    f"gateway: widen {_PRESETS} > Number of Ticks, or bypass precautions for API "
    "orders; check the plan's price"
)
_TIF = (
    f"gateway: {_PRESETS} > Time in Force: clear it; the daemon always states its own"
)
_READ_ONLY = "gateway: Configuration > API > Settings > clear Read-Only API"
_RATE = (
    "gateway: Configuration > API > Settings > clear 'Reject messages above maximum "
    "allowed message rate'; lower gateway.messages_per_second"
)
_PERMISSIONS = "Client Portal > Settings > Trading Permissions, then log in again"
_RECONCILE = "nothing is concluded: the broker is asked; compare with its orders in TWS"
_REPORT = "the order was built wrongly: report it with the log of the day"
_PLAN = "correct the plan's row"
_WAIT = "wait for the reconnect; open orders stay at the broker"
_LOGIN = "close the other login of this user (mobile, web, TWS)"
_LATER = "the broker's trouble: enter it by hand in TWS when the text allows it"
_BY_HAND = "watch the symbol in TWS; close what you hold when it trades again"
_SHORT = "no order of the plan sells short: cancel it in TWS and look at the position"
_START = (
    "start it; gateway: Configuration > API > Settings > Enable ActiveX and Socket "
    "Clients, and its Socket port is gateway.port"
)
_DATA = "nothing to do: the daemon trades without market data"

_Texts = Mapping[int, tuple[str, str]]

_NOTICES: _Texts = {
    101: ("too many market data lines", "close other market data users"),
    102: ("duplicate request id", "report it with the log of the day"),
    162: ("historical data service message", _NONE),
    165: ("historical data service notice", _NONE),
    300: ("no market data request under this id", _NONE),
    366: ("no historical data request under this id", _NONE),
    2100: ("account updates were taken over by another request", _NONE),
    2101: ("account data cannot be subscribed", "end the other client that reads it"),
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
    2176: ("the size rules for fractions of shares are not used", _NONE),
    10089: ("market data needs a subscription for the API", _DATA),
    10090: ("a part of the market data is not subscribed", _DATA),
    10167: ("delayed market data is shown", _NONE),
    10168: ("market data is not subscribed, delayed data not switched on", _DATA),
    10187: ("historical ticks were refused", _DATA),
    10197: ("no market data during a competing session", _LOGIN),
}

_LIVES: _Texts = {
    105: ("the modification does not match the order, which stays as it was", _REPORT),
    329: ("the order's type cannot be changed; it stays as it was", _REPORT),
    399: ("a message on a live order, e.g. held until the open", "read the text"),
    404: ("held until shares are located for a short sale", _SHORT),
    422: ("the account cannot be changed; the order stays as it was", _REPORT),
    481: (
        "the size was reduced by the broker",
        "compare the order's quantity in TWS with the plan's",
    ),
    2102: ("cannot be modified while it is being processed", _NONE),
    2109: ("outside-hours flag ignored", _NONE),
    2137: ("the order is larger than the position that it closes", _RECONCILE),
    2161: ("the broker capped the limit price", "compare the price in TWS"),
    2168: ("fractional shares may be executed as principal", _NONE),
    2169: ("fractional shares notice", _NONE),
    2174: ("a time without a zone was read in a default zone", _REPORT),
    10349: ("the time in force was set by a preset; the order is live", _TIF),
}

_REJECTED: _Texts = {
    106: ("the order id cannot be transmitted", _REPORT),
    107: ("the order is incomplete", _REPORT),
    109: ("the price is out of the preset's percentage range", _PRICE),
    110: ("the price does not fit the minimum tick", _REPORT),
    111: ("time in force and order type do not go together", _REPORT),
    113: ("a MOC must be a DAY order", _REPORT),
    116: ("the exchange is not reachable for orders", _LATER),
    139: ("the order could not be read", _REPORT),
    140: ("the size is no whole number", _REPORT),
    141: ("the price is no number", _REPORT),
    145: ("a field of the order is invalid", _REPORT),
    146: ("the trigger method is invalid", _REPORT),
    154: ("trading in the security is halted", _BY_HAND),
    160: ("the size is zero", _PLAN),
    163: ("the price is too far from the market for the preset", _PRICE),
    200: ("no such security, or an ambiguous one", _PLAN),
    201: (
        "order rejected",
        "read the reason: funds, permissions, a halt or the time of day",
    ),
    203: ("the security is not available for this account", _PERMISSIONS),
    320: ("the request could not be read", _REPORT),
    321: ("request refused: validation, or a read-only API", _READ_ONLY),
    334: ("the good-till date is invalid", _REPORT),
    336: ("a time of the order is invalid", _REPORT),
    337: ("a date of the order is invalid", _REPORT),
    343: ("a date of the order is invalid", _REPORT),
    354: ("no market data subscription: a precaution ended the order", _BYPASS),
    355: ("the size does not fit the market's rule", _PLAN),
    361: ("the trigger price is invalid", _PLAN),
    382: ("the price is too many ticks from the market for the preset", _TICKS),
    383: ("the size is over the preset's limit", _SIZE),
    387: ("order type not supported here", "use an order type that it lists"),
    388: ("the size is below the minimum", _PLAN),
    391: ("a time of the order is invalid", _REPORT),
    392: ("the contract has expired", _PLAN),
    395: ("the broker takes no OCA groups now", _LATER),
    396: ("the broker takes only market and limit orders now", _LATER),
    397: ("the broker takes only market and limit orders now", _LATER),
    401: ("a text of the order is too long", _REPORT),
    403: ("the stop price is invalid", _PLAN),
    405: ("a child's size differs from its parent's", _REPORT),
    407: ("the symbol has characters that are not allowed", _PLAN),
    412: ("the contract cannot be traded now", _BY_HAND),
    413: ("a what-if order must be transmitted", _REPORT),
    421: ("the route is invalid", _REPORT),
    434: ("the size is zero", _PLAN),
    435: ("no account named", "config.toml: set account.id"),
    436: ("no account or allocation named", "config.toml: set account.id"),
    460: ("no permission to trade this", _PERMISSIONS),
    462: ("an attribute is not supported", _REPORT),
    478: ("attributes conflict", _REPORT),
    10006: ("the parent order is missing", "resent once; else report it"),
    10015: ("trading is not allowed through the API", _READ_ONLY),
    10052: ("the time in force is invalid", _REPORT),
    10243: ("no fractions of shares through the API", "whole shares only"),
    10268: ("the eTradeOnly attribute is not supported", _REPORT),
    10269: ("the firmQuoteOnly attribute is not supported", _REPORT),
    10270: ("the nbboPriceCap attribute is not supported", _REPORT),
    10311: ("direct routing is held back by a precaution", _REDIRECT),
    10318: ("fractional size is not supported", "whole shares only"),
}

_CANCELLED: _Texts = {
    202: (
        "order cancelled",
        "read the reason; nothing to do where you or the daemon cancelled it",
    )
}

_CONNECTION: _Texts = {
    326: ("the client id is in use", "end the other holder; the id never changes"),
    502: ("the gateway is not reachable", _START),
    503: ("the gateway is too old", "update the gateway"),
    504: ("not connected", _WAIT),
    505: ("the gateway does not know a message of ours", "update the gateway"),
    507: ("bad message, or the socket was closed", _WAIT),
    1100: ("the gateway lost the broker's servers", _WAIT),
    1101: ("restored with data lost: everything is asked again", _NONE),
    1102: ("restored with data kept: everything is asked again", _NONE),
    1300: ("the gateway's port changed", "set gateway.port to the new port"),
    2110: ("the gateway lost the broker's servers; it restores itself", _WAIT),
}

_UNKNOWN: _Texts = {
    100: ("too many messages a second; some may be lost", _RATE),
    103: ("duplicate order id: another order may live under it", _RECONCILE),
    104: ("a filled order cannot be modified", _RECONCILE),
    133: ("the order could not be submitted", _RECONCILE),
    134: ("the order could not be modified: it may be done already", _RECONCILE),
    135: ("no order with this id", _RECONCILE),
    136: ("this order cannot be cancelled", _RECONCILE),
    161: ("the order is not in a state that can be cancelled", _RECONCILE),
    164: ("a precaution found no market data to check the price", _BYPASS),
    322: ("a request failed, e.g. a third account summary", _RECONCILE),
    323: ("a request failed at the server", _RECONCILE),
    438: ("the gateway is locked", "unlock TWS or restart the gateway"),
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
