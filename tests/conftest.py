"""How every test runs: which loop, and what it may not leave behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from daemon.simulation.loop import VirtualLoop

SUSPECTS = ("ib_async", "asyncio", "apscheduler", "eventkit")
"""Libraries that swallow a failure and only log it."""
START = "2026-02-19T09:00:00-05:00"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "announces(*texts): errors that the libraries may log here, by text or code",
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 # pytest-asyncio's signature
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give tests marked `virtual` a virtual loop, the others a real one."""
    marker = item.get_closest_marker("virtual")
    if marker is None:
        return {"real": asyncio.new_event_loop}
    start = datetime.fromisoformat(marker.kwargs.get("start", START))
    return {"virtual": lambda: VirtualLoop(start)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each coroutine test prove, as its last act, that nothing is pending."""
    for item in items:
        if isinstance(item, pytest.Function) and _is_coroutine(item):
            item.fixturenames.insert(0, "nothing_pending")


def _is_coroutine(item: pytest.Function) -> bool:
    inner = getattr(item.obj, "hypothesis", None)
    return inspect.iscoroutinefunction(inner.inner_test if inner else item.obj)


@pytest_asyncio.fixture
async def nothing_pending() -> AsyncIterator[None]:
    """Fail if tasks are alive when all other fixtures are gone."""
    yield
    await _turns(3)  # a cancelled task needs a turn to end
    alive = asyncio.all_tasks() - {asyncio.current_task()}
    if alive:
        names = "\n".join(sorted(map(repr, alive)))
        pytest.fail(f"tasks are still pending at the end:\n{names}", pytrace=False)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def no_unannounced_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail on an ERROR of a library that the test does not announce.

    It is set up before the loop and so torn down after it.
    """
    heard = _Listener()
    for name in SUSPECTS:
        logging.getLogger(name).addHandler(heard)
    try:
        yield
        gc.collect(1)  # "exception was never retrieved" is logged by a finalizer
    finally:
        for name in SUSPECTS:
            logging.getLogger(name).removeHandler(heard)
    markers = request.node.iter_markers("announces")
    announced = [_pattern(text) for marker in markers for text in marker.args]
    unannounced = [
        line
        for line in heard.lines
        if not any(re.search(one, line) for one in announced)
    ]
    if unannounced:
        lines = "\n".join(unannounced)
        pytest.fail(f"errors that nobody announced:\n{lines}", pytrace=False)


def _pattern(announced: str | int) -> str:
    """Return what finds *announced*: a text anywhere, a code as a word of its own."""
    text = re.escape(str(announced))
    return rf"\b{text}\b" if str(announced).isdecimal() else text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return an empty file system of 24 MiB in memory; only root can mount one."""
    place = tmp_path / "small disk"
    place.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(place)]
    command = [shutil.which("mount") or "false", *options]
    mounted = subprocess.run(command, check=False, capture_output=True)  # noqa: S603
    if mounted.returncode != 0:
        pytest.skip("a real full disk needs the right to mount a small one: be root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S603, S607


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
