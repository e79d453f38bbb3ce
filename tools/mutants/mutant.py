"""One planted fault as a value, read from its file and put into a text."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("tests/mutants")
KEYS = frozenset({"law", "why", "file", "old", "new", "caught_by"})


class MutantError(Exception):
    """A mutant that says nothing any more: it must be mended or removed."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A small fault in one file, and the tests that promise to notice it."""

    name: str
    law: str
    """Which law or incident it breaks, as `I2` or `B8`, several with commas."""
    why: str
    file: str
    """The file to break, relative to the project, with slashes."""
    old: str
    new: str
    caught_by: tuple[str, ...]
    """Node ids of pytest; without `[case]` any case will do."""

    @property
    def module(self) -> str:
        """Return the name under which Python imports the broken file."""
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def read_mutants(root: Path) -> list[Mutant]:
    """Return the mutants of the project at *root*, by name.

    Raises:
        MutantError: a file is not TOML, or lacks a key, or has one too many.
    """
    return [read_mutant(path) for path in sorted((root / FOLDER).glob("*.toml"))]


def read_mutant(path: Path) -> Mutant:
    """Return the mutant that stands in *path*.

    Raises:
        MutantError: the file is not TOML, or its keys are not `KEYS`.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise MutantError(f"{path}: not TOML: {exc}") from exc
    if wrong := sorted(KEYS ^ found.keys()):
        raise MutantError(f"{path}: missing or unknown: {', '.join(wrong)}")
    tests = found.pop("caught_by")
    if not (isinstance(tests, list) and tests and _texts([*tests, *found.values()])):
        raise MutantError(
            f"{path}: caught_by is a list with at least one test, all else is text"
        )
    return Mutant(name=path.stem, caught_by=tuple(tests), **found)


def _texts(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def mutate(mutant: Mutant, root: Path) -> str:
    """Return the text of the mutant's file with the fault in it.

    Raises:
        MutantError: there is no such place, more than one, or no Python afterwards.
    """
    try:
        text = (root / mutant.file).read_text(encoding="utf-8")
    except OSError as exc:
        raise MutantError(f"{mutant.file}: {exc.strerror}") from exc
    if (count := text.count(mutant.old)) != 1:
        raise MutantError(f"its old text stands {count} times in {mutant.file}, not 1")
    broken = text.replace(mutant.old, mutant.new)
    if broken == text:
        raise MutantError("its old and new text are the same")
    try:
        compile(broken, mutant.file, "exec")
    except SyntaxError as exc:
        raise MutantError(f"with it {mutant.file} is no Python: {exc}") from exc
    return broken


def missing_tests(mutant: Mutant, root: Path) -> list[str]:
    """Return those of the mutant's tests that the project at *root* does not define."""
    return [node for node in mutant.caught_by if not _defined(node, root)]


def _defined(node: str, root: Path) -> bool:
    file, *names = node.partition("[")[0].split("::")
    try:
        scope: ast.AST = ast.parse((root / file).read_text(encoding="utf-8"))
    except OSError:
        return False
    for name in names:
        inner = [each for each in ast.iter_child_nodes(scope) if _name(each) == name]
        if not inner:
            return False
        scope = inner[0]
    return bool(names) and not isinstance(scope, ast.ClassDef)


def _name(node: ast.AST) -> str | None:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return node.name if isinstance(node, kinds) else None
