"""Messages of the gateway to its clients, as frames; orders: encode_order.

The layouts are those of server versions 157 to 178, which are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from daemon.fakegateway.frames import frame
from daemon.fakegateway.values import (
    AccountValue,
    Bar,
    CommissionReport,
    Contract,
    Execution,
    Holding,
    Listing,
    Refusal,
)

UNSET_DOUBLE = "1.7976931348623157E308"
UNSET_INTEGER = "2147483647"
UNSET_LONG = "9223372036854775807"

ADVANCED_REJECT = 166
SIZE_INCREMENT = 163
SIZE_RULES = 164
ZONE_IN_TIMES = 174
PRICE_REVISION = 178

US_STOCK_RULE = "26"
"""The market rule of US stocks: one increment, the minimum tick."""


# --- values ------------------------------------------------------------------


def quantity(number: Decimal) -> str:
    """Return *number* of shares: integral ones without a point.

    >>> quantity(Decimal("100.0")), quantity(Decimal("0.5"))
    ('100', '0.5')
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def double(number: Decimal | None) -> str:
    """Return *number* as Java prints a double; the sentinel for None.

    >>> double(Decimal(201)), double(Decimal("201.940")), double(None)
    ('201.0', '201.94', '1.7976931348623157E308')
    """
    if number is None:
        return UNSET_DOUBLE
    text = quantity(number)
    return text if "." in text else f"{text}.0"


def flag(value: bool) -> str:  # noqa: FBT001  # one value, one field
    """Return a boolean field."""
    return "1" if value else "0"


def text7(text: str) -> str:
    r"""Return *text* as the ASCII that clients decode by unicode-escape.

    >>> text7("Bausch + Lomb \xe9")
    'Bausch + Lomb \\xe9'
    """
    return text.replace("\0", " ").encode("unicode_escape").decode("ascii")


def wall_time(moment: datetime, zone: ZoneInfo, version: int) -> str:
    """Return *moment* on the gateway's wall clock, in the version's format."""
    local = moment.astimezone(zone)
    if version >= ZONE_IN_TIMES:
        return f"{local:%Y%m%d %H:%M:%S} {zone.key}"
    return f"{local:%Y%m%d  %H:%M:%S}"


# --- session -----------------------------------------------------------------


def server_hello(version: int, now: datetime, zone: ZoneInfo) -> bytes:
    """Return the answer to the client's greeting: the version to speak."""
    return frame(str(version), f"{now.astimezone(zone):%Y%m%d %H:%M:%S %Z}")


def managed_accounts(accounts: Sequence[str]) -> bytes:
    """Return message 15."""
    return frame("15", "1", ",".join(accounts))


def next_valid_id(order_id: int) -> bytes:
    """Return message 9."""
    return frame("9", "1", str(order_id))


def error(request_id: int, refusal: Refusal, version: int) -> bytes:
    """Return message 4; *request_id* is an order's id, a request's, or -1."""
    tail = [""] if version >= ADVANCED_REJECT else []
    code = str(refusal.code)
    return frame("4", "2", str(request_id), code, text7(refusal.text), *tail)


def current_time(now: datetime) -> bytes:
    """Return message 49."""
    return frame("49", "1", str(int(now.timestamp())))


# --- executions --------------------------------------------------------------


def exec_details(
    request_id: int, execution: Execution, version: int, zone: ZoneInfo
) -> bytes:
    """Return message 11; *request_id* is -1 for a live execution."""
    contract = execution.contract
    return frame(
        *("11", str(request_id), str(execution.order_id)),
        *_contract_head(contract, right=contract.right, exchange=contract.exchange),
        execution.exec_id,
        wall_time(execution.time, zone, version),
        *(execution.account, execution.exchange, execution.side),
        *(quantity(execution.shares), double(execution.price)),
        *(str(execution.perm_id), str(execution.client_id)),
        *(str(execution.liquidation), quantity(execution.cum_quantity)),
        *(double(execution.average_price), execution.order_ref),
        *("", "", "", str(execution.last_liquidity)),
        *(["0"] if version >= PRICE_REVISION else []),
    )


def exec_details_end(request_id: int) -> bytes:
    """Return message 55."""
    return frame("55", "1", str(request_id))


def commission_report(report: CommissionReport) -> bytes:
    """Return message 59."""
    return frame(
        *("59", "1", report.exec_id, double(report.commission), report.currency),
        *(double(report.realized_pnl), UNSET_DOUBLE, ""),
    )


# --- accounts ----------------------------------------------------------------


def position(holding: Holding) -> bytes:
    """Return message 61; the exchange is the primary one, as on the real wire."""
    contract = holding.contract
    exchange = contract.primary_exchange or contract.exchange
    return frame(
        *("61", "3", holding.account),
        *_contract_head(contract, right="", exchange=exchange),
        *(quantity(holding.quantity), double(holding.average_cost)),
    )


def position_end() -> bytes:
    """Return message 62."""
    return frame("62", "1")


def portfolio_value(holding: Holding, price: Decimal) -> bytes:
    """Return message 7: *holding* valued at *price*."""
    contract = holding.contract
    unrealized = (price - holding.average_cost) * holding.quantity
    return frame(
        *("7", "8"),
        *_contract_head(contract, right="0", exchange=contract.primary_exchange),
        *(quantity(holding.quantity), double(price)),
        *(double(price * holding.quantity), double(holding.average_cost)),
        *(double(unrealized), double(holding.realized_pnl), holding.account),
    )


def account_value(value: AccountValue) -> bytes:
    """Return message 6."""
    return frame("6", "2", value.tag, value.value, value.currency, value.account)


def account_time(now: datetime, zone: ZoneInfo) -> bytes:
    """Return message 8."""
    return frame("8", "1", f"{now.astimezone(zone):%H:%M}")


def account_download_end(account: str) -> bytes:
    """Return message 54."""
    return frame("54", "1", account)


def account_update_multi(request_id: int, value: AccountValue) -> bytes:
    """Return message 73."""
    head = ("73", "1", str(request_id), value.account, "")
    return frame(*head, value.tag, value.value, value.currency)


def account_update_multi_end(request_id: int) -> bytes:
    """Return message 74."""
    return frame("74", "1", str(request_id))


def account_summary(request_id: int, value: AccountValue) -> bytes:
    """Return message 63."""
    head = ("63", "1", str(request_id), value.account)
    return frame(*head, value.tag, value.value, value.currency)


def account_summary_end(request_id: int) -> bytes:
    """Return message 64."""
    return frame("64", "1", str(request_id))


# --- contracts ---------------------------------------------------------------


def contract_details(
    request_id: int, listing: Listing, hours: tuple[str, str], version: int
) -> bytes:
    """Return message 10; *hours* are tradingHours and liquidHours."""
    contract = listing.contract
    sized = version >= SIZE_RULES
    return frame(
        *("10", *([] if sized else ["8"]), str(request_id)),
        *(contract.symbol, contract.sec_type, contract.expiry, contract.strike),
        *(contract.right, contract.exchange, contract.currency),
        *(contract.local_symbol, contract.trading_class, contract.trading_class),
        *(str(contract.con_id), quantity(listing.min_tick)),
        *([] if sized else ["100"]),
        *(contract.multiplier, listing.order_types, listing.valid_exchanges),
        *("1", "0", text7(listing.long_name), contract.primary_exchange),
        *("", "", "", "", listing.time_zone, *hours, "", "", "0"),
        *("1", "", "", _rule_ids(listing), "", listing.stock_type),
        *(["1"] if version == SIZE_INCREMENT else []),
        *(["1", "1", "100"] if sized else []),
    )


def contract_details_end(request_id: int) -> bytes:
    """Return message 52."""
    return frame("52", "1", str(request_id))


def market_rule(rule_id: str, increments: Sequence[tuple[Decimal, Decimal]]) -> bytes:
    """Return message 93: pairs of low edge and increment."""
    pairs = [double(number) for pair in increments for number in pair]
    return frame("93", rule_id, str(len(increments)), *pairs)


# --- market data -------------------------------------------------------------


def market_data_type(request_id: int, kind: int) -> bytes:
    """Return message 58; *kind*: 1 live, 2 frozen, 3 delayed, 4 delayed-frozen."""
    return frame("58", "1", str(request_id), str(kind))


def tick_request_parameters(request_id: int, min_tick: Decimal) -> bytes:
    """Return message 81."""
    return frame("81", str(request_id), quantity(min_tick), "9c0001", "3")


def tick_price(request_id: int, tick: int, price: Decimal, size: int) -> bytes:
    """Return message 1; *tick* is IBKR's tick type."""
    head = ("1", "6", str(request_id), str(tick))
    return frame(*head, double(price), str(size), "0")


def tick_size(request_id: int, tick: int, size: int) -> bytes:
    """Return message 2."""
    return frame("2", "6", str(request_id), str(tick), str(size))


def tick_snapshot_end(request_id: int) -> bytes:
    """Return message 57."""
    return frame("57", "1", str(request_id))


def historical_data(
    request_id: int, span: tuple[str, str], dated_bars: Iterable[tuple[str, Bar]]
) -> bytes:
    """Return message 17: *span* in text, and each bar with its date in text."""
    rows = [
        (
            *(date, double(bar.open), double(bar.high), double(bar.low)),
            *(double(bar.close), str(bar.volume), double(bar.wap), str(bar.count)),
        )
        for date, bar in dated_bars
    ]
    cells = [cell for row in rows for cell in row]
    return frame("17", str(request_id), *span, str(len(rows)), *cells)


# --- helpers -----------------------------------------------------------------


def _contract_head(contract: Contract, *, right: str, exchange: str) -> list[str]:
    """Return the eleven fields of an outgoing contract."""
    return [
        *(str(contract.con_id), contract.symbol, contract.sec_type),
        *(contract.expiry, contract.strike, right, contract.multiplier),
        *(exchange, contract.currency, contract.local_symbol, contract.trading_class),
    ]


def _rule_ids(listing: Listing) -> str:
    """Return one rule for each valid exchange."""
    return ",".join(US_STOCK_RULE for _ in listing.valid_exchanges.split(","))
