"""Windows, totals and quantiles from the workers' reports."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.metrics import LE, cumulative
from admin.rates import NO_TRAFFIC, WINDOW, Rates, quantile
from proxy.control import Stats, Workers, WorkerState
from proxy.stats import EDGES, Tally, WorkerStats


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def report(requests: Iterable[tuple[int, float]], worker: int = 0, gauges: dict[str, float] | None = None) -> Stats:
    """What a worker sends after these requests (code, seconds) of route shop to blue, made by the worker's own counting."""
    stats = WorkerStats()
    for code, seconds in requests:
        stats.named("shop", "blue").add(code, seconds)
    return Stats(worker, *stats.take(), gauges or {})


def test_a_window_has_the_rates_of_the_last_ten_seconds() -> None:
    clock = Clock()
    rates = Rates(clock)
    clock.now += 100
    rates.add(report([(200, 0.010)] * 15 + [(503, 0.010)] * 5))
    rate = rates.window()["shop", "blue"]
    assert (rate.rps, rate.error_rate) == (2.0, 0.25)
    assert rate.p50_ms == pytest.approx(10, rel=0.045)


def test_a_window_forgets_and_the_totals_do_not() -> None:
    clock = Clock()
    rates = Rates(clock)
    rates.add(report([(200, 0.010)]))
    clock.now += WINDOW
    assert rates.window() == {}
    assert rates.totals["shop", "blue"].codes == {200: 1}


def test_a_young_gateway_is_not_averaged_with_the_time_before_it() -> None:
    clock = Clock()
    rates = Rates(clock)
    clock.now += 2
    rates.add(report([(200, 0.010)] * 20))
    assert rates.window()["shop", "blue"].rps == 10.0


def test_no_traffic_is_unknown_and_not_zero_errors() -> None:
    assert (NO_TRAFFIC.rps, NO_TRAFFIC.error_rate, NO_TRAFFIC.p99_ms) == (0.0, None, None)


def test_reports_of_several_workers_add_up() -> None:
    rates = Rates(Clock())
    for worker in range(3):
        rates.add(report([(200, 0.1), (404, 0.2)], worker))
    total = rates.totals["shop", "blue"]
    assert total.codes == {200: 3, 404: 3}
    assert total.seconds == pytest.approx(0.9)
    assert sum(total.buckets) == 6


def test_gauges_of_a_worker_that_is_gone_count_no_more() -> None:
    rates = Rates(Clock())
    for worker in (0, 1):
        rates.add(report([], worker, {"connections": 5.0, "endpoint_in_flight blue http://a": 2.0}))
    assert rates.gauges()["connections"] == 10.0
    rates.adopt(Workers((WorkerState(1, 1, True, 1, 0.0),), 1))
    assert (rates.gauges()["connections"], rates.in_flight()) == (5.0, {"blue": 2})


@given(st.lists(st.floats(0.0002, 1000), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_within_half_a_bucket_of_the_exact_one(seconds: list[float], share: float) -> None:
    tally = Tally()
    for each in seconds:
        tally.add(200, each)
    exact = sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]
    assert quantile(tally.buckets, share) == pytest.approx(exact, rel=0.046)


@given(st.lists(st.floats(0.00001, 100_000), max_size=300))
def test_a_histogram_is_cumulative_and_each_edge_within_a_bucket(seconds: list[float]) -> None:
    tally = Tally()
    for each in seconds:
        tally.add(200, each)
    found = cumulative([tally.buckets.get(index, 0) for index in range(len(EDGES) + 1)])
    counts = [count for _, count in found]
    assert counts == sorted(counts)
    assert counts[-1] == len(seconds)
    for le, count in zip(LE, counts, strict=False):
        assert sum(each <= le / 1.09 for each in seconds) <= count <= sum(each <= le * 1.09 for each in seconds)
