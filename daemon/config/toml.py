"""TOML with places: the line of a syntax error, the line of each key."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path

from daemon.errors import ConfigError

KeyPath = tuple[str, ...]

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_toml(path: Path) -> str:
    """Return the text of *path*, which must be UTF-8; a byte order mark is dropped.

    Raises:
        ConfigError: it is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: no such configuration file; make one (an empty file is enough, "
            f"every key has a default): mkdir -p '{path.parent}' && touch '{path}'"
        ) from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        column = exc.start - exc.object.rfind(b"\n", 0, exc.start)
        raise ConfigError(
            f"{path}:{line}:{column}: not UTF-8; save the file as UTF-8"
        ) from exc


def parse_toml(text: str, source: object) -> dict[str, object]:
    """Return the tables of *text*; numbers with a point are Decimals.

    Raises:
        ConfigError: not TOML; the text names *source*, line and column.
    """
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except RecursionError as exc:
        raise ConfigError(f"{source}: nested too deeply to be read") from exc
    except (ValueError, ArithmeticError) as exc:
        # TOMLDecodeError is a ValueError; so is an int of 5000 digits.
        raise ConfigError(f"{source}{_explain(str(exc), text)}") from exc


def _explain(message: str, text: str) -> str:
    found = _PLACE.search(message)
    if found is None:
        return f": not TOML: {message}"
    lines = text.split("\n")
    line, column = found.groups(default="")
    line, column = line or str(len(lines)), column or str(len(lines[-1]) + 1)
    return f":{line}:{column}: not TOML: {message[: found.start()]}"


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, on which each table and key of *text* begins.

    Statement by statement: under its table's header a complete one is TOML by itself,
    and the first lines of an unfinished one never are.
    """
    lines: dict[KeyPath, int] = {}
    header, pending, start = "", "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        pending += line + "\n"
        try:
            statement = tomllib.loads(header + pending, parse_float=str)
        except ValueError:
            continue
        for path in _paths(statement):
            lines.setdefault(path, start)
        if pending.lstrip().startswith("["):
            header = pending
        pending, start = "", number + 1
    return lines


def toml_text(value: object) -> str:
    """Return *value* as it would stand in the file, on one line; None as empty."""
    match value:
        case bool():
            text = "true" if value else "false"
        case None | str() | Path():
            text = json.dumps(str(value or ""), ensure_ascii=False)
        case date() | time():
            text = value.isoformat()
        case list() | tuple():
            text = "[" + ", ".join(map(toml_text, value)) + "]"
        case float():
            text = f"{value:g}"
        case _:
            text = str(value)
    return text


def _paths(table: dict[str, object], above: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))
