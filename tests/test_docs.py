"""What the pages say of the tests and of each other is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROJECT = TESTS.parent
INCIDENTS = (PROJECT / "docs" / "incidents.md").read_text(encoding="utf-8")
TABLES, HELD = INCIDENTS.split("## Which tests hold the laws today")
ROW = re.compile(r"^\| ([A-G]\d+) \| (.*) \|$", re.MULTILINE)
IDS = re.compile(r"\b[A-G]\d+\b")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []
