"""The harness of the benchmarks; none of its figures is asserted anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

import pytest

from tools.bench.__main__ import main
from tools.bench.figures import Row, Samples, figure, percentile
from tools.bench.measures import MEASURES
from tools.bench.page import line, page
from tools.bench.processes import plan_text
from tools.bench.relay import Counter

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 0.5, 3.0),
        ([4, 1, 3, 2], 0.5, 2),
        ([4, 1, 3, 2], 0.95, 4),
        (range(1, 101), 0.95, 95),
        (range(1, 41), 0.95, 38),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(values, share, expected):
    assert percentile(values, share) == expected


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12 ms"),
        (0.5614, "s", "0.561 s"),
        (24.04, "s", "24 s"),
        (0, "orders", "0 orders"),
        (74.66, "MiB", "74.7 MiB"),
    ],
)
def test_a_figure_has_three_digits_and_its_unit(value, unit, text):
    assert figure(value, unit) == text


FAST = Samples((0.5, 0.7, 0.6))
SLOW = Samples((2.0, 2.0), note="not reconciled")


def test_a_row_shows_both_sides_their_ratio_and_the_target():
    row = Row("drop", "link cut", FAST, SLOW, "p95 ≤ 1 s")
    assert line(row) == (
        "| link cut | 0.6 s (p95 0.7 s, n 3) "
        "| 2 s (p95 2 s, n 2); not reconciled | 0.3 | p95 ≤ 1 s |"
    )


def test_where_a_side_has_no_figure_there_is_no_ratio():
    never = Samples((), note="never")
    assert line(Row("k", "w", FAST, never, "t")).endswith("| never |  | t |")
    none = Samples((0.0,), unit="orders")
    assert Row("k", "w", none, none, "0").ratio == ""


def test_the_time_of_a_part_is_not_compared_with_that_of_the_whole():
    part = Samples((0.1,), note="orders lost: 3", complete=False)
    assert Row("k", "w", FAST, part, "t").ratio == ""


def test_the_page_holds_every_row_and_leaves_no_place_empty():
    row = Row("drop", "link cut", FAST, SLOW, "p95 ≤ 1 s")
    text = page([row, row])
    assert text.count(line(row)) == 2
    assert "$" not in text


def test_the_published_page_was_written_by_this_harness():
    published = (PROJECT / "docs/benchmarks.md").read_text(encoding="utf-8")
    template = (PROJECT / "tools/bench/page.md").read_text(encoding="utf-8")
    fixed = Template(template).substitute(machine="\0", table="\0").split("\0")
    assert all(part in published for part in fixed), "run: make bench"
    assert published.count("\n| ") == 11  # the head, and the rows of every measure


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_relay_counts_messages_wherever_they_are_cut(size):
    messages = [b"v157..178", b"71\0", b"3\0" * 40]
    frames = (len(m).to_bytes(4, "big") + m for m in messages)
    stream = b"API\0" + b"".join(frames)
    counter = Counter()
    for start in range(0, len(stream), size):
        counter.take(stream[start : start + size])
    assert counter.count == 3


def test_a_plan_has_as_many_rows_as_asked_for_each_of_another_symbol():
    _, *rows = plan_text(50).splitlines()
    assert len({row.partition(",")[0] for row in rows}) == 50


def test_one_measurement_from_end_to_end(capsys):
    assert main(["--only", "start", "--scale", "0.1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["key"] for row in rows] == ["cold-start", "memory"]
    assert all(len(row["ours"]) == len(row["plain"]) == 1 for row in rows)


def test_what_does_not_exist_is_not_measured(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    said = capsys.readouterr().err
    assert all(name in said for name in MEASURES)
