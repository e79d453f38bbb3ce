"""Masks account ids and secrets in whatever is about to be shown."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import quote

BOT_TOKEN = re.compile(r"\d+(?::|%3[Aa])[\w-]{30,}", re.ASCII)
"""A Telegram bot token, also as it stands percent-encoded in an address."""

ACCOUNT_ID = re.compile(r"[A-Z]{1,4}\d{4,}")
"""The shape of an IBKR account id: U1234567, DU1234567, DUM123456, F1234567."""

PAPER_ACCOUNT = re.compile(r"DU[A-Z]?\d+")
"""The shape of a paper account's id; DF and DI are advisors' and not meant."""

_ACCOUNT_IN_TEXT = re.compile(r"(?<![A-Z0-9])(?:DU[A-Z]?|U)\d{5,}")
_HIDDEN = "***"
_NO_MATCH = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Redactor:
    """Masks the known secrets exactly, and what looks like one by its shape."""

    secrets: frozenset[str] = frozenset()
    """Exact values; one with the shape of an account id keeps its last digits."""
    _exact: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the exact values into one pattern."""
        object.__setattr__(self, "_exact", _exact_pattern(self.secrets))

    def text(self, text: str) -> str:
        """Return *text* with `DU***567` for accounts and `***` for secrets."""
        text = self._exact.sub(_mask, text)
        text = BOT_TOKEN.sub(_HIDDEN, text)
        return _ACCOUNT_IN_TEXT.sub(_mask, text)

    def value(self, value: object) -> object:
        """Return *value* masked throughout, made of what JSON can hold."""
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)
            case Mapping():
                return {self.text(str(k)): self.value(v) for k, v in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.value(item) for item in value]
            case _:
                return self.text(_plain(value))


def mask_account(account: str) -> str:
    """Return *account* with its letters and last three digits: `DU***567`."""
    return f"{account.rstrip('0123456789')}{_HIDDEN}{account[-3:]}"


def _mask(match: re.Match[str]) -> str:
    found = match.group()
    return mask_account(found) if ACCOUNT_ID.fullmatch(found) else _HIDDEN


def _exact_pattern(secrets: Collection[str]) -> re.Pattern[str]:
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""))}
    # The longest first: a secret may begin with another one.
    ordered = sorted(forms - {""}, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else _NO_MATCH


def _plain(value: object) -> str:
    """Return the text that says most: an exception's name is part of it."""
    match value:
        case date():
            return value.isoformat()
        case bytes():
            return value.decode(errors="replace")
        case BaseException():
            return repr(value)
        case _:
            return str(value)
