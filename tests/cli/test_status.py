"""`ibkrd status` as a person reads it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from daemon.cli.status import status_lines

ANSWER = {
    "pid": 4711,
    "started_at": "2026-02-19T14:00:00+00:00",
    "now": "2026-02-19T20:55:00+00:00",
    "link": "ready",
    "trouble": "",
    "window": "",
    "messages": {"undelivered": 0, "oldest": None, "failing": []},
    "client_id": 10,
    "account": "DU1234567",
    "session": {
        "date": "2026-02-19",
        "open": "2026-02-19T14:30:00+00:00",
        "close": "2026-02-19T21:00:00+00:00",
        "cutoff": "2026-02-19T20:50:00+00:00",
    },
    "barred": "",
    "running": [],
    "next": [],
    "results": {},
    "orders": {},
}


def lines(**changed):
    return status_lines(ANSWER | changed, ZoneInfo("Europe/Budapest"))


def test_delivered_messages_are_not_worth_a_line():
    assert [each.split()[0] for each in lines()] == [
        "daemon",
        "link",
        "account",
        "session",
        "cutoff",
        "close",
        "orders",
    ]


def test_undelivered_messages_and_the_failing_channel_are_shown():
    """A4: the alert path had failed, and nobody saw it."""
    failing = {
        "channel": "telegram",
        "since": "2026-02-19T20:40:00+00:00",
        "cause": "status 400, chat not found",
    }
    messages = {
        "undelivered": 2,
        "oldest": "2026-02-19T20:40:00+00:00",
        "failing": [failing],
    }
    shown = lines(messages=messages)
    assert (
        "channel  telegram failing since 2026-02-19 21:40:00 CET: "
        "status 400, chat not found"
    ) in shown
    assert "messages 2 undelivered, the oldest of 2026-02-19 21:40:00 CET" in shown


def test_a_planned_window_is_named():
    shown = lines(link="disconnected", trouble="1100 lost", window="nightly reset")
    assert "trouble  1100 lost" in shown
    assert "planned  nightly reset: the gateway may be away" in shown
