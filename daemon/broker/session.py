"""The one session to the gateway: connect, guard, sync, watch, connect again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import ib_async
import structlog
from ib_async.wrapper import RequestError

from daemon.broker import resend, shapes
from daemon.broker.events import TappedIB, quietly
from daemon.broker.requests import Requests, SessionSettings
from daemon.core.connection import (
    Link,
    LinkInput,
    LinkNotice,
    Outage,
    advance,
    link_notice,
    new_port,
)
from daemon.core.model import (
    BrokerEvent,
    LinkChange,
    Notice,
    OrderId,
    Snapshot,
)
from daemon.core.redact import Redactor
from daemon.errors import (
    AccountRefused,
    ConfigError,
    ConnectionLost,
    GatewayGarbled,
    GatewayRefused,
    GatewayTimeout,
    IbkrdError,
    InvariantViolated,
    RequestRefused,
)
from daemon.ports import Clock

log = structlog.get_logger(__name__)

_SHOWN = 120
"""Characters of an unreadable message that are shown."""


def no_ids() -> OrderId:
    """Return the floor of the order ids where nothing was ever journaled."""
    return OrderId(0)


class GatewaySession(Requests):
    """Implements `ports.Broker`; `run` keeps the session alive for ever.

    Args:
        settings: the gateway's address, our one client id, the one account.
        clock: the wall clock.
        emit: takes every event of the broker, in the order of arrival.
        on_synced: reconciles; awaited before the session is called ready.
        busy: whether the heartbeat must be quick (orders in flight, a job near).
        jitter: spreads the retries.
        ids_above: the highest order id ever journaled: no request and no order of a
            connection has an id at or below it.
    """

    def __init__(  # noqa: PLR0913 # each is one port
        self,
        settings: SessionSettings,
        *,
        clock: Clock,
        emit: Callable[[BrokerEvent], None],
        on_synced: Callable[[Snapshot], Awaitable[None]],
        busy: Callable[[], bool],
        jitter: Random,
        ids_above: Callable[[], OrderId] = no_ids,
    ) -> None:
        super().__init__(settings, clock)
        self._emit_event = emit
        self._on_synced = on_synced
        self._busy = busy
        self._jitter = jitter
        self._ids_above = ids_above
        self._link = Link.DISCONNECTED
        self._ready = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self._resync = asyncio.Event()
        self._lost: asyncio.Future[str] | None = None
        self._named_end: GatewayRefused | GatewayGarbled | None = None
        """Why this connection ends, where the gateway gave the reason itself."""
        self._misses = 0
        self._outage: Outage | None = None
        """The broker is away behind the gateway: 1100 or 2110 was said."""
        self._outage_changed = asyncio.Event()
        self._followed = False
        """Whether the account's values are subscribed on this connection."""
        self._other_login = False
        self._moved_to = ""
        """The port that the gateway named with 1300, until a session stands."""
        self._resend: asyncio.Queue[resend.FamilySent] = asyncio.Queue()
        self._warned_of: set[str] = set()
        """The causes of this outage that were logged as warnings; repeats are DEBUG."""
        self.last_absence: datetime | None = None
        """When nobody listened at the gateway's port last."""
        self.clock_offset: timedelta | None = None
        """The gateway's clock less ours, at the last probe."""
        self.next_valid_id: OrderId | None = None
        """The lowest order id that the gateway offered on this connection."""
        self.offered: tuple[str, ...] = ()
        """The account ids that the gateway offered last."""
        self.last_failure = ""
        self.connected_since: datetime | None = None

    # --- state -------------------------------------------------------------

    @property
    def link(self) -> Link:
        """Return where the session stands."""
        return self._link

    @property
    def connected(self) -> bool:
        """Return whether a completely synced session stands."""
        return self._link is Link.READY

    async def wait_ready(self) -> None:
        """Wait until the session is synced and reconciled."""
        await self._ready.wait()

    async def wait_lost(self) -> None:
        """Wait until no ready session stands."""
        await self._down.wait()

    @property
    def trouble(self) -> str:
        """Return why no session stands, for a person; empty when one does."""
        return "" if self.connected else self.last_failure or "not connected yet"

    def _move(self, happened: LinkInput, cause: str = "") -> None:
        before, self._link = self._link, advance(self._link, happened)
        if before is self._link:
            return
        if self._link is Link.READY:
            self._ready.set()
            self._down.clear()
            self._emit_event(LinkChange(connected=True))
        elif before is Link.READY:
            self._ready.clear()
            self._down.set()
            self.last_failure = cause
            self._emit_event(LinkChange(connected=False, cause=cause))

    def _live(self) -> TappedIB:
        """Let nobody ask before ib_async is done: it asks for positions itself.

        Of two such requests at once one is never answered.
        """
        if self._link not in _STANDING:
            raise ConnectionLost("no session to the gateway")
        return super()._live()

    # --- the life of the session --------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again, until cancelled.

        Raises:
            AccountRefused: the gateway does not offer the configured account.
            ConfigError: no account is configured; the text names those offered, or
                why the gateway could not be asked.
        """
        try:
            with quietly():
                await self._connect_for_ever()
        finally:
            self._move(LinkInput.STOP, "stopped")
            self._close(abort=False)

    async def _connect_for_ever(self) -> None:
        failures = 0
        while True:
            try:
                await self._one_connection()
            except (ConnectionLost, RequestRefused) as exc:
                self._require_account(exc)
                failures = 1 if self._stood() else failures + 1
                self._fell(self._named_end or exc, failures)
            await asyncio.sleep(self._backoff(failures))

    def _stood(self) -> bool:
        """Return whether the session was ready long enough to count as sound.

        What becomes ready and falls again and again is one outage: its causes are
        warned of once, and it is not tried at the pace of a first failure.
        """
        if self.connected_since is None:
            return False
        stood = self._clock.now() - self.connected_since
        return stood.total_seconds() >= self._settings.stood_s

    def _require_account(self, exc: Exception) -> None:
        """Do not wait for a gateway only to say that no account is configured."""
        if not self._settings.account:
            raise ConfigError(
                "account.id is not set, and the gateway that could say which ids it "
                f"offers does not: {exc}"
            ) from exc

    def _backoff(self, failures: int) -> float:
        wait = self._settings.retry_first_s * 2.0 ** min(failures - 1, 8)
        return min(self._settings.retry_last_s, wait) * self._jitter.uniform(0.8, 1.2)

    def _fell(self, exc: Exception, failures: int) -> None:
        cause = str(exc)
        kind = exc.kind if isinstance(exc, GatewayGarbled) else _FIGURES.sub("", cause)
        if self._stood():
            self._warned_of.clear()
        level = log.debug if kind in self._warned_of else log.warning
        self._warned_of.add(kind)
        code = exc.code if isinstance(exc, GatewayRefused | RequestRefused) else None
        level("session.failed", cause=cause, code=code, attempt=failures)
        self.last_failure = cause
        self.connected_since = None
        self._move(LinkInput.LOST, cause)
        self._close(abort=True)

    async def _one_connection(self) -> None:
        self._move(LinkInput.ATTEMPT)
        await self._connect()
        self._move(LinkInput.ACCEPTED)
        self._raise_ids()
        self._guard_account()
        if self._outage is None:
            await self._sync_and_tell()
        else:
            self._degrade(self._outage.cause)
        async with asyncio.TaskGroup() as tasks:
            watchers = [
                tasks.create_task(work(), name=f"session.{name}")
                for name, work in (
                    ("heartbeat", self._heartbeat),
                    ("resync", self._resyncer),
                    ("look", self._looker),
                    ("resend", self._resender),
                )
            ]
            cause = await self._lost_future()
            for watcher in watchers:
                watcher.cancel()
        raise ConnectionLost(cause)

    def _raise_ids(self) -> None:
        """Let no request or order of this connection have an id that was journaled.

        Requests and orders share one counter: the refusal of a request must not
        name an old order.
        """
        ib, floor = super()._live(), self._ids_above()
        self.next_valid_id = OrderId(ib.tap.first_order_id)
        ib.client.updateReqId(floor + 1)  # type: ignore[no-untyped-call] # ib_async's

    async def _sync_and_tell(self) -> None:
        """Read everything; ready is only what nothing has overtaken meanwhile.

        After 1100 in between there is nothing to conclude until 1101 or 1102 comes,
        and each of these makes the resyncer read everything once more.
        """
        self._resync.clear()
        if not self._followed:
            await self.follow_account()
            self._followed = True
        snapshot = await self.sync()
        if self._sync_stands():
            await self._on_synced(snapshot)
        if self._sync_stands():
            self._announce()
            self._move(LinkInput.SYNCED)

    def _sync_stands(self) -> bool:
        return self._link is Link.SYNCING and not self._resync.is_set()

    def _announce(self) -> None:
        self.connected_since = self._clock.now()
        self.last_failure = self._moved_to = ""
        log.info(
            "session.ready",
            client_id=self.client_id,
            gateway=self._settings.address,
            account=self._settings.account,
            server_version=self._ib.client.serverVersion() if self._ib else None,
        )

    def _lost_future(self) -> asyncio.Future[str]:
        if self._lost is None:
            raise InvariantViolated("a connection without its future")
        return self._lost

    async def _connect(self) -> None:
        """Open a new IB; end at once with the reason where the gateway gives one."""
        ib = TappedIB(self._take, self._garbled)
        self._ib = ib
        self._named_end, self._doubt = None, ""
        self._misses, self._followed, self._other_login = 0, False, False
        self._families, self._resend = resend.Families(self.client_id), asyncio.Queue()
        self._pacer.new_connection()
        loop = asyncio.get_running_loop()
        if self._outage is not None:
            self._outage = Outage(self._outage.cause, loop.time(), inherited=True)
        lost = self._lost = loop.create_future()

        def on_closed(reason: str) -> None:
            text = f"the connection broke: {reason}" if reason else _CLOSED
            half = ib.guard.unfinished
            self.abort(f"{text} in the middle of a message ({half})" if half else text)

        ib.client.conn.disconnected += on_closed
        async with asyncio.TaskGroup() as tasks:
            attempt = tasks.create_task(
                self._open(ib), name=f"session.connect.{self.client_id}"
            )
            await asyncio.wait({attempt, lost}, return_when=asyncio.FIRST_COMPLETED)
            while not attempt.done():  # wait_for of Python 3.11 may swallow a cancel
                attempt.cancel()
                await asyncio.sleep(0)
        if self._named_end is not None:
            raise self._named_end
        failure = None if attempt.cancelled() else attempt.result()
        if attempt.cancelled() or _is_a_break(failure):
            raise ConnectionLost(
                f"{self._settings.address}: {self._doubt} during the handshake: the "
                "gateway behind the port may be down, or does not trust this address"
            ) from failure
        if failure is not None:
            raise self._named(failure) from failure
        if lost.done():
            raise ConnectionLost(lost.result())

    async def _open(self, ib: TappedIB) -> Exception | None:
        """Return the exception instead of raising: a task group would wrap it."""
        settings = self._settings
        try:
            await ib.connectAsync(
                settings.host,
                settings.port,
                clientId=settings.client_id,
                timeout=settings.connect_timeout_s,
                raiseSyncErrors=True,
                fetchFields=ib_async.ib.StartupFetchNONE,
            )
        except (OSError, TimeoutError, RequestError) as exc:
            return exc
        return None

    def _named(self, exc: Exception) -> ConnectionLost:
        where = self._settings.address
        if isinstance(exc, ConnectionRefusedError):
            self.last_absence = self._clock.now()
            return ConnectionLost(
                f"nothing listens on {where}: start the gateway, "
                f"enable its API, and look at its port{self._moved}"
            )
        if isinstance(exc, TimeoutError):
            return GatewayTimeout(
                f"{where} accepted the connection but did not finish the handshake "
                f"in {self._settings.connect_timeout_s:g} s: the gateway behind the "
                "port may be down, logged out or frozen"
            )
        return ConnectionLost(f"{where}: {str(exc) or type(exc).__name__}")

    @property
    def _moved(self) -> str:
        return f"; it said that it goes to port {self._moved_to}" * bool(self._moved_to)

    def _guard_account(self) -> None:
        """Let no account pass that the configuration does not name (law I11)."""
        if self._ib is None:
            raise InvariantViolated("no connection to guard")
        self.offered = tuple(self._ib.managedAccounts())
        offer = f"the gateway at {self._settings.address} offers {self._offer()}"
        if not self._settings.account:
            raise ConfigError(f"account.id is not set: {offer}; name one of them")
        if self._settings.account not in self.offered:
            raise AccountRefused(
                f"account {self._settings.account} is not allowed here: {offer}; "
                "correct account.id or log the gateway in to the right account"
            )

    def _offer(self) -> str:
        return ", ".join(self.offered) or "no account"

    def _close(self, *, abort: bool) -> None:
        """Drop the socket; abort it where anything queued must never be sent."""
        if self._ib is None:
            return
        ib, self._ib = self._ib, None
        transport = ib.client.conn.transport
        if abort and transport is not None:
            transport.abort()
        elif ib.isConnected():
            ib.disconnect()

    def abort(self, cause: str) -> None:
        """End the connection because its state is in doubt; nothing more is sent."""
        super().abort(cause)
        for notice in self._families.take_all_back():
            self._emit_event(notice)
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(cause)
        self._move(LinkInput.LOST, cause)

    def _garbled(self, fields: Sequence[str], exc: Exception) -> None:
        """End the connection by name; a bug of ours ends the daemon instead."""
        if isinstance(exc, IbkrdError):
            if self._lost is not None and not self._lost.done():
                self._lost.set_exception(exc)
            return
        name = shapes.name_of(fields) if fields else "bytes"
        reason = str(exc) or type(exc).__name__
        shown = Redactor().text("|".join(fields))
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        text = f"the gateway sent {name} that cannot be read: {reason}"
        self._named_end = GatewayGarbled(
            f"{text}; it begins {shown!r}" if fields else text, kind=f"garbled {name}"
        )
        self.abort(str(self._named_end))

    # --- events ---------------------------------------------------------------

    def _take(self, event: BrokerEvent) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(event, Notice):
            self._take_notice(event, now)
        heard = self._families.heard(event, now)
        for told in heard.tell:
            self._emit_event(told)
        if heard.settle is not None:
            self._resend.put_nowait(heard.settle)

    def _take_notice(self, notice: Notice, now: float) -> None:  # noqa: C901, PLR0912
        said = f"{notice.code} {notice.text}"
        match link_notice(notice):
            case LinkNotice.ID_IN_USE:
                self._refuse(
                    f"client id {self.client_id} is in use at "
                    f"{self._settings.address}: another ibkrd or script holds it, or "
                    "a half-open session of our own that the gateway has not noticed "
                    "yet; waiting with the same id",
                    notice.code,
                )
            case LinkNotice.READ_ONLY:
                self._refuse(
                    "the gateway's API is read-only: clear 'Read-Only API' in its "
                    "settings (Configure > API > Settings)",
                    notice.code,
                )
            case LinkNotice.PORT_CHANGED:
                port = self._moved_to = new_port(notice) or "another"
                self._refuse(
                    f"the gateway's API port was changed to {port}: correct "
                    f"gateway.port and restart ({said})",
                    notice.code,
                )
            case LinkNotice.BROKER_LOST:
                if self._outage is None or self._outage.inherited:
                    self._set_outage(Outage(said, now))
                self._degrade(said)
            case LinkNotice.DATA_LOST:
                self._followed = False
                self._restored(said)
            case LinkNotice.DATA_KEPT:
                self._restored(said)
            case LinkNotice.FARM_CONNECTED:
                if self._outage is not None:
                    self._set_outage(replace(self._outage, farm_connected=True))
            case LinkNotice.TOO_FAST:
                if self._pacer.slow_down():
                    log.warning(
                        "session.slowed_down", messages_per_second=self._pacer.rate
                    )
            case LinkNotice.OTHER_LOGIN:
                if not self._other_login:
                    log.warning("session.competed", cause=said)
                self._other_login = True
            case LinkNotice.NOTHING:
                pass

    def _refuse(self, text: str, code: int) -> None:
        self._named_end = GatewayRefused(text, code=code)
        self.abort(text)

    def _set_outage(self, outage: Outage | None) -> None:
        self._outage = outage
        self._outage_changed.set()

    def _restored(self, cause: str) -> None:
        self._set_outage(None)
        self._read_anew(cause)

    def _degrade(self, cause: str) -> None:
        """Send nothing until everything has been read anew."""
        if self._link in _STANDING:
            self._move(LinkInput.BROKER_LOST, cause)

    def _read_anew(self, cause: str) -> None:
        if self._link in _STANDING:
            self._move(LinkInput.BROKER_BACK, cause)
            self._resync.set()

    # --- liveness ---------------------------------------------------------------

    async def probe(self) -> datetime:
        """Ask for the gateway's time; proof that the link lives now.

        A miss stops the sending, a second one in a row ends the connection.
        """
        try:
            told = await super().probe()
        except GatewayTimeout:
            self._missed()
            raise
        self._answered()
        self.clock_offset = told - self._clock.now()
        return told

    def _missed(self) -> None:
        self._misses += 1
        log.info("session.probe_missed", misses=self._misses)
        if self._misses >= 2:
            self.abort("two probes without an answer: the gateway is mute")
        else:
            self._degrade("a probe without an answer")

    def _answered(self) -> None:
        missed, self._misses = self._misses, 0
        if missed and self._outage is None:
            self._read_anew("the gateway answers probes again")

    async def _heartbeat(self) -> None:
        """Probe again and again; at once after a miss, which `probe` judges."""
        settings = self._settings
        while True:
            quick = self._busy()
            pause_s = settings.busy_heartbeat_s if quick else settings.heartbeat_s
            await asyncio.sleep(0 if self._misses else pause_s)
            with suppress(ConnectionLost):
                await self.probe()

    async def _resyncer(self) -> None:
        """Read everything anew whenever the broker comes back (1101, 1102)."""
        while True:
            await self._resync.wait()
            self._resync.clear()
            try:
                await self._sync_and_tell()
            except (ConnectionLost, RequestRefused) as exc:
                self.abort(f"no complete sync after the broker came back: {exc}")

    async def _looker(self) -> None:
        """Find out whether the broker is back where neither 1101 nor 1102 comes."""
        loop = asyncio.get_running_loop()
        while True:
            self._outage_changed.clear()
            outage = self._outage
            if outage is not None and outage.is_over(loop.time()):
                self._restored("the gateway's farms are connected again")
                continue
            if outage is not None and outage.look_is_due(loop.time()):
                self.abort(outage.cause)
                return
            wait_s = None if outage is None else outage.wait_s(loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._outage_changed.wait()

    # --- children that overtook their parents -------------------------------------

    async def _resender(self) -> None:
        """Send again, once, what the gateway refused for want of its parent (10006)."""
        while True:
            family = await self._resend.get()
            await asyncio.sleep(resend.AFTER_S)
            await self._settle(family)

    async def _settle(self, family: resend.FamilySent) -> None:
        loop = asyncio.get_running_loop()
        while (verdict := family.verdict(loop.time())) is resend.Verdict.WAIT:  # noqa: ASYNC110 # a deadline ends it
            await asyncio.sleep(resend.AFTER_S)
        if verdict is resend.Verdict.SEND:
            with suppress(ConnectionLost):
                await self._send_again(family)
        for notice in self._families.take_back(family):
            self._emit_event(notice)

    async def _send_again(self, family: resend.FamilySent) -> None:
        """Send what has not expired and was not cancelled; the rest stays refused."""
        await self.ready_to_send()
        if family.verdict(asyncio.get_running_loop().time()) is resend.Verdict.SEND:
            for order_id, order in family.take(self._clock.now()):
                log.info("order.resent", order_ref=order.order_ref, order_id=order_id)
                self._send_again_one(order_id, order, family.ids)


def _is_a_break(failure: Exception | None) -> bool:
    """Return whether ib_async only says that the connection ended meanwhile.

    What timed out it names in a list, and closes the connection itself.
    """
    refused = isinstance(failure, ConnectionRefusedError)
    plain = isinstance(failure, ConnectionError) and not refused
    return plain and not isinstance(failure.args[0], list) if failure else False


_CLOSED = "the gateway closed the connection"
_FIGURES = re.compile(r"\d+ of \d+")
_STANDING = frozenset({Link.SYNCING, Link.READY, Link.DEGRADED})
