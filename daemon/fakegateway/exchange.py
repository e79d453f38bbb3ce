"""The exchange's rules: when an order trades, at what price, in what sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from daemon.fakegateway.chance import draw
from daemon.fakegateway.prices import Market, Path
from daemon.fakegateway.values import OrderTicket

ORDINARY_VENUE = "IEX"
PARTIAL_CHANCE = 0.35
"""How often an execution leaves something of the order over."""
MOST_EXECUTIONS = 4
"""After this many the rest comes in one."""
AUCTION_SPREAD_S = 39.0
"""Closing-auction prints of a session come within this of each other."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The last prices, in ticks, at or beyond which something happens."""

    low: int | None = None
    high: int | None = None


def fill_price(
    ticket: OrderTicket, market: Market, *, arriving: bool, triggered: bool = False
) -> Decimal | None:
    """Return the price at which *ticket* trades in *market* now, None if not.

    An *arriving* limit order takes the other side's better price; one that rests is
    traded through at its limit. A stop triggers on the last price, as IBKR does for
    US stocks, and then trades at the market, wherever that is.
    """
    buying = ticket.action == "BUY"
    opposite = market.ask if buying else market.bid
    match ticket.order_type:
        case "MKT":
            return opposite
        case "LMT" if ticket.limit_price is not None:
            limit = ticket.limit_price
            if (opposite > limit) if buying else (opposite < limit):
                return None
            return opposite if arriving else limit
        case "STP" if ticket.aux_price is not None:
            hit = triggered or is_triggered(ticket, market)
            return opposite if hit else None
        case _:
            return None


def is_triggered(ticket: OrderTicket, market: Market) -> bool:
    """Return whether *market* elects the stop order *ticket*."""
    if ticket.order_type != "STP" or ticket.aux_price is None:
        return False
    if ticket.action == "BUY":
        return market.last >= ticket.aux_price
    return market.last <= ticket.aux_price


def levels(ticket: OrderTicket, path: Path) -> Levels:
    """Return the levels at which the resting *ticket* trades on *path*."""
    buying = ticket.action == "BUY"
    if ticket.order_type == "LMT" and ticket.limit_price is not None:
        limit = ticket.limit_price // path.tick
        if buying:
            return Levels(low=int(limit) - path.half_spread)
        rounded_up = -(-ticket.limit_price // path.tick)
        return Levels(high=int(rounded_up) + path.half_spread)
    if ticket.order_type == "STP" and ticket.aux_price is not None:
        if buying:
            return Levels(high=int(-(-ticket.aux_price // path.tick)))
        return Levels(low=int(ticket.aux_price // path.tick))
    return Levels()


def nearest(candidates: Iterable[Levels]) -> Levels:
    """Return the levels that are met first on the way down and on the way up."""
    every = list(candidates)
    lows = [one.low for one in every if one.low is not None]
    highs = [one.high for one in every if one.high is not None]
    return Levels(max(lows, default=None), min(highs, default=None))


def next_crossing(path: Path, start: int, wanted: Levels) -> int | None:
    """Return the first step from *start* on that meets *wanted*, before the close.

    The last step is the closing auction's: continuous trading has ended by then.
    """
    low = -1 if wanted.low is None else wanted.low
    high = 1 << 62 if wanted.high is None else wanted.high
    for step in range(start, len(path.ticks) - 1):
        if not low < path.ticks[step] < high:
            return step
    return None


def slice_quantity(
    remaining: Decimal, seed: int, perm_id: int, executed: int
) -> Decimal:
    """Return how many of the *remaining* shares the next execution takes.

    *executed* counts the executions so far: each has its own draw.
    """
    if remaining < 2 or executed + 1 >= MOST_EXECUTIONS:
        return remaining
    if draw(seed, "partial", perm_id, executed) >= PARTIAL_CHANCE:
        return remaining
    part = Decimal(str(round(0.2 + 0.6 * draw(seed, "part", perm_id, executed), 3)))
    return max(Decimal(1), (remaining * part) // 1)


def next_slice_delay_s(seed: int, perm_id: int, executed: int) -> float:
    """Return how long a market order waits for its next execution."""
    return 0.1 + 0.9 * draw(seed, "pause", perm_id, executed)


def auction_print_delay_s(seed: int, symbol: str, day: date) -> float:
    """Return how much later than the first the closing print of *symbol* comes."""
    return 1.0 + AUCTION_SPREAD_S * draw(seed, "auction", symbol, day)
