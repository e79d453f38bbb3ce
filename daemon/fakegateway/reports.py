"""What the gateway says and writes down of orders, trades and positions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from daemon.fakegateway.api import WorldClock
from daemon.fakegateway.books import Books, Key, carried, commission_of
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.orderbook import Working
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.roster import Roster
from daemon.fakegateway.sessions import Sessions
from daemon.fakegateway.values import (
    BrokerOrder,
    Commissioned,
    CommissionReport,
    Executed,
    Execution,
    GatewaySettings,
    Holding,
    HoldingChanged,
    OrderChanged,
    OrderError,
    Refusal,
    StatusChanged,
    copy_order,
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every part of the world stands on."""

    clock: WorldClock
    sessions: Sessions
    settings: GatewaySettings
    prices: Prices
    ledger: Ledger
    roster: Roster
    books: Books
    seed: int


class Reports:
    """The gateway's voice; positions and commissions are told late."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._commission_lane = Lane(around.clock)
        self._position_lane = Lane(around.clock)
        self._executions: list[Execution] = []
        self._commissions: dict[str, CommissionReport] = {}
        self._holdings: dict[Key, Holding] = {}

    # --- orders ---------------------------------------------------------------

    def opened(self, order: BrokerOrder) -> None:
        """Send openOrder."""
        self._around.roster.tell(order.client_id, OrderChanged(copy_order(order)))

    def status(self, order: BrokerOrder) -> None:
        """Write the status down and send orderStatus."""
        self._around.ledger.write(
            "status",
            self._around.clock.now(),
            perm_id=order.perm_id,
            order_id=order.order_id,
            client_id=order.client_id,
            order_ref=order.ticket.order_ref,
            status=order.status,
            filled=order.filled,
            remaining=order.remaining,
            why_held=order.why_held,
        )
        self._around.roster.tell(order.client_id, StatusChanged(copy_order(order)))

    def both(self, order: BrokerOrder) -> None:
        """Send openOrder, then orderStatus."""
        self.opened(order)
        self.status(order)

    def error(self, client_id: int, order_id: int, refusal: Refusal) -> None:
        """Write an error on an order id down and send it to its client."""
        self._around.ledger.write(
            "order_error",
            self._around.clock.now(),
            client_id=client_id,
            order_id=order_id,
            code=refusal.code,
            text=refusal.text,
        )
        self._around.roster.tell_error(OrderError(client_id, order_id, refusal))

    def order_error(self, order: BrokerOrder, refusal: Refusal) -> None:
        """Send an error on *order* to its owner."""
        self.error(order.client_id, order.order_id, refusal)

    # --- trades ---------------------------------------------------------------

    def trade(
        self, working: Working, shares: Decimal, price: Decimal, exchange: str
    ) -> None:
        """Book *shares* of *working* at *price* and send execDetails."""
        order = working.order
        paid_before = commission_of(order.filled, order.filled * order.average_price)
        value = order.filled * order.average_price + shares * price
        order.filled += shares
        order.average_price = _fine(value / order.filled)
        order.last_price = price
        commission = _fine(commission_of(order.filled, value) - paid_before)
        execution = self._execution(working, shares, price, exchange)
        self._executions.append(execution)
        self._write_execution(execution)
        self._around.roster.tell(order.client_id, Executed(execution))
        holding, realized = self._around.books.record(
            execution, order.ticket.contract, commission
        )
        self.position(holding)
        report = CommissionReport(execution.exec_id, commission, realized_pnl=realized)
        settings = self._around.settings
        self._commission_lane.after(
            settings.commission_delay_s, lambda: self._commissioned(order, report)
        )
        self._position_lane.after(
            settings.position_lag_s, lambda: self._tell_holding(holding)
        )

    def position(self, holding: Holding) -> None:
        """Write the true position down."""
        self._around.ledger.write(
            "position",
            self._around.clock.now(),
            account=holding.account,
            con_id=holding.contract.con_id,
            symbol=holding.contract.symbol,
            quantity=holding.quantity,
            average_cost=holding.average_cost,
        )

    def show(self, holding: Holding) -> None:
        """Let *holding* stand in the positions that clients are told."""
        self._holdings[holding.account, holding.contract.con_id] = holding

    def executions(self, client_id: int | None) -> list[Execution]:
        """Return the executions of *client_id*, None: of everybody."""
        return [
            one
            for one in self._executions
            if client_id is None or one.client_id == client_id
        ]

    def commissions(self, executions: Iterable[Execution]) -> list[CommissionReport]:
        """Return the reports of *executions* that were sent."""
        known = (self._commissions.get(one.exec_id) for one in executions)
        return [report for report in known if report is not None]

    def holdings(self, account: str | None) -> list[Holding]:
        """Return the positions as told so far."""
        return [
            held
            for held in self._holdings.values()
            if account is None or held.account == account
        ]

    def forget_before(self, midnight: datetime) -> None:
        """Forget executions before *midnight*, and positions that became flat."""
        self._executions = [one for one in self._executions if one.time >= midnight]
        kept = {one.exec_id for one in self._executions}
        self._commissions = {
            exec_id: report
            for exec_id, report in self._commissions.items()
            if exec_id in kept
        }
        self._holdings = carried(self._holdings)

    def _execution(
        self, working: Working, shares: Decimal, price: Decimal, exchange: str
    ) -> Execution:
        order, ticket = working.order, working.order.ticket
        return Execution(
            exec_id=f"0000e0d5.{order.perm_id:08x}.{working.executions + 1:02d}.01",
            perm_id=order.perm_id,
            client_id=order.client_id,
            order_id=order.order_id,
            order_ref=ticket.order_ref,
            account=ticket.account,
            contract=ticket.contract,
            side="BOT" if ticket.action == "BUY" else "SLD",
            shares=shares,
            price=price,
            cum_quantity=order.filled,
            average_price=order.average_price,
            time=self._around.clock.now(),
            exchange=exchange,
        )

    def _write_execution(self, execution: Execution) -> None:
        self._around.ledger.write(
            "executed",
            execution.time,
            exec_id=execution.exec_id,
            perm_id=execution.perm_id,
            order_id=execution.order_id,
            client_id=execution.client_id,
            order_ref=execution.order_ref,
            account=execution.account,
            con_id=execution.contract.con_id,
            symbol=execution.contract.symbol,
            side="BUY" if execution.side == "BOT" else "SELL",
            quantity=execution.shares,
            price=execution.price,
            exchange=execution.exchange,
        )

    def _commissioned(self, order: BrokerOrder, report: CommissionReport) -> None:
        order.commission = (order.commission or Decimal(0)) + report.commission
        self._commissions[report.exec_id] = report
        self._around.ledger.write(
            "commission",
            self._around.clock.now(),
            exec_id=report.exec_id,
            amount=report.commission,
            currency=report.currency,
            realized_pnl=report.realized_pnl,
        )
        if order.done:
            self.opened(order)
        self._around.roster.tell(
            order.client_id,
            Commissioned(report, order.client_id, order.ticket.account),
        )

    def _tell_holding(self, holding: Holding) -> None:
        self.show(holding)
        self._around.roster.tell_all(HoldingChanged(holding))


def _fine(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"))
