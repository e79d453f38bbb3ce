"""Every await of every job as a point."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from daemon.simulation.killing.life import Call, Life
from daemon.simulation.killing.standin import Steps

JOB = "job "
"""How the names of the scheduler's tasks begin: `job 2026-02-19/submit`."""


class TaskWatch:
    """A task factory under which the tasks of jobs, and theirs, pass points."""

    def __init__(self) -> None:
        self.life: Life | None = None
        """Whose tasks those are that begin now."""
        self._calls: dict[asyncio.Task[Any], Call] = {}
        self._waits: dict[asyncio.Task[Any], int] = {}
        self._parents: dict[asyncio.Task[Any], asyncio.Task[Any] | None] = {}

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,  # noqa: ANN401 # asyncio's own: the context
    ) -> asyncio.Task[Any]:
        """Return a task that runs *coroutine*."""
        life, parent = self.life, asyncio.current_task(loop)
        if life is None or not isinstance(coroutine, Coroutine):
            return asyncio.Task(coroutine, loop=loop, **options)
        watched = Steps(coroutine, lambda: self._wait(task, life))
        task: asyncio.Task[Any] = asyncio.Task(watched, loop=loop, **options)
        self._parents[task] = parent
        task.add_done_callback(self._forget)
        return task

    @property
    def in_job(self) -> bool:
        """Return whether the task that runs now is a job's."""
        return bool(self._job(asyncio.current_task()))

    def _wait(self, task: asyncio.Task[Any], life: Life) -> None:
        name = self._job(task)
        if not name or life.mute:
            return
        if task not in self._calls:
            self._calls[task] = life.call("await", name)
        self._waits[task] = self._waits.get(task, 0) + 1
        self._calls[task].reach(f"wait{self._waits[task]}")

    def _job(self, task: asyncio.Task[Any] | None) -> str:
        """Return the job to which *task* belongs, by its name or its parents'."""
        while task is not None:
            name = task.get_name()
            if name.startswith(JOB):
                return name.rpartition("/")[2]
            task = self._parents.get(task)
        return ""

    def _forget(self, task: asyncio.Task[Any]) -> None:
        for known in (self._calls, self._waits, self._parents):
            known.pop(task, None)
