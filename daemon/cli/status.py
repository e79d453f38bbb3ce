"""`ibkrd status`: what the running daemon knows."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from daemon.cli.output import print_json
from daemon.config import load_config
from daemon.control.client import call

TIMEOUT_S = 5.0


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(config_path: Path | None, *, as_json: bool) -> None:
    """Show connection, session, next jobs and orders of the running daemon."""
    config = load_config(config_path, os.environ)
    answer: dict[str, Any] = call(config.paths.state, "status", {}, TIMEOUT_S)
    if as_json:
        print_json(answer)
        return
    for line in status_lines(answer, ZoneInfo(config.calendar.local_zone)):
        click.echo(line)


def status_lines(answer: dict[str, Any], zone: ZoneInfo) -> list[str]:
    """Return what the daemon's *answer* says to a person, times in *zone*."""
    session = answer["session"]
    lines = [
        f"daemon   pid {answer['pid']}, since {_time(answer['started_at'], zone)}",
        f"link     {answer['link']}, client id {answer['client_id']}",
        f"account  {answer['account']}",
        f"session  {session['date']}, open {_time(session['open'], zone)}",
        f"cutoff   {_time(session['cutoff'], zone)}",
        f"close    {_time(session['close'], zone)}",
    ]
    if answer["trouble"]:
        lines.append(f"trouble  {answer['trouble']}")
    if answer["window"]:
        lines.append(f"planned  {answer['window']}: the gateway may be away")
    if answer["barred"]:
        lines.append(f"entries  barred: {answer['barred']}")
    lines += _messages(answer["messages"], zone)
    lines += [
        f"next     {job['job']} at {_time(job['at'], zone)}" for job in answer["next"]
    ]
    lines += [f"running  {name}" for name in answer["running"]]
    lines += [f"result   {job}: {text}" for job, text in answer["results"].items()]
    counts = ", ".join(f"{count} {state}" for state, count in answer["orders"].items())
    lines.append(f"orders   {counts or 'none in this session'}")
    return lines


def _messages(messages: dict[str, Any], zone: ZoneInfo) -> list[str]:
    """Return what was not delivered and why; nothing where all is well."""
    lines = [
        f"channel  {each['channel']} failing since {_time(each['since'], zone)}: "
        f"{each['cause']}"
        for each in messages["failing"]
    ]
    if messages["undelivered"]:
        oldest = _time(messages["oldest"], zone)
        lines.append(
            f"messages {messages['undelivered']} undelivered, the oldest of {oldest}"
        )
    return lines


def _time(text: str, zone: ZoneInfo) -> str:
    return (
        datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
    )
