"""Which endpoints are in rotation in this worker, and with what share: ejected ones come back after their time, those that come
to others warm up.

Rules of this file. A request goes only to an endpoint in rotation; where an upstream has none, whoever asks decides whether to
`fail_open`. An endpoint that comes into rotation while others of its upstream are in it warms up, if the upstream has a
`slow_start`; it does not where nothing else is there, so neither at the start of a gateway nor in a worker that replaces another.
Shares are brought up to date by `expire`, not by requests: they cost nothing where nothing warms up.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from proxy.breaker import Breaker
from proxy.choice import choose, choose_warming
from proxy.pool import UNLIMITED, Pool
from routing.snapshot import Endpoint, Upstream, UpstreamTls

# As Envoy's slow start (min_weight_percent; aggression is 1): the share of the window that has passed, but never less.
LEAST_SHARE = 0.1


class Upstreams:
    """The pools of all upstreams of a snapshot, kept over a change of snapshot for endpoints that stay."""

    __slots__ = (
        "_by_upstream",
        "_dial",
        "_draw",
        "_ejected",
        "_in_rotation",
        "_pools",
        "_slow_starts",
        "_warming",
    )

    def __init__(self, dial: Callable[[Pool, Upstream], None], draw: Random | None = None) -> None:
        self._dial = dial
        self._draw = Random() if draw is None else draw  # noqa: S311 - load balancing
        self._pools: dict[tuple[str, Endpoint, UpstreamTls | None], Pool] = {}
        self._by_upstream: list[tuple[Pool, ...]] = []
        self._slow_starts: list[float] = []
        self._in_rotation: list[tuple[Pool, ...]] = []
        self._ejected: list[Pool] = []
        self._warming: set[int] = set()
        """Upstreams with an endpoint that warms up."""

    def adopt(
        self, upstreams: tuple[Upstream, ...], limit: int, now: float, breakers: dict[str, Breaker] | None = None
    ) -> None:
        """`limit` is of connections to an endpoint, 0 for none."""
        before, self._pools, self._by_upstream = self._pools, {}, []
        self._slow_starts = [upstream.slow_start for upstream in upstreams]
        for upstream in upstreams:
            pools = []
            for endpoint in upstream.endpoints:
                key = (upstream.name, endpoint, upstream.tls)  # connections made under other TLS settings are not kept
                pool = before.pop(key, None) or Pool(endpoint, limit, self._dial_of(upstream))
                pool.limit = limit or UNLIMITED
                pool.retired = endpoint.url in upstream.drained
                was_unhealthy, pool.unhealthy = pool.unhealthy, endpoint.url in upstream.unhealthy
                pool.outlier = upstream.outlier
                pool.breaker = None if breakers is None else breakers.get(upstream.name)
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
        self._arrange(now)

    def _arrange(self, now: float) -> None:
        self._ejected = [pool for pool in self._pools.values() if pool.ejected_until]
        self._in_rotation = []
        for slow_start, pools in zip(self._slow_starts, self._by_upstream, strict=True):
            rotation = tuple(pool for pool in pools if not pool.barred)
            warms = slow_start > 0 and any(not pool.resting for pool in rotation)
            for pool in pools:
                if pool.barred or not warms:
                    pool.share = 1.0
                elif pool.resting:
                    pool.share, pool.warming_since = LEAST_SHARE, now
                pool.resting = pool.barred
            if all(pool.share < 1.0 for pool in rotation):  # the warm ones have gone: these have all there is
                for pool in rotation:
                    pool.share = 1.0
            self._in_rotation.append(rotation)
        self._warming = set(range(len(self._in_rotation)))
        self._warm(now)

    def _warm(self, now: float) -> None:
        for upstream in list(self._warming):
            slow_start, left = self._slow_starts[upstream], False
            for pool in self._in_rotation[upstream]:
                if pool.share < 1.0:
                    pool.share = min(1.0, max(LEAST_SHARE, (now - pool.warming_since) / slow_start))
                    left = left or pool.share < 1.0
            if not left:
                self._warming.discard(upstream)

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
                self._arrange(now)
                return "made"
        return ""

    def expire(self, now: float) -> None:
        """It is `now`: end the ejections whose time is over, and give those that warm up what they have come to."""
        if self._ejected and any(pool.ejected_until <= now for pool in self._ejected):
            for pool in self._ejected:
                if pool.ejected_until <= now:
                    pool.readmit(now)
            self._arrange(now)
        if self._warming:
            self._warm(now)

    def ejected(self) -> list[tuple[str, str]]:
        """(upstream, endpoint) of each that is ejected."""
        return [(name, endpoint.url) for (name, endpoint, _), pool in self._pools.items() if pool.ejected_until]

    def _dial_of(self, upstream: Upstream) -> Callable[[Pool], None]:
        return lambda pool: self._dial(pool, upstream)

    def pick(self, upstream: int, tried: tuple[Pool, ...] = ()) -> Pool | None:
        """An endpoint in rotation, one not yet `tried` where there is any; None where the upstream has none."""
        pools = self._in_rotation[upstream]
        if len(pools) == 1:
            return pools[0]
        if self._warming and upstream in self._warming:
            return choose_warming(pools, tried, self._draw)
        return choose(pools, tried, self._draw)

    def fail_open(self, upstream: int, tried: tuple[Pool, ...] = ()) -> Pool | None:
        """Any endpoint but those that a person has drained."""
        return choose(tuple(pool for pool in self._by_upstream[upstream] if not pool.retired), tried, self._draw)

    def untried(self, upstream: int, tried: tuple[Pool, ...]) -> bool:
        """Whether the upstream has an endpoint in rotation that is not among `tried`."""
        return any(pool not in tried for pool in self._in_rotation[upstream])

    def all(self) -> list[Pool]:
        return list(self._pools.values())

    def loads(self) -> dict[tuple[str, str], int]:
        """(upstream, endpoint) -> requests under way or in line."""
        return {(name, endpoint.url): pool.load for (name, endpoint, _), pool in self._pools.items()}
