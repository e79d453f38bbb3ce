"""From a file and the environment to one frozen value, or to every fault at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from daemon.config.kinds import Surroundings, bot_token, read_secret
from daemon.config.problems import Problem, problems
from daemon.config.sections import (
    AccountSection,
    BooksSection,
    CalendarSection,
    Document,
    GatewaySection,
    LogSection,
    NotifySection,
    PathsSection,
    RulesSection,
    ScheduleSection,
    WindowsSection,
)
from daemon.config.toml import key_lines, parse_toml, read_toml
from daemon.core.model import Account
from daemon.core.rules import TradingRules
from daemon.core.windows import Window
from daemon.errors import ConfigError
from daemon.ports import Paths

CONFIG_VARIABLE = "IBKRD_CONFIG"
TOKEN_VARIABLE = "IBKRD_TELEGRAM_TOKEN"  # noqa: S105 - the name, not the token


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, checked; paths are absolute, secrets masked in repr."""

    gateway: GatewaySection
    account: AccountSection
    paths: Paths
    calendar: CalendarSection
    schedule: ScheduleSection
    windows: WindowsSection
    limits: RulesSection
    """The section [rules] as written; `rules()` is what the core takes."""
    notify: NotifySection
    log: LogSection
    books: BooksSection
    telegram_token: SecretStr | None = None
    source: Path | None = None
    """The file that was read, None for the built-in defaults."""

    def rules(self) -> TradingRules:
        """Return the trading rules for the configured account."""
        limits = {key: getattr(self.limits, key) for key in RulesSection.model_fields}
        return TradingRules(account=Account(self.account.id), **limits)

    def planned(self) -> tuple[Window, ...]:
        """Return when the gateway is expected to be away."""
        return self.windows.windows(self.calendar.local_zone)

    def secrets(self) -> frozenset[str]:
        """Return what must not be shown: the token and the account id."""
        token = self.telegram_token.get_secret_value() if self.telegram_token else ""
        return frozenset({token, self.account.id} - {""})


def load_config(path: Path | None, env: Mapping[str, str]) -> Config:
    """Return the configuration of *path*, else of the default place, else built in.

    Only an explicit *path* may be relative; nothing else looks at the working
    directory. The environment overrides secrets and nothing else.

    Raises:
        ConfigError: one line for each wrong key, by dotted name, with its line.
    """
    source = path.absolute() if path is not None else default_config_path(env)
    text = "" if source is None else read_toml(source)
    tree = parse_toml(text, source)
    token, faults = _environment_token(env)
    base = source.parent if source else None
    around = Surroundings(_home(env), base, token, _exchange(tree))
    # Absent sections are checked as empty ones: a default may be at fault, too.
    sections = {name: {} for name in Document.model_fields} | tree
    try:
        document = Document.model_validate(sections, context=around)
    except ValidationError as exc:
        raise _error([*problems(exc), *faults], source, text) from exc
    if faults:
        raise _error(faults, source, text)
    return _config(document, around, source)


def default_config_path(
    env: Mapping[str, str], platform: str = sys.platform
) -> Path | None:
    """Return $IBKRD_CONFIG, else the file in the home directory if there is one.

    Raises:
        ConfigError: $IBKRD_CONFIG is not absolute.
    """
    named = env.get(CONFIG_VARIABLE, "")
    if named:
        if not Path(named).is_absolute():
            raise ConfigError(f"{CONFIG_VARIABLE}: expected an absolute path: {named}")
        return Path(named)
    usual = _home(env) / _by_platform(platform, ".config/ibkrd") / "config.toml"
    return usual if usual.exists() else None


def default_state(home: Path, platform: str = sys.platform) -> Path:
    """Return where journal, lock and socket are unless the file says otherwise."""
    return home / _by_platform(platform, ".local/state/ibkrd")


def _by_platform(platform: str, elsewhere: str) -> str:
    mac = platform == "darwin"
    return "Library/Application Support/ibkrd" if mac else elsewhere


def _home(env: Mapping[str, str]) -> Path:
    home = Path(env.get("HOME", ""))
    return home if home.is_absolute() else Path.home()


def _exchange(tree: Mapping[str, object]) -> str:
    """Return the exchange of the raw *tree*; a wrong one is a fault of its own."""
    section = tree.get("calendar")
    named = section.get("exchange") if isinstance(section, dict) else None
    default: str = CalendarSection.model_fields["exchange"].default
    return named if isinstance(named, str) else default


def _environment_token(
    env: Mapping[str, str],
) -> tuple[SecretStr | None, list[Problem]]:
    token = env.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return None, []
    try:
        return bot_token(token), []
    except ValueError as exc:
        name = f"environment variable {TOKEN_VARIABLE}"
        return None, [Problem((), str(exc), name)]


def _error(faults: list[Problem], source: Path | None, text: str) -> ConfigError:
    lines = key_lines(text)
    ordered = sorted(faults, key=lambda fault: fault.place(lines))
    return ConfigError("\n".join(fault.show(source, lines) for fault in ordered))


def _config(document: Document, around: Surroundings, source: Path | None) -> Config:
    return Config(
        gateway=document.gateway,
        account=document.account,
        paths=_paths(document.paths, around.home),
        calendar=document.calendar,
        schedule=document.schedule,
        windows=document.windows,
        limits=document.rules,
        notify=document.notify,
        log=document.log,
        books=document.books,
        telegram_token=_token(document.notify, around),
        source=source,
    )


def _paths(section: PathsSection, home: Path) -> Paths:
    state = section.state or default_state(home)
    return Paths(
        state=state,
        plans=section.plans or state / "plans",
        reports=section.reports or state / "reports",
    )


def _token(notify: NotifySection, around: Surroundings) -> SecretStr | None:
    file = notify.telegram_token_file
    if around.telegram_token or file is None:
        return around.telegram_token
    return read_secret(file)
