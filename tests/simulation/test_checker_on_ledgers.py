"""The checker on the fake gateway's own ledgers, traded by plain ib_async."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pytest
from ib_async import IB, LimitOrder, MarketOrder, Order, Stock, StopOrder, Trade

from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.server import GatewayOptions, compose_world, serve
from daemon.fakegateway.values import ChildActivation, GatewaySettings, MarketSession
from daemon.simulation.checker import Verdict, check
from daemon.simulation.loop import run_virtual

OPEN = datetime(2026, 2, 19, 14, 30, tzinfo=UTC)
CLOSE = datetime(2026, 2, 19, 21, 0, tzinfo=UTC)
END = datetime(2026, 2, 19, 21, 30, tzinfo=UTC)
START = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)
DAY = date(2026, 2, 19)
SYMBOL = "WEC"

pytestmark = pytest.mark.announces(202)  # ib_async logs each cancelled order as error


@dataclass
class Script:
    """A trader in a few lines: what he does at the close is up to the test."""

    ib: IB
    trades: list[Trade] = field(default_factory=list)

    async def until(self, hour: int, minute: int) -> None:
        due = datetime(2026, 2, 19, hour, minute, tzinfo=UTC)
        now = asyncio.get_running_loop().time()
        await asyncio.sleep((due - START).total_seconds() - now)

    def send(self, order: Order, name: str, **terms: object) -> Trade:
        order.orderId = order.orderId or self.ib.client.getReqId()
        order.orderRef = f"ibkrd:20260219:{SYMBOL}:{name}"
        order.account = "DU1234567"
        order.tif = "DAY"
        for term, value in terms.items():
            setattr(order, term, value)
        trade = self.ib.placeOrder(Stock(SYMBOL, "SMART", "USD"), order)
        self.trades.append(trade)
        return trade

    def send_bracket(self, shares: int, bracket: str) -> None:
        entry = self.send(
            LimitOrder("BUY", shares, 500), f"{bracket}:EN", transmit=False
        )
        parent = {"parentId": entry.order.orderId}
        take = LimitOrder("SELL", shares, 900)
        self.send(take, f"{bracket}:TP", transmit=False, **parent)
        self.send(
            StopOrder("SELL", shares, 1), f"{bracket}:SL", transmit=True, **parent
        )

    async def cancel_all(self) -> None:
        for trade in self.ib.openTrades():
            self.ib.cancelOrder(trade.order)
        await asyncio.sleep(5)


def traded(script: str, **settings: object) -> tuple[Verdict, list[str]]:
    """Trade the day by *script* and return what the checker says, and the ledger."""
    lines: list[str] = []

    async def main() -> None:
        options = GatewayOptions(
            start=START,
            sessions=[MarketSession(DAY, OPEN, CLOSE)],
            settings=GatewaySettings(**settings),  # type: ignore[arg-type] # by name
            seed=7,
        )
        world = compose_world(options, Ledger(lines.append))
        server = await serve(world, "127.0.0.1", 4002)
        ib = IB()
        await ib.connectAsync("127.0.0.1", 4002, clientId=10, raiseSyncErrors=True)
        trader = Script(ib)
        await trader.until(14, 35)
        trader.send_bracket(33, "A")
        trader.send_bracket(67, "B")
        await trader.until(20, 40)
        if script == "careful":
            await trader.cancel_all()
        if script != "asleep":
            trader.send(MarketOrder("SELL", 100), "X:MOC", orderType="MOC")
        await trader.until(21, 30)
        ib.disconnect()
        await asyncio.sleep(1)
        server.close()

    run_virtual(main, START)
    verdict = check(
        lines, None, client_id=10, accounts=frozenset({"DU1234567"}), until=END
    )
    return verdict, lines


@pytest.mark.parametrize("activation", ["full_fill", "filled_part", "first_fill"])
def test_a_careful_day_is_lawful_and_flat(activation: ChildActivation) -> None:
    verdict, _ = traded("careful", child_activation=activation)
    assert verdict.violations == ()
    assert verdict.flat == {DAY: True}
    assert verdict.orders == 7
    assert verdict.executions >= 3
    assert verdict.positions_at_end == {}


def test_the_same_seed_gives_the_same_ledger_byte_for_byte() -> None:
    _, first = traded("careful")
    _, second = traded("careful")
    assert len(first) > 50
    assert first == second


def test_a_moc_beside_live_brackets_breaks_i3() -> None:
    verdict, _ = traded("careless")
    assert [one.law for one in verdict.violations][:1] == ["I3"]


def test_sleeping_over_the_close_breaks_i4() -> None:
    verdict, _ = traded("asleep")
    assert [one.law for one in verdict.violations] == ["I4"]
    assert verdict.flat == {DAY: False}
    assert verdict.positions_at_end == {("DU1234567", SYMBOL): 100}
