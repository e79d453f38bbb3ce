from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from daemon.core.matching import NOBODYS, named_by
from daemon.core.model import (
    Account,
    CompletedOrder,
    ConId,
    ExecId,
    Fill,
    OrderId,
    OrderRef,
    OrderUpdate,
    PermId,
    Side,
    WorkingOrder,
)

EN = OrderRef("ibkrd:20260219:LH:A:EN")
SL = OrderRef("ibkrd:20260219:LH:A:SL")
SCRIPT = OrderRef("my script 7")

STATUS = OrderUpdate(
    order_id=OrderId(5),
    perm_id=PermId(905),
    client_id=10,
    order_ref=OrderRef(""),
    status="Submitted",
    filled=Decimal(0),
    remaining=Decimal(7),
)
OPEN = WorkingOrder(
    order_id=OrderId(5),
    perm_id=PermId(905),
    client_id=10,
    order_ref=EN,
    account=Account("DU1234567"),
    con_id=ConId(11),
    symbol="LH",
    side=Side.BUY,
    quantity=Decimal(7),
    order_type="LMT",
    status="Submitted",
)
FILL = Fill(
    exec_id=ExecId("0000e0d5.1.01.01"),
    order_ref=EN,
    order_id=OrderId(5),
    perm_id=PermId(905),
    client_id=10,
    account=Account("DU1234567"),
    con_id=ConId(11),
    symbol="LH",
    side=Side.BUY,
    quantity=Decimal(7),
    price=Decimal("272.40"),
    time=datetime(2026, 2, 19, 14, 36, tzinfo=UTC),
)
DONE = CompletedOrder(
    perm_id=PermId(905),
    order_ref=EN,
    account=Account("DU1234567"),
    con_id=ConId(11),
    symbol="LH",
    side=Side.BUY,
    quantity=Decimal(7),
    filled=Decimal(7),
    status="Filled",
)

CASES = {
    "an open order by its reference": (OPEN, {}, EN),
    "an execution by its reference": (FILL, {}, EN),
    "a completed order by its reference": (DONE, {}, EN),
    "a status by our order id": (STATUS, {}, EN),
    "a status by its perm id, whatever its order id": (
        replace(STATUS, order_id=OrderId(77)),
        {PermId(905): SL},
        SL,
    ),
    "a completed order without a reference by its perm id": (
        replace(DONE, order_ref=OrderRef("")),
        {PermId(905): SL},
        SL,
    ),
    "a completed order that nothing names": (
        replace(DONE, order_ref=OrderRef("")),
        {},
        None,
    ),
    "another client's order under our reference": (
        replace(OPEN, client_id=0),
        {},
        None,
    ),
    "another client's status under our order id": (
        replace(STATUS, client_id=0),
        {},
        None,
    ),
    "a script's open order under our client id and order id": (
        replace(OPEN, order_ref=SCRIPT),
        {},
        SCRIPT,
    ),
    "an open order without a reference is never ours by its id": (
        replace(OPEN, order_ref=OrderRef("")),
        {},
        None,
    ),
    "an execution without a reference is never ours by its id": (
        replace(FILL, order_ref=OrderRef("")),
        {},
        None,
    ),
    "a status of an order that is known to be nobody's": (
        STATUS,
        {PermId(905): NOBODYS},
        None,
    ),
    "a status under an id that we never used": (
        replace(STATUS, order_id=OrderId(6)),
        {},
        None,
    ),
}


@pytest.mark.parametrize(("event", "by_perm", "named"), CASES.values(), ids=CASES)
def test_evidence_names_its_order_by_reference_or_perm_id(event, by_perm, named):
    by_id = {OrderId(5): EN}
    assert named_by(event, by_perm=by_perm, by_id=by_id, client_id=10) == named
