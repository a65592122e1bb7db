"""A few rollouts of each kind of made-up traffic, through the real judging and machine; `make simulate` has thousands of them."""

from __future__ import annotations

import random
from statistics import median

import pytest

from admin.rollout import counts
from admin.rollout.counts import Counts
from bench.simulated import CHECK_FAILURES, CHECK_SECONDS, Checks, Clients, Ended, Scene, binomial, latencies, run


def several(scene: Scene, seeds: int) -> list[Ended]:
    return [run(scene, seed) for seed in range(seeds)]


# What a rollout does


@pytest.mark.parametrize(("share", "asked"), [(0.005, 40.0), (0.01, 14.0), (0.05, 2.5), (0.5, 1.2)])
def test_failing_canary_is_cut_back_within_the_seconds_asked(share: float, asked: float) -> None:
    ended = several(Scene(canary=share), 100)
    assert median(one.seconds or 1e9 for one in ended) <= asked
    assert all(one.why.endswith(", sure at 99 %") for one in ended)


def test_canary_that_begins_to_fail_later_is_cut_back_soon_as_well() -> None:
    ended = several(Scene(canary=0.01, changes_at=600.0), 7)
    assert median(one.seconds or 1e9 for one in ended) <= 40.0
    assert all((one.seconds or 0.0) > 0.0 for one in ended)


def test_canary_that_is_a_quarter_slower_is_cut_back_within_the_seconds_asked() -> None:
    ended = several(Scene(timed=True, slower=1.25, changes_at=30.0), 7)
    assert median(one.seconds or 1e9 for one in ended) <= 15.0
    assert all(one.why.startswith("canary is slower: p") for one in ended)


@pytest.mark.parametrize(
    "scene",
    [
        Scene(seconds=900.0, tick=1.0),
        Scene(outage=0.2, seconds=900.0, tick=1.0),
        Scene(tries=5.0, seconds=900.0, tick=1.0),
        Scene(timed=True, seconds=120.0, tick=1.0),
    ],
)
def test_no_rollout_is_cut_back_for_nothing(scene: Scene) -> None:
    assert [one.why for one in several(scene, 6)] == [""] * 6


def test_without_deduplication_clients_that_try_again_would_cut_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "DEDUPLICATED", 0.0)
    ended = several(Scene(tries=5.0, seconds=1800.0, tick=1.0), 8)
    assert sum(one.seconds is not None for one in ended) >= 2


def test_a_seed_gives_the_same_rollout_each_time() -> None:
    scene = Scene(canary=0.01, tries=3.0, timed=True, seconds=60.0)
    assert run(scene, 4) == run(scene, 4) != run(scene, 5)


def test_flaggers_rule_is_the_fifth_bad_minute_of_the_canary() -> None:
    checks = Checks()
    for minute in range(1, CHECK_FAILURES + 2):
        assert checks.failed_at is None
        checks.observe(Counts(3000, failed=30 if minute == 3 else 31), minute * CHECK_SECONDS)
    assert checks.failed_at == (CHECK_FAILURES + 1) * CHECK_SECONDS


def test_flaggers_rule_is_late_and_common_outages_trip_it() -> None:
    assert run(Scene(canary=0.5, seconds=400.0, tick=1.0), 1, flagger=True).flagger == 300.0
    outage = Scene(outage=0.2, out_at=60.0, out_for=360.0, seconds=600.0, tick=1.0)
    ended = run(outage, 1, flagger=True)
    assert (ended.seconds, ended.flagger) == (None, 360.0)


# The traffic


@pytest.mark.parametrize(("n", "p"), [(12, 0.3), (950, 0.001), (5, 0.0), (5, 1.0), (0, 0.5)])
def test_failures_are_binomial(n: int, p: float) -> None:
    draw = random.Random(1)
    drawn = [binomial(n, p, draw) for _ in range(20_000)]
    assert all(0 <= one <= n for one in drawn)
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(n * p, abs=4 * (n * p * (1 - p) / len(drawn)) ** 0.5 + 1e-12)
    variance = sum((one - mean) ** 2 for one in drawn) / len(drawn)
    assert variance == pytest.approx(n * p * (1 - p), rel=0.1, abs=1e-12)


def test_clients_try_again_as_often_as_they_should_and_fail_the_share_that_they_should() -> None:
    clients = Clients(random.Random(2))
    reports = [one for number in range(4000) for one in clients.reports(950, 0.01, 5.0, float(number), 1.0)]
    assert sum(one.requests for one in reports) == 4000 * 950
    failed, keys = sum(one.bad for one in reports), {key for one in reports for key in one.keys}
    assert failed / (4000 * 950) == pytest.approx(0.01, rel=0.1)
    assert failed / len(keys) == pytest.approx(5.0, rel=0.1)


def test_latencies_of_a_slower_arm_are_in_higher_buckets() -> None:
    def middle(slower: float) -> int:
        buckets = latencies(10_001, slower, random.Random(3))
        return sorted(bucket for bucket, count in buckets.items() for _ in range(count))[5000]

    assert middle(1.0) == 70  # 40 ms
    assert middle(2.0) - middle(1.0) == 8  # of 9 % each
