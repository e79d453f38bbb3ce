"""Between ib_async's objects and our values; the only place that knows floats."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

import ib_async
from ib_async.util import UNSET_DOUBLE

from daemon.broker.shapes import is_word
from daemon.core.model import (
    Account,
    Commission,
    CompletedOrder,
    ConId,
    Contract,
    ExecId,
    Fill,
    Order,
    OrderId,
    OrderRef,
    OrderUpdate,
    PermId,
    Position,
    Side,
    WorkingOrder,
)

_SIDES = {
    "BUY": Side.BUY,
    "BOT": Side.BUY,
    "SELL": Side.SELL,
    "SLD": Side.SELL,
    "SSHORT": Side.SELL,
}
_BOUND = Decimal(10) ** 12
_SHARES_BOUND = Decimal(10) ** 9
"""No order has as many shares; 2147483647 is IBKR's "not known"."""


FUNDS = frozenset({"NetLiquidation", "AvailableFunds", "BuyingPower"})
"""The account values that we calculate with."""


def amount(value: float | str | Decimal) -> Decimal:
    """Return *value* as the decimal that the gateway printed.

    Raises:
        ValueError: it is no amount of anything: not finite, or beyond all bounds.
    """
    told = Decimal(str(value))
    if not (told.is_finite() and abs(told) < _BOUND):
        raise ValueError(f"{value} is no amount")
    return told.normalize() + 0


def known(value: float) -> Decimal | None:
    """Return None for the gateway's sentinel "unset" (1.797e308), else the amount.

    Raises:
        ValueError: it is neither.
    """
    return None if 1e300 <= abs(value) < math.inf else amount(value)


def funds(text: str) -> Decimal | None:
    """Return an account value as the gateway wrote it; None where it is not known.

    Raises:
        ValueError: it is no number.
    """
    return None if known(float(text)) is None else Decimal(text)


def price_or_none(value: float | Decimal) -> Decimal | None:
    """Return None for an unset or zero price."""
    return known(float(value)) if value else None


def instant(moment: datetime) -> str:
    """Return *moment* in IBKR's explicit UTC form, `yyyymmdd-hh:mm:ss`."""
    return moment.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")


def to_contract(contract: Contract) -> ib_async.Contract:
    """Return the SMART-routed contract; the con id alone decides which stock."""
    return ib_async.Contract(
        secType="STK",
        conId=contract.con_id,
        symbol=contract.symbol,
        exchange=contract.exchange,
        primaryExchange=contract.primary_exchange,
        currency=contract.currency,
    )


def to_order(order: Order, order_id: OrderId, parent_id: OrderId) -> ib_async.Order:
    """Return the order as ib_async sends it."""
    return ib_async.Order(
        orderId=order_id,
        action=order.side.value,
        totalQuantity=order.quantity,
        orderType=order.order_type.value,
        lmtPrice=_price(order.limit_price),
        auxPrice=_price(order.stop_price),
        tif=order.tif,
        goodTillDate=instant(order.good_till) if order.good_till else "",
        goodAfterTime=instant(order.good_after) if order.good_after else "",
        ocaGroup=order.oca_group,
        ocaType=order.oca_type,
        account=order.account,
        orderRef=order.order_ref,
        parentId=parent_id,
        transmit=order.transmit,
        outsideRth=False,
    )


def _price(price: Decimal | None) -> float:
    return UNSET_DOUBLE if price is None else float(price)


def from_details(details: ib_async.ContractDetails) -> Contract:
    """Return what we keep of contract details.

    Raises:
        ValueError: the gateway named no contract.
    """
    contract = details.contract
    if contract is None:
        raise ValueError("contract details without a contract")
    return Contract(
        con_id=ConId(contract.conId),
        symbol=contract.symbol,
        exchange="SMART",
        primary_exchange=contract.primaryExchange,
        currency=contract.currency,
        min_tick=amount(details.minTick),
        order_types=frozenset(details.orderTypes.split(",")),
        liquid_hours=details.liquidHours,
        time_zone=details.timeZoneId,
    )


def from_position(position: ib_async.Position) -> Position:
    """Return one position; average cost in USD a share."""
    return Position(
        account=Account(position.account),
        con_id=ConId(position.contract.conId),
        symbol=position.contract.symbol,
        quantity=amount(position.position),
        average_cost=amount(position.avgCost),
        sec_type=position.contract.secType,
    )


def from_open_order(
    contract: ib_async.Contract, order: ib_async.Order, status: str
) -> WorkingOrder:
    """Return one openOrder message; its own filled quantity is not on the wire.

    Raises:
        ValueError: *status* is none: the fields before it have moved.
    """
    return WorkingOrder(
        order_id=OrderId(order.orderId),
        perm_id=PermId(order.permId),
        client_id=order.clientId,
        order_ref=OrderRef(order.orderRef),
        account=Account(order.account),
        con_id=ConId(contract.conId),
        symbol=contract.symbol,
        side=_SIDES[order.action],
        quantity=amount(order.totalQuantity),
        order_type=order.orderType,
        status=_status(status),
        remaining=amount(order.totalQuantity),
        limit_price=price_or_none(order.lmtPrice or 0),
        stop_price=price_or_none(order.auxPrice or 0),
        parent_id=OrderId(order.parentId),
        oca_group=order.ocaGroup,
    )


def from_completed(
    contract: ib_async.Contract, order: ib_async.Order, status: str
) -> CompletedOrder:
    """Return one completedOrder message.

    Raises:
        ValueError: *status* is none, or nothing says how much was filled.
    """
    return CompletedOrder(
        perm_id=PermId(order.permId),
        order_ref=OrderRef(order.orderRef),
        account=Account(order.account),
        con_id=ConId(contract.conId),
        symbol=contract.symbol,
        side=_SIDES[order.action],
        quantity=amount(order.totalQuantity),
        filled=_shares(order.filledQuantity),
        status=_status(status),
    )


def _status(status: str) -> str:
    if not is_word(status):
        raise ValueError(f"{status!r} is no status")
    return status


def _shares(quantity: float | Decimal) -> Decimal:
    told = amount(quantity)
    if not 0 <= told < _SHARES_BOUND:
        raise ValueError(f"{quantity} is no quantity of shares")
    return told


def from_execution(contract: ib_async.Contract, execution: ib_async.Execution) -> Fill:
    """Return one execDetails message; *time* is aware because version 174 says so."""
    return Fill(
        exec_id=ExecId(execution.execId),
        order_ref=OrderRef(execution.orderRef),
        order_id=OrderId(execution.orderId),
        perm_id=PermId(execution.permId),
        client_id=execution.clientId,
        account=Account(execution.acctNumber),
        con_id=ConId(contract.conId),
        symbol=contract.symbol,
        side=_SIDES[execution.side],
        quantity=_shares(execution.shares),
        price=amount(execution.price),
        time=execution.time.astimezone(UTC),
        exchange=execution.exchange,
    )


def from_commission(report: ib_async.CommissionReport) -> Commission:
    """Return one commissionReport message; sentinels become None."""
    return Commission(
        exec_id=ExecId(report.execId),
        amount=known(report.commission),
        currency=report.currency,
        realized_pnl=known(report.realizedPNL),
    )


def order_update(  # noqa: PLR0913  (the message has these fields)
    order_id: int,
    perm_id: int,
    client_id: int,
    *,
    status: str,
    filled: float,
    remaining: float,
    average_price: float,
    why_held: str,
) -> OrderUpdate:
    """Return one orderStatus message; the reference is not on the wire."""
    return OrderUpdate(
        order_id=OrderId(order_id),
        perm_id=PermId(perm_id),
        client_id=client_id,
        order_ref=OrderRef(""),
        status=status,
        filled=amount(filled),
        remaining=amount(remaining),
        average_price=price_or_none(average_price),
        why_held=why_held,
    )
