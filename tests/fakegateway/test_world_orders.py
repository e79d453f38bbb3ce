from __future__ import annotations

from decimal import Decimal

import pytest

from daemon.fakegateway.values import GatewaySettings

WHOLE = {"partial_fills": False}


# --- the sequences of the wire, as the protocol has them ----------------------


def test_a_market_order_is_never_submitted_and_its_commission_comes_last(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    assert s.talk() == []
    s.run_for(5)
    assert s.talk() == [
        "openOrder 1 PreSubmitted",
        "orderStatus 1 PreSubmitted",
        "execDetails 1 100",
        "openOrder 1 Filled",
        "orderStatus 1 Filled",
        "openOrder 1 Filled commission 1.000000",
        "Commissioned",
        "HoldingChanged",
    ]
    assert s.fills(1) == [("09:35:00", "100", "100.01")]


def test_a_limit_order_rests_as_submitted_until_the_market_comes_to_it(stage):
    s = stage(path=(("09:30", "100"), ("10:30", "100"), ("11:30", "90")))
    s.place(1, "BUY 100 LMT 95.00")
    s.run_to("10:59:00")
    assert s.statuses(1) == ["PreSubmitted", "Submitted"]
    s.run_to("11:30:00")
    assert s.statuses(1)[-1] == "Filled"
    ((at, shares, price),) = s.fills(1)
    assert (shares, price) == ("100", "95.00")
    assert "11:00:00" <= at <= "11:00:30"


def test_an_arriving_limit_order_takes_the_better_price(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 105")
    s.run_for(1)
    assert s.fills(1) == [("09:35:00", "100", "100.01")]


def test_a_stop_waits_for_its_trigger_and_trades_through_a_gap(stage):
    s = stage(path=(("09:30", "100"), ("10:00", "100"), ("10:00:15", "92")))
    s.place(1, "SELL 100 STP 98")
    s.run_for(1)
    assert s.talk() == [
        "openOrder 1 PreSubmitted",
        "orderStatus 1 PreSubmitted trigger",
    ]
    s.run_to("10:01:00")
    assert s.fills(1) == [("10:00:15", "100", "91.99")]


def test_a_partial_fill_leaves_the_order_working_until_the_rest_comes(stage):
    found = None
    for seed in range(20):
        s = stage(seed=seed, settings=GatewaySettings())
        s.place(1, "BUY 127 LMT 101")
        s.run_for(120)
        if len(s.fills(1)) > 1:
            found = s
            break
    assert found is not None
    shares = [int(one[1]) for one in found.fills(1)]
    assert sum(shares) == 127
    assert found.statuses(1) == [
        "PreSubmitted",
        *["Submitted"] * (len(shares) - 1),
        "Filled",
    ]
    assert found.fills(1)[1][0] == "09:35:15"


def test_the_commission_of_many_executions_is_that_of_one_order(stage):
    for seed in range(10):
        s = stage(seed=seed, settings=GatewaySettings())
        s.place(1, "BUY 1000 MKT")
        s.run_for(60)
        amounts = [Decimal(a) for (a,) in s.written("commission", "amount")]
        assert sum(amounts) == 5
        assert len(amounts) == len(s.fills(1))


# --- brackets ------------------------------------------------------------------


def test_untransmitted_orders_have_a_perm_id_and_are_otherwise_silent(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 100.01", transmit=False)
    s.place(2, "SELL 100 LMT 102", parent_id=1, transmit=False)
    s.run_for(60)
    assert s.talk() == []
    assert s.open() == {}
    assert s.written("placed", "order_id", "perm_id") == [
        (1, 1500000001),
        (2, 1500000002),
    ]
    assert s.written("released", "perm_id") == []


def test_the_last_child_releases_the_family_and_children_wait_for_the_parent(stage):
    s = stage()
    s.bracket("BUY 100 LMT 99")
    s.run_for(60)
    assert s.talk() == [
        "openOrder 1 PreSubmitted",
        "orderStatus 1 PreSubmitted",
        "openOrder 2 PreSubmitted",
        "orderStatus 2 PreSubmitted child",
        "openOrder 3 PreSubmitted",
        "orderStatus 3 PreSubmitted child",
        "openOrder 1 Submitted",
        "orderStatus 1 Submitted",
    ]
    assert s.written("released", "perm_id") == [
        (1500000001,),
        (1500000002,),
        (1500000003,),
    ]


def test_children_come_alive_when_the_parent_is_filled(stage):
    s = stage()
    s.bracket()
    s.run_for(5)
    assert s.statuses(1)[-1] == "Filled"
    assert s.talk().index("orderStatus 3 PreSubmitted trigger") > s.talk().index(
        "orderStatus 1 Filled"
    )
    assert (s.open()[2].status, s.open()[3].status) == ("Submitted", "PreSubmitted")
    assert s.open()[3].why_held == "trigger"


def test_the_target_fills_and_the_stop_is_cancelled(stage):
    s = stage(path=(("09:30", "100"), ("10:00", "100"), ("11:00", "103")))
    s.bracket()
    s.run_to("11:00:00")
    assert s.fills(2)[0][1:] == ("100", "102")
    assert s.statuses(3)[-1] == "Cancelled"
    assert s.errors(3) == [202]
    assert s.position == "0"


def test_the_stop_fills_and_the_target_is_cancelled(stage):
    s = stage(path=(("09:30", "100"), ("10:00", "100"), ("11:00", "97")))
    s.bracket()
    s.run_to("11:00:00")
    assert s.statuses(2)[-1] == "Cancelled"
    assert s.errors(2) == [202]
    assert s.position == "0"


def test_a_cancelled_parent_takes_its_children_along(stage):
    s = stage()
    s.bracket("BUY 100 LMT 99")
    s.run_for(1)
    s.world.cancel(7, 1)
    s.run_for(1)
    assert [s.statuses(n)[-1] for n in (1, 2, 3)] == ["Cancelled"] * 3
    assert [s.errors(n) for n in (1, 2, 3)] == [[202], [202], [202]]
    assert s.open() == {}


@pytest.mark.parametrize(("cascade", "left"), [("never", [3]), ("always", [])])
def test_cancelling_a_child_spares_its_sibling_or_not_as_set(stage, cascade, left):
    s = stage(settings=GatewaySettings(cancel_cascades=cascade, **WHOLE))
    s.bracket()
    s.run_for(1)
    s.world.cancel(7, 2)
    s.run_for(1)
    assert list(s.open()) == left


def test_whether_a_cancel_spreads_can_be_left_to_the_seed(stage):
    left = set()
    for seed in range(12):
        s = stage(seed=seed, settings=GatewaySettings(cancel_cascades="seed", **WHOLE))
        s.bracket()
        s.run_for(1)
        s.world.cancel(7, 2)
        s.run_for(1)
        left.add(len(s.open()))
    assert left == {0, 1}


def test_an_untransmitted_order_is_discarded_not_cancelled(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 99", transmit=False)
    s.place(2, "SELL 100 LMT 102", parent_id=1, transmit=False)
    s.run_for(1)
    s.world.cancel(7, 2)
    s.run_for(1)
    assert sorted(s.errors(2)) == [161, 202]
    assert "discarded" in " ".join(s.error_texts(2))
    assert s.written("discarded", "order_id") == [(2,)]
    s.place(3, "SELL 100 STP 98", parent_id=1)
    s.run_for(1)
    assert sorted(s.open()) == [1, 3]


def test_a_child_without_its_parent_is_refused_alone(stage):
    s = stage()
    s.place(2, "SELL 100 LMT 102", parent_id=1)
    s.run_for(1)
    assert s.errors(2) == [10006]


def test_a_refused_last_child_leaves_the_family_untransmitted(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 100.01", transmit=False)
    s.place(2, "SELL 100 STP 98.005", parent_id=1)
    s.run_for(60)
    assert s.errors(2) == [110]
    assert s.open() == {}
    assert s.position == "0"


def part_filled(stage, activation: str):
    """Return a stage on which the entry of 100 has filled in part, and the part."""
    for seed in range(40):
        settings = GatewaySettings(child_activation=activation)
        s = stage(
            seed=seed,
            settings=settings,
            path=(("09:35", "100"), ("09:35:15", "102"), ("10:00", "103")),
        )
        s.bracket("BUY 100 LMT 100.01")
        s.run_to("09:35:14")
        filled = s.open()[1].filled if 1 in s.open() else 0
        if filled:
            return s, filled
    raise AssertionError("no seed fills in part")


def test_children_sleep_until_the_full_fill_by_default(stage):
    s, filled = part_filled(stage, "full_fill")
    assert s.open()[2].why_held == s.open()[3].why_held == "child"
    s.run_to("10:00:00")
    assert s.fills(2) == []
    assert s.position == str(filled)


def test_children_may_come_alive_for_the_filled_part(stage):
    s, filled = part_filled(stage, "filled_part")
    s.run_to("10:00:00")
    assert sum(int(shares) for _, shares, _ in s.fills(2)) == filled
    assert s.position == "0"
    assert s.clock.calls < 60


def test_children_may_come_alive_at_full_size_and_then_sell_short(stage):
    s, filled = part_filled(stage, "first_fill")
    s.run_to("10:00:00")
    assert sum(int(shares) for _, shares, _ in s.fills(2)) == 100
    assert s.position == str(filled - 100)


def test_how_children_come_alive_can_be_left_to_the_seed(stage):
    held = set()
    for seed in range(60):
        s = stage(seed=seed, settings=GatewaySettings(child_activation="seed"))
        s.bracket("BUY 100 LMT 100.01")
        s.run_to("09:35:14")
        if 1 in s.open() and s.open()[1].filled:
            held.add(s.open()[3].why_held)
    assert held == {"child", "trigger"}


def test_a_part_filled_parent_that_is_cancelled_leaves_its_shares_unguarded(stage):
    s, filled = part_filled(stage, "full_fill")
    s.world.cancel(7, 1)
    s.run_for(2)
    assert s.open() == {}
    assert s.errors(2) == s.errors(3) == [202]
    assert s.position == str(filled)


# --- OCA groups ------------------------------------------------------------------


def oca(stage, kind: int, seed_range: int = 40):
    """Return a stage where member 1 of 100 just filled in part; 2 is its sibling."""
    for seed in range(seed_range):
        s = stage(seed=seed, settings=GatewaySettings())
        s.world.endow("DU1234567", "AAPL", Decimal(100), Decimal(90))
        s.place(1, "SELL 100 LMT 99", oca_group="G", oca_type=kind)
        s.place(2, "SELL 100 STP 95", oca_group="G", oca_type=kind)
        s.run_for(0.075)
        if 1 in s.open() and s.open()[1].filled:
            return s, s.open()[1].filled
    raise AssertionError("no seed fills in part")


def test_type_1_drops_the_sibling_on_a_partial_fill(stage):
    s, _ = oca(stage, 1)
    assert list(s.open()) == [1]
    assert s.errors(2) == [202]


def test_type_2_reduces_the_sibling_at_once(stage):
    s, filled = oca(stage, 2)
    assert s.open()[2].remaining == 100 - filled


@pytest.mark.parametrize("kind", [0, 3])
def test_type_3_reduces_the_sibling_a_moment_later(stage, kind):
    s, filled = oca(stage, kind)
    assert s.open()[2].remaining == 100
    s.run_for(0.1)
    assert s.open()[2].remaining == 100 - filled
    s.run_for(120)
    assert s.errors(2) == [202]
    assert s.position == "0"


def test_groups_of_the_same_name_of_two_clients_are_two_groups(stage):
    s = stage()
    s.connect(8)
    s.place(1, "BUY 10 LMT 100.01", oca_group="G", oca_type=1)
    s.place(1, "BUY 10 LMT 99", client_id=8, oca_group="G", oca_type=1)
    s.run_for(5)
    assert list(s.open(8)) == [1]


# --- cancel and modify -------------------------------------------------------------


def test_a_cancel_passes_through_pending_and_ends_with_202(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 99")
    s.run_for(1)
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.talk()[-3:] == [
        "orderStatus 1 PendingCancel",
        "orderStatus 1 Cancelled",
        "error 1 202",
    ]
    assert s.written("cancel_requested", "client_id", "order_id", "perm_id") == [
        (7, 1, 1500000001)
    ]


def test_a_fill_may_win_the_race_against_the_cancel(stage):
    s = stage(path=(("09:30", "100"), ("10:00", "100"), ("10:00:15", "98")))
    s.place(1, "BUY 100 LMT 99")
    s.run_to("10:00:14.960000")
    s.world.cancel(7, 1)
    s.run_for(1)
    assert s.statuses(1)[-2:] == ["PendingCancel", "Filled"]
    assert s.errors(1) == [10148]
    assert "state: Filled" in s.error_text(1)


def test_a_part_filled_order_that_is_being_cancelled_stays_pending(stage):
    ends = []
    for seed in range(20):
        s = stage(seed=seed, settings=GatewaySettings())
        s.place(1, "BUY 100 LMT 101")
        s.run_for(0.03)
        s.world.cancel(7, 1)
        s.run_for(1)
        ends.append(s.statuses(1))
    assert ["PreSubmitted", "PendingCancel", "PendingCancel", "Cancelled"] in ends
    assert ["PreSubmitted", "PendingCancel", "Filled"] in ends


def test_the_answers_to_a_cancel_that_comes_to_nothing(stage):
    s = stage()
    s.place(1, "BUY 100 MKT")
    s.run_for(1)
    s.world.cancel(7, 1)
    s.world.cancel(7, 99)
    s.run_for(1)
    assert s.errors(1) == [10148]
    assert s.errors(99) == [10147]
    s.place(2, "BUY 100 LMT 99")
    s.run_for(1)
    s.world.cancel(7, 2)
    s.world.cancel(7, 2)
    s.run_for(1)
    assert s.errors(2) == [10148, 202]


def test_only_its_own_client_can_cancel_an_order_but_anybody_all(stage):
    s = stage()
    s.connect(8)
    s.place(1, "BUY 100 LMT 99")
    s.run_for(1)
    s.world.cancel(8, 1)
    s.run_for(1)
    assert s.errors(1, client_id=8) == [10147]
    assert list(s.open()) == [1]
    s.world.global_cancel(8)
    s.run_for(1)
    assert s.open() == {}
    assert s.errors(1) == [202]


def test_a_modified_limit_takes_effect(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 99")
    s.run_for(1)
    s.place(1, "BUY 60 LMT 100.02")
    s.run_for(1)
    assert s.fills(1) == [("09:35:01", "60", "100.01")]
    assert s.written("modified", "order_id", "perm_id", "limit_price") == [
        (1, 1500000001, "100.02")
    ]
    assert len(s.written("placed", "order_id")) == 1


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("BUY 100 MKT", "BUY 100 MKT", 104),
        ("BUY 100 LMT 99", "SELL 100 LMT 99", 105),
        ("BUY 100 LMT 99", "BUY 100 MKT", 329),
        ("BUY 100 LMT 99", "BUY 100 LMT 99.001", 110),
    ],
)
def test_a_refused_modification_leaves_the_order_as_it_was(stage, first, second, code):
    s = stage()
    s.place(1, first)
    s.run_for(1)
    before = list(s.open())
    s.place(1, second)
    s.run_for(1)
    assert s.errors(1) == [code]
    assert list(s.open()) == before


def test_a_modification_below_the_filled_quantity_is_refused_with_201(stage):
    s, filled = part_filled(stage, "full_fill")
    s.place(1, f"BUY {filled} LMT 100.01")
    s.run_for(0.5)
    assert s.errors(1) == [201]
    assert s.open()[1].remaining == 100 - filled


def test_an_order_that_is_being_cancelled_cannot_be_modified(stage):
    s = stage()
    s.place(1, "BUY 100 LMT 99")
    s.run_for(1)
    s.world.cancel(7, 1)
    s.place(1, "BUY 100 LMT 99.50")
    s.run_for(1)
    assert s.errors(1) == [2102, 202]


def test_an_old_id_is_a_duplicate(stage):
    s = stage()
    s.place(5, "BUY 100 LMT 99")
    s.run_for(1)
    s.place(3, "BUY 100 LMT 99")
    s.world.cancel(7, 5)
    s.run_for(1)
    s.place(5, "BUY 100 LMT 99")
    s.run_for(1)
    assert s.errors(3) == [103]
    assert s.errors(5) == [202, 103]
    assert s.open() == {}
    assert s.world.next_valid_id(7) == 6


# --- refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "more", "code"),
    [
        ("BUY 100 LMT 99.005", {}, 110),
        ("BUY 100 LMT", {}, 321),
        ("BUY 100 MOC", {"tif": "GTC"}, 113),
        ("BUY 100 MKT", {"symbol": "ZZZ"}, 200),
        ("BUY 100 MKT", {"tif": "IOC"}, 201),
        ("BUY 100000 MKT", {}, 201),
        ("SELL 10 MKT", {"symbol": "AVDL.CVR"}, 203),
        ("BUY 100 MKT", {"account": "DU9"}, 321),
        ("HOLD 100 MKT", {}, 321),
        ("BUY 100 TRAIL", {}, 387),
        ("BUY 100 MKT", {"good_after_time": "15:59"}, 391),
        ("BUY 100 MKT", {"tif": "GTD"}, 391),
        ("BUY 100 MKT", {"tif": "GTD", "good_till_date": "20260219-14:00:00"}, 201),
        ("BUY 0 MKT", {}, 434),
        ("BUY 1.5 MKT", {}, 10318),
        ("BUY 1 MKT", {"e_trade_only": True}, 10268),
        ("BUY 1 MKT", {"firm_quote_only": True}, 10269),
    ],
)
def test_a_bad_order_is_refused_with_its_code_and_does_not_live(
    stage, text, more, code
):
    s = stage()
    s.place(1, text, **more)
    s.run_for(5)
    assert s.errors(1) == [code]
    assert s.open() == {}
    assert s.fills(1) == []


def test_a_rejected_order_stays_as_inactive_or_not_at_all_by_seed(stage):
    ends = set()
    for seed in range(12):
        s = stage(seed=seed)
        s.place(1, "BUY 100000 MKT")
        s.run_for(1)
        ends.add(tuple(s.talk()))
        assert s.world.open_orders(7) == []
    assert ends == {
        ("error 1 201",),
        ("openOrder 1 Inactive", "orderStatus 1 Inactive", "error 1 201"),
    }


@pytest.mark.parametrize(
    ("settings", "text", "more", "code"),
    [
        ({"size_preset": 500}, "BUY 501 LMT 10", {}, 383),
        ({"read_only": True}, "BUY 1 MKT", {}, 321),
        ({"accounts": ("DU1", "DU2")}, "BUY 1 MKT", {"account": ""}, 435),
    ],
)
def test_the_gateway_refuses_what_its_settings_forbid(
    stage, settings, text, more, code
):
    s = stage(settings=GatewaySettings(**settings))
    s.place(1, text, **more)
    s.run_for(5)
    assert s.errors(1) == [code]


def test_the_preset_lets_its_own_size_pass(stage):
    s = stage(settings=GatewaySettings(size_preset=500))
    s.place(1, "BUY 500 LMT 10")
    s.run_for(1)
    assert list(s.open()) == [1]


def test_an_order_that_is_not_routed_smart_meets_the_precaution(stage):
    s = stage()
    s.place(1, "BUY 1 MKT", exchange="NYSE")
    s.run_for(1)
    assert s.errors(1) == [10311]
