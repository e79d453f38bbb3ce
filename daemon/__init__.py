"""ibkrd: a trading-day daemon for Interactive Brokers."""

from __future__ import annotations

__dist__ = "ibkrd"
"""The distribution that owns this import name (python-daemon uses it too)."""
