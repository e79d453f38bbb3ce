"""The ways in which a message leaves the daemon."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
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
        refused: Refusal | None = None
        try:
            async with aiohttp.ClientSession(timeout=timeout) as client:
                for text in parts(telegram_text(message)):
                    body = {"chat_id": self.chat_id, "text": text}
                    # A redirect would carry the token to another host.
                    async with client.post(
                        url, json=body, allow_redirects=False
                    ) as answer:
                        refused = refusal(answer.status, await answer.read())
                    if refused is not None:
                        break
        except (aiohttp.ClientError, OSError) as exc:
            refused = Refusal(type(exc).__name__)
        # Raised out here, because an error of aiohttp may carry the URL, and would
        # be this one's context.
        if refused is not None:
            cause = refused.text.replace(self.token, "<token>")
            raise NotifyError(
                f"Telegram did not accept the message: {cause}",
                retry_after_s=refused.retry_after_s,
                hopeless=refused.hopeless,
                of_message=refused.of_message,
            )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an answer of Telegram is no acceptance; see `NotifyError`."""

    text: str
    retry_after_s: float = 0.0
    hopeless: bool = False
    of_message: bool = False


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


def refusal(status: int, body: bytes) -> Refusal | None:
    """Return why Telegram's answer is no acceptance, None where it is one."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(f"status {status}, an answer that is not JSON")
    if not isinstance(answer, dict):
        return Refusal(f"status {status}, an answer that is not an object")
    if answer.get("ok") is True:
        return None
    said = str(answer.get("description", "no description"))
    text = f"status {status}, {said}"
    if status == 429:
        return Refusal(text, retry_after_s=_retry_after_s(answer))
    if remedy := _remedy(status, said):
        return Refusal(f"{text}; {remedy}", hopeless=True)
    return Refusal(text, of_message=status == 400)


_TOKEN_REMEDY = "the bot's token is not valid: correct notify.telegram_token_file"  # noqa: S105 - advice, no token
_CHAT_REMEDY = (
    "correct notify.telegram_chat_id, and let the chat write to the bot first"
)
_LONGEST_REST_S = 3600.0
"""Telegram asks for seconds; an absurd number must not silence a day."""


def _remedy(status: int, said: str) -> str:
    """Return what a person must do before any message can pass, empty if nothing."""
    if status in {401, 404}:
        return _TOKEN_REMEDY
    if status == 403 or (status == 400 and "chat" in said.lower()):
        return _CHAT_REMEDY
    return ""


def _retry_after_s(answer: Mapping[str, object]) -> float:
    """Return for how many seconds Telegram wants to hear nothing, 0 if unsaid."""
    parameters = answer.get("parameters")
    asked = parameters.get("retry_after") if isinstance(parameters, dict) else None
    if not isinstance(asked, int | float) or not math.isfinite(asked):
        return 0.0
    return min(max(float(asked), 0.0), _LONGEST_REST_S)


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
