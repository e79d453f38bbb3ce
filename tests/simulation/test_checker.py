from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.simulation.checker import CheckError, Verdict, check

OURS, FOREIGN = 10, 0
ACCOUNT = "DU1234567"
DAY = date(2026, 2, 19)
CON_IDS = {"BLCO": 11, "LH": 12, "MRNA": 13, "AVDL.CVR": 14}
SCHEMA = """
CREATE TABLE intents(order_ref TEXT PRIMARY KEY, order_id INTEGER UNIQUE,
  session TEXT, run_id TEXT, account TEXT, con_id INTEGER, symbol TEXT, side TEXT,
  quantity INTEGER, order_type TEXT, limit_price TEXT, stop_price TEXT, tif TEXT,
  good_till TEXT, good_after TEXT, oca_group TEXT, oca_type INTEGER, parent_ref TEXT,
  transmit INTEGER, expires_at TEXT, created_at TEXT, contract TEXT);
CREATE TABLE messages(number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT,
  severity TEXT, subject TEXT, body TEXT);
CREATE TABLE acceptances(number INTEGER, channel TEXT, at TEXT);
"""

# --- a day, written down; times are UTC: open 14:30, cutoff 20:50, close 21:00 ---


def line(at: str, event: str, **fields: object) -> str:
    return json.dumps({"event": event, "at": f"2026-02-19T{at}+00:00", **fields})


def session() -> str:
    return line(
        "14:00:00",
        "session",
        date="2026-02-19",
        open="2026-02-19T14:30:00+00:00",
        close="2026-02-19T21:00:00+00:00",
        cutoff="2026-02-19T20:50:00+00:00",
    )


def ref(name: str) -> str:
    return f"ibkrd:20260219:{name}"


def sent(
    at: str, order_id: int, name: str, side: str, quantity: int, **more: object
) -> str:
    """Return a `placed` line, by default a market order of ours that transmits."""
    symbol = name.partition(":")[0]
    fields: dict[str, object] = {
        "client_id": OURS,
        "order_id": order_id,
        "perm_id": 9000 + order_id,
        "order_ref": ref(name),
        "account": ACCOUNT,
        "con_id": CON_IDS.get(symbol, 11),
        "symbol": symbol,
        "side": side,
        "quantity": str(quantity),
        "order_type": "MKT",
        "limit_price": None,
        "stop_price": None,
        "tif": "DAY",
        "good_after": "",
        "good_till": "",
        "parent_id": 0,
        "oca_group": "",
        "oca_type": 0,
        "transmit": True,
    }
    event = str(more.pop("event", "placed"))
    return line(at, event, **(fields | more))


def released(at: str, *order_ids: int) -> list[str]:
    return [line(at, "released", perm_id=9000 + one) for one in order_ids]


def status(
    at: str, order_id: int, word: str, filled: int = 0, remaining: int = 0
) -> str:
    return line(
        at,
        "status",
        perm_id=9000 + order_id,
        order_id=order_id,
        client_id=OURS,
        order_ref="",
        status=word,
        filled=str(filled),
        remaining=str(remaining),
        why_held="",
    )


def error(at: str, order_id: int, code: int, client_id: int = OURS) -> str:
    return line(
        at, "order_error", client_id=client_id, order_id=order_id, code=code, text="no"
    )


def executed(
    at: str,
    order_id: int,
    side: str,
    quantity: int,
    position: int,
    *,
    exec_id: str = "",
    symbol: str = "BLCO",
    client_id: int = OURS,
) -> list[str]:
    """Return an execution and the true position that it leaves."""
    common = {"account": ACCOUNT, "con_id": CON_IDS[symbol], "symbol": symbol}
    return [
        line(
            at,
            "executed",
            exec_id=exec_id or f"{order_id}.{at}.01",
            perm_id=9000 + order_id,
            order_id=order_id,
            client_id=client_id,
            order_ref="",
            **common,
            side=side,
            quantity=str(quantity),
            price="16.00",
            exchange="IEX",
        ),
        holds(at, position, symbol),
    ]


def holds(at: str, quantity: int, symbol: str = "BLCO", account: str = ACCOUNT) -> str:
    return line(
        at,
        "position",
        account=account,
        con_id=CON_IDS[symbol],
        symbol=symbol,
        quantity=str(quantity),
        average_cost="16.00",
    )


def entered(quantity: int = 100, bracket: str = "A", first_id: int = 1) -> list[str]:
    """Return a bracket at 14:35 whose entry is filled, take-profit and stop live."""
    tp, sl = first_id + 1, first_id + 2
    return [
        *bracket_sent("14:35:00", quantity, bracket, first_id),
        *executed("14:36:00", first_id, "BUY", quantity, quantity),
        status("14:36:00", first_id, "Filled", quantity, 0),
        status("14:36:00", tp, "Submitted", 0, quantity),
        status("14:36:00", sl, "PreSubmitted", 0, quantity),
    ]


def bracket_sent(at: str, quantity: int, bracket: str, first_id: int) -> list[str]:
    name, en = f"BLCO:{bracket}", first_id
    limit = {"order_type": "LMT"}
    return [
        sent(
            at,
            en,
            f"{name}:EN",
            "BUY",
            quantity,
            limit_price="16.00",
            transmit=False,
            **limit,
        ),
        sent(
            at,
            en + 1,
            f"{name}:TP",
            "SELL",
            quantity,
            limit_price="17.00",
            parent_id=en,
            transmit=False,
            **limit,
        ),
        sent(
            at,
            en + 2,
            f"{name}:SL",
            "SELL",
            quantity,
            order_type="STP",
            stop_price="15.00",
            parent_id=en,
        ),
        *released(at, en, en + 1, en + 2),
    ]


def closed(at: str, *order_ids: int) -> list[str]:
    return [status(at, one, "Cancelled", 0, 100) for one in order_ids]


def flatten_bracket(moc_id: int = 50, quantity: int = 100) -> list[str]:
    """Return the end of entered(): exits cancelled, MOC sent and filled."""
    return [
        *closed("20:40:01", 2, 3),
        sent("20:40:03", moc_id, "BLCO:X:MOC", "SELL", quantity, order_type="MOC"),
        *released("20:40:03", moc_id),
        *executed("21:00:04", moc_id, "SELL", quantity, 0),
        status("21:00:04", moc_id, "Filled", quantity, 0),
    ]


def write_journal(
    path: Path,
    ledger: Iterable[str],
    *,
    changes: dict[str, object] | None = None,
    alerts: Sequence[tuple[str, ...]] = (),
    severity: str = "alarm",
) -> Path:
    """Write the journal that fits *ledger*: an intent for each order of ours.

    *changes* of column values go into every intent; *alerts* are messages of
    *severity*: (accepted at, body) by telegram, or (accepted at, body, channel).
    """
    refs = {None: None, 0: None}
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA)
        for record in map(json.loads, ledger):
            if record["event"] == "placed" and record["client_id"] == OURS:
                refs[record["order_id"]] = record["order_ref"]
                row = {
                    "order_ref": record["order_ref"],
                    "order_id": record["order_id"],
                    "account": record["account"],
                    "con_id": record["con_id"],
                    "symbol": record["symbol"],
                    "side": record["side"],
                    "quantity": int(record["quantity"]),
                    "order_type": record["order_type"],
                    "limit_price": record["limit_price"],
                    "stop_price": record["stop_price"],
                    "tif": record["tif"],
                    "oca_group": record["oca_group"],
                    "oca_type": record["oca_type"],
                    "parent_ref": refs[record["parent_id"]],
                    "transmit": record["transmit"],
                    "created_at": record["at"],
                } | (changes or {})
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                db.execute(
                    f"INSERT OR IGNORE INTO intents({names}) VALUES ({marks})",  # noqa: S608 # our own names
                    tuple(row.values()),
                )
        for number, (accepted, body, *channel) in enumerate(alerts, start=1):
            db.execute(
                "INSERT INTO messages(at, severity, subject, body)"
                " VALUES (?, ?, 'NOT FLAT', ?)",
                (f"2026-02-19T{accepted}+00:00", severity, body),
            )
            db.execute(
                "INSERT INTO acceptances VALUES (?, ?, ?)",
                (number, *(channel or ["telegram"]), f"2026-02-19T{accepted}+00:00"),
            )
        db.commit()
    return path


def judge(
    ledger: Sequence[str],
    *,
    journal: Path | None = None,
    until: str = "21:30:00",
    ignore: Iterable[str] = (),
    scope: str = "account",
) -> Verdict:
    return check(
        ledger,
        journal,
        client_id=OURS,
        accounts=frozenset({ACCOUNT}),
        ignore=ignore,
        scope="own" if scope == "own" else "account",
        until=datetime.fromisoformat(f"2026-02-19T{until}+00:00"),
    )


def laws(verdict: Verdict) -> list[str]:
    return [one.law for one in verdict.violations]


def during_the_day(*parts: Iterable[str] | str) -> list[str]:
    """Return the broken laws of a day that is looked at before its close."""
    return laws(judge(written(*parts), until="20:30:00"))


def written(*parts: Iterable[str] | str) -> list[str]:
    lines = [session()]
    for part in parts:
        lines.extend([part] if isinstance(part, str) else part)
    return lines


# --- a good day ----------------------------------------------------------------


def test_an_ordinary_day_is_lawful_and_flat(tmp_path: Path) -> None:
    ledger = written(entered(), flatten_bracket())
    verdict = judge(ledger, journal=write_journal(tmp_path / "journal.sqlite", ledger))
    assert verdict.violations == ()
    assert verdict.lawful
    assert verdict.flat == {DAY: True}
    assert verdict.all_flat
    assert verdict.judged == {"I1", "I2", "I3", "I4", "I7", "I11"}
    assert verdict.positions_at_end == {}
    assert (verdict.orders, verdict.executions, verdict.sessions) == (4, 2, 1)


def test_two_brackets_of_one_symbol_and_one_moc_are_lawful() -> None:
    ledger = written(
        bracket_sent("14:35:00", 33, "A", 1),
        bracket_sent("14:35:00", 67, "B", 5),
        executed("14:36:00", 1, "BUY", 33, 33),
        status("14:36:00", 1, "Filled", 33, 0),
        executed("14:36:01", 5, "BUY", 67, 100),
        status("14:36:01", 5, "Filled", 67, 0),
        executed("15:00:00", 2, "SELL", 33, 67),
        status("15:00:00", 2, "Filled", 33, 0),
        status("15:00:00", 3, "Cancelled", 0, 33),
        closed("20:40:01", 6, 7),
        sent("20:40:03", 50, "BLCO:X:MOC", "SELL", 67, order_type="MOC"),
        released("20:40:03", 50),
        executed("21:00:04", 50, "SELL", 67, 0),
        status("21:00:04", 50, "Filled", 67, 0),
    )
    verdict = judge(ledger)
    assert verdict.violations == ()
    assert verdict.flat == {DAY: True}


# --- the evidence itself -------------------------------------------------------


def test_an_empty_ledger_is_no_verdict() -> None:
    with pytest.raises(CheckError, match="holds no record"):
        judge([])


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("{", "line 2: not JSON"),
        ('["status"]', "line 2: not an object with event and at"),
        ('{"event":"notice","at":"yesterday"}', "line 2: at is 'yesterday'"),
        (
            line("15:00:00", "executed", perm_id=1),
            "line 2: executed has no field 'account'",
        ),
        (
            holds("15:00:00", 1).replace('"1"', '"one"'),
            "quantity is 'one', not a number",
        ),
        (line("13:00:00", "notice"), "line 2: time goes back"),
        (
            sent("15:00:00", 1, "BLCO:X:MOC", "SHORT", 1),
            "side is 'SHORT', not BUY or SELL",
        ),
        (
            sent("15:00:00", 1, "BLCO:X:MOC", "SELL", 1, event="modified"),
            "modified an order that was never placed",
        ),
    ],
)
def test_a_bad_line_is_named_by_its_number(bad: str, named: str) -> None:
    with pytest.raises(CheckError, match=named):
        judge([session(), bad])


def test_a_missing_journal_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="no journal at"):
        judge(written(), journal=tmp_path / "journal.sqlite")


def test_a_file_that_is_no_journal_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_text("nothing of the kind, and longer than a header of a database file")
    with pytest.raises(CheckError, match="cannot be read"):
        judge(written(), journal=path)


def test_without_a_journal_intents_are_not_judged() -> None:
    assert "I2" not in judge(written(entered(), flatten_bracket())).judged


def test_a_session_is_not_judged_before_its_time() -> None:
    verdict = judge(written(entered()), until="21:04:59")
    assert verdict.flat == {}
    assert not verdict.all_flat
    assert "I4" not in verdict.judged


def test_a_session_that_was_over_when_the_ledger_began_is_not_judged() -> None:
    late = json.loads(session()) | {"at": "2026-02-19T21:06:00+00:00"}
    assert judge([json.dumps(late)]).flat == {}


def test_records_after_the_end_are_left_out() -> None:
    late = holds("21:20:00", 5)
    assert judge(written(late), until="21:10:00").positions_at_end == {}
    assert judge(written(late)).positions_at_end == {(ACCOUNT, "BLCO"): Decimal(5)}


# --- I1 ------------------------------------------------------------------------


def entry(
    at: str, order_id: int, name: str = "BLCO:A:EN", quantity: int = 100, **more: object
) -> str:
    limit = {"order_type": "LMT", "limit_price": "16"}
    return sent(at, order_id, name, "BUY", quantity, **(limit | more))


def test_a_second_entry_under_the_same_reference_breaks_i1() -> None:
    assert during_the_day(
        entry("14:35:00", 1), released("14:35:00", 1), entry("14:40:00", 7)
    ) == ["I1"]


def test_a_second_attempt_beside_a_working_first_breaks_i1() -> None:
    assert during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        entry("14:40:00", 7, "BLCO:A:EN:2"),
    ) == ["I1"]


def test_a_second_attempt_after_a_working_first_was_cancelled_breaks_i1() -> None:
    assert during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        closed("14:36:00", 1),
        entry("14:40:00", 7, "BLCO:A:EN:2"),
    ) == ["I1"]


def test_a_second_attempt_while_the_first_is_unanswered_breaks_i1() -> None:
    assert during_the_day(
        entry("14:35:00", 1), entry("14:40:00", 7, "BLCO:A:EN:2")
    ) == ["I1"]


def test_a_second_attempt_while_the_first_is_held_untransmitted_breaks_i1() -> None:
    assert during_the_day(
        entry("14:35:00", 1, transmit=False),
        entry("14:40:00", 7, "BLCO:A:EN:2", transmit=False),
    ) == ["I1"]


def test_an_entry_under_our_reference_by_another_client_is_not_ours() -> None:
    foreign = entry("14:34:00", 7, client_id=11, account="U7654321")
    assert not during_the_day(
        foreign, released("14:34:00", 7), entry("14:35:00", 1), released("14:35:00", 1)
    )
    assert not during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        entry("14:40:00", 7, client_id=11),
        released("14:40:00", 7),
        executed("14:41:00", 7, "BUY", 100, 100, client_id=11),
    )


def test_an_entry_whose_row_is_in_doubt_breaks_i1() -> None:
    # Nobody can say that it is not the second one of the row.
    second = entry("14:40:00", 7, order_ref="ibkrd:20260219:BLCO:A:EN:x")
    first = [entry("14:35:00", 1), *released("14:35:00", 1)]
    assert during_the_day(first, second) == ["I1"]
    assert during_the_day(second, entry("14:41:00", 8), released("14:41:00", 8)) == [
        "I1"
    ]


def test_a_nameless_entry_alone_or_in_another_contract_is_one_entry() -> None:
    nameless = entry("14:40:00", 7, "LH:A:EN", order_ref="by hand")
    assert not during_the_day(entry("14:35:00", 1), nameless)


def test_a_nameless_entry_of_another_day_is_not_of_this_row() -> None:
    early = [entry("02:00:00", 7, order_ref="by hand"), *released("02:00:00", 7)]
    late = [session(), entry("14:35:00", 1), *released("14:35:00", 1)]
    assert not laws(judge([*early, *late], until="20:30:00"))


def test_a_nameless_purchase_that_covers_a_short_is_no_entry() -> None:
    cover = sent("14:40:00", 7, "BLCO:X:MKT", "BUY", 100, order_ref="by hand")
    assert not during_the_day(
        entry("14:31:00", 1),
        released("14:31:00", 1),
        closed("14:32:00", 1),
        holds("14:33:00", -100),
        cover,
    )
    flat = during_the_day(
        entry("14:31:00", 1), released("14:31:00", 1), closed("14:32:00", 1), cover
    )
    assert flat == ["I1"]


def test_an_entry_of_bracket_x_is_an_entry_too() -> None:
    first = [entry("14:35:00", 1, "BLCO:X:EN"), *released("14:35:00", 1)]
    assert during_the_day(first, entry("14:40:00", 7, "BLCO:X:EN:2")) == ["I1"]
    assert not during_the_day(
        entry("14:35:00", 1, "BLCO:X:EN"),
        error("14:35:01", 1, 201),
        entry("14:40:00", 7, "BLCO:X:EN:2"),
    )


def test_a_part_of_an_entry_is_a_second_entry_and_breaks_i1() -> None:
    assert during_the_day(
        entry("14:35:00", 1, "BLCO:A:EN.1"),
        released("14:35:00", 1),
        entry("14:35:01", 2, "BLCO:A:EN.2"),
    ) == ["I1"]


def test_a_first_attempt_that_fills_after_all_breaks_i1() -> None:
    assert during_the_day(
        entry("14:35:00", 1),
        error("14:35:01", 1, 201),
        entry("14:40:00", 7, "BLCO:A:EN:2"),
        released("14:40:00", 7),
        executed("14:41:00", 1, "BUY", 100, 100),
    ) == ["I1"]


def test_a_second_attempt_after_a_refusal_is_lawful() -> None:
    assert not during_the_day(
        entry("14:35:00", 1),
        error("14:35:01", 1, 201),
        entry("14:40:00", 7, "BLCO:A:EN:2"),
        released("14:40:00", 7),
    )


def test_a_second_attempt_after_an_inactive_first_is_lawful() -> None:
    assert not during_the_day(
        entry("14:35:00", 1),
        status("14:35:01", 1, "Inactive", 0, 100),
        error("14:35:01", 1, 201),
        entry("14:40:00", 7, "BLCO:A:EN:2"),
        released("14:40:00", 7),
    )


def test_a_second_attempt_after_the_first_was_discarded_is_lawful() -> None:
    assert not during_the_day(
        entry("14:35:00", 1, transmit=False),
        line("14:36:00", "discarded", perm_id=9001, order_id=1),
        entry("14:40:00", 7, "BLCO:A:EN:2"),
        released("14:40:00", 7),
    )


def test_a_notice_on_an_order_is_no_refusal_of_it() -> None:
    assert during_the_day(
        entry("14:35:00", 1),
        error("14:35:01", 1, 10349),
        entry("14:40:00", 7, "BLCO:A:EN:2"),
    ) == ["I1"]


def test_entries_of_the_two_brackets_and_of_other_symbols_are_lawful() -> None:
    assert not during_the_day(
        entry("14:35:00", 1, "BLCO:A:EN"),
        entry("14:35:00", 2, "BLCO:B:EN"),
        entry("14:35:00", 3, "LH:A:EN"),
        released("14:35:00", 1, 2, 3),
    )


def test_a_modified_entry_is_no_second_one() -> None:
    assert not during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        entry("14:40:00", 1, event="modified"),
    )


def test_a_symbol_with_spaces_is_read_from_the_reference() -> None:
    assert during_the_day(
        entry("14:35:00", 1, "BRK B:A:EN"),
        released("14:35:00", 1),
        entry("14:40:00", 2, "BRK B:A:EN:2"),
    ) == ["I1"]


# --- I2 ------------------------------------------------------------------------


def broken_by(
    tmp_path: Path, *parts: Iterable[str] | str, **changes: object
) -> list[str]:
    """Return the texts of I2 for a journal whose every intent was changed."""
    ledger = written(*parts)
    journal = write_journal(tmp_path / "journal.sqlite", ledger, changes=changes)
    verdict = judge(ledger, journal=journal, until="20:30:00")
    assert set(laws(verdict)) <= {"I2"}
    return [one.text for one in verdict.violations]


def test_an_order_without_an_intent_breaks_i2(tmp_path: Path) -> None:
    ledger = written(entry("14:35:00", 1), entry("14:35:00", 2, "BLCO:B:EN"))
    journal = write_journal(tmp_path / "journal.sqlite", ledger[:2])
    verdict = judge(ledger, journal=journal, until="20:30:00")
    (violation,) = verdict.violations
    assert str(violation) == (
        "I2 2026-02-19T14:35:00+00:00 ibkrd:20260219:BLCO:B:EN (BUY 100 BLCO)"
        " has no intent"
    )


def test_an_order_without_a_reference_breaks_i2(tmp_path: Path) -> None:
    ledger = written(holds("14:31:00", -100), entry("14:35:00", 1, order_ref=""))
    journal = write_journal(tmp_path / "journal.sqlite", [])
    assert laws(judge(ledger, journal=journal, until="20:30:00")) == ["I2"]


def test_an_intent_that_came_after_the_order_breaks_i2(tmp_path: Path) -> None:
    texts = broken_by(
        tmp_path, entry("14:35:00", 1), created_at="2026-02-19T14:35:02.001000+00:00"
    )
    assert len(texts) == 1
    assert "its intent came only at 2026-02-19T14:35:02.001000+00:00" in texts[0]


@pytest.mark.parametrize(
    "created_at",
    [
        "2026-02-19T14:35:00+00:00",
        "2026-02-19T09:35:00-05:00",
        "2026-02-19 14:34:59",
        "2026-02-19T14:35:02+00:00",  # the host's clock is two seconds ahead
    ],
)
def test_an_intent_of_the_same_instant_or_earlier_is_lawful(
    tmp_path: Path, created_at: str
) -> None:
    assert not broken_by(tmp_path, entry("14:35:00", 1), created_at=created_at)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order_id": 2}, "order id is 1 on the wire, 2 in the intent"),
        ({"quantity": 99}, "quantity is 100 on the wire, 99 in the intent"),
        ({"side": "SELL"}, "side is BUY on the wire, SELL in the intent"),
        ({"account": "DU7"}, "account is DU1234567 on the wire, DU7 in the intent"),
        ({"con_id": 5}, "contract is 11 on the wire, 5 in the intent"),
        ({"order_type": "MKT"}, "type is LMT on the wire, MKT in the intent"),
        ({"limit_price": "16.01"}, "limit is 16 on the wire, 16.01 in the intent"),
        ({"stop_price": "15"}, "stop is None on the wire, 15 in the intent"),
        ({"tif": "GTC"}, "tif is DAY on the wire, GTC in the intent"),
        ({"transmit": 0}, "transmit is True on the wire, False in the intent"),
        ({"oca_group": "a"}, "oca group is  on the wire, a in the intent"),
        ({"oca_type": 2}, "oca type is 0 on the wire, 2 in the intent"),
        (
            {"parent_ref": "ibkrd:20260219:BLCO:A:XX"},
            "parent is 0 on the wire, ibkrd:20260219:BLCO:A:XX in the intent",
        ),
        (
            {"good_till": "2026-02-19T20:30:00+00:00"},
            "good till is None on the wire, 2026-02-19 20:30:00+00:00 in the intent",
        ),
        (
            {"good_after": "2026-02-19T20:30:00+00:00"},
            "good after is None on the wire, 2026-02-19 20:30:00+00:00 in the intent",
        ),
    ],
)
def test_an_order_that_differs_from_its_intent_breaks_i2(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    texts = broken_by(tmp_path, entry("14:35:00", 1), **changes)
    assert len(texts) == 1
    assert said in texts[0]


def test_a_stop_price_that_differs_breaks_i2(tmp_path: Path) -> None:
    stop = sent(
        "14:35:00", 1, "BLCO:A:SL", "SELL", 100, order_type="STP", stop_price="15"
    )
    texts = broken_by(tmp_path, holds("14:31:00", 100), stop, stop_price="14")
    assert ["stop is 15 on the wire, 14 in the intent" in text for text in texts] == [
        True
    ]


def test_the_same_price_spelled_otherwise_is_lawful(tmp_path: Path) -> None:
    assert not broken_by(tmp_path, entry("14:35:00", 1), limit_price="16.00")


def test_instants_on_the_wire_are_the_intents_to_the_second(tmp_path: Path) -> None:
    wire = {"tif": "GTD", "good_till": "20260219-20:30:00"}
    meant = "2026-02-19T15:30:00.400000-05:00"
    assert not broken_by(tmp_path, entry("14:35:00", 1, **wire), good_till=meant)


@pytest.mark.parametrize("written", ["20260219-20:30:01", "tonight"])
def test_another_instant_than_the_intents_breaks_i2(
    tmp_path: Path, written: str
) -> None:
    order = entry("14:35:00", 1, tif="GTD", good_till=written)
    meant = "2026-02-19T20:30:00+00:00"
    assert len(broken_by(tmp_path, order, good_till=meant)) == 1


def test_a_bracket_as_it_was_meant_is_lawful(tmp_path: Path) -> None:
    assert not broken_by(tmp_path, bracket_sent("14:35:00", 100, "A", 1))


def test_a_child_of_another_parent_breaks_i2(tmp_path: Path) -> None:
    meant = written(bracket_sent("14:35:00", 100, "A", 1))
    journal = write_journal(tmp_path / "journal.sqlite", meant)
    done = [one.replace('"parent_id": 1', '"parent_id": 0') for one in meant]
    texts = [
        one.text
        for one in judge(done, journal=journal, until="14:35:00").violations
        if one.law == "I2"
    ]
    assert ["parent is 0 on the wire, 1 in the intent" in text for text in texts] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"quantity": "9000"}, "quantity is 9000 on the wire, 100 in the intent"),
        ({"limit_price": "17"}, "limit is 17 on the wire, 16 in the intent"),
        ({"tif": "GTC"}, "tif is GTC on the wire, DAY in the intent"),
        ({"order_type": "MKT"}, "type is MKT on the wire, LMT in the intent"),
    ],
)
def test_a_modification_without_a_new_intent_breaks_i2(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    modified = entry("14:40:00", 1, event="modified", **changed)
    texts = broken_by(tmp_path, entry("14:35:00", 1), released("14:35:00", 1), modified)
    assert len(texts) == 1
    assert said in texts[0]


def test_an_order_sent_again_as_it_was_is_lawful(tmp_path: Path) -> None:
    assert not broken_by(
        tmp_path,
        entry("14:35:00", 1),
        released("14:35:00", 1),
        entry("14:40:00", 1, event="modified", limit_price="16.00"),
    )


def test_a_nameless_order_of_ours_is_judged_by_i2_and_i11(tmp_path: Path) -> None:
    nameless = {"order_ref": "by hand", "account": "U7654321"}
    ledger = written(entry("14:35:00", 1, **nameless))
    journal = write_journal(tmp_path / "journal.sqlite", [])
    verdict = judge(ledger, journal=journal, until="20:30:00")
    assert sorted(laws(verdict)) == ["I11", "I2"]


def test_our_reference_from_another_client_needs_no_intent(tmp_path: Path) -> None:
    foreign = {"client_id": FOREIGN, "account": "U7654321"}
    ledger = written(entry("14:35:00", 1, **foreign), moc("14:36:00", 2, 9, **foreign))
    journal = write_journal(tmp_path / "journal.sqlite", [])
    assert not laws(judge(ledger, journal=journal, until="20:30:00"))


def test_orders_of_other_clients_need_no_intent(tmp_path: Path) -> None:
    ledger = written(entry("14:35:00", 1, client_id=FOREIGN, order_ref=""))
    journal = write_journal(tmp_path / "journal.sqlite", ledger)
    assert not laws(judge(ledger, journal=journal, until="20:30:00"))


# --- I3 ------------------------------------------------------------------------


def moc(at: str, order_id: int, quantity: int, **more: object) -> str:
    return sent(at, order_id, "BLCO:X:MOC", "SELL", quantity, order_type="MOC", **more)


def test_an_exit_beside_live_stops_breaks_i3() -> None:
    assert during_the_day(entered(), moc("19:00:00", 50, 100)) == ["I3"]


def test_an_exit_whose_siblings_cancel_is_only_asked_for_breaks_i3() -> None:
    assert during_the_day(
        entered(),
        line("19:00:00", "cancel_requested", client_id=OURS, order_id=2, perm_id=9002),
        line("19:00:00", "cancel_requested", client_id=OURS, order_id=3, perm_id=9003),
        status("19:00:00", 2, "PendingCancel", 0, 100),
        status("19:00:00", 3, "PendingCancel", 0, 100),
        moc("19:00:00", 50, 100),
    ) == ["I3"]


def test_an_exit_after_the_cancels_are_confirmed_is_lawful() -> None:
    assert not during_the_day(
        entered(), closed("19:00:00", 2, 3), moc("19:00:00.02", 50, 100)
    )


def test_an_exit_larger_than_the_position_breaks_i3() -> None:
    # LION, 2026-03-05: the take-profit had sold 177 of 537, the close sold 537.
    assert during_the_day(
        entered(537),
        executed("17:00:00", 2, "SELL", 177, 360),
        status("17:00:00", 2, "Submitted", 177, 360),
        closed("19:00:00", 2, 3),
        moc("19:00:01", 50, 537),
    ) == ["I3"]


def test_an_exit_of_what_a_part_filled_exit_left_is_lawful() -> None:
    assert not during_the_day(
        entered(537),
        executed("17:00:00", 2, "SELL", 177, 360),
        status("17:00:00", 2, "Submitted", 177, 360),
        closed("19:00:00", 2, 3),
        moc("19:00:01", 50, 360),
    )


def test_an_exit_for_a_position_that_is_not_there_breaks_i3() -> None:
    assert during_the_day(moc("19:00:00", 50, 100)) == ["I3"]


def test_an_exit_of_a_reference_outside_the_grammar_is_judged_too() -> None:
    assert during_the_day(moc("19:00:00", 50, 100, order_ref="by hand")) == ["I3"]


def test_a_second_exit_for_the_same_shares_breaks_i3() -> None:
    assert during_the_day(
        holds("14:31:00", 100),
        moc("19:00:00", 50, 100),
        released("19:00:00", 50),
        sent("19:10:00", 51, "BLCO:X:MKT", "SELL", 1),
    ) == ["I3"]


def test_an_exit_whose_sender_could_not_know_of_the_fill_yet_is_lawful() -> None:
    assert not during_the_day(
        holds("14:31:00", 100),
        executed("19:00:00", 70, "SELL", 40, 60, client_id=FOREIGN),
        moc("19:00:01.9", 50, 100),
    )


def test_an_exit_whose_sender_should_have_known_of_the_fill_breaks_i3() -> None:
    assert during_the_day(
        holds("14:31:00", 100),
        executed("19:00:00", 70, "SELL", 40, 60, client_id=FOREIGN),
        moc("19:00:02.1", 50, 100),
    ) == ["I3"]


def test_evidence_is_taken_at_one_instant_and_not_mixed() -> None:
    # The stop was live until it filled: at no instant were both free to be sold.
    assert during_the_day(
        entered(),
        executed("19:00:00", 3, "SELL", 100, 0),
        status("19:00:00", 3, "Filled", 100, 0),
        closed("19:00:00", 2),
        moc("19:00:01", 50, 100),
    ) == ["I3"]


def test_a_fill_after_cancelled_is_the_brokers_doing() -> None:
    assert not during_the_day(
        entered(),
        closed("19:00:00", 2, 3),
        moc("19:00:03", 50, 100),
        released("19:00:03", 50),
        executed("19:00:04", 2, "SELL", 100, 0),
        closed("19:00:05", 50),
    )


def test_children_of_an_unfilled_parent_count_nothing() -> None:
    assert not during_the_day(bracket_sent("14:35:00", 100, "A", 1))


def test_children_count_what_their_parent_has_filled() -> None:
    part_filled = [
        *bracket_sent("14:35:00", 100, "A", 1),
        *executed("14:36:00", 1, "BUY", 40, 40),
    ]
    # 10 shares more are held, and only these may be sold beside the bracket.
    carried = [*part_filled, holds("14:37:00", 50)]
    assert not during_the_day(carried, moc("19:00:00", 50, 10))
    assert during_the_day(carried, moc("19:00:00", 50, 11)) == ["I3"]


def test_a_child_larger_than_its_parent_breaks_i3() -> None:
    assert during_the_day(
        entry("14:35:00", 1, transmit=False),
        sent("14:35:00", 2, "BLCO:A:TP", "SELL", 101, order_type="LMT", parent_id=1),
    ) == ["I3"]


def test_a_child_for_a_parent_known_to_be_dead_breaks_i3() -> None:
    assert during_the_day(
        entry("14:35:00", 1, transmit=False),
        error("14:35:01", 1, 201),
        sent("14:35:04", 2, "BLCO:A:TP", "SELL", 100, order_type="LMT", parent_id=1),
    ) == ["I3"]


def test_a_child_right_behind_a_parent_that_is_being_refused_is_lawful() -> None:
    assert not during_the_day(
        entry("14:35:00", 1, transmit=False),
        error("14:35:00.02", 1, 201),
        sent("14:35:00.04", 2, "BLCO:A:TP", "SELL", 100, order_type="LMT", parent_id=1),
    )


def test_one_oca_group_counts_once() -> None:
    group = {"oca_group": "20260219:BLCO:A:2", "oca_type": 2}
    assert not during_the_day(
        holds("14:31:00", 50),
        sent("15:00:00", 2, "BLCO:A:TP:2", "SELL", 50, order_type="LMT", **group),
        sent("15:00:00", 3, "BLCO:A:SL:2", "SELL", 50, order_type="STP", **group),
        sent("15:00:00", 4, "BLCO:A:TX:2", "SELL", 50, **group),
        released("15:00:00", 2, 3, 4),
    )


def test_two_oca_groups_count_twice() -> None:
    assert during_the_day(
        holds("14:31:00", 50),
        sent("15:00:00", 2, "BLCO:A:SL", "SELL", 50, oca_group="a"),
        sent("15:00:00", 3, "BLCO:B:SL", "SELL", 50, oca_group="b"),
    ) == ["I3"]


def test_an_oca_group_counts_at_its_largest_member() -> None:
    assert during_the_day(
        holds("14:31:00", 50),
        sent("15:00:00", 2, "BLCO:A:TP", "SELL", 20, oca_group="a"),
        sent("15:00:00", 3, "BLCO:A:SL", "SELL", 51, oca_group="a"),
    ) == ["I3"]


def test_a_fill_of_one_member_reduces_its_group() -> None:
    part_sold = [
        holds("14:31:00", 150),
        sent("15:00:00", 2, "BLCO:A:TP", "SELL", 50, order_type="LMT", oca_group="a"),
        sent("15:00:00", 3, "BLCO:A:SL", "SELL", 50, order_type="STP", oca_group="a"),
        *released("15:00:00", 2, 3),
        *executed("16:00:00", 2, "SELL", 20, 130),
        status("16:00:00", 2, "Submitted", 20, 30),
    ]
    # The stop is still at 50 in the books, but the group has 30 left to sell.
    assert not during_the_day(part_sold, moc("19:00:00", 50, 100))
    assert during_the_day(part_sold, moc("19:00:00", 50, 101)) == ["I3"]


def test_a_corrected_fill_of_one_member_counts_as_corrected() -> None:
    part_sold = [
        holds("14:31:00", 150),
        sent("15:00:00", 2, "BLCO:A:TP", "SELL", 50, order_type="LMT", oca_group="a"),
        *released("15:00:00", 2),
        *executed("16:00:00", 2, "SELL", 20, 130, exec_id="e0d5.01.01"),
        *executed("16:00:05", 2, "SELL", 10, 140, exec_id="e0d5.01.02"),
        status("16:00:05", 2, "Submitted", 10, 40),
    ]
    assert not during_the_day(part_sold, moc("19:00:00", 50, 100))
    assert during_the_day(part_sold, moc("19:00:00", 50, 101)) == ["I3"]


def test_an_order_that_the_broker_made_smaller_counts_as_small() -> None:
    reduced = [
        holds("14:31:00", 100),
        sent("15:00:00", 2, "BLCO:A:SL", "SELL", 100, order_type="STP"),
        *released("15:00:00", 2),
        status("15:00:01", 2, "PreSubmitted", 0, 60),
    ]
    assert not during_the_day(reduced, moc("19:00:00", 50, 40))
    assert during_the_day(reduced, moc("19:00:00", 50, 41)) == ["I3"]


def test_children_count_what_their_parent_has_filled_and_they_not_sold() -> None:
    part_sold = [
        *bracket_sent("14:35:00", 100, "A", 1),
        *executed("14:36:00", 1, "BUY", 40, 40),
        *executed("15:00:00", 2, "SELL", 30, 10),
        holds("15:01:00", 20),
    ]
    assert not during_the_day(part_sold, moc("19:00:00", 50, 10))
    assert during_the_day(part_sold, moc("19:00:00", 50, 11)) == ["I3"]


def test_an_error_on_a_live_order_does_not_end_it() -> None:
    assert during_the_day(
        entered(),
        error("18:59:00", 2, 10148),
        error("18:59:00", 3, 10148),
        moc("19:00:00", 50, 100),
    ) == ["I3"]


def test_a_refusal_after_an_accepted_modification_does_not_undo_it() -> None:
    held = [
        holds("14:31:00", 100),
        sent("15:00:00", 2, "BLCO:A:SL", "SELL", 100, order_type="STP"),
        *released("15:00:00", 2),
        sent(
            "16:00:00", 2, "BLCO:A:SL", "SELL", 40, order_type="STP", event="modified"
        ),
        status("16:00:01", 2, "PreSubmitted", 0, 40),
        error("17:00:00", 2, 10148),
    ]
    assert not during_the_day(held, moc("19:00:00", 50, 60))


def test_a_stop_raised_again_after_a_part_was_sold_breaks_i3() -> None:
    assert during_the_day(
        entered(),
        executed("16:00:00", 2, "SELL", 40, 60),
        status("16:00:00", 2, "Submitted", 40, 60),
        status("16:00:00", 3, "PreSubmitted", 0, 60),
        sent(
            "17:00:00",
            3,
            "BLCO:A:SL",
            "SELL",
            100,
            order_type="STP",
            parent_id=1,
            event="modified",
        ),
    ) == ["I3"]


def test_a_modification_that_makes_the_exposure_smaller_is_lawful() -> None:
    # Somebody sold 50 by hand; take-profit and stop are taken down one by one.
    smaller = {"parent_id": 1, "event": "modified"}
    assert not during_the_day(
        entered(),
        executed("16:00:00", 70, "SELL", 50, 50, client_id=FOREIGN),
        sent("16:00:10", 3, "BLCO:A:SL", "SELL", 50, order_type="STP", **smaller),
        sent("16:00:11", 2, "BLCO:A:TP", "SELL", 50, order_type="LMT", **smaller),
    )


def test_a_refused_modification_leaves_the_order_as_it_was() -> None:
    held = [
        holds("14:31:00", 100),
        sent("15:00:00", 2, "BLCO:A:SL", "SELL", 100, order_type="STP"),
        *released("15:00:00", 2),
        sent(
            "16:00:00", 2, "BLCO:A:SL", "SELL", 40, order_type="STP", event="modified"
        ),
    ]
    answered = status("16:00:01", 2, "PreSubmitted", 0, 40)
    assert not during_the_day(held, answered, moc("19:00:00", 50, 60))
    refused = error("16:00:01", 2, 201)
    assert during_the_day(held, refused, moc("19:00:00", 50, 60)) == ["I3"]


def test_a_refused_exit_no_longer_counts() -> None:
    assert not during_the_day(
        holds("14:31:00", 611),
        moc("19:00:00", 50, 611),
        error("19:00:00.02", 50, 383),
        sent("19:00:03", 51, "BLCO:X:MOC.1", "SELL", 500, order_type="MOC"),
        sent("19:00:03", 52, "BLCO:X:MOC.2", "SELL", 111, order_type="MOC"),
    )


def test_a_short_is_bought_back_exactly() -> None:
    cover = sent("19:00:00", 50, "BLCO:X:MKT", "BUY", 130)
    too_much = sent("19:00:00", 50, "BLCO:X:MKT", "BUY", 131)
    assert not during_the_day(holds("14:31:00", -130), cover)
    assert during_the_day(holds("14:31:00", -130), too_much) == ["I3"]


def test_an_exit_on_the_side_of_the_position_breaks_i3() -> None:
    assert during_the_day(holds("14:31:00", -130), moc("19:00:00", 50, 1)) == ["I3"]


def test_an_entry_may_enlarge_a_position_but_not_turn_it() -> None:
    assert not during_the_day(holds("14:31:00", 30), entry("14:35:00", 1))
    assert not during_the_day(holds("14:31:00", -100), entry("14:35:00", 1))
    assert during_the_day(holds("14:31:00", -99), entry("14:35:00", 1)) == ["I3"]


def test_exits_of_other_clients_do_not_count_in_ours() -> None:
    assert not during_the_day(
        holds("14:31:00", 100),
        moc("18:00:00", 70, 100, client_id=FOREIGN),
        released("18:00:00", 70),
        moc("19:00:00", 50, 100),
    )


def test_exits_of_other_clients_are_not_judged() -> None:
    assert not during_the_day(moc("19:00:00", 50, 100, client_id=FOREIGN))


def test_a_corrected_execution_counts_once() -> None:
    assert not during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        executed("14:36:00", 1, "BUY", 90, 90, exec_id="e0d5.01.01"),
        executed("14:36:05", 1, "BUY", 100, 100, exec_id="e0d5.01.02"),
        status("14:36:05", 1, "Filled", 100, 0),
        moc("19:00:00", 50, 100),
    )


# --- I3: what crossed all the same ---------------------------------------------


def moc_twice() -> list[str]:
    """Return a day on which a market-on-close of ours is executed twice."""
    return written(
        holds("14:31:00", 100),
        moc("20:40:00", 50, 100),
        released("20:40:00", 50),
        executed("21:00:04", 50, "SELL", 100, 0, exec_id="a.01"),
        status("21:00:04", 50, "Filled", 100, 0),
        executed("21:00:05", 50, "SELL", 60, -60, exec_id="b.01"),
        executed("21:00:06", 50, "SELL", 40, -100, exec_id="c.01"),
        executed("21:03:00", 70, "BUY", 100, 0, client_id=FOREIGN),
    )


def test_a_fill_of_ours_across_zero_that_nobody_was_told_of_breaks_i3(
    tmp_path: Path,
) -> None:
    (violation,) = left_over(tmp_path, moc_twice()).violations
    assert str(violation) == (
        "I3 2026-02-19T21:00:05+00:00 a fill of ours took BLCO from 0 to -60,"
        " and nobody was told by 2026-02-19T21:01:05+00:00"
    )


def test_a_fill_of_ours_across_zero_without_a_journal_breaks_i3() -> None:
    assert laws(judge(moc_twice())) == ["I3"]


@pytest.mark.parametrize("accepted", ["21:00:05", "21:01:05"])
def test_a_crossing_told_within_a_minute_is_lawful(
    tmp_path: Path, accepted: str
) -> None:
    alarm = (accepted, "BLCO: short, look at it")
    assert not laws(left_over(tmp_path, moc_twice(), alarm))


@pytest.mark.parametrize(
    ("accepted", "body"),
    [
        ("21:01:06", "BLCO: short"),
        ("21:00:04", "BLCO: short"),
        ("21:00:30", "LH: short"),
        ("21:00:30", "BLCO.X: short"),
    ],
)
def test_a_crossing_told_late_or_of_another_symbol_breaks_i3(
    tmp_path: Path, accepted: str, body: str
) -> None:
    assert laws(left_over(tmp_path, moc_twice(), (accepted, body))) == ["I3"]


@pytest.mark.parametrize("severity", ["info", "warning"])
def test_only_an_alarm_tells_of_a_crossing(tmp_path: Path, severity: str) -> None:
    told = ("21:00:30", "BLCO: short")
    assert laws(left_over(tmp_path, moc_twice(), told, severity=severity)) == ["I3"]


def test_a_crossing_whose_minute_is_not_over_is_not_judged() -> None:
    assert not laws(judge(moc_twice(), until="21:01:04"))


def test_an_overfill_that_turns_the_position_breaks_i3() -> None:
    assert during_the_day(
        holds("14:31:00", 100),
        sent("15:00:00", 50, "BLCO:X:MKT", "SELL", 100),
        released("15:00:00", 50),
        executed("15:00:01", 50, "SELL", 130, -30),
        status("15:00:01", 50, "Filled", 130, 0),
    ) == ["I3"]


def test_our_exit_after_the_owner_sold_by_hand_breaks_i3() -> None:
    assert during_the_day(
        holds("14:31:00", 100),
        sent("15:00:00", 50, "BLCO:X:MKT", "SELL", 100),
        released("15:00:00", 50),
        executed("15:00:01", 70, "SELL", 100, 0, client_id=FOREIGN),
        executed("15:00:02", 50, "SELL", 100, -100),
        status("15:00:02", 50, "Filled", 100, 0),
    ) == ["I3"]


def test_an_entry_that_turns_a_short_breaks_i3() -> None:
    assert during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        executed("14:36:00", 70, "SELL", 30, -30, client_id=FOREIGN),
        executed("14:37:00", 1, "BUY", 100, 70),
        status("14:37:00", 1, "Filled", 100, 0),
    ) == ["I3"]


def test_a_correction_that_takes_shares_away_after_their_sale_breaks_i3() -> None:
    assert during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        executed("14:36:00", 1, "BUY", 100, 100, exec_id="e0d5.01.01"),
        status("14:36:00", 1, "Filled", 100, 0),
        sent("15:00:00", 50, "BLCO:X:MKT", "SELL", 100),
        released("15:00:00", 50),
        executed("15:00:01", 50, "SELL", 100, 0),
        status("15:00:01", 50, "Filled", 100, 0),
        executed("15:00:02", 1, "BUY", 90, -10, exec_id="e0d5.01.02"),
    ) == ["I3"]


def test_a_second_crossing_after_the_first_was_mended_counts_again() -> None:
    again = sent("15:30:00", 51, "BLCO:X:MKT:2", "SELL", 100)
    assert during_the_day(
        holds("14:31:00", 100),
        sent("15:00:00", 50, "BLCO:X:MKT", "SELL", 100),
        released("15:00:00", 50),
        executed("15:00:01", 50, "SELL", 130, -30),
        status("15:00:01", 50, "Filled", 130, 0),
        executed("15:10:00", 70, "BUY", 130, 100, client_id=FOREIGN),
        again,
        released("15:30:00", 51),
        executed("15:30:01", 51, "SELL", 101, -1),
        status("15:30:01", 51, "Filled", 101, 0),
    ) == ["I3", "I3"]


def test_a_short_of_somebody_elses_is_not_our_crossing() -> None:
    assert not during_the_day(
        executed("14:36:00", 70, "SELL", 30, -30, client_id=FOREIGN)
    )


def test_an_exit_down_to_zero_and_an_entry_from_zero_cross_nothing() -> None:
    assert not during_the_day(
        entered(),
        executed("15:00:00", 2, "SELL", 100, 0),
        status("15:00:00", 2, "Filled", 100, 0),
        closed("15:00:01", 3),
    )


# --- I4 and flatness -----------------------------------------------------------


def left_over(
    tmp_path: Path,
    ledger: Sequence[str],
    *alerts: tuple[str, ...],
    until: str = "21:30:00",
    severity: str = "alarm",
) -> Verdict:
    tmp_path.mkdir(exist_ok=True)
    journal = write_journal(
        tmp_path / "journal.sqlite", ledger, alerts=alerts, severity=severity
    )
    return judge(ledger, journal=journal, until=until)


CARRIED = [holds("14:31:00", 181), holds("14:31:00", 15, "LH")]
ALERT = "will not close: BLCO 181, LH 15"


def test_a_position_at_close_and_no_alert_breaks_i4(tmp_path: Path) -> None:
    verdict = left_over(tmp_path, written(CARRIED))
    assert laws(verdict) == ["I4"]
    assert "BLCO 181 by 2026-02-19T20:50:00+00:00" in verdict.violations[0].text
    assert verdict.flat == {DAY: False}
    assert not verdict.all_flat
    assert verdict.positions_at_end == {
        (ACCOUNT, "BLCO"): Decimal(181),
        (ACCOUNT, "LH"): Decimal(15),
    }


def test_a_position_without_a_journal_breaks_i4() -> None:
    assert laws(judge(written(CARRIED))) == ["I4"]


def test_an_alert_with_the_exact_remainder_in_time_is_lawful_but_not_flat(
    tmp_path: Path,
) -> None:
    verdict = left_over(tmp_path, written(CARRIED), ("20:49:59", ALERT))
    assert verdict.violations == ()
    assert verdict.flat == {DAY: False}


@pytest.mark.parametrize(
    ("accepted", "text"),
    [
        ("20:50:01", ALERT),
        ("14:29:59", ALERT),
        ("20:49:00", "will not close: BLCO 181, LH 16"),
        ("20:49:00", "will not close: BLCO 1810, LH 15"),
        ("20:49:00", "will not close: BLCO 181"),
        ("20:49:00", "will not close: XBLCO 181, LH 15"),
        ("20:49:00", "two positions will not close"),
    ],
)
def test_an_alert_that_is_late_or_not_exact_breaks_i4(
    tmp_path: Path, accepted: str, text: str
) -> None:
    assert laws(left_over(tmp_path, written(CARRIED), (accepted, text))) == ["I4"]


@pytest.mark.parametrize(
    "text",
    [
        "will not close: 181 shares of BLCO; 15 shares of LH",
        "BLCO: +181\nLH: +15",
        "sell 181 BLCO, sell 15 LH",
        "BLCO 181.0, LH 15.00",
    ],
)
def test_the_wording_of_an_alert_is_free(tmp_path: Path, text: str) -> None:
    assert not laws(left_over(tmp_path, written(CARRIED), ("20:49:00", text)))


def test_thousands_may_be_grouped(tmp_path: Path) -> None:
    ledger = written(holds("14:31:00", 1234))
    assert not laws(left_over(tmp_path, ledger, ("20:49:00", "BLCO 1,234 remain")))


def test_an_alert_that_no_channel_accepted_counts_nothing(tmp_path: Path) -> None:
    ledger = written(CARRIED)
    journal = write_journal(
        tmp_path / "journal.sqlite", ledger, alerts=[("20:49:00", ALERT)]
    )
    with closing(sqlite3.connect(journal)) as db:
        db.execute("DELETE FROM acceptances")
        db.commit()
    assert laws(judge(ledger, journal=journal)) == ["I4"]


@pytest.mark.parametrize("severity", ["info", "warning"])
def test_only_an_alarm_tells_of_what_is_left(tmp_path: Path, severity: str) -> None:
    ledger = written(CARRIED)
    told = ("20:49:00", ALERT)
    assert laws(left_over(tmp_path / "a", ledger, told, severity=severity)) == ["I4"]
    assert not laws(left_over(tmp_path / "b", ledger, told, severity="alarm"))


def test_all_is_well_does_not_tell_of_what_is_left(tmp_path: Path) -> None:
    # No print in the auction: "working" was said of the order that never traded.
    ledger = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 181),
        released("20:40:00", 50),
        status("21:04:00", 50, "Cancelled", 0, 181),
    )
    well = ("20:40:13", "SELL 181 BLCO MOC: working")
    assert laws(left_over(tmp_path / "a", ledger, well, severity="info")) == ["I4"]
    assert laws(left_over(tmp_path / "b", ledger, well)) == ["I4"]
    told = ("21:04:30", "BLCO 181 did not trade")
    assert not laws(left_over(tmp_path / "c", ledger, well, told))


def test_an_alarm_before_the_cause_tells_nothing(tmp_path: Path) -> None:
    refused = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 181),
        error("20:40:01", 50, 383),
    )
    assert laws(left_over(tmp_path / "a", refused, ("20:40:00", "BLCO 181"))) == ["I4"]
    assert not laws(left_over(tmp_path / "b", refused, ("20:40:01", "BLCO 181")))


def test_an_alarm_of_the_bare_part_tells_not_of_what_fails_later(
    tmp_path: Path,
) -> None:
    ledger = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 100),
        released("20:40:00", 50),
        status("21:04:00", 50, "Cancelled", 0, 100),
    )
    part, whole = ("20:49:00", "BLCO 81 bare"), ("21:04:30", "BLCO 181 left")
    assert laws(left_over(tmp_path / "a", ledger, part)) == ["I4"]
    assert not laws(left_over(tmp_path / "b", ledger, part, whole))
    again = ("21:04:30", "BLCO 81 left")
    assert laws(left_over(tmp_path / "c", ledger, part, again)) == ["I4"]


def test_an_alarm_before_the_bell_tells_not_of_an_order_that_never_prints(
    tmp_path: Path,
) -> None:
    ledger = written(
        holds("14:31:00", 181), moc("20:40:00", 50, 181), released("20:40:00", 50)
    )
    # The order that lives on is a breach of its own.
    early, late = ("20:40:13", "BLCO 181: working"), ("21:05:30", "BLCO 181 left")
    assert laws(left_over(tmp_path / "a", ledger, early)) == ["I7", "I4"]
    assert laws(left_over(tmp_path / "b", ledger, early, late)) == ["I7"]


def test_what_was_told_stays_told_when_a_last_attempt_fails(tmp_path: Path) -> None:
    ledger = written(
        holds("14:31:00", 181),
        moc("20:49:00", 50, 181),
        released("20:49:00", 50),
        status("20:55:00", 50, "Cancelled", 0, 181),
    )
    assert not laws(left_over(tmp_path, ledger, ("20:48:30", "BLCO 181 bare")))


def test_shares_that_come_late_without_an_order_are_told_within_a_minute(
    tmp_path: Path,
) -> None:
    ledger = written(holds("20:55:00", 181))
    assert not laws(left_over(tmp_path / "a", ledger, ("20:55:59", "BLCO 181")))
    assert laws(left_over(tmp_path / "b", ledger, ("20:56:01", "BLCO 181"))) == ["I4"]


def test_an_overfill_at_the_bell_is_told_within_a_minute(tmp_path: Path) -> None:
    ledger = written(
        holds("14:31:00", 100),
        moc("20:40:00", 50, 100),
        released("20:40:00", 50),
        executed("21:00:04", 50, "SELL", 130, -30),
        status("21:00:04", 50, "Filled", 130, 0),
    )
    assert not laws(left_over(tmp_path / "a", ledger, ("21:01:00", "BLCO short 30")))
    assert laws(left_over(tmp_path / "b", ledger, ("21:02:00", "BLCO short 30"))) == [
        "I3",
        "I4",
    ]


def test_the_logs_acceptance_counts_only_where_the_log_is_alone(
    tmp_path: Path,
) -> None:
    ledger = written(CARRIED)
    logged = ("20:49:00", ALERT, "log")
    other = ("14:40:00", "good morning", "telegram")
    assert not laws(left_over(tmp_path / "a", ledger, logged))
    assert laws(left_over(tmp_path / "b", ledger, logged, other)) == ["I4"]
    heard = ("20:49:00", ALERT, "telegram")
    assert not laws(left_over(tmp_path / "c", ledger, logged, other, heard))


def test_an_alarm_that_the_log_had_in_time_and_telegram_late_breaks_i4(
    tmp_path: Path,
) -> None:
    ledger = written(CARRIED)
    journal = write_journal(
        tmp_path / "journal.sqlite", ledger, alerts=[("20:49:00", ALERT, "log")]
    )
    with closing(sqlite3.connect(journal)) as db:
        late = "2026-02-19T20:51:00+00:00"
        db.execute("INSERT INTO acceptances VALUES (1, 'telegram', ?)", (late,))
        db.commit()
    assert laws(judge(ledger, journal=journal)) == ["I4"]


def test_a_session_that_was_down_is_named_and_stays_a_violation(
    tmp_path: Path,
) -> None:
    up = line("14:32:00", "connected", client_id=OURS)
    down = line("19:00:00", "disconnected", client_id=OURS)
    (dead,) = left_over(tmp_path / "a", written(CARRIED, up, down)).violations
    assert dead.law == "I4"
    assert dead.text.endswith("our session is down since 2026-02-19T19:00:00+00:00")
    back = line("20:30:00", "connected", client_id=OURS)
    (alive,) = left_over(tmp_path / "b", written(CARRIED, up, down, back)).violations
    assert alive.law == "I4"
    assert "down" not in alive.text


def test_what_was_told_and_then_partly_sold_is_lawful(tmp_path: Path) -> None:
    ledger = written(
        holds("14:31:00", 181),
        executed("20:55:00", 70, "SELL", 81, 100, client_id=FOREIGN),
    )
    assert not laws(
        left_over(tmp_path, ledger, ("20:49:00", "BLCO 181 will not close"))
    )


def test_no_print_in_the_auction_is_told_within_a_minute_of_the_judgement(
    tmp_path: Path,
) -> None:
    ledger = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 181),
        released("20:40:00", 50),
        status("21:04:00", 50, "Cancelled", 0, 181),
    )
    assert not laws(
        left_over(tmp_path, ledger, ("21:05:00", "BLCO 181 has not closed"))
    )
    later = tmp_path / "later"
    later.mkdir()
    assert laws(left_over(later, ledger, ("21:05:01", "BLCO 181 has not closed"))) == [
        "I4"
    ]


def test_a_closing_order_refused_late_is_told_within_a_minute(tmp_path: Path) -> None:
    ledger = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 181),
        released("20:40:00", 50),
        status("20:53:00", 50, "Cancelled", 0, 181),
        error("20:53:00", 50, 354),
    )
    assert not laws(left_over(tmp_path, ledger, ("20:53:59", "BLCO 181 has no order")))


def test_a_closing_order_refused_early_is_told_before_the_cutoff(
    tmp_path: Path,
) -> None:
    ledger = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 181),
        error("20:40:01", 50, 383),
    )
    assert laws(left_over(tmp_path, ledger, ("20:51:00", "BLCO 181 has no order"))) == [
        "I4"
    ]


def test_what_was_bare_before_the_decision_is_told_before_the_cutoff(
    tmp_path: Path,
) -> None:
    ledger = written(
        holds("14:31:00", 181),
        sent("20:52:00", 50, "BLCO:X:MKT", "SELL", 181),
        error("20:53:00", 50, 201),
    )
    alert = ("20:53:30", "BLCO 181 has no order")
    assert laws(left_over(tmp_path, ledger, alert)) == ["I4"]


def test_what_happens_after_the_cause_gives_no_more_time(tmp_path: Path) -> None:
    ledger = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 181),
        released("20:40:00", 50),
        status("20:53:00", 50, "Cancelled", 0, 181),
        executed("20:59:00", 70, "SELL", 81, 100, client_id=FOREIGN),
    )
    assert laws(left_over(tmp_path, ledger, ("20:59:30", "BLCO 100 left"))) == ["I4"]


def test_a_closing_order_that_never_prints_is_told_after_the_judgement(
    tmp_path: Path,
) -> None:
    ledger = written(
        holds("14:31:00", 181), moc("20:40:00", 50, 181), released("20:40:00", 50)
    )
    # The order that lives on is a breach of its own.
    assert laws(left_over(tmp_path, ledger, ("21:05:59", "BLCO 181 left"))) == ["I7"]


def test_an_entry_that_fills_late_is_told_within_a_minute(tmp_path: Path) -> None:
    ledger = written(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        executed("20:59:00", 1, "BUY", 100, 100),
        status("20:59:00", 1, "Filled", 100, 0),
    )
    assert not laws(left_over(tmp_path, ledger, ("20:59:30", "BLCO 100 bought late")))
    later = tmp_path / "later"
    later.mkdir()
    assert laws(left_over(later, ledger, ("21:00:30", "BLCO 100 bought late"))) == [
        "I4"
    ]


def test_an_auction_fill_up_to_five_minutes_late_is_flat() -> None:
    ledger = written(
        holds("14:31:00", 181),
        moc("20:40:00", 50, 181),
        released("20:40:00", 50),
        executed("21:05:00", 50, "SELL", 181, 0),
        status("21:05:00", 50, "Filled", 181, 0),
    )
    verdict = judge(ledger)
    assert verdict.violations == ()
    assert verdict.flat == {DAY: True}


def test_a_short_is_not_flat() -> None:
    assert judge(written(holds("14:31:00", -5))).flat == {DAY: False}


def test_the_ignore_list_knows_symbols_and_patterns() -> None:
    ledger = written(holds("14:31:00", 300, "AVDL.CVR"))
    assert judge(ledger).flat == {DAY: False}
    assert judge(ledger, ignore=["AVDL.CVR"]).flat == {DAY: True}
    assert judge(ledger, ignore=["*.CVR"]).flat == {DAY: True}
    assert judge(ledger, ignore=["AVDL"]).flat == {DAY: False}
    assert judge(ledger, ignore=["*.CVR"]).positions_at_end == {
        (ACCOUNT, "AVDL.CVR"): Decimal(300)
    }


def test_a_fraction_of_a_share_is_not_in_scope() -> None:
    fraction = holds("14:31:00", 0).replace('"0"', '"0.4"')
    assert judge(written(fraction)).flat == {DAY: True}
    more = holds("14:31:00", 0).replace('"0"', '"-1.4"')
    assert judge(written(more)).flat == {DAY: False}


def test_another_account_is_not_ours_to_close() -> None:
    assert judge(written(holds("14:31:00", 5, account="DU7"))).flat == {DAY: True}


def test_scope_own_asks_for_our_own_executions_only() -> None:
    ledger = written(
        holds("14:31:00", 70), entry("14:35:00", 1), released("14:35:00", 1)
    )
    bought = executed("14:36:00", 1, "BUY", 100, 170)
    filled = status("14:36:00", 1, "Filled", 100, 0)
    assert judge(ledger, scope="own", until="21:05:00").flat == {DAY: True}
    held = judge([*ledger, *bought, filled], scope="own", until="21:05:00")
    assert held.flat == {DAY: False}


def owned(*later: Iterable[str] | str) -> dict[date, bool]:
    """Return whether we are flat after a purchase of 100 and what came *later*."""
    bought = [
        entry("14:35:00", 1),
        *released("14:35:00", 1),
        *executed("14:36:00", 1, "BUY", 100, 170),
        status("14:36:00", 1, "Filled", 100, 0),
    ]
    ledger = written(holds("14:31:00", 70), bought, *later)
    return judge(ledger, scope="own", until="21:05:00").flat


def test_scope_own_asks_not_for_what_the_owner_sold_by_hand() -> None:
    sold_all = executed("16:00:00", 70, "SELL", 170, 0, client_id=FOREIGN)
    assert owned(sold_all) == {DAY: True}
    turned = executed("16:00:00", 70, "SELL", 200, -30, client_id=FOREIGN)
    assert owned(turned) == {DAY: True}
    sold_most = executed("16:00:00", 70, "SELL", 169, 1, client_id=FOREIGN)
    assert owned(sold_most) == {DAY: False}
    assert owned() == {DAY: False}


def test_scope_own_asks_for_what_is_still_there(tmp_path: Path) -> None:
    ledger = written(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        executed("14:36:00", 1, "BUY", 100, 100),
        status("14:36:00", 1, "Filled", 100, 0),
        executed("16:00:00", 70, "SELL", 40, 60, client_id=FOREIGN),
    )
    alerts = [("20:49:00", "BLCO 60 will not close")]
    journal = write_journal(tmp_path / "a.sqlite", ledger, alerts=alerts)
    assert not laws(judge(ledger, journal=journal, scope="own"))
    alerts = [("20:49:00", "BLCO 100 will not close")]
    journal = write_journal(tmp_path / "b.sqlite", ledger, alerts=alerts)
    assert laws(judge(ledger, journal=journal, scope="own")) == ["I4"]


# --- I7 ------------------------------------------------------------------------


def test_an_order_that_lives_after_its_session_breaks_i7() -> None:
    ledger = written(entry("14:35:00", 1), released("14:35:00", 1))
    verdict = judge(ledger)
    assert laws(verdict) == ["I7"]
    assert "outlives its session" in verdict.violations[0].text
    assert verdict.violations[0].at == datetime(2026, 2, 19, 21, 5, tzinfo=UTC)


def test_an_order_that_dies_at_the_last_moment_is_lawful() -> None:
    assert not laws(
        judge(
            written(
                entry("14:35:00", 1), released("14:35:00", 1), closed("21:05:00", 1)
            )
        )
    )


def test_an_order_for_the_next_session_may_live() -> None:
    queued = entry("20:30:00", 1, order_ref="ibkrd:20260220:BLCO:X:MKT")
    ledger = written(holds("20:00:00", -100), queued, released("20:30:00", 1))
    verdict = judge(ledger, ignore=["BLCO"])
    assert not laws(verdict)


def test_an_order_that_was_never_transmitted_is_no_working_order() -> None:
    assert not laws(judge(written(entry("14:35:00", 1, transmit=False))))


def test_a_stop_that_outlives_its_position_breaks_i7() -> None:
    # DTE, 2026-05-01: the exit sold the shares, the bracket's stop was still live.
    ledger = written(
        entered(), executed("16:00:00", 70, "SELL", 100, 0, client_id=FOREIGN)
    )
    verdict = judge(ledger, until="16:01:00.1")
    assert laws(verdict) == ["I7", "I7"]
    assert verdict.violations[0].at == datetime(2026, 2, 19, 16, 1, tzinfo=UTC)


def test_a_stop_that_dies_within_a_minute_is_lawful() -> None:
    assert not during_the_day(
        entered(),
        executed("16:00:00", 70, "SELL", 100, 0, client_id=FOREIGN),
        closed("16:00:59", 2, 3),
    )


def test_a_stop_with_a_short_position_breaks_i7() -> None:
    assert during_the_day(
        entered(), executed("16:00:00", 70, "SELL", 130, -30, client_id=FOREIGN)
    ) == ["I7", "I7"]


def test_a_stop_whose_cancel_was_asked_for_is_the_brokers_to_end() -> None:
    asked = [
        line(
            "16:00:30",
            "cancel_requested",
            client_id=OURS,
            order_id=one,
            perm_id=9000 + one,
        )
        for one in (2, 3)
    ]
    assert not during_the_day(
        entered(), executed("16:00:00", 70, "SELL", 100, 0, client_id=FOREIGN), asked
    )


def test_a_global_cancel_asks_for_all() -> None:
    assert not during_the_day(
        entered(),
        executed("16:00:00", 70, "SELL", 100, 0, client_id=FOREIGN),
        line("16:00:30", "global_cancel", client_id=OURS),
    )


def test_children_of_a_working_parent_may_wait_without_a_position() -> None:
    assert not during_the_day(bracket_sent("14:35:00", 100, "A", 1))


def test_children_of_a_dead_parent_may_not_live_on() -> None:
    assert during_the_day(
        bracket_sent("14:35:00", 100, "A", 1), closed("15:00:00", 1)
    ) == ["I7", "I7"]


def test_a_new_fill_ends_the_idleness() -> None:
    assert not during_the_day(
        entered(),
        executed("16:00:00", 70, "SELL", 100, 0, client_id=FOREIGN),
        executed("16:00:30", 71, "BUY", 100, 100, client_id=FOREIGN),
        executed("16:02:00", 70, "SELL", 100, 0, client_id=FOREIGN, exec_id="x.1"),
        closed("16:02:30", 2, 3),
    )


def test_nobody_can_cancel_while_our_session_is_down() -> None:
    down = [
        line("14:31:00", "connected", client_id=OURS),
        *entered(),
        line("15:59:00", "disconnected", client_id=OURS),
        *executed("16:00:00", 70, "SELL", 100, 0, client_id=FOREIGN),
        line("16:30:00", "connected", client_id=OURS),
    ]
    assert not during_the_day(down, closed("16:30:59", 2, 3))
    assert during_the_day(down) == ["I7", "I7"]


def test_a_moc_that_nobody_may_cancel_any_more_is_lawful() -> None:
    frozen = written(
        holds("14:31:00", 100),
        moc("20:40:00", 50, 100),
        released("20:40:00", 50),
        executed("20:52:00", 70, "SELL", 100, 0, client_id=FOREIGN),
        status("21:00:05", 50, "Cancelled", 0, 100),
    )
    assert not laws(judge(frozen))


def test_a_moc_that_could_still_be_cancelled_breaks_i7() -> None:
    ledger = written(
        holds("14:31:00", 100),
        moc("20:40:00", 50, 100),
        released("20:40:00", 50),
        executed("20:45:00", 70, "SELL", 100, 0, client_id=FOREIGN),
        status("21:00:05", 50, "Cancelled", 0, 100),
    )
    assert laws(judge(ledger)) == ["I7"]


def test_working_orders_of_other_clients_are_not_judged() -> None:
    foreign = entry("14:35:00", 1, client_id=FOREIGN)
    assert not laws(judge(written(foreign, released("14:35:00", 1))))


# --- I11 -----------------------------------------------------------------------


@pytest.mark.parametrize("account", ["U7654321", "", "du1234567"])
def test_an_order_for_an_account_that_is_not_allowed_breaks_i11(account: str) -> None:
    assert during_the_day(entry("14:35:00", 1, account=account)) == ["I11"]


def test_a_modification_for_another_account_breaks_i11() -> None:
    assert during_the_day(
        entry("14:35:00", 1),
        released("14:35:00", 1),
        entry("14:40:00", 1, event="modified", account="U7654321"),
    ) == ["I11"]


def test_other_clients_may_trade_their_own_accounts() -> None:
    assert not during_the_day(
        entry("14:35:00", 1, client_id=FOREIGN, account="U7654321")
    )
