"""One pipe for every log line: structlog, then stdlib logging, then redaction.

Records of libraries (ib_async, apscheduler, asyncio, warnings) take the same road,
so they carry the same fields and lose the same secrets.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from io import TextIOWrapper
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.core.redact import Redactor
from daemon.errors import ConfigError

Style = Literal["auto", "console", "json"]

SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ExtraAdder(),
    # datetime.now inside, so that virtual time shows.
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
"""What every line gets, whether it is ours or a library's."""

KEEP_DAYS = 30
"""Rotated log files that are kept, one a day."""

_QUIET = "apscheduler"
# INFO writes two lines for each run; our own runner says it once.
_WRAPPER = "ib_async.wrapper"
_FARM_OK = re.compile(r"Warning (?:2104|2106|2158)\b")
# Market data, historical data and security definition farm connections are OK.


def configure_logging(
    style: Style,
    level: str,
    stream: TextIO,
    file: Path | None = None,
    secrets: Collection[str] = (),
    *,
    cache: bool = False,
) -> None:
    """Send every record to *stream*, and as JSON lines to *file*.

    Args:
        style: console, json, or auto: console where *stream* is a terminal.
        level: the least level that is shown, `INFO` for example.
        stream: usually standard error.
        file: rotated at local midnight; its directory is made, 0700.
        secrets: exact values to mask; account ids among them keep three digits.
        cache: keep loggers after their first use; for the daemon, not for tests.

    Calling it again replaces the earlier configuration.

    Raises:
        ConfigError: *file* cannot be written.
    """
    release_logging()
    redactor = Redactor(frozenset(secrets))
    handlers: list[logging.Handler] = [_stream_handler(style, stream, redactor)]
    if file is not None:
        handlers.append(_file_handler(file, redactor))
    root = logging.getLogger()
    for handler in handlers:
        # The handlers filter too: a record may be demoted on its way (see _FarmOk).
        handler.setLevel(level)
        root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger(_QUIET).setLevel(logging.WARNING)
    logging.getLogger(_WRAPPER).addFilter(_FarmOk())
    logging.captureWarnings(capture=True)
    _configure_structlog(cache=cache)


def release_logging() -> None:
    """Undo `configure_logging`: close its files, leave other handlers alone."""
    root = logging.getLogger()
    for handler in [*root.handlers]:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(logging.WARNING)
    logging.getLogger(_QUIET).setLevel(logging.NOTSET)
    wrapper = logging.getLogger(_WRAPPER)
    for demotion in [f for f in wrapper.filters if isinstance(f, _FarmOk)]:
        wrapper.removeFilter(demotion)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class _FarmOk(logging.Filter):
    """Demotes the gateway's "farm connection is OK" lines to DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _FARM_OK.match(record.getMessage()):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return True


class _PrivateFile(TimedRotatingFileHandler):
    """A log file that only its owner reads, the rotated ones included."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()


def _stream_handler(
    style: Style, stream: TextIO, redactor: Redactor
) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    console = style == "console" or (style == "auto" and stream.isatty())
    rendering = _console(colors=stream.isatty()) if console else _json()
    handler.setFormatter(_formatter(rendering, redactor))
    return handler


def _file_handler(file: Path, redactor: Redactor) -> logging.Handler:
    """Return the handler of *file*, which is tried now: later nobody would hear of it.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if file.exists() or not os.access(file.parent, os.W_OK):
            file.open("ab").close()
    except OSError as exc:
        raise ConfigError(
            f"log.file: {file} cannot be written ({exc.strerror}): correct its rights, "
            "or name another file"
        ) from exc
    handler = _PrivateFile(
        file, when="midnight", backupCount=KEEP_DAYS, encoding="utf-8", delay=True
    )
    handler.setFormatter(_formatter(_json(), redactor))
    return handler


def _formatter(
    rendering: tuple[Processor, Processor], redactor: Redactor
) -> logging.Formatter:
    """Return the formatter whose last step but one masks, exception text included."""
    exceptions, renderer = rendering

    def redact(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
        return {key: redactor.value(value) for key, value in event_dict.items()}

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            exceptions,
            redact,
            renderer,
        ],
    )


def _console(*, colors: bool) -> tuple[Processor, Processor]:
    # Rich tracebacks print local variables and cost 36 ms each.
    plain = structlog.dev.plain_traceback
    return (
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain),
    )


def _json() -> tuple[Processor, Processor]:
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return (
        structlog.processors.ExceptionRenderer(transformer),
        structlog.processors.JSONRenderer(sort_keys=True),
    )


def _configure_structlog(*, cache: bool) -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=cache,
    )
