"""Which handler serves which message id, and which event of the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from daemon.fakegateway import serve_accounts, serve_market, serve_orders
from daemon.fakegateway.client import Client
from daemon.fakegateway.decode import DecodeError, Fields
from daemon.fakegateway.values import (
    Broadcast,
    Commissioned,
    Executed,
    HoldingChanged,
    OrderChanged,
    OrderError,
    StatusChanged,
    WorldEvent,
)

Handler = Callable[[Client, Fields], None]

START_API = 71
_SUBJECTS = MappingProxyType(
    {"1": 2, "3": 1, "4": 2, "7": 2, "9": 2, "20": 1, "62": 2, "76": 2}
)
"""By message id, the place of the order or request id that an error names."""

HANDLERS: Mapping[int, Handler] = MappingProxyType(
    {
        1: serve_market.market_data,
        2: serve_market.cancel_market_data,
        3: serve_orders.place,
        4: serve_orders.cancel,
        5: serve_orders.open_orders,
        6: serve_accounts.account_updates,
        7: serve_orders.executions,
        8: serve_orders.next_ids,
        9: serve_market.contract_details,
        14: serve_accounts.ignore,  # server log level
        15: serve_orders.auto_open_orders,
        16: serve_orders.all_open_orders,
        17: serve_accounts.managed_accounts,
        20: serve_market.historical_data,
        25: serve_market.cancel_historical_data,
        49: serve_accounts.current_time,
        58: serve_orders.global_cancel,
        59: serve_accounts.ignore,  # market data type: this login has live data
        61: serve_accounts.positions,
        62: serve_accounts.account_summary,
        63: serve_accounts.cancel_account_summary,
        64: serve_accounts.cancel_positions,
        76: serve_accounts.account_updates_multi,
        77: serve_accounts.cancel_account_updates_multi,
        91: serve_market.market_rule,
        99: serve_orders.completed_orders,
    }
)


NEED_THE_BROKER = frozenset({1, 9, 20, 91})
"""Requests that the gateway itself cannot answer: quotes, bars, contract details."""


def serve(client: Client, fields: list[str]) -> None:
    """Answer one message of *client*; a bad one is refused, and that is all."""
    message_id = fields[0]
    handler = HANDLERS.get(int(message_id)) if message_id.isdecimal() else None
    if handler is None:
        client.log.warning("gateway.message_unknown", message_id=message_id)
        client.refuse(-1, 505, f"Fatal Error: Unknown message id. ({message_id})")
        return
    cut_off = int(message_id) in NEED_THE_BROKER and not client.world.link_up
    if cut_off or int(message_id) in client.world.settings.mute:
        client.log.info("gateway.message_muted", message_id=message_id)
        return
    try:
        handler(client, Fields(fields[1:]))
    except DecodeError as exc:
        client.log.warning(
            "gateway.message_malformed", message_id=message_id, reason=str(exc)
        )
        client.refuse(_subject(fields), 320, f"Error reading request: {exc}.")


def tell(client: Client, event: WorldEvent) -> None:
    """Send what *event* means on the wire."""
    match event:
        case OrderChanged(order):
            serve_orders.order_changed(client, order)
        case StatusChanged(order):
            serve_orders.status_changed(client, order)
        case Executed(execution):
            serve_orders.executed(client, execution)
        case Commissioned(report):
            serve_orders.commissioned(client, report)
        case OrderError(_, order_id, refusal):
            client.refuse(order_id, refusal.code, refusal.text)
        case HoldingChanged(holding):
            serve_accounts.holding_changed(client, holding)
        case Broadcast(refusal):
            client.refuse(-1, refusal.code, refusal.text)


def _subject(fields: list[str]) -> int:
    """Return the id that a malformed message is about, -1 if about none."""
    at = _SUBJECTS.get(fields[0], 0)
    known = 0 < at < len(fields) and fields[at].isdecimal()
    return int(fields[at]) if known else -1
