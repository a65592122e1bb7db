"""Reports of workers become ticks: everything once, clients' bad results once in ten seconds, all of it bounded."""

from __future__ import annotations

import random

from admin.rollout.counts import DEDUPLICATED, MINUTE, MOST_KEYS, ArmCounts, Counts, LastMinute


def test_reports_add_up_until_they_are_taken() -> None:
    arm = ArmCounts()
    arm.add(10, 2, {5: 8})
    arm.add(20, 0, {5: 19, 7: 1})
    assert arm.take() == Counts(30, 2, {5: 27, 7: 1})
    assert arm.take() == Counts()


def test_keys_count_once_over_workers_for_ten_seconds_from_the_first() -> None:
    arm = ArmCounts()
    arm.add(10, 5, {}, keys=(1, 2), now=100.0)
    arm.add(10, 5, {}, keys=(2, 3), now=100.1)  # another worker
    assert arm.take().bad == 3
    arm.add(10, 5, {}, keys=(1, 2, 3), now=100.0 + DEDUPLICATED - 0.01)
    assert arm.take().bad == 0
    arm.add(10, 5, {}, keys=(1, 2, 3), now=100.0 + DEDUPLICATED)
    assert arm.take().bad == 2  # that of 3 is a tenth of a second younger


def test_arms_remember_their_own_keys() -> None:
    canary, stable = ArmCounts(), ArmCounts()
    for arm in (canary, stable):
        arm.add(1, 1, {}, keys=(7,), now=1.0)
        assert arm.take().bad == 1


def test_memory_is_bounded_and_what_is_beyond_is_unlisted() -> None:
    arm = ArmCounts()
    arm.add(2 * MOST_KEYS, 0, {}, keys=range(MOST_KEYS + 5), unlisted=3, now=0.0)
    assert arm.take() == Counts(2 * MOST_KEYS, MOST_KEYS, {}, 8)
    arm.add(9, 0, {}, keys=(MOST_KEYS + 1,), now=DEDUPLICATED)
    assert arm.take() == Counts(9, 1)


def test_bad_results_are_never_more_than_requests() -> None:
    """A worker may report a request's end and its key in two reports."""
    arm = ArmCounts()
    arm.add(1, 3, {})
    assert arm.take().bad == 1


def test_last_minute_is_what_was_added_in_sixty_seconds() -> None:
    minute = LastMinute()
    chances = random.Random(3)
    added: list[tuple[float, int]] = []
    now = 1000.0
    for _ in range(2000):
        now += chances.random() * 0.3
        bucket = chances.randrange(200)
        minute.add({bucket: 1}, now)
        added.append((now, bucket))
        within = sorted(b for at, b in added if int(at) > int(now) - MINUTE)
        assert minute.edge(0.0) == within[0]
        assert minute.edge(0.5) == within[(len(within) + 1) // 2 - 1]
        assert minute.edge(1.0) == within[-1]
        assert minute.span(now) <= MINUTE


def test_last_minute_of_nothing_has_no_quantile() -> None:
    minute = LastMinute()
    assert minute.edge(0.5) is None
    assert minute.span(5.0) == 0.0
    minute.add({3: 10}, 5.0)
    minute.add({}, 5.0 + MINUTE + 1)
    assert minute.edge(0.5) is None


def test_last_minute_bears_a_clock_that_goes_back() -> None:
    minute = LastMinute()
    minute.add({3: 10}, 50.0)
    minute.add({4: 30}, 20.0)
    assert minute.edge(0.5) == 4
    minute.add({}, 50.0 + MINUTE)
    assert minute.edge(0.5) is None
