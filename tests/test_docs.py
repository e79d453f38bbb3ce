"""What the pages say of the tests and of each other is so."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from daemon.core.codes import RULES

TESTS = Path(__file__).parent
PROJECT = TESTS.parent
INCIDENTS = (PROJECT / "docs" / "incidents.md").read_text(encoding="utf-8")
TABLES, HELD = INCIDENTS.split("## Which tests hold the laws today")
ROW = re.compile(r"^\| ([A-G]\d+) \| (.*) \|$", re.MULTILINE)
IDS = re.compile(r"\b[A-G]\d+\b")
SCENARIOS = (PROJECT / "docs" / "scenarios.md").read_text(encoding="utf-8")
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
EVENTS = (PROJECT / "docs" / "events.md").read_text(encoding="utf-8")
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *PROJECT.glob("docs/**/*.md")]


def test_every_incident_says_which_tests_hold_its_law():
    incidents = [match[1] for match in ROW.finditer(TABLES)]
    assert len(incidents) == 59
    assert [match[1] for match in ROW.finditer(HELD)] == incidents


def test_every_test_that_is_named_exists():
    for incident, held in ROW.findall(HELD):
        if held == "not yet":
            continue
        files = re.findall(r"`([a-z_/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", held)
        assert files, incident
        for file, names in files:
            text = (TESTS / file).read_text(encoding="utf-8")
            for name in re.findall(r"`(test_\w+)`", names):
                assert f"def {name}(" in text, (incident, file, name)


def test_a_law_that_a_scenario_holds_is_not_called_open():
    unheld = {incident for incident, held in ROW.findall(HELD) if held == "not yet"}
    for file in (TESTS / "scenarios").glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                cited, colon, _ = (ast.get_docstring(node) or "").partition(":")
                told = set(IDS.findall(cited)) if colon else set()
                assert not told & unheld, (file.name, node.name)


def test_every_scenario_has_a_test_and_a_planted_fault_that_it_catches():
    rows = SCENARIOS.partition("|---|---|---|\n")[2].splitlines()
    assert len(rows) >= 39
    for row in rows:
        found = re.fullmatch(
            r"\| .+ \| `([\w/]+\.py)`: `(test_\w+)` \| `([\w-]+)` \|", row
        )
        assert found, row
        file, test, name = found.groups()
        text = (TESTS / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text, row
        path = TESTS / "mutants" / f"{name}.toml"
        mutant = tomllib.loads(path.read_text(encoding="utf-8"))
        caught_by = {node.partition("[")[0] for node in mutant["caught_by"]}
        assert f"tests/{file}::{test}" in caught_by, row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


# --- the runbook ----------------------------------------------------------------------


def test_every_event_of_warning_or_error_has_its_line_in_the_runbook():
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([A-Z, ]+) \|", EVENTS, re.MULTILINE)
    loud = {name for name, level in rows if re.search("WARNING|ERROR", level)}
    assert len(loud) > 30
    assert loud - set(events_of_the_runbook()) == set()


def test_the_runbook_names_events_in_order_and_none_that_has_left():
    known = set(re.findall(r"^\| `([a-z_.]+)` \|", EVENTS, re.MULTILINE))
    named = events_of_the_runbook()
    assert named == sorted(set(named))
    assert set(named) - known == set()


def events_of_the_runbook():
    return re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", RUNBOOK, re.MULTILINE)


@pytest.mark.parametrize("code", sorted(RULES))
def test_every_code_has_its_line_in_the_runbook_as_the_table_words_it(code):
    rule = RULES[code]
    assert f"\n| {code} | {rule.meaning} | {rule.remedy} |\n" in RUNBOOK


def test_no_code_of_the_runbook_has_left_the_table():
    codes = re.findall(r"^\| (\d{3,5}) \|", RUNBOOK, re.MULTILINE)
    assert sorted(map(int, codes)) == sorted(RULES)


def test_every_subject_that_the_daemon_can_tell_has_its_line_in_the_runbook():
    """`<symbol>: order refused (<code>)` stands for `f"{x}: order refused ({y})"`."""
    lines = re.findall(r"^\| `([^`]+)` \|", RUNBOOK, re.MULTILINE)
    told = list(subjects())
    assert len(told) > 20
    for place, pattern in told:
        assert any(pattern.fullmatch(line) for line in lines), (place, pattern)


def subjects():
    """Yield the place and the pattern of the subject of every message in the code."""
    for file in sorted((PROJECT / "daemon").rglob("*.py")):
        if {"simulation", "fakegateway", "journal"} & set(file.parts):
            continue  # these play, or read back what was told before
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = [n for n in ast.walk(tree) if isinstance(n, DEFINITIONS)]
        for function in functions:
            for call in ast.walk(function):
                name = call.func if isinstance(call, ast.Call) else None
                if isinstance(name, ast.Name) and name.id == "Message":
                    place = f"{file.relative_to(PROJECT)}:{call.lineno}"
                    texts = list(readings(subject_of(call), function, tree))
                    assert texts, f"{place}: no subject that can be read"
                    for text in texts:
                        yield place, as_pattern(text, place, function)


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def subject_of(call):
    named = [keyword.value for keyword in call.keywords if keyword.arg == "subject"]
    return named[0] if named else call.args[1]


def readings(expression, *scopes):
    """Yield what *expression* may be: a name's values, both sides of a condition."""
    if isinstance(expression, ast.IfExp):
        yield from readings(expression.body, *scopes)
        yield from readings(expression.orelse, *scopes)
    elif isinstance(expression, ast.Name):
        yield from values_of(expression.id, *scopes)
    else:
        yield expression


def values_of(name, *scopes):
    """Yield what *name* is set to in the first of *scopes* that sets it."""
    for scope in scopes:
        inside = scope.body if isinstance(scope, ast.Module) else ast.walk(scope)
        set_to = [
            node.value
            for node in inside
            if isinstance(node, ast.Assign)
            and any(getattr(target, "id", "") == name for target in node.targets)
        ]
        for value in set_to:
            yield from readings(value, *scopes)
        if set_to:
            return


def as_pattern(text, place, function):
    """Return what matches the subject with a `<word>` for each value in it."""
    if isinstance(text, ast.Constant):
        return re.compile(re.escape(text.value))
    assert isinstance(text, ast.JoinedStr), f"{place}: no subject that can be read"
    return re.compile("".join(part_pattern(part, function) for part in text.values))


def part_pattern(part, function):
    """Return the part of an f-string: itself, one of its fixed words, `<word>`."""
    if isinstance(part, ast.Constant):
        return re.escape(part.value)
    found = readings(part.value, function)
    words = [re.escape(one.value) for one in found if isinstance(one, ast.Constant)]
    return f"(?:{'|'.join([*words, '<[^>]+>'])})"
