"""`ibkrd gateway` by itself, for whoever speaks the TWS API."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PLAIN_CLIENT = Path(__file__).parent / "plain_client.py"


def test_a_plain_script_completes_a_bracket_and_a_market_on_close_order(house):
    script = house.start(sys.executable, PLAIN_CLIENT)
    script.until("which port?")
    # At nine hundred times real speed the cutoff is three seconds away.
    gateway = house.gateway("2026-02-19T15:00:00", speed=900)
    script.tell(str(gateway.port))
    assert script.wait() == 0, script.lines
    # ib_async itself says that the stop was cancelled.
    assert [line for line in script.lines[1:] if "202" not in line] == [
        "LMT Filled 30",
        "LMT Filled 30",
        "STP Cancelled 0",
        "MKT Filled 15",
        "MOC Filled 15",
        "bought 45, sold 45",
    ]
    in_the_auction = [
        (record["side"], record["quantity"])
        for record in gateway.records("executed")
        if record["at"] >= "2026-02-19T21:00"
    ]
    assert {side for side, _ in in_the_auction} == {"SELL"}
    assert sum(int(quantity) for _, quantity in in_the_auction) == 15


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_gateway_ends_when_it_is_told_to(house, number):
    gateway = house.gateway("2026-02-19T09:00:00")
    gateway.process.signal(number)
    assert gateway.process.wait() == 0
    assert "Traceback" not in "\n".join(gateway.process.lines)


def test_a_port_that_is_taken_is_named(house):
    gateway = house.gateway("2026-02-19T09:00:00")
    taken = f"127.0.0.1:{gateway.port}"
    second = house.command("gateway", "--listen", taken)
    assert second.wait() == 9
    assert second.lines[-1].startswith(f"ibkrd: {taken} is in use")
    assert second.lines[-1].endswith(
        "stop what listens there, or choose another port with --listen"
    )
    assert gateway.process.alive
