"""docs/session.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "session.md").read_text(encoding="utf-8")


def test_every_promise_of_the_session_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (?!promise|---)(.+?) \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 25
    for promise, held in rows:
        named = re.findall(r"`([a-z_/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", held)
        assert named, promise
        for file, tests in named:
            text = (TESTS / file).read_text(encoding="utf-8")
            for test in re.findall(r"`(test_\w+)`", tests):
                assert f"def {test}(" in text, (promise, file, test)
