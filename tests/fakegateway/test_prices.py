from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from daemon.fakegateway.prices import Prices, Waypoint
from daemon.fakegateway.values import MarketSession

DAY = MarketSession(
    date(2026, 2, 19),
    datetime(2026, 2, 19, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 19, 21, 0, tzinfo=UTC),
)
NEXT = MarketSession(
    date(2026, 2, 20),
    datetime(2026, 2, 20, 14, 30, tzinfo=UTC),
    datetime(2026, 2, 20, 21, 0, tzinfo=UTC),
)
HALF_DAY = MarketSession(
    date(2026, 11, 27),
    datetime(2026, 11, 27, 14, 30, tzinfo=UTC),
    datetime(2026, 11, 27, 18, 0, tzinfo=UTC),
)


def test_the_same_seed_gives_the_same_path_in_whatever_order_it_is_asked():
    one, other = Prices(7), Prices(7)
    forward = [one.path(symbol, DAY).ticks for symbol in ("MRNA", "NOV")]
    other.path("NOV", NEXT)
    backward = [other.path(symbol, DAY).ticks for symbol in ("NOV", "MRNA")]
    assert forward == backward[::-1]


def test_this_path_is_the_same_on_every_host():
    path = Prices(7, bases={"MRNA": Decimal("44.90")}).path("MRNA", DAY)
    assert [str(path.last(step)) for step in (0, 100, 780, 1560)] == [
        "44.96",
        "44.80",
        "44.82",
        "44.74",
    ]


@pytest.mark.parametrize("other", ["seed", "symbol", "day"])
def test_another_seed_symbol_or_day_gives_another_path(other):
    bases = {"MRNA": Decimal(45), "NOV": Decimal(45)}
    paths = {
        "seed": Prices(8, bases=bases).path("MRNA", DAY),
        "symbol": Prices(7, bases=bases).path("NOV", DAY),
        "day": Prices(7, bases=bases).path("MRNA", NEXT),
    }
    assert paths[other].ticks != Prices(7, bases=bases).path("MRNA", DAY).ticks


def test_a_path_has_one_price_for_each_15_seconds_and_the_close():
    assert len(Prices(1).path("MRNA", DAY).ticks) == 6.5 * 240 + 1
    assert len(Prices(1).path("MRNA", HALF_DAY).ticks) == 3.5 * 240 + 1


def test_a_path_goes_through_its_waypoints_exactly():
    waypoints = [
        Waypoint(0.0, Decimal("16.30")),
        Waypoint(time(11, 0), Decimal("15.10")),
        Waypoint(1.0, Decimal("17.25")),
    ]
    path = Prices(3, waypoints={"BLCO": waypoints}).path("BLCO", DAY)
    assert path.last(0) == Decimal("16.30")
    assert path.last(360) == Decimal("15.10")
    assert path.last(1560) == Decimal("17.25")
    assert len(set(path.ticks)) > 20


def test_a_waypoint_of_another_day_is_not_ours():
    tomorrow = Waypoint(0.5, Decimal(900), day=date(2026, 2, 20))
    path = Prices(3, bases={"LH": Decimal(280)}, waypoints={"LH": [tomorrow]})
    assert max(path.path("LH", DAY).ticks) < 40_000
    assert path.path("LH", NEXT).last(780) == Decimal(900)


@pytest.mark.parametrize("at", [time(16, 1), time(9, 29), 1.2])
def test_a_waypoint_outside_the_session_is_named(at):
    prices = Prices(3, waypoints={"LH": [Waypoint(at, Decimal(1))]})
    with pytest.raises(ValueError, match="outside the session of 2026-02-19"):
        prices.path("LH", DAY)


def test_prices_keep_to_the_tick_and_the_spread_surrounds_the_last():
    prices = Prices(5, bases={"X": Decimal(12)}, ticks={"X": Decimal("0.005")})
    quote = prices.quote("X", DAY.open + timedelta(hours=2), DAY)
    assert quote.last % Decimal("0.005") == 0
    assert quote.bid < quote.last < quote.ask
    assert quote.low <= quote.last <= quote.high


def test_an_ordinary_day_moves_by_percents_not_by_multiples():
    prices = Prices(11, bases={"LH": Decimal(280)})
    closes = [
        prices.path("LH", MarketSession(day, DAY.open, DAY.close)).last(-1)
        for day in (date(2026, 3, 1) + timedelta(days=n) for n in range(100))
    ]
    assert Decimal(260) < min(closes) < Decimal(278)
    assert Decimal(282) < max(closes) < Decimal(300)


def test_before_the_open_the_open_stands_and_after_the_close_the_close():
    path = Prices(5).path("KMI", DAY)
    prices = Prices(5)
    assert prices.quote("KMI", DAY.open - timedelta(hours=1), DAY).last == path.last(0)
    late = prices.quote("KMI", DAY.close + timedelta(hours=1), DAY, before=NEXT)
    assert late.last == path.last(-1)
    assert late.close == prices.path("KMI", NEXT).last(-1)


def test_a_step_begins_exactly_on_its_instant():
    path = Prices(5).path("KMI", DAY)
    at = path.instant(40)
    assert path.step_at(at) == 40
    assert path.step_at(at - timedelta(microseconds=1)) == 39


def test_bars_cover_the_session_without_gaps_and_end_with_the_request():
    prices = Prices(5, sigma=0, bases={"A": Decimal(50)})
    until = DAY.open + timedelta(minutes=10)
    bars = prices.bars("A", DAY, until, 60)
    assert [bar.start for bar in bars] == [
        DAY.open + timedelta(minutes=n) for n in range(10)
    ]
    assert {(bar.open, bar.high, bar.low, bar.close) for bar in bars} == {
        (Decimal(50),) * 4
    }
    assert prices.bars("A", DAY, DAY.open, 60) == []


def test_the_day_bar_closes_at_the_official_close():
    prices = Prices(5)
    (bar,) = prices.bars("A", DAY, DAY.close + timedelta(hours=1), 86_400)
    assert bar.close == prices.path("A", DAY).last(-1)
    assert bar.open == prices.path("A", DAY).last(0)
