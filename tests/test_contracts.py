"""The import contracts leave no module out; import-linter judges what they hold."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
DAEMON = PROJECT / "daemon"
MODULES = {
    f"daemon.{path.stem}"
    for path in DAEMON.iterdir()
    if path.stem != "__init__"
    and (path.suffix == ".py" or (path / "__init__.py").is_file())
}
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"][
        "importlinter"
    ]["contracts"]
}


@pytest.mark.parametrize(
    ("name", "side", "exempt"),
    [
        ("ib_async stays in daemon.broker", "source_modules", {"daemon.broker"}),
        (
            "The database stays in daemon.journal",
            "source_modules",
            {"daemon.journal"},
        ),
        (
            "apscheduler stays in daemon.scheduler",
            "source_modules",
            {"daemon.scheduler"},
        ),
        (
            "The exchange calendar library stays in daemon.calendar",
            "source_modules",
            {"daemon.calendar"},
        ),
        (
            "Only the simulation imports the fake gateway",
            "source_modules",
            {"daemon.fakegateway", "daemon.simulation"},
        ),
        (
            "The fake gateway knows nothing of the daemon, nor of ib_async",
            "forbidden_modules",
            {"daemon.fakegateway"},
        ),
        (
            "The checker shares nothing with what it judges",
            "forbidden_modules",
            {"daemon.simulation"},
        ),
    ],
)
def test_a_contract_names_every_module_but_its_owner(name, side, exempt):
    named = {module for module in CONTRACTS[name][side] if module.startswith("daemon")}
    assert named == MODULES - exempt
