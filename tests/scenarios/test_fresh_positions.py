"""The close sells what is left after the cancels, not what was there before them."""

from __future__ import annotations

from datetime import time
from decimal import Decimal

from daemon.fakegateway.prices import Waypoint

LION = "LION 537 at 9.00 stop 8.70 targets 9.30 9.60"
SLOW_S = 27.0
"""The gateway's time for each answer: longer than positions may lag behind."""
PATIENT = "[rules]\ncancel_timeout_s = 40.0\n"


def path(*points):
    return [
        Waypoint(time.fromisoformat(at) if isinstance(at, str) else at, Decimal(price))
        for at, price in points
    ]


def test_what_is_sold_while_the_cancels_are_awaited_is_not_sold_again(play_day):
    """C2: the take-profit sold 177 of 537 after the positions had been read."""
    jumping = path(
        (0.0, "9.05"),
        (0.035, "8.97"),
        (0.5, "9.10"),
        ("15:40", "9.20"),
        ("15:40:15", "9.33"),
        ("15:40:30", "9.20"),
        (1.0, "9.20"),
    )
    day = play_day(
        LION, paths={"LION": jumping}, settings={"latency_s": SLOW_S}, config=PATIENT
    )
    taken = day.records("executed", order_ref="ibkrd:20260219:LION:A:TP")
    assert {one["at"][11:19] for one in taken} == {"20:40:15"}
    assert sum(int(one["quantity"]) for one in taken) == 177
    sent = day.records("placed", client_id=10, order_type="MOC")
    assert sum(int(one["quantity"]) for one in sent) == 360
    assert day.flat
    assert day.problems == []
