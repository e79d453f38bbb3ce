"""`ibkrd run`: the daemon in the foreground, as the service manager starts it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from daemon.app import App
from daemon.calendar import load_calendar
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.log import configure_logging
from daemon.wiring import World


@click.command("run")
@click.pass_obj
def command(config_path: Path | None) -> int:
    """Hold the one session to the gateway and run the jobs of every session."""
    config = load_config(config_path, os.environ)
    configure_logging(
        config.log.format,
        config.log.level,
        sys.stderr,
        config.log.file,
        config.secrets(),
        cache=True,
    )
    clock = SystemClock()
    # Only the table knows the exchange's zone; its margin is wider than a date.
    calendar = load_calendar(
        config.calendar.exchange, config.paths.state, clock.now().date()
    )

    async def main() -> int:
        return await App(config, World(clock, calendar)).run()

    return asyncio.run(main())
