"""openOrder, orderStatus and completedOrder, by their field tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from daemon.fakegateway.encode import (
    UNSET_DOUBLE,
    UNSET_INTEGER,
    UNSET_LONG,
    double,
    flag,
    quantity,
    text7,
)
from daemon.fakegateway.frames import frame
from daemon.fakegateway.values import BrokerOrder, Margin

_ALWAYS = 10_000


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table: its default, and the versions that have it."""

    name: str
    default: str = ""
    since: int = 0
    until: int = _ALWAYS
    """The first version that no longer has it."""


Table = tuple[Field, ...]
Values = Mapping[str, str | tuple[str, ...]]
"""By name; a tuple where a field's value makes others follow it."""


def table(text: str) -> Table:
    """Return the fields that *text* lists: `name`, `name=default`, `name@since`.

    `name<version` is a field that *version* no longer has.

    >>> table("tif=DAY duration@158")[1]
    Field(name='duration', default='', since=158, until=10000)
    """
    return tuple(map(_field, text.split()))


def _field(word: str) -> Field:
    named, _, default = word.partition("=")
    if "@" in named:
        name, _, since = named.partition("@")
        return Field(name, default, since=int(since))
    if "<" in named:
        name, _, until = named.partition("<")
        return Field(name, default, until=int(until))
    return Field(named, default)


def fill(fields: Table, values: Values, version: int) -> list[str]:
    """Return the row of *fields* at *version*, defaults where *values* has none."""
    if unknown := values.keys() - {field.name for field in fields}:
        raise ValueError(f"the table has no fields named {sorted(unknown)}")
    row: list[str] = []
    for field in fields:
        if field.since <= version < field.until:
            value = values.get(field.name, field.default)
            row += (value,) if isinstance(value, str) else value
    return row


_CONTRACT = """
conId symbol secType expiry strike=0 right multiplier exchange currency
localSymbol tradingClass
"""
_ORDER = """
action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account openClose
origin orderRef
"""
_FLAGS = "outsideRth hidden discretionaryAmt=0 goodAfterTime"
_ADVISOR = "faGroup faMethod faPercentage faProfile<177 modelCode goodTillDate"
_SHORT = """
rule80A percentOffset settlingFirm shortSaleSlot=0 designatedLocation exemptCode=-1
"""
_STOCK_RANGE = "startingPrice stockRefPrice delta stockRangeLower stockRangeUpper"
_TRAILING = """
continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent
"""
_LEGS = """
comboLegsDescrip nComboLegs=0 nOrderComboLegs=0 nSmartComboRoutingParams=0
"""
_MARGIN = "".join(
    f"{name}{when}={UNSET_DOUBLE} "
    for when in ("Before", "Change", "After")
    for name in ("initMargin", "maintMargin", "equityWithLoan")
)
_OFFSETS = """
minTradeQty@170 minCompeteSize@170={minimum} competeAgainstBestOffset@170={offset}
midOffsetAtWhole@170 midOffsetAtHalf@170
"""

# A real gateway writes the delta-neutral order type "None" for every order; as it
# is not empty, its dependent fields follow it.
OPEN_ORDER = table(f"""
msgId=5 orderId {_CONTRACT} {_ORDER} clientId permId {_FLAGS} sharesAllocation
{_ADVISOR} {_SHORT} auctionStrategy=0 {_STOCK_RANGE}
displaySize={UNSET_INTEGER} blockOrder=0 sweepToFill=0 allOrNone minQty ocaType
eTradeOnly=0 firmQuoteOnly=0 nbboPriceCap parentId triggerMethod=0
volatility volatilityType=0 deltaNeutralOrderType=None deltaNeutralAuxPrice
dn.conId=0 dn.settlingFirm dn.clearingAccount dn.clearingIntent dn.openClose=?
dn.shortSale=0 dn.shortSaleSlot=0 dn.designatedLocation
{_TRAILING} basisPoints basisPointsType {_LEGS}
scaleInitLevelSize={UNSET_INTEGER} scaleSubsLevelSize={UNSET_INTEGER}
scalePriceIncrement hedgeType optOutSmartRouting=0 clearingAccount
clearingIntent=IB notHeld=0 deltaNeutralContractPresent=0 algoStrategy
solicited=0 whatIf status {_MARGIN}
commission minCommission maxCommission commissionCurrency warningText
randomizeSize=0 randomizePrice=0 nConditions=0 adjustedOrderType=None
triggerPrice={UNSET_DOUBLE} adjusted.trailStopPrice={UNSET_DOUBLE}
lmtPriceOffset={UNSET_DOUBLE} adjustedStopPrice={UNSET_DOUBLE}
adjustedStopLimitPrice={UNSET_DOUBLE} adjustedTrailingAmount={UNSET_DOUBLE}
adjustableTrailingUnit=0 softDollar.name softDollar.val softDollar.displayName
cashQty=0 dontUseAutoPriceForHedge=1 isOmsContainer=0
discretionaryUpToLimitPrice=0 usePriceMgmtAlgo=0
duration@158 postToAts@160 autoCancelParent@162=0
{_OFFSETS.format(minimum=100, offset="0.02")}
""")

COMPLETED_ORDER = table(f"""
msgId=101 {_CONTRACT} {_ORDER} permId {_FLAGS} {_ADVISOR} {_SHORT} {_STOCK_RANGE}
displaySize sweepToFill=0 allOrNone minQty ocaType triggerMethod=0
volatility volatilityType=0 deltaNeutralOrderType=None deltaNeutralAuxPrice
dn.conId=0 dn.shortSale=0 dn.shortSaleSlot=0 dn.designatedLocation
{_TRAILING} {_LEGS}
scaleInitLevelSize scaleSubsLevelSize scalePriceIncrement hedgeType
clearingAccount clearingIntent=IB notHeld=0 deltaNeutralContractPresent=0
algoStrategy solicited=0 status randomizeSize=0 randomizePrice=0 nConditions=0
completed.trailStopPrice lmtPriceOffset cashQty=0 dontUseAutoPriceForHedge=0
isOmsContainer=0 autoCancelDate filledQuantity refFuturesConId={UNSET_INTEGER}
autoCancelParent=0 shareholder imbalanceOnly=0 routeMarketableToBbo=0
parentPermId={UNSET_LONG} completedTime completedStatus
{_OFFSETS.format(minimum=UNSET_INTEGER, offset="")}
""")

_OCA_REDUCE = 3
"""The type that the gateway echoes for an order in no group."""


def open_order(order: BrokerOrder, version: int) -> bytes:
    """Return message 5; a preview's margins when the ticket is a whatIf."""
    ticket = order.ticket
    shared = f"{order.perm_id}.0/{ticket.account}/{quantity(ticket.quantity)}"
    values: dict[str, str | tuple[str, ...]] = {
        **_common(order),
        "orderId": str(order.order_id),
        "right": ticket.contract.right or "?",
        "clientId": str(order.client_id),
        "sharesAllocation": shared,
        "parentId": str(ticket.parent_id),
        "whatIf": flag(ticket.what_if),
        **_commission(order),
    }
    if ticket.what_if:
        values |= _margins(order.margin or Margin())
    return frame(*fill(OPEN_ORDER, values, version))


def open_order_end() -> bytes:
    """Return message 53."""
    return frame("53", "1")


def order_status(order: BrokerOrder) -> bytes:
    """Return message 3."""
    return frame(
        *("3", str(order.order_id), order.status),
        *(quantity(order.filled), quantity(order.remaining)),
        *(double(order.average_price), str(order.perm_id)),
        *(str(order.ticket.parent_id), double(order.last_price)),
        *(str(order.client_id), order.why_held, "0"),
    )


def completed_order(order: BrokerOrder, version: int, zone: ZoneInfo) -> bytes:
    """Return message 101, which names no order id and no client."""
    ticket = order.ticket
    values = {
        **_common(order),
        "right": ticket.contract.right,
        "filledQuantity": quantity(order.filled),
        "completedTime": _zoned(order.completed_at, zone),
        "completedStatus": text7(order.completed_status or order.status),
    }
    return frame(*fill(COMPLETED_ORDER, values, version))


def completed_orders_end() -> bytes:
    """Return message 102."""
    return frame("102")


def _common(order: BrokerOrder) -> dict[str, str | tuple[str, ...]]:
    ticket, contract = order.ticket, order.ticket.contract
    return {
        "conId": str(contract.con_id),
        "symbol": contract.symbol,
        "secType": contract.sec_type,
        "expiry": contract.expiry,
        "strike": contract.strike,
        "multiplier": contract.multiplier,
        "exchange": contract.exchange,
        "currency": contract.currency,
        "localSymbol": contract.local_symbol,
        "tradingClass": contract.trading_class,
        "action": ticket.action,
        "totalQuantity": quantity(ticket.quantity),
        "orderType": ticket.order_type,
        "lmtPrice": double(ticket.limit_price or Decimal(0)),
        "auxPrice": double(ticket.aux_price or Decimal(0)),
        "tif": ticket.tif or "DAY",
        "ocaGroup": ticket.oca_group,
        "account": ticket.account,
        "openClose": ticket.open_close,
        "origin": str(ticket.origin),
        "orderRef": ticket.order_ref,
        "permId": str(order.perm_id),
        "outsideRth": flag(ticket.outside_rth),
        "hidden": flag(ticket.hidden),
        "goodAfterTime": ticket.good_after_time,
        "goodTillDate": ticket.good_till_date,
        "allOrNone": flag(ticket.all_or_none),
        "ocaType": str(ticket.oca_type or _OCA_REDUCE),
        "algoStrategy": _algo(ticket.algo_strategy),
        "status": order.status,
    }


def _algo(strategy: str) -> str | tuple[str, ...]:
    """Return the strategy with the number of its parameters, which are not kept."""
    return (strategy, "0") if strategy else ""


def _commission(order: BrokerOrder) -> dict[str, str]:
    if order.commission is None:
        return {}
    currency = order.ticket.contract.currency
    return {"commission": double(order.commission), "commissionCurrency": currency}


def _margins(margin: Margin) -> dict[str, str]:
    rows = {
        "initMargin": (margin.init_before, margin.init_change),
        "maintMargin": (margin.maint_before, margin.maint_change),
        "equityWithLoan": (margin.equity_before, margin.equity_change),
    }
    return {
        f"{name}{when}": double(number)
        for name, (before, change) in rows.items()
        for when, number in (
            ("Before", before),
            ("Change", change),
            ("After", before + change),
        )
    }


def _zoned(moment: datetime | None, zone: ZoneInfo) -> str:
    if moment is None:
        return ""
    return f"{moment.astimezone(zone):%Y%m%d %H:%M:%S} {zone.key}"
