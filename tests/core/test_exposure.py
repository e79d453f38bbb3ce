from __future__ import annotations

import pytest

from daemon.core.exposure import is_closing


@pytest.mark.parametrize(
    ("ref", "closing"),
    [
        ("ibkrd:20260305:LION:X:MOC", True),
        ("ibkrd:20260305:LION:X:MOC.2:3", True),
        ("ibkrd:20260305:LION:X:MKT", True),
        ("ibkrd:20260305:LION:B:TX", False),
        ("ibkrd:20260305:LION:B:SL", False),
        ("ibkrd:20260305:LION:A:EN", False),
        ("MOC by hand", False),
        ("", False),
    ],
)
def test_only_our_market_and_market_on_close_orders_are_closing(
    ref: str, closing: bool
) -> None:
    assert is_closing(ref) is closing
