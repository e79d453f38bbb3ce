"""I4 without a link, or after its time: a person is told exactly what stays open."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

BLCO = "BLCO 270 at 17.20 stop 16.68 targets 17.71 18.23"
LH = "LH 22 at 272.40 stop 264.23 targets 280.57 288.74"
MANY = [
    f"{symbol} {30 + n} at 50.00 stop 48.50 targets 51.50 53.00"
    for n, symbol in enumerate(["AAPL", "AMD", "EOG", "JPM", "KMI", "ON", "VLO", "XOM"])
]


def gateway_away(leaves, comes_back):
    async def deeds(hands):
        await hands.until(leaves)
        hands.close_gateway()
        await hands.until(comes_back)
        await hands.open_gateway()

    return deeds


@pytest.mark.parametrize("leaves", ["15:38", "15:40:00.020"])
def test_an_outage_over_the_cutoff_is_told_in_time_with_every_share(play_day, leaves):
    """A3, A4: the checker wants symbol and shares, accepted before the cutoff."""
    day = play_day(BLCO, LH, deeds=gateway_away(leaves, "15:55"))
    assert day.problems == []
    (told,) = day.messages("not everything will close")
    assert told.severity == "alarm"
    assert f"{told.at:%H:%M}" == "15:48"
    assert "BLCO: 270 shares" in told.body
    assert "LH: 22 shares" in told.body


def test_a_link_that_is_back_before_the_cutoff_still_closes(play_day):
    """A5: the emergency retries; the alert does not end the work."""
    day = play_day(BLCO, LH, deeds=gateway_away("15:38", "15:48:30"))
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert dict(day.jobs)["moc_close"] == "done"


def test_a_daemon_that_comes_after_the_cutoff_says_what_stays_open(play_day):
    """G5: nobody else will; the alarm names every share within a minute."""

    async def deeds(hands):
        await hands.until("15:30")
        await hands.stop_daemon()
        await hands.until("15:52")
        hands.start_daemon()

    day = play_day(BLCO, LH, deeds=deeds)
    # Nobody was there before the cutoff; only an outside switch could have told.
    assert [problem[:2] for problem in day.problems] == ["I4"]
    (told,) = day.messages("past the cutoff")
    assert told.severity == "alarm"
    assert f"{told.at:%H:%M}" == "15:52"
    assert "BLCO: 270 shares under no market-on-close order" in told.body
    assert "LH: 22 shares under no market-on-close order" in told.body
    assert "Cancel what is live, then close by hand in TWS before" in told.body
    assert [o for o in day.placed if ":MOC" in o] == []


def test_what_is_accepted_late_is_not_told_to_be_sold_by_hand(play_day):
    """C8: whoever obeyed such an alert would sell the same shares twice."""

    async def deeds(hands):
        await hands.until("15:30")
        await hands.stop_daemon()
        await hands.until("15:47:50")
        hands.start_daemon()

    day = play_day(BLCO, LH, deeds=deeds)
    assert day.flat
    assert day.problems == []
    assert day.at_the_bell == {"BLCO": 270, "LH": 22}
    assert day.messages("by hand") == []


def test_every_row_is_accounted_for_when_the_deadline_cuts_the_submit(play_day):
    """B7: eight of nine rows had vanished from the report."""
    day = play_day(*MANY, deeds=gateway_away("09:35:02.450", "10:20"))
    assert day.problems == []
    rows = day.report["rows"]
    assert rows["total"] == len(MANY)
    parts = ("submitted", "skipped", "refused", "unknown")
    assert sum(rows[part] for part in parts) == len(MANY)
    assert rows["submitted"] >= 1
    assert rows["skipped"] >= 1
    assert rows["unknown"] == 0
    assert len(day.placed) == len(set(day.placed))
