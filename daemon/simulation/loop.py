"""An event loop whose clock jumps: a day takes milliseconds, the wall clock follows.

When nothing is ready the clock goes to the next timer and one microsecond more, and
the wall clock (`time.time`, `datetime.now`) moves by as much. Landing exactly on the
timer would livelock code that waits for *more* than an interval, as ib_async's
throttle does.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

import time_machine

from daemon.errors import InvariantViolated
from daemon.simulation.memory import LOOPBACK, Network
from daemon.simulation.workers import CountedExecutor, ResultsInOrder

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Event = tuple[selectors.SelectorKey, int]

SELECTS_PER_SECOND = 100_000
"""Polls within one virtual second before it is a livelock; a busy one has 500.

Not per instant: endless steps of a microsecond are a livelock as well.
"""
OUTSIDE_LIMIT_S = 60.0
"""Real seconds that a thread or a child process may be silent."""


class VirtualDeadlock(InvariantViolated):
    """No timer, no I/O, no outside work: what is awaited can never happen."""


class Livelock(InvariantViolated):
    """The loop turns for ever and time stands: look for a wait of zero seconds."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector loop in virtual time that begins at the wall time *start* (aware).

    One at a time in a process, because the wall clock is the process's. While it
    exists naive local time is UTC. With *pace* a jump of n seconds takes n / pace
    real seconds, without it none. *on_advance* is told the loop's new time in
    microseconds after each jump. `network` is the loopback interface in memory.
    """

    # Attributes of asyncio.BaseEventLoop that typeshed does not list.
    _ready: deque[asyncio.Handle]
    _stopping: bool
    _clock_resolution: float
    # Until the base says otherwise: a loop that __init__ refused has nothing to close.
    _closed = True

    def __init__(
        self,
        start: datetime,
        *,
        pace: float | None = None,
        on_advance: Callable[[int], None] | None = None,
    ) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start {start} has no zone: give an aware datetime")
        if pace is not None and pace <= 0:
            raise ValueError(f"pace {pace} is not above 0: 60 is sixty times real time")
        self.start = start.astimezone(UTC)
        self.pace = pace
        self.on_advance = on_advance
        self.network = Network(self)
        self.turns = 0
        """How often the loop has turned: between two turns nothing comes in."""
        self._us = 0
        self._spent = 0
        self._spent_since_us = 0
        self._owed_s = 0.0
        self._external = 0
        self._threads: ThreadPoolExecutor | None = None
        self._results = ResultsInOrder(self._wake)
        self._fds = selectors.DefaultSelector()
        super().__init__(_Poller(self._fds, self._poll))
        self._clock_resolution = 1e-6
        if time_machine.traveller_stack:
            super().close()
            raise RuntimeError("another virtual clock runs in this process: close it")
        self._travel = time_machine.travel(self.start, tick=False)
        self._wall = self._travel.start()

    def close(self) -> None:
        """Close the loop and give the real wall clock back."""
        if not self.is_closed():
            super().close()
            self._travel.stop()

    # --- time ---------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._us / 1_000_000

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP does, or a host that slept."""
        self._wall.shift(timedelta(seconds=seconds))

    def _poll(self, timeout: float | None) -> list[Event]:
        """Return what is ready; if nothing can be, let time pass."""
        self.turns += 1
        self._spend()
        ready = self._fds.select(0)
        if ready or self._ready or self._stopping:
            return ready
        if self._results:
            return [] if self._results.deliver() else self._wait_outside()
        if self._external:
            return self._wait_outside()
        if timeout is None:
            raise VirtualDeadlock(f"nothing can ever happen again: {self._waiting()}")
        return self._jump(max(round(timeout * 1_000_000), 0) + 1)

    def _spend(self) -> None:
        if self._us - self._spent_since_us >= 1_000_000:
            self._spent = 0
            self._spent_since_us = self._us
        self._spent += 1
        if self._spent > SELECTS_PER_SECOND:
            self._spent = 0
            raise Livelock(
                f"{SELECTS_PER_SECOND} polls in one second, at {self.time()} s: "
                f"{self._waiting()}"
            )

    def _jump(self, us: int) -> list[Event]:
        ready, moved = self._nap(us) if self.pace is not None else ([], us)
        self._us += moved
        self._wall.shift(timedelta(microseconds=moved))
        if self.on_advance is not None:
            self.on_advance(self._us)
        return ready

    def _nap(self, us: int) -> tuple[list[Event], int]:
        """Wait *us* virtual microseconds at the pace; return how many passed.

        What is slept too long is owed less next time: epoll rounds up to milliseconds.
        """
        pace = self.pace or 1.0
        self._owed_s += us / 1_000_000 / pace
        began = time.perf_counter()
        ready = self._fds.select(max(0.0, self._owed_s))
        self._owed_s -= time.perf_counter() - began
        if not ready:
            return ready, us
        unslept = min(us, max(0, round(self._owed_s * pace * 1_000_000)))
        self._owed_s -= unslept / 1_000_000 / pace
        return ready, us - unslept

    # --- outside work: the clock stands still and the loop waits really ---------

    @contextmanager
    def external_work(self) -> Iterator[None]:
        """Freeze the clock while something outside the loop is awaited.

        For signals, sockets of other processes, threads that the loop did not start.
        Threads of its executors and child processes are counted without it.
        """
        self._external += 1
        try:
            yield
        finally:
            self._external -= 1

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run *func* in a thread; results come in the order of the calls."""
        chosen = executor or self._threads or self._make_threads()
        return super().run_in_executor(
            CountedExecutor(chosen, self._results), func, *args
        )

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]  # typeshed is wider than asyncio
        """Take *executor* for work that names none."""
        super().set_default_executor(executor)
        self._threads = executor

    async def shutdown_default_executor(self, *limit: float | None) -> None:
        """Wait really until the default executor's threads have ended."""
        with self.external_work():
            await super().shutdown_default_executor(*limit)

    async def subprocess_exec(
        self, protocol_factory: Callable[[], Any], *args: object, **options: object
    ) -> tuple[Any, Any]:
        """Start a child process; the clock stands until it and its pipes are gone."""
        start: Any = super().subprocess_exec
        with self._child(protocol_factory) as factory:
            pair = await start(factory, *args, **options)
        return cast("tuple[Any, Any]", pair)

    async def subprocess_shell(
        self, protocol_factory: Callable[[], Any], cmd: bytes | str, **options: object
    ) -> tuple[Any, Any]:
        """Start a shell command; the clock stands until it and its pipes are gone."""
        start: Any = super().subprocess_shell
        with self._child(protocol_factory) as factory:
            pair = await start(factory, cmd, **options)
        return cast("tuple[Any, Any]", pair)

    @contextmanager
    def _child(self, factory: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
        """Count a child from its start to the end of its protocol."""
        work = ExitStack()
        work.enter_context(self.external_work())

        def counted() -> Any:  # noqa: ANN401 # whatever *factory* makes
            protocol = factory()
            tell_end = protocol.connection_lost

            def connection_lost(exc: Exception | None) -> None:
                work.close()
                tell_end(exc)

            protocol.connection_lost = connection_lost
            return protocol

        with ExitStack() as failed:
            failed.callback(work.close)
            yield counted
            failed.pop_all()

    def _make_threads(self) -> ThreadPoolExecutor:
        threads = ThreadPoolExecutor(thread_name_prefix="virtual")
        self.set_default_executor(threads)
        return threads

    def _wait_outside(self) -> list[Event]:
        self._spent = 0
        began = time.perf_counter()
        ready = self._fds.select(OUTSIDE_LIMIT_S)
        if not ready and time.perf_counter() - began >= OUTSIDE_LIMIT_S:
            raise VirtualDeadlock(
                f"outside work has been silent for {OUTSIDE_LIMIT_S:g} real seconds: "
                f"{self._waiting()}"
            )
        return ready

    def _wake(self) -> None:
        with suppress(RuntimeError):  # a thread may end after the loop was closed
            self.call_soon_threadsafe(lambda: None)

    def _waiting(self) -> str:
        names = sorted(_describe(task) for task in asyncio.all_tasks(self))
        return "; ".join(names) or "no task is left, but the loop was told to run on"

    # --- the network in memory -------------------------------------------------

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: str | None = None,
        port: int | str | None = None,
        **options: object,
    ) -> tuple[Any, Any]:
        """Connect in memory where *host* is this machine, really where not."""
        if _local(host, options):
            return await self.network.connect(protocol_factory, str(host), _port(port))
        real: Any = super().create_connection
        pair = await real(protocol_factory, host, port, **options)
        return cast("tuple[Any, Any]", pair)

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: object = None,
        port: int | str | None = None,
        **options: object,
    ) -> asyncio.Server:
        """Listen in memory where *host* is this machine, really where not."""
        if not _local(host, options):
            real: Any = super().create_server
            server = await real(protocol_factory, host, port, **options)
        else:
            server = self.network.listen(protocol_factory, str(host), _port(port))
            if options.get("start_serving", True):
                server.begin()
        return cast("asyncio.Server", server)


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, T]],
    start: datetime,
    *,
    pace: float | None = None,
    on_advance: Callable[[int], None] | None = None,
) -> T:
    """Run the coroutine that *main* makes in virtual time; return its result."""

    def make() -> VirtualLoop:
        return VirtualLoop(start, pace=pace, on_advance=on_advance)

    with asyncio.Runner(loop_factory=make) as runner:
        # eventkit asks for the *set* loop, which a runner with a factory omits.
        asyncio.set_event_loop(runner.get_loop())
        try:
            return runner.run(main())
        finally:
            asyncio.set_event_loop(None)


class _Poller(selectors.BaseSelector):
    """The selector that asyncio sees: *fds* with another way to wait."""

    def __init__(
        self,
        fds: selectors.BaseSelector,
        poll: Callable[[float | None], list[Event]],
    ) -> None:
        self._fds = fds
        self._poll = poll

    def select(self, timeout: float | None = None) -> list[Event]:
        """Return what is ready after *timeout* virtual seconds at most."""
        return self._poll(timeout)

    def register(
        self,
        fileobj: Any,  # noqa: ANN401 # a descriptor or what has one
        events: int,
        data: Any = None,  # noqa: ANN401 # asyncio's own
    ) -> selectors.SelectorKey:
        """Watch *fileobj*."""
        return self._fds.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401 # as above
        """Watch *fileobj* no more."""
        return self._fds.unregister(fileobj)

    def modify(
        self,
        fileobj: Any,  # noqa: ANN401 # as above
        events: int,
        data: Any = None,  # noqa: ANN401 # as above
    ) -> selectors.SelectorKey:
        """Watch *fileobj* for other events."""
        return self._fds.modify(fileobj, events, data)

    def close(self) -> None:
        """Release the system's selector."""
        self._fds.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched."""
        return self._fds.get_map()


def _local(host: object, options: Mapping[str, object]) -> bool:
    given = options.get("sock") is not None or options.get("ssl") is not None
    return host in LOOPBACK and not given


def _port(port: int | str | None) -> int:
    return int(port or 0)


def _describe(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack(limit=1)
    place = ""
    if stack:
        code = stack[-1].f_code
        place = f" at {code.co_filename.rpartition('/')[2]}:{stack[-1].f_lineno}"
    return f"{task.get_name()}{place}"
