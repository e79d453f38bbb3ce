"""The daemon measured beside plain ib_async: real processes, TCP and time.

`make bench` writes docs/benchmarks.md. Nothing here is a test: no figure is asserted.
"""

from __future__ import annotations
