"""Slow start: who warms up, what share that is over the window, and that nothing else changes by it."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from proxy.control import Publish
from proxy.pool import Pool
from proxy.rotation import LEAST_SHARE, Upstreams
from routing.notation import endpoint
from routing.snapshot import Endpoints, Snapshot
from tests.proxy.fakes import BLUE, CANARY, Scene, snapshot_of

ONE, TWO, THREE, FOUR = (f"http://10.0.1.{number}" for number in range(1, 5))
WINDOW = 100.0
DRAWS = 20_000


class Worker:
    """The endpoints of one upstream, as one worker has them."""

    def __init__(self, *urls: str, **settings: Any) -> None:
        self.now = 0.0
        self.upstreams = Upstreams(lambda pool, upstream: None, Random(7))  # the same draws in every run
        self.load(*urls, **settings)

    def load(self, *urls: str, slow_start: float | None = WINDOW, **settings: Any) -> None:
        """A configuration with these endpoints."""
        blue = {"endpoints": list(urls), "slow_start": slow_start, **settings}
        self.snapshot = snapshot_of(upstreams={"canary": {"endpoints": [CANARY]}, "blue": blue})
        self._adopt(self.snapshot)

    def _adopt(self, snapshot: Snapshot) -> None:
        self.upstreams.adopt(snapshot.upstreams, 0, self.now)

    def lay(self, *, listed: Any = None, drained: Any = (), unhealthy: Any = ()) -> None:
        """Live endpoints."""
        live = Endpoints(
            None if listed is None else tuple(map(endpoint, listed)), frozenset(drained), frozenset(unhealthy)
        )
        self._adopt(self.snapshot.with_endpoints({"blue": live}))

    def at(self, seconds: float) -> None:
        self.now = seconds
        self.upstreams.expire(seconds)

    def pool(self, url: str) -> Pool:
        [found] = [pool for pool in self.upstreams.all() if pool.endpoint.url == url]
        return found

    def fail(self, url: str) -> None:
        assert self.upstreams.failed(self.pool(url), self.now) == "made"

    def shares(self, requests: int = DRAWS, **how: Any) -> dict[str, float]:
        """Of so many requests, each of which ends before the next."""
        counts: Counter[str] = Counter()
        for _ in range(requests):
            pool = self.upstreams.pick(1, **how)
            assert pool is not None
            counts[pool.endpoint.url] += 1
        return {url: count / requests for url, count in counts.items()}


# (of the window that has passed, endpoints, the newcomer's share of an equal one): Envoy's, with aggression 1 and 10 % at least
OVER_THE_WINDOW = [
    (passed, count, share)
    for count in (2, 3, 8)
    for passed, share in ((0.0, 0.1), (0.05, 0.1), (0.25, 0.25), (0.5, 0.5), (0.75, 0.75), (0.99, 0.99))
]


@pytest.mark.parametrize(("passed", "count", "share"), OVER_THE_WINDOW)
def test_share_grows_over_the_window(passed: float, count: int, share: float) -> None:
    urls = [f"http://10.0.2.{number}" for number in range(count)]
    worker = Worker(*urls[1:])
    worker.lay(listed=urls)
    worker.at(passed * WINDOW)
    found = worker.shares()
    # Four standard deviations of so many draws; the others share the rest alike.
    most = 4 * (share / count / DRAWS) ** 0.5
    assert found[urls[0]] == pytest.approx(share / count, abs=most)
    rest = (1 - share / count) / (count - 1)
    assert [found[url] for url in urls[1:]] == pytest.approx([rest] * (count - 1), abs=4 * (rest / DRAWS) ** 0.5)


def test_after_the_window_shares_are_equal_and_nothing_warms_up() -> None:
    worker = Worker(ONE)
    worker.lay(listed=[ONE, TWO])
    worker.at(WINDOW)
    assert worker.pool(TWO).share == 1.0
    assert worker.shares()[TWO] == pytest.approx(0.5, abs=0.02)


def test_endpoint_that_warms_up_gets_nothing_while_it_has_more_requests_than_another() -> None:
    worker = Worker(ONE)
    worker.lay(listed=[ONE, TWO])
    worker.at(WINDOW / 2)
    worker.pool(TWO).leased = 1
    assert worker.shares(1000) == {ONE: 1.0}
    worker.pool(ONE).leased = 1
    assert worker.shares()[TWO] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("how", ["added", "enabled", "healthy", "readmitted", "declared"])
def test_endpoint_that_comes_to_others_warms_up(how: str) -> None:
    worker = Worker(ONE, TWO, outlier={"consecutive_5xx": 1, "ejection": 30})
    assert (worker.pool(ONE).share, worker.pool(TWO).share) == (1.0, 1.0)
    url = TWO
    if how == "added":
        url = THREE
        worker.lay(listed=[ONE, TWO, THREE])
    elif how == "enabled":
        worker.lay(drained=[TWO])
        worker.lay()
    elif how == "healthy":
        worker.lay(unhealthy=[TWO])
        worker.lay()
    elif how == "readmitted":
        worker.fail(TWO)
        worker.at(30)
    else:
        url = FOUR
        worker.load(ONE, TWO, FOUR)
    assert [pool.share for pool in worker.upstreams.all() if pool.endpoint.url in (ONE, url)] == [1.0, LEAST_SHARE]
    worker.lay(listed=[ONE, url])  # a change of others, or of nothing, begins no new window
    worker.at(worker.now + WINDOW / 2)
    assert worker.pool(url).share == pytest.approx(0.5)


def test_all_that_come_at_once_to_nobody_share_alike() -> None:
    """At a start, in a worker that replaces another, and where nothing was in rotation."""
    worker = Worker(ONE, TWO)
    assert worker.shares()[ONE] == pytest.approx(0.5, abs=0.02)
    worker.lay(unhealthy=[ONE, TWO])
    worker.lay(unhealthy=[TWO])
    assert worker.pool(ONE).share == 1.0
    worker.lay()
    assert worker.pool(TWO).share == LEAST_SHARE


def test_endpoint_whose_warm_neighbours_leave_has_all_at_once() -> None:
    worker = Worker(ONE)
    worker.lay(listed=[ONE, TWO, THREE])
    worker.at(WINDOW / 4)
    worker.lay(listed=[ONE, TWO, THREE], drained=[ONE])
    assert (worker.pool(TWO).share, worker.pool(THREE).share) == (1.0, 1.0)
    worker.lay(listed=[ONE, TWO, THREE])
    assert (worker.pool(ONE).share, worker.pool(TWO).share) == (LEAST_SHARE, 1.0)


def test_endpoint_that_comes_back_while_it_warms_up_begins_anew() -> None:
    worker = Worker(ONE, TWO)
    worker.lay(drained=[TWO])
    worker.lay()
    worker.at(WINDOW / 2)
    worker.lay(drained=[TWO])
    worker.lay()
    assert worker.pool(TWO).share == LEAST_SHARE


def test_retry_goes_to_the_one_that_was_not_tried_warm_or_not() -> None:
    worker = Worker(ONE, TWO)
    worker.lay(listed=[ONE, TWO, THREE])
    one, two, three = worker.pool(ONE), worker.pool(TWO), worker.pool(THREE)
    assert worker.shares(50, tried=(one, two)) == {THREE: 1.0}
    assert worker.shares(50, tried=(one, three)) == {TWO: 1.0}
    assert set(worker.shares(1000, tried=(one, two, three))) == {ONE, TWO, THREE}


def test_without_the_setting_nothing_warms_up_and_a_reload_without_it_ends_it() -> None:
    worker = Worker(ONE, slow_start=None)
    worker.lay(listed=[ONE, TWO])
    assert worker.pool(TWO).share == 1.0
    worker.load(ONE)
    worker.lay(listed=[ONE, TWO])
    assert worker.pool(TWO).share == LEAST_SHARE
    worker.load(ONE, TWO, slow_start=None)
    assert worker.pool(TWO).share == 1.0


def test_plane_warms_up_what_is_added_live_by_its_own_clock() -> None:
    scene = Scene(upstreams={"blue": {"endpoints": [BLUE], "slow_start": WINDOW}})
    scene.pass_time(30)
    scene.plane.apply(Publish(2, {}, endpoints={"blue": Endpoints(tuple(map(endpoint, (BLUE, ONE))))}))
    for seconds, share in ((31, LEAST_SHARE), (80, 0.5), (130, 1.0)):
        scene.pass_time(seconds)
        assert scene.pools[ONE].share == pytest.approx(share)
    assert scene.pools[BLUE].share == 1.0
