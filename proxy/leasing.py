"""A request's way to a connection: an endpoint of its upstream, or of stable where that one has none to give; a place in its
circuit breaker; a connection that idles, or a place in line for one.

Rules of this file. A place is taken here and given up in `give_up`, which every end of an attempt passes: the exchange's end,
another attempt, another choice. An exchange never holds two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import ErrorKind
from proxy.sending import send
from routing.decide import may_go
from routing.snapshot import NoEndpoints

if TYPE_CHECKING:
    from proxy.exchange import Exchange
    from proxy.pool import Pool


def lease(exchange: Exchange, fresh: bool = False) -> None:
    """`fresh` asks for a connection that no other request has used."""
    plane = exchange.plane
    pool = plane.upstreams.pick(exchange.upstream, exchange.tried)
    if pool is None or (pool.breaker is not None and not _entered(exchange, pool, fresh)):
        pool = _elsewhere(exchange, pool, fresh)
        if pool is None:
            return
    exchange.pool = pool
    connection = None if fresh else pool.take()
    if connection is not None:
        send(exchange, connection)
        return
    exchange.waiting = True
    # A dial has a deadline of its own, a little shorter; this one is for the line.
    exchange.client.deadline = plane.now + plane.timeouts.connect + 1.0
    if not pool.wait(exchange):
        served(exchange)
        exchange.refuse(ErrorKind.OVERLOADED)


def served(exchange: Exchange) -> None:
    """It is out of the line, with a connection or without."""
    exchange.waiting = False
    if exchange.breaker is not None:
        exchange.breaker.served()


def give_up(exchange: Exchange) -> None:
    """Leave the line and the circuit breaker, whichever it is in."""
    if exchange.waiting:
        assert exchange.pool is not None
        exchange.pool.leave(exchange)
        served(exchange)
    breaker, exchange.breaker = exchange.breaker, None
    if breaker is not None:
        breaker.leave()


def _entered(exchange: Exchange, pool: Pool, fresh: bool) -> bool:
    """Whether its upstream's circuit breaker, if there is one, lets the exchange in."""
    breaker = pool.breaker
    if breaker is None:
        return True
    assert exchange.breaker is None
    if breaker.enter(fresh or not pool.idles):
        exchange.breaker = breaker
        return True
    exchange.plane.stats.count("circuit_overflow", breaker.upstream)
    return False


def _elsewhere(exchange: Exchange, pool: Pool | None, fresh: bool) -> Pool | None:
    """Where a request goes whose upstream has no endpoint in rotation (`pool` is None then) or no room: to stable's, if its route
    may go there. Without an endpoint there too, or no way there, it is what the upstream's `no_endpoints` says; without room it is
    refused. None where it has been."""
    plane, decision, first = exchange.plane, exchange.decision, exchange.upstream
    assert decision is not None
    route, upstream, full = decision.route, first, pool is not None
    if upstream != route.stable and may_go(route, route.stable, decision):
        plane.stats.count("failovers", route.name)
        if full or not plane.snapshot.upstreams[first].withdrawn():
            plane.arms.failed(exchange)
        exchange.upstream = upstream = route.stable
        pool, full = plane.upstreams.pick(upstream), False
    if pool is None and plane.snapshot.upstreams[upstream].no_endpoints is NoEndpoints.FAIL_OPEN:
        pool = plane.upstreams.fail_open(upstream)
    if pool is None:
        both = plane.snapshot.upstreams[first].withdrawn() and plane.snapshot.upstreams[upstream].withdrawn()
        exchange.refuse(ErrorKind.NO_ENDPOINT, page=route.maintenance if both else None)
        return None
    if full or not _entered(exchange, pool, fresh):
        exchange.refuse(ErrorKind.OVERLOADED)
        return None
    return pool
