from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from daemon.fakegateway.__main__ import usual_sessions
from daemon.fakegateway.frames import frame
from daemon.fakegateway.ledger import Ledger
from daemon.fakegateway.restart import RestartTerms
from daemon.fakegateway.server import GatewayOptions, compose_world, serve
from daemon.fakegateway.world import World

NOON = datetime(2026, 2, 19, 17, 0, tzinfo=UTC)
SPEED = 100.0
PATIENCE_S = 5.0


def test_a_frozen_process_takes_connections_and_says_nothing(stage):
    s = stage()
    line = s.wire()
    line.start(8)
    s.world.freeze()
    assert line.ask("49|1") == []
    late = s.wire()
    assert late.start(9) == []
    assert (line.ended, late.ended) == ("", "")


def test_what_lay_in_the_socket_is_processed_after_the_thaw(stage):
    """Stale orders are transmitted, however late it is."""
    s = stage()
    line = s.wire()
    line.start(8)
    s.world.freeze()
    line.ask("49|1")
    line.ask("8|1|1")
    s.run_for(600)
    s.world.thaw()
    told = line.read()
    assert [message.split("|")[0] for message in told] == ["49", "9"]


def test_the_world_goes_on_and_is_told_after_the_thaw(stage):
    s = stage()
    s.world.detach(7)
    line = s.wire()
    line.start(7)
    s.place(1, "BUY 100 MKT")
    s.world.freeze()
    s.run_for(10)
    assert s.position == "100"
    assert line.read() == []
    s.world.thaw()
    assert line.kinds() == ["5", "3", "11", "5", "3", "5", "59"]


async def real_world() -> World:
    options = GatewayOptions(
        start=NOON, sessions=usual_sessions(NOON.date()), speed=SPEED
    )
    return compose_world(options, Ledger())


async def passed(world: World, seconds: float) -> None:
    done = asyncio.Event()
    world.clock.call_later(seconds, done.set)
    await done.wait()


async def test_on_real_sockets_a_frozen_gateway_reads_on_where_it_stopped() -> None:
    world = await real_world()
    reception = await serve(world, "127.0.0.1", 0)
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(*reception.address)
        writer.write(b"API\0\0\0\0\x09v157..178")
        assert b"178\0" in await reader.read(100)
        world.freeze()
        writer.write(frame("71", "2", "8", ""))
        await passed(world, 10)
        assert world.attach(8, lambda _: None)
        world.detach(8)
        world.thaw()
        assert b"DU1234567" in await reader.read(1000)
        assert not world.attach(8, lambda _: None)
        writer.close()
        await writer.wait_closed()
        reception.close()


async def test_on_real_sockets_a_restarting_gateway_refuses_and_comes_back() -> None:
    world = await real_world()
    reception = await serve(world, "127.0.0.1", 0)
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(*reception.address)
        writer.write(b"API\0\0\0\0\x09v157..178")
        await reader.read(100)
        writer.write(frame("71", "2", "8", ""))
        await reader.read(1000)
        world.restart(RestartTerms(down_s=20))
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*reception.address)
        await passed(world, 30)
        _, again = await asyncio.open_connection(*reception.address)
        again.close()
        await again.wait_closed()
        reception.close()
