"""The gateway's clients: who is connected, which ids they used, who hears what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.fakegateway.api import Listener, WorldClock
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.values import Broadcast, GatewaySettings, Refusal, WorldEvent


@dataclass(frozen=True, slots=True)
class Seat:
    """A connected client."""

    listener: Listener
    disconnect: Callable[[], None] | None


class Roster:
    """Sessions by client id; ids that are held or in use are refused (326)."""

    def __init__(
        self, clock: WorldClock, ledger: Ledger, settings: GatewaySettings
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._settings = settings
        self._seats: dict[int, Seat] = {}
        self._held_until: dict[int, datetime] = {}
        self._highest: dict[int, int] = {}
        self._rolled_back: set[int] = set()

    def attach(self, client_id: int, seat: Seat) -> bool:
        """Seat a client; False when its id is in use or held."""
        now = self._clock.now()
        held = self._held_until.get(client_id, now) > now
        if held or client_id in self._seats:
            self._ledger.write("refused_client", now, client_id=client_id)
            return False
        self._seats[client_id] = seat
        self._ledger.write("connected", now, client_id=client_id)
        return True

    def detach(self, client_id: int) -> None:
        """Free the seat of *client_id*."""
        if self._seats.pop(client_id, None) is not None:
            self._ledger.write("disconnected", self._clock.now(), client_id=client_id)

    def hold(self, client_id: int, for_s: float) -> None:
        """Refuse *client_id* for *for_s* seconds, as a half-open session does."""
        self._held_until[client_id] = self._clock.now() + timedelta(seconds=for_s)

    def drop(self, client_id: int) -> None:
        """Cut the connection of *client_id* from the gateway's side."""
        seat = self._seats.get(client_id)
        if seat is None:
            return
        self._ledger.write("dropped", self._clock.now(), client_id=client_id)
        if seat.disconnect is None:
            self.detach(client_id)
        else:
            seat.disconnect()

    def drop_all(self) -> None:
        """Cut every connection."""
        for client_id in list(self._seats):
            self.drop(client_id)

    def highest_id(self, client_id: int) -> int:
        """Return the highest order id that *client_id* ever used, 0 if none."""
        return self._highest.get(client_id, 0)

    @property
    def client_ids(self) -> list[int]:
        """Return the client ids that are connected."""
        return list(self._seats)

    def rolled_back(self, client_id: int) -> bool:
        """Return whether the ids of *client_id* began anew since it first came."""
        return client_id in self._rolled_back

    def roll_back(self, next_id: int) -> None:
        """Let the order ids of every client begin anew at *next_id*."""
        self._rolled_back.update(self._highest)
        self._highest = dict.fromkeys(self._highest, next_id - 1)

    def use_id(self, client_id: int, order_id: int) -> None:
        """Remember that *client_id* used *order_id*."""
        self._highest[client_id] = max(self.highest_id(client_id), order_id)

    def tell(self, owner: int, event: WorldEvent) -> None:
        """Send *event* to its owner and to the Master client."""
        self.send(owner, event)
        master = self._settings.master_client_id
        if master is not None and master != owner:
            self.send(master, event)

    def tell_all(self, event: WorldEvent) -> None:
        """Send *event* to every session."""
        for client_id in list(self._seats):
            self.send(client_id, event)

    def broadcast(self, notice: Refusal) -> None:
        """Write *notice* down and send it to every session, about no order."""
        now = self._clock.now()
        self._ledger.write("notice", now, code=notice.code, text=notice.text)
        self.tell_all(Broadcast(notice))

    def send(self, client_id: int, event: WorldEvent) -> None:
        """Send *event* to the session of *client_id*, if there is one."""
        seat = self._seats.get(client_id)
        if seat is not None:
            seat.listener(event)
