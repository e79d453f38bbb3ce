from __future__ import annotations

from datetime import UTC, datetime

import pytest

from daemon.fakegateway.ordertimes import order_time


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20260219 15:59:00 US/Eastern", datetime(2026, 2, 19, 20, 59, tzinfo=UTC)),
        (
            "20260219 21:59:00 Europe/Budapest",
            datetime(2026, 2, 19, 20, 59, tzinfo=UTC),
        ),
        ("20260219 15:59:00", datetime(2026, 2, 19, 20, 59, tzinfo=UTC)),
        ("20260219-20:59:00", datetime(2026, 2, 19, 20, 59, tzinfo=UTC)),
        (
            "20260619 15:59:00 America/New_York",
            datetime(2026, 6, 19, 19, 59, tzinfo=UTC),
        ),
        ("20260219", datetime(2026, 2, 20, 4, 59, 59, tzinfo=UTC)),
        ("", None),
    ],
)
def test_the_times_of_orders_are_read(text, moment):
    assert order_time(text, "America/New_York") == moment


@pytest.mark.parametrize(
    "text",
    [
        "15:59",
        "20260219 15:59",
        "2026-02-19 15:59:00",
        "20260231 15:59:00 US/Eastern",
        "20260219 25:00:00 US/Eastern",
        "20260219 15:59:00 Mars/Olympus",
        "20260219-15:59:00 US/Eastern",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"\S"):
        order_time(text, "America/New_York")
