"""What anybody writes with ib_async: a bracket, a position, and its MOC."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ib_async import IB, MarketOrder, Order, Stock, Trade


def wait(ib: IB, what: Callable[[], bool]) -> None:
    """Let messages come until *what* holds."""
    for _ in range(2000):
        if what():
            return
        ib.waitOnUpdate(timeout=0.01)
    raise SystemExit(f"not in time; the trades are {ib.trades()}")


def bracket(ib: IB, contract: Stock) -> list[Trade]:
    """Buy, take the profit at once, and lose the stop by it."""
    legs = ib.bracketOrder(
        "BUY", 30, limitPrice=21.00, takeProfitPrice=15.00, stopLossPrice=10.00
    )
    trades = [ib.placeOrder(contract, leg) for leg in legs]
    wait(ib, lambda: all(trade.isDone() for trade in trades))
    return trades


def market_on_close(ib: IB, contract: Stock) -> list[Trade]:
    """Buy, and sell in the closing auction."""
    bought = ib.placeOrder(contract, MarketOrder("BUY", 15))
    wait(ib, bought.isDone)
    sold = ib.placeOrder(
        contract,
        Order(action="SELL", totalQuantity=15, orderType="MOC", tif="DAY"),
    )
    wait(ib, sold.isDone)
    return [bought, sold]


def shares(ib: IB, side: str) -> float:
    """Return the shares of all executions on one side."""
    executions = (fill.execution for fill in ib.fills())
    return sum(each.shares for each in executions if each.side == side)


def main() -> None:
    """Trade NOV on the port that stands on the input and say how it went."""
    sys.stdout.write("which port?\n")
    sys.stdout.flush()
    ib = IB()
    ib.connect("127.0.0.1", int(sys.stdin.readline()), clientId=7, timeout=5)
    (contract,) = ib.qualifyContracts(Stock("NOV", "SMART", "USD"))
    for trade in (*bracket(ib, contract), *market_on_close(ib, contract)):
        order, status = trade.order, trade.orderStatus.status
        sys.stdout.write(f"{order.orderType} {status} {trade.filled():g}\n")
    wait(ib, lambda: all(fill.commissionReport.execId for fill in ib.fills()))
    wait(ib, lambda: not ib.positions())
    bought, sold = (shares(ib, side) for side in ("BOT", "SLD"))
    sys.stdout.write(f"bought {bought:g}, sold {sold:g}\n")
    ib.disconnect()


if __name__ == "__main__":
    main()
