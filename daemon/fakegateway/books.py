"""The broker's books: positions, cash and commissions of its accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from daemon.fakegateway.values import AccountValue, Contract, Execution, Holding, Margin

COMMISSION_PER_SHARE = Decimal("0.005")
COMMISSION_MINIMUM = Decimal("1.00")
COMMISSION_CAP = Decimal("0.01")
"""Of the trade's value: IBKR Pro, fixed pricing, US stocks."""
INITIAL_MARGIN = Decimal("0.5")
MAINTENANCE_MARGIN = Decimal("0.25")
BUYING_POWER = Decimal(4)
_CENT = Decimal("0.01")

PriceOf = Callable[[str], Decimal]
"""From a symbol to its last price."""


def commission_of(shares: Decimal, value: Decimal) -> Decimal:
    """Return the commission of *shares* traded for *value* USD in one order.

    >>> commission_of(Decimal(100), Decimal(5000)), commission_of(
    ...     Decimal(1000), Decimal(50000)
    ... ), commission_of(Decimal(1), Decimal(20))
    (Decimal('1.00'), Decimal('5.000'), Decimal('0.20'))
    """
    flat = max(COMMISSION_MINIMUM, COMMISSION_PER_SHARE * shares)
    return min(flat, COMMISSION_CAP * value)


@dataclass(frozen=True, slots=True)
class Trade:
    """An execution as the books see it; *quantity* negative for a sale."""

    quantity: Decimal
    price: Decimal
    commission: Decimal


def after_trade(held: Holding, trade: Trade) -> tuple[Holding, Decimal | None]:
    """Return *held* after *trade*, and the realized result if it closed shares.

    Average cost includes commissions, as IBKR's does; the realized result is net.
    """
    total = held.quantity + trade.quantity
    if held.quantity * trade.quantity >= 0:
        paid = trade.quantity * trade.price + trade.commission
        cost = (held.quantity * held.average_cost + paid) / total
        return replace(held, quantity=total, average_cost=_fine(cost)), None
    closed = min(abs(held.quantity), abs(trade.quantity))
    sign = 1 if held.quantity > 0 else -1
    realized = closed * sign * (trade.price - held.average_cost) - trade.commission
    crossed = abs(trade.quantity) > abs(held.quantity)
    left = replace(
        held,
        quantity=total,
        average_cost=_cost_after_close(held, trade, total, crossed=crossed),
        realized_pnl=held.realized_pnl + _fine(realized),
    )
    return left, _fine(realized)


def _cost_after_close(
    held: Holding, trade: Trade, total: Decimal, *, crossed: bool
) -> Decimal:
    if total == 0:
        return Decimal(0)
    return trade.price if crossed else held.average_cost


def _fine(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"), ROUND_HALF_EVEN)


Key = tuple[str, int]
"""Account and conId."""


def carried(held: Mapping[Key, Holding]) -> dict[Key, Holding]:
    """Return what is left of *held* on the next day."""
    return {
        key: replace(one, realized_pnl=Decimal(0))
        for key, one in held.items()
        if one.quantity
    }


class Books:
    """Cash and positions of every account, true at every moment."""

    def __init__(self, accounts: Iterable[str], cash: Decimal) -> None:
        self._cash = dict.fromkeys(accounts, cash)
        self._held: dict[Key, Holding] = {}

    def held(self, account: str, contract: Contract) -> Holding:
        """Return what *account* holds of *contract*, maybe nothing."""
        nothing = Holding(account, contract, Decimal(0), Decimal(0))
        return self._held.get((account, contract.con_id), nothing)

    def endow(self, holding: Holding) -> None:
        """Put *holding* into the books as carried over from an earlier day."""
        self._held[holding.account, holding.contract.con_id] = holding

    def holdings(self, account: str) -> list[Holding]:
        """Return the positions of *account*, flat ones of today included."""
        return [held for held in self._held.values() if held.account == account]

    def record(
        self, execution: Execution, contract: Contract, commission: Decimal
    ) -> tuple[Holding, Decimal | None]:
        """Book *execution*; return the new position and the realized result."""
        signed = execution.shares if execution.side == "BOT" else -execution.shares
        before = self.held(execution.account, contract)
        trade = Trade(signed, execution.price, commission)
        after, realized = after_trade(before, trade)
        self._held[execution.account, contract.con_id] = after
        self._cash[execution.account] -= signed * execution.price + commission
        return after, realized

    def correct(
        self, wrong: Execution, right: Execution, contract: Contract
    ) -> Holding:
        """Book *right* instead of *wrong*; return the position after it."""
        sign = 1 if wrong.side == "BOT" else -1
        before = self.held(wrong.account, contract)
        shares = sign * (right.shares - wrong.shares)
        money = sign * (right.shares * right.price - wrong.shares * wrong.price)
        quantity = before.quantity + shares
        cost = before.average_cost
        if quantity * sign > 0:  # the corrected trade opened what is held
            cost = _fine((before.quantity * cost + money) / quantity)
        after = replace(before, quantity=quantity, average_cost=cost)
        self._held[wrong.account, contract.con_id] = after
        self._cash[wrong.account] -= money
        return after

    def refund(self, account: str, amount: Decimal) -> None:
        """Give *account* back what it paid in USD."""
        self._cash[account] += amount

    def turn_day(self) -> None:
        """Begin a day: positions of zero shares and realized results are over."""
        self._held = carried(self._held)

    def funds(self, account: str, price_of: PriceOf) -> Funds:
        """Return what *account* is worth and may still use."""
        held = [one for one in self.holdings(account) if one.quantity]
        values = [one.quantity * price_of(one.contract.symbol) for one in held]
        unrealized = sum(
            (
                value - one.quantity * one.average_cost
                for one, value in zip(held, values, strict=True)
            ),
            Decimal(0),
        )
        return Funds(
            cash=self._cash[account],
            long_value=sum((v for v in values if v > 0), Decimal(0)),
            short_value=sum((v for v in values if v < 0), Decimal(0)),
            unrealized=unrealized,
            realized=sum(
                (one.realized_pnl for one in self.holdings(account)), Decimal(0)
            ),
        )


@dataclass(frozen=True, slots=True)
class Funds:
    """An account's money in USD."""

    cash: Decimal
    long_value: Decimal
    short_value: Decimal
    unrealized: Decimal
    realized: Decimal

    @property
    def gross(self) -> Decimal:
        """Return the positions' value, short ones counted as positive."""
        return self.long_value - self.short_value

    @property
    def net_liquidation(self) -> Decimal:
        """Return cash and positions."""
        return self.cash + self.long_value + self.short_value

    @property
    def available(self) -> Decimal:
        """Return what new positions may bind as initial margin."""
        return self.net_liquidation - INITIAL_MARGIN * self.gross

    @property
    def excess(self) -> Decimal:
        """Return what is left above the maintenance margin."""
        return self.net_liquidation - MAINTENANCE_MARGIN * self.gross


def account_values(account: str, funds: Funds) -> list[AccountValue]:
    """Return *funds* under the names that the gateway gives them."""
    amounts = {
        "AvailableFunds": funds.available,
        "BuyingPower": BUYING_POWER * max(funds.available, Decimal(0)),
        "CashBalance": funds.cash,
        "EquityWithLoanValue": funds.net_liquidation,
        "ExcessLiquidity": funds.excess,
        "FullAvailableFunds": funds.available,
        "FullExcessLiquidity": funds.excess,
        "FullInitMarginReq": INITIAL_MARGIN * funds.gross,
        "FullMaintMarginReq": MAINTENANCE_MARGIN * funds.gross,
        "GrossPositionValue": funds.gross,
        "InitMarginReq": INITIAL_MARGIN * funds.gross,
        "MaintMarginReq": MAINTENANCE_MARGIN * funds.gross,
        "NetLiquidation": funds.net_liquidation,
        "RealizedPnL": funds.realized,
        "StockMarketValue": funds.long_value + funds.short_value,
        "TotalCashBalance": funds.cash,
        "TotalCashValue": funds.cash,
        "UnrealizedPnL": funds.unrealized,
    }
    texts = {
        "AccountCode": account,
        "AccountReady": "true",
        "AccountType": "INDIVIDUAL",
        "Currency": "USD",
    }
    return [AccountValue(account, tag, text) for tag, text in texts.items()] + [
        AccountValue(account, tag, str(amount.quantize(_CENT)), "USD")
        for tag, amount in amounts.items()
    ]


def margin_of(funds: Funds, added_value: Decimal, commission: Decimal) -> Margin:
    """Return what positions of *added_value* USD more would bind."""
    return Margin(
        init_before=INITIAL_MARGIN * funds.gross,
        maint_before=MAINTENANCE_MARGIN * funds.gross,
        equity_before=funds.net_liquidation,
        init_change=INITIAL_MARGIN * added_value,
        maint_change=MAINTENANCE_MARGIN * added_value,
        equity_change=-commission,
    )
