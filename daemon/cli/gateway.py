"""`ibkrd gateway`: the fake gateway alone, for any TWS API client."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from math import isfinite
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.log import configure_logging
from daemon.simulation.house import GatewayRequest, run_house

NEW_YORK = ZoneInfo("America/New_York")


@click.command("gateway")
@click.option(
    "--listen", default="127.0.0.1:4002", show_default=True, help="HOST:PORT."
)
@click.option(
    "--time",
    "world_time",
    help="The world's time at the start, ISO 8601; New York where it names no zone "
    "(default: now).",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="60 makes a minute of the world last a second.",
)
@click.option("--seed", default=1, show_default=True, help="Another market.")
@click.option("--account", multiple=True, help="Account ids (default DU1234567).")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append the gateway's own account of everything, as JSON lines.",
)
@click.option(
    "--scenario",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Faults to play: a TOML or JSON file, see docs/reference/gateway.md.",
)
def command(  # noqa: PLR0913 - one argument for each option
    *,
    listen: str,
    world_time: str | None,
    speed: float,
    seed: int,
    account: tuple[str, ...],
    ledger: Path | None,
    scenario: Path | None,
) -> None:
    """Serve the TWS API on loopback with an exchange behind it; no money is near."""
    if not isfinite(speed):
        raise click.BadParameter(
            f"{speed} is not a finite number", param_hint="--speed"
        )
    host, port = _address(listen)
    request = GatewayRequest(
        host=host,
        port=port,
        start=_start(world_time),
        speed=speed,
        seed=seed,
        accounts=account or ("DU1234567",),
        ledger=ledger,
        scenario=scenario,
    )
    configure_logging("auto", "INFO", sys.stderr)
    calendar = TableCalendar(shipped_table())

    def ready(bound: str) -> None:
        click.echo(f"listening on {bound}, accounts {', '.join(request.accounts)}")

    try:
        asyncio.run(run_house(request, calendar, ready))
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(
            f"{listen!r} is not HOST:PORT, like 127.0.0.1:4002", param_hint="--listen"
        )
    if host not in {"127.0.0.1", "::1", "[::1]", "localhost"}:
        raise click.BadParameter(
            f"{host} is not loopback, and the API has no password: name 127.0.0.1",
            param_hint="--listen",
        )
    return host.strip("[]"), int(port)


def _start(text: str | None) -> datetime:
    if text is None:
        return SystemClock().now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.BadParameter(
            f"{text!r} is not ISO 8601, like 2026-02-19T09:25", param_hint="--time"
        ) from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=NEW_YORK)
