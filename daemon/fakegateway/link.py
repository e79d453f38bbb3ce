"""The line between gateway and broker: cut, both sides keep what they had to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daemon.fakegateway import refusals
from daemon.fakegateway.api import Handle, WorldClock
from daemon.fakegateway.chance import draw
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.roster import Roster
from daemon.fakegateway.values import (
    BacklogOrder,
    Executed,
    GatewaySettings,
    OrderError,
    Refusal,
    WorldEvent,
)

BACKLOG_ORDERS: tuple[BacklogOrder, ...] = (
    "as_it_happened",
    "executions_last",
    "shuffled",
)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the broker said while nobody could hear it."""

    event: WorldEvent
    tell: Callable[[WorldEvent], None]


@dataclass(frozen=True, slots=True)
class _Held:
    """What a client sent while nobody could take it, and how it is lost."""

    act: Callable[[], None]
    lose: Callable[[], None]


class Link:
    """Carries the broker's words to the clients, and theirs to the broker.

    While it is lost the exchange and the broker go on. On restoration the broker's
    words are told late (1102) or never (1101); the clients' are taken late, or lost
    if the gateway does not maintain them.
    """

    def __init__(
        self,
        clock: WorldClock,
        ledger: Ledger,
        settings: GatewaySettings,
        roster: Roster,
        seed: int,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._settings = settings
        self._roster = roster
        self._seed = seed
        self._up = True
        self._losses = 0
        self._told: list[_Told] = []
        self._held: list[_Held] = []
        self._cry: Handle | None = None

    @property
    def up(self) -> bool:
        """Return whether gateway and broker hear each other."""
        return self._up

    # --- to the clients -------------------------------------------------------

    def tell(self, owner: int, event: WorldEvent) -> None:
        """Send *event* to its owner and to the Master client."""
        self._pass(event, lambda said: self._roster.tell(owner, said))

    def tell_error(self, event: OrderError) -> None:
        """Send an error on an order to the client that it names."""
        self._pass(event, lambda said: self._roster.send(event.client_id, said))

    def tell_all(self, event: WorldEvent) -> None:
        """Send *event* to every session."""
        self._pass(event, self._roster.tell_all)

    def _pass(self, event: WorldEvent, tell: Callable[[WorldEvent], None]) -> None:
        if self._up:
            tell(event)
        else:
            self._told.append(_Told(event, tell))

    # --- to the broker --------------------------------------------------------

    def take(
        self, act: Callable[[], None], lose: Callable[[], None] = lambda: None
    ) -> None:
        """Let *act* happen at the broker: now, or in its turn after a loss.

        *lose* is called instead where it never happens.
        """
        if self._up and not self._held:
            act()
        else:
            self._held.append(_Held(act, lose))

    # --- the loss -------------------------------------------------------------

    def lose(self) -> None:
        """Cut the line and tell every session, again and again."""
        if not self._up:
            return
        self._up = False
        self._losses += 1
        self._ledger.write("link_lost", self._clock.now())
        self._shout()

    def restore(self, *, data_lost: bool) -> None:
        """Join the line again; *data_lost*: nothing of the meantime is told."""
        if self._up:
            return
        self._silence()
        now = self._clock.now()
        self._ledger.write("link_restored", now, data_lost=data_lost)
        self._roster.broadcast(
            refusals.LINK_DATA_LOST if data_lost else refusals.LINK_DATA_KEPT
        )
        told, self._told = self._told, []
        self._up = True
        if not data_lost:
            for one in self._in_odd_order(told):
                one.tell(one.event)
        if self._settings.resubmit_orders:
            self._clock.call_later(self._settings.resubmit_delay_s, self._resubmit)
        else:
            self._lose_held()

    def reset(self) -> None:
        """Begin anew with the gateway's process: what was held died with it."""
        if not self._up:
            self._silence()
            self._ledger.write("link_restored", self._clock.now(), data_lost=True)
        self._told = []
        self._up = True
        self._lose_held()

    @property
    def greeting(self) -> Refusal | None:
        """Return what a session that starts now hears of the line; None: it is up."""
        if self._up:
            return None
        code = self._settings.link_lost_greeting
        return refusals.LINK_LOST if code == refusals.LINK_LOST.code else refusals.CUT

    def _shout(self) -> None:
        self._roster.broadcast(refusals.LINK_LOST)
        every_s = self._settings.link_lost_every_s
        self._cry = self._clock.call_later(every_s, self._shout)

    def _silence(self) -> None:
        if self._cry is not None:
            self._cry.cancel()
            self._cry = None

    def _resubmit(self) -> None:
        if not self._up:
            return  # lost again: the next restoration takes them
        held, self._held = self._held, []
        for one in held:
            one.act()

    def _lose_held(self) -> None:
        held, self._held = self._held, []
        for one in held:
            one.lose()

    def _in_odd_order(self, told: list[_Told]) -> list[_Told]:
        wanted = self._settings.backlog_order
        if wanted == "seed":
            chance = draw(self._seed, "backlog", self._losses)
            wanted = BACKLOG_ORDERS[int(chance * len(BACKLOG_ORDERS))]
        if wanted == "executions_last":
            return sorted(told, key=lambda one: isinstance(one.event, Executed))
        if wanted == "shuffled":
            places = [
                (draw(self._seed, "shuffle", self._losses, n), n)
                for n in range(len(told))
            ]
            return [told[n] for _, n in sorted(places)]
        return told
