"""Kill the daemon at every step that it takes, start it again, judge what is left."""

from __future__ import annotations
