"""TCP on the loopback interface in memory: ordered bytes, delivered by the loop.

It behaves as TCP does where programs notice: bytes may be split or joined, what has
left the sender arrives even if the sender aborts, a peer that is frozen or cut off
looks alive, and a hole in the stream does not exist.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Callable

from daemon.simulation.listener import Connection, MemoryServer, ProtocolFactory
from daemon.simulation.pipe import Chunker, Pipe, whole
from daemon.simulation.transport import Address, MemoryTransport

__all__ = ["LOOPBACK", "Connection", "Network"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""The hosts that stay in memory."""
FIRST_FREE_PORT = 49_152
"""Port 0 is answered from here on (RFC 6335, dynamic ports)."""


class Network:
    """The loopback interface of one loop.

    *latency_s* and *chunker* are given to each new connection in both directions;
    *on_connect* is told of it before either end is, and may change it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.latency_s = 0.0
        self.chunker: Chunker = whole
        self.on_connect: Callable[[Connection], None] = lambda _: None
        self._loop = loop
        self._servers: dict[tuple[str, int], MemoryServer] = {}
        self._free_ports = itertools.count(FIRST_FREE_PORT)
        self._connections: list[Connection] = []

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Return the connections of which an end is alive, oldest first."""
        return tuple(self._connections)

    def listen(self, factory: ProtocolFactory, host: str, port: int) -> MemoryServer:
        """Take *port* on *host*, a free one for 0; OSError if it is taken."""
        key = (_numeric(host), port or next(self._free_ports))
        address = _address(*key)
        if key in self._servers:
            raise OSError(
                errno.EADDRINUSE,
                f"error while attempting to bind on address {address!r}: "
                "address already in use",
            )
        server = MemoryServer(self._loop, factory, address, lambda: self._release(key))
        self._servers[key] = server
        return server

    async def connect(
        self, factory: ProtocolFactory, host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to *port* on *host*; ConnectionRefusedError if nobody listens."""
        await asyncio.sleep(self.latency_s)
        server = self._servers.get((_numeric(host), port))
        if server is None or not server.is_serving():
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"Connect call failed {_address(host, port)!r}"
            )
        protocol = factory()
        connection = self._join(server, protocol, _numeric(host), port)
        made: asyncio.Future[None] = self._loop.create_future()
        self._loop.call_soon(protocol.connection_made, connection.client)
        self._loop.call_soon(self._accept, server, connection)
        self._loop.call_soon(_resolve, made)
        try:
            await made
        except asyncio.CancelledError:
            connection.client.abort()
            raise
        return connection.client, protocol

    def _join(
        self,
        server: MemoryServer,
        protocol: asyncio.BaseProtocol,
        host: str,
        port: int,
    ) -> Connection:
        there = Pipe(self._loop, self.latency_s, self.chunker)
        back = Pipe(self._loop, self.latency_s, self.chunker)
        here, near = _address(host, port), _address(host, next(self._free_ports))
        connection = Connection(
            port,
            MemoryTransport(self._loop, protocol, there, back, (near, here)),
            MemoryTransport(self._loop, asyncio.Protocol(), back, there, (here, near)),
            there,
            back,
        )
        alive = {connection.client, connection.server}

        def lost(end: MemoryTransport) -> None:
            alive.discard(end)
            if end is connection.server:
                server.detach(connection)
            if not alive:
                self._connections.remove(connection)

        connection.client.on_lost = lambda: lost(connection.client)
        connection.server.on_lost = lambda: lost(connection.server)
        self._connections.append(connection)
        server.attach(connection)
        self.on_connect(connection)
        return connection

    def _accept(self, server: MemoryServer, connection: Connection) -> None:
        try:
            protocol = server.factory()
        except BaseException:
            connection.server.abort()
            raise
        connection.server.set_protocol(protocol)
        protocol.connection_made(connection.server)

    def _release(self, key: tuple[str, int]) -> None:
        self._servers.pop(key, None)


def _numeric(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _address(host: str, port: int) -> Address:
    return (host, port, 0, 0) if ":" in host else (host, port)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
