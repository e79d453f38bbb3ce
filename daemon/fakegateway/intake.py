"""What happens to orders and cancels between their arrival and their answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
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
from daemon.fakegateway.endings import REJECTED
from daemon.fakegateway.floor import Floor, set_times
from daemon.fakegateway.groups import REDUCE_WITHOUT_BLOCK
from daemon.fakegateway.lane import Lane
from daemon.fakegateway.listings import Directory
from daemon.fakegateway.orderbook import OrderBook, Working
from daemon.fakegateway.plot import Reject, Swallow, said
from daemon.fakegateway.reports import Reports, Surroundings
from daemon.fakegateway.values import (
    BrokerOrder,
    Listing,
    MarketSession,
    OrderTicket,
    Refusal,
)

FIRST_PERM_ID = 1_500_000_001
RIGHT_BEHIND = timedelta(milliseconds=50)
"""A child that comes this soon after its parent may meet 10006 (protocol 5.2)."""


class Intake:
    """Takes tickets as they arrive and answers them one latency later, in order."""

    def __init__(
        self,
        around: Surroundings,
        directory: Directory,
        book: OrderBook,
        reports: Reports,
        credit: Credit,
        floor: Floor,
    ) -> None:
        self._around = around
        self._directory = directory
        self._book = book
        self._reports = reports
        self._credit = credit
        self._floor = floor
        self._answers = Lane(around.clock)
        self._perm_ids = count(FIRST_PERM_ID)
        self._orphaned: set[int] = set()
        self._free_again: set[tuple[int, int]] = set()

    # --- arrival --------------------------------------------------------------

    def place(self, client_id: int, ticket: OrderTicket) -> None:
        """Take a new order, or the modification of one that is live or filled."""
        known = self._book.find(client_id, ticket.order_id)
        again = self._begins_anew(client_id, ticket)
        if known is not None and _can_be_meant(known) and not again:
            self._write("modified", client_id, known.order.perm_id, ticket)
            self._answer(partial(self._modify, client_id, known, ticket))
            return
        key = client_id, ticket.order_id
        used = ticket.order_id <= self._around.roster.highest_id(client_id)
        used = used and key not in self._free_again
        self._free_again.discard(key)
        self._around.roster.use_id(client_id, ticket.order_id)
        perm_id = next(self._perm_ids)
        self._write("placed", client_id, perm_id, ticket)
        if used or (again and known is not None and not known.order.done):
            self._answer(partial(self._refuse_duplicate, client_id, ticket.order_id))
            return
        now = self._around.clock.now()
        working = Working(BrokerOrder(ticket, client_id, perm_id, placed_at=now))
        self._book.add(working)
        self._answer(
            partial(self._accept, working), partial(self._floor.endings.forget, working)
        )

    def _begins_anew(self, client_id: int, ticket: OrderTicket) -> bool:
        """Return whether the id is new to the gateway, though an order may bear it.

        After a rollback of the ids only the order's own terms prove that it is meant.
        """
        roster = self._around.roster
        if not roster.rolled_back(client_id):
            return False
        known = self._book.find(client_id, ticket.order_id)
        unused = ticket.order_id > roster.highest_id(client_id)
        return unused and not (known is not None and _is_same(known, ticket))

    def forget_untransmitted(self, client_id: int | None = None) -> None:
        """Lose the untransmitted orders of *client_id*, None: of everybody."""
        for working in self._book.untransmitted(client_id):
            self._floor.endings.forget(working)

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

    def _answer(
        self, call: Callable[[], None], lose: Callable[[], None] = lambda: None
    ) -> None:
        """Make *call* when the broker has the message; *lose*: it never does."""
        take = partial(self._around.link.take, call, lose)
        self._answers.after(self._around.settings.latency_s, take)

    def _refuse_duplicate(self, client_id: int, order_id: int) -> None:
        self._reports.error(client_id, order_id, refusals.DUPLICATE_ID)

    def _accept(self, working: Working) -> None:
        if self._book.called(working.order.perm_id) is None:
            return  # lost with the gateway's process
        ticket, plot = working.order.ticket, self._around.plot
        if plot.meet(Swallow, ticket) is not None:
            self._floor.endings.forget(working)
            return
        listing = self._directory.find(ticket.contract)
        parent = self._book.find(working.order.client_id, ticket.parent_id)
        plotted = plot.meet(Reject, ticket)
        refusal = said(plotted) if plotted else objection(ticket, self._facts(listing))
        if refusal is None and ticket.parent_id and not self._finds(parent, working):
            refusal = refusals.NO_PARENT
            if not self._around.settings.missing_parent_uses_id:
                self._free_again.add((working.order.client_id, ticket.order_id))
        if refusal is None:
            self._register(working, listing, parent if ticket.parent_id else None)
            refusal = self._credit.shortage(working)
        if refusal is not None:
            self._refuse(working, refusal, listing)
        elif ticket.transmit:
            self._floor.release(working)

    def _finds(self, parent: Working | None, child: Working) -> bool:
        """Return whether the gateway knows *parent* by now; once it may be too soon."""
        if parent is None or not _may_have_child(parent):
            return False
        perm_id, wanted = parent.order.perm_id, self._around.settings.missing_parent
        chance = draw(self._around.seed, "parent", perm_id)
        unlucky = wanted == "always" or (wanted == "seed" and chance < 0.5)
        if not unlucky or perm_id in self._orphaned or not _right_behind(parent, child):
            return True
        self._orphaned.add(perm_id)
        return False

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
            self._floor.endings.reject(working, refusal)
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
            self._floor.endings.cancel(working)

    def _cancel_all(self, client_id: int) -> None:
        if self._around.settings.read_only:
            self._reports.error(client_id, -1, refusals.READ_ONLY)
            return
        for working in self._book.live():
            if working.listing is not None and not working.order.done:
                self._floor.endings.cancel(working)

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


def _may_have_child(parent: Working) -> bool:
    """Return whether a child may join: its parent was taken and lives or is filled."""
    return parent.listing is not None and _can_be_meant(parent)


def _right_behind(parent: Working, child: Working) -> bool:
    first, second = parent.order.placed_at, child.order.placed_at
    return first is None or second is None or second - first < RIGHT_BEHIND


def _is_same(known: Working, ticket: OrderTicket) -> bool:
    old = known.order.ticket
    return (
        not known.order.done
        and bool(old.order_ref)
        and (old.order_ref, old.action) == (ticket.order_ref, ticket.action)
    )
