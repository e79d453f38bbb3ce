"""The one session to the gateway; the only package that imports ib_async."""

from __future__ import annotations
