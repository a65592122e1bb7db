"""One more attempt at a request: whether policy and budget allow it, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import ErrorKind
from proxy.leasing import lease
from proxy.request_head import IDEMPOTENT

if TYPE_CHECKING:
    from proxy.exchange import Exchange
    from routing.snapshot import RetryOn


def retried_for(exchange: Exchange, status: int) -> bool:
    """Retry if the policy says so for a response of that status. True where it has: the response is then void."""
    decision = exchange.decision
    assert decision is not None
    policy = decision.route.retry
    if policy is None or status not in policy.statuses:
        return False
    return exchange.message.method in IDEMPOTENT and exchange.replayable and retried(exchange, None)


def retried(exchange: Exchange, on: RetryOn | None) -> bool:
    """Retry if policy and budget allow (`on` None: for a status, which is checked already); True where it has.
    On another endpoint of the same upstream while there is one not tried, then on stable if the policy says so."""
    plane, decision = exchange.plane, exchange.decision
    assert decision is not None
    assert exchange.pool is not None
    policy = decision.route.retry
    if policy is None or (on is not None and on not in policy.on) or exchange.attempts > policy.attempts:
        return False
    if not plane.retry_allowed(policy.budget, already=exchange.retrying):
        plane.stats.count("retries", "over_budget")
        return False
    if not exchange.retrying:
        exchange.retrying = True
        plane.retrying += 1
    plane.stats.count("retries", "made")
    plane.arms.failed(exchange)
    exchange.tried = (*exchange.tried, exchange.pool)
    if policy.other_upstream and not plane.has_untried(exchange.upstream_name, exchange.tried):
        exchange.tried = ()
        send_again(exchange, None)
    else:
        send_again(exchange, exchange.upstream_name)
    return True


def send_again(exchange: Exchange, upstream: str | None, fresh: bool = False) -> None:
    """Send to that upstream by the state now in force, or to stable (None, or where live state has closed the other)."""
    exchange.drop_connection()
    plane, decision = exchange.plane, exchange.decision
    assert decision is not None
    route = plane.snapshot.route_named(decision.route.name)
    index = plane.open_upstream(decision, upstream)
    if route is None or index is None:
        exchange.refuse(ErrorKind.NO_ENDPOINT)
        return
    # The three belong together: indexes mean nothing under another snapshot.
    exchange.snapshot, decision.route, exchange.upstream = plane.snapshot, route, index
    lease(exchange, fresh)
