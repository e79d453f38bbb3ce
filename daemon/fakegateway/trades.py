"""What the gateway says and writes down of trades, costs and positions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial

from daemon.fakegateway.books import Key, carried, commission_of
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.orderbook import Working
from daemon.fakegateway.reports import Reports, Surroundings
from daemon.fakegateway.values import (
    BrokerOrder,
    Commissioned,
    CommissionReport,
    Executed,
    Execution,
    Holding,
    HoldingChanged,
)


class Trades:
    """The gateway's voice about trades; positions and commissions are told late."""

    def __init__(self, around: Surroundings, reports: Reports) -> None:
        self._around = around
        self._reports = reports
        self._late = Lane(around.clock)
        self._executions: list[Execution] = []
        self._commissions: dict[str, CommissionReport] = {}
        self._holdings: dict[Key, Holding] = {}

    # --- what happens ---------------------------------------------------------

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
        self._write_execution(execution)
        self._tell_execution(execution)
        holding, realized = self._around.books.record(
            execution, order.ticket.contract, commission
        )
        self._hold(holding)
        report = CommissionReport(execution.exec_id, commission, realized_pnl=realized)
        self._cost(order, report)

    def correct(
        self, working: Working, wrong: Execution, shares: Decimal, price: Decimal
    ) -> Execution:
        """Replace *wrong* by its next revision; zero *shares* busts the trade."""
        order = working.order
        right = replace(
            wrong,
            exec_id=_next_revision(wrong.exec_id),
            shares=shares,
            price=price,
            time=self._around.clock.now(),
        )
        value = order.filled * order.average_price
        value += shares * price - wrong.shares * wrong.price
        order.filled += shares - wrong.shares
        nothing = Decimal(0)
        order.average_price = _fine(value / order.filled) if order.filled else nothing
        right = replace(
            right, cum_quantity=order.filled, average_price=order.average_price
        )
        self._write_execution(right)
        self._tell_execution(right)
        self._hold(self._around.books.correct(wrong, right, order.ticket.contract))
        report = self._commissions.get(wrong.exec_id)
        if report is not None and self._around.settings.corrected_commissions:
            again = replace(report, exec_id=right.exec_id)
            if not shares:  # nothing was traded, so that nothing is owed
                self._around.books.refund(wrong.account, report.commission)
                again = replace(again, commission=nothing, realized_pnl=None)
            self._cost(order, again, again=True)
        return right

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

    # --- what was told --------------------------------------------------------

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

    # --- helpers --------------------------------------------------------------

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
            self._around.clock.now(),
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

    def _tell_execution(self, execution: Execution) -> None:
        lag_s = self._around.settings.execution_lag_s
        if lag_s:
            self._late.after(lag_s, partial(self._executed, execution))
        else:
            self._executed(execution)

    def _executed(self, execution: Execution) -> None:
        self._executions.append(execution)
        self._around.link.tell(execution.client_id, Executed(execution))

    def _hold(self, holding: Holding) -> None:
        self.position(holding)
        lag_s = self._around.settings.position_lag_s
        self._late.after(lag_s, partial(self._tell_holding, holding))

    def _tell_holding(self, holding: Holding) -> None:
        self.show(holding)
        self._around.link.tell_all(HoldingChanged(holding))

    def _cost(
        self, order: BrokerOrder, report: CommissionReport, *, again: bool = False
    ) -> None:
        delay_s = self._around.settings.commission_delay_s
        if delay_s is not None:
            told = partial(self._commissioned, order, report, again=again)
            self._late.after(delay_s, told)

    def _commissioned(
        self, order: BrokerOrder, report: CommissionReport, *, again: bool
    ) -> None:
        if not again:
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
            self._reports.opened(order)
        self._around.link.tell(
            order.client_id,
            Commissioned(report, order.client_id, order.ticket.account),
        )


def _next_revision(exec_id: str) -> str:
    """Return the id of the correction of *exec_id*.

    >>> _next_revision("0000e0d5.59682f01.01.01")
    '0000e0d5.59682f01.01.02'
    """
    base, _, revision = exec_id.rpartition(".")
    return f"{base}.{int(revision) + 1:02d}"


def _fine(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"))
