"""What a rollout is judged by: of each upstream of a judged route, requests, failures, latencies.

Rules. A request counts once, against the first upstream that it went to, and only if weights or stickiness had placed it there:
what a rule, a cutback or a rate limit decides is no fair draw. A failure of that upstream counts when it happens, whatever a
retry or stable makes of the request later; everything else at the request's end. What says nothing of the upstream counts
nowhere: a client that left or is at fault, a request that a cutback took away, an upstream that people have drained.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from proxy.control import Arm
from proxy.errors import ErrorKind, Side
from proxy.stats import EDGES
from routing.decide import Reason

if TYPE_CHECKING:
    from proxy.exchange import Exchange

# Distinct sticky clients with failures, an arm and report; of those beyond it only the failures are counted.
MAX_KEYS = 1024
_SWITCHED = 101


class Row:
    """One arm since the last report; see `Arm`."""

    __slots__ = ("bad", "buckets", "keys", "requests", "unlisted")

    def __init__(self) -> None:
        self.requests = 0
        self.bad = 0
        self.buckets: dict[int, int] = {}
        self.keys: dict[int, None] = {}
        self.unlisted = 0


class Arms:
    """One worker's counts of judged routes. Rows are made on first use, by the names of route and upstream."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def failed(self, exchange: Exchange) -> None:
        """The upstream that the exchange is at has failed it, or can't take it."""
        row = self._row(exchange)
        if row is None:
            return
        row.requests += 1
        row.bad += 1
        key = _key(exchange)
        if key is not None and key not in row.keys:
            if len(row.keys) < MAX_KEYS:
                row.keys[key] = None
            else:
                row.unlisted += 1

    def ended(self, exchange: Exchange, seconds: float) -> None:
        """The exchange is over, and no failure of an upstream has been counted."""
        if exchange.error is not None:
            if _is_the_upstreams(exchange.error, exchange):
                self.failed(exchange)
            return
        if exchange.status >= 500:
            self.failed(exchange)
            return
        connection = exchange.connection
        if connection is None:
            return
        if exchange.status == _SWITCHED:  # how long a tunnel lasts is no latency
            row = self._row(exchange)
            if row is not None:
                row.requests += 1
            return
        if not connection.response.complete:
            return  # the client left
        row = self._row(exchange)
        if row is not None:
            row.requests += 1
            bucket = bisect_left(EDGES, seconds)
            buckets = row.buckets
            buckets[bucket] = buckets.get(bucket, 0) + 1

    def _row(self, exchange: Exchange) -> Row | None:
        """Where the exchange counts, if it does; from now on it counts nowhere."""
        decision, counted = exchange.decision, exchange.counted
        exchange.counted = True
        if counted or decision is None or not decision.route.judged:
            return None
        if decision.reason is not Reason.WEIGHT and decision.reason is not Reason.STICKY:
            return None
        name = (decision.route.name, exchange.upstream_name)
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = Row()
        return row

    def take(self) -> list[Arm]:
        """What was counted since the last call; begins anew."""
        rows, self._rows = self._rows, {}
        return [
            Arm(route, upstream, row.requests, row.bad, row.buckets, tuple(row.keys), row.unlisted)
            for (route, upstream), row in rows.items()
        ]


def _key(exchange: Exchange) -> int | None:
    """On a sticky route, the client's bucket, also where there was no choice to be made by it. Who brought no mark is somebody
    new each time."""
    decision = exchange.decision
    assert decision is not None
    sticky = decision.route.sticky
    if sticky is None:
        return None
    bucket = decision.bucket
    if bucket is None:
        bucket = sticky.bucket(exchange.message)
    return exchange.plane.draws.bucket() if bucket is None else bucket


def _is_the_upstreams(error: ErrorKind, exchange: Exchange) -> bool:
    """Whether that end says something of the upstream. All its connections in use does: it is slower than its share needs."""
    if error is ErrorKind.NO_ENDPOINT:
        return not exchange.snapshot.upstreams[exchange.upstream].withdrawn()
    return error.side is Side.UPSTREAM or error is ErrorKind.OVERLOADED
