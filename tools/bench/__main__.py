"""`make bench`: measure side by side and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.bench.figures import Row
from tools.bench.measures import MEASURES
from tools.bench.page import line, page
from tools.bench.processes import BenchError, House

TARGET = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was chosen; write the page only if all of it was measured fully."""
    chosen = _parser().parse_args(arguments)
    rows: list[Row] = []
    failed = False
    try:
        rows = asyncio.run(_measure(chosen.only or list(MEASURES), chosen.scale))
    except* BenchError as group:
        failed = True
        _note(f"bench: {group.exceptions[0]}")
    if failed:
        return 1
    if chosen.json:
        sys.stdout.write(json.dumps([_plain(row) for row in rows], indent=1) + "\n")
    if not chosen.only and chosen.scale >= 1:
        TARGET.write_text(page(rows), encoding="utf-8")
        _note(f"wrote {TARGET}")
    return 0


async def _measure(names: Sequence[str], scale: float) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        began = time.monotonic()
        with TemporaryDirectory(prefix="bench-") as place:
            async with House(Path(place)) as house:
                found = await MEASURES[name](house, scale)
        _note(f"{name} took {time.monotonic() - began:.0f} s")
        for row in found:
            _note(f"  {line(row)}")
        rows += found
    return rows


def _plain(row: Row) -> dict[str, object]:
    return {
        "key": row.key,
        "what": row.what,
        "unit": row.ours.unit,
        "ours": row.ours.values,
        "plain": row.plain.values,
        "notes": {"ours": row.ours.note, "plain": row.plain.note},
        "target": row.target,
    }


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(MEASURES))
    parser.add_argument(
        "--scale", type=float, default=1.0, help="repetitions: 0.1 makes a tenth"
    )
    parser.add_argument("--json", action="store_true", help="every sample, to stdout")
    return parser


if __name__ == "__main__":
    sys.exit(main())
