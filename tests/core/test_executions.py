from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from daemon.core.executions import exec_key, latest, net, revision, shares
from daemon.core.model import (
    Account,
    ConId,
    ExecId,
    Fill,
    OrderId,
    OrderRef,
    PermId,
    Side,
)

AT = datetime(2026, 4, 24, 13, 35, tzinfo=UTC)


def fill(exec_id: str, quantity: int, side: Side = Side.BUY, second: int = 0) -> Fill:
    return Fill(
        exec_id=ExecId(exec_id),
        order_ref=OrderRef(""),
        order_id=OrderId(1),
        perm_id=PermId(1),
        client_id=10,
        account=Account("DU1234567"),
        con_id=ConId(1),
        symbol="VLO",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal("10.00"),
        time=AT + timedelta(seconds=second),
    )


@pytest.mark.parametrize(
    ("exec_id", "key"),
    [("0000e0d5.6568ab3c.01.01", "0000e0d5.6568ab3c.01"), ("plain", "plain")],
)
def test_the_key_is_the_id_without_its_revision(exec_id: str, key: str) -> None:
    assert exec_key(ExecId(exec_id)) == key
    assert fill(exec_id, 1).key == key


def test_revisions_are_compared_as_numbers() -> None:
    assert revision(ExecId("e.10")) > revision(ExecId("e.9"))


def test_each_execution_counts_once_at_its_highest_revision() -> None:
    told = [fill("e.1.02", 90), fill("e.2.01", 5), fill("e.1.01", 100)]
    assert shares([*told, *told]) == 95


def test_an_execution_taken_back_is_left_out() -> None:
    assert latest([fill("e.1.01", 100), fill("e.1.02", 0)]) == ()


def test_executions_come_by_time_then_id() -> None:
    told = [fill("e.3.01", 1, second=1), fill("e.2.01", 1), fill("e.1.01", 1)]
    assert [f.exec_id for f in latest(told)] == ["e.1.01", "e.2.01", "e.3.01"]


def test_the_net_is_signed() -> None:
    assert net([fill("e.1.01", 537), fill("e.2.01", 177, Side.SELL)]) == 360
