"""The planted faults are in order, and the tool that tries them tells the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutants.__main__ import main
from tools.mutants.mutant import (
    MutantError,
    missing_tests,
    mutate,
    read_mutant,
    read_mutants,
)

PROJECT = Path(__file__).parents[2]
MUTANTS = read_mutants(PROJECT)
BY_NAME = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


def test_there_are_planted_faults():
    assert len(MUTANTS) >= 20


@BY_NAME
def test_every_planted_fault_still_has_its_place(mutant):
    assert mutate(mutant, PROJECT) != (PROJECT / mutant.file).read_text()


@BY_NAME
def test_the_tests_that_must_catch_it_exist(mutant):
    assert missing_tests(mutant, PROJECT) == []


# --- the tool, on a project of three lines -------------------------------------------

CODE = "FLOOR = 1\n\n\ndef half(number):\n    return number // 2\n"
TESTS = """\
import subprocess
import sys

import pytest

from daemon.code import FLOOR, half


def test_half():
    assert half(4) == 2


@pytest.mark.parametrize("number", [0, 4])
def test_half_of_each(number):
    assert half(number) * 2 == number


def test_half_in_another_process():
    code = "from daemon.code import half; assert half(4) == 2"
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_nothing():
    pass


def test_red():
    assert FLOOR == 2
"""


@pytest.fixture
def project(tmp_path):
    """Return a small project; without mutants."""
    root = tmp_path / "project"
    for name, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['-ra']\n",
        "daemon/__init__.py": "",
        "daemon/code.py": CODE,
        "tests/test_code.py": TESTS,
        "tests/mutants/README.md": "",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def plant(project):
    """Return what plants a fault in the project: `plant("name", "test_half", …)`."""

    def write(name, *tests, old="number // 2", new="number // 3"):
        nodes = [f"tests/test_code.py::{test}" for test in tests]
        (project / f"tests/mutants/{name}.toml").write_text(
            f'law = "I1"\nwhy = "w"\nfile = "daemon/code.py"\n'
            f"old = {old!r}\nnew = {new!r}\ncaught_by = {nodes!r}\n"
        )

    return write


def lines(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_a_fault_that_every_named_test_notices_is_caught(project, plant, capsys):
    plant("one", "test_half", "test_half_of_each", "test_half_of_each[4]")
    plant("two", "test_half_in_another_process")
    assert main(["--root", str(project)]) == 0
    first, second, total = lines(capsys)
    assert first.startswith("one  I1        caught in ")
    assert first.endswith(" by test_half and 2 more")
    assert second.startswith("two  I1        caught in ")
    assert total.startswith("2 mutants, 2 caught, 0 not, in ")
    assert (project / "daemon/code.py").read_text() == CODE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tests", "fault", "complaint"),
    [
        (["test_nothing"], {}, "survives tests/test_code.py::test_nothing"),
        (
            ["test_half", "test_nothing"],
            {},
            "survives tests/test_code.py::test_nothing",
        ),
        (["test_red"], {}, "without it: tests/test_code.py::test_red fails"),
        (["test_gone"], {}, "without it: tests/test_code.py::test_gone did not run"),
        (["test_half"], {"old": "number // 5"}, "its old text stands 0 times in"),
        (["test_half"], {"old": "number"}, "its old text stands 2 times in"),
        (["test_half"], {"new": "number //"}, "with it daemon/code.py is no Python"),
        (["test_half"], {"old": "FLOOR = 1", "new": "FLOOR = half"}, "not importable"),
    ],
)
def test_whatever_is_not_a_proof_fails(project, plant, capsys, tests, fault, complaint):
    plant("odd", *tests, **fault)
    assert main(["--root", str(project), "--jobs", "1"]) == 1
    verdict, total = lines(capsys)
    assert complaint in verdict
    assert "NOT CAUGHT" in verdict
    assert total.startswith("1 mutants, 0 caught, 1 not, in ")


@pytest.mark.slow
def test_only_the_named_ones_are_tried(project, plant, capsys):
    plant("good", "test_half")
    plant("bad", "test_nothing")
    assert main(["good", "--root", str(project), "--jobs", "1"]) == 0
    assert lines(capsys)[-1].startswith("1 mutants, 1 caught")
    assert main(["better", "--root", str(project)]) == 2
    said = capsys.readouterr().err
    assert said == "mutants: no mutant is named better; there are: bad, good\n"


@pytest.mark.slow
def test_a_project_without_planted_faults_proves_nothing(project, capsys):
    assert main(["--root", str(project), "--jobs", "1"]) == 1
    assert lines(capsys)[-1].startswith("0 mutants, 0 caught")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("law = ", "not TOML"),
        ("law = 'I1'\nextra = 1\n", "missing or unknown: caught_by, extra, file, new"),
        (
            "law='I1'\nwhy=''\nfile=''\nold=''\nnew=''\ncaught_by=[]\n",
            "caught_by is a list with at least one test",
        ),
    ],
)
def test_a_file_that_is_no_mutant_is_named(tmp_path, text, complaint):
    path = tmp_path / "odd.toml"
    path.write_text(text)
    with pytest.raises(MutantError, match=complaint) as caught:
        read_mutant(path)
    assert str(path) in str(caught.value)


def test_a_test_is_found_by_its_whole_name(project, plant):
    plant("one", "test_half", "test_hal", "TestHalf::test_half")
    mutant = read_mutant(project / "tests/mutants/one.toml")
    assert missing_tests(mutant, project) == list(mutant.caught_by[1:])
