from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from daemon.core.model import Side
from daemon.core.redact import Redactor, mask_account

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("account DU1234567 is flat", "account DU***567 is flat"),
        ("account U7654321 is flat", "account U***321 is flat"),
        ("DUM123456", "DUM***456"),
        ("600.0/DU1234567/100,DU7654321", "600.0/DU***567/100,DU***321"),
        ("account=DU1234567_x", "account=DU***567_x"),
        (f"POST /bot{TOKEN}/sendMessage", "POST /bot***/sendMessage"),
        (f"/bot{TOKEN.replace(':', '%3A')}/sendMessage", "/bot***/sendMessage"),
        ("ibkrd:20260219:BLCO:B:TP", "ibkrd:20260219:BLCO:B:TP"),
        (
            "U.S. 2026-02-19T20:40:00Z MU 1234567",
            "U.S. 2026-02-19T20:40:00Z MU 1234567",
        ),
        ("0000e0d5.67a1b2c3.01.01", "0000e0d5.67a1b2c3.01.01"),
    ],
)
def test_accounts_and_tokens_are_known_by_their_shape(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


def test_configured_values_are_masked_exactly() -> None:
    redactor = Redactor(
        frozenset({"F123456", "hunter2", "hunter2 and more", "a b", ""})
    )
    assert redactor.text("F123456 of F1234567") == "F***456 of F***4567"
    assert redactor.text("hunter2, hunter2 and more.") == "***, ***."
    assert redactor.text("?q=a%20b") == "?q=***"


def test_the_mask_of_an_account_is_stable_and_stays_masked() -> None:
    assert mask_account("DU1234567") == "DU***567"
    assert Redactor().text("DU***567") == "DU***567"


def test_nested_values_are_masked_throughout() -> None:
    value = {
        "DU1234567": [("U7654321", {"deep": f"x{TOKEN}/"}), frozenset({b"DU1234567"})],
        "error": ValueError("account DU1234567"),
        "path": Path("/srv/DU1234567"),
    }
    assert Redactor().value(value) == {
        "DU***567": [["U***321", {"deep": "x***/"}], ["DU***567"]],
        "error": "ValueError('account DU***567')",
        "path": "/srv/DU***567",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1234567, 1234567),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (Decimal("115.79"), "115.79"),
        (date(2026, 2, 19), "2026-02-19"),
        (datetime(2026, 2, 19, 14, tzinfo=UTC), "2026-02-19T14:00:00+00:00"),
        (Side.BUY, "BUY"),
    ],
)
def test_values_become_what_json_can_hold(value: object, shown: object) -> None:
    found = Redactor().value(value)
    assert found == shown
    assert type(found) is type(shown)
