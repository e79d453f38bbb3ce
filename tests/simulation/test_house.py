from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from daemon.calendar import TableCalendar, shipped_table
from daemon.errors import ConfigError, PortInUse
from daemon.simulation.house import GatewayRequest, address_refusal, run_house


def request(host, port):
    return GatewayRequest(
        host=host,
        port=port,
        start=datetime(2026, 2, 19, 15, tzinfo=UTC),
        speed=1.0,
        seed=1,
        accounts=("DU1234567",),
        ledger=None,
    )


async def refused(host, port):
    """Ask for an address that cannot be had; nothing may listen."""
    calendar = TableCalendar(shipped_table())
    await run_house(request(host, port), calendar, pytest.fail)


async def test_a_port_that_is_taken_is_named_with_its_remedy():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            await refused("127.0.0.1", port)
    assert caught.value.exit_status == 9
    assert str(caught.value) == (
        f"127.0.0.1:{port} is in use: stop what listens there, or choose another port "
        "with --listen"
    )


async def test_an_address_of_another_machine_is_not_a_port_in_use():
    # 192.0.2.0/24 is set aside for documentation: no machine has it.
    with pytest.raises(ConfigError) as caught:
        await refused("192.0.2.1", 0)
    assert caught.value.exit_status == 4
    assert str(caught.value) == (
        "192.0.2.1:0: this machine has no such address: name 127.0.0.1 with --listen"
    )


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        (errno.EADDRINUSE, PortInUse, "127.0.0.1:80 is in use: stop what listens"),
        (errno.EACCES, ConfigError, "127.0.0.1:80: this user may not listen there: "),
        (errno.EADDRNOTAVAIL, ConfigError, "127.0.0.1:80: this machine has no such "),
    ],
)
def test_each_cause_is_told_by_its_own_line(number, kind, told):
    refusal = address_refusal(OSError(number, os.strerror(number)), "127.0.0.1", 80)
    assert type(refusal) is kind
    assert str(refusal).startswith(told)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE])
def test_what_is_not_about_the_address_is_left_as_it_is(number):
    failure = OSError(number, os.strerror(number))
    assert address_refusal(failure, "127.0.0.1", 80) is None


async def test_a_wrong_scenario_is_a_configuration_error_with_its_place(tmp_path):
    scenario = tmp_path / "evening.toml"
    scenario.write_text('[[fault]]\nkind = "Boom"')
    asked = replace(request("127.0.0.1", 0), scenario=scenario)
    with pytest.raises(ConfigError, match=r"evening.toml: fault 1: kind = 'Boom'"):
        await run_house(asked, TableCalendar(shipped_table()), pytest.fail)
