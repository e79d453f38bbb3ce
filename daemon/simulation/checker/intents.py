"""Law I2: what is on the wire, field by field, against what was committed before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from daemon.simulation.checker.books import Order
from daemon.simulation.checker.records import Record
from daemon.simulation.checker.testimony import Intent

WIRE_TIME = "%Y%m%d-%H:%M:%S"
"""Instants on the wire are UTC, to the second."""


def compared(
    order: Order, record: Record, intent: Intent, intents: Mapping[str, Intent]
) -> list[tuple[str, object, object]]:
    """Return what must agree of an order sent or modified: name, wire, intent.

    A modification is held to the same intent: without a new one nothing may change.
    """
    wire = record.fields
    return [
        ("order id", order.order_id, intent.order_id),
        ("account", wire.get("account"), intent.account),
        ("side", record.text("side"), intent.side),
        ("contract", record.whole("con_id"), intent.con_id),
        ("quantity", record.number_of("quantity"), intent.quantity),
        ("type", record.text("order_type"), intent.order_type),
        ("limit", record.number_or_none("limit_price"), intent.limit_price),
        ("stop", record.number_or_none("stop_price"), intent.stop_price),
        ("tif", wire.get("tif"), intent.tif),
        ("good after", _moment(wire.get("good_after")), _whole(intent.good_after)),
        ("good till", _moment(wire.get("good_till")), _whole(intent.good_till)),
        ("parent", int(str(wire.get("parent_id") or 0)), _parent(intent, intents)),
        ("oca group", wire.get("oca_group") or "", intent.oca_group),
        ("oca type", int(str(wire.get("oca_type") or 0)), intent.oca_type),
        ("transmit", record.truth("transmit"), intent.transmit),
    ]


def _parent(intent: Intent, intents: Mapping[str, Intent]) -> int | str:
    """Return the parent's order id; its reference where it has no intent."""
    if intent.parent_ref is None:
        return 0
    parent = intents.get(intent.parent_ref)
    return intent.parent_ref if parent is None else parent.order_id


def _moment(written: object) -> object:
    """Return the instant that the wire names; another spelling as it stands."""
    try:
        return datetime.strptime(str(written), WIRE_TIME).replace(tzinfo=UTC)
    except ValueError:
        return written or None


def _whole(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(microsecond=0)
