"""The values that pass between the wire, the world and the exchange."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

MAX_SERVER_VERSION = 178
"""Text protocol only; protobuf begins at 201."""
MIN_SERVER_VERSION = 157
"""The oldest official client on the package index (ibapi 9.81.1)."""


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract as it stands on the wire (12 fields)."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = "STK"
    expiry: str = ""
    strike: str = "0"
    right: str = ""
    multiplier: str = ""
    exchange: str = "SMART"
    primary_exchange: str = ""
    currency: str = "USD"
    local_symbol: str = ""
    trading_class: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the world knows of one instrument."""

    contract: Contract
    long_name: str = ""
    min_tick: Decimal = Decimal("0.01")
    order_types: str = "ACTIVETIM,DAY,GAT,GTC,GTD,LMT,MKT,MOC,STP,WHATIF"
    valid_exchanges: str = "SMART,AMEX,NYSE,NASDAQ,ARCA,BATS,IEX"
    time_zone: str = "US/Eastern"
    stock_type: str = "COMMON"
    tradable: bool = True
    """False: orders on it are refused (AVDL.CVR)."""


@dataclass(frozen=True, slots=True)
class MarketSession:
    """One trading session: aware open and close of continuous trading."""

    date: date
    open: datetime
    close: datetime


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """A placeOrder message, parsed; None where the client sent "unset"."""

    order_id: int
    contract: Contract
    action: str
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None = None
    aux_price: Decimal | None = None
    tif: str = ""
    oca_group: str = ""
    account: str = ""
    open_close: str = ""
    origin: int = 0
    order_ref: str = ""
    transmit: bool = True
    parent_id: int = 0
    outside_rth: bool = False
    hidden: bool = False
    good_after_time: str = ""
    good_till_date: str = ""
    oca_type: int = 0
    all_or_none: bool = False
    e_trade_only: bool = False
    firm_quote_only: bool = False
    algo_strategy: str = ""
    what_if: bool = False


@dataclass(frozen=True, slots=True)
class Margin:
    """What a preview (whatIf) says of the account, in its base currency."""

    init_before: Decimal = Decimal(0)
    maint_before: Decimal = Decimal(0)
    equity_before: Decimal = Decimal(0)
    init_change: Decimal = Decimal(0)
    maint_change: Decimal = Decimal(0)
    equity_change: Decimal = Decimal(0)


@dataclass(slots=True)
class BrokerOrder:
    """One order in the broker's books; it outlives the session that placed it."""

    ticket: OrderTicket
    client_id: int
    perm_id: int
    status: str = "PreSubmitted"
    why_held: str = ""
    filled: Decimal = Decimal(0)
    average_price: Decimal = Decimal(0)
    last_price: Decimal = Decimal(0)
    transmitted: bool = False
    placed_at: datetime | None = None
    completed_at: datetime | None = None
    completed_status: str = ""
    commission: Decimal | None = None
    active: bool = False
    """Whether the exchange works it now (parent filled, goodAfterTime passed)."""
    margin: Margin | None = None
    """Set by a preview only."""

    @property
    def order_id(self) -> int:
        """Return the id under which its client knows it."""
        return self.ticket.order_id

    @property
    def remaining(self) -> Decimal:
        """Return the quantity not yet executed, in shares."""
        return self.ticket.quantity - self.filled

    @property
    def done(self) -> bool:
        """Return whether the broker calls it finished."""
        return self.status in {"Filled", "Cancelled", "ApiCancelled", "Inactive"}


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution; *time* aware, *exec_id* ends in `.NN`, the revision."""

    exec_id: str
    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    account: str
    contract: Contract
    side: str
    """BOT or SLD."""
    shares: Decimal
    price: Decimal
    cum_quantity: Decimal
    average_price: Decimal
    time: datetime
    exchange: str = "IEX"
    last_liquidity: int = 2
    liquidation: int = 0


@dataclass(frozen=True, slots=True)
class CommissionReport:
    """The commission of one execution; None is sent as the sentinel."""

    exec_id: str
    commission: Decimal
    currency: str = "USD"
    realized_pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """One position of one account; *average_cost* in USD a share."""

    account: str
    contract: Contract
    quantity: Decimal
    average_cost: Decimal
    realized_pnl: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class AccountValue:
    """One line of reqAccountUpdates or of an account summary."""

    account: str
    tag: str
    value: str
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """The market of one symbol at one moment; None where there is no price."""

    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    bid_size: int = 0
    ask_size: int = 0
    last_size: int = 0
    volume: int = 0
    high: Decimal | None = None
    low: Decimal | None = None
    open: Decimal | None = None
    close: Decimal | None = None
    """The official close of the session before."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; *start* aware UTC, *count* the number of trades."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int = 0
    wap: Decimal = Decimal(0)
    count: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the gateway for one order or request."""

    code: int
    text: str


# --- what the world tells its sessions -------------------------------------


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """Send openOrder; *order* is a copy of the moment."""

    order: BrokerOrder


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """Send orderStatus; *order* is a copy of the moment."""

    order: BrokerOrder


@dataclass(frozen=True, slots=True)
class Executed:
    """Send execDetails with reqId -1."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Commissioned:
    """Send commissionReport."""

    report: CommissionReport
    client_id: int
    account: str


@dataclass(frozen=True, slots=True)
class OrderError:
    """Send an error message on an order id of one client."""

    client_id: int
    order_id: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class HoldingChanged:
    """Send position and portfolio messages to those who asked for them."""

    holding: Holding


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send an error message with id -1 to every session (1100, 2104, …)."""

    refusal: Refusal


WorldEvent = (
    OrderChanged
    | StatusChanged
    | Executed
    | Commissioned
    | OrderError
    | HoldingChanged
    | Broadcast
)


ChildActivation = Literal["full_fill", "filled_part", "first_fill", "seed"]
"""When children come alive: on the parent's full fill; on its first fill, for the
filled part; on its first fill, at full size; or one of these by seed."""
CancelCascade = Literal["never", "always", "seed"]
"""Whether cancelling one member of an OCA group cancels its siblings."""
MissingParent = Literal["never", "always", "seed"]
"""Whether a child right behind its parent meets 10006, the first of its family."""
BacklogOrder = Literal["as_it_happened", "executions_last", "shuffled", "seed"]
"""In which order a restored link (1102) tells what happened meanwhile."""


@dataclass(slots=True)
class GatewaySettings:
    """How this gateway is set up and what temper it has."""

    accounts: tuple[str, ...] = ("DU1234567",)
    cash: Decimal = Decimal(1_000_000)
    size_preset: int | None = None
    """Orders above it are refused with 383, None for no preset."""
    master_client_id: int | None = None
    read_only: bool = False
    latency_s: float = 0.02
    """From an order's arrival to its first answer."""
    fill_latency_s: float = 0.05
    execution_lag_s: float = 0.0
    """Executions are told and listed this long after their orderStatus."""
    commission_delay_s: float | None = 0.3
    """None: commissions are never reported."""
    position_lag_s: float = 1.5
    """Positions lag behind fills by this (reported: 1-5 s)."""
    partial_fills: bool = True
    auction_delay_s: float = 4.0
    """Closing-auction executions arrive this long after the bell, and later."""
    held_client_id_close_s: float = 0.7
    """From error 326 to the gateway's close of the socket."""
    message_rate: int = 50
    """Messages a second of one session; those above are refused with 100."""
    unsolicited_completed_orders: bool = False
    """Whether completed orders arrive unasked once they were asked for."""
    commissions_on_connect: bool = False
    """Whether a new session hears the day's commissions of its client unasked."""
    corrected_commissions: bool = True
    """Whether a corrected execution has a commission report of its own."""
    duplicate_statuses: bool = False
    """Whether each orderStatus is sent twice."""
    missing_statuses: float = 0.0
    """The chance, by seed, that an orderStatus is not sent."""
    midnight_zone: str = "America/New_York"
    """The zone of the midnight after which executions are forgotten."""
    child_activation: ChildActivation = "full_fill"
    cancel_cascades: CancelCascade = "never"
    missing_parent: MissingParent = "never"
    missing_parent_uses_id: bool = False
    """Whether the same id is a duplicate (103) after 10006."""
    untransmitted_vanish: bool = False
    """Whether untransmitted orders end with the session that placed them."""
    link_lost_every_s: float = 30.0
    """How often 1100 is repeated."""
    link_lost_greeting: int = 2110
    """What a session that starts without the link is told: 2110 or 1100."""
    backlog_order: BacklogOrder = "seed"
    simulated_orders_wait: bool = True
    """Whether stops and goodAfterTime sleep while the link is lost."""
    resubmit_orders: bool = True
    """Whether orders and cancels of the meantime are transmitted later, or lost."""
    resubmit_delay_s: float = 1.0
    mute: frozenset[int] = frozenset()
    """Message ids of clients that are taken and never answered; may change."""
    extra: dict[str, object] = field(default_factory=dict)


def copy_order(order: BrokerOrder) -> BrokerOrder:
    """Return a copy that later changes do not touch."""
    return replace(order)
