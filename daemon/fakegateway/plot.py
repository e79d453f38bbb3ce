"""What is to go wrong with single orders: faults as data, and which one fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from daemon.fakegateway.values import OrderTicket, Refusal

UNTOLD = "Order Message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """When a fault begins and how long it lasts.

    *at* is a time of day in New York such as 15:41, or +90 for 90 seconds after the
    script began; empty: at once. *for_s* 0 is for good.
    """

    at: str = ""
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFault(Timed):
    """A fault of the orders that fit; *times* 0 is each of them.

    *leg* is EN, TP, SL, TX, MOC or MKT, told from the order's terms; empty fits all,
    as an empty *symbol* does.
    """

    leg: str = ""
    symbol: str = ""
    times: int = 0

    def fits(self, ticket: OrderTicket) -> bool:
        """Return whether *ticket* is one of the orders meant."""
        return (not self.leg or self.leg == leg_of(ticket)) and (
            not self.symbol or self.symbol == ticket.contract.symbol
        )


@dataclass(frozen=True, slots=True)
class Reject(OrderFault):
    """Refuse the order when it comes, with *code*."""

    code: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class LateReject(OrderFault):
    """Accept the order, let it never work, and end it *after_s* later with *code*."""

    code: int
    after_s: float = 2.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Remark(OrderFault):
    """Send *code* beside the order, which lives on."""

    code: int
    after_s: float = 0.5
    text: str = ""


@dataclass(frozen=True, slots=True)
class Swallow(OrderFault):
    """Take the order and say nothing of it, ever; it does not live."""


@dataclass(frozen=True, slots=True)
class Stick(OrderFault):
    """Accept the order and let it stay PreSubmitted until it is cancelled."""


@dataclass(frozen=True, slots=True)
class FillBeyondCancel(OrderFault):
    """Call the order Cancelled, and fill what was left of it *after_s* later."""

    after_s: float = 0.5


F = TypeVar("F", bound=OrderFault)

_TEXTS = {
    103: "Duplicate order id",
    163: "The following order violates the price percentage constraint.",
    201: "Order rejected - reason:The order was refused by the risk system.",
    354: "Requested market data is not subscribed. Restriction is specified in"
    " Precautionary Settings of Global Configuration/API.",
    383: "The order size exceeds the Size Limit. Restriction is specified in"
    " Precautionary Settings of Global Configuration/Presets.",
    399: "Order Message:\nWarning: Your order will be held.",
    404: "Order held while securities are located.",
    2109: "Order Event Warning: Attribute 'Outside Regular Trading Hours' is ignored"
    " based on the order type and destination.",
    10349: "Order TIF was set to DAY based on order preset.",
}


def said(fault: Reject | LateReject | Remark) -> Refusal:
    """Return the message of *fault*, with the code's usual text if it has none."""
    return Refusal(fault.code, fault.text or _TEXTS.get(fault.code, UNTOLD))


class Plot:
    """The faults that wait for their orders."""

    def __init__(self) -> None:
        self._faults: list[OrderFault] = []
        self._met: Counter[int] = Counter()

    def add(self, fault: OrderFault) -> None:
        """Let *fault* happen to the orders that fit from now on."""
        self._faults.append(fault)

    def remove(self, fault: OrderFault) -> None:
        """Let *fault* happen no more."""
        self._faults = [one for one in self._faults if one is not fault]

    def meet(self, kind: type[F], ticket: OrderTicket) -> F | None:
        """Return the first fault of *kind* that *ticket* meets, and count it."""
        for fault in self._faults:
            if isinstance(fault, kind) and fault.fits(ticket) and self._due(fault):
                self._met[id(fault)] += 1
                return fault
        return None

    def _due(self, fault: OrderFault) -> bool:
        return not fault.times or self._met[id(fault)] < fault.times


def leg_of(ticket: OrderTicket) -> str:
    """Return what *ticket* is in a long bracket or beside one.

    EN a buying order, TP, SL and TX the children or exits that sell at a limit, at a
    stop or at a time; MOC and MKT by their type.
    """
    child = ticket.parent_id != 0
    match ticket.order_type:
        case "MOC":
            return "MOC"
        case "STP":
            return "SL"
        case "LMT":
            return "TP" if child or ticket.action != "BUY" else "EN"
        case _:
            return "TX" if child or ticket.good_after_time else "MKT"
