"""What anybody writes with ib_async: one process, told what to do on its input.

plain.py PORT CLIENT_ID HOW [PLAN]; every word that it prints is a line of JSON.

    connect   stays connected; `qualify`, `place` and `submit` (both) deal with PLAN
    watchdog  ib_async's own Watchdog with its default delays; no program to start
    meet      connects to an id that somebody holds, and says how that ends
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from pathlib import Path

from ib_async import IB, IBC, Contract, Stock, Trade, Watchdog

HOST = "127.0.0.1"
ANSWERED = frozenset({"PreSubmitted", "Submitted", "Filled", "Cancelled", "Inactive"})
SHARE_A = 0.33
PATIENCE_S = 3.0
"""Longer than the library holds a message back: what is not answered then is lost."""
POLL_S = 0.002


class NothingToStart(IBC):
    """A controller of a gateway that is there already, and somebody else's business."""

    async def startAsync(self) -> None:  # noqa: N802 - IBC's name
        """Start nothing."""

    async def terminateAsync(self) -> None:  # noqa: N802 - IBC's name
        """End nothing."""


def say(word: str, **more: object) -> None:
    """Print one line of JSON with the moment at which it was true."""
    line = {"event": word, "at": time.monotonic(), **more}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Script:
    """Orders by the plan, straight on."""

    def __init__(self, ib: IB, plan: Path) -> None:
        self._ib = ib
        with plan.open(encoding="utf-8") as file:
            self._rows = list(csv.DictReader(file))
        self._contracts: dict[str, Contract] = {}
        self._trades: list[Trade] = []

    async def qualify(self) -> None:
        """Ask for every contract at once."""
        wanted = [Stock(row["instrument_id"], "SMART", "USD") for row in self._rows]
        found = await self._ib.qualifyContractsAsync(*wanted)
        self._contracts = {c.symbol: c for c in found if isinstance(c, Contract)}

    def place(self) -> None:
        """Place two brackets a row; the library spreads what is too fast."""
        for row in self._rows:
            whole = int(row["quantity"])
            first = round(whole * SHARE_A)
            for quantity, target in (
                (first, row["take_profit_1"]),
                (whole - first, row["take_profit_2"]),
            ):
                legs = self._ib.bracketOrder(
                    "BUY",
                    quantity,
                    limitPrice=float(row["limit_price"]),
                    takeProfitPrice=float(target),
                    stopLossPrice=float(row["stop_loss"]),
                )
                contract = self._contracts[row["instrument_id"]]
                self._trades += [self._ib.placeOrder(contract, leg) for leg in legs]

    async def answered(self) -> float:
        """Return when the last answer came; orders that get none are given up."""
        last, open_orders = time.monotonic(), len(self._trades)
        while open_orders and time.monotonic() - last < PATIENCE_S:
            await asyncio.sleep(POLL_S)
            now_open = sum(
                trade.orderStatus.status not in ANSWERED for trade in self._trades
            )
            if now_open < open_orders:
                last, open_orders = time.monotonic(), now_open
        return last


async def _connected(port: int, client_id: int, plan: Path | None) -> None:
    ib = IB()
    began = time.monotonic()
    await ib.connectAsync(HOST, port, clientId=client_id)
    ib.disconnectedEvent += lambda: say("disconnected")
    say("connected", seconds=time.monotonic() - began)
    script = Script(ib, plan) if plan else None
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(words), sys.stdin.buffer
    )
    while script and (word := (await words.readline()).decode().strip()):
        began = time.monotonic()
        if word in {"qualify", "submit"}:
            await script.qualify()
            say("qualified")
        if word in {"place", "submit"}:
            script.place()
            say("placed", connected=ib.isConnected())
        if word == "submit":
            say("answered", seconds=await script.answered() - began)
    await words.read()


async def _watched(port: int, client_id: int) -> None:
    ib = IB()
    watchdog = Watchdog(
        NothingToStart(0),
        ib,
        host=HOST,
        port=port,
        clientId=client_id,
        appStartupTime=0,
    )
    watchdog.startedEvent += lambda _: say("connected")
    watchdog.hardTimeoutEvent += lambda _: say("frozen")
    await watchdog.start()  # type: ignore[no-untyped-call] # ib_async's


async def _met(port: int, client_id: int) -> None:
    began = time.monotonic()
    try:
        await IB().connectAsync(HOST, port, clientId=client_id)
    except (OSError, TimeoutError) as exc:
        said = f"{type(exc).__name__}({exc})"
        say("met", seconds=time.monotonic() - began, said=said)


def _main(port: str, client_id: str, how: str, plan: str = "") -> None:
    number, own_id = int(port), int(client_id)
    if how == "connect":
        asyncio.run(_connected(number, own_id, Path(plan) if plan else None))
    elif how == "watchdog":
        asyncio.run(_watched(number, own_id))
    else:
        asyncio.run(_met(number, own_id))


if __name__ == "__main__":
    _main(*sys.argv[1:])
