from __future__ import annotations

from datetime import date

import pytest

from daemon.core.codes import RULES
from daemon.core.model import Notice, OrderState
from daemon.core.notices import (
    Disposition,
    classify,
    describe,
    queued_beyond,
    rule,
)

SESSION = date(2026, 2, 19)


@pytest.mark.parametrize(
    ("code", "disposition"),
    [
        (103, Disposition.UNKNOWN),
        (105, Disposition.ORDER_LIVES),
        (110, Disposition.REJECTED),
        (113, Disposition.REJECTED),
        (135, Disposition.UNKNOWN),
        (161, Disposition.UNKNOWN),
        (163, Disposition.REJECTED),
        (200, Disposition.REJECTED),
        (201, Disposition.REJECTED),
        (202, Disposition.CANCELLED),
        (321, Disposition.REJECTED),
        (326, Disposition.CONNECTION),
        (329, Disposition.ORDER_LIVES),
        (354, Disposition.REJECTED),
        (383, Disposition.REJECTED),
        (387, Disposition.REJECTED),
        (399, Disposition.ORDER_LIVES),
        (404, Disposition.ORDER_LIVES),
        (502, Disposition.CONNECTION),
        (1100, Disposition.CONNECTION),
        (1101, Disposition.CONNECTION),
        (1102, Disposition.CONNECTION),
        (1300, Disposition.CONNECTION),
        (2104, Disposition.NOTICE),
        (2102, Disposition.ORDER_LIVES),
        (2109, Disposition.ORDER_LIVES),
        (2110, Disposition.CONNECTION),
        (10006, Disposition.REJECTED),
        (10147, Disposition.UNKNOWN),
        (10149, Disposition.UNKNOWN),
        (10197, Disposition.NOTICE),
        (10311, Disposition.REJECTED),
        (10349, Disposition.ORDER_LIVES),
    ],
)
def test_a_code_on_an_order_just_sent_has_one_disposition(
    code: int, disposition: Disposition
) -> None:
    assert classify(code, "", OrderState.SENT) is disposition


PROTOCOL_CODES = """
    100 103 104 105 329 109 110 111 113 135 136 161 200 201 202 203 321 322 326 354
    382 383 388 10318 387 391 399 404 413 434 435 481 462 478 10268 10269 10270
    502 504 507 10006 10147 10148 10149 10197 10311 10329 10335 10341 10349
    2100 2101 2102 2103 2104 2105 2106 2107 2108 2109 2110 2119 2137 2157 2158 2168
    2169 1100 1101 1102 1300 163 320 323 105 202
"""


@pytest.mark.parametrize("code", [int(word) for word in PROTOCOL_CODES.split()])
def test_every_code_of_the_protocol_has_a_meaning_and_a_remedy(code: int) -> None:
    assert RULES[code].code == code
    assert RULES[code].meaning
    assert RULES[code].remedy


@pytest.mark.parametrize(
    ("code", "text", "state", "disposition"),
    [
        (201, "Order rejected - reason:Exchange is closed.", "sent", "rejected"),
        (201, "Order rejected - reason:No such route.", "acknowledged", "rejected"),
        (201, "Order rejected - reason:Margin.", "working", "unknown"),
        (
            201,
            "Order rejected - reason:Cannot modify this order.",
            "working",
            "order_lives",
        ),
        (201, "Order rejected - reason:Unmodified.", "working", "unknown"),
        (354, "Requested market data is not subscribed.", "working", "rejected"),
        (383, "Size 560 is over the limit 500.", "working", "unknown"),
        (10148, "OrderId 7 cannot be cancelled, state: Filled.", "working", "filled"),
        (10148, "OrderId 7 ..., state: Cancelled.", "working", "cancelled"),
        (10148, "OrderId 7 ..., state: PendingCancel", "working", "order_lives"),
        (10148, "OrderId 7 cannot be cancelled", "working", "unknown"),
        (202, "Order Canceled - reason:", "working", "cancelled"),
        (
            10349,
            "Order TIF was set to DAY based on order preset.",
            "sent",
            "order_lives",
        ),
    ],
)
def test_text_and_state_decide_where_the_code_alone_does_not(
    code: int, text: str, state: str, disposition: str
) -> None:
    assert classify(code, text, OrderState(state)) == disposition


@pytest.mark.parametrize(
    ("code", "place"),
    [
        (100, "Configuration > API > Settings > clear 'Reject messages above maximum"),
        (163, "Configuration > Presets > Stocks > Percentage"),
        (321, "Configuration > API > Settings > clear Read-Only API"),
        (354, "Configuration > API > Precautions > Bypass Order Precautions for API"),
        (382, "Configuration > Presets > Stocks > Number of Ticks"),
        (383, "Configuration > Presets > Stocks > Size Limit"),
        (435, "config.toml: set account.id"),
        (460, "Client Portal > Settings > Trading Permissions"),
        (502, "Configuration > API > Settings > Enable ActiveX and Socket Clients"),
        (10311, "Configuration > API > Precautions > Bypass Redirect Order warning"),
        (10341, "Configuration > API > Precautions > Bypass Order Precautions"),
        (10349, "Configuration > Presets > Stocks > Time in Force"),
    ],
)
def test_what_a_setting_causes_names_the_place_of_the_setting(
    code: int, place: str
) -> None:
    assert place in rule(code).remedy


@pytest.mark.parametrize("code", sorted(RULES))
def test_a_line_of_the_table_is_short_and_in_one_piece(code: int) -> None:
    """It stands in an alert on a telephone, behind the gateway's own text."""
    known = RULES[code]
    assert 0 < len(known.meaning) <= 64
    assert 0 < len(known.remedy) <= 140
    assert "\n" not in known.meaning + known.remedy
    assert not known.meaning.endswith(".")
    assert not known.remedy.endswith(".")


def test_an_unlisted_code_says_so_and_concludes_nothing() -> None:
    assert rule(987654).disposition is Disposition.UNKNOWN
    assert "987654" in rule(987654).meaning


def test_an_unlisted_code_of_the_system_range_is_a_notice() -> None:
    assert rule(2187).disposition is Disposition.NOTICE
    assert rule(2200).disposition is Disposition.UNKNOWN


HELD = "Order Message:\nSELL 235 EVRG\nWarning: your order will not be placed at the"


@pytest.mark.parametrize(
    ("code", "text", "later"),
    [
        (399, f"{HELD} exchange until 2026-02-20 09:30:00 US/Eastern", True),
        (399, f"{HELD} exchange until 20260220 09:30:00 US/Eastern", True),
        (399, f"{HELD} exchange until 2026-02-19 16:00:00 US/Eastern", False),
        (399, f"{HELD} exchange until the next session", True),
        (399, f"{HELD} exchange until 2026-99-99", True),
        (399, "Order Message: price capped", False),
        (404, f"{HELD} exchange until 2026-02-20", False),
    ],
)
def test_a_closing_order_held_for_a_later_day_is_recognised(
    code: int, text: str, later: bool
) -> None:
    assert queued_beyond(Notice(7, code, text), SESSION) is later


def test_the_line_for_a_person_names_code_reason_and_remedy() -> None:
    line = describe(Notice(7, 383, "Size 611 is over\nthe limit 500"))
    assert line == (
        "383: the size is over the preset's limit (Size 611 is over the limit 500);"
        " gateway: raise the preset's size limit, or set size_preset to it so that"
        " orders are split (Configuration > Presets > Stocks > Size Limit)"
    )
