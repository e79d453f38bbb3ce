"""One of every message that the gateway sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from daemon.fakegateway import encode, encode_order
from daemon.fakegateway.values import (
    AccountValue,
    Bar,
    BrokerOrder,
    CommissionReport,
    Contract,
    Execution,
    Holding,
    Listing,
    Margin,
    OrderTicket,
    Refusal,
)

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2026, 2, 19, 17, 0, 5, tzinfo=UTC)
NOV = Contract(
    con_id=10291,
    symbol="NOV",
    primary_exchange="NYSE",
    local_symbol="NOV",
    trading_class="NOV",
)
TICKET = OrderTicket(
    order_id=5,
    contract=NOV,
    action="BUY",
    quantity=Decimal(196),
    order_type="LMT",
    limit_price=Decimal("19.2"),
    account="DU1234567",
    order_ref="ref/1",
    parent_id=4,
)
ORDER = BrokerOrder(ticket=TICKET, client_id=7, perm_id=77, status="Submitted")
PREVIEW = replace(ORDER, ticket=replace(TICKET, what_if=True), margin=Margin())
ALGO = replace(ORDER, ticket=replace(TICKET, algo_strategy="Vwap"))
FILLED = replace(
    ORDER,
    status="Filled",
    filled=Decimal(196),
    commission=Decimal(1),
    completed_at=NOON,
    completed_status="Filled Size: 196",
)
EXECUTION = Execution(
    exec_id="00025b49.64a2f2b5.01.01",
    perm_id=77,
    client_id=7,
    order_id=5,
    order_ref="ref/1",
    account="DU1234567",
    contract=NOV,
    side="BOT",
    shares=Decimal(196),
    price=Decimal("19.2"),
    cum_quantity=Decimal(196),
    average_price=Decimal("19.2"),
    time=NOON,
)
HOLDING = Holding("DU1234567", NOV, Decimal(196), Decimal("19.2"))
VALUE = AccountValue("DU1234567", "NetLiquidation", "1000000.00", "USD")
BAR = Bar(NOON, Decimal(9), Decimal(10), Decimal(8), Decimal("9.5"), 100, Decimal(9), 3)

SAMPLES: dict[str, Callable[[int], bytes]] = {
    "openOrder": lambda v: encode_order.open_order(ORDER, v),
    "openOrder filled": lambda v: encode_order.open_order(FILLED, v),
    "openOrder preview": lambda v: encode_order.open_order(PREVIEW, v),
    "openOrder algo": lambda v: encode_order.open_order(ALGO, v),
    "openOrderEnd": lambda _: encode_order.open_order_end(),
    "orderStatus": lambda _: encode_order.order_status(ORDER),
    "completedOrder": lambda v: encode_order.completed_order(FILLED, v, NEW_YORK),
    "completedOrder algo": lambda v: encode_order.completed_order(ALGO, v, NEW_YORK),
    "completedOrdersEnd": lambda _: encode_order.completed_orders_end(),
    "execDetails": lambda v: encode.exec_details(-1, EXECUTION, v, NEW_YORK),
    "execDetailsEnd": lambda _: encode.exec_details_end(1),
    "commissionReport": lambda _: encode.commission_report(
        CommissionReport("e.01", Decimal(1))
    ),
    "position": lambda _: encode.position(HOLDING),
    "positionEnd": lambda _: encode.position_end(),
    "portfolioValue": lambda _: encode.portfolio_value(HOLDING, Decimal(20)),
    "accountValue": lambda _: encode.account_value(VALUE),
    "accountTime": lambda _: encode.account_time(NOON, NEW_YORK),
    "accountDownloadEnd": lambda _: encode.account_download_end("DU1234567"),
    "accountUpdateMulti": lambda _: encode.account_update_multi(3, VALUE),
    "accountUpdateMultiEnd": lambda _: encode.account_update_multi_end(3),
    "accountSummary": lambda _: encode.account_summary(3, VALUE),
    "accountSummaryEnd": lambda _: encode.account_summary_end(3),
    "contractDetails": lambda v: encode.contract_details(
        3, Listing(NOV, "NOV Inc"), ("20260219:CLOSED", "20260219:CLOSED"), v
    ),
    "contractDetailsEnd": lambda _: encode.contract_details_end(3),
    "error": lambda v: encode.error(5, Refusal(201, "Order rejected é"), v),
    "currentTime": lambda _: encode.current_time(NOON),
    "nextValidId": lambda _: encode.next_valid_id(3),
    "managedAccounts": lambda _: encode.managed_accounts(["DU1", "DU2"]),
    "marketDataType": lambda _: encode.market_data_type(3, 1),
    "marketRule": lambda _: encode.market_rule("26", [(Decimal(0), Decimal("0.01"))]),
    "tickReqParams": lambda _: encode.tick_request_parameters(3, Decimal("0.01")),
    "tickPrice": lambda _: encode.tick_price(3, 4, Decimal("19.2"), 100),
    "tickSize": lambda _: encode.tick_size(3, 8, 100),
    "tickSnapshotEnd": lambda _: encode.tick_snapshot_end(3),
    "historicalData": lambda _: encode.historical_data(
        3, ("20260219 09:30:00", "20260219 16:00:00"), [("20260219", BAR)] * 2
    ),
}
