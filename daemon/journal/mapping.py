"""From the daemon's values to the journal's rows, and back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping

from daemon.core.model import (
    Commission,
    Contract,
    Fill,
    JobOutcome,
    JobResult,
    LinkChange,
    Message,
    Notice,
    Order,
    OrderId,
    OrderRecord,
    OrderRef,
    OrderState,
    OrderType,
    OrderUpdate,
    PermId,
    RowOutcome,
    RowStatus,
    Severity,
    Side,
    WorkingOrder,
)
from daemon.core.outbox import Waiting
from daemon.ports import RunId

Values = dict[str, object]


def intent_values(record: OrderRecord, run_id: RunId, now: datetime) -> Values:
    """Return the row of `intents` for *record*."""
    order = record.order
    return {
        "order_ref": order.order_ref,
        "order_id": record.order_id,
        "session": record.session,
        "run_id": run_id,
        "account": order.account,
        "con_id": order.contract.con_id,
        "symbol": order.contract.symbol,
        "side": order.side,
        "quantity": order.quantity,
        "order_type": order.order_type,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "tif": order.tif,
        "good_till": order.good_till,
        "good_after": order.good_after,
        "oca_group": order.oca_group,
        "oca_type": order.oca_type,
        "parent_ref": order.parent_ref,
        "transmit": int(order.transmit),
        "expires_at": order.expires_at,
        "created_at": now,
        "contract": _contract_json(order.contract),
    }


def state_values(record: OrderRecord, now: datetime) -> Values:
    """Return the row of `order_states` for *record*."""
    return {
        "order_ref": record.order_ref,
        "at": now,
        "state": record.state,
        "perm_id": record.perm_id,
        "filled": record.filled,
        "remaining": record.remaining,
        "code": record.code,
        "text": record.text,
    }


def order_record(row: RowMapping) -> OrderRecord:
    """Return the record of an intent joined with its latest state, if any."""
    known = row["state"] is not None
    return OrderRecord(
        order=_order(row),
        session=row["session"],
        order_id=OrderId(row["order_id"]),
        state=OrderState(row["state"]) if known else OrderState.INTENDED,
        perm_id=PermId(row["perm_id"] if known else 0),
        filled=row["filled"] if known else Decimal(0),
        remaining=row["remaining"],
        code=row["code"],
        text=row["text"] if known else "",
    )


def event_values(
    said: OrderUpdate | WorkingOrder | Notice | LinkChange, now: datetime
) -> Values:
    """Return the row of `events` for what the broker said."""
    return {
        "at": now,
        "kind": type(said).__name__,
        "order_ref": _order_ref(said),
        "payload": {key: _json(value) for key, value in asdict(said).items()},
    }


def fill_values(fill: Fill, now: datetime) -> Values:
    """Return the row of `executions` for *fill*."""
    return asdict(fill) | {"exec_key": fill.key, "recorded_at": now}


def fill_of(row: RowMapping) -> Fill:
    """Return the fill of a row of `executions`."""
    return Fill(
        exec_id=row["exec_id"],
        order_ref=row["order_ref"],
        order_id=row["order_id"],
        perm_id=row["perm_id"],
        client_id=row["client_id"],
        account=row["account"],
        con_id=row["con_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=row["quantity"],
        price=row["price"],
        time=row["time"],
        exchange=row["exchange"],
    )


def commission_values(commission: Commission, now: datetime) -> Values:
    """Return the row of `commissions` for *commission*."""
    return asdict(commission) | {"recorded_at": now}


def commission_of(row: RowMapping) -> Commission:
    """Return the commission of a row of `commissions`."""
    return Commission(
        exec_id=row["exec_id"],
        amount=row["amount"],
        currency=row["currency"],
        realized_pnl=row["realized_pnl"],
    )


def row_outcome(row: RowMapping) -> RowOutcome:
    """Return the outcome of a row of `plan_rows`."""
    return RowOutcome(
        row["line"], row["symbol"], RowStatus(row["status"]), row["reason"]
    )


def job_result(row: RowMapping) -> JobResult:
    """Return the result of an ended row of `runs`."""
    return JobResult(JobOutcome(row["outcome"]), row["summary"], row["detail"])


def run_number(run_id: str) -> int:
    """Return the n of `<session>/<job>/<n>`."""
    return int(run_id.rpartition("/")[2])


def _order_ref(
    said: OrderUpdate | WorkingOrder | Notice | LinkChange,
) -> OrderRef | None:
    """Return the reference that *said* carries; foreign orders may have none."""
    match said:
        case OrderUpdate() | WorkingOrder():
            return said.order_ref or None
        case Notice() | LinkChange():
            return None


def _order(row: RowMapping) -> Order:
    """Return the order of a row of `intents`."""
    return Order(
        order_ref=row["order_ref"],
        account=row["account"],
        contract=_contract(row["contract"]),
        side=Side(row["side"]),
        quantity=row["quantity"],
        order_type=OrderType(row["order_type"]),
        limit_price=row["limit_price"],
        stop_price=row["stop_price"],
        tif=row["tif"],
        good_till=row["good_till"],
        good_after=row["good_after"],
        oca_group=row["oca_group"],
        oca_type=row["oca_type"],
        parent_ref=row["parent_ref"],
        transmit=bool(row["transmit"]),
        expires_at=row["expires_at"],
    )


def waiting(row: RowMapping) -> Waiting:
    """Return a message that nobody has accepted yet."""
    severity = Severity(row["severity"])
    message = Message(severity, row["subject"], row["body"], row["key"])
    return Waiting(row["number"], message, row["at"])


def _contract_json(contract: Contract) -> Values:
    """Return *contract* as JSON."""
    return asdict(contract) | {
        "min_tick": str(contract.min_tick),
        "order_types": sorted(contract.order_types),
    }


def _contract(stored: dict[str, Any]) -> Contract:
    """Return the contract that was stored as JSON."""
    return Contract(
        **stored
        | {
            "min_tick": Decimal(stored["min_tick"]),
            "order_types": frozenset(stored["order_types"]),
        }
    )


def _json(value: object) -> object:
    """Return *value* as JSON: a decimal keeps its digits as text."""
    return str(value) if isinstance(value, Decimal) else value
