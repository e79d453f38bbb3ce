from __future__ import annotations

import pytest

from daemon.core.model import Account
from daemon.core.rules import TradingRules


@pytest.mark.parametrize(
    ("symbol", "ignored"),
    [
        ("AVDL.CVR", True),
        ("XYZ", True),
        ("AVDL", False),
        ("CVR", False),
        ("XYZA", False),
        ("avdl.cvr", False),
    ],
)
def test_the_ignore_list_holds_symbols_and_patterns(symbol, ignored):
    rules = TradingRules(account=Account("DU1"), ignore=("*.CVR", "XYZ"))
    assert rules.ignores(symbol) is ignored
