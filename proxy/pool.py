"""Connections to one endpoint, decided without I/O.

Rules of this file. A connection is leased (to one exchange), idle, or being dialled; `leased + idle + dialling` never
exceeds the limit. An exchange that finds no idle connection waits in line, and whoever comes free first (a dial that
succeeds, a connection given back) serves the head of the line. Nothing here awaits: `dial` is called to start I/O, and its
driver reports to `dialled` or `failed` exactly once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from proxy.errors import ErrorKind
from routing.snapshot import Endpoint, Outlier, Upstream, UpstreamTls

if TYPE_CHECKING:
    from proxy.upstream import UpstreamConnection

# Waiting costs memory and the wait is bounded by the connect timeout anyway; beyond this many it is overload.
MAX_WAITING = 1024
# Shorter than most servers' keep-alive, so that it is us who close first.
IDLE_SECONDS = 30.0
UNLIMITED = 1 << 30
# As Envoy: so much time in rotation, and the next ejection is shorter by one step again.
FORGIVEN_SECONDS = 10.0

_random = random.Random()  # noqa: S311 - load balancing


class Waiter(Protocol):
    """An exchange in line for a connection."""

    def granted(self, connection: UpstreamConnection) -> None: ...

    def refused(self, kind: ErrorKind) -> None: ...


class Pool:
    """All connections of one worker to one endpoint."""

    __slots__ = (
        "_dial",
        "_dialling",
        "_ejections",
        "_idle",
        "_readmitted",
        "_waiters",
        "ejected_until",
        "endpoint",
        "failures",
        "leased",
        "limit",
        "outlier",
        "resting",
        "retired",
        "unhealthy",
    )

    def __init__(self, endpoint: Endpoint, limit: int, dial: Callable[[Pool], None]) -> None:
        self.endpoint = endpoint
        self.leased = 0
        self.retired = False
        """Set when the upstream no longer has the endpoint, and while a person has drained it: what comes back is closed."""
        self.resting = False
        """Out of rotation, for whatever reason."""
        self.unhealthy = False
        self.outlier: Outlier | None = None
        self.failures = 0
        """Requests in a row that failed here."""
        self.ejected_until = 0.0
        """0 while it is not ejected."""
        self._ejections = 0
        self._readmitted = 0.0
        self.limit = limit or UNLIMITED
        self._dial = dial
        self._dialling = 0
        self._idle: deque[UpstreamConnection] = deque()
        self._waiters: deque[Waiter] = deque()

    def __repr__(self) -> str:
        return (
            f"<Pool {self.endpoint.url} leased={self.leased} idle={len(self._idle)} "
            f"dialling={self._dialling} waiting={len(self._waiters)}>"
        )

    @property
    def load(self) -> int:
        """Requests under way or in line."""
        return self.leased + len(self._waiters)

    def take(self) -> UpstreamConnection | None:
        """Lease the idle connection used last, or None."""
        if self._idle:
            self.leased += 1
            return self._idle.pop()
        return None

    def wait(self, waiter: Waiter) -> bool:
        """Stand in line, dialling if the limit allows. False where the line is too long."""
        if len(self._waiters) >= MAX_WAITING:
            return False
        self._waiters.append(waiter)
        self._dial_if_allowed()
        return True

    def leave(self, waiter: Waiter) -> None:
        """Leave the line. A dial begun for the waiter goes on and serves another, or the pool."""
        self._waiters.remove(waiter)

    def dialled(self, connection: UpstreamConnection) -> None:
        self._dialling -= 1
        self._offer(connection)

    def failed(self, kind: ErrorKind) -> None:
        """A dial failed: the head of the line is told; the next, if the limit left it without one, gets a dial of its own."""
        self._dialling -= 1
        if self._waiters:
            self._waiters.popleft().refused(kind)
            self._dial_if_allowed()

    def give_back(self, connection: UpstreamConnection) -> None:
        """End a lease with the connection fit for another."""
        self.leased -= 1
        self._offer(connection)

    def lost(self) -> None:
        """End a lease whose connection is closed or will be."""
        self.leased -= 1
        self._dial_if_allowed()

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection that nobody leases was closed by its other end, idle or just dialled."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._dial_if_allowed()

    def eject(self, outlier: Outlier, now: float) -> None:
        """Each ejection is longer than the one before; time in rotation without one makes up for it."""
        forgiven = int((now - self._readmitted) / FORGIVEN_SECONDS)
        self._ejections = max(0, self._ejections - forgiven) + 1
        self.ejected_until = now + min(outlier.ejection * self._ejections, max(outlier.ejection, outlier.max_ejection))

    def readmit(self, now: float) -> None:
        self.failures = 0
        self.ejected_until = 0.0
        self._readmitted = now

    def expired(self, now: float) -> list[UpstreamConnection]:
        """Take out the connections that have idled too long, or all of a retired pool; the caller closes them."""
        idle = self._idle
        out = []
        while idle and (self.retired or idle[0].idle_since + IDLE_SECONDS <= now):
            out.append(idle.popleft())
        return out

    def _offer(self, connection: UpstreamConnection) -> None:
        if self._waiters:
            self.leased += 1
            self._waiters.popleft().granted(connection)
        elif self.retired:
            connection.close()  # nobody sweeps this pool any more
        else:
            self._idle.append(connection)

    def _dial_if_allowed(self) -> None:
        if self._dialling < len(self._waiters) and self.leased + len(self._idle) + self._dialling < self.limit:
            self._dialling += 1
            self._dial(self)


class Upstreams:
    """The pools of all upstreams of a snapshot, kept over a change of snapshot for endpoints that stay. Requests go to those in
    rotation; where an upstream has none, whoever asks decides whether to `fail_open`."""

    __slots__ = ("_by_upstream", "_dial", "_ejected", "_in_rotation", "_pools")

    def __init__(self, dial: Callable[[Pool, Upstream], None]) -> None:
        self._dial = dial
        self._pools: dict[tuple[str, Endpoint, UpstreamTls | None], Pool] = {}
        self._by_upstream: list[tuple[Pool, ...]] = []
        self._in_rotation: list[tuple[Pool, ...]] = []
        self._ejected: list[Pool] = []

    def adopt(self, upstreams: tuple[Upstream, ...], limit: int) -> None:
        before, self._pools, self._by_upstream = self._pools, {}, []
        for upstream in upstreams:
            pools = []
            for endpoint in upstream.endpoints:
                key = (upstream.name, endpoint, upstream.tls)  # connections made under other TLS settings are not kept
                pool = before.pop(key, None) or Pool(endpoint, limit, self._dial_of(upstream))
                pool.limit = limit or UNLIMITED
                pool.retired = endpoint.url in upstream.drained
                was_unhealthy, pool.unhealthy = pool.unhealthy, endpoint.url in upstream.unhealthy
                pool.outlier = upstream.outlier
                if pool.ejected_until and (upstream.outlier is None or (was_unhealthy and not pool.unhealthy)):
                    pool.readmit(0.0)  # a check that passes is news of it
                self._pools[key] = pool
                pools.append(pool)
            self._by_upstream.append(tuple(pools))
        for pool in before.values():
            pool.retired = pool.resting = True
        for pool in (*before.values(), *self._pools.values()):
            if pool.retired:
                for connection in pool.expired(0.0):
                    connection.close()
        self._arrange()

    def _arrange(self) -> None:
        self._ejected = []
        for pool in self._pools.values():
            pool.resting = pool.retired or pool.unhealthy or pool.ejected_until > 0
            if pool.ejected_until:
                self._ejected.append(pool)
        self._in_rotation = [tuple(pool for pool in pools if not pool.resting) for pools in self._by_upstream]

    def failed(self, pool: Pool, now: float) -> str:
        """One more request failed at that endpoint. `made` if that ejects it, `over_limit` if that were one too many, else
        empty."""
        outlier = pool.outlier
        if outlier is None or pool.ejected_until:
            return ""
        pool.failures += 1
        if pool.failures < outlier.consecutive_5xx:
            return ""
        pool.failures = 0
        for pools in self._by_upstream:
            if pool in pools:
                ejected = sum(1 for each in pools if each.ejected_until)
                # As Envoy: one may always go, or an upstream of few endpoints would have no ejection at all.
                if ejected and ejected + 1 > outlier.max_ejected * len(pools):
                    return "over_limit"
                pool.eject(outlier, now)
                self._arrange()
                return "made"
        return ""

    def readmit(self, now: float) -> None:
        """End the ejections whose time is over."""
        if self._ejected and any(pool.ejected_until <= now for pool in self._ejected):
            for pool in self._ejected:
                if pool.ejected_until <= now:
                    pool.readmit(now)
            self._arrange()

    def ejected(self) -> list[tuple[str, str]]:
        """(upstream, endpoint) of each that is ejected."""
        return [(name, endpoint.url) for (name, endpoint, _), pool in self._pools.items() if pool.ejected_until]

    def _dial_of(self, upstream: Upstream) -> Callable[[Pool], None]:
        return lambda pool: self._dial(pool, upstream)

    def pick(self, upstream: int, tried: tuple[Pool, ...] = ()) -> Pool | None:
        """An endpoint in rotation, one not yet `tried` where there is any; None where the upstream has none."""
        pools = self._in_rotation[upstream]
        return pools[0] if len(pools) == 1 else _choose(pools, tried)

    def fail_open(self, upstream: int, tried: tuple[Pool, ...] = ()) -> Pool | None:
        """Any endpoint but those that a person has drained."""
        return _choose(tuple(pool for pool in self._by_upstream[upstream] if not pool.retired), tried)

    def untried(self, upstream: int, tried: tuple[Pool, ...]) -> bool:
        """Whether the upstream has an endpoint in rotation that is not among `tried`."""
        return any(pool not in tried for pool in self._in_rotation[upstream])

    def all(self) -> list[Pool]:
        return list(self._pools.values())

    def loads(self) -> dict[tuple[str, str], int]:
        """(upstream, endpoint) -> requests under way or in line."""
        return {(name, endpoint.url): pool.load for (name, endpoint, _), pool in self._pools.items()}


def _choose(pools: tuple[Pool, ...], tried: tuple[Pool, ...]) -> Pool | None:
    """The endpoint with fewer requests of two drawn at random (Mitzenmacher, "The power of two choices", 2001)."""
    if tried:
        pools = tuple(pool for pool in pools if pool not in tried) or pools
    if not pools:
        return None
    if len(pools) <= 2:
        first, second = pools[0], pools[-1]
        if first.load == second.load:
            return first if _random.getrandbits(1) else second
    else:
        count = len(pools)
        at = int(_random.random() * count)
        first, second = pools[at], pools[(at + 1 + int(_random.random() * (count - 1))) % count]
    return first if first.load <= second.load else second
