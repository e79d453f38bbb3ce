"""The tap: ib_async's decoded messages become our values, before it judges them.

ib_async turns any unknown error code on an order into a local "Cancelled", drops
fills of orders it does not know, and de-duplicates. The tap stands between its
decoder and its wrapper, so that the daemon sees what the gateway said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging import DEBUG, Filter, LogRecord, getLogger

import ib_async
from ib_async.client import Client
from ib_async.wrapper import Wrapper

from daemon.broker import convert
from daemon.broker.stream import Doubt, GuardedConnection, GuardedDecoder
from daemon.core.model import (
    BrokerEvent,
    Commission,
    CompletedOrder,
    Notice,
    OrderUpdate,
    WorkingOrder,
)

Emit = Callable[[BrokerEvent], None]


class Tap(Wrapper):
    """An ib_async wrapper that tells *emit* first."""

    def __init__(self, ib: ib_async.IB, emit: Emit) -> None:
        super().__init__(ib, defaults=ib.wrapper.defaults)
        self.emit = emit
        self.open_orders: dict[tuple[int, int, int], WorkingOrder] | None = None
        """While an open-orders request is under way: its answer so far."""
        self.completed_orders: list[CompletedOrder] | None = None
        self.commissions: list[Commission] | None = None
        """While executions are asked for: the reports between them."""
        self.first_order_id = 0
        """The lowest order id that the gateway allows on this connection."""

    def nextValidId(self, reqId: int) -> None:  # noqa: N802, N803  (ib_async's names)
        """Keep what the gateway offered first; a lower one than before is news."""
        self.first_order_id = self.first_order_id or reqId
        super().nextValidId(reqId)

    def updateAccountValue(  # noqa: N802
        self, tag: str, val: str, currency: str, account: str
    ) -> None:
        """Take no value that we calculate with and that is no number."""
        if tag in convert.FUNDS:
            convert.funds(val)
        super().updateAccountValue(tag, val, currency, account)

    def contractDetails(  # noqa: N802
        self,
        reqId: int,  # noqa: N803
        contractDetails: ib_async.ContractDetails,  # noqa: N803
    ) -> None:
        """Take an answer; ib_async would fail on one that nobody waits for."""
        if reqId in self._futures:
            super().contractDetails(reqId, contractDetails)

    def openOrder(  # noqa: N802  (ib_async's name)
        self,
        orderId: int,  # noqa: N803
        contract: ib_async.Contract,
        order: ib_async.Order,
        orderState: ib_async.OrderState,  # noqa: N803
    ) -> None:
        """Tell the order; collect it while an answer is awaited."""
        if not order.whatIf:
            working = convert.from_open_order(contract, order, orderState.status)
            if self.open_orders is not None:
                key = (working.client_id, working.order_id, working.perm_id)
                self.open_orders[key] = working
            self.emit(working)
        super().openOrder(orderId, contract, order, orderState)

    def orderStatus(  # noqa: N802, PLR0913, PLR0917  (ib_async's name and fields)
        self,
        orderId: int,  # noqa: N803
        status: str,
        filled: float,
        remaining: float,
        avgFillPrice: float,  # noqa: N803
        permId: int,  # noqa: N803
        parentId: int,  # noqa: N803
        lastFillPrice: float,  # noqa: N803
        clientId: int,  # noqa: N803
        whyHeld: str,  # noqa: N803
        mktCapPrice: float = 0.0,  # noqa: N803
    ) -> None:
        """Tell the status; complete the collected order with it."""
        update = convert.order_update(
            orderId,
            permId,
            clientId,
            status=status,
            filled=filled,
            remaining=remaining,
            average_price=avgFillPrice,
            why_held=whyHeld,
        )
        self._complete(update)
        self.emit(update)
        super().orderStatus(
            orderId,
            status,
            filled,
            remaining,
            avgFillPrice,
            permId,
            parentId,
            lastFillPrice,
            clientId,
            whyHeld,
            mktCapPrice,
        )

    def _complete(self, update: OrderUpdate) -> None:
        if self.open_orders is None:
            return
        key = (update.client_id, update.order_id, update.perm_id)
        if working := self.open_orders.get(key):
            self.open_orders[key] = replace(
                working,
                status=update.status,
                filled=update.filled,
                remaining=update.remaining,
                why_held=update.why_held,
            )

    def execDetails(  # noqa: N802
        self,
        reqId: int,  # noqa: N803
        contract: ib_async.Contract,
        execution: ib_async.Execution,
    ) -> None:
        """Tell the fill, live or repeated; the journal keeps each once."""
        self.emit(convert.from_execution(contract, execution))
        super().execDetails(reqId, contract, execution)

    def commissionReport(  # noqa: N802
        self,
        commissionReport: ib_async.CommissionReport,  # noqa: N803
    ) -> None:
        """Tell the commission before ib_async turns the sentinel into 0."""
        commission = convert.from_commission(commissionReport)
        if self.commissions is not None:
            self.commissions.append(commission)
        self.emit(commission)
        super().commissionReport(commissionReport)

    def completedOrder(  # noqa: N802
        self,
        contract: ib_async.Contract,
        order: ib_async.Order,
        orderState: ib_async.OrderState,  # noqa: N803
    ) -> None:
        """Collect the order; ib_async would fail on an unsolicited one."""
        if self.completed_orders is None:
            return
        completed = convert.from_completed(contract, order, orderState.status)
        self.completed_orders.append(completed)
        super().completedOrder(contract, order, orderState)

    def error(
        self,
        reqId: int,  # noqa: N803
        errorCode: int,  # noqa: N803
        errorString: str,  # noqa: N803
        advancedOrderRejectJson: str,  # noqa: N803
    ) -> None:
        """Tell the notice, whatever ib_async makes of its code.

        Requests and orders share one counter, and the gateway may have reset it: the
        refusal of a request must not name an old order that had the same id.
        """
        order_id = -1 if reqId in self._futures else reqId
        self.emit(Notice(order_id=order_id, code=errorCode, text=errorString))
        super().error(reqId, errorCode, errorString, advancedOrderRejectJson)


class TappedIB(ib_async.IB):
    """An IB whose wrapper is a tap; made anew for every connection attempt.

    *doubt* is told, once, that the gateway sent what cannot be read; nothing that
    came after it is taken.
    """

    def __init__(self, emit: Emit, doubt: Doubt) -> None:
        super().__init__()
        self.RaiseRequestErrors = True
        self.tap = Tap(self, emit)
        self.wrapper = self.tap
        self.client = Client(self.tap)  # type: ignore[no-untyped-call] # ib_async's
        self.guard = GuardedConnection(self.client.conn, doubt)
        self.client.conn = self.guard
        self.client.decoder = GuardedDecoder(self.tap, self.guard.doubt)
        self.client.MaxRequests = 0  # our pacer spreads the messages, nothing queues
        self.client.apiEnd += self.disconnectedEvent


class RepeatedRecords(Filter):
    """Keeps ib_async's records of what the daemon logs itself at DEBUG.

    A refused connection, a closed socket and each error code arrive here as ERROR
    although they are events of the session, logged once by their own names.
    """

    _PATTERN = re.compile(
        r"^(API connection failed|Make sure API port|Peer closed connection"
        r"|(Error|Warning) -?\d+, reqId|Canceled order: "
        r"|\[Errno \d+\] "
        r"|IBKR API validation warning|cancelOrder: Unknown orderId"
        r"|\w[\w ]* request timed out"
        r"|(placeOrder|openOrder|orderStatus|execDetails|commissionReport)\b"
        r"|(position|updatePortfolio): )"
    )

    def filter(self, record: LogRecord) -> bool:
        """Return whether the record is written, after demoting it to DEBUG."""
        if self._PATTERN.match(record.getMessage()):
            record.levelno, record.levelname = DEBUG, "DEBUG"
            return getLogger(record.name).isEnabledFor(DEBUG)
        return True


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the repeated records of ib_async's loggers away while the block runs."""
    repeated = RepeatedRecords()
    loggers = [getLogger(f"ib_async.{name}") for name in ("client", "wrapper", "ib")]
    for logger in loggers:
        logger.addFilter(repeated)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(repeated)
