"""The requests about orders and executions."""

from __future__ import annotations

from datetime import datetime

from daemon.fakegateway import decode, decode_order, encode, encode_order
from daemon.fakegateway.client import Client
from daemon.fakegateway.decode import ExecutionFilter, Fields
from daemon.fakegateway.values import (
    BrokerOrder,
    CommissionReport,
    Execution,
    Refusal,
)

READ_ONLY = (
    "Error validating request.-'bX' : cause - "
    "The API interface is currently in Read-Only mode."
)
"""The text of code 321 of a gateway with "Read-Only API" set."""
_SIDES = {"BUY": "BOT", "SELL": "SLD", "SSHORT": "SLD"}


def place(client: Client, fields: Fields) -> None:
    """Take an order (3), a modification, or a whatIf."""
    ticket = decode_order.place_order(fields, client.version)
    if _read_only(client, ticket.order_id):
        return
    if not ticket.what_if:
        client.world.place(client.client_id, ticket)
        return
    match client.world.preview(client.client_id, ticket):
        case Refusal(code, text):
            client.refuse(ticket.order_id, code, text)
        case BrokerOrder() as order:
            client.send(encode_order.open_order(order, client.version))


def cancel(client: Client, fields: Fields) -> None:
    """Take the cancel of one order (4)."""
    order_id = decode.cancel_order(fields, client.version)
    if _read_only(client, order_id):
        return
    client.world.cancel(client.client_id, order_id)


def global_cancel(client: Client, _fields: Fields) -> None:
    """Take the cancel of everybody's orders (58)."""
    if _read_only(client):
        return
    client.world.global_cancel(client.client_id)


def next_ids(client: Client, fields: Fields) -> None:
    """Answer reqIds (8); like the real one, -1 for an argument that is no number."""
    fields.skip("version")
    known = fields.text("numIds").lstrip("-").isdecimal()
    next_id = client.world.next_valid_id(client.client_id) if known else -1
    client.send(encode.next_valid_id(next_id))


def open_orders(client: Client, _fields: Fields) -> None:
    """Answer with the client's own open orders (5)."""
    if _read_only(client):
        return
    _send_open(client, client.world.open_orders(client.client_id))


def all_open_orders(client: Client, _fields: Fields) -> None:
    """Answer with everybody's open orders (16), which binds none."""
    if _read_only(client):
        return
    _send_open(client, client.world.all_open_orders())


def auto_open_orders(client: Client, fields: Fields) -> None:
    """Bind manual orders from now on (15): client 0 only; it has no answer."""
    fields.skip("version")
    if _read_only(client):
        return
    if fields.flag("autoBind") and client.client_id != 0:
        text = "Only the default client (i.e 0) can auto bind orders."
        client.refuse(-1, 321, f"Error validating request.-'bX' : cause - {text}")


def completed_orders(client: Client, _fields: Fields) -> None:
    """Answer with the day's completed orders (99)."""
    if _read_only(client):
        return
    client.subscriptions.completed_orders = True
    orders = client.world.completed_orders()
    client.send(
        *(
            encode_order.completed_order(order, client.version, client.zone)
            for order in orders
        ),
        encode_order.completed_orders_end(),
    )


def executions(client: Client, fields: Fields) -> None:
    """Answer with the day's executions (7), each with its commission if known."""
    wanted = decode.executions(fields)
    since = decode.moment(wanted.since, client.zone) if wanted.since else None
    found = [
        execution
        for execution in client.world.executions(wanted.client_id or None)
        if _matches(execution, wanted, since)
    ]
    reports = {report.exec_id: report for report in client.world.commissions(found)}
    frames: list[bytes] = []
    for execution in found:
        frames.append(exec_frame(client, wanted.request_id, execution))
        report = reports.get(execution.exec_id)
        if report and (
            client.sees_everybody or execution.client_id == client.client_id
        ):
            frames.append(encode.commission_report(report))
    client.send(*frames, encode.exec_details_end(wanted.request_id))


def exec_frame(client: Client, request_id: int, execution: Execution) -> bytes:
    """Return *execution* as the client's version and wall clock have it."""
    return encode.exec_details(request_id, execution, client.version, client.zone)


# --- events of the world -------------------------------------------------------


def order_changed(client: Client, order: BrokerOrder) -> None:
    """Tell of an order's terms."""
    client.send(encode_order.open_order(order, client.version))


def status_changed(client: Client, order: BrokerOrder) -> None:
    """Tell of an order's status."""
    client.send(encode_order.order_status(order))
    unasked = client.world.settings.unsolicited_completed_orders
    if order.done and unasked and client.subscriptions.completed_orders:
        client.send(encode_order.completed_order(order, client.version, client.zone))


def executed(client: Client, execution: Execution) -> None:
    """Tell of a live execution."""
    client.send(exec_frame(client, -1, execution))


def commissioned(client: Client, report: CommissionReport) -> None:
    """Tell what an execution cost."""
    client.send(encode.commission_report(report))


# --- helpers -----------------------------------------------------------------


def _read_only(client: Client, order_id: int = -1) -> bool:
    """Refuse on a read-only gateway, and return whether it is one."""
    if client.world.settings.read_only:
        client.refuse(order_id, 321, READ_ONLY)
    return client.world.settings.read_only


def _send_open(client: Client, orders: list[BrokerOrder]) -> None:
    frames = []
    for order in orders:
        frames.append(encode_order.open_order(order, client.version))
        frames.append(encode_order.order_status(order))
    client.send(*frames, encode_order.open_order_end())


def _matches(
    execution: Execution, wanted: ExecutionFilter, since: datetime | None
) -> bool:
    contract = execution.contract
    pairs = (
        (wanted.account, execution.account),
        (wanted.symbol, contract.symbol),
        (wanted.sec_type, contract.sec_type),
        (wanted.exchange, execution.exchange),
        (_SIDES.get(wanted.side.upper(), wanted.side.upper()), execution.side),
    )
    named = all(not want or want == have for want, have in pairs)
    return named and (since is None or execution.time >= since)
