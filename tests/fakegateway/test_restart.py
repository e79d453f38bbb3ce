from __future__ import annotations

import pytest

from daemon.fakegateway.restart import RestartTerms
from daemon.fakegateway.values import GatewaySettings


def reconnected(s, terms: RestartTerms):
    """Restart the gateway of *s* and let client 7 come back."""
    s.world.restart(terms)
    s.run_for(terms.down_s + terms.empty_s + terms.deaf_s)
    assert s.connect(7)
    s.hear_anew()
    return s


def test_every_connection_ends_and_new_ones_are_refused_for_a_while(stage):
    s = stage()
    before = s.wire()
    before.start(8)
    greeting = s.wire()
    s.world.restart(RestartTerms(down_s=30))
    assert (before.ended, greeting.ended) == ("closed", "closed")
    s.run_for(29)
    assert s.wire().ended == "reset"
    s.run_for(1)
    assert s.wire().start(8)[0].startswith("15|")


def test_then_a_relay_accepts_and_ends_and_then_nobody_answers(stage):
    s = stage()
    s.world.restart(RestartTerms(down_s=10, empty_s=10, deaf_s=10))
    s.run_for(11)
    assert s.wire().ended == "closed"
    s.run_for(10)
    deaf = s.wire()
    assert deaf.start(8) == []
    assert deaf.ended == ""
    s.run_for(20)
    assert deaf.start(8) == []
    deaf.feed(b"\xff" * 100)
    assert deaf.ended == ""
    assert s.wire().start(8)[0].startswith("15|")


def test_the_id_lingers_after_the_gateway_serves_again(stage):
    s = stage()
    s.world.restart(RestartTerms(down_s=10, linger_s=40))
    s.run_for(49)
    held = s.wire()
    assert held.start(7)[0].startswith("4|2|-1|326|")
    assert s.wire().start(8)[0].startswith("15|")
    s.run_for(2)
    assert s.wire().start(7)[0].startswith("15|")


def test_working_orders_survive_and_keep_their_ids(stage):
    s = stage()
    s.place(5, "BUY 100 LMT 90")
    s.run_for(1)
    reconnected(s, RestartTerms())
    assert sorted(s.open()) == [5]
    assert s.world.next_valid_id(7) == 6


@pytest.mark.parametrize(("forgets", "code"), [(True, 10147), (False, 202)])
def test_untransmitted_orders_are_forgotten_or_not(stage, forgets, code):
    s = stage()
    s.place(1, "BUY 100 LMT 90", transmit=False)
    s.run_for(1)
    reconnected(s, RestartTerms(forget_untransmitted=forgets))
    s.world.cancel(7, 1)
    s.run_for(1)
    assert code in s.errors(1)
    assert s.written("forgotten", "order_id") == ([(1,)] if forgets else [])


@pytest.mark.parametrize(("forgets", "left"), [(True, []), (False, [1])])
def test_completed_orders_are_forgotten_or_not_and_executions_never(
    stage, forgets, left
):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(5)
    reconnected(s, RestartTerms(forget_completed=forgets))
    assert [one.order_id for one in s.world.completed_orders()] == left
    assert [one.order_id for one in s.world.executions()] == [1]


def test_orders_that_waited_for_the_link_die_with_the_process(stage):
    s = stage()
    s.world.lose_link()
    s.place(1, "BUY 100 LMT 90")
    s.run_for(1)
    reconnected(s, RestartTerms(forget_untransmitted=False))
    s.run_for(60)
    assert s.open() == {}
    assert s.written("forgotten", "order_id") == [(1,)]
    assert s.talk() == []


# --- ids that begin anew ------------------------------------------------------


@pytest.fixture
def anew(stage):
    """Ids begin anew at 1 while order 1 works and order 2 is done."""
    s = stage()
    s.place(1, "BUY 100 LMT 90")
    s.place(2, "BUY 50 LMT 91")
    s.run_for(1)
    s.world.cancel(7, 2)
    s.run_for(1)
    return reconnected(s, RestartTerms(next_id=1))


def test_ids_are_given_again(anew):
    assert anew.world.next_valid_id(7) == 1


def test_the_id_of_an_order_that_lives_is_a_duplicate(anew):
    anew.place(1, "SELL 100 LMT 110", order_ref="another")
    anew.run_for(1)
    assert anew.errors(1) == [103]
    assert anew.open()[1].ticket.order_ref == "ref-1"


def test_an_order_that_is_plainly_the_same_is_modified(anew):
    anew.place(1, "BUY 100 LMT 89")
    anew.run_for(1)
    assert anew.errors(1) == []
    assert str(anew.open()[1].ticket.limit_price) == "89"


def test_the_id_of_a_done_order_becomes_another_order(anew):
    anew.place(2, "SELL 10 LMT 110", order_ref="another")
    anew.run_for(1)
    assert anew.statuses(2) == ["PreSubmitted", "Submitted"]
    assert anew.written("placed", "order_id", "perm_id")[-1] == (2, 1500000003)


def test_done_orders_of_before_stay_known_beside_their_successors(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(5)
    reconnected(s, RestartTerms(next_id=1, forget_completed=False))
    s.place(1, "SELL 100 LMT 110", order_ref="another")
    s.run_for(1)
    assert s.errors(1) == []
    assert [one.ticket.order_ref for one in s.world.completed_orders()] == ["ref-1"]
    assert s.open()[1].ticket.order_ref == "another"


def test_forgetting_a_done_order_spares_its_successor_of_the_same_id(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(5)
    reconnected(s, RestartTerms(next_id=1, forget_completed=False))
    s.place(1, "SELL 100 LMT 110", order_ref="another")
    s.run_for(1)
    reconnected(s, RestartTerms(forget_completed=True))
    assert s.world.completed_orders() == []
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.statuses(1)[-1] == "Cancelled"


def test_a_cancel_by_a_given_id_ends_the_order_that_bears_it(anew):
    """The nasty truth: the order refused with 103 is not what the cancel finds."""
    anew.place(1, "SELL 100 LMT 110", order_ref="another")
    anew.run_for(1)
    anew.world.cancel(7, 1)
    anew.run_for(1)
    assert anew.open() == {}
    assert anew.statuses(1)[-1] == "Cancelled"


# --- untransmitted orders and their clients -----------------------------------


def test_untransmitted_orders_outlive_their_session_and_can_still_be_released(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 90", transmit=False)
    s.run_for(1)
    s.world.detach(7)
    s.connect(7)
    s.place(2, "SELL 100 LMT 110", parent_id=1)
    s.run_for(1)
    assert sorted(s.open()) == [1, 2]


def test_untransmitted_orders_may_vanish_with_their_session(stage):
    s = stage(settings=GatewaySettings(untransmitted_vanish=True))
    s.place(1, "BUY 100 LMT 90", transmit=False)
    s.place(2, "BUY 100 LMT 90")
    s.run_for(1)
    s.world.detach(7)
    s.connect(7)
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.errors(1) == [10147]
    assert sorted(s.open()) == [2]


def test_untransmitted_orders_are_in_no_answer(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 90", transmit=False)
    s.run_for(1)
    line = s.wire()
    s.world.detach(7)
    line.start(7)
    assert line.ask("5|1") == ["53|1"]
    assert line.ask("16|1") == ["53|1"]
    assert line.ask("99|0") == ["102"]
    assert "1500000001" not in str(line.told)


def test_the_two_answers_to_a_discarding_come_in_either_order(stage):
    orders = set()
    for seed in range(8):
        s = stage(seed=seed)
        s.place(1, "BUY 100 LMT 90", transmit=False)
        s.world.cancel(7, 1)
        s.run_for(1)
        orders.add(tuple(s.errors(1)))
    assert orders == {(202, 161), (161, 202)}


# --- 10006 --------------------------------------------------------------------


def test_the_first_child_right_behind_its_parent_may_miss_it(stage):
    s = stage(settings=GatewaySettings(missing_parent="always"))
    s.place(1, "BUY 100 LMT 90", transmit=False)
    s.run_for(0.02)
    s.place(2, "SELL 100 LMT 110", parent_id=1, transmit=False)
    s.run_for(0.02)
    s.place(3, "SELL 100 STP 80", parent_id=1)
    s.run_for(1)
    assert (s.errors(2), s.errors(3)) == ([10006], [])
    assert sorted(s.open()) == [1, 3]
    s.place(4, "SELL 100 LMT 110", parent_id=1)
    s.run_for(1)
    assert sorted(s.open()) == [1, 3, 4]


@pytest.mark.parametrize(("uses", "codes"), [(False, [10006]), (True, [10006, 103])])
def test_the_refused_child_may_come_again_under_its_id_or_not(stage, uses, codes):
    s = stage(
        settings=GatewaySettings(missing_parent="always", missing_parent_uses_id=uses)
    )
    s.place(1, "BUY 100 LMT 90", transmit=False)
    s.place(2, "SELL 100 LMT 110", parent_id=1)
    s.run_for(0.1)
    s.place(2, "SELL 100 LMT 110", parent_id=1)
    s.run_for(1)
    assert s.errors(2) == codes
    assert sorted(s.open()) == ([] if uses else [1, 2])


def test_a_child_that_gives_its_parent_time_finds_it(stage):
    s = stage(settings=GatewaySettings(missing_parent="always"))
    s.place(1, "BUY 100 LMT 90", transmit=False)
    s.run_for(0.05)
    s.place(2, "SELL 100 LMT 110", parent_id=1)
    s.run_for(1)
    assert sorted(s.open()) == [1, 2]


def test_who_misses_its_parent_can_be_left_to_the_seed(stage):
    met = set()
    for seed in range(8):
        s = stage(seed=seed, settings=GatewaySettings(missing_parent="seed"))
        s.bracket("BUY 100 LMT 90")
        s.run_for(1)
        met.add(tuple(s.errors(2)))
    assert met == {(10006,), ()}
