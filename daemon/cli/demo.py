"""`ibkrd demo`: a whole trading day on the embedded gateway, in virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from daemon.cli.output import print_json
from daemon.simulation.demo import DAY, DemoRequest, play_demo
from daemon.simulation.scenarios import SCENARIOS
from daemon.simulation.timeline import Line, shown

NEW_YORK = ZoneInfo("America/New_York")
DAY_MINUTES = 450
"""From 09:00 to 16:30."""
Advance = Callable[[int], None]
Write = Callable[[Line], None]


@click.command("demo")
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    default=DAY.isoformat(),
    show_default=True,
    help="The session to play.",
)
@click.option("--plan", type=click.Path(path_type=Path), help="A plan of your own.")
@click.option("--seed", default=1, show_default=True, help="Another market.")
@click.option(
    "--pace", type=click.FloatRange(min=0.1), help="Times real speed, to watch."
)
@click.option(
    "--scenario", type=click.Choice(sorted(SCENARIOS)), help="What goes wrong."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where journal, ledger, log and reports go (default: the user's cache).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print only the summary, as JSON."
)
def command(  # noqa: PLR0913  (one option each)
    day: datetime,
    plan: Path | None,
    seed: int,
    pace: float | None,
    scenario: str | None,
    state: Path | None,
    *,
    as_json: bool,
) -> int:
    """Play one trading day from 09:00 to 16:30 New York; nothing real is touched."""
    request = DemoRequest(
        state=(state or _cache()).absolute() / f"{day:%Y-%m-%d}-seed-{seed}",
        day=day.date(),
        plan=plan,
        seed=seed,
        pace=pace,
        scenario=scenario,
    )
    if as_json:
        summary = play_demo(request)
        print_json(summary)
    else:
        with _screen() as (write, advance):
            summary = play_demo(replace(request, on_line=write, on_advance=advance))
        _conclude(summary)
    return 0 if summary["flat"] and not summary["violations"] else 6


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "ibkrd" / "demo"


@contextmanager
def _screen() -> Iterator[tuple[Write, Advance]]:
    """Yield writers of a timeline, with a progress bar where there is a terminal."""
    from rich.console import Console  # noqa: PLC0415  (not for --json)
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(emoji=False, markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200
    progress = Progress(
        TextColumn("{task.fields[clock]} New York"),
        BarColumn(None),
        TextColumn("{task.percentage:3.0f} %"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = progress.add_task("day", total=DAY_MINUTES, clock="09:00")

    def write(line: Line) -> None:
        console.print(
            Text(shown(line, NEW_YORK), style="bold red" if line.loud else "")
        )

    def advance(us: int) -> None:
        minutes = us // 60_000_000
        if minutes > progress.tasks[0].completed:
            hour, minute = divmod(9 * 60 + minutes, 60)
            progress.update(task, completed=minutes, clock=f"{hour:02}:{minute:02}")

    with progress:
        yield write, advance


def _conclude(summary: dict[str, Any]) -> None:
    rows, totals = summary["rows"], summary["totals"] or {}
    closed = ", ".join(f"{s} {q}" for s, q in summary["closed_at_the_bell"].items())
    click.echo("")
    click.echo(
        f"flat      {'yes' if summary['flat'] else 'NO'} (by the gateway's ledger)"
    )
    click.echo(
        f"rows      {rows.get('total', 0)} = {rows.get('submitted', 0)} submitted + "
        f"{rows.get('skipped', 0)} skipped + {rows.get('refused', 0)} refused + "
        f"{rows.get('unknown', 0)} unknown"
    )
    click.echo(f"at close  {closed or 'nothing was left'}")
    click.echo(f"result    {totals.get('net', 0):+.2f} USD net of commission")
    for violation in summary["violations"]:
        click.echo(f"VIOLATED  {violation}")
    click.echo(f"report    {summary['report'] or 'none was written'}")
