"""The demonstration: one day played, judged by the checker, and summed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from daemon.calendar import TableCalendar, shipped_table
from daemon.clock import SystemClock
from daemon.config import load_config
from daemon.core.model import Session
from daemon.core.plan import parse_plan
from daemon.core.plan_files import choose_plan
from daemon.core.session import submit_deadline
from daemon.errors import PlanError
from daemon.simulation.checker import Verdict, check
from daemon.simulation.day import ACCOUNT, DayFiles, DaySpec, play
from daemon.simulation.scenarios import SCENARIOS
from daemon.simulation.story import FATES_OF_2026_02_19, Fate, draw_fates
from daemon.simulation.timeline import Line, Timeline

DAY = date(2026, 2, 19)
NEW_YORK = ZoneInfo("America/New_York")
PLAN = Path(__file__).parent / "data" / "execution_plan_run_20260219_130502_1f60c4.csv"


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """What the user asked to see."""

    state: Path
    day: date = DAY
    plan: Path | None = None
    seed: int = 1
    pace: float | None = None
    scenario: str | None = None
    on_line: Callable[[Line], None] | None = None
    on_advance: Callable[[int], None] | None = None


def play_demo(request: DemoRequest) -> dict[str, Any]:
    """Play the day and return its summary, ready for JSON.

    Raises:
        PlanError: the day has no session, or the plan cannot be used for it.
    """
    spec = _spec(request)
    files = play(spec)
    verdict = check(
        files.ledger.read_text(encoding="utf-8").splitlines(),
        files.journal,
        client_id=10,
        accounts=frozenset({ACCOUNT}),
        until=datetime.combine(request.day, spec.end, NEW_YORK),
        ignore=load_config(None, {"HOME": str(request.state)}).rules().ignore,
    )
    return _summary(request, files, verdict)


def _spec(request: DemoRequest) -> DaySpec:
    name, text, fates = _plan(request)
    timeline = Timeline(request.on_line or _silent, SystemClock().now)
    return DaySpec(
        day=request.day,
        plan_name=name,
        plan_text=text,
        state=request.state,
        seed=request.seed,
        fates=fates,
        scenario=SCENARIOS[request.scenario] if request.scenario else None,
        channels=(timeline,),
        pace=request.pace,
        on_ledger=timeline.take,
        on_advance=request.on_advance,
    )


def _silent(_: Line) -> None:
    """Show nothing."""


def _plan(request: DemoRequest) -> tuple[str, str, dict[str, Fate]]:
    """Return the plan's file name for the day, its text, and the symbols' fates."""
    path = request.plan or PLAN
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise PlanError(f"{path}: {exc.strerror}: name a readable plan file") from exc
    rules = load_config(None, {"HOME": str(request.state)}).rules()
    plan = parse_plan(data, size_preset=rules.size_preset, share_a=rules.share_a)
    if plan.problems:
        raise PlanError("\n".join(f"{path.name}: {p}" for p in plan.problems))
    session, previous = _session(request.day)
    fates = draw_fates(plan.rows, request.seed)
    if request.plan is None:
        fates |= FATES_OF_2026_02_19
    fitting = choose_plan(
        [path.name], session, previous.close, submit_deadline(session)
    )
    # A plan of another day is shown as if it had been made on this one's morning.
    stamp = datetime.combine(request.day, time(13, 5, 2), UTC)
    name = fitting.name or f"execution_plan_run_{stamp:%Y%m%d_%H%M%S}_d3m0aa.csv"
    return name, data.decode(), fates


def _session(day: date) -> tuple[Session, Session]:
    calendar = TableCalendar(shipped_table())
    session = calendar.session(day)
    if session is None:
        raise PlanError(f"{day} has no session on {calendar.exchange}: choose another")
    return session, calendar.previous(day)


def _summary(request: DemoRequest, files: DayFiles, verdict: Verdict) -> dict[str, Any]:
    records = [json.loads(line) for line in files.ledger.read_text().splitlines()]
    path = files.reports / f"report_{request.day}.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    rows = {k: v for k, v in report.get("rows", {}).items() if k != "list"}
    return {
        "day": request.day.isoformat(),
        "seed": request.seed,
        "scenario": request.scenario,
        "flat": verdict.flat.get(request.day) is True,
        "violations": [str(found) for found in verdict.violations],
        "rows": rows,
        "report": str(path) if report else None,
        "totals": report.get("totals"),
        "broker": _broker_totals(records),
        "closed_at_the_bell": _auction(records),
        "exit_status": files.exit_status,
        "ledger": str(files.ledger),
        "ledger_sha256": files.ledger_sha256,
    }


def _broker_totals(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums of the gateway's own executions, to hold against the report."""
    fills = [r for r in records if r["event"] == "executed"]
    paid = sum(
        (Decimal(r["amount"]) for r in records if r["event"] == "commission"),
        start=Decimal(0),
    )
    signed = sum(
        (
            Decimal(r["quantity"])
            * Decimal(r["price"])
            * (-1 if r["side"] == "BUY" else 1)
            for r in fills
        ),
        start=Decimal(0),
    )
    return {
        "executions": len(fills),
        "pnl": float(signed),
        "commission": float(paid),
        "net": float(signed - paid),
    }


def _auction(records: list[dict[str, Any]]) -> dict[str, int]:
    """Return the shares that market-on-close orders closed, by symbol."""
    closed: dict[str, int] = {}
    for record in records:
        if record["event"] == "executed" and ":MOC" in record["order_ref"]:
            symbol = record["symbol"]
            closed[symbol] = closed.get(symbol, 0) + int(record["quantity"])
    return dict(sorted(closed.items()))
