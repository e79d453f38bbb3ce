from __future__ import annotations

import dataclasses
import runpy
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from daemon.config import Config, default_config_path, load_config
from daemon.config.load import default_state
from daemon.config.sections import Document, RulesSection
from daemon.config.toml import key_lines
from daemon.core.model import Account
from daemon.core.rules import Scope, TradingRules
from daemon.core.windows import Moment
from daemon.errors import ConfigError

PROJECT = Path(__file__).parent.parent
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
ENV = {"HOME": "/home/user"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def load(file: Path, text: str, env: dict[str, str] = ENV) -> Config:
    file.write_text(text, encoding="utf-8")
    return load_config(file, env)


def refusal(file: Path, text: str, env: dict[str, str] = ENV) -> list[str]:
    """Return the lines of the refusal, each without the file's name."""
    with pytest.raises(ConfigError) as caught:
        load(file, text, env)
    assert caught.value.exit_status == 4
    return [line.removeprefix(f"{file}:") for line in str(caught.value).splitlines()]


def sections() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Document.model_fields.items()
        if isinstance(field.annotation, type)
    }


# What holds without any fault


def test_the_shipped_file_states_the_built_in_defaults() -> None:
    shipped = load_config(PROJECT / "config.toml", ENV)
    assert dataclasses.replace(shipped, source=None) == load_config(None, ENV)


def test_the_shipped_file_holds_every_key() -> None:
    lines = key_lines((PROJECT / "config.toml").read_text(encoding="utf-8"))
    known = {
        (name, key) for name, model in sections().items() for key in model.model_fields
    }
    assert {path for path in lines if len(path) == 2} == known


def test_an_empty_file_is_enough(file: Path) -> None:
    config = load(file, "")
    assert config.source == file
    assert (config.gateway.host, config.gateway.port) == ("127.0.0.1", 4002)
    assert config.account.id == ""


def test_the_rules_section_mirrors_the_rules_of_the_core() -> None:
    names = {field.name for field in dataclasses.fields(TradingRules)}
    assert names == {"account", *RulesSection.model_fields}
    assert load_config(None, ENV).rules() == TradingRules(Account(""))


def test_rules_carry_the_account_and_exact_decimals(file: Path) -> None:
    config = load(
        file,
        '[account]\nid = "DU1234567"\n'
        '[rules]\nshare_a = 0.1\nrow_limit_usd = 12500.50\nscope = "own"\n'
        'ignore = ["BRK B"]\ncancel_timeout_s = 5\n',
    )
    assert config.rules() == TradingRules(
        Account("DU1234567"),
        share_a=Decimal("0.1"),
        row_limit_usd=Decimal("12500.50"),
        scope=Scope.OWN,
        ignore=("BRK B",),
        cancel_timeout_s=5.0,
    )


def test_the_schedule_names_each_job_in_the_order_of_the_day(file: Path) -> None:
    config = load(file, '[schedule]\nsubmit = "open+10m"\nadjust = false')
    assert list(config.schedule.times().items()) == [
        ("submit", "open+10m"),
        ("moc_close", "close-20m"),
        ("eod_report", "close+5m"),
    ]
    assert config.schedule.adjust is False


def test_a_date_of_the_books_is_a_date_or_nothing(file: Path) -> None:
    assert load(file, "[books]\nstart_date = 2026-02-19").books.start_date == date(
        2026, 2, 19
    )
    assert load(file, '[books]\nstart_date = ""').books.start_date is None


@pytest.mark.parametrize("written", ['"-100123"', "-100123"])
def test_a_chat_id_may_be_written_as_text_or_number(file: Path, written: str) -> None:
    config = load(file, f"[notify]\ntelegram_chat_id = {written}")
    assert config.notify.telegram_chat_id == "-100123"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_permission(file: Path, host: str) -> None:
    assert load(file, f'[gateway]\nhost = "{host}"').gateway.host == host


def test_another_machine_is_permitted_by_name(file: Path) -> None:
    text = '[gateway]\nhost = "10.0.0.5"\nallow_remote = true'
    assert load(file, text).gateway.host == "10.0.0.5"


@pytest.mark.parametrize("account", ["DU1234567", "DUM123456"])
def test_a_paper_account_needs_no_permission(file: Path, account: str) -> None:
    assert load(file, f'[account]\nid = "{account}"').account.id == account


def test_a_live_account_is_permitted_by_name(file: Path) -> None:
    text = '[account]\nid = "U7654321"\nallow_live = true'
    assert load(file, text).account.id == "U7654321"


# The places of the jobs


@pytest.mark.parametrize(
    ("job", "when"),
    [
        ("submit", "open+0m"),
        ("submit", "open+1799s"),
        ("submit", "35 15 * * 1-5 Europe/Budapest"),
        ("submit", "30 9 * * 1-5 America/New_York"),
        ("moc_close", "open+1s"),
        ("moc_close", "open+198m"),
        ("moc_close", "close-12m"),
        ("moc_close", "close-209m"),
        ("moc_close", "40 21 * * 1-5 Europe/Budapest"),
        ("moc_close", "0 3 * * 2-6 Asia/Tokyo"),
        ("eod_report", "close+0m"),
        ("eod_report", "close+12h"),
        ("eod_report", "5 22 * * 1-5 Europe/Budapest"),
        ("eod_report", "30 0 * * 2-6 Europe/Budapest"),
    ],
)
def test_a_job_may_stand_anywhere_in_its_place(file: Path, job: str, when: str) -> None:
    assert load(file, f'[schedule]\n{job} = "{when}"').schedule.times()[job] == when


SUBMIT = (
    "2: schedule.submit: expected a moment from the open to before open+30m, on "
    "half-days too, found {}; no entry is sent before the open nor from open+30m on"
)
MOC_CLOSE = (
    "2: schedule.moc_close: expected a moment after the open and not after close-12m, "
    "on half-days too, found {}; the exchange takes no closing order after close-10m"
)
EOD_REPORT = (
    "2: schedule.eod_report: expected the close or a distance after it, such as "
    "close+5m, on half-days too, found {}; the report needs the closing auction"
)


@pytest.mark.parametrize(
    ("job", "when", "line"),
    [
        ("submit", "open-1s", SUBMIT),
        ("submit", "open+30m", SUBMIT),
        ("submit", "open+45m", SUBMIT),
        ("submit", "close-380m", SUBMIT),
        ("submit", "25 15 * * 1-5 Europe/Budapest", SUBMIT),
        ("submit", "0 16 * * 1-5 Europe/Budapest", SUBMIT),
        ("moc_close", "open+0m", MOC_CLOSE),
        ("moc_close", "open+199m", MOC_CLOSE),
        ("moc_close", "close-210m", MOC_CLOSE),
        ("moc_close", "close-719s", MOC_CLOSE),
        ("moc_close", "close-9m", MOC_CLOSE),
        ("moc_close", "49 21 * * 1-5 Europe/Budapest", MOC_CLOSE),
        ("eod_report", "close-1s", EOD_REPORT),
        ("eod_report", "close-30m", EOD_REPORT),
        ("eod_report", "open+7h", EOD_REPORT),
        ("eod_report", "55 21 * * 1-5 Europe/Budapest", EOD_REPORT),
    ],
)
def test_a_job_outside_its_place_is_refused_with_the_reason(
    file: Path, job: str, when: str, line: str
) -> None:
    (found,) = refusal(file, f'[schedule]\n{job} = "{when}"')
    assert found == line.format(f'"{when}"')


def test_every_misplaced_job_is_reported_at_once(file: Path) -> None:
    lines = refusal(
        file,
        '[schedule]\nsubmit = "open+45m"\nmoc_close = "close-9m"\n'
        'eod_report = "close-30m"\nadjust = 1\n',
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["2", "schedule.submit"],
        ["3", "schedule.moc_close"],
        ["4", "schedule.eod_report"],
        ["5", "schedule.adjust"],
    ]


def test_a_crontab_line_of_another_exchange_is_left_to_the_timetable(
    file: Path,
) -> None:
    line = '[schedule]\nsubmit = "5 9 * * 1-5 Europe/Berlin"\n'
    config = load(file, f'{line}[calendar]\nexchange = "XETR"')
    assert config.schedule.submit == "5 9 * * 1-5 Europe/Berlin"
    assert len(refusal(file, f'{line}[calendar]\nexchange = "XNAS"')) == 1
    relative = '[schedule]\nsubmit = "open+45m"\n[calendar]\nexchange = "XETR"'
    assert len(refusal(file, relative)) == 1


# Planned windows


def test_windows_without_a_zone_are_in_the_local_one(file: Path) -> None:
    config = load(
        file,
        '[windows]\nrestart = "daily 08:15-08:30"\nlogin_again = "mon 07:00"\n'
        '[calendar]\nlocal_zone = "Europe/London"',
    )
    named = {window.name: window for window in config.planned()}
    assert named["gateway restart"].zone == "Europe/London"
    assert named["nightly reset"].zone == "America/New_York"
    assert named["weekly login"].again == Moment(1, time(7), "Europe/London")
    assert named["nightly reset"].again is None


def test_an_empty_window_is_none_and_others_are_added(file: Path) -> None:
    config = load(
        file,
        '[windows]\nreset = ""\nweekend = ""\nlogin = ""\n'
        'others = ["sat 10:00-11:00 Europe/Berlin", "tue 05:00-05:10"]',
    )
    assert [(window.name, window.zone) for window in config.planned()] == [
        ("gateway restart", "Europe/Budapest"),
        ("sat 10:00-11:00 Europe/Berlin", "Europe/Berlin"),
        ("tue 05:00-05:10", "Europe/Budapest"),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('reset = "00:15-01:45"', ["windows.reset: ", "is no window: write days, tim"]),
        ('weekend = "freitag 23:00-03:00"', ["windows.weekend: ", "write `daily`, `f"]),
        (
            'others = ["sun 01:00-02:00 Europe/Budapset"]',
            ["windows.others[0]: ", "no zone 'Europe/Budapset'; did you mean Europe/B"],
        ),
        ('login_again = "08:00"', ["windows.login_again: ", "write a day, a time and"]),
        ("login = 1", ["windows.login: expected days, times and a zone", "found 1"]),
    ],
)
def test_a_wrong_window_is_named_with_the_remedy(
    file: Path, text: str, parts: list[str]
) -> None:
    (line,) = refusal(file, f"[windows]\n{text}")
    assert line.startswith(f"2: {parts[0]}")
    assert parts[1] in line


# Paths


def test_without_paths_everything_is_under_the_state_directory() -> None:
    paths = load_config(None, ENV).paths
    assert paths.plans == paths.state / "plans"
    assert paths.reports == paths.state / "reports"


@pytest.mark.parametrize(
    ("platform", "state"),
    [
        ("linux", "/home/user/.local/state/ibkrd"),
        ("darwin", "/home/user/Library/Application Support/ibkrd"),
    ],
)
def test_the_state_directory_follows_the_platform(platform: str, state: str) -> None:
    assert default_state(Path("/home/user"), platform) == Path(state)


def test_paths_are_absolute_or_from_home_or_from_the_file(file: Path) -> None:
    paths = load(
        file, '[paths]\nstate = "/srv/ibkrd"\nplans = "in/plans"\nreports = "~/out"'
    ).paths
    assert paths.state == Path("/srv/ibkrd")
    assert paths.plans == file.parent / "in" / "plans"
    assert paths.reports == Path("/home/user/out")


def test_a_relative_file_makes_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text('[paths]\nplans = "in"', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("c.toml"), ENV).paths.plans == tmp_path / "in"


@pytest.mark.parametrize("written", ["~root/plans", "a\\u0000b"])
def test_another_users_home_is_no_path(file: Path, written: str) -> None:
    (line,) = refusal(file, f'[paths]\nplans = "{written}"')
    assert line.startswith("2: paths.plans: expected a path that starts with /, ~/ or")


# Where the file is looked for


def test_the_variable_names_the_file(tmp_path: Path) -> None:
    named = tmp_path / "other.toml"
    named.write_text("[gateway]\nclient_id = 11", encoding="utf-8")
    config = load_config(None, {"HOME": "/nowhere", "IBKRD_CONFIG": str(named)})
    assert (config.source, config.gateway.client_id) == (named, 11)


@pytest.mark.parametrize(
    ("platform", "directory"),
    [
        ("linux", ".config/ibkrd"),
        ("darwin", "Library/Application Support/ibkrd"),
    ],
)
def test_the_file_at_home_is_found(
    tmp_path: Path, platform: str, directory: str
) -> None:
    env = {"HOME": str(tmp_path)}
    assert default_config_path(env, platform) is None
    usual = tmp_path / directory / "config.toml"
    usual.parent.mkdir(parents=True)
    usual.touch()
    assert default_config_path(env, platform) == usual


def test_the_working_directory_is_never_looked_at(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[gateway]\nclient_id = 11", encoding="utf-8")
    monkeypatch.chdir(file.parent)
    assert load_config(None, {"HOME": "/nowhere"}).source is None
    with pytest.raises(ConfigError, match="IBKRD_CONFIG: expected an absolute path"):
        load_config(None, {"HOME": "/nowhere", "IBKRD_CONFIG": "config.toml"})


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "config.toml"
    with pytest.raises(ConfigError) as caught:
        load_config(missing, ENV)
    assert str(caught.value) == (
        f"{missing}: no such configuration file; make one (an empty file is enough, "
        f"every key has a default): mkdir -p '{missing.parent}' && touch '{missing}'"
    )


def test_a_directory_is_not_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, ENV)


# Faults of the text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[gateway]\nport = \n", "2:8: not TOML: Invalid value"),
        ("[gateway]\nport = 1\nport = 2", "3:9: not TOML: Cannot overwrite a value"),
        ('[log]\nlevel = "INFO', "2:14: not TOML: "),
        ("a = 1e99999999999999999999", ""),
        ("[gateway\n", "1:9: not TOML: "),
    ],
)
def test_a_syntax_error_names_line_and_column(
    file: Path, text: str, place: str
) -> None:
    (line,) = refusal(file, text)
    assert line.startswith(place)


def test_a_text_in_another_encoding_names_its_place(file: Path) -> None:
    file.write_bytes("# ok\n# Budapest: \xe1\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load_config(file, ENV)
    assert str(caught.value) == f"{file}:2:13: not UTF-8; save the file as UTF-8"


def test_a_byte_order_mark_and_windows_line_ends_are_tolerated(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf[gateway]\r\nclient_id = 12\r\n")
    assert load_config(file, ENV).gateway.client_id == 12


# Faults of keys and values

FAULTY = """\
port = 4002
[gateway]
prot = 4002
host = "10.0.0.5"
client_id = 0
heartbeat_s = "30"
submit = "open+5m"
[account]
id = "U1234567"
[gatway]
port = 4001
whatever = 1
[rules]
share_a = true
row_limit_usd = nan
ignore = [
  "A",
  3,
]
scope = "all"
[log]
level = "LOUD"
[calendar]
local_zone = "Europe/Budapset"
[books]
start_date = 2026-02-19T10:00:00
"""


REFUSAL = """\
1: port: unknown key; did you mean gateway.port?
3: gateway.prot: unknown key; did you mean gateway.port?
4: gateway.host: expected this machine, 127.0.0.1, found "10.0.0.5"; whoever \
reaches the port trades: set allow_remote = true in [gateway] to permit another
5: gateway.client_id: expected a whole number, at least 1 and at most 2147483647, \
found 0
6: gateway.heartbeat_s: expected a number, at least 1 and at most 300, found "30"
7: gateway.submit: unknown key; did you mean schedule.submit?
9: account.id: expected a paper account (DU...), found "U1234567"; to trade a live \
account set allow_live = true in [account]
11: gatway.port: unknown key; did you mean gateway.port?
12: gatway.whatever: unknown section; did you mean [gateway]?
14: rules.share_a: expected a number, above 0 and below 1, found true
15: rules.row_limit_usd: expected a number, above 0 and at most 1000000000, found NaN
16: rules.ignore[1]: expected a list of texts in quotes, found 3
20: rules.scope: expected one of "account", "own", found "all"
22: log.level: expected one of "DEBUG", "INFO", "WARNING", "ERROR", found "LOUD"
24: calendar.local_zone: expected an IANA time zone, found "Europe/Budapset"; did \
you mean Europe/Budapest?
26: books.start_date: expected a date without quotes such as 2026-02-19, or "", \
found 2026-02-19T10:00:00
"""


def test_every_fault_is_reported_at_once_by_name_and_line(file: Path) -> None:
    assert refusal(file, FAULTY) == REFUSAL.splitlines()


def test_every_key_refuses_a_wrong_type_with_its_line(file: Path) -> None:
    keys = [
        (name, key) for name, model in sections().items() for key in model.model_fields
    ]
    text = "".join(f"{name}.{key} = {{ a = 1 }}\n" for name, key in keys)
    lines = refusal(file, text)
    for number, (name, key) in enumerate(keys, start=1):
        start = f"{number}: {name}.{key}: "
        assert any(line.startswith(start) for line in lines), start
    assert len(lines) == len(keys)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gateway = 5", "1: gateway: expected a section [gateway], found 5"),
        ("[[log]]", "1: log: expected a section [log], found [{}]"),
        (
            "[zzz]",
            "1: zzz: unknown section; the sections are gateway, account, paths, ",
        ),
        (
            "[books]\nqqq = 1",
            "2: books.qqq: unknown key; [books] has initial_capital, start_date",
        ),
        ('"a\\nb" = 1', '1: "a\\nb": unknown '),
        ("gateway.port = 65536", "1: gateway.port: expected a whole number, at "),
        ("gateway.port = 4002.0", "1: gateway.port: expected a whole number, at "),
        ("gateway.heartbeat_s = 1e400", "1: gateway.heartbeat_s: expected a number"),
        ("gateway.messages_per_second = 51", "1: gateway.messages_per_second: exp"),
        ('gateway.host = ""', "1: gateway.host: expected a host name or an IP"),
        ('account.id = "du1234567"', "1: account.id: expected an exact account id"),
        ('account.id = "DF1234567"', "1: account.id: expected a paper account"),
        ('schedule.submit = "open+5"', "1: schedule.submit: 'open+5' is not a moment"),
        (
            'notify.telegram_api_url = "http://example.org"',
            "1: notify.telegram_api_url: expected an https address",
        ),
        ('calendar.local_zone = ""', "1: calendar.local_zone: expected an IANA"),
        ('calendar.local_zone = "Europe"', "1: calendar.local_zone: expected an IA"),
        ('calendar.local_zone = "../x"', "1: calendar.local_zone: expected an IANA"),
        ('calendar.exchange = ""', "1: calendar.exchange: expected a text that is no"),
    ],
)
def test_a_single_fault_is_one_clear_line(file: Path, text: str, line: str) -> None:
    (found,) = refusal(file, text)
    assert found.startswith(line)


# Secrets


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "bot.token"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


NOTIFY = '[notify]\ntelegram_token_file = "bot.token"\ntelegram_chat_id = "7"\n'


def test_the_token_comes_from_its_file(file: Path, token_file: Path) -> None:
    config = load(file, f'{NOTIFY}[account]\nid = "DU1234567"')
    assert config.telegram_token is not None
    assert config.telegram_token.get_secret_value() == TOKEN
    assert config.secrets() == {TOKEN, "DU1234567"}
    assert TOKEN not in repr(config)
    assert config.notify.telegram_token_file == token_file


@pytest.mark.usefixtures("token_file")
def test_the_environment_comes_before_the_file(file: Path) -> None:
    other = "987654321:" + "B" * 35
    config = load(file, NOTIFY, {**ENV, "IBKRD_TELEGRAM_TOKEN": other})
    assert config.secrets() == {other}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_may_read_is_refused(
    file: Path, token_file: Path, mode: int
) -> None:
    token_file.chmod(mode)
    (line,) = refusal(file, NOTIFY)
    assert line == (
        "2: notify.telegram_token_file: expected a secret file that only its owner may "
        f'read, not mode 0{mode:o}, found "bot.token"; run: chmod 600 '
        f"'{token_file}'"
    )


@pytest.mark.parametrize("text", ["hunter2", "", f"{TOKEN}/hunter2", f"x{TOKEN}"])
def test_a_secret_file_must_hold_a_token_and_nothing_else(
    file: Path, token_file: Path, text: str
) -> None:
    token_file.write_text(f"{text}\n", encoding="utf-8")
    (line,) = refusal(file, NOTIFY)
    assert "expected a bot token as BotFather gives it" in line
    assert "hunter2" not in line
    assert TOKEN not in line


def test_a_missing_secret_file_is_named(file: Path) -> None:
    (line,) = refusal(file, NOTIFY)
    assert line == (
        f"2: notify.telegram_token_file: cannot read '{file.parent / 'bot.token'}': "
        'No such file or directory, found "bot.token"'
    )


def test_a_token_in_the_wrong_place_is_never_shown(file: Path) -> None:
    text = f"""\
[notify]
telegram_token = "{TOKEN}"
telegram_token_file = "{TOKEN}"
telegram_api_url = "https://api.telegram.org/bot{TOKEN}?x"
[schedule]
submit = "{TOKEN}"
"""
    lines = refusal(file, text)
    assert len(lines) == 4
    assert lines[0] == (
        "2: notify.telegram_token: unknown key; did you mean "
        "notify.telegram_token_file?"
    )
    assert not any(TOKEN in line or "AAHdq" in line for line in lines)


def test_a_wrong_token_in_the_environment_is_reported_with_the_rest(
    file: Path,
) -> None:
    env = {**ENV, "IBKRD_TELEGRAM_TOKEN": "hunter2"}
    lines = refusal(file, "[gateway]\nport = 0", env)
    assert [line.partition(":")[0] for line in lines] == [
        "environment variable IBKRD_TELEGRAM_TOKEN",
        "2",
    ]
    assert "hunter2" not in lines[0]
    assert len(refusal(file, "", env)) == 1


@pytest.mark.parametrize("text", ["", "[gateway]\n"])
def test_a_token_asks_for_a_chat(file: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, text, {**ENV, "IBKRD_TELEGRAM_TOKEN": TOKEN})
    assert str(caught.value) == (
        f'{file}: notify.telegram_chat_id: expected the chat to tell, found ""; '
        "there is a bot token"
    )


# The tools underneath


def test_key_lines_know_every_way_to_write_a_key() -> None:
    text = (
        "# comment\r\n"
        "a.b = 1\n"
        "\n"
        "[ c . d ]  # table\n"
        "e = '''\n"
        "[not]\n"
        "f = 1\n"
        "'''\n"
        "g = { h = 1 }\n"
        "[[i]]\n"
        "j = [\n"
        "  1, # [x]\n"
        "]\n"
        '"k l" = 1\n'
        "[[i]]\n"
        "j = 2"
    )
    assert key_lines(text) == {
        ("a",): 2,
        ("a", "b"): 2,
        ("c",): 4,
        ("c", "d"): 4,
        ("c", "d", "e"): 5,
        ("c", "d", "g"): 9,
        ("c", "d", "g", "h"): 9,
        ("i",): 10,
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.sampled_from([*FAULTY.splitlines(), "[paths]", "a = {", '"""', "]", "\x00"])
        | st.text(max_size=12),
        max_size=12,
    )
)
@example(["a = " + "9" * 5000])
@example(["a = " + "[" * 5000])
@example(["gateway.port = 1e99999999999999999999"])
def test_any_text_is_a_configuration_or_a_clear_refusal(
    file: Path, lines: list[str]
) -> None:
    file.write_bytes("\n".join(lines).encode("utf-8", errors="surrogatepass"))
    try:
        load_config(file, ENV)
    except ConfigError as error:
        for line in str(error).split("\n"):
            assert line.startswith(f"{file}:")


def test_the_reference_is_current() -> None:
    tool = runpy.run_path(str(PROJECT / "tools" / "config_reference.py"))
    written = (PROJECT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    assert written == tool["config_reference"](), "run: make docs"
