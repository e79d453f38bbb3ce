from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from daemon.fakegateway.ledger import Ledger

AT = datetime(2026, 2, 19, 15, 35, tzinfo=UTC)


def test_a_record_is_one_compact_line_with_keys_as_written():
    lines: list[str] = []
    Ledger(lines.append).write(
        "status", AT, perm_id=5, status="Filled", filled=Decimal(3)
    )
    (line,) = lines
    assert line == (
        '{"event":"status","at":"2026-02-19T15:35:00.000000+00:00",'
        '"perm_id":5,"status":"Filled","filled":"3"}\n'
    )


@pytest.mark.parametrize(
    ("number", "spelling"),
    [
        ("10.0", "10"),
        ("1E+2", "100"),
        ("115.50", "115.5"),
        ("0.000", "0"),
        ("-5", "-5"),
    ],
)
def test_a_number_has_one_spelling(number, spelling):
    ledger = Ledger()
    ledger.write("position", AT, quantity=Decimal(number))
    assert ledger.records[0]["quantity"] == spelling


def test_times_are_utc_whatever_zone_they_came_in():
    ledger = Ledger()
    budapest = timezone(timedelta(hours=1))
    ledger.write(
        "x", datetime(2026, 2, 19, 16, 35, tzinfo=budapest), date=date(2026, 2, 19)
    )
    assert ledger.records[0]["at"] == "2026-02-19T15:35:00.000000+00:00"
    assert ledger.records[0]["date"] == "2026-02-19"


def test_records_are_what_the_lines_say():
    lines: list[str] = []
    ledger = Ledger(lines.append)
    ledger.write("placed", AT, limit_price=None, transmit=False, symbol="BRK B")
    ledger.write("executed", AT, price=Decimal("16.30"))
    assert [json.loads(line) for line in lines] == ledger.records


def test_a_value_without_a_place_is_refused():
    with pytest.raises(TypeError, match="no place in the ledger"):
        Ledger().write("x", AT, what={1, 2})
