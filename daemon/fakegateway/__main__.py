"""`python -m daemon.fakegateway`: the gateway alone, from the standard library.

It begins at a time that is given and may run faster than real time; its calendar
knows weekdays only. `ibkrd gateway` is the same with the exchange's calendar.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.scenario import ScenarioError, Script, read_script
from daemon.fakegateway.server import Address, GatewayOptions, run_gateway
from daemon.fakegateway.values import GatewaySettings, MarketSession

NEW_YORK = ZoneInfo("America/New_York")
DAYS_AROUND = 10
"""Sessions this many days before and after the start."""
PORT_IN_USE = 9


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway of *arguments* until it is interrupted."""
    chosen = _parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        ledger = Ledger()
        if chosen.ledger is not None:
            file = stack.enter_context(chosen.ledger.open("w", buffering=1))
            ledger = Ledger(file.write)
        return _run(_options(chosen), ledger)


def _run(options: GatewayOptions, ledger: Ledger) -> int:
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run_gateway(options, ledger=ledger, ready=_announce))
    except OSError as exc:
        where = f"{options.host}:{options.port}"
        sys.stderr.write(f"cannot listen on {where}: {exc.strerror}; choose another\n")
        return PORT_IN_USE
    return 0


def _announce(address: Address) -> None:
    host, port = address
    sys.stdout.write(f"listening on {host}:{port}\n")
    sys.stdout.flush()


def _options(chosen: argparse.Namespace) -> GatewayOptions:
    host, port = chosen.listen
    return GatewayOptions(
        start=chosen.time,
        sessions=usual_sessions(chosen.time.astimezone(NEW_YORK).date()),
        host=host,
        port=port,
        speed=chosen.speed,
        seed=chosen.seed,
        settings=GatewaySettings(accounts=tuple(chosen.account or ["DU1234567"])),
        script=chosen.scenario,
    )


def usual_sessions(around: date) -> list[MarketSession]:
    """Return 9:30 to 16:00 New York for each weekday near *around*."""
    days = [around + timedelta(days=n) for n in range(-DAYS_AROUND, DAYS_AROUND + 1)]
    return [
        MarketSession(
            day,
            datetime.combine(day, time(9, 30), NEW_YORK),
            datetime.combine(day, time(16), NEW_YORK),
        )
        for day in days
        if day.weekday() < 5
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m daemon.fakegateway")
    parser.add_argument(
        "--listen",
        type=_address,
        default=("127.0.0.1", 4002),
        metavar="HOST:PORT",
        help="where to listen; port 0 takes any free one",
    )
    parser.add_argument(
        "--time",
        type=_aware,
        required=True,
        metavar="ISO",
        help="the world's time at the start, such as 2026-02-19T15:30:00-05:00",
    )
    parser.add_argument("--speed", type=_positive, default=1.0, metavar="FACTOR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--account", action="append", metavar="ID")
    parser.add_argument("--ledger", type=Path, metavar="FILE")
    parser.add_argument(
        "--scenario",
        type=_script,
        default=(),
        metavar="FILE",
        help="faults to play, a TOML or JSON file",
    )
    return parser


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def _script(text: str) -> Script:
    try:
        return read_script(Path(text))
    except ScenarioError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _aware(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO time") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} has no zone: add one such as -05:00"
        )
    return moment


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number


if __name__ == "__main__":
    sys.exit(main())
