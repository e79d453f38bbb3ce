"""The world behind the wire: one broker, one exchange, outliving every session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from daemon.fakegateway import restart
from daemon.fakegateway.api import Listener, WorldClock
from daemon.fakegateway.books import Books
from daemon.fakegateway.cache import Cache
from daemon.fakegateway.credit import Credit
from daemon.fakegateway.door import Door
from daemon.fakegateway.floor import Floor
from daemon.fakegateway.intake import Intake
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.link import Link
from daemon.fakegateway.listings import Directory
from daemon.fakegateway.orderbook import OrderBook
from daemon.fakegateway.plot import OrderFault, Plot
from daemon.fakegateway.prices import Prices
from daemon.fakegateway.reports import Reports, Surroundings
from daemon.fakegateway.restart import RestartTerms
from daemon.fakegateway.roster import Roster, Seat
from daemon.fakegateway.sessions import MOC_FREEZE, Sessions, hours
from daemon.fakegateway.tape import Tape
from daemon.fakegateway.trades import Trades
from daemon.fakegateway.values import (
    AccountValue,
    Bar,
    BrokerOrder,
    CommissionReport,
    Contract,
    Execution,
    GatewaySettings,
    Holding,
    Listing,
    MarketSession,
    OrderTicket,
    Quote,
    Refusal,
)


class World:
    """Clients, orders, positions, prices; every answer is a copy.

    Orders are answered by events to the listeners that may see them, a latency
    later and never inside the call. The same seed and the same calls at the same
    times give the same ledger, byte for byte.
    """

    def __init__(  # noqa: PLR0913 - the parts of a world, all by name
        self,
        *,
        clock: WorldClock,
        sessions: Sequence[MarketSession],
        listings: Sequence[Listing],
        settings: GatewaySettings,
        prices: Prices,
        ledger: Ledger,
        seed: int,
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.door = Door()
        self._ledger = ledger
        self._sessions = Sessions(sessions)
        self._write_sessions()
        self._directory = Directory(listings, self._write_listing)
        self._books = Books(settings.accounts, settings.cash)
        self._roster = Roster(clock, ledger, settings)
        self._link = Link(clock, ledger, settings, self._roster, seed)
        self._tape = Tape(self._sessions, prices)
        self._book = OrderBook()
        self._plot = Plot()
        around = Surroundings(
            clock=clock,
            sessions=self._sessions,
            settings=settings,
            prices=prices,
            ledger=ledger,
            roster=self._roster,
            link=self._link,
            books=self._books,
            plot=self._plot,
            seed=seed,
        )
        reports = Reports(around)
        self._trades = Trades(around, reports)
        self._credit = Credit(around, self._book, self._tape)
        self._floor = Floor(around, self._book, reports, self._trades)
        self._intake = Intake(
            around, self._directory, self._book, reports, self._credit, self._floor
        )
        self._cache = Cache(settings.accounts, self._book, self._trades, self._credit)
        self._midnight = self._last_midnight()

    # --- clients --------------------------------------------------------------

    def attach(
        self,
        client_id: int,
        listener: Listener,
        *,
        disconnect: Callable[[], None] | None = None,
    ) -> bool:
        """Open a session; False when *client_id* is in use or held.

        *disconnect* lets the gateway cut the connection; its owner then detaches.
        """
        return self._roster.attach(client_id, Seat(listener, disconnect))

    def detach(self, client_id: int) -> None:
        """Close the session of *client_id*; its orders live on."""
        self._roster.detach(client_id)
        if self.settings.untransmitted_vanish:
            self._intake.forget_untransmitted(client_id)

    def next_valid_id(self, client_id: int) -> int:
        """Return the next order id of *client_id*, persistent over sessions."""
        return self._roster.highest_id(client_id) + 1

    # --- faults ---------------------------------------------------------------

    def drop(self, client_id: int) -> None:
        """Cut the connection of *client_id*."""
        self._roster.drop(client_id)

    def drop_clients(self) -> None:
        """Cut every connection."""
        self._roster.drop_all()

    def hold_client_id(self, client_id: int, for_s: float) -> None:
        """Refuse *client_id* for *for_s* seconds (326)."""
        self._roster.hold(client_id, for_s)

    def broadcast(self, notice: Refusal) -> None:
        """Tell every session *notice*, such as 2104; it has no effect."""
        self._roster.broadcast(notice)

    @property
    def greeting(self) -> Refusal | None:
        """Return what a session that starts now is told of the broker's link."""
        return self._link.greeting

    @property
    def link_up(self) -> bool:
        """Return whether the gateway is connected to its broker."""
        return self._link.up

    def lose_link(self) -> None:
        """Cut the gateway off from its broker (1100); the exchange goes on."""
        self._turn_day()
        self._cache.hold()
        self._link.lose()

    def restore_link(self, *, data_lost: bool) -> None:
        """Join gateway and broker again: 1101 where *data_lost*, else 1102."""
        self._cache.follow()
        self._link.restore(data_lost=data_lost)
        self._floor.wake()

    def restart(self, terms: RestartTerms) -> None:
        """Let the gateway's process end and come back as *terms* say."""
        self._ledger.write("restarted", self.clock.now(), next_id=terms.next_id)
        restart.begin(terms, self.clock, self.door, self._roster)
        self._cache.follow()
        self._link.reset()
        self._floor.wake()
        if terms.forget_untransmitted:
            self._intake.forget_untransmitted()
        if terms.forget_completed:
            self._book.forget_done()
        if terms.next_id is not None:
            self._roster.roll_back(terms.next_id)

    def freeze(self) -> None:
        """Let the gateway's process stand still; broker and exchange go on."""
        self.door.freeze()

    def thaw(self) -> None:
        """Let the process go on: what lies in its sockets is processed now."""
        self.door.thaw()

    def plot(self, fault: OrderFault) -> None:
        """Let *fault* happen to the orders that fit from now on."""
        self._plot.add(fault)

    def unplot(self, fault: OrderFault) -> None:
        """Let *fault* happen no more."""
        self._plot.remove(fault)

    def correct(
        self,
        exec_id: str,
        *,
        shares: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Execution:
        """Send the next revision of an execution; zero *shares* busts the trade.

        Raises:
            ValueError: the gateway knows no such execution any more.
        """
        wrong = {one.exec_id: one for one in self._trades.executions(None)}.get(exec_id)
        working = None if wrong is None else self._book.called(wrong.perm_id)
        if wrong is None or working is None:
            raise ValueError(f"no execution {exec_id!r}")
        return self._trades.correct(
            working,
            wrong,
            wrong.shares if shares is None else shares,
            wrong.price if price is None else price,
        )

    def endow(
        self, account: str, symbol: str, quantity: Decimal, average_cost: Decimal
    ) -> None:
        """Give *account* a position carried over from an earlier day.

        Raises:
            ValueError: the exchange has no such *symbol*.
        """
        listings = self.resolve(Contract(symbol=symbol))
        if not listings:
            raise ValueError(f"no listing for {symbol!r}")
        holding = Holding(account, listings[0].contract, quantity, average_cost)
        self._books.endow(holding)
        self._trades.position(holding)
        self._trades.show(holding)

    # --- orders ---------------------------------------------------------------

    def place(self, client_id: int, ticket: OrderTicket) -> None:
        """Take an order, or the modification of one that exists."""
        self._turn_day()
        self._intake.place(client_id, ticket)

    def preview(self, client_id: int, ticket: OrderTicket) -> BrokerOrder | Refusal:
        """Return what *ticket* would become; it never lives."""
        return self._intake.preview(client_id, ticket)

    def cancel(self, client_id: int, order_id: int) -> None:
        """Ask for the end of one order."""
        self._turn_day()
        self._intake.cancel(client_id, order_id)

    def global_cancel(self, client_id: int) -> None:
        """Ask for the end of every order of every client."""
        self._intake.global_cancel(client_id)

    # --- questions ------------------------------------------------------------

    def open_orders(self, client_id: int) -> list[BrokerOrder]:
        """Return the client's transmitted orders that are not done."""
        return [one for one in self.all_open_orders() if one.client_id == client_id]

    def all_open_orders(self) -> list[BrokerOrder]:
        """Return every client's transmitted orders that are not done."""
        return self._cache.open_orders()

    def completed_orders(self) -> list[BrokerOrder]:
        """Return the orders that were done on the gateway's day."""
        self._turn_day()
        return self._cache.completed_orders()

    def executions(self, client_id: int | None = None) -> list[Execution]:
        """Return the executions since the gateway's midnight; None: everybody's."""
        self._turn_day()
        return self._cache.executions(client_id)

    def commissions(self, executions: Iterable[Execution]) -> list[CommissionReport]:
        """Return the reports that were already sent for *executions*."""
        return self._cache.commissions(executions)

    def holdings(self, account: str | None = None) -> list[Holding]:
        """Return the positions as reported, which lags behind the fills."""
        self._turn_day()
        return self._cache.holdings(account)

    def account_values(self, account: str) -> list[AccountValue]:
        """Return the account's values under their real names; "" is the first one's.

        An account that the gateway does not serve has none.
        """
        return self._cache.account_values(account or self.settings.accounts[0])

    def resolve(self, contract: Contract) -> list[Listing]:
        """Return the listings that *contract* names; empty: none."""
        listing = self._directory.find(contract)
        return [] if listing is None else [listing]

    def hours(self, listing: Listing) -> tuple[str, str]:
        """Return tradingHours and liquidHours as contract details show them."""
        zone = ZoneInfo(listing.time_zone)
        return hours(self._sessions, self.clock.now().astimezone(zone).date(), zone)

    def quote(self, symbol: str) -> Quote:
        """Return the market of *symbol* at this moment; empty without a session."""
        return self._tape.quote(symbol, self.clock.now())

    def bars(
        self, symbol: str, end: datetime, duration_s: int, bar_s: int
    ) -> list[Bar]:
        """Return the bars of the *duration_s* before *end*, oldest first."""
        begin = end - timedelta(seconds=duration_s)
        return self._tape.bars(symbol, begin, min(end, self.clock.now()), bar_s)

    # --- the gateway's day ----------------------------------------------------

    def _last_midnight(self) -> datetime:
        zone = ZoneInfo(self.settings.midnight_zone)
        local = self.clock.now().astimezone(zone)
        return local.replace(hour=0, minute=0, second=0, microsecond=0)

    def _turn_day(self) -> None:
        """Forget what the gateway forgets at its midnight."""
        midnight = self._last_midnight()
        if midnight == self._midnight:
            return
        self._midnight = midnight
        self._book.forget_before(midnight)
        self._trades.forget_before(midnight)
        self._books.turn_day()

    # --- the ledger -----------------------------------------------------------

    def _write_sessions(self) -> None:
        for session in self._sessions:
            self._ledger.write(
                "session",
                self.clock.now(),
                date=session.date,
                open=session.open,
                close=session.close,
                cutoff=session.close - MOC_FREEZE,
            )

    def _write_listing(self, listing: Listing) -> None:
        self._ledger.write(
            "listing",
            self.clock.now(),
            con_id=listing.contract.con_id,
            symbol=listing.contract.symbol,
            exchange=listing.contract.primary_exchange,
            tradable=listing.tradable,
        )
