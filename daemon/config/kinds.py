"""The kinds of values that the file may hold, each with its words for a person."""

from __future__ import annotations

import difflib
import ipaddress
import stat
import zoneinfo
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic.fields import FieldInfo

from daemon.core.redact import ACCOUNT_ID, BOT_TOKEN
from daemon.core.session import parse_when
from daemon.core.windows import parse_moment, parse_window


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a value's meaning depends on beside its text."""

    home: Path
    base: Path | None = None
    """The directory of the file, None for the built-in defaults."""
    telegram_token: SecretStr | None = None
    """The token of the environment, if there is one."""
    exchange: str = "XNYS"
    """The exchange that the file names, on whose hours crontab lines are judged."""


@dataclass(frozen=True, slots=True)
class Expects:
    """What to write, where the type alone does not say it."""

    text: str


def describe(field: FieldInfo) -> str:
    """Return what *field* expects: `a whole number, at least 1 and at most 65535`."""
    for mark in field.metadata:
        if isinstance(mark, Expects):
            return mark.text
    limits = [text for mark in field.metadata if (text := _limit(mark))]
    return ", ".join(filter(None, [_kind(field.annotation), " and ".join(limits)]))


def _limit(mark: object) -> str:
    match mark:
        case Ge(ge=limit):
            return f"at least {limit}"
        case Gt(gt=limit):
            return f"above {limit}"
        case Le(le=limit):
            return f"at most {limit}"
        case Lt(lt=limit):
            return f"below {limit}"
        case _:
            return ""


def _kind(annotation: object) -> str:
    if annotation is bool:
        return "true or false"
    if annotation is int:
        return "a whole number"
    if annotation in {float, Decimal}:
        return "a number"
    return "one of " + ", ".join(f'"{word}"' for word in _words(annotation))


def _words(annotation: object) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(member.value for member in annotation)
    raise TypeError(f"give {annotation} an Expects")


def _decimal(value: object) -> object:
    # TOML's 5000 and 5000.0 both mean an amount; true does not.
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value


def _text(value: object) -> object:
    """Return a chat's number as the text that goes into the request."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _nothing(value: object) -> object:
    return None if value == "" else value


def _path(value: object, info: ValidationInfo) -> object:
    """Return the absolute path: `~` is the home, the rest hangs on the file."""
    if not isinstance(value, str) or value == "":
        return _nothing(value)
    around = _surroundings(info)
    first, *rest = Path(value).parts
    if first == "~":
        return around.home.joinpath(*rest)
    if first.startswith("~") or "\0" in value:
        raise ValueError("expected a path that starts with /, ~/ or a name")
    return (around.base or around.home) / value


def _surroundings(info: ValidationInfo) -> Surroundings:
    context = info.context
    if not isinstance(context, Surroundings):
        raise TypeError("validate with context=Surroundings(...)")
    return context


def read_secret(path: Path) -> SecretStr:
    """Return the token in *path*.

    Raises:
        ValueError: there is none, or others may read it; the text says the remedy.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        cause = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise ValueError(f"cannot read '{path}': {cause}") from exc
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(
            "expected a secret file that only its owner may read, not mode "
            f"{stat.S_IMODE(mode):04o}; run: chmod 600 '{path}'"
        )
    return bot_token(text)


def bot_token(text: str) -> SecretStr:
    """Return *text* as a secret if it has a bot token's shape, else raise ValueError.

    The token becomes part of an address, so nothing else may stand in it.
    """
    if not BOT_TOKEN.fullmatch(text):
        raise ValueError(
            "expected a bot token as BotFather gives it (digits, a colon, 35 "
            f"characters), found {len(text)} characters that are not one"
        )
    return SecretStr(text)


def _secret_file(path: Path | None) -> Path | None:
    if path is not None:
        read_secret(path)
    return path


def _address(value: str) -> str:
    parts = urlsplit(value)
    trusted = parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
    if not trusted or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            "expected an https address without query (http only on this host); "
            "the token is sent to it"
        )
    return value.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(value: str) -> str:
    if not value or value != value.strip() or any(c in value for c in " /@\t\n"):
        raise ValueError("expected a host name or an IP address")
    return value


def _account_id(value: str) -> str:
    if value and not ACCOUNT_ID.fullmatch(value):
        raise ValueError('expected an exact account id such as "DU1234567", or ""')
    return value


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as exc:
        # All names cost a walk through the database; only a fault pays for it.
        names = sorted(zoneinfo.available_timezones())
        near = difflib.get_close_matches(value, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"expected an IANA time zone{hint}") from exc
    return value


def _when(value: str) -> str:
    parse_when(value)
    return value


def _window(value: str) -> str:
    if value:
        parse_window("", value, "UTC")
    return value


def _moment(value: str) -> str:
    parse_moment(value, "UTC")
    return value


def _word(value: str) -> str:
    if not value or value != value.strip():
        raise ValueError("expected a text that is not empty")
    return value


Amount = Annotated[Decimal, BeforeValidator(_decimal)]
Money = Annotated[Amount, Field(gt=0, le=10**9)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
OptionalPath = Annotated[
    Path | None,
    BeforeValidator(_path),
    Expects('a path, absolute, from ~ or from this file\'s directory, or ""'),
]
SecretFile = Annotated[OptionalPath, AfterValidator(_secret_file)]
Address = Annotated[str, AfterValidator(_address), Expects("an https address")]
Host = Annotated[
    str,
    AfterValidator(_host),
    Expects("this machine's name or IP address, else `allow_remote`"),
]
AccountId = Annotated[
    str, AfterValidator(_account_id), Expects('an exact account id, or ""')
]
Zone = Annotated[str, AfterValidator(_zone), Expects("an IANA time zone")]
When = Annotated[
    str,
    AfterValidator(_when),
    Expects('"open+5m", "close-20m" or "40 21 * * 1-5 Europe/Budapest"'),
]
WindowText = Annotated[
    str,
    AfterValidator(_window),
    Expects('days, times and a zone such as "fri 23:00-03:00 America/New_York", or ""'),
]
WindowTexts = Annotated[
    tuple[WindowText, ...],
    Field(strict=False),
    Expects('a list of windows such as "sat 10:00-11:00 Europe/Budapest"'),
]
MomentText = Annotated[
    str,
    AfterValidator(_moment),
    Expects('a day, a time and a zone such as "mon 08:00 Europe/Budapest"'),
]
Word = Annotated[str, AfterValidator(_word), Expects("a text")]
Words = Annotated[
    tuple[Word, ...], Field(strict=False), Expects("a list of texts in quotes")
]
ChatId = Annotated[str, BeforeValidator(_text), Expects('the number of a chat, or ""')]
OptionalDate = Annotated[
    date | None,
    BeforeValidator(_nothing),
    Expects('a date without quotes such as 2026-02-19, or ""'),
]
