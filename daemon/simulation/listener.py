"""Connections in memory, and the ports at which they are accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6

from daemon.simulation.pipe import End, Pipe
from daemon.simulation.transport import Address, MemoryTransport

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


@dataclass(eq=False, slots=True)
class Connection:
    """Both ends and both directions of one connection: the place for faults."""

    port: int
    client: MemoryTransport
    server: MemoryTransport
    to_server: Pipe
    to_client: Pipe

    def freeze(self) -> None:
        """Stop the reading at both ends, as if the server's process had stopped."""
        self.to_server.freeze()
        self.to_client.freeze()

    def thaw(self) -> None:
        """Read on at both ends."""
        self.to_server.thaw()
        self.to_client.thaw()

    def cut(self) -> None:
        """Pull the cable: both ends believe that the connection lives."""
        self.to_server.cut()
        self.to_client.cut()

    def heal(self) -> None:
        """Plug the cable in again: nothing was lost but time."""
        self.to_server.heal()
        self.to_client.heal()

    def reset(self) -> None:
        """Let both ends meet RST now."""
        self.client.receive_end(End.RESET)
        self.server.receive_end(End.RESET)


class MemoryServer(asyncio.AbstractServer):
    """A listening port, as asyncio.Server behaves since Python 3.12."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: ProtocolFactory,
        address: Address,
        release: Callable[[], None],
    ) -> None:
        self.factory = factory
        self._loop = loop
        self._address = address
        self._release = release
        self._serving = False
        self._closed = False
        self._attached: set[Connection] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._forever: asyncio.Future[None] | None = None

    @property
    def sockets(self) -> tuple[ListeningSocket, ...]:
        """Return one stand-in that knows its address, none once closed."""
        return () if self._closed else (ListeningSocket(self._address),)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that serves."""
        return self._loop

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return self._serving

    def begin(self) -> None:
        """Accept connections from now on."""
        self._serving = not self._closed

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        self.begin()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled, then close."""
        self.begin()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Give the port back; open connections go on."""
        if self._closed:
            return
        self._closed = True
        self._serving = False
        self._release()
        if self._forever is not None:
            self._forever.cancel()
        self._settle()

    async def wait_closed(self) -> None:
        """Wait until the port is given back and the last connection has ended."""
        if not self._closed or self._attached:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def close_clients(self) -> None:
        """Close each connection in order."""
        for connection in list(self._attached):
            connection.server.close()

    def abort_clients(self) -> None:
        """Abort each connection."""
        for connection in list(self._attached):
            connection.server.abort()

    def attach(self, connection: Connection) -> None:
        """Count *connection* until its server side is lost."""
        self._attached.add(connection)

    def detach(self, connection: Connection) -> None:
        """Count *connection* no more."""
        self._attached.discard(connection)
        self._settle()

    def _settle(self) -> None:
        if self._closed and not self._attached:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """What is asked of a server's socket: where it listens."""

    address: Address

    @property
    def family(self) -> int:
        """Return AF_INET or AF_INET6."""
        return AF_INET6 if ":" in self.address[0] else AF_INET

    def getsockname(self) -> Address:
        """Return host and port."""
        return self.address
