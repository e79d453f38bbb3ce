"""The gateway on an address, and the gateway as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from daemon.fakegateway.api import GatewayWorld, Log
from daemon.fakegateway.clock import LoopClock
from daemon.fakegateway.door import Doorway
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.listings import default_listings, reference_prices
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.scenario import Script, play
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
    script: Script = ()
    """What goes wrong, and when."""


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


class Reception:
    """The listening port: given back while the door is shut, taken again after it."""

    def __init__(self, world: GatewayWorld, host: str, port: int, log: Log) -> None:
        self._world = world
        self._log = log
        self._address: Address = (host, port)
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._leave_door = world.door.watch(self._attend)

    @property
    def address(self) -> Address:
        """Return where it listens, or listened last."""
        return self._address

    async def open(self) -> None:
        """Listen. Raises OSError where the address cannot be had."""
        host, port = self._address
        self._server = await asyncio.get_running_loop().create_server(
            lambda: GatewayProtocol(self._world, log=self._log), host, port
        )
        self._address = self._server.sockets[0].getsockname()[:2]

    def close(self) -> None:
        """Listen no more; open connections go on."""
        self._leave_door()
        if self._opening is not None:
            self._opening.cancel()
        self._shut()

    def _attend(self) -> None:
        if self._world.door.doorway is Doorway.SHUT:
            self._shut()
        elif self._server is None:
            loop = asyncio.get_running_loop()
            self._opening = loop.create_task(self.open(), name="gateway.reopening")

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


async def serve(
    world: GatewayWorld, host: str, port: int, *, log: Log | None = None
) -> Reception:
    """Listen on *host*:*port* (0: any free port) with *world* behind it.

    Raises OSError where the address cannot be had.
    """
    reception = Reception(world, host, port, log or StdlibLog())
    if world.door.doorway is not Doorway.SHUT:
        await reception.open()
    return reception


def compose_world(options: GatewayOptions, ledger: Ledger) -> World:
    """Return the world of *options* on the running loop's time."""
    loop = asyncio.get_running_loop()
    world = World(
        clock=LoopClock(loop, options.start, options.speed),
        sessions=options.sessions,
        listings=options.listings,
        settings=options.settings,
        prices=Prices(options.seed, bases=reference_prices()),
        ledger=ledger,
        seed=options.seed,
    )
    play(world, options.script)
    return world


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
    reception = await serve(world, options.host, options.port, log=log)
    try:
        if ready is not None:
            ready(reception.address)
        await asyncio.get_running_loop().create_future()
    finally:
        # The sessions end first: from Python 3.12 on a server waits for them.
        world.drop_clients()
        reception.close()
