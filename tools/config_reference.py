#!/usr/bin/env python3
"""Write docs/reference/config.md from the sections of the configuration."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from daemon.config.kinds import describe
from daemon.config.sections import Document
from daemon.config.toml import toml_text

TARGET = Path(__file__).parent.parent / "docs" / "reference" / "config.md"

HEAD = """\
# Configuration reference

Written by `make docs` from `daemon/config/sections.py`; do not edit it by hand.

The file is looked for at `--config FILE`, else `$IBKRD_CONFIG` (absolute), else
`~/.config/ibkrd/config.toml` (macOS: `~/Library/Application Support/ibkrd/`).
Without any, the defaults below hold. Every key may be left out. An unknown key, a
wrong type and a value out of range are errors; all of them are reported at once,
each with its line, and the exit status is 4.

A path is absolute, starts with `~`, or is relative to the directory of the file. The
environment overrides secrets only: `IBKRD_TELEGRAM_TOKEN`.
"""


def config_reference() -> str:
    """Return the reference of every section and key, in Markdown."""
    sections = [
        _section(name, field.annotation)
        for name, field in Document.model_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, BaseModel)
    ]
    return "\n".join([HEAD, *sections])


def _section(name: str, model: type[BaseModel]) -> str:
    rows = [_row(key, field) for key, field in model.model_fields.items()]
    return "\n".join(
        [
            f"## [{name}]",
            "",
            inspect.getdoc(model) or "",
            "",
            "| key | default | expects | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _row(key: str, field: FieldInfo) -> str:
    meaning = field.description or ""
    if field.examples:
        meaning += f" Example: `{toml_text(field.examples[0])}`."
    cells = (f"`{key}`", f"`{toml_text(field.default)}`", describe(field), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    TARGET.write_text(config_reference(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET.name}\n")
