"""The values that flow through the daemon, in IBKR's and FIX's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NewType

Account = NewType("Account", str)
OrderRef = NewType("OrderRef", str)
OrderId = NewType("OrderId", int)
PermId = NewType("PermId", int)
ExecId = NewType("ExecId", str)
ConId = NewType("ConId", int)


class Side(StrEnum):
    """Direction of an order or a fill."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """Return +1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """The order types that the daemon sends or knows, as IBKR spells them."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    MARKET_ON_CLOSE = "MOC"


class Leg(StrEnum):
    """What an order is for; the fourth word of its reference."""

    ENTRY = "EN"
    TAKE_PROFIT = "TP"
    STOP_LOSS = "SL"
    TIMED_EXIT = "TX"
    MARKET_ON_CLOSE = "MOC"
    MARKET = "MKT"


class Bracket(StrEnum):
    """Which part of a plan row an order belongs to; X is the whole symbol."""

    A = "A"
    B = "B"
    WHOLE = "X"


@dataclass(frozen=True, slots=True)
class Session:
    """One trading session of the exchange; *open* and *close* are aware."""

    date: date
    open: datetime
    close: datetime
    half_day: bool = False

    @property
    def cutoff(self) -> datetime:
        """Return close-10m: no MOC may be entered or cancelled after it.

        NYSE Rule 7.35(a)(8); earlier than Nasdaq's entry cutoff, so safe on both.
        """
        return self.close - timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Contract:
    """One stock as the gateway knows it; prices in units of *min_tick* USD."""

    con_id: ConId
    symbol: str
    exchange: str = "SMART"
    primary_exchange: str = ""
    currency: str = "USD"
    min_tick: Decimal = Decimal("0.01")
    order_types: frozenset[str] = frozenset()
    liquid_hours: str = ""
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One order that we intend to send; quantities in whole shares."""

    order_ref: OrderRef
    account: Account
    contract: Contract
    side: Side
    quantity: int
    order_type: OrderType
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = "DAY"
    good_till: datetime | None = None
    good_after: datetime | None = None
    oca_group: str = ""
    oca_type: int = 0
    parent_ref: OrderRef | None = None
    transmit: bool = True
    expires_at: datetime | None = None
    """After this instant the intent is never sent (law I8)."""


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """One open order as the gateway told it (openOrder and orderStatus)."""

    order_id: OrderId
    perm_id: PermId
    client_id: int
    order_ref: OrderRef
    account: Account
    con_id: ConId
    symbol: str
    side: Side
    quantity: Decimal
    order_type: str
    status: str
    filled: Decimal = Decimal(0)
    remaining: Decimal = Decimal(0)
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    parent_id: OrderId = OrderId(0)
    oca_group: str = ""
    why_held: str = ""


@dataclass(frozen=True, slots=True)
class CompletedOrder:
    """One order that the gateway calls done; it has no order id on the wire."""

    perm_id: PermId
    order_ref: OrderRef
    account: Account
    con_id: ConId
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    status: str


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution; *price* in USD a share, *time* aware."""

    exec_id: ExecId
    order_ref: OrderRef
    order_id: OrderId
    perm_id: PermId
    client_id: int
    account: Account
    con_id: ConId
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    time: datetime
    exchange: str = ""

    @property
    def key(self) -> str:
        """Return the exec id without its revision (the part after the last dot)."""
        return self.exec_id.rpartition(".")[0] or self.exec_id


@dataclass(frozen=True, slots=True)
class Commission:
    """The commission of one execution; None means "not known yet"."""

    exec_id: ExecId
    amount: Decimal | None
    currency: str = "USD"
    realized_pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """One position; *quantity* is signed, *average_cost* in USD a share."""

    account: Account
    con_id: ConId
    symbol: str
    quantity: Decimal
    average_cost: Decimal = Decimal(0)
    sec_type: str = "STK"


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """One orderStatus message, or the status inside an openOrder."""

    order_id: OrderId
    perm_id: PermId
    client_id: int
    order_ref: OrderRef
    status: str
    filled: Decimal
    remaining: Decimal
    average_price: Decimal | None = None
    why_held: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """One error message of the gateway; *order_id* is -1 without an order."""

    order_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class LinkChange:
    """The session's state changed: ready, lost."""

    connected: bool
    cause: str = ""


BrokerEvent = OrderUpdate | WorkingOrder | Fill | Commission | Notice | LinkChange


@dataclass(frozen=True, slots=True)
class Funds:
    """What the account has, in USD; None where the gateway did not say."""

    net_liquidation: Decimal | None
    available: Decimal | None
    buying_power: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete sync: every part was ended by its End message."""

    at: datetime
    at_s: float
    """Seconds on a clock that nobody sets: what lies between two answers."""
    positions: tuple[Position, ...]
    open_orders: tuple[WorkingOrder, ...]
    completed_orders: tuple[CompletedOrder, ...]
    fills: tuple[Fill, ...]
    commissions: tuple[Commission, ...]
    foreign_orders: tuple[WorkingOrder, ...] = ()


class OrderState(StrEnum):
    """Life of one order: design section 5."""

    INTENDED = "intended"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def terminal(self) -> bool:
        """Return whether the broker's last word has been heard."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
    }
)


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """What we know of one order of ours: intent, ids, state and evidence."""

    order: Order
    session: date
    order_id: OrderId
    state: OrderState = OrderState.INTENDED
    perm_id: PermId = PermId(0)
    filled: Decimal = Decimal(0)
    remaining: Decimal | None = None
    code: int | None = None
    """The code of the notice that ended or last touched the order."""
    text: str = ""
    executions: tuple[Fill, ...] = ()
    """The executions heard so far, each once; their sum makes the order filled."""

    @property
    def order_ref(self) -> OrderRef:
        """Return the reference of the order."""
        return self.order.order_ref


class RowStatus(StrEnum):
    """What became of a plan row; every row ends in exactly one."""

    SUBMITTED = "submitted"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """The account of one plan row; *line* counts from 1, the header included."""

    line: int
    symbol: str
    status: RowStatus
    reason: str = ""


class JobOutcome(StrEnum):
    """How a scheduled job ended; every one ends in exactly one of these."""

    DONE = "done"
    SKIPPED = "skipped"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job has to say: its outcome and the evidence, ready for JSON."""

    outcome: JobOutcome
    summary: str
    detail: dict[str, object] = field(default_factory=dict)


class Severity(StrEnum):
    """How loud a message is."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Message:
    """One message for the person."""

    severity: Severity
    subject: str
    body: str
    key: str = ""
    """What it is about; of messages with the same key only the first is told."""
