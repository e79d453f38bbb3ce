"""Virtual time, scenarios and the independent checker.

Everything on this floor runs the real daemon against the fake gateway.
"""

from __future__ import annotations
