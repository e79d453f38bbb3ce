"""`ibkrd schedule`: the jobs of coming sessions and the windows, in both zones."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from daemon.calendar import load_calendar
from daemon.cli.output import print_json, print_table
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.core.schedule import Timetable, schedule_rows
from daemon.core.session import exchange_date, ordinary_day, parse_when
from daemon.core.windows import window_rows

AROUND = timedelta(days=45)
"""Sessions around the asked span that show what an ordinary day is."""
DAY = click.DateTime(["%Y-%m-%d"])


@click.command("schedule")
@click.option(
    "--from", "first", type=DAY, help="First day (default: the exchange's today)."
)
@click.option("--to", "last", type=DAY, help="Last day (default: --days later).")
@click.option(
    "--days",
    type=click.IntRange(0, 3660),
    default=14,
    show_default=True,
    help="Days without --to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    config_path: Path | None,
    first: datetime | None,
    last: datetime | None,
    days: int,
    *,
    as_json: bool,
) -> None:
    """Show each session with its jobs and the cutoff, and the planned windows."""
    config = load_config(config_path, os.environ)
    now = SystemClock().now()
    # Only the table knows the exchange's zone; its margin is wider than a date.
    around = first.date() if first else now.date()
    calendar = load_calendar(config.calendar.exchange, config.paths.state, around)
    start = first.date() if first else exchange_date(now, calendar.time_zone)
    end = last.date() if last else start + timedelta(days=days)
    if end < start:
        raise click.BadParameter(
            f"{end} lies before {start}, the first day", param_hint="--to"
        )
    timetable = Timetable(
        {job: parse_when(when) for job, when in config.schedule.times().items()},
        ordinary_day(calendar.sessions(*_around(start, end)), calendar.time_zone),
        adjust=config.schedule.adjust,
    )
    rows: list[dict[str, Any]] = schedule_rows(
        timetable,
        calendar.sessions(start, end),
        (start, end),
        config.calendar.local_zone,
        calendar.holidays,
    )
    zones = calendar.time_zone, config.calendar.local_zone
    windows = window_rows(config.planned(), (start, end), zones)
    if as_json:
        print_json({"days": rows, "windows": windows})
        return
    _print(rows, *zones, list(timetable.jobs))
    _print_windows(windows, *zones)


def _around(start: date, end: date) -> tuple[date, date]:
    return start, max(end, start + AROUND)


def _print(
    rows: list[dict[str, Any]], exchange: str, local: str, jobs: list[str]
) -> None:
    print_table(
        f"Times in {exchange} / {local}",
        ["date", "open", "close", "cutoff", *jobs, "marks"],
        [_cells(row, jobs) for row in rows],
    )
    for note in _notes(rows):
        click.echo(note)


def _print_windows(windows: list[dict[str, str]], exchange: str, local: str) -> None:
    """Print the windows that are alike as one line, with the days of their begin."""
    alike: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in windows:
        key = row["window"], row["exchange"], row["local"]
        alike.setdefault(key, []).append(row)
    print_table(
        "Planned windows: the gateway may be away, without an alarm",
        ["window", exchange, local, "on", "from", "to"],
        [
            [*key, _weekdays(group), group[0]["date"], group[-1]["date"]]
            for key, group in alike.items()
        ],
    )


def _weekdays(rows: list[dict[str, str]]) -> str:
    return " ".join(dict.fromkeys(row["weekday"] for row in rows))


def _cells(row: dict[str, Any], jobs: list[str]) -> list[str]:
    at = {job["job"]: _both(job) for job in row["jobs"]}
    times = [_both(row[key]) for key in ("open", "close", "cutoff")]
    return [
        f"{row['weekday']} {row['date']}",
        *times,
        *(at.get(job, "-") for job in jobs),
        ", ".join(row["marks"]),
    ]


def _both(moment: dict[str, str] | None) -> str:
    return "-" if moment is None else f"{moment['exchange']} / {moment['local']}"


def _notes(rows: Iterable[dict[str, Any]]) -> list[str]:
    notes: list[str] = []
    for row in rows:
        notes += [f"{row['date']}: {note}" for note in row["notes"]]
        for job in row["jobs"]:
            told = [job["moved"], *job["warnings"]]
            notes += [f"{row['date']} {job['job']}: {text}" for text in told if text]
    return notes
