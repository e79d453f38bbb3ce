from __future__ import annotations

from typing import Any

import pytest
from ibapi.client import MAX_CLIENT_VER
from ibapi.execution import ExecutionFilter
from official import MODERN, Official, commission_event, connected, order, stock


def status_is(order_id: int, *wanted: str) -> Any:
    return lambda known, status, *_: known == order_id and status in wanted


def synced(client: Official) -> int:
    """Ask what a client asks on connect; return the next order id."""
    (next_id,) = client.wait("nextValidId")
    assert client.wait("managedAccounts") == ("DU1234567",)
    client.reqPositions()
    client.wait("positionEnd")
    client.reqOpenOrders()
    client.wait("openOrderEnd")
    client.reqCompletedOrders(False)
    client.wait("completedOrdersEnd")
    client.reqAccountUpdates(True, "DU1234567")
    client.wait("accountDownloadEnd")
    client.reqExecutions(900, ExecutionFilter())
    client.wait("execDetailsEnd")
    return int(next_id)


def quote(client: Official, symbol: str) -> tuple[float, float]:
    client.reqMktData(901, stock(symbol), "", True, False, [])
    _, _, bid, _ = client.wait("tickPrice", lambda _, tick, *__: tick == 1)
    _, _, ask, _ = client.wait("tickPrice", lambda _, tick, *__: tick == 2)
    client.wait("tickSnapshotEnd")
    return bid, ask


def test_the_official_client_syncs_and_asks(port: int) -> None:
    with connected(port, 7) as client:
        assert client.serverVersion() == min(178, MAX_CLIENT_VER)
        synced(client)
        client.reqContractDetails(902, stock("NOV"))
        _, details = client.wait("contractDetails")
        client.wait("contractDetailsEnd")
        assert (details.contract.symbol, details.minTick) == ("NOV", 0.01)
        assert "0930" in details.liquidHours
        client.reqAccountSummary(903, "All", "NetLiquidation,BuyingPower")
        assert client.wait("accountSummary")[1] == "DU1234567"
        client.wait("accountSummaryEnd")
        client.reqHistoricalData(
            904, stock("NOV"), "", "1800 S", "1 min", "TRADES", 1, 1, False, []
        )
        assert client.wait("historicalData")[1].close > 0
        client.wait("historicalDataEnd")
        client.reqCurrentTime()
        assert client.wait("currentTime")[0] > 0
        assert client.errors() == []


def test_a_second_client_with_the_same_id_is_refused(port: int) -> None:
    with connected(port, 7) as first, connected(port, 7) as second:
        first.wait("nextValidId")
        second.wait("error", lambda *args: 326 in args)
        second.wait("connectionClosed")


def test_an_unknown_contract_is_an_error(port: int) -> None:
    with connected(port, 7) as client:
        client.wait("nextValidId")
        client.reqContractDetails(902, stock("ZZNONE"))
        client.wait("error", lambda *args: args[0] == 902 and 200 in args)


def test_the_official_client_trades_a_bracket_and_a_moc(port: int) -> None:
    with connected(port, 7) as client:
        first = synced(client)
        bid, ask = quote(client, "NOV")
        moc = order("SELL", 15, "MOC", orderRef="moc")
        entry = order("BUY", 20, "LMT", lmtPrice=round(ask * 1.02, 2), transmit=False)
        target = order(
            *("SELL", 20, "LMT"), lmtPrice=round(bid * 0.95, 2), transmit=False
        )
        stop = order("SELL", 20, "STP", auxPrice=round(bid * 0.8, 2))
        target.parentId = stop.parentId = first
        for offset, leg in enumerate((entry, target, stop)):
            client.placeOrder(first + offset, stock("NOV"), leg)
        client.placeOrder(first + 3, stock("NOV"), moc)
        client.wait("orderStatus", status_is(first, "Filled"))
        client.wait("orderStatus", status_is(first + 1, "Filled"))
        client.wait("orderStatus", status_is(first + 2, "Cancelled"))
        client.wait("orderStatus", status_is(first + 3, "Filled"))
        client.wait(
            "position", lambda *args: args[1].symbol == "NOV" and args[2] == -15
        )
        client.wait("execDetails", lambda _, __, each: each.orderRef == "moc")
        client.wait(commission_event())
        client.reqCompletedOrders(False)
        refs = {client.wait("completedOrder")[1].orderType for _ in range(4)}
        assert refs == {"LMT", "STP", "MOC"}
        client.wait("completedOrdersEnd")


def test_a_preview_and_a_cancel(port: int) -> None:
    with connected(port, 7) as client:
        first = synced(client)
        bid, _ = quote(client, "NOV")
        resting = order("BUY", 20, "LMT", lmtPrice=round(bid * 0.8, 2))
        client.placeOrder(first, stock("NOV"), order("BUY", 20, "MKT", whatIf=True))
        _, _, _, state = client.wait("openOrder", lambda known, *_: known == first)
        assert float(state.initMarginChange) > 0
        client.placeOrder(first + 1, stock("NOV"), resting)
        client.wait("orderStatus", status_is(first + 1, "Submitted"))
        cancel(client, first + 1)
        client.wait("orderStatus", status_is(first + 1, "Cancelled"))
        client.wait("error", lambda *args: args[0] == first + 1 and 202 in args)


def test_an_unknown_order_cannot_be_cancelled(port: int) -> None:
    with connected(port, 7) as client:
        client.wait("nextValidId")
        cancel(client, 555)
        client.wait("error", lambda *args: args[0] == 555 and 10147 in args)


def cancel(client: Official, order_id: int) -> None:
    """Cancel in the words of this client."""
    if MODERN:
        module = pytest.importorskip("ibapi.order_cancel")
        client.cancelOrder(order_id, module.OrderCancel())
    else:
        client.cancelOrder(order_id)
