"""SIGUSR1 and the day so far; a job that crashes; a report that cannot be written."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from datetime import date

from daemon.jobs import submit

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
SO_FAR = "Report so far 2026-02-19"


def test_a_signal_reports_the_day_so_far_and_never_trades(play_day):
    async def deeds(hands):
        await hands.until("11:00")
        hands.signal(signal.SIGUSR1)

    day = play_day(BLCO, LH, deeds=deeds)
    quiet = play_day(BLCO, LH, state="quiet")
    assert day.flat
    assert day.problems == []
    assert day.placed == quiet.placed
    (told,) = day.messages(SO_FAR)
    assert "11:00:00" <= f"{told.at:%H:%M:%S}" < "11:00:05"
    assert told.subject.endswith("2 open")
    assert "open: BLCO 270" in told.body
    assert "open: LH 22" in told.body
    written = day.state / "reports" / "report_2026-02-19_so_far.json"
    report = json.loads(written.read_text())
    assert report["final"] is False
    assert report["as_of"] == "2026-02-19 11:00:00 EST"
    bought = day.records("executed", side="BUY")
    assert report["totals"]["executions"] == len(bought)
    assert (day.state / "reports" / "trades_2026-02-19_so_far.csv").is_file()


def test_many_signals_make_one_report(play_day):
    async def deeds(hands):
        await hands.until("11:00")
        for _ in range(20):
            hands.signal(signal.SIGUSR1)

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.problems == []
    assert len(day.messages(SO_FAR)) == 1


def test_a_signal_during_an_outage_reports_what_the_journal_knows(play_day):
    """I12: positions that nobody told are not an empty account."""

    async def deeds(hands):
        await hands.until("11:00")
        hands.close_gateway()
        await hands.until("11:05")
        hands.signal(signal.SIGUSR1)
        await hands.until("11:10")
        await hands.open_gateway()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    (told,) = day.messages(SO_FAR)
    assert f"{told.at:%H:%M}" == "11:05"
    assert told.subject.endswith("positions not known")


def test_a_signal_on_a_day_without_a_session_ends_nothing(play_day):
    async def deeds(hands):
        await hands.until("11:00")
        hands.signal(signal.SIGUSR1)

    day = play_day(BLCO, deeds=deeds, day=date(2026, 11, 26), plan_name="")
    assert day.statuses == [0]
    assert len(day.messages("Report so far")) == 1


# --- failures inside ----------------------------------------------------------


def test_a_job_that_crashes_ends_in_one_failed_record_and_one_alarm(
    play_day, monkeypatch
):
    """I10: every scheduled job ends in exactly one terminal journal record."""

    async def bug(_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(submit, "JOB", replace(submit.JOB, run=bug))

    async def deeds(hands):
        await hands.until("10:00")
        hands.by_hand("BUY", 235, "EVRG")

    day = play_day(BLCO, deeds=deeds)
    assert day.flat
    assert day.problems == ["crashed: submit"]
    assert day.jobs == [
        ("submit", "failed"),
        ("moc_close", "done"),
        ("eod_report", "done"),
    ]
    assert day.at_the_bell == {"EVRG": 235}
    (alarm,) = day.alarms
    assert alarm.subject == "submit failed"
    assert alarm.body == "submit: ZeroDivisionError: a bug"


def test_a_report_that_cannot_be_written_is_told_and_the_daemon_lives(play_day):
    async def deeds(hands):
        await hands.until("15:00")
        reports = hands.stage.config.paths.reports
        reports.rmdir()
        reports.write_text("in the way")

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.statuses == [0]
    assert day.jobs[-1] == ("eod_report", "failed")
    (alarm,) = day.alarms
    assert alarm.subject == "eod_report failed"
    assert "reports" in alarm.body
