"""Faults in time: read from a file, played on the world's clock."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo

from daemon.fakegateway import faults
from daemon.fakegateway.faults import Fault, Undo
from daemon.fakegateway.plot import OrderFault, Timed
from daemon.fakegateway.values import GatewaySettings
from daemon.fakegateway.world import World

NEW_YORK = ZoneInfo("America/New_York")
SOME_DAY = datetime(2026, 2, 19, tzinfo=NEW_YORK)
"""On which the spelling of times is tried."""
Script = Sequence[Fault | OrderFault]

KINDS: Mapping[str, type[Fault | OrderFault]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            faults.Busy,
            faults.CommissionLate,
            faults.Correct,
            faults.Deaf,
            faults.Drop,
            faults.DuplicateStatus,
            faults.Empty,
            faults.ExecutionLate,
            faults.FillBeyondCancel,
            faults.Freeze,
            faults.LateReject,
            faults.Linger,
            faults.LinkLost,
            faults.MissingStatus,
            faults.Mute,
            faults.Refuse,
            faults.Reject,
            faults.Remark,
            faults.Restart,
            faults.Say,
            faults.Script,
            faults.Stick,
            faults.Swallow,
            faults.Temper,
        )
    }
)


class ScenarioError(ValueError):
    """A scenario that cannot be played: what is wrong, and where."""


def play(world: World, script: Script) -> None:
    """Put every fault of *script* on the clock of *world*."""
    for fault in script:
        _Playing(world, fault).plan()


class _Playing:
    """One fault between its beginning and its end."""

    def __init__(self, world: World, fault: Fault | OrderFault) -> None:
        self._world = world
        self._fault = fault

    def plan(self) -> None:
        """Begin now or when its time comes."""
        if not self._fault.at:
            self._begin()
            return
        begins = starts_at(self._fault, self._world.clock.now())
        self._world.clock.call_at(begins, self._begin)

    def _begin(self) -> None:
        undo = self._undo()
        if self._fault.for_s:
            self._world.clock.call_later(self._fault.for_s, undo)

    def _undo(self) -> Undo:
        match self._fault:
            case OrderFault() as plotted:
                self._world.plot(plotted)
                return lambda: self._world.unplot(plotted)
            case Fault() as fault:
                return fault.begin(self._world)


def starts_at(fault: Timed, now: datetime) -> datetime:
    """Return when *fault* begins; a time of day that is past is tomorrow's.

    Raises:
        ScenarioError: its time is none.
    """
    try:
        if fault.at.startswith("+"):
            return now + timedelta(seconds=float(fault.at))
        moment = time.fromisoformat(fault.at)
    except ValueError as exc:
        raise ScenarioError(
            f"at = {fault.at!r} is no time: write 15:41, 15:41:30 or +90"
        ) from exc
    today = now.astimezone(NEW_YORK)
    begins = datetime.combine(today.date(), moment, NEW_YORK)
    if begins < now:
        begins = datetime.combine(today.date() + timedelta(days=1), moment, NEW_YORK)
    return begins


# --- files ----------------------------------------------------------------------------


def read_script(path: Path) -> list[Fault | OrderFault]:
    """Return the faults of a TOML file ([[fault]] tables) or a JSON list.

    Raises:
        ScenarioError: it cannot be read, or an entry is wrong; all are named.
    """
    entries = _entries(path)
    made: list[Fault | OrderFault] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        try:
            made.append(_fault(entry))
        except ScenarioError as exc:
            problems.append(f"{path}: fault {number}: {exc}")
    if problems:
        raise ScenarioError("\n".join(problems))
    return made


def _entries(path: Path) -> Iterable[object]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            entries = json.loads(text)
        else:
            entries = tomllib.loads(text).get("fault", [])
    except (OSError, ValueError) as exc:
        raise ScenarioError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(entries, list):
        raise ScenarioError(f"{path}: a list of faults is wanted")
    return entries


def _fault(entry: object) -> Fault | OrderFault:
    if not isinstance(entry, dict):
        raise ScenarioError('a table with kind = "..." is wanted')
    terms: dict[str, Any] = dict(entry)
    name = terms.pop("kind", None)
    kind = KINDS.get(str(name))
    if kind is None:
        raise ScenarioError(f"kind = {name!r} is none of {', '.join(KINDS)}")
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for key, value in terms.items():
        if key not in known:
            raise ScenarioError(f"{name} has no {key!r}, only {', '.join(known)}")
        terms[key] = _value(key, value, hints[key])
    try:
        fault = kind(**terms)
    except TypeError as exc:
        raise ScenarioError(f"{name} needs more: {exc}") from exc
    _check(fault)
    return fault


def _value(key: str, value: Any, wanted: Any) -> Any:  # noqa: ANN401 - from a file
    if isinstance(value, list):
        value = tuple(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    plain = getattr(wanted, "__origin__", wanted)
    if not isinstance(value, plain) or (wanted is int and isinstance(value, bool)):
        raise ScenarioError(f"{key} = {value!r} is not of type {wanted}")
    return value


def _check(fault: Fault | OrderFault) -> None:
    """Refuse what would only fail when its time comes."""
    if fault.at:
        starts_at(fault, SOME_DAY)
    if isinstance(fault, faults.Mute):
        unknown = [name for name in fault.requests if name not in faults.REQUESTS]
        if unknown:
            known = ", ".join(faults.REQUESTS)
            raise ScenarioError(f"requests {unknown} are none of {known}")
    settings = {field.name for field in fields(GatewaySettings)}
    if isinstance(fault, faults.Temper) and fault.setting not in settings:
        raise ScenarioError(f"setting = {fault.setting!r} is none of the gateway's")
