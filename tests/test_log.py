from __future__ import annotations

import contextlib
import io
import json
import logging
import stat
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog
import time_machine

from daemon.log import KEEP_DAYS, configure_logging, release_logging

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
SECRETS = ("F123456", "hunter2")
LEAKS = ("DU1234567", "U7654321", "F123456", "hunter2", "AAHdqTcv")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    yield
    structlog.contextvars.clear_contextvars()
    release_logging()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def only(stream: io.StringIO) -> dict[str, object]:
    (line,) = lines(stream)
    return line


def talk() -> None:
    """Say a secret on every road that leads into the log."""
    structlog.stdlib.get_logger("daemon.desk").info(
        "order.sent",
        account="DU1234567",
        nested={"rows": [{"account": "U7654321"}], "F123456": "hunter2"},
    )
    logging.getLogger("ib_async.client").info("Logged on as %s", "DU1234567")
    logging.getLogger("aiohttp.client").warning(
        "failed", extra={"url": f"https://api.telegram.org/bot{TOKEN}/sendMessage"}
    )
    warnings.warn("account U7654321 and hunter2", UserWarning, stacklevel=1)
    _fail(TOKEN)


def _fail(token: str) -> None:
    for logger in (structlog.stdlib.get_logger("daemon"), logging.getLogger("lib")):
        try:
            _ask(token)
        except RuntimeError:
            logger.exception("job.failed")


def _ask(token: str) -> None:
    try:
        urlsplit(f"https://[/bot{token}/getMe")
    except ValueError as exc:
        raise RuntimeError(f"/bot{token}/getMe for DU1234567, not F123456") from exc


@pytest.mark.parametrize("style", ["console", "json"])
@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_no_secret_passes_on_any_road(style: str, kind: type[io.StringIO]) -> None:
    stream = kind()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging(style, "DEBUG", stream, secrets=SECRETS)
        talk()
        release_logging()
    text = stream.getvalue()
    assert [leak for leak in LEAKS if leak in text] == []
    # All six lines have come, masked and not merely missing.
    assert "order.sent" in text
    assert "Logged on as DU***567" in text
    assert "/bot***/sendMessage" in text
    assert "account U***321 and ***" in text
    assert text.count("/bot***/getMe for DU***567, not F***456") >= 2


def test_no_secret_passes_into_the_file(tmp_path: Path, stream: io.StringIO) -> None:
    file = tmp_path / "log" / "ibkrd.log"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging("console", "DEBUG", stream, file, SECRETS)
        talk()
        release_logging()
    text = file.read_text(encoding="utf-8")
    assert [leak for leak in LEAKS if leak in text] == []
    assert len([json.loads(line) for line in text.splitlines()]) == 6


def test_a_line_is_told_in_keys(stream: io.StringIO) -> None:
    configure_logging("json", "INFO", stream)
    with time_machine.travel("2026-02-19T15:40:00-05:00", tick=False):
        structlog.stdlib.get_logger("daemon.desk").info(
            "order.filled", order_ref="ibkrd:20260219:BLCO:B:TP", shares=181
        )
    assert only(stream) == {
        "event": "order.filled",
        "level": "info",
        "logger": "daemon.desk",
        "order_ref": "ibkrd:20260219:BLCO:B:TP",
        "shares": 181,
        "timestamp": "2026-02-19T20:40:00Z",
    }


def test_foreign_lines_carry_the_same_fields(stream: io.StringIO) -> None:
    configure_logging("json", "INFO", stream)
    structlog.contextvars.bind_contextvars(job="submit", run_id="20260219/submit/1")
    with time_machine.travel("2026-02-19T09:35:00-05:00", tick=False):
        logging.getLogger("ib_async.client").info("Connected to %s", "127.0.0.1")
    line = only(stream)
    line.pop("message", None)  # pytest's own handler leaves it on the record
    assert line == {
        "event": "Connected to 127.0.0.1",
        "job": "submit",
        "level": "info",
        "logger": "ib_async.client",
        "run_id": "20260219/submit/1",
        "timestamp": "2026-02-19T14:35:00Z",
    }


def test_the_time_moves_with_virtual_time(stream: io.StringIO) -> None:
    configure_logging("json", "INFO", stream)
    log = structlog.stdlib.get_logger("daemon")
    with time_machine.travel("2026-02-19T09:35:00-05:00", tick=False) as traveller:
        log.info("clock.read")
        traveller.shift(timedelta(hours=6))
        log.info("clock.read")
    assert [line["timestamp"] for line in lines(stream)] == [
        "2026-02-19T14:35:00Z",
        "2026-02-19T20:35:00Z",
    ]


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        configure_logging("auto", "INFO", stream)
        structlog.stdlib.get_logger("daemon").info("daemon.started")
    assert terminal.getvalue().startswith("\x1b[")
    assert only(pipe)["event"] == "daemon.started"


def test_the_console_in_a_pipe_has_no_colours(stream: io.StringIO) -> None:
    configure_logging("console", "INFO", stream)
    structlog.stdlib.get_logger("daemon").info("daemon.started", client_id=10)
    assert "\x1b" not in stream.getvalue()
    assert "daemon.started" in stream.getvalue()
    assert "client_id=10" in stream.getvalue()


def _explode() -> None:
    harmless_looking = "-".join("local")
    raise ValueError(len(harmless_looking))


@pytest.mark.parametrize("style", ["console", "json"])
def test_tracebacks_are_plain_and_hold_no_locals(
    style: str, stream: io.StringIO
) -> None:
    configure_logging(style, "INFO", stream)
    try:
        _explode()
    except ValueError:
        structlog.stdlib.get_logger("daemon").exception("job.failed")
    text = stream.getvalue()
    assert "_explode" in text
    assert "l-o-c-a-l" not in text


def test_a_json_traceback_is_structured(stream: io.StringIO) -> None:
    configure_logging("json", "INFO", stream)
    try:
        _explode()
    except ValueError:
        logging.getLogger("lib").exception("failed")
    (found,) = only(stream)["exception"]
    assert (found["exc_type"], found["exc_value"]) == ("ValueError", "9")


@pytest.mark.announces("Peer closed connection")
def test_the_level_holds_for_ours_and_foreign_lines(stream: io.StringIO) -> None:
    configure_logging("json", "WARNING", stream)
    structlog.stdlib.get_logger("daemon").info("daemon.started")
    logging.getLogger("ib_async.client").info("Connecting")
    structlog.stdlib.get_logger("daemon").warning("clock.jumped")
    logging.getLogger("ib_async.client").error("Peer closed connection")
    assert [line["event"] for line in lines(stream)] == [
        "clock.jumped",
        "Peer closed connection",
    ]


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_the_scheduler_library_speaks_from_warning_on(
    level: str, stream: io.StringIO
) -> None:
    configure_logging("json", level, stream)
    for name in ("apscheduler.scheduler", "apscheduler.executors.default"):
        logging.getLogger(name).info("Running job")
        logging.getLogger(name).warning("Run time of job was missed")
    assert [line["level"] for line in lines(stream)] == ["warning", "warning"]


@pytest.mark.parametrize("code", [2104, 2106, 2158])
def test_a_farm_that_is_ok_is_debug(code: int, stream: io.StringIO) -> None:
    wrapper = logging.getLogger("ib_async.wrapper")
    text = f"Warning {code}, reqId -1: Market data farm connection is OK:usfarm"
    configure_logging("json", "INFO", stream)
    wrapper.info(text)
    assert stream.getvalue() == ""
    configure_logging("json", "DEBUG", stream)
    wrapper.info(text)
    assert (only(stream)["level"], only(stream)["event"]) == ("debug", text)


@pytest.mark.parametrize("code", [2103, 2105, 21040, 1100])
def test_a_farm_that_is_broken_is_told(code: int, stream: io.StringIO) -> None:
    configure_logging("json", "INFO", stream)
    logging.getLogger("ib_async.wrapper").info("Warning %d, reqId -1: broken", code)
    assert only(stream)["level"] == "info"


def test_configuring_again_replaces(stream: io.StringIO) -> None:
    first = io.StringIO()
    configure_logging("json", "INFO", first)
    configure_logging("json", "INFO", stream)
    logging.getLogger("lib").info("once")
    assert first.getvalue() == ""
    assert only(stream)["event"] == "once"


def test_release_leaves_the_handlers_of_others(stream: io.StringIO) -> None:
    root = logging.getLogger()
    other = logging.NullHandler()
    before = [*root.handlers]
    root.addHandler(other)
    with contextlib.ExitStack() as stack:
        stack.callback(root.removeHandler, other)
        configure_logging("json", "INFO", stream)
        release_logging()
        assert root.handlers == [*before, other]
    assert logging.getLogger("ib_async.wrapper").filters == []
    assert not structlog.is_configured()


def test_loggers_are_kept_only_where_asked(stream: io.StringIO) -> None:
    configure_logging("json", "INFO", stream)
    assert structlog.get_config()["cache_logger_on_first_use"] is False
    configure_logging("json", "INFO", stream, cache=True)
    assert structlog.get_config()["cache_logger_on_first_use"] is True


def test_the_file_is_private_and_a_new_one_begins_each_day(
    tmp_path: Path, stream: io.StringIO
) -> None:
    file = tmp_path / "log" / "ibkrd.log"
    log = structlog.stdlib.get_logger("daemon")
    with time_machine.travel("2026-02-19T15:40:00Z", tick=False) as traveller:
        configure_logging("json", "INFO", stream, file)
        log.info("day.one")
        traveller.shift(timedelta(days=1))
        log.info("day.two")
        release_logging()
    files = sorted(file.parent.iterdir())
    assert [path.name for path in files] == ["ibkrd.log", "ibkrd.log.2026-02-19"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "day.two" in files[0].read_text(encoding="utf-8")
    assert KEEP_DAYS == 30


def test_a_value_that_json_does_not_know_is_told_as_text(
    stream: io.StringIO,
) -> None:
    configure_logging("json", "INFO", stream)
    structlog.stdlib.get_logger("daemon").info("seen", value={1: float("nan")})
    assert only(stream)["value"] == {"1": "nan"}
