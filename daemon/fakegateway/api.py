"""What the wire needs of the world: the seam between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from daemon.fakegateway.door import Door
from daemon.fakegateway.values import (
    AccountValue,
    Bar,
    BrokerOrder,
    CommissionReport,
    Contract,
    Execution,
    GatewaySettings,
    Holding,
    Listing,
    OrderTicket,
    Quote,
    Refusal,
    WorldEvent,
)

Listener = Callable[[WorldEvent], None]


class Handle(Protocol):
    """A call that the clock still owes."""

    def cancel(self) -> None:
        """Forget the call."""


class WorldClock(Protocol):
    """The world's time: aware UTC, and the only source of delays."""

    def now(self) -> datetime:
        """Return the world's time."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        """Call *callback* when *delay_s* seconds of world time have passed."""

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Handle:
        """Call *callback* at *when*, at once if that is past."""


class GatewayWorld(Protocol):
    """The world as its sessions see it; every answer is a copy.

    Orders are answered by events to the listeners that may see them (the owner,
    the Master client, client 0 once bound), never inside the call.
    """

    @property
    def settings(self) -> GatewaySettings:
        """Return how the gateway is set up."""

    @property
    def clock(self) -> WorldClock:
        """Return the world's clock."""

    @property
    def door(self) -> Door:
        """Return how the gateway meets connections."""

    @property
    def greeting(self) -> Refusal | None:
        """Return what a session that starts now is told of the broker's link."""

    @property
    def link_up(self) -> bool:
        """Return whether the gateway is connected to its broker."""

    def attach(
        self,
        client_id: int,
        listener: Listener,
        *,
        disconnect: Callable[[], None] | None = None,
    ) -> bool:
        """Open a session; False when *client_id* is in use.

        *disconnect* cuts the connection, after which its owner detaches.
        """

    def detach(self, client_id: int) -> None:
        """Close the session of *client_id*."""

    def drop(self, client_id: int) -> None:
        """Cut the connection of *client_id* from the gateway's side."""

    def next_valid_id(self, client_id: int) -> int:
        """Return the next order id of *client_id*, persistent over sessions."""

    def place(self, client_id: int, ticket: OrderTicket) -> None:
        """Take an order, or the modification of one that exists."""

    def preview(self, client_id: int, ticket: OrderTicket) -> BrokerOrder | Refusal:
        """Return what *ticket* would become; it never lives."""

    def cancel(self, client_id: int, order_id: int) -> None:
        """Ask for the end of one order."""

    def global_cancel(self, client_id: int) -> None:
        """Ask for the end of every order of every client."""

    def open_orders(self, client_id: int) -> list[BrokerOrder]:
        """Return the client's transmitted orders that are not done."""

    def all_open_orders(self) -> list[BrokerOrder]:
        """Return every client's transmitted orders that are not done."""

    def completed_orders(self) -> list[BrokerOrder]:
        """Return the orders that were done on the gateway's day."""

    def executions(self, client_id: int | None = None) -> list[Execution]:
        """Return the executions since the gateway's midnight; None: everybody's."""

    def commissions(self, executions: Iterable[Execution]) -> list[CommissionReport]:
        """Return the reports that were already sent for *executions*."""

    def holdings(self, account: str | None = None) -> list[Holding]:
        """Return the positions as reported, which lags behind the fills."""

    def account_values(self, account: str) -> list[AccountValue]:
        """Return the account's values under their real names."""

    def resolve(self, contract: Contract) -> list[Listing]:
        """Return the listings that *contract* names; empty: none."""

    def hours(self, listing: Listing) -> tuple[str, str]:
        """Return tradingHours and liquidHours as contract details show them."""

    def quote(self, symbol: str) -> Quote:
        """Return the market of *symbol* at this moment."""

    def bars(
        self, symbol: str, end: datetime, duration_s: int, bar_s: int
    ) -> list[Bar]:
        """Return the bars of the *duration_s* before *end*, oldest first."""


class Log(Protocol):
    """Where the gateway tells its operator; structlog's loggers fit."""

    def info(self, event: str, **fields: object) -> object:
        """Note what happened."""

    def warning(self, event: str, **fields: object) -> object:
        """Note what somebody should look at."""
