"""A daemon that stops and starts within the day sends nothing twice (I1)."""

from __future__ import annotations

import pytest

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
MRNA = "MRNA 82 at 44.15 stop 42.83 targets 45.47 46.80"
NOV = "NOV 292 at 19.64 stop 19.05 targets 20.23 20.82"
UNKNOWN = "order(s) of unknown fate"


def away(*pauses):
    """Return the deeds that stop the daemon and start it again, once for each pair."""

    async def deeds(hands):
        for stop, start in pauses:
            await hands.until(stop)
            await hands.stop_daemon()
            await hands.until(start)
            hands.start_daemon()

    return deeds


def test_restarts_through_the_day_send_nothing_twice(play_day):
    """G5: exits rest at the broker while nobody is there."""
    pauses = ("11:00", "13:00"), ("15:40:00.300", "15:45")
    day = play_day(BLCO, LH, MRNA, NOV, deeds=away(*pauses))
    assert day.flat
    assert day.problems == []
    assert day.statuses == [0, 0, 0]
    assert len(day.placed) == 4 * 6 + 4
    assert day.at_the_bell == {"BLCO": 270, "LH": 22, "MRNA": 82, "NOV": 292}
    assert day.alarms == []


def test_what_fills_while_the_daemon_is_away_is_in_the_report(play_day):
    """F5: AMH 249 was seen by nobody, and the report had 0 trades."""
    day = play_day(
        BLCO,
        LH,
        fates={"BLCO": "both_targets", "LH": "stopped"},
        deeds=away(("09:50", "15:50")),
    )
    assert day.flat
    assert day.problems == []
    assert day.placed == [ref for ref in day.placed if ":X:" not in ref]
    totals = day.report["totals"]
    assert totals["executions"] == len(day.records("executed"))
    assert totals["exits"] == {"SL": 2, "TP1": 1, "TP2": 1}
    assert day.report["certificate"]["certified"] is True


def test_stopped_before_submit_and_back_in_its_window_submits(play_day):
    day = play_day(BLCO, LH, deeds=away(("09:20", "09:50")))
    assert day.flat
    assert day.problems == []
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    assert min(day.times("placed")) > "09:50:00"


def test_stopped_before_submit_and_back_after_its_window_skips_and_says_so(play_day):
    """I8: a job past its deadline is skipped, journaled and told."""
    day = play_day(BLCO, LH, deeds=away(("09:20", "10:05")))
    assert day.flat
    assert day.problems == []
    assert day.placed == []
    assert day.jobs == [
        ("submit", "skipped"),
        ("moc_close", "done"),
        ("eod_report", "done"),
    ]
    (told,) = day.messages("submit of 2026-02-19 skipped")
    assert told.severity == "warning"
    assert f"{told.at:%H:%M}" == "10:05"


def test_stopped_in_the_middle_of_the_batch_every_row_is_accounted_for(play_day):
    """B7: rows = submitted + skipped + refused + unknown, also across a restart."""
    day = play_day(BLCO, LH, deeds=away(("09:35:02.300", "09:40")))
    assert day.flat
    assert day.problems == []
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    assert len(day.placed) == 12 + 2


def test_started_between_close_job_and_cutoff_closes_at_once(play_day):
    day = play_day(BLCO, LH, deeds=away(("15:30", "15:45")))
    assert day.flat
    assert day.problems == []
    assert "15:45:00" < min(day.times("placed", order_type="MOC")) < "15:45:05"


def test_a_second_run_of_the_close_changes_nothing(play_day):
    """C9: closed by hand at 21:20 and by cron at 21:40.

    The first run is stopped while it waits for the foreign order on EMN, so that
    the second one finds its own orders at the broker.
    """

    async def deeds(hands):
        hands.carry("EMN", 36, "74.00")
        hands.by_hand("SELL", 30, "EMN", order_type="LMT", limit_price=99, tif="GTC")
        await hands.until("15:41")
        await hands.stop_daemon()
        await hands.until("15:44")
        hands.start_daemon()

    day = play_day(BLCO, deeds=deeds)
    assert day.problems == []
    assert [job for job in day.jobs if job[0] == "moc_close"] == [
        ("moc_close", "failed"),
        ("moc_close", "failed"),
    ]
    assert day.at_the_bell == {"BLCO": 270, "EMN": 6}


# --- the link cut in the middle of the batch ---------------------------------------

CUTS = [
    "before_the_first_leg",
    "after_the_entry",
    "after_the_take_profit",
    "after_the_family",
    "after_the_second_entry",
    "after_the_batch",
]
MOMENTS = ["02.170", "02.190", "02.215", "02.230", "02.255", "02.430"]


@pytest.fixture(scope="module")
def whole(play_once):
    """The day without a cut: where the legs of the batch are on the wire."""
    return play_once(BLCO, LH, state="whole")


@pytest.mark.parametrize("moment", MOMENTS, ids=CUTS)
@pytest.mark.parametrize("fault", ["drop", "reset", "cut"])
def test_a_cut_in_the_batch_doubles_nothing_and_loses_no_row(
    play_day, whole, moment, fault
):
    """B4: an order without an acknowledgement is unknown, alarmed, never resent."""

    async def deeds(hands):
        await hands.until(f"09:35:{moment}")
        line = hands.connection
        if fault == "drop":
            hands.gateway.drop(10)
        elif fault == "reset":
            line.reset()
        else:
            line.cut()
            await hands.until("09:36")
            hands.gateway.drop(10)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.problems == []
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    assert day.entries_at_work == ["BLCO:A", "BLCO:B", "LH:A", "LH:B"]
    cut = f"09:35:{moment}"
    sent_whole = [time for time in whole.times("placed") if time < cut]
    assert [time for time in day.times("placed") if time < cut] == sent_whole
    half_sent = len(sent_whole) % 3 != 0
    if half_sent:
        assert day.messages("order(s) of unknown fate")[0].severity == "alarm"
        assert "never was at work" in day.messages("are resolved")[0].body
        assert [ref for ref in day.placed if ref.endswith(":EN:2")]
        assert "sent again" in day.reason("BLCO") + day.reason("LH")
    assert day.flat


def test_an_order_without_an_acknowledgement_is_unknown_at_its_deadline(play_day):
    """B4: ARMN was "silently not submitted": no order, no error, no word of it."""

    async def deeds(hands):
        await hands.until("09:35:02.230")
        hands.connection.cut()
        await hands.until("09:40")
        hands.gateway.drop(10)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    unknown = day.sql(
        "SELECT min(at) FROM order_states WHERE state = 'unknown' GROUP BY order_ref"
    )
    assert len(unknown) == 12
    assert {at[11:16] for (at,) in unknown} == {"14:35"}
    (told, *_) = day.messages("order(s) of unknown fate")
    assert told.severity == "alarm"
    assert told.at.strftime("%H:%M") == "09:35"
    assert told.body.count("LH:") == 6
    # What the gateway had never taken goes out once it is proven that it had not.
    assert day.rows == {"BLCO": "submitted", "LH": "submitted"}
    assert day.entries_at_work == ["BLCO:A", "BLCO:B", "LH:A", "LH:B"]
    assert min(day.times("placed", order_ref="ibkrd:20260219:LH:A:EN:2")) > "09:40"


def test_what_is_proven_absent_behind_the_window_is_not_sent_again(play_day):
    """I8: an intent that has expired is never sent, also not as a new attempt."""

    async def deeds(hands):
        await hands.until("09:35:02.230")
        hands.connection.cut()
        await hands.until("10:05")
        hands.gateway.drop(10)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.rows == {"BLCO": "submitted", "LH": "refused"}
    assert "B EN never reached the broker (10147)" in day.reason("LH")
    assert not [ref for ref in day.placed if ref.endswith(":2")]
