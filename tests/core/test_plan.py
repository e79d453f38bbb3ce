from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.plan import COLUMNS, PlanRow, Problem, parse_plan, split_quantity

HEADER = ",".join(COLUMNS)
WEC = (
    "WEC,BUY,LIMIT,115.79,113,112.26,120.49,122.84,401.38,142.5,positive,"
    "Utilities,0.8027,0.988,1.3,54.51,neutral,False"
)
KMI = (
    "KMI,BUY,LIMIT,27.10,300,26.20,28.30,29.10,401.38,142.5,positive,"
    "Energy,0.8027,0.988,1.3,54.51,neutral,False"
)
SHARE_A = Decimal("0.33")


def parse(text):
    return parse_plan(text, size_preset=500, share_a=SHARE_A)


def plan_of(*rows):
    return "\n".join([HEADER, *rows]) + "\n"


def with_field(column, value, row=WEC):
    fields = row.split(",")
    fields[COLUMNS.index(column)] = value
    return ",".join(fields)


def places(plan):
    return [(problem.line, problem.column) for problem in plan.problems]


def test_the_sample_row_is_read_as_decimals_and_whole_shares():
    plan = parse(plan_of(WEC))
    assert plan.problems == ()
    assert plan.rows == (
        PlanRow(
            line=2,
            symbol="WEC",
            limit_price=Decimal("115.79"),
            quantity=113,
            stop_loss=Decimal("112.26"),
            take_profit_1=Decimal("120.49"),
            take_profit_2=Decimal("122.84"),
            risk_usd=Decimal("401.38"),
            score=Decimal("142.5"),
            sector="Utilities",
        ),
    )
    assert plan.rows[0].notional == Decimal("13084.27")


def test_rows_stand_in_file_order():
    plan = parse(plan_of(WEC, KMI))
    assert [(row.line, row.symbol) for row in plan.rows] == [(2, "WEC"), (3, "KMI")]


@pytest.mark.parametrize(
    "text",
    [
        plan_of(WEC, KMI).replace("\n", "\r\n"),
        "\ufeff" + plan_of(WEC, KMI),
        ("\ufeff" + plan_of(WEC, KMI)).encode(),
        plan_of(WEC, KMI).encode(),
        plan_of(WEC, KMI) + "\n",
        plan_of(WEC, KMI).replace("WEC", " WEC "),
        plan_of(WEC, KMI).replace("Utilities", '"Utilities"'),
    ],
    ids=["crlf", "bom", "bom bytes", "bytes", "blank line", "spaces", "quotes"],
)
def test_a_harmless_form_reads_the_same(text):
    plan, plain = parse(text), parse(plan_of(WEC, KMI))
    assert plan == plain
    assert len(plain.rows) == 2


def test_columns_are_found_by_name_in_any_order_and_others_are_passed_over():
    names = ["note", *reversed(COLUMNS)]
    values = ["=1+1", *reversed(WEC.split(","))]
    plan = parse(f"{','.join(names)}\n{','.join(values)}\n")
    assert plan == parse(plan_of(WEC))


@pytest.mark.parametrize("symbol", ["BRK B", "AVDL.CVR", "BF-B", "T", "3M"])
def test_symbols_may_hold_spaces_dots_and_hyphens(symbol):
    plan = parse(plan_of(with_field("instrument_id", symbol)))
    assert [row.symbol for row in plan.rows] == [symbol]


@pytest.mark.parametrize("quantity", ["0", "1", "113.0", "1.13e2"])
def test_small_or_oddly_written_whole_quantities_are_no_problem(quantity):
    plan = parse(plan_of(with_field("quantity", quantity)))
    assert plan.problems == ()
    assert plan.rows[0].quantity in {0, 1, 113}


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("instrument_id", "", "there is no symbol"),
        ("instrument_id", "wec", "'wec' is not a symbol"),
        ("instrument_id", "=WEC", "'=WEC' is not a symbol"),
        ("instrument_id", "WEC:A", "'WEC:A' is not a symbol"),
        ("instrument_id", "ABCDEFGHIJKLM", "'ABCDEFGHIJKLM' is not a symbol"),
        ("direction", "SELL", "'SELL' is not BUY"),
        ("direction", "", "'' is not BUY"),
        ("order_type", "MARKET", "'MARKET' is not LIMIT"),
        ("limit_price", "abc", "'abc' is not a number"),
        ("limit_price", "", "there is no number"),
        ("limit_price", "NaN", "'NaN' is not a number"),
        ("limit_price", "inf", "'inf' is not a number"),
        ("limit_price", "1_000", "'1_000' is not a number"),
        ("limit_price", "\u0661\u0662", "'\u0661\u0662' is not a number"),
        ("limit_price", "0", "0 is not a price"),
        ("limit_price", "-115.79", "-115.79 is not a price"),
        ("stop_loss", "0.00", "0.00 is not a price"),
        ("stop_loss", "115.79", "115.79 is not below the entry 115.79"),
        ("stop_loss", "116", "116 is not below the entry 115.79"),
        ("take_profit_1", "115.79", "115.79 is not above the entry 115.79"),
        ("take_profit_2", "100", "100 is not above the entry 115.79"),
        ("quantity", "-1", "-1 is not a whole number of shares"),
        ("quantity", "11.5", "11.5 is not a whole number of shares"),
        ("quantity", "nan", "'nan' is not a number"),
        ("quantity", "many", "'many' is not a number"),
        (
            "quantity",
            "750",
            "750 shares make a leg of 502, above the gateway's size preset of 500",
        ),
        ("risk_usd", "-inf", "'-inf' is not a number"),
        ("mult_vix", "nan", "'nan' is not a number"),
        ("sector", "=HYPERLINK()", "'=HYPERLINK()' reads as a formula"),
        ("sector", "@SUM", "'@SUM' reads as a formula"),
    ],
)
def test_a_structural_fault_is_named_by_line_column_and_value(column, value, fault):
    plan = parse(plan_of(KMI, with_field(column, value)))
    assert [(p.line, p.column, p.text) for p in plan.problems] == [(3, column, fault)]
    assert plan.problems[0].remedy


def test_the_largest_leg_may_reach_the_size_preset():
    plan = parse(plan_of(with_field("quantity", "746")))
    assert split_quantity(746, SHARE_A) == (246, 500)
    assert plan.problems == ()


@pytest.mark.parametrize("column", ["risk_usd", "score", "mult_vix", "sector"])
def test_a_figure_for_the_reader_may_be_empty(column):
    assert parse(plan_of(with_field(column, ""))).problems == ()


def test_all_problems_are_listed_at_once_in_file_order():
    plan = parse(
        plan_of(
            with_field("stop_loss", "200", with_field("quantity", "x")),
            KMI + ",surplus",
            with_field("direction", "SELL"),
            KMI,
        )
    )
    assert places(plan) == [
        (2, "quantity"),
        (2, "stop_loss"),
        (3, ""),
        (4, "instrument_id"),
        (4, "direction"),
        (5, "instrument_id"),
    ]
    assert plan.problems[2].text == "19 fields where the header has 18"
    assert plan.problems[3].text == "WEC stands on line 2 already"
    assert plan.problems[5].text == "KMI stands on line 3 already"


def test_a_missing_column_is_refused_and_the_other_columns_are_still_checked():
    text = plan_of(with_field("quantity", "x")).replace("stop_loss", "stop_los")
    plan = parse(text)
    assert plan.problems == (
        Problem(
            1,
            "stop_loss",
            "the column is missing",
            "rename 'stop_los' to 'stop_loss'",
        ),
        Problem(
            2,
            "quantity",
            "'x' is not a number",
            "write a finite number such as 115.79",
        ),
    )
    assert plan.rows == ()


def test_a_column_that_stands_twice_is_refused():
    plan = parse(f"{HEADER},quantity\n{WEC},5\n")
    assert places(plan) == [(1, "quantity")]


def test_a_file_without_a_header_is_refused():
    plan = parse(f"{WEC}\n{KMI}\n")
    assert [(p.line, p.text) for p in plan.problems] == [
        (1, "the header row is missing")
    ]
    assert plan.rows == ()


@pytest.mark.parametrize("text", ["", b"", "\n\n", "\ufeff", "  \r\n"])
def test_an_empty_file_is_refused(text):
    assert [p.text for p in parse(text).problems] == ["the file is empty"]


def test_a_header_without_rows_is_refused():
    plan = parse(HEADER + "\n\n")
    assert [p.text for p in plan.problems] == ["there is a header but no row"]


@pytest.mark.parametrize("cut", range(1, len(WEC) + 1))
def test_a_half_written_last_line_is_refused_wherever_it_was_cut(cut):
    plan = parse(plan_of(KMI) + WEC[:cut])
    assert (3, "") in places(plan)
    assert any("half written" in problem.text for problem in plan.problems)


def test_bytes_that_are_not_utf8_are_refused_with_their_line():
    plan = parse(plan_of(KMI).encode() + b"caf\xe9\n")
    assert [(p.line, p.text) for p in plan.problems] == [
        (3, f"byte {len(plan_of(KMI)) + 3} (0xe9) is not UTF-8")
    ]


@pytest.mark.parametrize("character", ["\x00", "\t", "\x1b", "\r", "\u202e", "\u200b"])
def test_a_control_character_refuses_its_line(character):
    plan = parse(plan_of(WEC.replace("WEC", f"W{character}EC"), KMI))
    assert [(p.line, p.text) for p in plan.problems] == [
        (2, f"there is a control character (U+{ord(character):04X})")
    ]


def test_a_stray_quote_cannot_swallow_the_next_rows():
    plan = parse(plan_of(WEC.replace("Utilities", '"Utilities'), KMI))
    assert places(plan) == [(2, "")]
    assert [row.symbol for row in plan.rows] == ["KMI"]


def test_a_problem_reads_as_one_line_with_place_and_remedy():
    plan = parse(plan_of(with_field("stop_loss", "116")))
    assert str(plan.problems[0]) == (
        "line 2, stop_loss: 116 is not below the entry 115.79;"
        " write a stop below limit_price"
    )


@given(st.text() | st.binary())
def test_no_input_breaks_the_parser_or_passes_for_a_plan(data):
    plan = parse(data)
    assert plan.problems
    assert plan.rows == ()


@given(st.text(st.characters(exclude_characters="\n"), max_size=60))
def test_a_row_of_anything_is_read_or_reported(row):
    plan = parse(plan_of(WEC, row))
    assert plan.rows[0].symbol == "WEC"
    assert plan.problems or not row.strip()


@pytest.mark.parametrize(
    ("quantity", "legs"),
    [
        (2, (1, 1)),
        (3, (1, 2)),
        (5, (2, 3)),
        (50, (16, 34)),
        (150, (50, 100)),
        (250, (82, 168)),
        (270, (89, 181)),
        (22, (7, 15)),
        (82, (27, 55)),
        (293, (97, 196)),
    ],
)
def test_a_third_goes_to_bracket_a_rounded_half_to_even(quantity, legs):
    assert split_quantity(quantity, SHARE_A) == legs


@given(st.integers(2, 100_000), st.decimals(0, 1, places=2))
def test_both_brackets_always_have_a_share_and_none_is_lost(quantity, share_a):
    a, b = split_quantity(quantity, share_a)
    assert a >= 1
    assert b >= 1
    assert a + b == quantity


@pytest.mark.parametrize("quantity", [1, 0, -3])
def test_fewer_than_two_shares_cannot_be_split(quantity):
    with pytest.raises(ValueError, match="two brackets"):
        split_quantity(quantity, SHARE_A)
