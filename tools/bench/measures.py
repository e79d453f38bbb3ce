"""The measurements: each starts what it needs, and returns rows of the table."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from daemon.jobs.planfile import STILL_S
from tools.bench.figures import Row, Samples, percentile
from tools.bench.processes import (
    CLIENT_ID,
    BenchError,
    Child,
    House,
    Word,
    plan_text,
)

PLAIN_ID = 7
PACE = 45
"""Messages a second, of the daemon and of ib_async alike."""
QUIET, NEAR = "12:00", "09:31"
"""Times of the day: nothing near; a job in four minutes."""
WELL_BEFORE_SUBMIT, BEFORE_SUBMIT = "09:34:40", "09:34:54"
"""The submit follows at 09:35, when the session stands; many start side by side."""
REST_S = 0.05
"""Lets a new connection come to rest before the next blow."""
THAW_AFTER_S = 15.0
"""Longer than both sides need to notice a frozen gateway, if they ever do."""
NEVER_S = 40.0
"""How long plain ib_async is watched until "never" is said."""

Measure = Callable[[House, float], Awaitable[list[Row]]]


def times(count: int, scale: float) -> int:
    """Return *count* repetitions, scaled, at least one."""
    return max(1, round(count * scale))


# --- the link is cut --------------------------------------------------------------


async def hard_drop(house: House, scale: float) -> list[Row]:
    """Reset the connection; the gateway itself stays and takes the next one."""
    gateway = await house.gateway(QUIET)
    our_cable, our_port = await house.relay(gateway.port)
    plain_cable, plain_port = await house.relay(gateway.port)
    watched = await house.plain(plain_port, "watchdog", client_id=PLAIN_ID)
    await watched.until("connected")
    ours: list[float] = []
    plain: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_cut_for_ever(plain_cable, watched, plain))
        for _ in range(times(40, scale)):
            # A session that has just come back and falls again is one outage with
            # growing pauses: each drop is the first one of its daemon.
            daemon = await house.daemon(our_port, QUIET)
            await daemon.until("session.ready")
            ours.append(await _cut(our_cable, daemon, "session.ready"))
            await daemon.end()
        waiting.cancel()
    note = (
        "not reconciled; its Watchdog, less the 30 s that it gives a program to start"
    )
    return [
        Row(
            "hard-drop",
            "link cut (RST), gateway back at once → connected and reconciled",
            Samples(tuple(ours)),
            Samples(tuple(plain), note=note),
            "p95 ≤ 1 s",
        )
    ]


async def _cut_for_ever(cable: Child, client: Child, seconds: list[float]) -> None:
    while True:
        seconds.append(await _cut(cable, client, "connected"))


async def _cut(cable: Child, client: Child, back: str) -> float:
    await asyncio.sleep(REST_S)
    cable.tell("cut")
    cut = float((await cable.until("cut")).record["at"])
    while (again := await client.until(back)).at < cut:
        pass  # it was said before
    return again.at - cut


# --- the gateway is frozen --------------------------------------------------------


async def frozen(house: House, scale: float) -> list[Row]:
    """Stop the gateway's process; all of it side by side, because all of it waits."""
    near = [0.2 + 3 * n / times(4, scale) for n in range(times(4, scale))]
    quiet = [0.2 + 30 * n / times(3, scale) for n in range(times(3, scale))]
    async with asyncio.TaskGroup() as tasks:
        at_job = [tasks.create_task(_noticed(house, NEAR, s)) for s in near]
        at_noon = [tasks.create_task(_noticed(house, QUIET, s)) for s in quiet]
        watchdog = tasks.create_task(_watchdog_notices(house))
        plain = tasks.create_task(_plain_notices(house))
        stale = tasks.create_task(_stale_of_ours(house, "job.started"))
        halfway = tasks.create_task(_stale_of_ours(house, "order.sent"))
        plain_stale = tasks.create_task(_stale_of_plain(house))
    never = plain.result()
    watched = Samples(
        (watchdog.result(),), note=f"its Watchdog; without it {never.note}"
    )
    return [
        Row(
            "frozen-near",
            "gateway frozen (SIGSTOP) near a job → noticed, socket cut",
            Samples(tuple(task.result() for task in at_job)),
            watched,
            "≤ 10 s",
        ),
        Row(
            "frozen-quiet",
            "gateway frozen in a quiet hour → noticed, socket cut",
            Samples(tuple(task.result() for task in at_noon)),
            watched,
            "≤ 65 s",
        ),
        Row(
            "stale",
            "plan of 8 rows due while frozen → stale orders transmitted after the thaw",
            _orders(stale.result()),
            _orders(plain_stale.result()),
            "0",
        ),
        Row(
            "stale-halfway",
            "frozen in the midst of the batch → orders of the old link after the thaw",
            _orders(halfway.result()),
            _orders(plain_stale.result()),
            "0",
        ),
    ]


def _orders(count: int) -> Samples:
    return Samples((count,), unit="orders")


async def _noticed(house: House, at: str, wait_s: float) -> float:
    gateway = await house.gateway(at)
    daemon = await house.daemon(gateway.port, at)
    await daemon.until("session.ready")
    await asyncio.sleep(wait_s)
    frozen_at = time.monotonic()
    gateway.child.signal(signal.SIGSTOP)
    return (await daemon.until("session.failed")).at - frozen_at


async def _watchdog_notices(house: House) -> float:
    gateway = await house.gateway(QUIET)
    client = await house.plain(gateway.port, "watchdog", client_id=PLAIN_ID)
    await client.until("connected")
    frozen_at = time.monotonic()
    gateway.child.signal(signal.SIGSTOP)
    return (await client.until("frozen")).at - frozen_at


async def _plain_notices(house: House) -> Samples:
    gateway = await house.gateway(QUIET)
    client = await house.plain(gateway.port, "connect", client_id=PLAIN_ID)
    await client.until("connected")
    gateway.child.signal(signal.SIGSTOP)
    await asyncio.sleep(NEVER_S)
    noticed = [word for word in client.words if word.record["event"] == "disconnected"]
    said = "noticed" if noticed else f"never (watched for {NEVER_S:.0f} s)"
    return Samples((), note=said)


async def _stale_of_ours(house: House, moment: str) -> int:
    """Freeze at *moment* of the submit; return what the old link brings at the thaw."""
    gateway = await house.gateway(WELL_BEFORE_SUBMIT)
    daemon = await house.daemon(gateway.port, WELL_BEFORE_SUBMIT, plan_text(8))
    await daemon.until("session.ready")
    await daemon.until(moment)
    gateway.child.signal(signal.SIGSTOP)
    links = len(gateway.records("connected", CLIENT_ID))
    orders = len(gateway.records("placed", CLIENT_ID))
    await asyncio.sleep(THAW_AFTER_S)
    gateway.child.signal(signal.SIGCONT)
    await daemon.until("job.ended", job="submit")
    placed = gateway.records("placed", CLIENT_ID)
    twice = [ref for ref, n in Counter(p["order_ref"] for p in placed).items() if n > 1]
    if twice:
        raise BenchError(f"placed twice: {', '.join(twice)}")
    later = gateway.records("connected", CLIENT_ID)[links:]
    return sum(not later or each["at"] < later[0]["at"] for each in placed[orders:])


async def _stale_of_plain(house: House) -> int:
    gateway = await house.gateway(BEFORE_SUBMIT)
    plan = house.room() / "plan.csv"
    plan.write_text(plan_text(8), encoding="utf-8")
    client = await house.plain(gateway.port, "connect", plan, client_id=PLAIN_ID)
    await client.until("connected")
    client.tell("qualify")
    await client.until("qualified")
    gateway.child.signal(signal.SIGSTOP)
    await asyncio.sleep(1)
    client.tell("place")
    await client.until("placed")
    await asyncio.sleep(THAW_AFTER_S)
    gateway.child.signal(signal.SIGCONT)
    await asyncio.sleep(3)
    return len(gateway.records("placed", PLAIN_ID))


# --- the client id is held --------------------------------------------------------


async def held_id(house: House, scale: float) -> list[Row]:
    """Let somebody hold the id; how long until the reason is known."""
    gateway = await house.gateway(QUIET)
    holder = await house.plain(gateway.port, "connect", client_id=CLIENT_ID)
    await holder.until("connected")
    ours, plain, said = [], [], ""
    for turn in range(times(9, scale)):
        daemon = await house.daemon(gateway.port, QUIET)
        began = await daemon.until("daemon.started")
        named = await daemon.until("session.failed", code=326)
        ours.append(_between(began, named))
        await daemon.end()
        if turn % 3 == 0:
            client = await house.plain(gateway.port, "meet", client_id=CLIENT_ID)
            met = await client.until("met")
            plain.append(float(met.record["seconds"]))
            said = str(met.record["said"])
    return [
        Row(
            "held-id",
            "client id in use → the reason is named",
            Samples(tuple(ours)),
            Samples(tuple(plain), note=f"no reason: `{said}`"),
            "< 0.1 s",
        )
    ]


def _between(first: Word, second: Word) -> float:
    """Return the seconds between two lines of one log, by its own timestamps."""
    return (_moment(second) - _moment(first)).total_seconds()


def _moment(word: Word) -> datetime:
    return datetime.fromisoformat(word.record["timestamp"])


# --- the plan is sent -------------------------------------------------------------


async def plans(house: House, scale: float) -> list[Row]:
    """Send plans of two sizes."""
    return [
        await _plan(house, 8, times(3, scale)),
        await _plan(house, 50, times(2, scale)),
    ]


@dataclass(frozen=True, slots=True)
class Sent:
    """One plan that was sent: seconds from the plan to the last answer."""

    seconds: float
    messages: int
    lost: int
    """Orders that never reached the gateway's books."""

    @property
    def floor_s(self) -> float:
        """Return how long the pace alone takes."""
        return (self.messages - 1) / PACE


async def _plan(house: House, rows: int, turns: int) -> Row:
    ours, plain = [], []
    for _ in range(turns):
        ours.append(await _send_ours(house, rows))
        plain.append(await _send_plain(house, rows))
    return Row(
        f"plan-{rows}",
        f"plan of {rows} rows ({rows * 6} orders) → last acknowledgement",
        _seconds(ours),
        _seconds(plain),
        f"≤ 1.1 x the floor ({ours[0].floor_s:.2f} s)",
    )


def _seconds(sent: Sequence[Sent]) -> Samples:
    shares = sorted(one.seconds / one.floor_s for one in sent)
    lost = sorted(one.lost for one in sent)
    return Samples(
        tuple(one.seconds for one in sent),
        note=f"{sent[0].messages} messages, {percentile(shares, 0.5):.2f} x their "
        f"floor; orders lost: {_span(lost)}",
        complete=not any(lost),
    )


def _span(counts: Sequence[int]) -> str:
    low, high = counts[0], counts[-1]
    return str(low) if low == high else f"{low} to {high}"


async def _send_ours(house: House, rows: int) -> Sent:
    gateway = await house.gateway(BEFORE_SUBMIT)
    cable, port = await house.relay(gateway.port)
    daemon = await house.daemon(port, BEFORE_SUBMIT, plan_text(rows))
    started = await daemon.until("job.started", job="submit")
    cable.tell("count")
    await cable.until("count")
    ended = await daemon.until("job.ended", job="submit")
    cable.tell("count")
    count = int((await cable.until("count")).record["messages"])
    answered = _answered(daemon)
    await daemon.end()
    await gateway.child.end()
    if len(answered) != rows * 6:
        raise BenchError(f"not a clean day: {ended.record['summary']}")
    lost = rows * 6 - len(gateway.records("placed", CLIENT_ID))
    last = max(answered.values(), key=_moment)
    return Sent(_between(started, last) - STILL_S, count, lost)


def _answered(daemon: Child) -> Mapping[str, Word]:
    """Return the first answer to each order."""
    answers = ("order.acknowledged", "order.working", "order.filled")
    found: dict[str, Word] = {}
    for word in daemon.words:
        if word.record["event"] in answers:
            found.setdefault(word.record["order_ref"], word)
    return found


async def _send_plain(house: House, rows: int) -> Sent:
    gateway = await house.gateway(BEFORE_SUBMIT)
    cable, port = await house.relay(gateway.port)
    plan = house.room() / "plan.csv"
    plan.write_text(plan_text(rows), encoding="utf-8")
    client = await house.plain(port, "connect", plan, client_id=PLAIN_ID)
    await client.until("connected")
    cable.tell("count")
    await cable.until("count")
    client.tell("submit")
    answered = await client.until("answered")
    cable.tell("count")
    count = int((await cable.until("count")).record["messages"])
    await client.end()
    await gateway.child.end()
    lost = rows * 6 - len(gateway.records("placed", PLAIN_ID))
    return Sent(float(answered.record["seconds"]), count, lost)


# --- the start --------------------------------------------------------------------


async def start(house: House, scale: float) -> list[Row]:
    """Start the program against a gateway that is there; then let it rest."""
    gateway = await house.gateway(QUIET)
    ours, plain, our_kib, plain_kib = [], [], [], []
    for _ in range(times(7, scale)):
        began = time.monotonic()
        daemon = await house.daemon(gateway.port, None)
        ours.append((await daemon.until("session.ready")).at - began)
        began = time.monotonic()
        client = await house.plain(gateway.port, "connect", client_id=PLAIN_ID)
        plain.append((await client.until("connected")).at - began)
        await asyncio.sleep(0.5)
        our_kib.append(await daemon.resident_kib())
        plain_kib.append(await client.resident_kib())
        await daemon.end()
        await client.end()
    return [
        Row(
            "cold-start",
            "start of the program → ready to send",
            Samples(tuple(ours)),
            Samples(tuple(plain), note="connected, nothing reconciled"),
            "≤ 0.8 s",
        ),
        Row(
            "memory",
            "memory of the idle program",
            Samples(tuple(kib / 1024 for kib in our_kib), unit="MiB"),
            Samples(tuple(kib / 1024 for kib in plain_kib), unit="MiB"),
            "≤ 100 MiB",
        ),
    ]


MEASURES: Mapping[str, Measure] = {
    "drop": hard_drop,
    "frozen": frozen,
    "held-id": held_id,
    "plans": plans,
    "start": start,
}
