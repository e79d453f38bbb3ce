"""A copy of the project with an interpreter of its own, in which faults do no harm.

The project is installed editable, so a copy must not import the original by mistake:
neither its tests nor the processes that they start. Its interpreter therefore knows
the copy and the libraries, and not the place from which they were copied.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.mutant import Mutant, MutantError, mutate

LEFT_OUT = (".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "build", "dist")
PACKAGES = ("daemon", "tests", "tools")
LIMIT_S = 300.0
"""Longest a run of tests may last; pytest-timeout ends a single test before."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a child said and how it ended; None: it did not end in time."""

    status: int | None
    output: str

    def outcomes(self) -> dict[str, set[str]]:
        """Return the outcomes of each test, by case and of its cases together."""
        found: dict[str, set[str]] = {}
        for line in self.output.splitlines():
            outcome, _, rest = line.partition(" ")
            if outcome in {"PASSED", "FAILED", "ERROR"} and "::" in rest:
                case = rest.partition(" - ")[0]
                for node in {case, case.partition("[")[0]}:
                    found.setdefault(node, set()).add(outcome)
        return found


class Stage:
    """A copy of the project at *root* under *place*; `make` it before anything else."""

    def __init__(self, root: Path, place: Path) -> None:
        self._source = root
        self.root = place / "project"
        self._scratch = place / "scratch"
        self._venv = place / "venv"

    def make(self) -> None:
        """Copy the project and give it an interpreter.

        Raises:
            MutantError: the copy would not import itself.
        """
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(self._source, self.root, ignore=ignore, symlinks=True)
        self._scratch.mkdir()
        venv.create(self._venv, symlinks=True, with_pip=False)
        libraries = dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))
        path = [str(self.root), *libraries]
        (self._site() / "stage.pth").write_text("\n".join(path) + "\n")
        self._compile()
        self._require_itself()

    def _site(self) -> Path:
        base = {"base": str(self._venv), "platbase": str(self._venv)}
        return Path(sysconfig.get_path("purelib", "venv", vars=base))

    def _compile(self) -> None:
        """Compile once, judged by content: a fault comes and goes within a second."""
        there = [name for name in PACKAGES if (self.root / name).exists()]
        mode = ("--invalidation-mode", "checked-hash")
        self.python("-m", "compileall", "-q", *mode, *there)

    def _require_itself(self) -> None:
        said = self.python("-c", "import daemon; print(daemon.__file__)").output
        if not Path(said.strip()).is_relative_to(self.root.resolve()):
            raise MutantError(f"the copy imports something else: {said}")

    @contextmanager
    def broken(self, mutant: Mutant) -> Iterator[None]:
        """Let the fault stand in the copy while the block runs.

        Raises:
            MutantError: it cannot be put there, or its module cannot be imported.
        """
        path = self.root / mutant.file
        good = path.read_bytes() if path.exists() else b""
        path.write_text(mutate(mutant, self.root), encoding="utf-8")
        try:
            imported = self.python("-c", f"import {mutant.module}")
            if imported.status != 0:
                last = imported.output.strip().rpartition("\n")[2]
                raise MutantError(f"with it {mutant.module} is not importable: {last}")
            yield
        finally:
            path.write_bytes(good)

    def pytest(self, nodes: Sequence[str], *options: str) -> Run:
        """Run the tests *nodes* and tell the outcome of each in the summary."""
        quiet = ("-q", "-rpfE", "--tb=no", "--no-header", "-p", "no:cacheprovider")
        return self.python("-m", "pytest", *quiet, *options, *nodes)

    def python(self, *arguments: str) -> Run:
        """Run the copy's interpreter in the copy."""
        interpreter = self._venv / "bin" / "python"
        with subprocess.Popen(  # noqa: S603 - our own interpreter
            [interpreter, *arguments],
            cwd=self.root,
            env=self._environment(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as child:
            try:
                output, _ = child.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                return Run(None, child.communicate()[0])
            except BaseException:
                os.killpg(child.pid, signal.SIGKILL)
                raise
        return Run(child.returncode, output)

    def _environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        keep = {
            k: v for k, v in outer.items() if not k.startswith(("PYTHON", "PYTEST"))
        }
        return {
            **keep,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self._scratch),
            "COLUMNS": "500",
        }


if sys.platform == "win32":
    raise SystemExit("the daemon and its tools run on Linux and macOS")
