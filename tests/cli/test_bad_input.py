"""Whatever is wrong ends in a line that names the place and the remedy."""

from __future__ import annotations

import os

import pytest

# --- configuration --------------------------------------------------------------

COMMANDS = (["run"], ["status"], ["plan"], ["schedule"])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_configuration_file_that_is_missing_is_named(ibkrd, command):
    ended = ibkrd("--config", ibkrd.home / "none.toml", *command)
    assert ended.status == 4
    assert ended.err == (
        f"ibkrd: {ibkrd.home}/none.toml: no such configuration file; make one (an "
        "empty file is enough, every key has a default): "
        f"mkdir -p '{ibkrd.home}' && touch '{ibkrd.home}/none.toml'\n"
    )
    assert ended.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_wrong_key_is_reported_at_once(ibkrd, command):
    options = ibkrd.configured(
        "[gatway]\nport = 4002\n[gateway]\nprot = 4002\nport = 70000\n"
        '[account]\nid = "U1"\n[rules]\nshare_a = 2\n'
    )
    ended = ibkrd(*options, *command)
    assert ended.status == 4
    place = ibkrd.config
    lines = ended.err.removeprefix("ibkrd: ").splitlines()
    assert (
        lines[0] == f"{place}:2: gatway.port: unknown key; did you mean gateway.port?"
    )
    assert (
        lines[1] == f"{place}:4: gateway.prot: unknown key; did you mean gateway.port?"
    )
    assert lines[2] == (
        f"{place}:5: gateway.port: expected a whole number, at least 1 and at most "
        "65535, found 70000"
    )
    assert lines[3].startswith(f"{place}:7: account.id: ")
    assert lines[4].startswith(f"{place}:9: rules.share_a: ")
    assert len(lines) == 5


def test_what_is_not_toml_is_named_by_line_and_column(ibkrd):
    ended = ibkrd(*ibkrd.configured("[gateway]\nport = = 1\n"), "status")
    assert ended.status == 4
    assert ended.err.startswith(f"ibkrd: {ibkrd.config}:2:8: not TOML: ")


def test_an_exchange_that_does_not_exist_is_named_with_its_neighbours(ibkrd):
    ended = ibkrd(*ibkrd.configured('[calendar]\nexchange = "XNYZ"\n'), "schedule")
    assert ended.status == 4
    assert ended.err.startswith(
        "ibkrd: calendar.exchange: there is no exchange 'XNYZ'; did you mean "
    )
    assert "XNYS" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("key", ["state", "plans", "reports"])
def test_a_directory_that_cannot_be_made_is_named_by_its_key(ibkrd, key):
    (ibkrd.home / "file").touch()
    place = ibkrd.home / "file" / "below"
    ended = ibkrd(*ibkrd.configured(f'[paths]\n{key} = "{place}"\n'), "run")
    assert ended.status == 4
    assert ended.err.splitlines()[-1] == (
        f"ibkrd: paths.{key}: {place} cannot be made (Not a directory): correct the "
        "rights above it, or name another directory"
    )


@pytest.mark.parametrize("place", ["file/below/ibkrd.log", "."])
def test_a_log_that_cannot_be_written_is_named_by_its_key(ibkrd, place):
    (ibkrd.home / "file").touch()
    log = os.path.normpath(ibkrd.home / place)
    ended = ibkrd(*ibkrd.configured(f'[log]\nfile = "{log}"\n'), "run")
    assert ended.status == 4
    assert ended.err.startswith(f"ibkrd: log.file: {log} cannot be written (")
    assert ended.err.endswith("correct its rights, or name another file\n")
    assert ended.err.count("\n") == 1


# --- plans ------------------------------------------------------------------------


def row(**changes: str) -> str:
    """Return NOV's row with other fields."""
    fields = {
        "symbol": "NOV",
        "direction": "BUY",
        "order_type": "LIMIT",
        "limit": "19.64",
        "quantity": "292",
        "stop": "19.05",
        "first": "20.23",
        "second": "20.82",
    } | changes
    return ",".join([*fields.values(), "1,1,positive,Energy,1,1,1,50,neutral,False"])


BAD_ROWS = [
    (row(limit="cheap"), "line 2, limit_price: 'cheap' is not a number; write"),
    (row(limit="-19.64"), "line 2, limit_price: -19.64 is not a price; write"),
    (row(stop="19.70"), "line 2, stop_loss: 19.70 is not below the entry 19.64; write"),
    (row(first="19"), "line 2, take_profit_1: 19 is not above the entry 19.64; write"),
    (row(second="1"), "line 2, take_profit_2: 1 is not above the entry 19.64; write"),
    (row(quantity="1.5"), "line 2, quantity: 1.5 is not a whole number of shares; "),
    (row(quantity="-2"), "line 2, quantity: -2 is not a whole number of shares; "),
    (row(direction="SELL"), "line 2, direction: 'SELL' is not BUY; only BUY is traded"),
    ("NOV,BUY,LIMIT", "line 2: 3 fields where the header has 18; write the row again"),
    (
        f"{row()}\n{row(limit='19.70')}",
        "line 3, instrument_id: NOV stands on line 2 already; keep one row a symbol",
    ),
]


@pytest.mark.parametrize("command", [["plan", "--session", "2026-02-19"], ["demo"]])
@pytest.mark.parametrize(("rows", "told"), BAD_ROWS)
def test_a_bad_row_refuses_the_plan_and_names_its_place(ibkrd, command, rows, told):
    path = ibkrd.plan(rows)
    option = ["--plan", path] if command == ["demo"] else [path]
    ended = ibkrd(*command, *option)
    assert ended.status == 4
    assert ended.err.startswith(f"ibkrd: {path.name}: {told}")
    assert ended.err.count("\n") == 1
    assert not ibkrd.state.exists()


def test_all_problems_of_a_plan_are_told_at_once(ibkrd):
    path = ibkrd.plan(row(limit="x"), row(symbol="LH", stop="30"), row(symbol="lh"))
    ended = ibkrd("plan", path, "--session", "2026-02-19")
    assert ended.status == 4
    told = [line.partition(f"{path.name}: ")[2] for line in ended.err.splitlines()]
    assert [each.partition(": ")[0] for each in told] == [
        "line 2, limit_price",
        "line 3, stop_loss",
        "line 4, instrument_id",
    ]


def test_a_half_written_plan_is_told_so(ibkrd, nov):
    path = ibkrd.plan(nov)
    path.write_text(path.read_text()[:-8])
    ended = ibkrd("plan", path, "--session", "2026-02-19")
    assert ended.status == 4
    assert (
        "line 2: the last line does not end: the file is half written; wait for "
        in (ended.err)
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "file: the file is empty; write the plan again"),
        ("a,b\n1,2\n", "line 1: the header row is missing; put this line first: inst"),
    ],
)
def test_what_is_no_plan_at_all_is_told_so(ibkrd, text, told):
    path = ibkrd.plan_text(text)
    ended = ibkrd("plan", path, "--session", "2026-02-19")
    assert ended.status == 4
    assert ended.err.startswith(f"ibkrd: {path.name}: {told}")


def test_quantities_too_small_to_trade_are_skipped_and_said(ibkrd, nov):
    small = [row(symbol="LH", quantity="1"), row(symbol="MRNA", quantity="0")]
    ended = ibkrd("plan", ibkrd.plan(nov, *small), "--session", "2026-02-19")
    assert ended.status == 0
    assert "skipped: LH: quantity 1 is below 2" in ended.out
    assert "skipped: MRNA: quantity 0 is below 2" in ended.out
    assert ended.out.endswith("1 of 3 rows, 6 orders, 5734.88 USD; nothing sent\n")


def test_a_plan_of_another_day_is_refused_by_name(ibkrd, nov):
    path = ibkrd.plan(nov)
    ended = ibkrd("plan", path, "--session", "2026-02-20")
    assert ended.status == 4
    assert ended.err == (
        "ibkrd: no plan for the session 2026-02-20: the newest, "
        f"{path.name}, is of 2026-02-19 13:05:02 UTC, not after the previous session's "
        f"close 2026-02-19 21:00:00 UTC (in {ibkrd.home}); --session DATE checks it as "
        "of its day\n"
    )


def test_a_plan_that_is_missing_is_said_with_the_directory(ibkrd):
    plans = ibkrd.state / "plans"
    ended = ibkrd("plan", "--session", "2026-02-19")
    assert (ended.status, ended.err) == (
        4,
        f"ibkrd: the plan directory {plans} does not exist: create it\n",
    )
    plans.mkdir(parents=True)
    ended = ibkrd("plan", "--session", "2026-02-19")
    assert ended.status == 4
    assert ended.err.startswith(
        "ibkrd: no plan for the session 2026-02-19: there is no file named "
        "execution_plan_run_YYYYMMDD_HHMMSS_xxxxxx.csv (UTC) (in "
    )
    name = "execution_plan_run_20260219_130502_a1b2c3.csv"
    ended = ibkrd("plan", plans / name, "--session", "2026-02-19")
    assert ended.status == 4
    assert ended.err == (
        f"ibkrd: {plans / name}: No such file or directory: name a readable plan file\n"
    )


# --- usage ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nope"], "Error: No such command 'nope'."),
        (["--nope"], "Error: No such option '--nope'."),
        (["schedule", "--nope"], "Error: No such option '--nope'."),
        (["schedule", "--from", "2026-13-01"], "Error: Invalid value for '--from': "),
        (["schedule", "--days", "-3"], "Error: Invalid value for '--days': -3 is not"),
        (["schedule", "--days", "99999999"], "Error: Invalid value for '--days': 9999"),
        (
            ["schedule", "--from", "2026-03-10", "--to", "2026-03-01"],
            "Error: Invalid value for --to: 2026-03-01 lies before 2026-03-10, the f",
        ),
        (
            ["gateway", "--listen", "nonsense"],
            "Error: Invalid value for --listen: 'nonsense' is not HOST:PORT, like 12",
        ),
        (
            ["gateway", "--listen", "127.0.0.1:65536"],
            "Error: Invalid value for --listen: '127.0.0.1:65536' is not HOST:PORT, ",
        ),
        (
            ["gateway", "--listen", "0.0.0.0:4002"],
            "Error: Invalid value for --listen: 0.0.0.0 is not loopback, and the API",
        ),
        (["gateway", "--time", "soon"], "Error: Invalid value for --time: 'soon' is n"),
        (["gateway", "--speed", "0"], "Error: Invalid value for '--speed': 0.0 is not"),
        (["gateway", "--speed", "nan"], "Error: Invalid value for --speed: nan is no"),
        (["demo", "--date", "2026-02-30"], "Error: Invalid value for '--date': '2026-"),
        (["demo", "--pace", "0"], "Error: Invalid value for '--pace': 0.0 is not in"),
        (["demo", "--scenario", "x"], "Error: Invalid value for '--scenario': 'x' is"),
    ],
)
def test_wrong_usage_is_named_by_its_option(ibkrd, arguments, told):
    ended = ibkrd(*arguments)
    assert ended.status == 2
    assert ended.err.splitlines()[-1].startswith(told)
    assert ended.out == ""


def test_status_without_a_daemon_says_how_to_start_one(ibkrd):
    ended = ibkrd("status")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err == (
        f"ibkrd: no daemon answers on {ibkrd.state}/control.sock (No such file or "
        "directory): start it with `ibkrd run`, or name the right state directory\n"
    )


# --- days --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["demo", "--date", "2026-12-25"], 4, "2026-12-25 has no session on XNYS: cho"),
        (
            ["plan", "--session", "2026-12-25"],
            4,
            "2026-12-25 has no session on XNYS: cho",
        ),
        (["demo", "--date", "2031-01-02"], 1, "the sessions of XNYS are known from 20"),
        (
            ["schedule", "--from", "2026-01-01", "--to", "2031-01-01"],
            1,
            "the sessions of XNYS are known from 2025-01-01 to 2028-12-31, 2031-01-01 ",
        ),
        (
            ["gateway", "--listen", "127.0.0.1:0", "--time", "2031-01-02T10:00"],
            1,
            "the sessions of XNYS are known from 2025-01-01 to 2028-12-31, 2030-12-23 ",
        ),
        (["schedule", "--from", "0001-01-01"], 1, "no sessions are known of 0001-01-0"),
        (["schedule", "--from", "9999-12-31"], 1, "no sessions are known of 9999-12-3"),
        (["plan", "--session", "0001-01-01"], 1, "no sessions are known of 0001-01-01"),
    ],
)
def test_a_day_without_a_session_is_named(ibkrd, arguments, status, told):
    ended = ibkrd(*arguments)
    assert ended.status == status
    assert ended.err.splitlines()[-1].startswith(f"ibkrd: {told}")
    assert "Traceback" not in ended.err


# --- directories of the demonstration --------------------------------------------


def test_a_directory_that_the_demonstration_did_not_make_is_left_alone(ibkrd):
    place = ibkrd.home / "mine" / "2026-02-19-seed-1"
    place.mkdir(parents=True)
    (place / "precious").write_text("thesis")
    ended = ibkrd("demo", "--state", place.parent)
    assert ended.status == 4
    assert ended.err == (
        f"ibkrd: {place} holds something else than a played day: name another "
        "directory\n"
    )
    assert (place / "precious").read_text() == "thesis"


def test_a_place_where_no_directory_can_be_is_named(ibkrd):
    (ibkrd.home / "file").touch()
    place = ibkrd.home / "file" / "below"
    ended = ibkrd("demo", "--state", place)
    assert ended.status == 4
    assert ended.err == (
        f"ibkrd: {place}/2026-02-19-seed-1 cannot be made (Not a directory): name "
        "another directory\n"
    )


def test_a_ledger_that_cannot_be_written_is_named(ibkrd):
    place = ibkrd.home / "none" / "ledger.jsonl"
    options = ("--listen", "127.0.0.1:0", "--time", "2026-02-19T10:00")
    ended = ibkrd("gateway", *options, "--ledger", place)
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == (
        f"ibkrd: {place}: No such file or directory: correct it, or name another place"
    )
