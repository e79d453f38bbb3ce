from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from daemon.core.model import Account, RowStatus, Session
from daemon.core.plan import Plan, PlanRow
from daemon.core.preview import coming_session, preview_plan
from daemon.core.rules import TradingRules

THURSDAY = Session(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
FRIDAY = Session(
    date(2026, 2, 20),
    datetime(2026, 2, 20, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 20, 21, 0, tzinfo=UTC),
)
WINDOW_ENDS = datetime(2026, 2, 19, 15, 0, tzinfo=UTC)
RULES = TradingRules(account=Account(""))
NOV = PlanRow(
    line=2,
    symbol="NOV",
    limit_price=Decimal("19.64"),
    quantity=292,
    stop_loss=Decimal("19.05"),
    take_profit_1=Decimal("20.23"),
    take_profit_2=Decimal("20.82"),
)


def plan(*rows):
    return Plan(rows=rows, problems=())


def preview(*rows, rules=RULES):
    return preview_plan(plan(*rows), THURSDAY, rules)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 2, 19, 0, 0, tzinfo=UTC), THURSDAY),
        (WINDOW_ENDS - timedelta(seconds=1), THURSDAY),
        (WINDOW_ENDS, FRIDAY),
        (datetime(2026, 2, 19, 20, 0, tzinfo=UTC), FRIDAY),
        (datetime(2026, 2, 20, 15, 0, tzinfo=UTC), None),
    ],
)
def test_the_coming_session_is_the_first_whose_submit_window_is_not_over(now, expected):
    assert coming_session([THURSDAY, FRIDAY], now) is expected


def test_without_sessions_there_is_none_coming():
    assert coming_session([], WINDOW_ENDS) is None


def test_a_row_shows_its_six_orders_as_they_would_be_sent():
    seen = preview(NOV)
    assert [
        (o.order_ref, o.quantity, o.limit_price or o.stop_price) for o in seen.orders
    ] == [
        ("ibkrd:20260219:NOV:A:EN", 96, Decimal("19.64")),
        ("ibkrd:20260219:NOV:A:TP", 96, Decimal("20.23")),
        ("ibkrd:20260219:NOV:A:SL", 96, Decimal("19.05")),
        ("ibkrd:20260219:NOV:B:EN", 196, Decimal("19.64")),
        ("ibkrd:20260219:NOV:B:TP", 196, Decimal("20.82")),
        ("ibkrd:20260219:NOV:B:SL", 196, Decimal("19.05")),
    ]
    assert (seen.rows, seen.to_submit, seen.left_out) == (1, 1, ())
    assert seen.notional == Decimal("5734.88")


@pytest.mark.parametrize(
    ("changes", "rules", "status", "reason"),
    [
        (
            {"quantity": 1},
            RULES,
            RowStatus.SKIPPED,
            "quantity 1 is below 2: it makes no two brackets",
        ),
        (
            {"symbol": "AVDL.CVR"},
            RULES,
            RowStatus.SKIPPED,
            "AVDL.CVR is on the ignore list (*.CVR)",
        ),
        (
            {},
            replace(RULES, row_limit_usd=Decimal(5_000)),
            RowStatus.SKIPPED,
            "292 x 19.64 = 5734.88 USD is above the row limit of 5000 USD",
        ),
        (
            {"stop_loss": Decimal("19.639")},
            RULES,
            RowStatus.REFUSED,
            "in ticks of 0.01 stop 19.64 < entry 19.64 < take-profit 20.23",
        ),
    ],
)
def test_a_row_that_would_not_be_sent_is_left_out_with_its_reason(
    changes, rules, status, reason
):
    seen = preview(replace(NOV, **changes), rules=rules)
    (left,) = seen.left_out
    assert (left.line, left.status) == (2, status)
    assert left.reason.startswith(reason)
    assert (seen.rows, seen.to_submit, seen.orders) == (1, 0, ())
    assert seen.notional == 0


def test_rows_left_out_do_not_stop_the_others():
    refused = replace(NOV, line=3, symbol="LH", stop_loss=Decimal("19.639"))
    small = replace(NOV, line=4, symbol="MRNA", quantity=0)
    seen = preview(NOV, refused, small)
    assert (seen.rows, seen.to_submit, len(seen.orders)) == (3, 1, 6)
    assert sorted(left.symbol for left in seen.left_out) == ["LH", "MRNA"]
    assert seen.notional == Decimal("5734.88")


def test_an_empty_plan_asks_for_nothing():
    seen = preview()
    assert (seen.rows, seen.to_submit, seen.orders, seen.notional) == (0, 0, (), 0)
