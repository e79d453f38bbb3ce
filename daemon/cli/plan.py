"""`ibkrd plan`: check a plan and show what would be sent; nothing is sent."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from daemon.calendar import TableCalendar, load_calendar
from daemon.cli.output import print_json, print_table
from daemon.clock import SystemClock
from daemon.config import Config, load_config
from daemon.core.model import Order, Session
from daemon.core.plan import parse_plan
from daemon.core.plan_files import choose_plan
from daemon.core.preview import Preview, coming_session, preview_plan
from daemon.core.session import exchange_date, submit_deadline
from daemon.errors import PlanError

SEARCH = timedelta(days=15)
"""No exchange is closed for longer."""


@click.command("plan")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--session",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Check it for this session (default: the one whose window is next).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    config_path: Path | None, file: Path | None, day: datetime | None, *, as_json: bool
) -> None:
    """Check FILE, or the coming session's plan, and show the orders it asks for.

    Ticks and funds are the gateway's to say: shown here are ticks of one cent, and
    funds that suffice.
    """
    config = load_config(config_path, os.environ)
    now = SystemClock().now()
    asked = day.date() if day else None
    calendar = load_calendar(
        config.calendar.exchange, config.paths.state, asked or now.date()
    )
    session = _session(calendar, asked, now)
    path = _find(config, calendar, session, file)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise PlanError(f"{path}: {exc.strerror}: name a readable plan file") from exc
    rules = config.rules()
    plan = parse_plan(data, size_preset=rules.size_preset, share_a=rules.share_a)
    if plan.problems:
        raise PlanError(
            "\n".join(f"{path.name}: {problem}" for problem in plan.problems)
        )
    preview = preview_plan(plan, session, rules)
    if as_json:
        print_json({"plan": path.name, "session": session.date, **_as_json(preview)})
    else:
        _print(path.name, session, preview)


def _session(calendar: TableCalendar, day: date | None, now: datetime) -> Session:
    """Return the session of *day*, else the next whose submit window is not over."""
    if day is not None:
        session = calendar.session(day)
        if session is None:
            raise PlanError(
                f"{day} has no session on {calendar.exchange}: choose another"
            )
        return session
    today = exchange_date(now, calendar.time_zone)
    coming = coming_session(calendar.sessions(today, today + SEARCH), now)
    if coming is None:
        raise PlanError(
            f"{calendar.exchange} has no session until {today + SEARCH}: name one with "
            "--session DATE"
        )
    return coming


def _find(
    config: Config, calendar: TableCalendar, session: Session, file: Path | None
) -> Path:
    directory = config.paths.plans if file is None else file.parent
    if file is not None:
        names = [file.name]
    elif directory.is_dir():
        names = [found.name for found in directory.iterdir() if found.is_file()]
    else:
        raise PlanError(f"the plan directory {directory} does not exist: create it")
    previous = calendar.previous(session.date)
    choice = choose_plan(names, session, previous.close, submit_deadline(session))
    if not choice.name:
        raise PlanError(
            f"{choice.refusal} (in {directory}); --session DATE checks it as of its day"
        )
    return directory / choice.name


def _as_json(preview: Preview) -> dict[str, Any]:
    return {
        "rows": preview.rows,
        "to_submit": preview.to_submit,
        "left_out": [
            {"symbol": o.symbol, "line": o.line, "status": o.status, "why": o.reason}
            for o in preview.left_out
        ],
        "notional_usd": preview.notional,
        "orders": [_order(order) for order in preview.orders],
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "order_ref": order.order_ref,
        "side": order.side,
        "quantity": order.quantity,
        "order_type": order.order_type,
        "price": order.limit_price or order.stop_price,
        "tif": order.tif,
    }


def _print(name: str, session: Session, preview: Preview) -> None:
    print_table(
        f"{name} for {session.date}",
        ["order_ref", "side", "quantity", "type", "price", "tif"],
        [[str(cell) for cell in _order(order).values()] for order in preview.orders],
    )
    for left in preview.left_out:
        click.echo(f"{left.status}: {left.symbol}: {left.reason}")
    click.echo(
        f"{preview.to_submit} of {preview.rows} rows, "
        f"{len(preview.orders)} orders, {preview.notional} USD; nothing sent"
    )
