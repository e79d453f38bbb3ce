"""The sections of the file: every key with its type, range, default and meaning."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from daemon.config.kinds import (
    AccountId,
    Address,
    Amount,
    ChatId,
    Host,
    MomentText,
    Money,
    OptionalDate,
    OptionalPath,
    Seconds,
    SecretFile,
    Surroundings,
    When,
    WindowText,
    WindowTexts,
    Word,
    Words,
    Zone,
    is_loopback,
)
from daemon.config.times import require_place
from daemon.core.redact import PAPER_ACCOUNT
from daemon.core.rules import Scope
from daemon.core.windows import Window, parse_moment, parse_window


class Section(BaseModel):
    """One section: no unknown key, no silent conversion, no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GatewaySection(Section):
    """Where IB Gateway or TWS listens, and how patiently it is asked."""

    # The permission stands before what it permits: fields are checked in order.
    allow_remote: bool = Field(
        default=False,
        description="Permit a `host` that is not this machine. The API has no "
        "password: whoever reaches the port trades.",
    )
    host: Host = Field(
        default="127.0.0.1", description="Host of IB Gateway or TWS.", examples=["::1"]
    )
    port: int = Field(
        default=4002,
        ge=1,
        le=65535,
        description="4002 Gateway paper, 4001 Gateway live, 7497 TWS paper, 7496 TWS "
        "live.",
    )
    client_id: int = Field(
        default=10,
        ge=1,
        le=2**31 - 1,
        description="The one client id. It never changes: another id could not cancel "
        "our own orders, and 0 would take over orders placed by hand.",
    )
    connect_timeout_s: Seconds = Field(
        default=10.0,
        gt=0,
        le=120,
        description="Longest wait for a connection and its handshake, in seconds; the "
        "sync after it waits `request_timeout_s` for each answer.",
    )
    request_timeout_s: Seconds = Field(
        default=10.0,
        gt=0,
        le=120,
        description="Longest wait for the answer to one request, in seconds.",
    )
    heartbeat_s: Seconds = Field(
        default=30.0,
        ge=1,
        le=300,
        description="Distance of the probes in quiet hours, in seconds.",
    )
    messages_per_second: int = Field(
        default=45,
        ge=1,
        le=50,
        description="Own pace; the gateway refuses more than 50 a second.",
    )

    @field_validator("host")
    @classmethod
    def _local_unless_permitted(cls, host: str, info: ValidationInfo) -> str:
        if not info.data.get("allow_remote", True) and not is_loopback(host):
            raise ValueError(
                "expected this machine, 127.0.0.1; whoever reaches the port trades: "
                "set allow_remote = true in [gateway] to permit another"
            )
        return host


class AccountSection(Section):
    """The only account for which an order may be sent."""

    allow_live: bool = Field(
        default=False,
        description="Permit an `id` that is not a paper account (DU...).",
    )
    id: AccountId = Field(
        default="",
        description="The exact account id. Empty suffices for `demo`, `plan` and "
        "`schedule`; `run` then prints the ids that the gateway offers and ends.",
        examples=["DU1234567"],
    )

    @field_validator("id")
    @classmethod
    def _paper_unless_permitted(cls, account: str, info: ValidationInfo) -> str:
        paper = not account or PAPER_ACCOUNT.fullmatch(account)
        if not paper and not info.data.get("allow_live", True):
            raise ValueError(
                "expected a paper account (DU...); to trade a live account set "
                "allow_live = true in [account]"
            )
        return account


class PathsSection(Section):
    """Where files are; created with mode 0700 where they are missing."""

    state: OptionalPath = Field(
        default=None,
        description="Journal, lock and socket. Empty means `~/.local/state/ibkrd`, "
        "on macOS `~/Library/Application Support/ibkrd`.",
        examples=["/var/lib/ibkrd"],
    )
    plans: OptionalPath = Field(
        default=None,
        description="Where the plan of the day is dropped. Empty means `plans` under "
        "the state directory.",
        examples=["~/pipeline/out"],
    )
    reports: OptionalPath = Field(
        default=None,
        description="Where reports are written. Empty means `reports` under the state "
        "directory.",
        examples=["~/Documents/trading"],
    )


class CalendarSection(Section):
    """The exchange whose sessions rule the day, and the clock on your wall."""

    exchange: Word = Field(
        default="XNYS",
        description="Code of the exchange as exchange_calendars knows it.",
        examples=["XNYS", "XNAS"],
    )
    local_zone: Zone = Field(
        default="Europe/Budapest",
        description="IANA name of the zone in which times are also shown to you.",
        examples=["America/New_York"],
    )


class ScheduleSection(Section):
    """When the jobs run, relative to the session's open and close.

    A place outside the session's limits is refused, judged on an ordinary session of
    New York and on a half-day. A crontab line is judged by its ordinary place there if
    `calendar.exchange` is XNYS or XNAS; for another exchange it is not judged here:
    `ibkrd schedule` shows where it falls.
    """

    submit: When = Field(
        default="open+5m",
        description="Send the brackets of the plan: 15:35 in Budapest on an ordinary "
        "day. From the open to before open+30m.",
    )
    moc_close: When = Field(
        default="close-20m",
        description="Flatten the book by market-on-close orders: 21:40 in Budapest on "
        "an ordinary day. After the open and not after close-12m.",
    )
    eod_report: When = Field(
        default="close+5m",
        description="Write and send the report: 22:05 in Budapest on an ordinary day. "
        "At the close or after it.",
    )
    adjust: bool = Field(
        default=True,
        description="Move a crontab line that falls wrong on a session (half-days, "
        "weeks in which only one side has changed its clocks) to its ordinary distance "
        "from the close or open; `false` keeps it literal and warns.",
    )

    @field_validator("submit", "moc_close", "eod_report")
    @classmethod
    def _in_its_place(cls, when: str, info: ValidationInfo) -> str:
        around = info.context
        exchange = around.exchange if isinstance(around, Surroundings) else "XNYS"
        require_place(str(info.field_name), when, exchange)
        return when

    def times(self) -> dict[str, str]:
        """Return when each job runs, by its name, in the order of the day."""
        names = [name for name in type(self).model_fields if name != "adjust"]
        return {name: getattr(self, name) for name in names}


class WindowsSection(Section):
    """When the gateway is expected to be away: no alarm until the window is over.

    Days, times and a zone; without a zone in `calendar.local_zone`. A window whose end
    is not after its begin ends on the next day. Empty switches one off. From open-30m
    to close+15m no window counts. `ibkrd schedule` shows where they fall.
    """

    reset: WindowText = Field(
        default="sun-fri 00:15-01:45 America/New_York",
        description="The broker's nightly reset, of its North American servers.",
    )
    weekend: WindowText = Field(
        default="fri 23:00-03:00 America/New_York",
        description="The broker's weekend maintenance.",
    )
    restart: WindowText = Field(
        default="daily 23:45-00:00",
        description="The gateway's own daily restart, as set in its Lock and Exit "
        "settings.",
        examples=["daily 08:15-08:30 Europe/Budapest"],
    )
    login: WindowText = Field(
        default="sun 01:00-12:00 America/New_York",
        description="The weekly login by hand: the broker ends every session on Sunday "
        "at 01:00 in New York. Its beginning is told quietly, its end is an alarm.",
    )
    login_again: MomentText = Field(
        default="mon 08:00",
        description="When a missed login is alarmed once more.",
        examples=["mon 07:00 Europe/Budapest"],
    )
    others: WindowTexts = Field(
        default=(),
        description="Further planned absences.",
        examples=[["sat 10:00-11:00 Europe/Budapest"]],
    )

    def windows(self, zone: str) -> tuple[Window, ...]:
        """Return the windows; those without a zone of their own are in *zone*."""
        again = parse_moment(self.login_again, zone)
        named = {
            "nightly reset": self.reset,
            "weekend maintenance": self.weekend,
            "gateway restart": self.restart,
            "weekly login": self.login,
            **{text: text for text in self.others},
        }
        windows = (
            parse_window(name, text, zone) for name, text in named.items() if text
        )
        return tuple(
            replace(window, again=again) if window.name == "weekly login" else window
            for window in windows
        )


class RulesSection(Section):
    """Limits and habits of one trading day."""

    share_a: Annotated[Amount, Field(gt=0, lt=1)] = Field(
        default=Decimal("0.33"),
        description="Part of a row's quantity that goes to bracket A (first target); "
        "the rest is bracket B.",
    )
    size_preset: int = Field(
        default=500,
        ge=1,
        le=10**6,
        description="The gateway's order size limit, in shares; an order above it "
        "meets error 383.",
    )
    row_limit_usd: Money = Field(
        default=Decimal(50_000),
        description="Largest notional of one plan row, in USD.",
    )
    day_limit_usd: Money = Field(
        default=Decimal(200_000),
        description="Largest notional of all rows of a day, in USD, in file order.",
    )
    loss_limit_usd: Money = Field(
        default=Decimal(5_000),
        description="No entries while the cumulative result is below minus this, in "
        "USD.",
    )
    scope: Annotated[Scope, Field(strict=False)] = Field(
        default=Scope.ACCOUNT,
        description="Whose shares are closed at the bell: `account` every share that "
        "is not on the ignore list, `own` only what this daemon bought.",
    )
    ignore: Words = Field(
        default=("*.CVR",),
        description="Symbols or patterns that are never traded and never counted.",
        examples=[["*.CVR", "BRK B"]],
    )
    acknowledge_timeout_s: Annotated[Seconds, Field(gt=0, le=300)] = Field(
        default=30.0,
        description="After this long without a word an order is `unknown`, in seconds.",
    )
    cancel_timeout_s: Annotated[Seconds, Field(gt=0, le=300)] = Field(
        default=20.0,
        description="Longest wait for a cancellation's confirmation, in seconds.",
    )
    entries_die_before_close_s: Annotated[Seconds, Field(ge=600, le=14400)] = Field(
        default=1800.0,
        description="Entry orders are good until this long before the close, in "
        "seconds; at least 600, because after close-10m nothing can close them.",
    )


class NotifySection(Section):
    """How you are told; without a token messages go to the log only."""

    telegram_token_file: SecretFile = Field(
        default=None,
        description="File that holds the bot token and nothing else, mode 0600. The "
        "environment variable `IBKRD_TELEGRAM_TOKEN` comes first. The token itself "
        "never stands in this file.",
        examples=["~/.config/ibkrd/telegram.token"],
    )
    telegram_chat_id: ChatId = Field(
        default="",
        validate_default=True,
        description="The chat that is told.",
        examples=["123456789"],
    )
    telegram_api_url: Address = Field(
        default="https://api.telegram.org",
        description="Where the Bot API is; for a Bot API server of your own.",
    )

    @field_validator("telegram_chat_id")
    @classmethod
    def _needed_with_a_token(cls, chat: str, info: ValidationInfo) -> str:
        around = info.context
        given = isinstance(around, Surroundings) and around.telegram_token
        if not chat and (given or info.data.get("telegram_token_file")):
            raise ValueError("expected the chat to tell; there is a bot token")
        return chat


class LogSection(Section):
    """What is logged, how and where."""

    format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="`console` for people, `json` one object a line, `auto` by whether "
        "standard error is a terminal.",
    )
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least level that is shown."
    )
    file: OptionalPath = Field(
        default=None,
        description="JSON lines also go here, a new file each midnight, 30 kept. Empty "
        "means none: the service manager keeps standard error.",
        examples=["~/Library/Logs/ibkrd/ibkrd.log"],
    )


class BooksSection(Section):
    """Where the cumulative result starts."""

    initial_capital: Money = Field(
        default=Decimal(100_000),
        description="Capital on the first day, in USD; the base of every percentage.",
    )
    start_date: OptionalDate = Field(
        default=None,
        description="First day of the books, without quotes. Empty means the first day "
        "that is reported.",
        examples=[date(2026, 2, 19)],
    )


class Document(Section):
    """The whole file."""

    gateway: GatewaySection
    account: AccountSection
    paths: PathsSection
    calendar: CalendarSection
    schedule: ScheduleSection
    windows: WindowsSection
    rules: RulesSection
    notify: NotifySection
    log: LogSection
    books: BooksSection
