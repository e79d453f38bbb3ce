from __future__ import annotations

from datetime import UTC, datetime, timedelta

import time_machine

from daemon.clock import SystemClock
from daemon.ports import Clock


def test_the_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_the_clock_follows_virtual_time() -> None:
    clock: Clock = SystemClock()
    with time_machine.travel("2026-02-19T09:35:00-05:00", tick=False) as traveller:
        assert clock.now() == datetime(2026, 2, 19, 14, 35, tzinfo=UTC)
        traveller.shift(timedelta(hours=6))
        assert clock.now() == datetime(2026, 2, 19, 20, 35, tzinfo=UTC)
