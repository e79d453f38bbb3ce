"""Messages of the clients to the gateway, field by field; orders: decode_order.

Every client at server versions 157 to 178 writes these layouts: ib_async, and the
official clients, which send their sentinels where ib_async sends nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from daemon.fakegateway.values import Contract

MANUAL_TIME = 169
ISSUER_ID = 176

_UNSET = {
    "",
    "nan",
    "1.7976931348623157e+308",
    "1.7976931348623157e308",
    "2147483647",
    "9223372036854775807",
}
_VERSION_RANGE = re.compile(r"v(\d+)(?:\.\.(\d+))?(?: (.*))?")


class DecodeError(ValueError):
    """A message does not have the layout of its id: error 320 to the client."""


class Fields:
    """The fields of one message, taken in their order."""

    def __init__(self, fields: list[str]) -> None:
        self._fields = fields
        self._at = 0

    @property
    def left(self) -> int:
        """Return how many fields were not taken."""
        return len(self._fields) - self._at

    def text(self, name: str) -> str:
        """Take a text field; *name* is for the error."""
        if not self.left:
            raise DecodeError(f"the message ends before the field {name}")
        self._at += 1
        return self._fields[self._at - 1]

    def integer(self, name: str, default: int = 0) -> int:
        """Take a whole number; *default* where it is unset."""
        text = self.text(name)
        if text.lower() in _UNSET:
            return default
        try:
            return int(text)
        except ValueError:
            raise DecodeError(
                f"the field {name} is no whole number: {text!r}"
            ) from None

    def number(self, name: str) -> Decimal | None:
        """Take a number; None where it is unset."""
        text = self.text(name)
        if text.lower() in _UNSET:
            return None
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise DecodeError(f"the field {name} is no number: {text!r}") from None
        if not number.is_finite():
            raise DecodeError(f"the field {name} is not finite: {text!r}")
        return number

    def flag(self, name: str) -> bool:
        """Take a boolean: 1 or 0, unset is 0."""
        return self.integer(name) != 0

    def skip(self, *names: str) -> None:
        """Pass fields that the gateway has no use for."""
        for name in names:
            self.text(name)

    def end(self) -> None:
        """Refuse a message that goes on."""
        if self.left:
            raise DecodeError(f"{self.left} fields are left over: {self._rest()!r}")

    def _rest(self) -> list[str]:
        return self._fields[self._at :][:5]


# --- session -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VersionRange:
    """The server versions that a client can speak, and its connect options."""

    lowest: int
    highest: int
    options: str = ""


def version_range(payload: bytes) -> VersionRange:
    """Return what the client's first frame offers.

    >>> version_range(b"v157..178 +PACEAPI")
    VersionRange(lowest=157, highest=178, options='+PACEAPI')
    """
    match = _VERSION_RANGE.fullmatch(payload.decode(errors="replace"))
    if match is None:
        raise DecodeError(f"no version range such as v157..178: {payload[:40]!r}")
    lowest, highest, options = match.groups()
    return VersionRange(int(lowest), int(highest or lowest), options or "")


def start_api(fields: Fields) -> int:
    """Return the client id of message 71 (after its id)."""
    fields.skip("version")
    client_id = fields.integer("clientId")
    fields.skip("optionalCapabilities")
    return client_id


# --- contracts and orders -----------------------------------------------------


def cancel_order(fields: Fields, version: int) -> int:
    """Return the order id of message 4."""
    fields.skip("version")
    order_id = fields.integer("orderId")
    if version >= MANUAL_TIME:
        fields.skip("manualOrderCancelTime")
    return order_id


def read_contract(fields: Fields) -> Contract:
    """Take the twelve fields of a contract."""
    return Contract(
        con_id=fields.integer("conId"),
        symbol=fields.text("symbol"),
        sec_type=fields.text("secType"),
        expiry=fields.text("lastTradeDateOrContractMonth"),
        strike=str(fields.number("strike") or 0),
        right=fields.text("right"),
        multiplier=fields.text("multiplier"),
        exchange=fields.text("exchange"),
        primary_exchange=fields.text("primaryExchange"),
        currency=fields.text("currency"),
        local_symbol=fields.text("localSymbol"),
        trading_class=fields.text("tradingClass"),
    )


# --- requests ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Message 7: which executions; empty means any."""

    request_id: int
    client_id: int = 0
    account: str = ""
    since: str = ""
    symbol: str = ""
    sec_type: str = ""
    exchange: str = ""
    side: str = ""


@dataclass(frozen=True, slots=True)
class MarketDataRequest:
    """Message 1."""

    request_id: int
    contract: Contract
    snapshot: bool


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Message 20; *end* aware; lengths in seconds."""

    request_id: int
    contract: Contract
    end: datetime
    duration_s: int
    bar_s: int
    epoch_dates: bool
    keep_up_to_date: bool


def executions(fields: Fields) -> ExecutionFilter:
    """Return the filter of message 7."""
    fields.skip("version")
    return ExecutionFilter(
        request_id=fields.integer("reqId"),
        client_id=fields.integer("clientId"),
        account=fields.text("acctCode"),
        since=fields.text("time"),
        symbol=fields.text("symbol"),
        sec_type=fields.text("secType"),
        exchange=fields.text("exchange"),
        side=fields.text("side"),
    )


def market_data(fields: Fields) -> MarketDataRequest:
    """Return the request of message 1."""
    fields.skip("version")
    request_id = fields.integer("reqId")
    contract = read_contract(fields)
    if contract.sec_type == "BAG":
        for _ in range(fields.integer("comboLegs")):
            fields.skip("conId", "ratio", "action", "exchange")
    skip_delta_neutral_contract(fields)
    fields.skip("genericTickList")
    return MarketDataRequest(request_id, contract, fields.flag("snapshot"))


def contract_details(fields: Fields, version: int) -> tuple[int, Contract]:
    """Return the request id and the contract of message 9."""
    fields.skip("version")
    request_id = fields.integer("reqId")
    contract = read_contract(fields)
    fields.skip("includeExpired", "secIdType", "secId")
    if version >= ISSUER_ID:
        fields.skip("issuerId")
    return request_id, contract


def history(fields: Fields, now: datetime, zone: ZoneInfo) -> HistoryRequest:
    """Return the request of message 20; times without a zone are of *zone*."""
    request_id = fields.integer("reqId")
    contract = read_contract(fields)
    fields.skip("includeExpired")
    end = fields.text("endDateTime")
    bar = fields.text("barSizeSetting")
    duration = fields.text("durationStr")
    fields.skip("useRTH", "whatToShow")
    epoch_dates = fields.integer("formatDate") == 2
    if contract.sec_type == "BAG":
        for _ in range(fields.integer("comboLegs")):
            fields.skip("conId", "ratio", "action", "exchange")
    keep_up_to_date = fields.flag("keepUpToDate")
    return HistoryRequest(
        request_id=request_id,
        contract=contract,
        end=moment(end, zone) if end else now,
        duration_s=duration_seconds(duration),
        bar_s=bar_seconds(bar),
        epoch_dates=epoch_dates,
        keep_up_to_date=keep_up_to_date,
    )


# --- times and lengths ---------------------------------------------------------

_DAY_S = 86_400
_DURATION_UNITS = {
    "S": 1,
    "D": _DAY_S,
    "W": 7 * _DAY_S,
    "M": 30 * _DAY_S,
    "Y": 365 * _DAY_S,
}
_BAR_UNITS = {
    "sec": 1,
    "min": 60,
    "hour": 3600,
    "day": _DAY_S,
    "week": 7 * _DAY_S,
    "month": 30 * _DAY_S,
}


def duration_seconds(text: str) -> int:
    """Return the seconds of a duration such as `2 D`; seconds without a unit.

    >>> duration_seconds("2 D"), duration_seconds("60")
    (172800, 60)
    """
    return _length(text, _DURATION_UNITS, "S")


def bar_seconds(text: str) -> int:
    """Return the seconds of a bar size such as `5 mins`.

    >>> bar_seconds("5 mins"), bar_seconds("1 day")
    (300, 86400)
    """
    return _length(text.rstrip("s"), _BAR_UNITS, "")


def _length(text: str, units: dict[str, int], default: str) -> int:
    count, _, unit = text.strip().partition(" ")
    if not count.isdecimal() or (unit or default) not in units:
        raise DecodeError(f"no length of the form `1 {next(iter(units))}`: {text!r}")
    return int(count) * units[unit or default]


def moment(text: str, zone: ZoneInfo) -> datetime:
    """Return the time of `20260219 15:30:00 US/Eastern` or `20260219-20:30:00`.

    The second form is UTC; a time without a zone is of *zone*.
    """
    universal = "-" in text[:9]
    words = text.replace("-", " ", 1).split() if universal else text.split()
    try:
        where = ZoneInfo(words[2]) if len(words) > 2 else zone
        naive = datetime.strptime(" ".join(words[:2]), "%Y%m%d %H:%M:%S")  # noqa: DTZ007  # the zone is the third word
    except (ValueError, KeyError, IndexError):
        raise DecodeError(
            f"no time of the form `20260219 15:30:00 US/Eastern`: {text!r}"
        ) from None
    return naive.replace(tzinfo=UTC if universal else where)


# --- helpers -----------------------------------------------------------------


def skip_delta_neutral_contract(fields: Fields) -> None:
    """Pass the contract of a delta-neutral hedge, present or not."""
    if fields.flag("deltaNeutralContract"):
        fields.skip("conId", "delta", "price")
