"""Pure decisions: values in, values out; no I/O, no clock, no logging."""

from __future__ import annotations
