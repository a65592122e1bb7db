"""Reports of workers become ticks: everything once, clients' bad results once in ten seconds, all of it bounded."""

from __future__ import annotations

import random

from admin.rollout.counts import DEDUPLICATED, MINUTE, MOST_KEYS, ArmCounts, Counts, LastMinute
from proxy.arms import MAX_KEYS
from proxy.control import Arm


def report(requests: int, bad: int = 0, keys: tuple[int, ...] = (), unlisted: int = 0, **buckets: int) -> Arm:
    return Arm("shop", "canary", requests, bad, {int(name[1:]): n for name, n in buckets.items()}, keys, unlisted)


def test_reports_add_up_until_they_are_taken() -> None:
    """Without keys each bad result is a draw of its own."""
    arm = ArmCounts()
    arm.add(report(10, 2, b5=8), 0.0)
    arm.add(report(20, b5=19, b7=1), 0.0)
    assert arm.take() == Counts(30, 2, {5: 27, 7: 1}, 0, 2)
    assert arm.take() == Counts()


def test_keys_count_once_over_workers_for_ten_seconds_from_the_first() -> None:
    arm = ArmCounts()
    arm.add(report(10, 5, keys=(1, 2)), 100.0)
    arm.add(report(10, 5, keys=(2, 3)), 100.1)  # another worker
    assert arm.take() == Counts(20, 3, failed=10)
    arm.add(report(10, 5, keys=(1, 2, 3)), 100.0 + DEDUPLICATED - 0.01)
    assert arm.take().bad == 0
    arm.add(report(10, 5, keys=(1, 2, 3)), 100.0 + DEDUPLICATED)
    assert arm.take().bad == 2  # that of 3 is a tenth of a second younger


def test_arms_remember_their_own_keys() -> None:
    canary, stable = ArmCounts(), ArmCounts()
    for arm in (canary, stable):
        arm.add(report(1, 1, keys=(7,)), 1.0)
        assert arm.take().bad == 1


def test_more_clients_than_a_worker_lists_are_unlisted() -> None:
    arm = ArmCounts()
    arm.add(report(5000, 4000, keys=tuple(range(MAX_KEYS)), unlisted=500), 0.0)
    assert arm.take() == Counts(5000, MAX_KEYS, {}, 500, 4000)


def test_memory_is_bounded_and_what_is_beyond_is_unlisted() -> None:
    arm = ArmCounts()
    reports, left = divmod(MOST_KEYS + 5, MAX_KEYS - 1)
    for number in range(reports + 1):
        count = MAX_KEYS - 1 if number < reports else left
        arm.add(report(count, count, keys=tuple(number * MAX_KEYS + key for key in range(count))), 0.0)
    assert arm.take() == Counts(MOST_KEYS + 5, MOST_KEYS, {}, 5, MOST_KEYS + 5)
    arm.add(report(9, 1, keys=(7,)), DEDUPLICATED)
    assert arm.take() == Counts(9, 1, failed=1)


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


def test_last_minute_of_nothing_has_no_quantile() -> None:
    minute = LastMinute()
    assert minute.edge(0.5) is None
    assert not minute.known
    minute.add({3: 10}, 5.0)
    assert minute.known
    minute.add({}, 5.0 + MINUTE + 1)
    assert minute.edge(0.5) is None


def test_last_minute_bears_a_clock_that_goes_back() -> None:
    minute = LastMinute()
    minute.add({3: 10}, 50.0)
    minute.add({4: 30}, 20.0)
    assert minute.edge(0.5) == 4
    minute.add({}, 50.0 + MINUTE)
    assert minute.edge(0.5) is None
