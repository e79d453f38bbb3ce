"""`ibkrd plan`: check a plan and show what would be sent; nothing is sent."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from daemon.calendar import TableCalendar, load_calendar
from daemon.cli.output import print_json, print_table
from daemon.clock import SystemClock
from daemon.config import Config, load_config
from daemon.core.accounting import tally
from daemon.core.bracket import build_brackets
from daemon.core.model import ConId, Contract, Funds, Order, RowOutcome, Session
from daemon.core.plan import Plan, PlanRow, parse_plan
from daemon.core.plan_files import choose_plan
from daemon.core.rules import TradingRules
from daemon.core.selection import Circumstances, select_rows
from daemon.core.session import submit_deadline
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
    preview = _preview(plan, session, rules)
    if as_json:
        print_json({"plan": path.name, "session": session.date, **preview})
    else:
        _print(path.name, session, preview)


def _session(calendar: TableCalendar, day: date | None, now: datetime) -> Session:
    """Return the session of *day*, else the next whose submit window is not over."""
    if day is not None:
        session = calendar.session(day)
        if session is None:
            raise PlanError(f"{day} has no session on {calendar.exchange}")
        return session
    today = now.astimezone(ZoneInfo(calendar.time_zone)).date()
    coming = calendar.sessions(today, today + SEARCH)
    return next(s for s in coming if submit_deadline(s) > now)


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


def _preview(plan: Plan, session: Session, rules: TradingRules) -> dict[str, Any]:
    circumstances = Circumstances(
        held=(),
        working=(),
        funds=Funds(None, available=_total(plan.rows)),
        cumulative=Decimal(0),
    )
    chosen = select_rows(plan.rows, circumstances, rules)
    outcomes = list(chosen.skipped)
    orders: list[Order] = []
    for row in chosen.to_submit:
        built = build_brackets(row, session, rules, _cents(row))
        if isinstance(built, RowOutcome):
            outcomes.append(built)
        else:
            orders += [order for family in built for order in family.orders]
    counts = tally(outcomes)
    return {
        "rows": len(plan.rows),
        "to_submit": len(plan.rows) - sum(counts.values()),
        "left_out": [
            {"symbol": o.symbol, "line": o.line, "status": o.status, "why": o.reason}
            for o in outcomes
        ],
        "notional_usd": sum(
            (row.notional for row in chosen.to_submit), start=Decimal(0)
        ),
        "orders": [_order(order) for order in orders],
    }


def _total(rows: Iterable[PlanRow]) -> Decimal:
    return sum((row.notional for row in rows), start=Decimal(0))


def _cents(row: PlanRow) -> Contract:
    return Contract(con_id=ConId(0), symbol=row.symbol)


def _order(order: Order) -> dict[str, Any]:
    return {
        "order_ref": order.order_ref,
        "side": order.side,
        "quantity": order.quantity,
        "order_type": order.order_type,
        "price": order.limit_price or order.stop_price,
        "tif": order.tif,
    }


def _print(name: str, session: Session, preview: dict[str, Any]) -> None:
    print_table(
        f"{name} for {session.date}",
        ["order_ref", "side", "quantity", "type", "price", "tif"],
        [[str(value) for value in order.values()] for order in preview["orders"]],
    )
    for left in preview["left_out"]:
        click.echo(f"{left['status']}: {left['symbol']}: {left['why']}")
    click.echo(
        f"{preview['to_submit']} of {preview['rows']} rows, "
        f"{len(preview['orders'])} orders, {preview['notional_usd']} USD; nothing sent"
    )
