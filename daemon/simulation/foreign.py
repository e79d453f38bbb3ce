"""A foreign script: another API client that takes a client id and holds it."""

from __future__ import annotations

import asyncio

from daemon.fakegateway.frames import frame

GREETING = b"API\0\0\0\0\x09v157..178"
"""The versions that we speak; the one frame whose text has no closing NUL."""


class ForeignClient(asyncio.Protocol):
    """Connects under *client_id* and does nothing else until `leave`."""

    def __init__(self, client_id: int) -> None:
        self._client_id = client_id
        self._transport: asyncio.Transport | None = None
        self._started = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the gateway."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        """Start the API after the handshake; ignore what comes later."""
        if data and not self._started and self._transport is not None:
            self._started = True
            self._transport.write(frame("71", "2", str(self._client_id), ""))

    def leave(self) -> None:
        """Close the connection; the gateway frees the id at once."""
        if self._transport is not None:
            self._transport.close()


async def occupy(host: str, port: int, client_id: int) -> ForeignClient:
    """Return a foreign client that has asked for *client_id*."""
    loop = asyncio.get_running_loop()
    client = ForeignClient(client_id)
    await loop.create_connection(lambda: client, host, port)
    return client
