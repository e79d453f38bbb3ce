from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from ib_async import IB

from daemon.simulation.listener import Connection
from daemon.simulation.loop import VirtualDeadlock, VirtualLoop, run_virtual
from daemon.simulation.pipe import (
    KERNEL_BYTES,
    Chunker,
    at_most,
    bytewise,
    ragged,
    whole,
)

pytestmark = pytest.mark.virtual(start="2026-02-19T09:00:00-05:00")

HOST, PORT = "127.0.0.1", 4002
START = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.transport: asyncio.Transport
        self.keep_open = False

    @property
    def data(self) -> bytes:
        return b"".join(item for item in self.told if isinstance(item, bytes))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(f"lost {type(exc).__name__}" if exc else "lost")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


async def pair() -> tuple[Recorder, Recorder, Connection]:
    """Return client, server and the connection between them."""
    loop = virtual_loop()
    servers: list[Recorder] = []

    def accept() -> Recorder:
        servers.append(Recorder())
        return servers[-1]

    await loop.create_server(accept, HOST, PORT)
    _, client = await loop.create_connection(Recorder, HOST, PORT)
    await settle()
    return client, servers[0], loop.network.connections[0]


async def settle() -> None:
    """Let everything happen that needs no time, or a millisecond of it."""
    await asyncio.sleep(0.001)


# --- connecting -------------------------------------------------------------------


async def test_bytes_flow_both_ways() -> None:
    client, server, _ = await pair()
    client.transport.write(b"question")
    server.transport.write(b"answer")
    await settle()
    assert server.told == ["made", b"question"]
    assert client.told == ["made", b"answer"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_this_machine_is_reached_in_memory_by_each_name(host: str) -> None:
    loop = virtual_loop()
    await loop.create_server(Recorder, host, PORT)
    await loop.create_connection(Recorder, host, PORT)
    assert [one.port for one in loop.network.connections] == [PORT]


async def test_the_two_loopback_addresses_are_two_places() -> None:
    loop = virtual_loop()
    await loop.create_server(Recorder, "127.0.0.1", PORT)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Recorder, "::1", PORT)


async def test_nobody_listening_is_refused() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"\('127\.0\.0\.1', 4002\)"):
        await asyncio.get_running_loop().create_connection(Recorder, HOST, PORT)


async def test_a_closed_server_refuses_and_gives_its_port_back() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, HOST, PORT)
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Recorder, HOST, PORT)
    again = await loop.create_server(Recorder, HOST, PORT)
    assert again.is_serving()
    assert not server.is_serving()
    assert server.sockets == ()


async def test_a_port_in_use_is_refused_as_the_system_does() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Recorder, HOST, PORT)
    with pytest.raises(OSError, match=r"4002.*address already in use") as refusal:
        await loop.create_server(Recorder, HOST, PORT)
    assert refusal.value.errno == errno.EADDRINUSE


async def test_port_nought_is_a_free_one() -> None:
    loop = asyncio.get_running_loop()
    first = await loop.create_server(Recorder, HOST, 0)
    second = await loop.create_server(Recorder, HOST, 0)
    ports = [server.sockets[0].getsockname()[1] for server in (first, second)]
    assert ports == [49152, 49153]
    await loop.create_connection(Recorder, HOST, 49153)


async def test_a_server_that_has_not_begun_refuses() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, HOST, PORT, start_serving=False)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Recorder, HOST, PORT)
    await server.start_serving()
    await loop.create_connection(Recorder, HOST, PORT)


async def test_each_end_knows_both_addresses() -> None:
    client, server, _ = await pair()
    assert client.transport.get_extra_info("peername") == ("127.0.0.1", 4002)
    assert client.transport.get_extra_info("sockname") == ("127.0.0.1", 49152)
    assert server.transport.get_extra_info("peername") == ("127.0.0.1", 49152)
    assert server.transport.get_extra_info("sockname") == ("127.0.0.1", 4002)
    assert client.transport.get_extra_info("socket") is None
    assert client.transport.get_extra_info("sslcontext", "none") == "none"


async def test_streams_work_on_it() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"> " + await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, HOST, PORT):
        reader, writer = await asyncio.open_connection(HOST, PORT)
        writer.write(b"hello\n")
        assert await reader.read() == b"> hello\n"
        writer.close()
        await writer.wait_closed()


async def test_a_real_socket_is_used_really() -> None:
    loop = virtual_loop()
    with socket.create_server((HOST, 0)) as listener:
        address = listener.getsockname()
        server = await loop.create_server(Recorder, sock=listener)
        real = socket.create_connection(address)
        real.setblocking(False)
        _, client = await loop.create_connection(Recorder, sock=real)
        await settle()
        client.transport.write(b"through the kernel")
        assert loop.network.connections == ()
        assert client.transport.get_extra_info("socket") is not None
        client.transport.close()
        server.close()
        await settle()


async def test_a_factory_that_fails_resets_the_client() -> None:
    loop = virtual_loop()
    reports: list[str] = []
    loop.set_exception_handler(lambda _, told: reports.append(repr(told["exception"])))

    def accept() -> Recorder:
        raise LookupError("planned")

    await loop.create_server(accept, HOST, PORT)
    _, client = await loop.create_connection(Recorder, HOST, PORT)
    await settle()
    assert client.told == ["made", "lost ConnectionResetError"]
    assert reports == ["LookupError('planned')"]


async def test_a_connection_is_told_before_either_end_hears_of_it() -> None:
    loop = virtual_loop()
    loop.network.on_connect = Connection.freeze
    client, server, connection = await pair()
    client.transport.write(b"question")
    await settle()
    assert server.told == ["made"]
    connection.thaw()
    await settle()
    assert server.data == b"question"


# --- latency and cutting ----------------------------------------------------------


async def test_latency_delays_the_connect_and_every_byte() -> None:
    loop = virtual_loop()
    loop.network.latency_s = 0.15
    arrived: list[float] = []

    class Clock(Recorder):
        def data_received(self, data: bytes) -> None:  # noqa: ARG002 # the time counts
            arrived.append(round(loop.time(), 3))

    await loop.create_server(Clock, HOST, PORT)
    transport, _ = await loop.create_connection(Recorder, HOST, PORT)
    assert round(loop.time(), 3) == 0.15
    transport.write(b"one")
    await asyncio.sleep(0.1)
    transport.write(b"two")
    await asyncio.sleep(1)
    assert arrived == [0.3, 0.4]


async def test_bytes_never_overtake_each_other() -> None:
    client, server, connection = await pair()
    connection.to_server.latency_s = 1.0
    client.transport.write(b"slow ")
    connection.to_server.latency_s = 0.0
    client.transport.write(b"fast ")
    client.transport.write(b"end")
    await asyncio.sleep(2)
    assert server.data == b"slow fast end"


@pytest.mark.parametrize(
    ("chunker", "pieces"),
    [
        (whole, [b"abcde"]),
        (bytewise, [b"a", b"b", b"c", b"d", b"e"]),
        (at_most(2), [b"ab", b"cd", b"e"]),
    ],
)
async def test_bytes_are_cut_and_joined_as_asked(
    chunker: Chunker, pieces: list[bytes]
) -> None:
    client, server, connection = await pair()
    connection.to_server.chunker = chunker
    client.transport.write(b"abc")
    client.transport.write(b"de")
    await settle()
    assert server.told == ["made", *pieces]


async def test_ragged_cuts_are_the_same_for_the_same_seed() -> None:
    cuts = [[ragged(7)(100) for _ in range(3)] for _ in range(2)]
    assert cuts[0] == cuts[1]
    dice = ragged(7)
    sizes = {dice(100) for _ in range(50)}
    assert len(sizes) > 10
    assert min(sizes) >= 1
    assert max(sizes) <= 100


# --- pausing, freezing, cutting the line -------------------------------------------


async def test_a_reader_that_pauses_gets_its_bytes_on_resuming() -> None:
    client, server, _ = await pair()
    server.transport.pause_reading()
    client.transport.write(b"late")
    client.transport.close()
    await settle()
    assert server.told == ["made"]
    assert not server.transport.is_reading()
    server.transport.resume_reading()
    await settle()
    assert server.told == ["made", b"late", "eof", "lost"]


async def test_a_reader_that_pauses_within_a_burst_gets_no_more_of_it() -> None:
    client, server, connection = await pair()
    connection.to_server.chunker = bytewise
    got: list[bytes] = []

    class Once(Recorder):
        def data_received(self, data: bytes) -> None:
            got.append(data)
            server.transport.pause_reading()

    server.transport.set_protocol(Once())
    client.transport.write(b"abc")
    await settle()
    assert got == [b"a"]
    server.transport.resume_reading()
    await settle()
    assert got == [b"a", b"b"]


async def test_a_frozen_peer_reads_everything_when_it_thaws() -> None:
    client, server, connection = await pair()
    connection.freeze()
    client.transport.write(b"order")
    await asyncio.sleep(600)
    assert server.told == ["made"]
    assert not client.transport.is_closing()
    connection.thaw()
    await settle()
    assert server.data == b"order"


async def test_what_left_the_program_reaches_a_frozen_peer_even_after_an_abort() -> (
    None
):
    client, server, connection = await pair()
    connection.freeze()
    client.transport.write(b"stale order")
    await settle()
    client.transport.abort()
    await settle()
    assert client.told == ["made", "lost"]
    connection.thaw()
    await settle()
    assert server.told == ["made", b"stale order", "lost ConnectionResetError"]


async def test_what_has_not_left_the_program_dies_with_an_abort() -> None:
    client, server, connection = await pair()
    connection.freeze()
    client.transport.write(bytes(KERNEL_BYTES))
    client.transport.write(b"stale order")
    assert client.transport.get_write_buffer_size() == 11
    client.transport.abort()
    assert client.transport.get_write_buffer_size() == 0
    connection.thaw()
    await settle()
    assert len(server.data) == KERNEL_BYTES


async def test_a_cut_line_looks_alive_from_both_ends() -> None:
    client, server, connection = await pair()
    connection.cut()
    client.transport.write(b"into the void")
    await asyncio.sleep(3_600)
    assert server.told == ["made"]
    assert client.told == ["made"]
    connection.heal()
    await settle()
    assert server.data == b"into the void"


async def test_a_client_that_aborts_on_a_cut_line_leaves_the_server_half_open() -> None:
    client, server, connection = await pair()
    connection.cut()
    client.transport.write(b"lost")
    client.transport.abort()
    await settle()
    connection.heal()
    await asyncio.sleep(3_600)
    assert client.told == ["made", "lost"]
    assert server.told == ["made"]
    # Only when the server writes does it learn that nobody is there.
    server.transport.write(b"anybody?")
    await settle()
    assert server.told == ["made", "lost ConnectionResetError"]


async def test_bytes_on_a_line_that_is_cut_under_way_wait_too() -> None:
    client, server, connection = await pair()
    connection.to_server.latency_s = 1.0
    client.transport.write(b"under way")
    await asyncio.sleep(0.5)
    connection.cut()
    await asyncio.sleep(10)
    assert server.told == ["made"]
    connection.heal()
    await settle()
    assert server.data == b"under way"


# --- ending -------------------------------------------------------------------------


async def test_what_taps_a_line_decides_what_leaves_it() -> None:
    client, server, line = await pair()

    def tap(data: bytes, put: Callable[[bytes], None]) -> None:
        put(data.replace(b"stop", b""))

    line.client.tap = tap
    client.transport.write(b"go")
    client.transport.write(b"stop")
    client.transport.write(b"on stop")
    await settle()
    assert server.data == b"goon "


async def test_what_a_tap_lets_out_after_the_end_is_lost() -> None:
    client, server, line = await pair()

    def tap(data: bytes, put: Callable[[bytes], None]) -> None:
        put(data)
        client.transport.abort()
        put(b"late")

    line.client.tap = tap
    client.transport.write(b"last")
    await settle()
    assert server.data == b"last"


async def test_close_sends_what_is_written_and_then_ends() -> None:
    client, server, _ = await pair()
    client.transport.write(b"last words")
    client.transport.close()
    assert client.transport.is_closing()
    await settle()
    assert server.told == ["made", b"last words", "eof", "lost"]
    assert client.told == ["made", "lost"]


async def test_close_waits_for_a_reader_that_is_behind() -> None:
    client, server, connection = await pair()
    connection.freeze()
    client.transport.write(bytes(KERNEL_BYTES + 10))
    client.transport.close()
    await settle()
    assert "lost" not in client.told
    connection.thaw()
    await settle()
    assert len(server.data) == KERNEL_BYTES + 10
    assert client.told[-1] == "lost"


async def test_one_direction_can_end_alone() -> None:
    client, server, _ = await pair()
    server.keep_open = True
    client.transport.write(b"question")
    client.transport.write_eof()
    await settle()
    assert server.told == ["made", b"question", "eof"]
    server.transport.write(b"answer")
    server.transport.close()
    await settle()
    assert client.told == ["made", b"answer", "eof", "lost"]


async def test_eof_and_close_make_one_end() -> None:
    client, server, _ = await pair()
    server.keep_open = True
    client.transport.write_eof()
    client.transport.close()
    await settle()
    assert server.told == ["made", "eof"]


async def test_nothing_is_written_after_the_end() -> None:
    client, server, _ = await pair()
    server.keep_open = True
    client.transport.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        client.transport.write(b"more")
    client.transport.close()
    client.transport.write(b"more")
    await settle()
    assert server.data == b""


async def test_an_abort_is_a_reset_for_the_peer() -> None:
    client, server, connection = await pair()
    server.transport.abort()
    server.transport.abort()
    await settle()
    assert client.told == ["made", "lost ConnectionResetError"]
    assert server.told == ["made", "lost"]
    assert connection not in virtual_loop().network.connections


async def test_a_reset_of_the_connection_reaches_both_ends() -> None:
    client, server, connection = await pair()
    connection.reset()
    await settle()
    assert client.told == ["made", "lost ConnectionResetError"]
    assert server.told == ["made", "lost ConnectionResetError"]


async def test_whoever_writes_to_a_closed_end_is_reset() -> None:
    client, server, _ = await pair()
    server.keep_open = True
    client.transport.close()
    await settle()
    server.transport.write(b"too late")
    await settle()
    assert client.told == ["made", "lost"]
    assert server.told == ["made", "eof", "lost ConnectionResetError"]


async def test_a_handler_that_raises_ends_the_connection_and_is_reported() -> None:
    reports: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, told: reports.append(told["message"])
    )
    client, server, _ = await pair()

    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise LookupError(data)

    broken = Broken()
    server.transport.set_protocol(broken)
    client.transport.write(b"x")
    await settle()
    assert reports == ["Fatal error: protocol.data_received() call failed."]
    assert broken.told == ["lost LookupError"]
    assert client.told == ["made", "lost ConnectionResetError"]


async def test_a_writer_is_told_to_pause_and_to_go_on() -> None:
    client, _, connection = await pair()
    connection.freeze()
    client.transport.set_write_buffer_limits(high=100, low=50)
    client.transport.write(bytes(KERNEL_BYTES + 101))
    client.transport.write(b"more")
    assert client.told == ["made", "pause"]
    connection.thaw()
    await settle()
    assert client.told == ["made", "pause", "resume"]
    assert client.transport.get_write_buffer_size() == 0


async def test_a_server_waits_for_its_connections() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, HOST, PORT)
    transport, _ = await loop.create_connection(Recorder, HOST, PORT)
    server.close()
    loop.call_later(60, transport.close)
    await server.wait_closed()
    assert round(loop.time(), 3) == 60


async def test_serving_for_ever_ends_by_cancelling() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, HOST, PORT)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve_forever(), name="serving")
        await settle()
        serving.cancel()
    assert not server.is_serving()


async def test_a_connect_that_is_cancelled_leaves_nothing() -> None:
    loop = virtual_loop()
    loop.network.latency_s = 10
    await loop.create_server(Recorder, HOST, PORT)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await loop.create_connection(Recorder, HOST, PORT)
    assert loop.network.connections == ()


# --- unmodified ib_async -----------------------------------------------------------


class Handshaker(asyncio.Protocol):
    """The least gateway: it greets, then counts the frames."""

    def __init__(self, frames: list[tuple[float, bytes]]) -> None:
        self.frames = frames
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.startswith(b"API\0"):
            self.buffer = self.buffer[4:]
        while len(self.buffer) >= 4:
            (size,) = struct.unpack(">I", self.buffer[:4])
            if len(self.buffer) < 4 + size:
                return
            self.on_frame(self.buffer[4 : 4 + size])
            self.buffer = self.buffer[4 + size :]

    def on_frame(self, frame: bytes) -> None:
        if frame.startswith(b"v157"):
            self.send(b"178\x0020260219 09:00:00 EST\0")
        elif frame.startswith(b"71\0"):
            self.send(b"15\x001\0DU1234567\0")
            self.send(b"9\x001\x001\0")
        else:
            now = asyncio.get_running_loop().time()
            self.frames.append((now, frame))

    def send(self, payload: bytes) -> None:
        self.transport.write(struct.pack(">I", len(payload)) + payload)


async def throttled() -> list[float]:
    """Send 200 messages with ib_async; return when each arrived."""
    frames: list[tuple[float, bytes]] = []
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Handshaker(frames), HOST, PORT)
    ib = IB()
    await ib.client.connectAsync(HOST, PORT, 10, timeout=2)
    for _ in range(200):
        ib.client.reqCurrentTime()
    await asyncio.sleep(10)
    ib.disconnect()
    await asyncio.sleep(1)
    return [round(moment, 3) for moment, _ in frames]


@pytest.mark.parametrize("chunker", [whole, bytewise, ragged(3)])
async def test_the_throttle_of_ib_async_sends_all_and_takes_its_time(
    chunker: Chunker,
) -> None:
    virtual_loop().network.chunker = chunker
    arrived = await throttled()
    assert len(arrived) == 200
    assert arrived[0] == 0.0
    assert arrived[-1] == 4.0


@pytest.mark.announces("Connect call failed", "Make sure API port on TWS/IBG is open")
async def test_ib_async_sees_a_refusal_at_once() -> None:
    with pytest.raises(ConnectionRefusedError):
        await IB().client.connectAsync(HOST, PORT, 10, timeout=2)
    assert asyncio.get_running_loop().time() < 0.001


@pytest.mark.announces("Connection reset by peer")
async def test_ib_async_sees_a_reset() -> None:
    await asyncio.get_running_loop().create_server(lambda: Handshaker([]), HOST, PORT)
    ib = IB()
    gone: list[str] = []
    ib.client.apiEnd += lambda: gone.append("end")
    await ib.client.connectAsync(HOST, PORT, 10, timeout=2)
    virtual_loop().network.connections[0].reset()
    await settle()
    assert gone == ["end"]
    assert not ib.client.isConnected()


def test_an_answer_that_never_comes_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_server(Recorder, HOST, PORT)
        reader, writer = await asyncio.open_connection(HOST, PORT)
        try:
            await reader.read()
        finally:
            writer.close()

    with pytest.raises(VirtualDeadlock, match="Task-"):
        run_virtual(main, START)
