"""The ways in which a message leaves the daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from daemon.core.model import Message, Severity
from daemon.errors import NotifyError

TELEGRAM_LIMIT = 4096
"""Telegram's longest message, in UTF-16 code units."""

TELEGRAM_TIMEOUT_S = 10.0
"""For one part: long for a POST, short against the minute that an alert has (A4)."""


class Channel(Protocol):
    """One way to the person."""

    @property
    def name(self) -> str:
        """Return the name under which an acceptance is journaled."""

    async def send(self, message: Message) -> None:
        """Hand *message* over.

        Raises:
            NotifyError: the channel did not accept it.
        """


@dataclass(frozen=True, slots=True)
class LogChannel:
    """The daemon's own log."""

    log: Any = field(default_factory=structlog.get_logger)
    """A structlog logger; structlog types it as Any itself."""

    @property
    def name(self) -> str:
        """Return the name under which an acceptance is journaled."""
        return "log"

    async def send(self, message: Message) -> None:
        """Write *message* at the level of its severity."""
        write = getattr(self.log, _level(message.severity))
        write("message.told", subject=message.subject, body=message.body)


@dataclass(frozen=True, slots=True)
class TelegramChannel:
    """A Telegram bot; its token stands in the URL, so no URL is ever shown."""

    token: str = field(repr=False)
    chat_id: str
    api_url: str = "https://api.telegram.org"
    timeout_s: float = TELEGRAM_TIMEOUT_S

    @property
    def name(self) -> str:
        """Return the name under which an acceptance is journaled."""
        return "telegram"

    async def send(self, message: Message) -> None:
        """Post *message*, in as many parts as its length needs.

        Raises:
            NotifyError: Telegram refused a part or did not answer in time.
        """
        # Here and not above: 100 ms and 25 MB that a quiet day never needs.
        import aiohttp  # noqa: PLC0415

        url = f"{self.api_url}/bot{self.token}/sendMessage"
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        failure = None
        try:
            async with aiohttp.ClientSession(timeout=timeout) as client:
                for text in parts(telegram_text(message)):
                    body = {"chat_id": self.chat_id, "text": text}
                    # A redirect would carry the token to another host.
                    async with client.post(
                        url, json=body, allow_redirects=False
                    ) as answer:
                        failure = refusal(answer.status, await answer.read())
                    if failure is not None:
                        break
        except (aiohttp.ClientError, OSError) as exc:
            failure = type(exc).__name__
        # Raised out here, because an error of aiohttp may carry the URL, and would
        # be this one's context.
        if failure is not None:
            cause = failure.replace(self.token, "<token>")
            raise NotifyError(f"Telegram did not accept the message: {cause}")


def telegram_text(message: Message) -> str:
    """Return the text of *message*; what is not plain information says so first."""
    loud = message.severity is not Severity.INFO
    subject = f"{message.severity.upper()}: " * loud + message.subject
    return f"{subject}\n\n{message.body}".strip()


def parts(text: str, limit: int = TELEGRAM_LIMIT) -> Iterator[str]:
    """Yield *text* in parts of at most *limit* UTF-16 units, cut at line ends.

    A line longer than *limit* is cut where it must be. Parts of nothing but blanks,
    which Telegram refuses, are left out.
    """
    rest = text
    while rest:
        fits = _fitting(rest, limit)
        line_end = rest.rfind("\n", 0, fits) + 1
        cut = fits if fits == len(rest) or not line_end else line_end
        part, rest = rest[:cut], rest[cut:]
        if part.strip():
            yield part


def refusal(status: int, body: bytes) -> str | None:
    """Return why Telegram's answer is no acceptance, None where it is one."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return f"status {status}, an answer that is not JSON"
    if isinstance(answer, dict):
        if answer.get("ok") is True:
            return None
        return f"status {status}, {answer.get('description', 'no description')}"
    return f"status {status}, an answer that is not an object"


def _level(severity: Severity) -> str:
    """Return the name of the log's method for *severity*."""
    match severity:
        case Severity.INFO:
            return "info"
        case Severity.WARNING:
            return "warning"
        case Severity.ALARM:
            return "error"


def _fitting(text: str, limit: int) -> int:
    """Return how many characters of *text* fit into *limit* UTF-16 units."""
    units = 0
    for count, character in enumerate(text):
        units += 2 if ord(character) > 0xFFFF else 1
        if units > limit:
            return count
    return len(text)
