from __future__ import annotations

import pytest

from daemon.fakegateway.values import GatewaySettings


def settings(**more) -> GatewaySettings:
    return GatewaySettings(
        **{"partial_fills": False, "backlog_order": "as_it_happened"} | more
    )


@pytest.fixture
def cut(stage):
    """A stage whose link is lost while the entry of client 7 rests at 99."""
    s = stage(
        path=(("09:30", "100"), ("09:36", "100"), ("09:37", "98"), ("09:40", "98")),
        settings=settings(),
    )
    s.place(1, "BUY 100 LMT 99")
    s.run_for(5)
    s.world.lose_link()
    return s


# --- while it lasts --------------------------------------------------------------


def test_the_loss_is_told_at_once_and_again_and_again(cut):
    cut.hear_anew()
    cut.run_for(65)
    assert cut.talk() == ["notice 1100", "notice 1100"]
    cut.world.restore_link(data_lost=False)
    cut.run_for(300)
    assert cut.talk().count("notice 1100") == 2


def test_the_exchange_goes_on_and_nothing_of_it_is_told(cut):
    cut.hear_anew()
    cut.run_to("09:39:00")
    assert cut.position == "100"
    assert set(cut.talk()) == {"notice 1100"}


def test_questions_are_answered_from_what_the_gateway_last_heard(cut):
    line = cut.wire()
    line.start(8)
    cut.run_to("09:39:00")
    line.read()
    assert line.ask("61|1") == ["62|1"]
    assert line.ask("7|3|9|0||||||") == ["55|1|9"]
    open_orders = line.ask("16|1")
    assert [message.split("|")[0] for message in open_orders] == ["5", "3", "53"]
    assert line.ask("99|0") == ["102"]
    values = "".join(line.ask("62|1|4|All|TotalCashValue"))
    assert "|1000000.00|USD" in values


def test_the_time_is_told_and_what_needs_the_broker_is_not(cut):
    line = cut.wire()
    line.start(8)
    assert line.ask("49|1")[0].startswith("49|1|")
    assert line.ask("9|8|4|0|AAPL|STK|||||SMART||USD|||0||") == []


@pytest.mark.parametrize("code", [2110, 1100])
def test_a_session_that_starts_meanwhile_is_served_and_told(stage, code):
    s = stage(settings=settings(link_lost_greeting=code))
    s.world.lose_link()
    line = s.wire()
    accounts, next_id, notice = line.start(8)
    assert (accounts, next_id) == ("15|1|DU1234567", "9|1|1")
    assert notice.startswith(f"4|2|-1|{code}|Connectivity between")


# --- what clients send meanwhile -------------------------------------------------


def test_orders_and_cancels_are_taken_silently_and_transmitted_later(cut):
    cut.hear_anew()
    cut.world.cancel(7, 1)
    cut.place(2, "BUY 10 LMT 90")
    cut.run_for(20)
    assert cut.talk() == []
    assert cut.written("placed", "order_id") == [(1,), (2,)]
    cut.world.restore_link(data_lost=False)
    cut.run_for(0.9)
    assert cut.talk() == ["notice 1102"]
    cut.run_for(1)
    assert cut.statuses(1) == ["PendingCancel", "Cancelled"]
    assert cut.statuses(2) == ["PreSubmitted", "Submitted"]


def test_an_order_sent_right_after_the_restoration_stays_behind_those_that_wait(cut):
    cut.place(2, "BUY 10 LMT 90", transmit=False)
    cut.run_for(1)
    cut.world.restore_link(data_lost=True)
    cut.place(3, "SELL 10 LMT 110", parent_id=2)
    cut.run_for(2)
    assert cut.errors(3) == []
    assert sorted(cut.open()) == [1, 2, 3]


def test_orders_of_the_meantime_are_lost_where_the_gateway_does_not_maintain_them(
    stage,
):
    s = stage(settings=settings(resubmit_orders=False))
    s.world.lose_link()
    s.place(1, "BUY 10 LMT 90")
    s.run_for(1)
    s.world.restore_link(data_lost=False)
    s.run_for(10)
    assert s.talk() == ["notice 1100", "notice 1102"]
    assert s.written("forgotten", "order_id") == [(1,)]
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.errors(1) == [10147]


def test_a_second_loss_keeps_the_orders_waiting(cut):
    cut.place(2, "BUY 10 LMT 90")
    cut.run_for(1)
    cut.world.restore_link(data_lost=False)
    cut.world.lose_link()
    cut.run_for(30)
    assert len(cut.written("released")) == 1
    cut.world.restore_link(data_lost=False)
    cut.run_for(2)
    assert cut.statuses(2) == ["PreSubmitted", "Submitted"]


# --- the restoration -----------------------------------------------------------------


def test_1101_tells_nothing_of_the_meantime_and_questions_tell_all(cut):
    cut.run_to("09:39:00")
    cut.hear_anew()
    cut.world.restore_link(data_lost=True)
    cut.run_for(30)
    assert cut.talk() == ["notice 1101"]
    line = cut.wire()
    line.start(8)
    assert [one.split("|")[0] for one in line.ask("7|3|9|0||||||")] == ["11", "55"]
    assert line.ask("61|1")[0].split("|")[14] == "100"


def test_1102_tells_what_happened_meanwhile(cut):
    cut.run_to("09:39:00")
    cut.hear_anew()
    cut.world.restore_link(data_lost=False)
    assert cut.talk() == [
        "notice 1102",
        "execDetails 1 100",
        "openOrder 1 Filled",
        "orderStatus 1 Filled",
        "openOrder 1 Filled commission 1.000000",
        "Commissioned",
        "HoldingChanged",
    ]


def test_1102_may_tell_it_in_an_odd_order(stage):
    heard = set()
    for seed in range(12):
        s = stage(seed=seed, settings=GatewaySettings(partial_fills=False))
        s.place(1, "BUY 100 MKT")
        s.run_for(0.03)
        s.world.lose_link()
        s.run_for(5)
        s.hear_anew()
        s.world.restore_link(data_lost=False)
        talk = s.talk()[1:]
        assert sorted(talk) == sorted(set(talk))
        heard.add(tuple(talk))
    places = {talk.index("execDetails 1 100") for talk in heard}
    assert 0 in places
    assert max(places) == 5


def test_a_stop_does_not_trigger_while_the_broker_is_away(stage):
    s = stage(path=(("09:30", "100"), ("09:40", "97"), ("09:50", "100")))
    s.place(1, "SELL 100 STP 98")
    s.run_for(1)
    s.world.lose_link()
    s.run_to("09:50:00")
    s.world.restore_link(data_lost=False)
    s.run_for(60)
    assert s.fills(1) == []


def test_a_stop_that_should_have_triggered_trades_at_the_restoration(stage):
    s = stage(path=(("09:30", "100"), ("09:40", "97"), ("10:00", "95")))
    s.place(1, "SELL 100 STP 98")
    s.run_for(1)
    s.world.lose_link()
    s.run_to("10:00:00")
    s.world.restore_link(data_lost=False)
    s.run_for(1)
    assert s.fills(1) == [("10:00:00", "100", "94.99")]


def test_a_stop_may_be_native_to_its_exchange(stage):
    s = stage(
        path=(("09:30", "100"), ("09:40", "97"), ("09:50", "100")),
        settings=settings(simulated_orders_wait=False),
    )
    s.place(1, "SELL 100 STP 98")
    s.run_for(1)
    s.world.lose_link()
    s.run_to("09:50:00")
    assert s.position == "-100"


def test_good_after_time_sleeps_through_the_loss(stage):
    s = stage()
    s.place(1, "SELL 100 MKT", good_after_time="20260219 09:40:00 US/Eastern")
    s.run_for(1)
    s.world.lose_link()
    s.run_to("09:45:00")
    assert s.position == "0"
    s.world.restore_link(data_lost=True)
    s.run_for(1)
    assert s.position == "-100"


def test_loss_and_restoration_stand_in_the_ledger(cut):
    cut.world.restore_link(data_lost=True)
    assert cut.written("link_lost") == [()]
    assert cut.written("link_restored", "data_lost") == [(True,)]
