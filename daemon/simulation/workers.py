"""Threads beside a virtual clock: counted, and their results in a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class ResultsInOrder:
    """Results of worker threads, handed to the loop in the order of submission.

    Threads finish in any order; a trace that shall be the same twice may not show it.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[tuple[Future[Any], Future[Any]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def promise(self, work: Future[T]) -> Future[T]:
        """Return the future that deliver() resolves when *work* is done."""
        result: Future[T] = Future()
        result.add_done_callback(lambda _: work.cancel())
        self._waiting.append((work, result))
        work.add_done_callback(lambda _: self._wake())
        return result

    def deliver(self) -> bool:
        """Hand over the oldest result; return whether it was there."""
        work, result = self._waiting[0]
        if not work.done():
            return False
        self._waiting.popleft()
        if work.cancelled():
            result.cancel()
        if not result.set_running_or_notify_cancel():
            return True
        error = work.exception()
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(work.result())
        return True


class CountedExecutor(Executor):
    """An executor whose work the loop waits for with its clock frozen."""

    def __init__(self, executor: Executor, results: ResultsInOrder) -> None:
        self._executor = executor
        self._results = results

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Submit *fn* to the executor and count it."""
        return self._results.promise(self._executor.submit(fn, *args, **kwargs))
