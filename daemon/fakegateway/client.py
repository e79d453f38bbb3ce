"""One started session as the handlers of its requests see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from daemon.fakegateway import encode
from daemon.fakegateway.api import GatewayWorld, Handle, Log
from daemon.fakegateway.values import Quote, Refusal


@dataclass(slots=True)
class Ticker:
    """One streaming market data request."""

    symbol: str
    shown: Quote = field(default_factory=Quote)
    timer: Handle | None = None


@dataclass(slots=True)
class Subscriptions:
    """What a session asked to be told from now on."""

    positions: bool = False
    account: str | None = None
    """The one account of reqAccountUpdates."""
    multi: dict[int, str] = field(default_factory=dict)
    summaries: set[int] = field(default_factory=set)
    tickers: dict[int, Ticker] = field(default_factory=dict)
    completed_orders: bool = False


@dataclass(slots=True)
class Client:
    """One started session: who it is, how it speaks, what it wants to hear."""

    world: GatewayWorld
    client_id: int
    version: int
    write: Callable[[bytes], None]
    log: Log
    subscriptions: Subscriptions = field(default_factory=Subscriptions)

    @property
    def zone(self) -> ZoneInfo:
        """Return the zone of the gateway's wall clock."""
        return ZoneInfo(self.world.settings.midnight_zone)

    @property
    def sees_everybody(self) -> bool:
        """Return whether this is the Master client."""
        return self.client_id == self.world.settings.master_client_id

    def send(self, *frames: bytes) -> None:
        """Send *frames*, in one write."""
        self.write(b"".join(frames))

    def refuse(self, request_id: int, code: int, text: str) -> None:
        """Send an error message on an order id, a request id, or -1."""
        self.send(encode.error(request_id, Refusal(code, text), self.version))

    def close(self) -> None:
        """Stop what would still call this session."""
        for ticker in self.subscriptions.tickers.values():
            if ticker.timer is not None:
                ticker.timer.cancel()
        self.subscriptions = Subscriptions()
