"""Whether the gateway takes an order: pure checks, the first objection counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from daemon.fakegateway import refusals
from daemon.fakegateway.ordertimes import order_time
from daemon.fakegateway.sessions import MOC_FREEZE, NASDAQ_ENTRY
from daemon.fakegateway.values import (
    GatewaySettings,
    Listing,
    MarketSession,
    OrderTicket,
    Refusal,
)

SIDES = frozenset({"BUY", "SELL"})
TIFS = frozenset({"", "DAY", "GTC", "GTD"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What the gateway knows when an order arrives."""

    settings: GatewaySettings
    listing: Listing | None
    now: datetime
    session: MarketSession | None
    """The session that is open now."""


def objection(ticket: OrderTicket, facts: Facts) -> Refusal | None:
    """Return why the gateway refuses *ticket*, None if it does not."""
    if facts.listing is None:
        return refusals.NO_CONTRACT
    for check in _CHECKS:
        refusal = check(ticket, facts.listing, facts)
        if refusal is not None:
            return refusal
    return None


def late_for_auction(listing: Listing, now: datetime, session: MarketSession) -> bool:
    """Return whether the closing auction of *session* takes no new MOC order."""
    nasdaq = listing.contract.primary_exchange == "NASDAQ"
    cutoff = session.close - (NASDAQ_ENTRY if nasdaq else MOC_FREEZE)
    return cutoff <= now < session.close


def frozen(now: datetime, session: MarketSession | None) -> bool:
    """Return whether a MOC order of *session* can no longer be cancelled."""
    return session is not None and now >= session.close - MOC_FREEZE


Check = Callable[[OrderTicket, Listing, Facts], Refusal | None]


def _mode(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    del ticket, listing
    return refusals.READ_ONLY if facts.settings.read_only else None


def _account(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    del listing
    accounts = facts.settings.accounts
    if not ticket.account:
        return refusals.NO_ACCOUNT if len(accounts) > 1 else None
    if ticket.account not in accounts:
        return refusals.invalid_request(f"Invalid account code '{ticket.account}'")
    return None


def _form(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    del facts
    if ticket.action not in SIDES:
        return refusals.invalid_request("Invalid side")
    if ticket.order_type not in listing.order_types.split(","):
        return refusals.WRONG_TYPE
    if ticket.tif not in TIFS:
        return refusals.rejected(f"Invalid time-in-force {ticket.tif}")
    if ticket.order_type == "MOC" and ticket.tif not in {"", "DAY"}:
        return refusals.MOC_NOT_DAY
    return None


def _attributes(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    del listing, facts
    if ticket.e_trade_only:
        return refusals.E_TRADE_ONLY
    if ticket.firm_quote_only:
        return refusals.FIRM_QUOTE_ONLY
    exchange = ticket.contract.exchange
    return refusals.direct_routing(exchange) if exchange != "SMART" else None


def _security(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    del ticket, facts
    symbol = listing.contract.symbol
    return None if listing.tradable else refusals.not_available(symbol)


def _size(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    del listing
    if ticket.quantity <= 0:
        return refusals.SIZE_ZERO
    if ticket.quantity != ticket.quantity.to_integral_value():
        return refusals.FRACTIONAL
    preset = facts.settings.size_preset
    if preset is not None and ticket.quantity > preset:
        return refusals.above_preset(ticket.order_id, preset)
    return None


def _price(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    del facts
    needed = {"LMT": ticket.limit_price, "STP": ticket.aux_price}
    if ticket.order_type not in needed:
        return None
    price = needed[ticket.order_type]
    if price is None or price <= 0:
        return refusals.invalid_request(f"Please enter a price for {ticket.order_type}")
    return refusals.OFF_TICK if price % listing.min_tick else None


def _times(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    try:
        order_time(ticket.good_after_time, listing.time_zone)
        good_till = order_time(ticket.good_till_date, listing.time_zone)
    except ValueError as error:
        return refusals.invalid_time(str(error))
    if ticket.tif != "GTD":
        return None
    if good_till is None:
        return refusals.invalid_time("GTD needs a goodTillDate")
    if good_till <= facts.now:
        return refusals.rejected("The time-in-force has passed")
    return None


def _auction(ticket: OrderTicket, listing: Listing, facts: Facts) -> Refusal | None:
    if ticket.order_type != "MOC" or facts.session is None:
        return None
    late = late_for_auction(listing, facts.now, facts.session)
    return refusals.rejected("Exchange is closed.") if late else None


_CHECKS: tuple[Check, ...] = (
    _mode,
    _account,
    _security,
    _form,
    _attributes,
    _size,
    _price,
    _times,
    _auction,
)


def modification_objection(
    old: OrderTicket, new: OrderTicket, filled: Decimal
) -> Refusal | None:
    """Return why *new* cannot replace the live *old*, None if it can."""
    if new.order_type != old.order_type:
        return refusals.CANNOT_CHANGE_TYPE
    asked = new.contract.con_id or new.contract.symbol
    meant = old.contract.con_id if new.contract.con_id else old.contract.symbol
    if new.action != old.action or asked != meant:
        return refusals.MODIFY_MISMATCH
    if new.quantity <= filled:
        return refusals.rejected(
            f"The new quantity {new.quantity} is not above the filled {filled}"
        )
    return None
