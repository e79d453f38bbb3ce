"""The net under all tests, itself tested: what it lets through is never seen again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import asyncio
import logging

import pytest


async def test_quiet():
    await asyncio.sleep(0)


async def test_leaves_a_task():
    asyncio.get_running_loop().create_task(asyncio.sleep(60), name="forgotten")


@pytest.mark.virtual
async def test_leaves_a_virtual_task():
    asyncio.get_running_loop().create_task(asyncio.sleep(60), name="forgotten")


@pytest.fixture
async def worker():
    task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
    yield task
    task.cancel()


async def test_uses_a_fixture_that_cleans_up(worker):
    await asyncio.sleep(0)


def test_logs_an_error():
    logging.getLogger("ib_async.wrapper").error("Error 201, reqId 3: rejected")


@pytest.mark.announces(201)
def test_announces_the_code():
    logging.getLogger("ib_async.wrapper").error("Error 201, reqId 3: rejected")


@pytest.mark.announces("rejected")
def test_announces_the_text():
    logging.getLogger("ib_async.wrapper").error("Error 201, reqId 3: rejected")


@pytest.mark.announces(20)
def test_announces_another_code():
    logging.getLogger("ib_async.wrapper").error("Error 201, reqId 3: rejected")


def test_logs_a_warning():
    logging.getLogger("apscheduler.scheduler").warning("late")


async def test_loses_an_exception():
    async def fail():
        raise LookupError("planned")

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the words that pytest says of each test of SUITE."""
    folder = tmp_path_factory.mktemp("suite")
    conftest = Path(__file__).with_name("conftest.py")
    (folder / "conftest.py").write_text(conftest.read_text())
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nmarkers =\n    virtual: as in the project\n"
    )
    run = subprocess.run(  # noqa: S603 # our own suite
        [sys.executable, "-m", "pytest", "-rA", "-q", "-p", "no:cacheprovider", folder],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    words: dict[str, set[str]] = {}
    for said in run.stdout.splitlines():
        word, _, rest = said.partition(" ")
        if word in {"PASSED", "FAILED", "ERROR"} and "::" in rest:
            name = rest.partition("::")[2].partition(" ")[0]
            words.setdefault(name, set()).add(word)
    assert words, run.stdout + run.stderr
    return words


@pytest.mark.parametrize(
    "name",
    [
        "test_quiet",
        "test_uses_a_fixture_that_cleans_up",
        "test_announces_the_code",
        "test_announces_the_text",
        "test_logs_a_warning",
    ],
)
def test_a_clean_test_passes(outcomes: dict[str, set[str]], name: str) -> None:
    assert outcomes[name] == {"PASSED"}


@pytest.mark.parametrize(
    "name",
    [
        "test_leaves_a_task",
        "test_leaves_a_virtual_task",
        "test_logs_an_error",
        "test_announces_another_code",
        "test_loses_an_exception",
    ],
)
def test_a_test_that_leaves_something_behind_fails(
    outcomes: dict[str, set[str]], name: str
) -> None:
    assert outcomes[name] == {"PASSED", "ERROR"}
