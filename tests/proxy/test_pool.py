"""Leases, idle connections and dials: never more than the limit, whoever fails or leaves, and nobody forgotten."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ErrorKind
from proxy.pool import IDLE_SECONDS, MAX_WAITING, Pool
from proxy.rotation import Upstreams
from proxy.upstream import UpstreamConnection
from routing.snapshot import Upstream
from tests.proxy.fakes import BLUE, CANARY, Scene, snapshot_of


class Connection:
    """As much of an UpstreamConnection as the pool knows."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.idle_since = 0.0
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Waiter:
    def __init__(self) -> None:
        self.got: Connection | ErrorKind | None = None

    def granted(self, connection: UpstreamConnection) -> None:
        assert self.got is None
        self.got = cast(Connection, connection)

    def refused(self, kind: ErrorKind) -> None:
        assert self.got is None
        self.got = kind


class Driver:
    """A pool, the dials that it asked for, and who holds what."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dials = 0
        self.made = 0
        self.line: list[Waiter] = []
        self.held: list[Connection] = []
        self.all: list[Connection] = []
        self.pool = Pool(snapshot_of().upstreams[0].endpoints[0], limit, self._dial)

    def _dial(self, pool: Pool) -> None:
        self.dials += 1

    def wait(self) -> Waiter:
        waiter = Waiter()
        self.line.append(waiter)
        assert self.pool.wait(waiter)
        return waiter

    def connect(self) -> Connection:
        connection = Connection(len(self.all))
        self.all.append(connection)
        self.dials -= 1
        self.pool.dialled(cast(UpstreamConnection, connection))
        return connection

    def step(self, what: str, which: int) -> None:
        pool, line = self.pool, self.line
        if what == "take" and (taken := pool.take()) is not None:
            self.held.append(cast(Connection, taken))
        elif what == "wait":
            self.wait()
        elif what == "leave" and line:
            pool.leave(line.pop(which % len(line)))
        elif what == "connect" and self.dials:
            self.connect()
        elif what == "fail" and self.dials:
            self.dials -= 1
            pool.failed(ErrorKind.CONNECT)
        elif what in ("give back", "lose") and self.held:
            connection = self.held.pop(which % len(self.held))
            if what == "give back":
                pool.give_back(cast(UpstreamConnection, connection))
            else:
                connection.close()
                pool.lost()
        elif what == "forget" and self.all:
            connection = self.all[which % len(self.all)]
            if connection not in self.held:
                connection.close()
                pool.forget(cast(UpstreamConnection, connection))
        elif what == "expire":
            for expired in pool.expired(IDLE_SECONDS if which % 2 else 0.0):
                expired.close()
        elif what == "retire":
            pool.retired = True
        for waiter in [waiter for waiter in line if waiter.got is not None]:
            line.remove(waiter)
            if isinstance(waiter.got, Connection):
                self.held.append(waiter.got)

    def check(self) -> None:
        pool = self.pool
        idle = [connection for connection in self.all if connection not in self.held and not connection.closed]
        shown = f"leased={len(self.held)} idle={len(idle)} dialling={self.dials} waiting={len(self.line)}>"
        assert repr(pool).endswith(shown)
        assert len(self.held) + len(idle) + self.dials <= self.limit
        assert pool.load == len(self.held) + len(self.line)
        full = len(self.held) + len(idle) + self.dials == self.limit
        assert not self.line or full or self.dials, "in line, room left, and nobody dials"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["take", "wait", "leave", "connect", "fail", "give back", "lose", "forget", "expire", "retire"]
        ),
        st.integers(0, 7),
    ),
    max_size=60,
)


@given(st.integers(1, 4), STEPS)
def test_pool_after_any_steps_counts_what_there_is_and_keeps_its_limit(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    driver = Driver(limit)
    for what, which in steps:
        driver.step(what, which)
        driver.check()


def test_line_is_served_in_order_by_whatever_comes_free() -> None:
    driver = Driver(1)
    first, second, third = driver.wait(), driver.wait(), driver.wait()
    connection = driver.connect()
    assert [first.got, second.got, third.got] == [connection, None, None]
    driver.pool.give_back(cast(UpstreamConnection, connection))
    assert second.got is connection
    driver.pool.lost()
    assert (driver.dials, third.got) == (1, None)
    assert driver.connect() is third.got


def test_line_behind_a_failed_dial_gets_a_dial_of_its_own() -> None:
    driver = Driver(1)
    line = [driver.wait() for _ in range(3)]
    for waiter in line:
        assert driver.dials == 1
        driver.step("fail", 0)
        assert waiter.got is ErrorKind.CONNECT
    assert driver.dials == 0


def test_idle_connection_used_last_is_leased_first() -> None:
    driver = Driver(3)
    waiters = [driver.wait() for _ in range(3)]
    connections = [driver.connect() for _ in waiters]
    for connection in connections:
        driver.pool.give_back(cast(UpstreamConnection, connection))
    assert driver.pool.take() is cast(UpstreamConnection, connections[2])


def test_line_that_is_too_long_takes_nobody() -> None:
    driver = Driver(1)
    for _ in range(MAX_WAITING):
        driver.wait()
    assert not driver.pool.wait(Waiter())


def test_dial_that_ends_in_a_retired_pool_is_closed() -> None:
    driver = Driver(1)
    waiter = driver.wait()
    driver.pool.leave(waiter)
    driver.pool.retired = True
    assert driver.connect().closed


# All pools of a worker


def upstreams_of(**endpoints: list[str]) -> tuple[Upstream, ...]:
    return snapshot_of(upstreams={name: {"endpoints": urls} for name, urls in endpoints.items()}).upstreams


@pytest.fixture
def upstreams() -> Upstreams:
    return Upstreams(lambda pool, upstream: None)


def test_endpoint_that_stays_keeps_its_pool_and_gets_the_new_limit(upstreams: Upstreams) -> None:
    upstreams.adopt(upstreams_of(blue=[BLUE], canary=[CANARY]), 5, 0.0)
    [blue, canary] = upstreams.all()
    upstreams.adopt(upstreams_of(green=[CANARY], blue=[BLUE]), 7, 0.0)
    assert blue in upstreams.all()
    assert (blue.limit, blue.retired, canary.retired) == (7, False, True)


def test_endpoint_whose_tls_settings_change_gets_a_new_pool(upstreams: Upstreams) -> None:
    """What was connected without verification must not be used under verification."""
    for verify in (False, True):
        section = {"endpoints": ["https://10.0.0.1"], "tls": {"verify": verify}}
        upstreams.adopt(snapshot_of(upstreams={"blue": section}).upstreams, 5, 0.0)
        if not verify:
            [before] = upstreams.all()
    assert before.retired
    assert upstreams.all() != [before]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_endpoint_with_fewer_requests_is_preferred(upstreams: Upstreams, count: int) -> None:
    upstreams.adopt(upstreams_of(blue=[f"http://10.0.0.{n}" for n in range(count)]), 0, 0.0)
    for _ in range(2000):
        pool = upstreams.pick(0)
        assert pool is not None
        pool.leased += 1
    loads = [pool.load for pool in upstreams.all()]
    assert max(loads) - min(loads) < 20


def test_endpoint_that_was_tried_is_not_picked_while_there_is_another(upstreams: Upstreams) -> None:
    upstreams.adopt(upstreams_of(blue=["http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"]), 0, 0.0)
    first, second, third = upstreams.all()
    for _ in range(50):
        assert upstreams.pick(0, (first, third)) is second
    assert not upstreams.untried(0, (first, second, third))
    assert upstreams.pick(0, (first, second, third)) is not None


def test_idle_connections_are_closed_after_their_time() -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(b"HTTP/1.1 204 No\r\n\r\n")
    scene.pass_time(IDLE_SECONDS - 1)
    assert not origin.closed
    scene.pass_time(IDLE_SECONDS + 1)
    assert origin.closed
    assert repr(scene.pools[BLUE]).endswith("leased=0 idle=0 dialling=0 waiting=0>")
    assert not client.closed


def test_connection_dialled_for_one_who_left_idles_its_time() -> None:
    scene = Scene(hold=True)
    scene.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").reset()
    scene.connect()
    scene.pass_time(IDLE_SECONDS - 1)
    assert not scene.origin.closed
