"""What the commands share: JSON, tables, zones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click


def print_json(value: object) -> None:
    """Print *value* as indented JSON."""
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Print a table that fits the terminal, without lines where it is no terminal."""
    from rich import box  # noqa: PLC0415  (26 ms that a command with --json saves)
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(emoji=False, markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
