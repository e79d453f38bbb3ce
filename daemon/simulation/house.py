"""The fake gateway by itself, in real time or faster, until it is stopped."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from daemon.calendar import TableCalendar
from daemon.errors import ConfigError, IbkrdError, PortInUse
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.scenario import ScenarioError, read_script
from daemon.fakegateway.server import GatewayOptions, run_gateway
from daemon.fakegateway.values import GatewaySettings
from daemon.simulation.day import market_sessions


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """What the user asked for; *start* is the world's time, aware."""

    host: str
    port: int
    start: datetime
    speed: float
    seed: int
    accounts: tuple[str, ...]
    ledger: Path | None
    scenario: Path | None = None
    """Faults to play, a TOML or JSON file."""


async def run_house(
    request: GatewayRequest, calendar: TableCalendar, ready: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        PortInUse: the address is taken.
        ConfigError: it cannot be had on this machine, or not by this user; or the
            scenario is wrong.
    """
    try:
        script = read_script(request.scenario) if request.scenario else []
    except ScenarioError as exc:
        raise ConfigError(str(exc)) from exc
    options = GatewayOptions(
        start=request.start,
        sessions=market_sessions(calendar, request.start.date()),
        host=request.host,
        port=request.port,
        speed=request.speed,
        seed=request.seed,
        settings=GatewaySettings(accounts=request.accounts),
        script=script,
    )
    with ExitStack() as stack:
        sink: Callable[[str], object] | None = None
        if request.ledger is not None:
            file = stack.enter_context(
                request.ledger.open("a", encoding="utf-8", buffering=1)
            )
            sink = file.write
        serving = asyncio.current_task()
        loop = asyncio.get_running_loop()
        if serving is not None:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, serving.cancel)
        try:
            await run_gateway(
                options,
                ledger=Ledger(sink),
                log=structlog.get_logger("daemon.fakegateway"),
                ready=lambda address: ready(f"{address[0]}:{address[1]}"),
            )
        except asyncio.CancelledError:
            return  # asked to stop by a signal
        except OSError as exc:
            refusal = address_refusal(exc, request.host, request.port)
            if refusal is None:
                raise
            raise refusal from exc


def address_refusal(exc: OSError, host: str, port: int) -> IbkrdError | None:
    """Return what to say where *exc* means that the address cannot be had."""
    where = f"{host}:{port}"
    if exc.errno == errno.EADDRINUSE:
        return PortInUse(
            f"{where} is in use: stop what listens there, or choose another port with "
            "--listen"
        )
    if exc.errno == errno.EACCES:
        return ConfigError(
            f"{where}: this user may not listen there: choose a port above 1023 with "
            "--listen"
        )
    # asyncio gives up without a number where it found no address to bind (3.12 on).
    if exc.errno in {errno.EADDRNOTAVAIL, None}:
        return ConfigError(
            f"{where}: this machine has no such address: name 127.0.0.1 with --listen"
        )
    return None
