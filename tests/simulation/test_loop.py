from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from eventkit import Event

from daemon.simulation.loop import Livelock, VirtualDeadlock, VirtualLoop, run_virtual

START = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def wall() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 # what is tested


# --- the clock ---------------------------------------------------------------


@pytest.mark.virtual(start="2026-02-19T09:00:00-05:00")
async def test_a_marked_test_runs_in_virtual_time() -> None:
    began = time.perf_counter()
    await asyncio.sleep(86_400)
    assert time.perf_counter() - began < 5
    assert asyncio.get_running_loop().time() == 86_400.000001


async def test_an_unmarked_test_runs_on_an_ordinary_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    assert not time_machine.traveller_stack


def test_the_clock_lands_one_microsecond_past_the_timer() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        for delay_s in (1.0, 0.1, 3600.0):
            await asyncio.sleep(delay_s)
            times.append(loop.time())
        return times

    assert run_virtual(main, START) == [1.000001, 1.100002, 3601.100003]


def test_a_timer_that_is_due_this_very_instant_still_moves_the_clock() -> None:
    # Waiting for *more* than a second, as ib_async's throttle does, would spin for
    # ever if another timer had brought the clock exactly to that second.
    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.call_at(0.999_999, lambda: None)
        while not loop.time() > 1:
            due = loop.create_future()
            loop.call_at(1, due.set_result, None)
            await due
        return loop.time()

    assert run_virtual(main, START) == 1.000001


def test_the_wall_clock_moves_with_the_loop() -> None:
    async def main() -> tuple[datetime, datetime, float]:
        before = wall()
        await asyncio.sleep(19_800)
        return before, wall(), time.time()  # noqa: TID251 # what is tested

    before, after, stamp = run_virtual(main, START)
    assert before == START
    assert after == datetime(2026, 2, 19, 19, 30, 0, 1, tzinfo=UTC)
    assert stamp == pytest.approx(after.timestamp(), abs=1e-6)


def test_a_start_in_another_zone_is_the_same_instant() -> None:
    async def main() -> datetime:
        return wall()

    start = datetime(2026, 2, 19, 9, 0, tzinfo=NEW_YORK)
    assert run_virtual(main, start) == START


def test_a_naive_start_is_refused() -> None:
    with pytest.raises(ValueError, match="no zone"):
        VirtualLoop(datetime(2026, 2, 19))  # noqa: DTZ001 # what is tested


def test_a_pace_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="pace 0 is not above 0"):
        VirtualLoop(START, pace=0)


def test_the_real_clock_is_back_after_the_run() -> None:
    async def main() -> None:
        await asyncio.sleep(1)

    run_virtual(main, datetime(1999, 1, 1, tzinfo=UTC))
    assert not time_machine.traveller_stack
    assert wall().year > 2000


def test_the_real_clock_is_back_after_a_failure() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("planned")

    with pytest.raises(LookupError, match="planned"):
        run_virtual(main, datetime(1999, 1, 1, tzinfo=UTC))
    assert wall().year > 2000


def test_a_second_virtual_clock_is_refused_and_harms_nothing() -> None:
    loop = VirtualLoop(datetime(1999, 1, 1, tzinfo=UTC))
    with pytest.raises(RuntimeError, match="another virtual clock"):
        VirtualLoop(START)
    assert wall() == datetime(1999, 1, 1, tzinfo=UTC)
    loop.close()
    loop.close()
    assert wall().year > 2000


def test_the_wall_clock_alone_can_be_stepped() -> None:
    async def main() -> tuple[datetime, float]:
        virtual_loop().step_wall(-30.5)
        return wall(), asyncio.get_running_loop().time()

    assert run_virtual(main, START) == (START - timedelta(seconds=30.5), 0.0)


def test_progress_is_told_in_microseconds_since_the_start() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        await asyncio.sleep(2)

    told: list[int] = []
    run_virtual(main, START, on_advance=told.append)
    assert told == [1_000_001, 3_000_002]


def test_a_timer_beyond_a_day_fires_in_its_place() -> None:
    async def main() -> float:
        await asyncio.sleep(200_000)
        return asyncio.get_running_loop().time()

    assert run_virtual(main, START) == pytest.approx(200_000, abs=1e-5)


# --- the loop is the set loop --------------------------------------------------------


def test_async_handlers_of_eventkit_run() -> None:
    async def main() -> list[str]:
        seen = []

        async def handler(text: str) -> None:
            await asyncio.sleep(5)
            seen.append(text)

        event = Event("planned")
        event += handler
        event.emit("heard")
        await asyncio.sleep(10)
        return seen

    assert run_virtual(main, START) == ["heard"]


# --- what never ends ------------------------------------------------------------------


def test_a_wait_that_nothing_can_end_is_a_deadlock_that_names_the_task() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="heartbeat")

    with pytest.raises(VirtualDeadlock, match=r"heartbeat at locks\.py"):
        run_virtual(main, START)


@pytest.mark.parametrize("pause_s", [0.0, 1e-9])
def test_turning_without_progress_is_a_livelock(pause_s: float) -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 # the mistake that is looked for
            await asyncio.sleep(pause_s)

    with pytest.raises(Livelock, match=r"test_loop\.py"):
        run_virtual(main, START)


def test_many_turns_at_many_instants_are_no_livelock() -> None:
    async def main() -> int:
        turns = 0
        for _ in range(300):
            await asyncio.sleep(1)
            for _ in range(500):
                await asyncio.sleep(0)
                turns += 1
        return turns

    assert run_virtual(main, START) == 150_000


# --- work outside the loop ----------------------------------------------------------


def test_a_thread_takes_no_virtual_time_and_beats_a_timeout() -> None:
    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(0.001):
            answer = await asyncio.to_thread(slow, "read")
        return answer, loop.time()

    assert run_virtual(main, START) == ("read", 0.0)


def test_a_name_is_looked_up_with_the_clock_frozen() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(0.001):
            await loop.getaddrinfo("127.0.0.1", 80)
        return loop.time()

    assert run_virtual(main, START) == 0.0


def test_the_error_of_a_thread_arrives() -> None:
    async def main() -> None:
        await asyncio.to_thread(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        run_virtual(main, START)


def test_results_of_threads_come_in_the_order_of_submission() -> None:
    async def main() -> list[str]:
        done: list[str] = []
        second_ran = threading.Event()

        def first() -> str:
            assert second_ran.wait(5)
            return "first"

        def second() -> str:
            second_ran.set()
            return "second"

        async def note(work: asyncio.Future[str]) -> None:
            done.append(await work)

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as threads:
            async with asyncio.TaskGroup() as group:
                group.create_task(note(loop.run_in_executor(threads, first)))
                group.create_task(note(loop.run_in_executor(threads, second)))
        return done

    assert run_virtual(main, START) == ["first", "second"]


def test_cancelled_thread_work_holds_the_clock_until_it_has_ended() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        go = threading.Event()

        def work() -> None:
            assert go.wait(5)
            seen.append("thread")

        waiting = asyncio.get_running_loop().run_in_executor(None, work)
        await asyncio.sleep(0)
        waiting.cancel()
        threading.Timer(0.05, go.set).start()
        await asyncio.sleep(1)
        seen.append("timer")
        return seen

    assert run_virtual(main, START) == ["thread", "timer"]


def test_cancelling_work_that_waits_for_a_thread_cancels_it() -> None:
    async def main() -> list[str]:
        ran: list[str] = []
        go = threading.Event()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as threads:
            busy = loop.run_in_executor(threads, go.wait, 5)
            queued = loop.run_in_executor(threads, ran.append, "ran")
            await asyncio.sleep(0)
            queued.cancel()
            await asyncio.sleep(0)
            go.set()
            await busy
        await asyncio.sleep(1)
        return ran

    assert run_virtual(main, START) == []


def test_a_signal_is_awaited_under_external_work() -> None:
    async def main() -> float:
        loop = virtual_loop()
        got = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        with loop.external_work():
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            async with asyncio.timeout(1):
                await got.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        return loop.time()

    assert run_virtual(main, START) == 0.0


def test_time_goes_on_after_external_work() -> None:
    async def main() -> float:
        loop = virtual_loop()
        with loop.external_work():
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        return loop.time()

    assert run_virtual(main, START) == 1.000001


def test_a_child_process_takes_no_virtual_time() -> None:
    async def main() -> tuple[bytes, float]:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('child')", stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(0.001):
            out, _ = await child.communicate()
        moment = asyncio.get_running_loop().time()
        await asyncio.sleep(1)
        return out, moment

    assert run_virtual(main, START) == (b"child\n", 0.0)


def test_a_child_that_cannot_start_leaves_the_clock_running() -> None:
    async def main() -> float:
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/nonexistent/program")
        await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    assert run_virtual(main, START) == 1.000001


def slow(answer: str) -> str:
    threading.Event().wait(0.05)
    return answer


# --- pace --------------------------------------------------------------------------


def test_a_paced_run_takes_its_share_of_real_time() -> None:
    async def main() -> float:
        for _ in range(60):
            await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    began = time.perf_counter()
    moment = run_virtual(main, START, pace=600)
    took_s = time.perf_counter() - began
    assert moment == pytest.approx(60, abs=0.001)
    assert 0.09 < took_s < 1.0


def test_many_short_paced_waits_do_not_add_up_to_more() -> None:
    async def main() -> None:
        for _ in range(1_000):
            await asyncio.sleep(0.01)

    began = time.perf_counter()
    run_virtual(main, START, pace=100)
    assert 0.08 < time.perf_counter() - began < 0.6


def test_a_signal_ends_a_paced_wait_in_the_middle() -> None:
    async def main() -> float:
        loop = virtual_loop()
        got = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        async with asyncio.timeout(3_600):
            await got.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        return loop.time()

    # 0.1 real seconds are 6 virtual ones; the hour would be a minute.
    assert 5 < run_virtual(main, START, pace=60) < 60


# --- the same twice, and other people's schedulers -----------------------------------


def trace() -> list[str]:
    lines: list[str] = []

    async def worker(name: str, period_s: float) -> None:
        for n in range(50):
            await asyncio.sleep(period_s)
            line = f"{wall().isoformat()} {name}{n}"
            lines.append(await asyncio.to_thread(line.upper))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name, period_s in (("a", 1.0), ("b", 0.5), ("c", 1.0 / 3)):
                group.create_task(worker(name, period_s), name=name)

    run_virtual(main, START)
    return lines


def test_the_same_program_leaves_the_same_trace() -> None:
    first = trace()
    assert len(first) == 150
    assert trace() == first


@pytest.mark.virtual(start="2026-02-19T09:00:00-05:00")
async def test_a_cron_job_fires_in_virtual_time() -> None:
    fired: list[datetime] = []

    async def job() -> None:
        fired.append(wall().astimezone(NEW_YORK).replace(microsecond=0))

    scheduler = AsyncIOScheduler(timezone=NEW_YORK)
    scheduler.add_job(job, "cron", day_of_week="mon-fri", hour=15, minute=40)
    scheduler.start()
    await asyncio.sleep(5 * 86_400)
    scheduler.shutdown()
    await asyncio.sleep(0)
    assert fired == [
        datetime(2026, 2, 19, 15, 40, tzinfo=NEW_YORK),
        datetime(2026, 2, 20, 15, 40, tzinfo=NEW_YORK),
        datetime(2026, 2, 23, 15, 40, tzinfo=NEW_YORK),
    ]


@pytest.mark.virtual(start="2026-03-06T15:00:00-05:00")
async def test_a_cron_job_keeps_new_york_time_over_the_clock_change() -> None:
    fired: list[datetime] = []

    async def job() -> None:
        fired.append(wall().replace(microsecond=0))

    scheduler = AsyncIOScheduler(timezone=NEW_YORK)
    scheduler.add_job(job, "cron", hour=15, minute=40)
    scheduler.start()
    await asyncio.sleep(3 * 86_400 + 3_600)
    scheduler.shutdown()
    await asyncio.sleep(0)
    assert [f"{moment:%d %H:%M}" for moment in fired] == [
        "06 20:40",
        "07 20:40",
        "08 19:40",
        "09 19:40",
    ]
