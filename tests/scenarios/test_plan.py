"""E: the plan of the session, whole and once, or nothing at all."""

from __future__ import annotations

import pytest

PLAN = "execution_plan_run_20260219_130502_a1b2c3.csv"
BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
MRNA = "MRNA 82 at 44.15 stop 42.83 targets 45.47 46.80"


def assert_nothing_sent(day, outcome):
    """Nothing on the wire, one alarm, and the day goes on to its report."""
    assert day.problems == []
    assert day.placed == []
    assert day.rows == {}
    assert day.jobs == [
        ("submit", outcome),
        ("moc_close", "done"),
        ("eod_report", "done"),
    ]
    assert len(day.alarms) == 1
    assert "0 orders" in day.alarms[0].text


# --- no plan, another day's plan, a late plan ---------------------------------


def test_a_missing_plan_is_waited_for_and_then_told(play_day):
    """E1: zero orders is also reported."""
    day = play_day(BLCO, plan_name="")
    assert_nothing_sent(day, "skipped")
    (alarm,) = day.alarms
    assert f"{alarm.at:%H:%M:%S}" == "09:59:30"
    assert "no plan for the session 2026-02-19" in alarm.body
    assert "execution_plan_run_YYYYMMDD_HHMMSS_xxxxxx.csv (UTC)" in alarm.body
    assert str(day.state / "plans") in alarm.body


def test_a_plan_of_yesterday_is_refused(play_day):
    """E1: on 04-06 yesterday's plan was submitted because today's was missing."""
    old = "execution_plan_run_20260218_130502_a1b2c3.csv"
    day = play_day(BLCO, plan_name=old)
    assert_nothing_sent(day, "skipped")
    assert (
        f"the newest, {old}, is of 2026-02-18 13:05:02 UTC, not after the previous "
        "session's close 2026-02-18 21:00:00 UTC"
    ) in day.alarms[0].body


def test_a_plan_that_arrives_at_09_50_is_submitted(play_day):
    """E2: on 03-30 the plan was late, and the job had looked once."""
    late = "execution_plan_run_20260219_144900_a1b2c3.csv"

    async def deeds(hands):
        await hands.until("09:50")
        hands.write_plan(late, hands.stage.spec.plan_text)

    day = play_day(BLCO, plan_name="", deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert "09:50:02" < min(day.times("placed")) < "09:50:06"
    assert late in day.messages("Submit 2026-02-19")[0].body


def test_a_plan_that_arrives_after_the_window_is_not_submitted(play_day):
    """E2, I8: open+30m is the last moment."""

    async def deeds(hands):
        await hands.until("10:00:01")
        hands.write_plan(PLAN, hands.stage.spec.plan_text)

    assert_nothing_sent(play_day(BLCO, plan_name="", deeds=deeds), "skipped")


def test_the_newest_plan_of_the_session_counts(play_day):
    async def deeds(hands):
        text = hands.stage.spec.plan_text
        hands.write_plan("execution_plan_run_20260219_142000_ffffff.csv", text)
        hands.write_plan(PLAN, text.replace("BLCO", "MRNA"))

    day = play_day(BLCO, plan_name="", deeds=deeds)
    assert day.rows == {"BLCO": "submitted"}


# --- half-written plans -------------------------------------------------------


def test_a_half_written_plan_is_read_when_it_is_whole_and_stands_still(play_day):
    async def deeds(hands):
        text = hands.stage.spec.plan_text
        hands.write_plan(PLAN, text[:-40])
        await hands.until("09:36")
        hands.write_plan(PLAN, text[:-20])
        await hands.until("09:36:30")
        hands.write_plan(PLAN, text)

    day = play_day(BLCO, LH, plan_name="", deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    assert "09:36:32" < min(day.times("placed")) < "09:36:36"


def test_a_plan_that_grows_line_by_line_is_read_only_when_it_rests(play_day):
    """Each line is complete: only that the file moves on shows that more will come."""

    async def deeds(hands):
        lines = hands.stage.spec.plan_text.splitlines(keepends=True)
        for count in range(1, len(lines) + 1):
            await hands.until(f"09:35:0{count}.500")
            hands.write_plan(PLAN, "".join(lines[:count]))

    day = play_day(BLCO, LH, MRNA, plan_name="", deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert len(day.rows) == 3


def test_a_plan_that_stays_half_written_is_refused_at_the_deadline(play_day):
    async def deeds(hands):
        hands.write_plan(PLAN, hands.stage.spec.plan_text[:-40])

    day = play_day(BLCO, LH, plan_name="", deeds=deeds)
    assert_nothing_sent(day, "refused")
    assert "line 3: the last line does not end: the file is half written" in (
        day.alarms[0].body
    )


# --- faults of the plan: all at once, each with its place and its remedy ------

FAULTS = {
    "duplicate": (
        [BLCO, LH, BLCO],
        "line 4, instrument_id",
        "BLCO stands on line 2 already; keep one row a symbol",
    ),
    "negative price": (
        [LH, "BLCO 270 at -17.20 stop 16.68 targets 17.71 18.23"],
        "line 3, limit_price",
        "-17.20 is not a price; write a price above 0",
    ),
    "no number": (
        [LH, "BLCO 270 at abc stop 16.68 targets 17.71 18.23"],
        "line 3, limit_price",
        "'abc' is not a number; write a finite number such as 115.79",
    ),
    "stop above entry": (
        ["BLCO 270 at 17.20 stop 17.30 targets 17.71 18.23", LH],
        "line 2, stop_loss",
        "17.30 is not below the entry 17.20; write a stop below limit_price",
    ),
    "take-profit below entry": (
        ["BLCO 270 at 17.20 stop 16.68 targets 17.00 18.23", LH],
        "line 2, take_profit_1",
        "17.00 is not above the entry 17.20; write a take-profit above limit_price",
    ),
    "negative quantity": (
        ["BLCO -270 at 17.20 stop 16.68 targets 17.71 18.23", LH],
        "line 2, quantity",
        "-270 is not a whole number of shares; write a whole number, 0 or more",
    ),
    "part of a share": (
        ["BLCO 27.5 at 17.20 stop 16.68 targets 17.71 18.23", LH],
        "line 2, quantity",
        "27.5 is not a whole number of shares; write a whole number, 0 or more",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_faulty_row_refuses_the_whole_plan(play_day, fault):
    rows, place, told = FAULTS[fault]
    day = play_day(*rows)
    assert_nothing_sent(day, "refused")
    assert day.alarms[0].body == f"{PLAN}: {place}: {told}"
    assert f"{day.alarms[0].at:%H:%M:%S}" == "09:35:02"


def test_a_quantity_whose_leg_is_above_the_preset_refuses_the_whole_plan(play_day):
    """E4: a bad volatility input asked for 604 shares."""
    day = play_day("BLCO 850 at 17.20 stop 16.68 targets 17.71 18.23", LH)
    assert_nothing_sent(day, "refused")
    assert (
        f"{PLAN}: line 2, quantity: 850 shares make a leg of 570, above the gateway's "
        "size preset of 500; lower the quantity"
    ) in day.alarms[0].body


def test_a_row_with_too_few_fields_refuses_the_whole_plan(play_day):
    header = "instrument_id,direction,order_type,limit_price,quantity,stop_loss"
    day = play_day(text=f"{header}\nBLCO,BUY,LIMIT,17.20,270,16.68\n")
    assert_nothing_sent(day, "refused")
    assert f"{PLAN}: line 1, take_profit_1: the column is missing" in (
        day.alarms[0].body
    )


def test_all_faults_are_told_in_one_message(play_day):
    day = play_day(
        "BLCO 270 at abc stop 16.68 targets 17.71 18.23",
        "LH 22 at 272.40 stop 280 targets 280.57 288.74",
        LH,
    )
    assert_nothing_sent(day, "refused")
    told = [line.removeprefix(f"{PLAN}: ") for line in day.alarms[0].body.splitlines()]
    assert [one.split(":")[0] for one in told] == [
        "line 2, limit_price",
        "line 3, stop_loss",
        "line 4, instrument_id",
    ]


def test_rows_of_zero_and_one_share_are_skipped_and_the_rest_is_submitted(play_day):
    day = play_day(
        "BLCO 0 at 17.20 stop 16.68 targets 17.71 18.23",
        "LH 1 at 272.40 stop 264.23 targets 280.57 288.74",
        MRNA,
    )
    assert day.flat
    assert day.problems == []
    assert day.rows == {"BLCO": "skipped", "LH": "skipped", "MRNA": "submitted"}
    assert day.reason("BLCO") == "quantity 0 is below 2: it makes no two brackets"
    assert {ref.split(":")[2] for ref in day.placed} == {"MRNA"}


# --- one plan a session -------------------------------------------------------


def test_a_second_plan_of_the_session_is_refused_and_the_first_one_finished(play_day):
    """E5: two trigger paths submitted the same morning.

    The second plan comes while an outage interrupts the first one half-way.
    """
    second = "execution_plan_run_20260219_143500_ffffff.csv"

    async def deeds(hands):
        await hands.until("09:35:02.240")
        hands.say(1100, "Connectivity has been lost.")
        await hands.until("09:35:20")
        hands.write_plan(second, hands.stage.spec.plan_text.replace("BLCO", "NOV"))
        await hands.until("09:36")
        hands.say(1102, "Connectivity restored - data maintained.")

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    assert {ref.split(":")[2] for ref in day.placed} == {"BLCO", "LH"}
    (refusal,) = day.messages("A second plan is refused")
    assert refusal.severity == "alarm"
    assert refusal.body == (
        f"{second} is refused: the session 2026-02-19 belongs to {PLAN}, and a "
        "session has one plan"
    )


def test_a_plan_that_comes_after_the_submit_sends_nothing_also_after_a_restart(
    play_day,
):
    """E5: the session is claimed once."""

    async def deeds(hands):
        await hands.until("09:40")
        text = hands.stage.spec.plan_text.replace("BLCO", "NOV")
        hands.write_plan("execution_plan_run_20260219_143900_ffffff.csv", text)
        await hands.stop_daemon()
        hands.start_daemon()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert {ref.split(":")[2] for ref in day.placed} == {"BLCO", "LH"}
