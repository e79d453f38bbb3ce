"""What is wrong with a configuration, as values: one line of text each."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from daemon.config.kinds import describe
from daemon.config.sections import Document
from daemon.config.toml import KeyPath, toml_text
from daemon.core.redact import BOT_TOKEN

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN = 60
"""Characters of a found value that are shown."""
_HIDDEN = "a secret (not shown)"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the dotted name of its key, and what to do about it."""

    path: KeyPath
    text: str
    name: str

    def place(self, lines: Mapping[KeyPath, int]) -> int:
        """Return the line of the key, else that of its section, else 0."""
        above = [self.path[:length] for length in range(len(self.path), 0, -1)]
        return next((lines[path] for path in above if path in lines), 0)

    def show(self, source: Path | None, lines: Mapping[KeyPath, int]) -> str:
        """Return `config.toml:12: gateway.port: expected ..., found 0`."""
        place = self.place(lines)
        parts = [str(source)] if source and self.path else []
        parts += [str(place)] if parts and place else []
        return f"{':'.join(parts)}: {self.name}: {self.text}".removeprefix(": ")


def problems(error: ValidationError) -> Iterator[Problem]:
    """Yield a problem for each fault that *error* holds."""
    for detail in error.errors(include_url=False):
        if detail["type"] == "extra_forbidden":
            yield from _unknown(detail)
        else:
            yield _wrong(detail)


def _wrong(detail: ErrorDetails) -> Problem:
    location = detail["loc"]
    path = tuple(part for part in location if isinstance(part, str))
    name = _dotted(path) + "".join(f"[{n}]" for n in location if isinstance(n, int))
    reason = _own_words(detail) or f"expected {_expected(path)}"
    return Problem(path, _with_found(reason, detail["input"]), name)


def _with_found(reason: str, value: object) -> str:
    """Return *reason* with the value in front of the remedy, unless it has it."""
    if repr(value) not in reason:
        wanted, separator, remedy = reason.partition("; ")
        reason = f"{wanted}, found {_shown(value)}{separator}{remedy}"
    return BOT_TOKEN.sub(_HIDDEN, reason)


def _own_words(detail: ErrorDetails) -> str:
    """Return the text of our own validator, empty for a fault pydantic found."""
    error = detail.get("ctx", {}).get("error")
    return str(error) if isinstance(error, ValueError) else ""


def _expected(path: KeyPath) -> str:
    section = _sections()[path[0]]
    if len(path) == 1:
        return f"a section [{path[0]}]"
    return describe(section.model_fields[path[1]])


def _unknown(detail: ErrorDetails) -> Iterator[Problem]:
    path = tuple(str(part) for part in detail["loc"])
    for leaf in _leaves(path, detail["input"]):
        yield Problem(leaf, f"unknown {_hint(leaf)}", _dotted(leaf))


def _leaves(path: KeyPath, value: object) -> Iterator[KeyPath]:
    """Yield every key under *path*: an unknown section is told key by key."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves((*path, key), item)
    else:
        yield path


def _hint(path: KeyPath) -> str:
    """Return the rest of "unknown ...": the most alike name, or all there are."""
    sections = _sections()
    section = path[0] if path[0] in sections else _close(path[0], sections)
    near = _nearest_key(path, section)
    if near:
        return f"key; did you mean {near}?"
    if section is None:
        return "section; the sections are " + ", ".join(sections)
    if section != path[0]:
        return f"section; did you mean [{section}]?"
    return f"key; [{section}] has " + ", ".join(sections[section].model_fields)


def _nearest_key(path: KeyPath, section: str | None) -> str | None:
    """Return the key most like *path*: in *section*, else of the same last word."""
    if section and (near := _close(path[-1], _sections()[section].model_fields)):
        return f"{section}.{near}"
    same = [name for name, m in _sections().items() if path[-1] in m.model_fields]
    return f"{same[0]}.{path[-1]}" if len(same) == 1 else None


def _close(word: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def _sections() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Document.model_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, BaseModel)
    }


def _dotted(path: Sequence[str]) -> str:
    quoted = (key if _BARE_KEY.fullmatch(key) else json.dumps(key) for key in path)
    return ".".join(quoted)


def _shown(value: object) -> str:
    """Return *value* as the file has it, on one line; never a token."""
    if isinstance(value, dict):
        return "a section"
    text = toml_text(value)
    if BOT_TOKEN.search(text):
        return _HIDDEN
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
