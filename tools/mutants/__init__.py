"""Planted faults: each must be caught by the tests that it names.

`tests/mutants/README.md` says what one looks like; `make mutants` tries them all.
"""

from __future__ import annotations
