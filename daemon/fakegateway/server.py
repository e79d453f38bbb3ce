"""The gateway on an address, and the gateway as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from daemon.fakegateway.api import GatewayWorld, Log
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings, reference_prices
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.session import GatewayProtocol
from daemon.fakegateway.values import GatewaySettings, Listing, MarketSession
from daemon.fakegateway.world import World

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """A gateway that runs by itself.

    *start* is the world's time when it begins, aware; *speed* 60 makes a minute of
    the world last a second.
    """

    start: datetime
    sessions: Sequence[MarketSession]
    host: str = "127.0.0.1"
    port: int = 4002
    speed: float = 1.0
    seed: int = 1
    settings: GatewaySettings = field(default_factory=GatewaySettings)
    listings: Sequence[Listing] = field(default_factory=default_listings)


class StdlibLog:
    """The gateway's log on the standard library's, for those who bring none."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("daemon.fakegateway")

    def info(self, event: str, **fields: object) -> None:
        """Note what happened."""
        self._logger.info("%s %s", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Note what somebody should look at."""
        self._logger.warning("%s %s", event, fields)


async def serve(
    world: GatewayWorld, host: str, port: int, *, log: Log | None = None
) -> asyncio.Server:
    """Listen on *host*:*port* (0: any free port) with *world* behind it.

    Raises OSError where the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    told = log or StdlibLog()
    return await loop.create_server(
        lambda: GatewayProtocol(world, log=told), host, port
    )


def compose_world(options: GatewayOptions, ledger: Ledger) -> World:
    """Return the world of *options* on the running loop's time."""
    loop = asyncio.get_running_loop()
    return World(
        clock=LoopClock(loop, options.start, options.speed),
        sessions=options.sessions,
        listings=options.listings,
        settings=options.settings,
        prices=Prices(options.seed, bases=reference_prices()),
        ledger=ledger,
        seed=options.seed,
    )


async def run_gateway(
    options: GatewayOptions,
    *,
    ledger: Ledger,
    log: Log | None = None,
    ready: Callable[[Address], None] | None = None,
) -> None:
    """Serve until cancelled; *ready* is told the address once it listens.

    Raises OSError where the address cannot be had.
    """
    world = compose_world(options, ledger)
    server = await serve(world, options.host, options.port, log=log)
    try:
        if ready is not None:
            host, port = server.sockets[0].getsockname()[:2]
            ready((host, port))
        await asyncio.get_running_loop().create_future()
    finally:
        # The sessions end first: from Python 3.12 on a server waits for them.
        world.drop_clients()
        server.close()
