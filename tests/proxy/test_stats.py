"""Counts: each request once, buckets that quantiles can be read from, rows that survive a new snapshot."""

from __future__ import annotations

import pytest

from proxy.stats import EDGES, NO_UPSTREAM, Tally, WorkerStats
from tests.proxy.fakes import snapshot_of


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.000100001, 0.0123, 1.0, 60.0, 5000.0])
def test_latency_falls_into_the_bucket_that_holds_it(seconds: float) -> None:
    tally = Tally()
    tally.add(200, seconds)
    [index] = tally.buckets
    assert seconds <= EDGES[index]
    assert index == 0 or EDGES[index - 1] < seconds


def test_latency_beyond_the_last_edge_has_a_bucket() -> None:
    tally = Tally()
    tally.add(200, 1e9)
    assert tally.buckets == {len(EDGES): 1}


def test_counts_are_taken_once_and_by_name() -> None:
    stats = WorkerStats()
    stats.bind(snapshot_of())
    stats.tally(0, 0).add(200, 0.5)
    stats.tally(0, NO_UPSTREAM).add(503, 0.25)
    stats.named("shop", "blue").add(200, 0.5)
    stats.count("retries", "made")
    stats.count("retries", "made", by=2)
    cells, counters = stats.take()
    assert [(cell.route, cell.upstream, cell.codes, cell.seconds) for cell in cells] == [
        ("shop", "blue", {200: 2}, 1.0),
        ("shop", "", {503: 1}, 0.25),
    ]
    assert counters == {("retries", "made"): 3}
    assert stats.take() == ([], {})


def test_counts_of_a_row_survive_a_new_snapshot() -> None:
    stats = WorkerStats()
    stats.bind(snapshot_of())
    stats.tally(0, 0).add(200, 0.5)
    stats.bind(snapshot_of(upstreams={"green": {"endpoints": ["http://a"]}, "blue": {"endpoints": ["http://b"]}}))
    stats.tally(0, 1).add(200, 0.5)
    [cell] = stats.take()[0]
    assert (cell.upstream, cell.codes) == ("blue", {200: 2})
