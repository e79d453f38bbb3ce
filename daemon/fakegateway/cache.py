"""What the gateway answers when it is asked: the truth, or what it last heard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from daemon.fakegateway.books import account_values
from daemon.fakegateway.credit import Credit
from daemon.fakegateway.orderbook import OrderBook
from daemon.fakegateway.trades import Trades
from daemon.fakegateway.values import (
    AccountValue,
    BrokerOrder,
    CommissionReport,
    Execution,
    Holding,
    copy_order,
)


@dataclass(frozen=True, slots=True)
class _Picture:
    """Everything that can be asked for, at one moment."""

    open_orders: list[BrokerOrder]
    completed_orders: list[BrokerOrder]
    executions: list[Execution]
    commissions: list[CommissionReport]
    holdings: list[Holding]
    values: Mapping[str, list[AccountValue]]


class Cache:
    """Follows the broker; *hold* it, and it answers from that moment."""

    def __init__(
        self, accounts: tuple[str, ...], book: OrderBook, trades: Trades, credit: Credit
    ) -> None:
        self._accounts = accounts
        self._book = book
        self._trades = trades
        self._credit = credit
        self._held: _Picture | None = None

    def hold(self) -> None:
        """Answer from this moment's knowledge until followed again."""
        if self._held is None:
            executions = self.executions(None)
            self._held = _Picture(
                open_orders=self.open_orders(),
                completed_orders=self.completed_orders(),
                executions=executions,
                commissions=self.commissions(executions),
                holdings=self.holdings(None),
                values={one: self.account_values(one) for one in self._accounts},
            )

    def follow(self) -> None:
        """Answer from what is true."""
        self._held = None

    def open_orders(self) -> list[BrokerOrder]:
        """Return every client's transmitted orders that are not done."""
        if self._held is not None:
            return [copy_order(one) for one in self._held.open_orders]
        return [
            copy_order(one.order) for one in self._book.live() if one.order.transmitted
        ]

    def completed_orders(self) -> list[BrokerOrder]:
        """Return the orders that were done on the gateway's day."""
        if self._held is not None:
            return [copy_order(one) for one in self._held.completed_orders]
        return [
            copy_order(one.order) for one in self._book.done() if one.order.transmitted
        ]

    def executions(self, client_id: int | None) -> list[Execution]:
        """Return the executions since the gateway's midnight; None: everybody's."""
        if self._held is None:
            return self._trades.executions(client_id)
        return [
            one for one in self._held.executions if client_id in {None, one.client_id}
        ]

    def commissions(self, executions: Iterable[Execution]) -> list[CommissionReport]:
        """Return the reports that were already sent for *executions*."""
        if self._held is None:
            return self._trades.commissions(executions)
        wanted = {one.exec_id for one in executions}
        return [one for one in self._held.commissions if one.exec_id in wanted]

    def holdings(self, account: str | None) -> list[Holding]:
        """Return the positions as reported, which lags behind the fills."""
        if self._held is None:
            return self._trades.holdings(account)
        return [one for one in self._held.holdings if account in {None, one.account}]

    def account_values(self, account: str) -> list[AccountValue]:
        """Return the values of *account*; one that is not served has none."""
        if account not in self._accounts:
            return []
        if self._held is None:
            return account_values(account, self._credit.funds(account))
        return list(self._held.values[account])
