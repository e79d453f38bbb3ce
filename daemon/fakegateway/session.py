"""One TCP session of the fake gateway: greeting, START_API, pacing, requests."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import cast
from zoneinfo import ZoneInfo

from daemon.fakegateway import decode, dispatch, encode
from daemon.fakegateway.api import GatewayWorld, Handle, Log
from daemon.fakegateway.client import Client
from daemon.fakegateway.decode import DecodeError, Fields
from daemon.fakegateway.door import Doorway
from daemon.fakegateway.frames import FrameError, FrameSplitter, fields_of
from daemon.fakegateway.values import (
    MAX_SERVER_VERSION,
    MIN_SERVER_VERSION,
    GatewaySettings,
    Refusal,
)

ID_IN_USE = Refusal(
    326,
    "Unable to connect as the client id is already in use. "
    "Retry with a unique client id.",
)
FARM_NOTICES = (
    Refusal(2104, "Market data farm connection is OK:usfarm"),
    Refusal(2106, "HMDS data farm connection is OK:ushmds"),
    Refusal(2158, "Sec-def data farm connection is OK:secdefil"),
)
"""What a gateway with all its farms says after the start."""
VIOLATIONS_ALLOWED = 3
"""With the third message above the rate the gateway ends the session."""


class Phase(Enum):
    """How far a session has come."""

    GREETING = auto()
    """Nothing was agreed yet."""
    STARTING = auto()
    """The version stands; nothing may be sent before START_API."""
    SERVING = auto()
    DEAF = auto()
    """The process was not there when the connection came: nobody ever answers."""
    REFUSED = auto()
    """The client id is in use; the close is near."""
    CLOSED = auto()


class Pace:
    """The messages of the last second, counted."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._times: deque[datetime] = deque()
        self.violations = 0

    def admits(self, now: datetime) -> bool:
        """Return whether one more message at *now* keeps the rate."""
        while self._times and now - self._times[0] >= timedelta(seconds=1):
            self._times.popleft()
        if len(self._times) >= self._settings.message_rate:
            self.violations += 1
            return False
        self._times.append(now)
        return True


class GatewayProtocol(asyncio.Protocol):
    """One session; the world outlives it."""

    def __init__(self, world: GatewayWorld, *, log: Log) -> None:
        self._world = world
        self._log = log
        self._splitter = FrameSplitter()
        self._pace = Pace(world.settings)
        self._phase = Phase.GREETING
        self._version = 0
        self._client: Client | None = None
        self._transport: asyncio.Transport | None = None
        self._closing: Handle | None = None
        self._frozen = False
        self._unsent = bytearray()
        self._leave_door = world.door.watch(self._attend)

    # --- the transport's side ---------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out."""
        self._transport = cast("asyncio.Transport", transport)
        match self._world.door.doorway:
            case Doorway.OPEN:
                self._attend()
            case Doorway.SHUT:
                self._transport.abort()
            case Doorway.EMPTY:
                self._transport.close()
            case Doorway.DEAF:
                self._phase = Phase.DEAF

    def _attend(self) -> None:
        """Stand still, go on or end, as the process does."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._world.door.doorway is Doorway.SHUT:
            self._close()
        elif self._world.door.frozen and not self._frozen:
            self._frozen = True
            self._transport.pause_reading()
        elif self._frozen and not self._world.door.frozen:
            self._frozen = False
            unsent, self._unsent = self._unsent, bytearray()
            self._write(bytes(unsent))
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Serve the messages that *data* completes."""
        try:
            if self._phase is Phase.DEAF:
                return
            for payload in self._splitter.feed(data):
                self._receive(payload)
        except (FrameError, DecodeError) as exc:
            self._log.warning("gateway.stream_malformed", reason=str(exc))
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the client id at once, as after a clean close."""
        self._leave_door()
        self._log.info("gateway.session_closed", cause=str(exc) if exc else "closed")
        self._phase = Phase.CLOSED
        if self._closing is not None:
            self._closing.cancel()
        if self._client is not None:
            self._client.close()
            self._world.detach(self._client.client_id)
            self._client = None

    # --- the phases ---------------------------------------------------------------

    def _receive(self, payload: bytes) -> None:
        match self._phase:
            case Phase.GREETING:
                self._agree(payload)
            case Phase.STARTING:
                self._start(fields_of(payload))
            case Phase.SERVING:
                self._serve(fields_of(payload))
            case Phase.REFUSED | Phase.DEAF | Phase.CLOSED:
                pass

    def _agree(self, payload: bytes) -> None:
        offered = decode.version_range(payload)
        self._version = min(MAX_SERVER_VERSION, offered.highest)
        if self._version < max(MIN_SERVER_VERSION, offered.lowest):
            self._log.warning("gateway.version_refused", offered=payload.decode())
            self._close()
            return
        self._phase = Phase.STARTING
        zone = ZoneInfo(self._world.settings.midnight_zone)
        self._write(encode.server_hello(self._version, self._world.clock.now(), zone))

    def _start(self, fields: list[str]) -> None:
        if fields[0] != str(dispatch.START_API):
            self._log.warning("gateway.message_too_early", message_id=fields[0])
            return
        if dispatch.START_API in self._world.settings.mute:
            return
        client_id = decode.start_api(Fields(fields[1:]))
        client = Client(self._world, client_id, self._version, self._write, self._log)
        listener = partial(dispatch.tell, client)
        if not self._world.attach(client_id, listener, disconnect=self._close):
            self._refuse_client(client)
            return
        self._client = client
        self._phase = Phase.SERVING
        self._log.info(
            "gateway.session_started", client_id=client_id, version=self._version
        )
        client.send(
            encode.managed_accounts(self._world.settings.accounts),
            encode.next_valid_id(self._world.next_valid_id(client_id)),
            *(encode.error(-1, notice, self._version) for notice in self._notices()),
        )
        if self._world.settings.commissions_on_connect:
            own = self._world.executions(client_id)
            client.send(
                *(encode.commission_report(one) for one in self._world.commissions(own))
            )

    def _notices(self) -> tuple[Refusal, ...]:
        cut = self._world.greeting
        return FARM_NOTICES if cut is None else (cut,)

    def _refuse_client(self, client: Client) -> None:
        self._phase = Phase.REFUSED
        self._log.warning("gateway.client_id_in_use", client_id=client.client_id)
        client.refuse(-1, ID_IN_USE.code, ID_IN_USE.text)
        delay = self._world.settings.held_client_id_close_s
        self._closing = self._world.clock.call_later(delay, self._close)

    def _serve(self, fields: list[str]) -> None:
        if self._client is None:
            return
        if self._pace.admits(self._world.clock.now()):
            dispatch.serve(self._client, fields)
            return
        rate = self._world.settings.message_rate
        text = "Max rate of messages per second has been exceeded"
        self._client.refuse(-1, 100, f"{text}:max={rate} rec={rate + 1}")
        if self._pace.violations >= VIOLATIONS_ALLOWED:
            client_id = self._client.client_id
            self._log.warning("gateway.session_paced_out", client_id=client_id)
            self._world.drop(client_id)

    # --- the way out ----------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._frozen:
            self._unsent += data
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        self._phase = Phase.CLOSED
        if self._transport is not None:
            self._transport.close()
