from __future__ import annotations

from daemon.fakegateway.lane import Lane


def test_equal_delays_keep_their_order_and_a_shorter_one_overtakes(stage):
    clock, said = stage().clock, []
    lane = Lane(clock)
    lane.after(60.0, lambda: said.append("late"))
    lane.after(60.0, lambda: said.append("later"))
    lane.after(0.3, lambda: said.append("soon"))
    clock.run_until(clock.now().replace(minute=37))
    assert said == ["soon", "late", "later"]
