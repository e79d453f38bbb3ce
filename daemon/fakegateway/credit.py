"""What an account can carry: initial margin against available funds."""

from __future__ import annotations

from decimal import Decimal

from daemon.fakegateway import refusals
from daemon.fakegateway.books import INITIAL_MARGIN, Funds, commission_of, margin_of
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.reports import Surroundings
from daemon.fakegateway.tape import Tape
from daemon.fakegateway.values import BrokerOrder, OrderTicket, Refusal


class Credit:
    """Funds at this moment's prices, less what working orders may bind."""

    def __init__(self, around: Surroundings, book: OrderBook, tape: Tape) -> None:
        self._around = around
        self._book = book
        self._tape = tape

    def funds(self, account: str) -> Funds:
        """Return the money of *account*."""
        return self._around.books.funds(account, self._last)

    def shortage(self, working: Working) -> Refusal | None:
        """Return the 201 of an order for which the funds do not suffice.

        Children are not asked: they close what their parent opens.
        """
        if working.parent is not None:
            return None
        account = working.order.ticket.account
        needed = self._margin(working.order)
        bound = sum(
            (
                self._margin(other.order)
                for other in self._book.live()
                if other is not working
                and other.listing is not None
                and other.parent is None
                and other.order.ticket.account == account
            ),
            Decimal(0),
        )
        available = self.funds(account).available - bound
        if needed == 0 or needed <= available:
            return None
        return refusals.short_of_funds(available, needed)

    def preview(self, client_id: int, ticket: OrderTicket) -> BrokerOrder:
        """Return the order that *ticket* would be, with margin and commission."""
        value = ticket.quantity * self._price(ticket)
        commission = commission_of(ticket.quantity, value)
        order = BrokerOrder(ticket, client_id, perm_id=0, commission=commission)
        funds = self.funds(ticket.account)
        order.margin = margin_of(funds, self._added_value(order), commission)
        return order

    def _margin(self, order: BrokerOrder) -> Decimal:
        return INITIAL_MARGIN * self._added_value(order)

    def _added_value(self, order: BrokerOrder) -> Decimal:
        """Return the USD by which the rest of *order* would enlarge the position."""
        ticket = order.ticket
        held = self._around.books.held(ticket.account, ticket.contract).quantity
        signed = order.remaining if ticket.action == "BUY" else -order.remaining
        added = max(abs(held + signed) - abs(held), Decimal(0))
        return added * self._price(ticket) if added else Decimal(0)

    def _price(self, ticket: OrderTicket) -> Decimal:
        return ticket.limit_price or self._last(ticket.contract.symbol)

    def _last(self, symbol: str) -> Decimal:
        return self._tape.last(symbol, self._around.clock.now())
