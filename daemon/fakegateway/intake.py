"""What happens to orders and cancels between their arrival and their answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count

from daemon.fakegateway import refusals
from daemon.fakegateway.acceptance import (
    Facts,
    frozen,
    modification_objection,
    objection,
)
from daemon.fakegateway.chance import draw
from daemon.fakegateway.credit import Credit
from daemon.fakegateway.floor import REDUCE_WITHOUT_BLOCK, Floor, set_times
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.listings import Directory
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.reports import Reports, Surroundings
from daemon.fakegateway.values import (
    BrokerOrder,
    Listing,
    MarketSession,
    OrderTicket,
    Refusal,
)

FIRST_PERM_ID = 1_500_000_001
REJECTED = 201


class Intake:
    """Takes tickets as they arrive and answers them one latency later, in order."""

    def __init__(
        self,
        around: Surroundings,
        directory: Directory,
        book: OrderBook,
        reports: Reports,
        credit: Credit,
    ) -> None:
        self._around = around
        self._directory = directory
        self._book = book
        self._reports = reports
        self._credit = credit
        self._floor = Floor(around, book, reports)
        self._answers = Lane(around.clock)
        self._perm_ids = count(FIRST_PERM_ID)

    # --- arrival --------------------------------------------------------------

    def place(self, client_id: int, ticket: OrderTicket) -> None:
        """Take a new order, or the modification of one that is live or filled."""
        known = self._book.find(client_id, ticket.order_id)
        if known is not None and _can_be_meant(known):
            self._write("modified", client_id, known.order.perm_id, ticket)
            self._answer(partial(self._modify, client_id, known, ticket))
            return
        used = ticket.order_id <= self._around.roster.highest_id(client_id)
        self._around.roster.use_id(client_id, ticket.order_id)
        perm_id = next(self._perm_ids)
        self._write("placed", client_id, perm_id, ticket)
        if used:
            self._answer(partial(self._refuse_duplicate, client_id, ticket.order_id))
            return
        now = self._around.clock.now()
        working = Working(BrokerOrder(ticket, client_id, perm_id, placed_at=now))
        self._book.add(working)
        self._answer(partial(self._accept, working))

    def preview(self, client_id: int, ticket: OrderTicket) -> BrokerOrder | Refusal:
        """Return what *ticket* would become; it never lives."""
        if not ticket.transmit:
            return refusals.WHAT_IF_HELD
        listing = self._directory.find(ticket.contract)
        refusal = objection(ticket, self._facts(listing))
        if refusal is not None:
            return refusal
        return self._credit.preview(client_id, self._completed(ticket, listing, None))

    def cancel(self, client_id: int, order_id: int) -> None:
        """Take the wish to end one order."""
        known = self._book.find(client_id, order_id)
        self._around.ledger.write(
            "cancel_requested",
            self._around.clock.now(),
            client_id=client_id,
            order_id=order_id,
            perm_id=0 if known is None else known.order.perm_id,
        )
        self._answer(partial(self._cancel, client_id, order_id))

    def global_cancel(self, client_id: int) -> None:
        """Take the wish to end every order of every client."""
        now = self._around.clock.now()
        self._around.ledger.write("global_cancel", now, client_id=client_id)
        self._answer(partial(self._cancel_all, client_id))

    # --- answers --------------------------------------------------------------

    def _answer(self, call: Callable[[], None]) -> None:
        self._answers.after(self._around.settings.latency_s, call)

    def _refuse_duplicate(self, client_id: int, order_id: int) -> None:
        self._reports.error(client_id, order_id, refusals.DUPLICATE_ID)

    def _accept(self, working: Working) -> None:
        ticket = working.order.ticket
        listing = self._directory.find(ticket.contract)
        parent = self._book.find(working.order.client_id, ticket.parent_id)
        refusal = objection(ticket, self._facts(listing))
        if refusal is None and ticket.parent_id and not _may_have_child(parent):
            refusal = refusals.NO_PARENT
        if refusal is None:
            self._register(working, listing, parent if ticket.parent_id else None)
            refusal = self._credit.shortage(working)
        if refusal is not None:
            self._refuse(working, refusal, listing)
        elif ticket.transmit:
            self._floor.release(working)

    def _register(
        self, working: Working, listing: Listing | None, parent: Working | None
    ) -> None:
        order = working.order
        working.listing = listing
        order.ticket = self._completed(order.ticket, listing, parent)
        set_times(working)
        if parent is not None:
            working.parent = parent
            parent.children.append(working)

    def _refuse(
        self, working: Working, refusal: Refusal, listing: Listing | None
    ) -> None:
        """Say no: 201 leaves an Inactive order behind, or nothing, by seed."""
        order = working.order
        leaves = draw(self._around.seed, "inactive", order.perm_id) < 0.5
        if refusal.code == REJECTED and leaves:
            order.ticket = self._completed(order.ticket, listing, None)
            order.transmitted = True
            self._floor.reject(working, refusal)
            return
        self._book.remove(working)
        self._reports.order_error(order, refusal)

    def _modify(self, client_id: int, working: Working, ticket: OrderTicket) -> None:
        refusal = self._refused_change(working, ticket)
        if refusal is not None:
            self._reports.error(client_id, ticket.order_id, refusal)
        else:
            self._floor.modify(working, ticket)

    def _refused_change(self, working: Working, ticket: OrderTicket) -> Refusal | None:
        order = working.order
        if order.status == "Filled":
            return refusals.MODIFY_FILLED
        if order.done or working.listing is None:
            return refusals.DUPLICATE_ID
        if order.status == "PendingCancel":
            return refusals.STILL_PROCESSING
        moc = order.ticket.order_type == "MOC"
        if moc and frozen(self._around.clock.now(), working.session):
            return refusals.rejected("The closing auction's orders are frozen.")
        return modification_objection(order.ticket, ticket, order.filled) or objection(
            ticket, self._facts(working.listing, working.session)
        )

    def _cancel(self, client_id: int, order_id: int) -> None:
        working = self._book.find(client_id, order_id)
        if self._around.settings.read_only:
            self._reports.error(client_id, order_id, refusals.READ_ONLY)
        elif working is None:
            self._reports.error(client_id, order_id, refusals.not_found(order_id))
        else:
            self._floor.cancel(working)

    def _cancel_all(self, client_id: int) -> None:
        if self._around.settings.read_only:
            self._reports.error(client_id, -1, refusals.READ_ONLY)
            return
        for working in self._book.live():
            if working.listing is not None and not working.order.done:
                self._floor.cancel(working)

    # --- what the checks need -------------------------------------------------

    def _facts(
        self, listing: Listing | None, session: MarketSession | None = None
    ) -> Facts:
        now = self._around.clock.now()
        auction = session or self._around.sessions.open_at(now)
        return Facts(self._around.settings, listing, now, auction)

    def _completed(
        self, ticket: OrderTicket, listing: Listing | None, parent: Working | None
    ) -> OrderTicket:
        """Return *ticket* as the gateway echoes it: defaults filled in."""
        group = ticket.oca_group
        if parent is not None and not group:
            group = str(parent.order.perm_id)
        return replace(
            ticket,
            contract=ticket.contract if listing is None else listing.contract,
            account=ticket.account or self._around.settings.accounts[0],
            tif=ticket.tif or "DAY",
            oca_group=group,
            oca_type=ticket.oca_type or REDUCE_WITHOUT_BLOCK,
        )

    def _write(
        self, event: str, client_id: int, perm_id: int, ticket: OrderTicket
    ) -> None:
        listing = self._directory.find(ticket.contract)
        contract = ticket.contract if listing is None else listing.contract
        self._around.ledger.write(
            event,
            self._around.clock.now(),
            client_id=client_id,
            order_id=ticket.order_id,
            perm_id=perm_id,
            order_ref=ticket.order_ref,
            account=ticket.account,
            con_id=contract.con_id,
            symbol=contract.symbol,
            side=ticket.action,
            quantity=ticket.quantity,
            order_type=ticket.order_type,
            limit_price=ticket.limit_price,
            stop_price=ticket.aux_price,
            tif=ticket.tif,
            good_after=ticket.good_after_time,
            good_till=ticket.good_till_date,
            parent_id=ticket.parent_id,
            oca_group=ticket.oca_group,
            oca_type=ticket.oca_type,
            transmit=ticket.transmit,
        )


def _can_be_meant(known: Working) -> bool:
    """Return whether an id points to *known*: it lives, or it is filled (104)."""
    return not known.order.done or known.order.status == "Filled"


def _may_have_child(parent: Working | None) -> bool:
    """Return whether a child may join: its parent was taken and lives or is filled."""
    return parent is not None and parent.listing is not None and _can_be_meant(parent)
