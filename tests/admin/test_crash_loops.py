"""How long a child that dies again and again has to wait, and what is told of it."""

from __future__ import annotations

from admin.crash_loops import MAX_DELAY, SHORT_LIFE_SECONDS, CrashLoops


def test_one_death_costs_no_wait_and_is_no_loop() -> None:
    loops = CrashLoops()
    assert loops.died("worker 0", 0.1) == 0.0
    assert loops.crashing() == {}


def test_waits_grow_up_to_a_bound_and_the_loop_is_told() -> None:
    loops = CrashLoops()
    waits = [loops.died("worker 0", 0.1) for _ in range(40)]
    assert waits == sorted(waits)
    assert (waits[1], waits[-1]) == (0.1, MAX_DELAY)
    assert loops.crashing() == {"worker 0": 40}


def test_life_long_enough_ends_the_loop() -> None:
    loops = CrashLoops()
    for _ in range(3):
        loops.died("admin", 0.1)
    assert not loops.lived("admin", SHORT_LIFE_SECONDS)
    assert loops.lived("admin", SHORT_LIFE_SECONDS + 0.1)
    assert loops.crashing() == {}
    assert not loops.lived("admin", SHORT_LIFE_SECONDS + 0.2)


def test_death_after_a_long_life_begins_anew() -> None:
    loops = CrashLoops()
    for _ in range(5):
        loops.died("admin", 0.1)
    assert loops.died("admin", SHORT_LIFE_SECONDS + 0.1) == 0.0
