"""What may go wrong with a gateway, as data that reads like sentences.

`LinkLost(at="15:41", for_s=90)`, `Reject(201, leg="TP")`, `Linger(for_s=40)`: see
daemon.fakegateway.scenario for how they are played.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from daemon.fakegateway.door import Doorway
from daemon.fakegateway.plot import (
    FillBeyondCancel,
    LateReject,
    OrderFault,
    Reject,
    Remark,
    Stick,
    Swallow,
    Timed,
)
from daemon.fakegateway.restart import RestartTerms
from daemon.fakegateway.values import Contract, OrderTicket, Refusal
from daemon.fakegateway.world import World

__all__ = [
    "REQUESTS",
    "Busy",
    "CommissionLate",
    "Correct",
    "Deaf",
    "Drop",
    "DuplicateStatus",
    "Empty",
    "ExecutionLate",
    "Fault",
    "FillBeyondCancel",
    "Freeze",
    "LateReject",
    "Linger",
    "LinkLost",
    "MissingStatus",
    "Mute",
    "OrderFault",
    "Refuse",
    "Reject",
    "Remark",
    "Restart",
    "Say",
    "Script",
    "Stick",
    "Swallow",
    "Temper",
    "Undo",
]

Undo = Callable[[], None]
REQUESTS = {
    "startApi": 71,
    "placeOrder": 3,
    "cancelOrder": 4,
    "openOrders": 5,
    "allOpenOrders": 16,
    "accountUpdates": 6,
    "executions": 7,
    "contractDetails": 9,
    "currentTime": 49,
    "positions": 61,
    "completedOrders": 99,
}
"""Messages of clients by the names that `Mute` takes."""


@dataclass(frozen=True, slots=True)
class Fault(Timed, ABC):
    """A fault of the gateway as a whole."""

    @abstractmethod
    def begin(self, world: World) -> Undo:
        """Let it begin; return what ends it."""


# --- link and process -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkLost(Fault):
    """The gateway loses its broker (1100), then 1101 if *data_lost*, else 1102."""

    data_lost: bool = False

    def begin(self, world: World) -> Undo:
        """Cut the link; joined again at the end."""
        world.lose_link()
        return partial(world.restore_link, data_lost=self.data_lost)


@dataclass(frozen=True, slots=True)
class Restart(Fault):
    """The gateway's process ends and comes back; see RestartTerms."""

    down_s: float = 30.0
    empty_s: float = 0.0
    deaf_s: float = 0.0
    linger_s: float = 0.0
    forget_untransmitted: bool = True
    forget_completed: bool = True
    next_id: int | None = None

    def begin(self, world: World) -> Undo:
        """End the process; it comes back by itself."""
        world.restart(
            RestartTerms(
                down_s=self.down_s,
                empty_s=self.empty_s,
                deaf_s=self.deaf_s,
                linger_s=self.linger_s,
                forget_untransmitted=self.forget_untransmitted,
                forget_completed=self.forget_completed,
                next_id=self.next_id,
            )
        )
        return _nothing


@dataclass(frozen=True, slots=True)
class _AtTheDoor(Fault):
    doorway = Doorway.SHUT

    def begin(self, world: World) -> Undo:
        """End every connection and treat new ones as told."""
        world.drop_clients()
        world.door.turn(self.doorway)
        return partial(world.door.turn, Doorway.OPEN)


@dataclass(frozen=True, slots=True)
class Refuse(_AtTheDoor):
    """Nothing listens."""


@dataclass(frozen=True, slots=True)
class Empty(_AtTheDoor):
    """Connections are accepted and ended at once."""

    doorway = Doorway.EMPTY


@dataclass(frozen=True, slots=True)
class Deaf(_AtTheDoor):
    """Connections are accepted and never answered."""

    doorway = Doorway.DEAF


@dataclass(frozen=True, slots=True)
class Freeze(Fault):
    """The process stands still; what lies in its sockets is processed afterwards."""

    def begin(self, world: World) -> Undo:
        """Stop the process; it goes on at the end."""
        world.freeze()
        return world.thaw


@dataclass(frozen=True, slots=True)
class Drop(Fault):
    """Every connection is cut."""

    def begin(self, world: World) -> Undo:
        """Cut them."""
        world.drop_clients()
        return _nothing


@dataclass(frozen=True, slots=True)
class Linger(Fault):
    """*client_id* is held (326), as by a session that is half open; it is cut."""

    client_id: int

    def begin(self, world: World) -> Undo:
        """Cut and hold it; without an end for a year."""
        world.hold_client_id(self.client_id, self.for_s or 365 * 86_400.0)
        world.drop(self.client_id)
        return _nothing


@dataclass(frozen=True, slots=True)
class Mute(Fault):
    """The named requests are taken and never answered; without names every one."""

    requests: tuple[str, ...] = ()

    def begin(self, world: World) -> Undo:
        """Fall silent; answer again at the end."""
        muted = frozenset(REQUESTS[name] for name in self.requests or REQUESTS)
        return _set(world, "mute", world.settings.mute | muted)


@dataclass(frozen=True, slots=True)
class Say(Fault):
    """A notice to every session, such as 2103; it has no effect."""

    code: int
    text: str = "A notice"

    def begin(self, world: World) -> Undo:
        """Say it once."""
        world.broadcast(Refusal(self.code, self.text))
        return _nothing


# --- temper -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Temper(Fault):
    """A setting of the gateway has another value."""

    setting: str
    value: object

    def begin(self, world: World) -> Undo:
        """Change it; changed back at the end."""
        return _set(world, self.setting, self.value)


@dataclass(frozen=True, slots=True)
class DuplicateStatus(Fault):
    """Each orderStatus is sent twice."""

    def begin(self, world: World) -> Undo:
        """Say everything twice."""
        return _set(world, "duplicate_statuses", value=True)


@dataclass(frozen=True, slots=True)
class MissingStatus(Fault):
    """An orderStatus is not sent, with this *chance*."""

    chance: float = 1.0

    def begin(self, world: World) -> Undo:
        """Leave some out."""
        return _set(world, "missing_statuses", self.chance)


@dataclass(frozen=True, slots=True)
class ExecutionLate(Fault):
    """Executions are told and listed *by_s* after their orderStatus."""

    by_s: float = 2.0

    def begin(self, world: World) -> Undo:
        """Hold them back."""
        return _set(world, "execution_lag_s", self.by_s)


@dataclass(frozen=True, slots=True)
class CommissionLate(Fault):
    """Each commission is reported *for_s* after its execution; 0: never."""

    def begin(self, world: World) -> Undo:
        """Hold them back, for good."""
        return _for_good(world, "commission_delay_s", self.for_s or None)


@dataclass(frozen=True, slots=True)
class Busy(Fault):
    """Sessions may send only *rate* messages a second."""

    rate: int = 50

    def begin(self, world: World) -> Undo:
        """Allow less."""
        return _set(world, "message_rate", self.rate)


# --- trades and strangers -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Correct(Fault):
    """The latest execution of *symbol* is corrected; zero *shares* is a bust."""

    symbol: str
    shares: int | None = None
    price: str | None = None

    def begin(self, world: World) -> Undo:
        """Send the next revision; nothing where the symbol did not trade."""
        traded = [
            one for one in world.executions() if one.contract.symbol == self.symbol
        ]
        if traded:
            world.correct(
                traded[-1].exec_id,
                shares=None if self.shares is None else Decimal(self.shares),
                price=None if self.price is None else Decimal(self.price),
            )
        return _nothing


@dataclass(frozen=True, slots=True)
class Script(Fault):
    """Another program takes *client_id*, trades under it, and leaves at the end.

    It comes to nothing while the id is in use. *cancels* are order ids.
    """

    client_id: int
    side: str = "BUY"
    quantity: int = 0
    symbol: str = ""
    order_type: str = "MKT"
    price: str | None = None
    order_ref: str = ""
    cancels: tuple[int, ...] = ()

    def begin(self, world: World) -> Undo:
        """Come, cancel and place."""
        if not world.attach(self.client_id, lambda _: None):
            return _nothing
        for order_id in self.cancels:
            world.cancel(self.client_id, order_id)
        if self.quantity:
            order_id = world.next_valid_id(self.client_id)
            account = world.settings.accounts[0]
            world.place(self.client_id, self._ticket(order_id, account))
        return partial(world.detach, self.client_id)

    def _ticket(self, order_id: int, account: str) -> OrderTicket:
        price = None if self.price is None else Decimal(self.price)
        return OrderTicket(
            order_id=order_id,
            contract=Contract(symbol=self.symbol),
            action=self.side,
            quantity=Decimal(self.quantity),
            order_type=self.order_type,
            limit_price=price if self.order_type == "LMT" else None,
            aux_price=price if self.order_type == "STP" else None,
            tif="DAY",
            account=account,
            order_ref=self.order_ref,
        )


# --- helpers ------------------------------------------------------------------------


def _nothing() -> None:
    """End what ended by itself."""


def _set(world: World, setting: str, value: object) -> Undo:
    before = getattr(world.settings, setting)
    setattr(world.settings, setting, value)
    return partial(setattr, world.settings, setting, before)


def _for_good(world: World, setting: str, value: object) -> Undo:
    _set(world, setting, value)
    return _nothing
