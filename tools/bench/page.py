"""docs/benchmarks.md from the rows that were measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template

from tools.bench.figures import Row

TEMPLATE = Path(__file__).with_name("page.md")


def page(rows: Sequence[Row]) -> str:
    """Return the whole page."""
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    table = "\n".join(line(row) for row in rows)
    return template.substitute(machine=machine(), table=table)


def line(row: Row) -> str:
    """Return one line of the table."""
    cells = (row.what, row.ours.text, row.plain.text, row.ratio, row.target)
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Return what matters of this machine, and no date."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("ib_async", "ibkrd"))
    return (
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} CPUs, "
        f"{platform.python_implementation()} {platform.python_version()}, {libraries}"
    )
