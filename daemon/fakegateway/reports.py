"""What the gateway says and writes down of orders."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.fakegateway.api import WorldClock
from daemon.fakegateway.books import Books
from daemon.fakegateway.chance import draw
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.link import Link
from daemon.fakegateway.plot import Plot
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.roster import Roster
from daemon.fakegateway.sessions import Sessions
from daemon.fakegateway.values import (
    BrokerOrder,
    GatewaySettings,
    OrderChanged,
    OrderError,
    Refusal,
    StatusChanged,
    copy_order,
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every part of the world stands on."""

    clock: WorldClock
    sessions: Sessions
    settings: GatewaySettings
    prices: Prices
    ledger: Ledger
    roster: Roster
    link: Link
    books: Books
    plot: Plot
    seed: int


class Reports:
    """The gateway's voice about orders; what it writes down is always true."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def opened(self, order: BrokerOrder) -> None:
        """Send openOrder."""
        self._around.link.tell(order.client_id, OrderChanged(copy_order(order)))

    def status(self, order: BrokerOrder) -> None:
        """Write the status down and send orderStatus: once, twice or not at all."""
        self._around.ledger.write(
            "status",
            self._around.clock.now(),
            perm_id=order.perm_id,
            order_id=order.order_id,
            client_id=order.client_id,
            order_ref=order.ticket.order_ref,
            status=order.status,
            filled=order.filled,
            remaining=order.remaining,
            why_held=order.why_held,
        )
        for _ in range(self._times_told(order)):
            self._around.link.tell(order.client_id, StatusChanged(copy_order(order)))

    def both(self, order: BrokerOrder) -> None:
        """Send openOrder, then orderStatus."""
        self.opened(order)
        self.status(order)

    def error(self, client_id: int, order_id: int, refusal: Refusal) -> None:
        """Write an error on an order id down and send it to its client."""
        self._around.ledger.write(
            "order_error",
            self._around.clock.now(),
            client_id=client_id,
            order_id=order_id,
            code=refusal.code,
            text=refusal.text,
        )
        self._around.link.tell_error(OrderError(client_id, order_id, refusal))

    def order_error(self, order: BrokerOrder, refusal: Refusal) -> None:
        """Send an error on *order* to its owner."""
        self.error(order.client_id, order.order_id, refusal)

    def _times_told(self, order: BrokerOrder) -> int:
        settings = self._around.settings
        question = ("status", order.perm_id, order.status, order.filled)
        if draw(self._around.seed, *question) < settings.missing_statuses:
            return 0
        return 2 if settings.duplicate_statuses else 1
