"""The one session to the gateway: connect, guard, sync, watch, connect again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from random import Random

import ib_async
import structlog
from ib_async.wrapper import RequestError

from daemon.broker.events import TappedIB, quietly
from daemon.broker.requests import Requests, SessionSettings
from daemon.core.connection import Link, LinkInput, advance
from daemon.core.model import (
    BrokerEvent,
    LinkChange,
    Notice,
    Snapshot,
)
from daemon.errors import (
    AccountRefused,
    ConfigError,
    ConnectionLost,
    GatewayRefused,
    GatewayTimeout,
    InvariantViolated,
    RequestRefused,
)
from daemon.ports import Clock

log = structlog.get_logger(__name__)

CLIENT_ID_IN_USE = 326
READ_ONLY = 321
BROKER_LOST = 1100
BROKER_BACK = frozenset({1101, 1102})


class GatewaySession(Requests):
    """Implements `ports.Broker`; `run` keeps the session alive for ever.

    Args:
        settings: the gateway's address, our one client id, the one account.
        clock: the wall clock.
        emit: takes every event of the broker, in the order of arrival.
        on_synced: reconciles; awaited before the session is called ready.
        busy: whether the heartbeat must be quick (orders in flight, a job near).
        jitter: spreads the retries.
    """

    def __init__(
        self,
        settings: SessionSettings,
        *,
        clock: Clock,
        emit: Callable[[BrokerEvent], None],
        on_synced: Callable[[Snapshot], Awaitable[None]],
        busy: Callable[[], bool],
        jitter: Random,
    ) -> None:
        super().__init__(settings, clock)
        self._emit_event = emit
        self._on_synced = on_synced
        self._busy = busy
        self._jitter = jitter
        self._link = Link.DISCONNECTED
        self._ready = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self._resync = asyncio.Event()
        self._lost: asyncio.Future[str] | None = None
        self._refused: GatewayRefused | None = None
        self._misses = 0
        self._broker_away = False
        """Whether the gateway said 1100 and has not said 1101 or 1102 since."""
        self._warned_of = ""
        """The cause of this outage that was logged as a warning; repeats are DEBUG."""
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
                was_ready = self.connected_since is not None
                failures = 0 if was_ready else failures + 1
                self._fell(self._refused or exc, failures)
            await asyncio.sleep(self._backoff(failures))

    def _require_account(self, exc: Exception) -> None:
        """Do not wait for a gateway only to say that no account is configured."""
        if not self._settings.account:
            raise ConfigError(
                "account.id is not set, and the gateway that could say which ids it "
                f"offers does not: {exc}"
            ) from exc

    def _backoff(self, failures: int) -> float:
        wait = self._settings.retry_first_s * 2.0 ** min(failures, 8)
        return min(self._settings.retry_last_s, wait) * self._jitter.uniform(0.8, 1.2)

    def _fell(self, exc: Exception, failures: int) -> None:
        cause = str(exc)
        level = log.debug if cause == self._warned_of else log.warning
        code = exc.code if isinstance(exc, GatewayRefused | RequestRefused) else None
        level("session.failed", cause=cause, code=code, attempt=failures)
        self.last_failure = self._warned_of = cause
        self.connected_since = None
        self._move(LinkInput.LOST, cause)
        self._close(abort=True)

    async def _one_connection(self) -> None:
        self._move(LinkInput.ATTEMPT)
        await self._connect()
        self._move(LinkInput.ACCEPTED)
        if self._broker_away:
            self._degrade("1100 during the handshake")
        self._guard_account()
        await self.follow_account()
        await self._sync_and_tell()
        async with asyncio.TaskGroup() as tasks:
            watchers = [
                tasks.create_task(self._heartbeat(), name="session.heartbeat"),
                tasks.create_task(self._resyncer(), name="session.resync"),
            ]
            cause = await self._lost_future()
            for watcher in watchers:
                watcher.cancel()
        raise ConnectionLost(cause)

    async def _sync_and_tell(self) -> None:
        """Read everything; ready is only what nothing has overtaken meanwhile.

        After 1100 in between there is nothing to conclude until 1101 or 1102 comes,
        and each of these makes the resyncer read everything once more.
        """
        self._resync.clear()
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
        self.last_failure = self._warned_of = ""
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
        ib = TappedIB(self._take)
        self._ib = ib
        self._refused, self._doubt = None, ""
        self._misses, self._broker_away = 0, False
        lost = self._lost = asyncio.get_running_loop().create_future()

        def on_closed(reason: str) -> None:
            self.abort(f"the connection broke: {reason}" if reason else _CLOSED)

        ib.client.conn.disconnected += on_closed
        async with asyncio.TaskGroup() as tasks:
            attempt = tasks.create_task(
                self._open(ib), name=f"session.connect.{self.client_id}"
            )
            await asyncio.wait({attempt, lost}, return_when=asyncio.FIRST_COMPLETED)
            while not attempt.done():  # wait_for of Python 3.11 may swallow a cancel
                attempt.cancel()
                await asyncio.sleep(0)
        if self._refused is not None:
            raise self._refused
        if attempt.cancelled():
            raise ConnectionLost(
                f"{self._settings.address}: {self._doubt} during the handshake: the "
                "gateway behind the port may be down, or does not trust this address"
            )
        failure = attempt.result()
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
            return ConnectionLost(
                f"nothing listens on {where}: start the gateway, "
                "enable its API, and look at its port"
            )
        if isinstance(exc, TimeoutError):
            return GatewayTimeout(
                f"{where} accepted the connection but did not finish the handshake "
                f"in {self._settings.connect_timeout_s:g} s: the gateway behind the "
                "port may be down, logged out or frozen"
            )
        return ConnectionLost(f"{where}: {str(exc) or type(exc).__name__}")

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
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(cause)
        self._move(LinkInput.LOST, cause)

    # --- events ---------------------------------------------------------------

    def _take(self, event: BrokerEvent) -> None:
        if isinstance(event, Notice):
            self._take_notice(event)
        self._emit_event(event)

    def _take_notice(self, notice: Notice) -> None:
        if notice.code == CLIENT_ID_IN_USE:
            self._refuse(
                f"client id {self.client_id} is in use at {self._settings.address}: "
                "another ibkrd or script holds it, or a half-open session of our own "
                "that the gateway has not noticed yet; waiting with the same id",
                notice.code,
            )
        elif notice.code == READ_ONLY and "read-only" in notice.text.lower():
            self._refuse(
                "the gateway's API is read-only: clear 'Read-Only API' in its "
                "settings (Configure > API > Settings)",
                notice.code,
            )
        elif notice.code == BROKER_LOST:
            self._broker_away = True
            self._degrade(f"{notice.code} {notice.text}")
        elif notice.code in BROKER_BACK:
            self._broker_away = False
            self._read_anew(f"{notice.code} {notice.text}")

    def _refuse(self, text: str, code: int) -> None:
        self._refused = GatewayRefused(text, code=code)
        self.abort(text)

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
        if missed and not self._broker_away:
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


_CLOSED = "the gateway closed the connection"
_STANDING = frozenset({Link.SYNCING, Link.READY, Link.DEGRADED})
