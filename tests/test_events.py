from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from daemon.core.model import OrderState

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"[a-z_]+\.[a-z_]+")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def test_every_event_of_the_code_stands_in_the_documentation() -> None:
    assert events_of_the_code() - documented() == set()


def test_no_documented_event_has_left_the_code() -> None:
    assert documented() - events_of_the_code() == set()


def test_the_table_is_sorted_and_names_each_event_once() -> None:
    names = list(rows())
    assert names == sorted(set(names))


def events_of_the_code() -> set[str]:
    files = (ROOT / "daemon").rglob("*.py")
    literal = {name for file in files for name in logged(file)}
    return literal | {f"order.{state}" for state in OrderState}


def logged(file: Path) -> Iterator[str]:
    """Yield the literal first argument of every call that looks like a log line.

    The fake gateway is no part of the daemon and logs for itself.
    """
    if "fakegateway" in file.parts:
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name, first = called(node.func), node.args[0]
        if name not in LEVELS | {"level", "write"}:
            continue
        text = first.value if isinstance(first, ast.Constant) else None
        if isinstance(text, str) and NAME.fullmatch(text):
            yield text


def called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def documented() -> set[str]:
    return set(rows())


def rows() -> Iterator[str]:
    for line in (ROOT / "docs" / "events.md").read_text().splitlines():
        if match := re.match(r"\| `([a-z_.]+)` \|", line):
            yield match[1]
