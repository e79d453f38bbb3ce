from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from daemon.core.model import Message, Severity
from daemon.errors import NotifyError
from daemon.notify.channels import (
    Refusal,
    TelegramChannel,
    parts,
    refusal,
    telegram_text,
)

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
FLAT = Message(Severity.INFO, "flat", "BLCO 181, LH 15, MRNA 55, NOV 196 closed")
LEFT = Message(Severity.ALARM, "not flat: EVRG 235", "sell 235 EVRG by hand")

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def telegram(answer: Answer) -> AsyncIterator[tuple[TelegramChannel, list[Any]]]:
    """Serve the Bot API on loopback; yield a channel to it, and what it received."""
    received: list[Any] = []

    async def send_message(request: web.Request) -> web.StreamResponse:
        received.append(await request.json())
        return await answer(received[-1])

    application = web.Application()
    application.router.add_post(f"/bot{TOKEN}/sendMessage", send_message)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield TelegramChannel(TOKEN, "4711", f"http://127.0.0.1:{port}"), received
    finally:
        await runner.cleanup()


async def accept(_body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"ok": True, "result": {"message_id": 1}})


async def failure(channel: TelegramChannel, message: Message = LEFT) -> str:
    """Return all that a failing send shows, its traceback included."""
    with pytest.raises(NotifyError) as raised:
        await channel.send(message)
    shown = "".join(traceback.format_exception(raised.value))
    assert raised.value.__context__ is None
    assert TOKEN not in shown + repr(channel)
    return str(raised.value)


async def test_a_message_is_posted_to_the_chat() -> None:
    async with telegram(accept) as (channel, received):
        await channel.send(FLAT)
    assert received == [
        {
            "chat_id": "4711",
            "text": "flat\n\nBLCO 181, LH 15, MRNA 55, NOV 196 closed",
        }
    ]


async def test_a_long_message_is_posted_in_order_and_whole() -> None:
    body = "".join(f"{number:04} BLCO 181\n" for number in range(600))
    async with telegram(accept) as (channel, received):
        await channel.send(Message(Severity.INFO, "report", body))
    texts = [each["text"] for each in received]
    assert [len(text) <= 4096 for text in texts] == [True, True, True]
    assert "".join(texts) == f"report\n\n{body}".strip()


async def test_a_refusal_is_told_in_telegrams_words() -> None:
    async def refuse(_body: dict[str, Any]) -> web.StreamResponse:
        answer = {"ok": False, "error_code": 400, "description": "chat not found"}
        return web.json_response(answer, status=400)

    async with telegram(refuse) as (channel, received):
        text = await failure(channel)
    assert "status 400, chat not found" in text
    assert len(received) == 1


async def test_the_rest_of_a_message_is_not_sent_after_a_refusal() -> None:
    async def refuse(_body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"ok": False, "description": "slow down"}, status=429)

    async with telegram(refuse) as (channel, received):
        await failure(channel, Message(Severity.INFO, "report", "x" * 9000))
    assert len(received) == 1


async def test_a_refusal_never_shows_the_token() -> None:
    async def echo(_body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"ok": False, "description": f"bad /bot{TOKEN}/"})

    async with telegram(echo) as (channel, _):
        assert "<token>" in await failure(channel)


async def test_a_redirect_is_not_followed() -> None:
    async def redirect(_body: dict[str, Any]) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/elsewhere")

    async with telegram(redirect) as (channel, _):
        assert "status 307" in await failure(channel)


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    async with telegram(accept) as (channel, _):
        pass
    assert "ClientConnectorError" in await failure(channel)


async def test_a_server_that_hangs_up_is_a_failure() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: Any) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        channel = TelegramChannel(TOKEN, "4711", f"http://127.0.0.1:{port}")
        assert "ServerDisconnectedError" in await failure(channel)


async def test_no_answer_in_time_is_a_failure() -> None:
    released = asyncio.Event()

    async def mute(_body: dict[str, Any]) -> web.StreamResponse:
        await released.wait()
        return web.json_response({"ok": True})

    async with telegram(mute) as (channel, _):
        async with asyncio.timeout(2):
            assert "Timeout" in await failure(replace(channel, timeout_s=0.05))
        released.set()


async def test_no_log_line_shows_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with telegram(accept) as (channel, received):
        await channel.send(FLAT)
    assert len(received) == 1
    assert TOKEN not in caplog.text


def test_a_loud_message_says_so_first() -> None:
    assert telegram_text(LEFT) == ("ALARM: not flat: EVRG 235\n\nsell 235 EVRG by hand")
    assert telegram_text(Message(Severity.WARNING, "late", "")) == "WARNING: late"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \n", []),
        ("abcde", ["abcde"]),
        ("abcdef", ["abcde", "f"]),
        ("ab\ncdef", ["ab\n", "cdef"]),
        ("a\nb\nc\nd", ["a\nb\n", "c\nd"]),
        ("abcde\n\n\n\n\n\nf", ["abcde", "\nf"]),
        (
            "\N{CHART WITH UPWARDS TREND}" * 3,
            ["\N{CHART WITH UPWARDS TREND}" * 2, "\N{CHART WITH UPWARDS TREND}"],
        ),
    ],
)
def test_text_is_cut_at_line_ends_below_the_limit(
    text: str, expected: list[str]
) -> None:
    assert list(parts(text, limit=5)) == expected


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b'{"ok": false}', "status 200, no description"),
        (200, b'{"ok": "true"}', "status 200, no description"),
        (502, b"<html>Bad Gateway</html>", "status 502, an answer that is not JSON"),
        (200, b"\xff\xfe\xff", "status 200, an answer that is not JSON"),
        (200, b"[]", "status 200, an answer that is not an object"),
        (500, b'{"description": "Internal"}', "status 500, Internal"),
    ],
)
def test_only_an_explicit_yes_is_an_acceptance(
    status: int, body: bytes, cause: str
) -> None:
    assert refusal(200, b'{"ok": true, "result": {}}') is None
    assert refusal(status, body) == Refusal(cause)


@pytest.mark.parametrize(
    ("parameters", "rest_s"),
    [
        ('{"retry_after": 13}', 13.0),
        ('{"retry_after": 90000}', 3600.0),
        ('{"retry_after": -5}', 0.0),
        ('{"retry_after": NaN}', 0.0),
        ('{"retry_after": "soon"}', 0.0),
        ("{}", 0.0),
        ("null", 0.0),
    ],
)
def test_telegram_is_left_alone_for_as_long_as_it_asks(
    parameters: str, rest_s: float
) -> None:
    body = f'{{"ok": false, "description": "slow", "parameters": {parameters}}}'
    answer = refusal(429, body.encode())
    assert answer == Refusal("status 429, slow", retry_after_s=rest_s)


CHAT = "correct notify.telegram_chat_id, and let the chat write to the bot first"
BOT = "the bot's token is not valid: correct notify.telegram_token_file"


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (400, "Bad Request: chat not found", CHAT),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", CHAT),
        (403, "Forbidden: bot was blocked by the user", CHAT),
        (401, "Unauthorized", BOT),
        (404, "Not Found", BOT),
    ],
)
def test_what_no_retry_can_mend_says_what_a_person_must_correct(
    status: int, said: str, remedy: str
) -> None:
    answer = refusal(status, json.dumps({"ok": False, "description": said}).encode())
    assert answer == Refusal(f"status {status}, {said}; {remedy}", hopeless=True)


def test_a_refused_text_is_the_messages_own_fault() -> None:
    answer = refusal(400, b'{"ok": false, "description": "message text is empty"}')
    assert answer == Refusal("status 400, message text is empty", of_message=True)


async def test_a_failure_carries_what_telegram_asked_for() -> None:
    async def slow_down(_body: dict[str, Any]) -> web.StreamResponse:
        answer = {"ok": False, "description": "slow", "parameters": {"retry_after": 7}}
        return web.json_response(answer, status=429)

    async with telegram(slow_down) as (channel, _):
        with pytest.raises(NotifyError) as raised:
            await channel.send(FLAT)
    assert raised.value.retry_after_s == 7.0
    assert not raised.value.hopeless
