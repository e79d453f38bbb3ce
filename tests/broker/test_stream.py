"""A gateway that sends what cannot be read: named, ended, and read anew."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from daemon.broker.shapes import Unreadable
from daemon.broker.stream import MAX_MESSAGE, Messages
from daemon.core.connection import Link
from daemon.core.model import Fill, OrderUpdate
from daemon.errors import ConnectionLost, InvariantViolated
from daemon.fakegateway.frames import frame

pytestmark = pytest.mark.virtual(start="2026-02-19T10:00:00-05:00")

HELLO = frame("178", "20260219 10:00:00 EST")
STATUS = ("3", "5", "Submitted", "0", "100", "0", "77", "0", "0", "10", "", "0")
EXECUTION = (
    *("11", "-1", "5", "265598", "AAPL", "STK", "", "0", "", "", "SMART", "USD"),
    *("AAPL", "NMS", "0000e0d5.01.01", "20260219 10:00:00 America/New_York"),
    *("DU1234567", "IEX", "BOT", "100", "99.5", "77", "10", "0", "100", "99.5"),
    *("ibkrd:20260219:AAPL:A:EN", "", "", "", "2", "0"),
)
POSITION = (
    *("61", "3", "DU1234567", "265598", "AAPL", "STK", "", "0", "", "", "NASDAQ"),
    *("USD", "AAPL", "NMS", "100", "99.5"),
)


def changed(fields: tuple[str, ...], place: int, value: str) -> bytes:
    return frame(*fields[:place], value, *fields[place + 1 :])


def now() -> float:
    return asyncio.get_running_loop().time()


# --- the stream by itself -------------------------------------------------------------


def read(*chunks: bytes) -> list[bytes]:
    messages = Messages()
    return [one for chunk in chunks for one in messages.feed(chunk)]


def test_a_greeting_and_messages_come_out_whole() -> None:
    stream = HELLO + frame(*STATUS) + frame(*EXECUTION)
    assert read(stream) == [HELLO, frame(*STATUS), frame(*EXECUTION)]
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == read(stream)


def test_what_is_good_before_the_doubt_is_handed_on() -> None:
    messages = Messages().feed(HELLO + frame(*STATUS) + b"\xff\xff\xff\xff")
    assert [next(messages), next(messages)] == [HELLO, frame(*STATUS)]
    with pytest.raises(Unreadable, match="4294967295 bytes"):
        next(messages)


@pytest.mark.parametrize("length", [0, MAX_MESSAGE + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_absurd_length_is_refused_before_a_byte_is_waited_for(length: int) -> None:
    with pytest.raises(Unreadable, match=f"a message of {length} bytes"):
        read(HELLO, length.to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("bytes_", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1 400"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "352518912 bytes"),
        (frame("100", "20260219 10:00:00"), "server version 100 .*update the gateway"),
        (frame("201", "20260219 10:00:00"), "server version 201"),
        (frame("9", "1", "1"), "no handshake"),
        (frame("178"), "no handshake"),
        (frame("-178", "20260219"), "no handshake"),
        (b"\0\0\0\x03178", "no end"),
    ],
)
def test_what_is_no_handshake_is_refused(bytes_: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(bytes_)


def test_an_error_may_come_before_the_handshake() -> None:
    refusal = frame("4", "2", "-1", "507", "Bad Message Length", "")
    assert read(refusal + HELLO) == [refusal, HELLO]


WRONG = {
    "no id": (frame("", "1"), "no message id"),
    "text for an id": (frame("x11", "1"), "no message id"),
    "a digit of another script": (frame("\u0661\u0661", "1"), "no message id"),
    "a binary id": (b"\0\0\0\x06\0\0\0\xcb\x08\0", "no message id"),
    "a field too few": (frame(*STATUS[:-1]), "11 fields where 12 are right"),
    "a field too many": (frame(*STATUS, ""), "13 fields where 12 are right"),
    "an execution cut short": (frame("11", "-1", "5"), "3 fields where 32"),
    "an open order cut short": (frame("5", "7"), "2 fields where at least 94"),
    "an order id": (changed(STATUS, 1, "5.0"), "field 1 of the order status is '5.0'"),
    "an order id of no end": (changed(STATUS, 1, "9" * 40), "not a whole number"),
    "nothing filled": (changed(STATUS, 3, ""), "not a number"),
    "not a number filled": (changed(STATUS, 3, "nan"), "'nan', not a number"),
    "infinitely filled": (changed(STATUS, 3, "1e999"), "not a number"),
    "more than anybody has": (changed(STATUS, 3, "1e12"), "not a number"),
    "a status of digits": (changed(STATUS, 2, "100"), "not a word"),
    "an execution without id": (changed(EXECUTION, 14, ""), "not something"),
    "a price of no number": (changed(EXECUTION, 20, "-"), "not a number"),
    "a sentinel for a price": (
        changed(EXECUTION, 20, "1.7976931348623157E308"),
        "not a number",
    ),
    "a position of words": (changed(POSITION, 14, "junk"), "not a number"),
    "no text": (b"\0\0\0\x03abc", "no end"),
}


@pytest.mark.parametrize(("message", "reason"), WRONG.values(), ids=WRONG)
def test_a_message_that_would_be_read_as_something_else_is_refused(
    message: bytes, reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(HELLO, message)


RIGHT = {
    "an average price that is not known": changed(STATUS, 5, "1.7976931348623157E308"),
    "no last price": changed(STATUS, 8, ""),
    "a double": changed(STATUS, 3, "33.0"),
    "a power": changed(EXECUTION, 19, "1.0E+2"),
    "a short position": changed(POSITION, 14, "-100"),
    "a message that decides nothing": frame("45", "x", "y", "z"),
    "a Latin-1 text": b"\0\0\0\x12" + b"4\x002\x00-1\x00201\0pay\xe9e\0\0",
}


@pytest.mark.parametrize("message", RIGHT.values(), ids=RIGHT)
def test_what_real_gateways_send_is_read(message: bytes) -> None:
    assert read(HELLO, message) == [HELLO, message]


# --- on a session ----------------------------------------------------------------

GARBAGE = {
    "an execution": (frame("11", "-1", "no number"), "message 11 (execution)"),
    "a time of no zone": (
        changed(EXECUTION, 15, "20260219 10:00:00 Nowhere/Land"),
        "message 11 (execution)",
    ),
    "a side of no order": (changed(EXECUTION, 18, "HELD"), "message 11 (execution)"),
    "an order status": (changed(STATUS, 4, "many"), "message 3 (order status)"),
    "an unknown message": (frame("108", "1", "2"), "message 108"),
    "a message of protocol buffers": (frame("203", "1"), "message 203"),
    "a foreign protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "b'HTTP/1.1 400"),
    "a negative length": (b"\xff\xff\xff\xf0", "a message of 4294967280 bytes"),
    "an empty message": (b"\0\0\0\0", "a message of 0 bytes"),
    "an account value": (
        frame("6", "2", "AvailableFunds", "lots", "USD", "DU1234567"),
        "message 6",
    ),
    "a message of no use": (frame("45", "2", "x", "y", "z"), "message 45"),
}


@pytest.mark.parametrize(("garbage", "named"), GARBAGE.values(), ids=GARBAGE)
async def test_what_cannot_be_read_ends_the_connection_by_name(
    house, garbage: bytes, named: str
) -> None:
    async with house() as h:
        await h.ready()
        heard = len(h.heard)
        good = frame("4", "2", "-1", "2104", "behind the garbage", "")
        h.inject(garbage, good)
        await h.lost(within_s=0.1)
        assert named in h.session.trouble
        assert "cannot be read" in h.session.trouble
        assert len(h.heard) == heard + 1  # the link's end, nothing before or after
        await h.ready(within_s=2)
        assert len(h.synced) == 2
        assert len(h.written("connected")) == 2


async def test_an_answer_that_lacks_an_unreadable_message_is_no_answer(house) -> None:
    """ib_async drops the message: the position is gone, and the answer complete."""
    async with house() as h:
        await h.ready()
        h.mute(61)
        asking = asyncio.get_running_loop().create_task(h.session.positions())
        await asyncio.sleep(1)
        h.inject(changed(POSITION, 14, "junk") + frame("62", "1"))
        with pytest.raises(ConnectionLost, match="field 14 of the position is 'junk'"):
            await asking


async def test_all_that_wait_end_by_that_name(house) -> None:
    async with house() as h:
        await h.ready()
        h.mute(7, 61, 99)
        asked = asyncio.gather(
            h.session.positions(),
            h.session.executions(),
            h.session.completed_orders(),
            return_exceptions=True,
        )
        await asyncio.sleep(1)
        began = now()
        h.inject(frame("11"))
        answers = await asked
        assert now() - began < 0.01
        assert [type(answer) for answer in answers] == [ConnectionLost] * 3
        assert all("message 11" in str(answer) for answer in answers)


async def test_no_order_goes_out_behind_an_unreadable_message(
    house, make_order
) -> None:
    async with house() as h:
        await h.ready()
        await h.session.ready_to_send()
        h.inject(frame("11"))
        await h.lost()
        with pytest.raises(ConnectionLost):
            await h.session.send([(5, make_order("A:EN", "BUY 1 LMT 90.00"))])
        await h.ready()
        assert h.written("placed") == []


async def test_an_account_id_is_masked_and_the_fields_are_cut_short(house) -> None:
    async with house() as h:
        await h.ready()
        h.inject(frame("61", "3", "DU1234567", "x", *["padding"] * 40))
        await h.lost()
        assert "DU***567" in h.session.trouble
        assert "DU1234567" not in h.session.trouble
        assert len(h.session.trouble) < 300


async def test_a_message_cut_off_by_the_end_is_named(house) -> None:
    async with house() as h:
        await h.ready()
        h.inject(frame(*STATUS)[:20])
        h.connection.server.close()
        await h.lost(within_s=0.1)
        assert h.session.trouble == (
            "the gateway closed the connection in the middle of a message "
            "(16 of 35 bytes)"
        )
        await h.ready(within_s=2)


async def test_a_message_that_never_ends_is_a_mute_gateway(house) -> None:
    """A length of a megabyte swallows every answer that follows."""
    async with house() as h:
        await h.ready()
        h.inject((1 << 20).to_bytes(4, "big") + b"11\0")
        await h.lost(within_s=65)
        await h.until(Link.DISCONNECTED, within_s=10)
        assert h.session.trouble.startswith("two probes without an answer")
        await h.ready(within_s=5)


async def test_a_gateway_that_garbles_every_sync_is_not_hammered(house) -> None:
    async with house() as h:

        async def garble() -> None:
            h.inject(frame("11", str(now())))

        h.on_synced.append(garble)
        with capture_logs() as logs:
            await asyncio.sleep(300)
        failed = [e["log_level"] for e in logs if e["event"] == "session.failed"]
        assert failed[0] == "warning"
        assert set(failed[1:]) == {"debug"}
        assert 50 < len(failed) < 80
        h.on_synced.clear()
        await h.ready(within_s=10)


async def test_a_bug_of_ours_is_not_called_garbage(house) -> None:
    def fail(event: object) -> None:
        if isinstance(event, Fill):
            raise InvariantViolated("a law is broken")

    async with house(emit=fail) as h:
        await h.ready()
        h.inject(frame(*EXECUTION))
        with pytest.raises(ExceptionGroup) as caught:
            await h.running
        assert caught.group_contains(InvariantViolated, match="a law is broken")


# --- before the handshake -------------------------------------------------------


class Greets(asyncio.Protocol):
    """A port that answers every connection with the same bytes."""

    def __init__(self, greeting: bytes, *, ends: bool) -> None:
        self._greeting, self._ends = greeting, ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._greeting)
        if self._ends:
            transport.close()


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("greeting", "named"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", "b'HTTP/1.1 400 Bad"),
        (frame("76", "20100101 10:00:00"), "server version 76 where 157 to 178"),
        (HELLO + frame("9", "1", "many"), "message 9 (next valid id)"),
        (HELLO + frame("9", "1"), "message 9 (next valid id)"),
        (HELLO + frame("", ""), "no message id"),
        (HELLO + HELLO, "message 178"),
    ],
)
async def test_garbage_for_a_handshake_is_named_at_once(
    house, greeting: bytes, named: str, ends: bool
) -> None:
    async with house(started=False) as h:
        h.shut()
        loop = asyncio.get_running_loop()
        other = await loop.create_server(
            lambda: Greets(greeting, ends=ends), "127.0.0.1", 4002
        )
        h.running = loop.create_task(h.session.run())
        await asyncio.sleep(0.1)
        other.close()
        assert named in h.session.trouble
        assert h.links == []


async def test_half_a_handshake_and_silence_is_a_frozen_gateway(house) -> None:
    async with house(started=False) as h:
        h.shut()
        loop = asyncio.get_running_loop()
        other = await loop.create_server(
            lambda: Greets(HELLO[:9], ends=False), "127.0.0.1", 4002
        )
        h.running = loop.create_task(h.session.run())
        await asyncio.sleep(11)
        other.close()
        assert "did not finish the handshake in 10 s" in h.session.trouble


async def test_the_events_of_good_messages_are_those_of_the_gateway(
    read_bytes,
) -> None:
    done = read_bytes(HELLO + frame(*STATUS) + frame(*EXECUTION))
    assert done.doubts == []
    assert [type(event) for event in done.told] == [OrderUpdate, Fill]
