"""What the gateway says when it says no: codes and texts in one place.

The codes are documented; most texts are reports of others and not from a capture.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from daemon.fakegateway.values import Refusal

DUPLICATE_ID = Refusal(103, "Duplicate order id")
MODIFY_FILLED = Refusal(104, "Cannot modify a filled order.")
MODIFY_MISMATCH = Refusal(
    105, "Order being modified does not match the original order."
)
OFF_TICK = Refusal(
    110,
    "The price does not conform to the minimum price variation for this contract.",
)
MOC_NOT_DAY = Refusal(
    113, "The TIF option should be set to DAY for MOC and LOC orders."
)
NO_CONTRACT = Refusal(200, "No security definition has been found for the request")
CANCELLED = Refusal(202, "Order Canceled - reason:")
DISCARDED = Refusal(202, "Order Canceled - reason:Order was discarded")
READ_ONLY = Refusal(
    321,
    "Error validating request.-'bX' : cause - The API interface is currently in"
    " Read-Only mode.",
)
CANNOT_CHANGE_TYPE = Refusal(
    329, "Order modify failed. Cannot change to the new order type."
)
WRONG_TYPE = Refusal(387, "Unsupported order type for this exchange and security type.")
WHAT_IF_HELD = Refusal(413, "What-if order should have the transmit flag set to true.")
SIZE_ZERO = Refusal(434, "The order size cannot be zero.")
NO_ACCOUNT = Refusal(435, "You must specify an account.")
LINK_LOST = Refusal(
    1100, "Connectivity between IB and Trader Workstation has been lost."
)
LINK_DATA_LOST = Refusal(
    1101,
    "Connectivity between IB and Trader Workstation has been restored - data lost.",
)
LINK_DATA_KEPT = Refusal(
    1102,
    "Connectivity between IB and Trader Workstation has been restored -"
    " data maintained.",
)
STILL_PROCESSING = Refusal(
    2102, "Unable to modify this order as it is still being processed."
)
CUT = Refusal(
    2110,
    "Connectivity between Trader Workstation and server is broken. It will be"
    " restored automatically.",
)
NO_PARENT = Refusal(10006, "Missing parent order.")
E_TRADE_ONLY = Refusal(10268, "The 'EtradeOnly' order attribute is not supported.")
FIRM_QUOTE_ONLY = Refusal(
    10269, "The 'FirmQuoteOnly' order attribute is not supported."
)
FRACTIONAL = Refusal(10318, "This order doesn't support fractional quantity trading.")


def rejected(reason: str) -> Refusal:
    """Return 201: the order is rejected, or the modification of a live one."""
    return Refusal(201, f"Order rejected - reason:{reason}")


def short_of_funds(equity: Decimal, margin: Decimal) -> Refusal:
    """Return the 201 of an order that the account cannot carry; USD."""
    return rejected(
        "YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR"
        f" AVAILABLE FUNDS [{equity:.2f} USD] MUST EXCEED THE INITIAL MARGIN"
        f" [{margin:.2f} USD]."
    )


def not_available(symbol: str) -> Refusal:
    """Return 203: this account may not trade *symbol*."""
    return Refusal(
        203, f"The security {symbol} is not available or allowed for this account."
    )


def invalid_request(cause: str) -> Refusal:
    """Return 321 with *cause*."""
    return Refusal(321, f"Error validating request.-'bO' : cause - {cause}")


def above_preset(order_id: int, limit: int) -> Refusal:
    """Return 383: the order is larger than the gateway's precaution allows."""
    return Refusal(
        383,
        f'The following order "ID:{order_id}" size exceeds the Size Limit of {limit}.'
        " Restriction is specified in Precautionary Settings of Global"
        " Configuration/Presets.",
    )


def invalid_time(text: str) -> Refusal:
    """Return 391: the order carries a time that is none."""
    return Refusal(391, f"The date, time, or time-zone entered is invalid: {text}")


def will_wait(order: str, until: datetime, zone: str) -> Refusal:
    """Return 399: the order lives, but not before the next session opens."""
    return Refusal(
        399,
        f"Order Message:\n{order}\nWarning: Your order will not be placed at the"
        f" exchange until {until:%Y-%m-%d %H:%M:%S} {zone}.",
    )


def uncancellable(perm_id: int) -> Refusal:
    """Return 161, which follows the discarding of an untransmitted order."""
    return Refusal(
        161,
        "Cancel attempted when order is not in a cancellable state. Order permId ="
        f" {perm_id}",
    )


def not_found(order_id: int) -> Refusal:
    """Return 10147: the client has no such order to cancel."""
    return Refusal(
        10147, f"OrderId {order_id} that needs to be cancelled is not found."
    )


def cannot_cancel(order_id: int, state: str) -> Refusal:
    """Return 10148: the order is not in a state to be cancelled."""
    return Refusal(
        10148,
        f"OrderId {order_id} that needs to be cancelled cannot be cancelled,"
        f" state: {state}.",
    )


def direct_routing(exchange: str) -> Refusal:
    """Return 10311: the precaution against orders that are not routed SMART."""
    return Refusal(
        10311,
        f"This order will be directly routed to {exchange}. Direct routed orders may"
        " result in higher trade fees. Restriction is specified in Precautionary"
        " Settings of Global Configuration/API.",
    )
