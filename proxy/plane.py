"""What all connections of a worker share: the snapshot in force, the pools, the counts, and the sweep of deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from proxy.access_log import AccessLog
from proxy.arms import Arms
from proxy.breaker import Breakers
from proxy.capture import Tap
from proxy.control import InFlight, Publish
from proxy.dial import dial
from proxy.errors import ErrorKind
from proxy.fields import REQUEST_PREFIXES, REQUEST_SPECIALS, REQUEST_WATCHED, FieldTable
from proxy.gcra import RateTable
from proxy.pool import Pool
from proxy.pressure import NO_COPIES, NO_KEEPING, NO_REQUESTS
from proxy.response_head import response_table
from proxy.response_parser import ResponseParser
from proxy.rotation import Upstreams
from proxy.shared import ClientCounts
from proxy.stats import Tally, WorkerStats
from proxy.tasks import spawn
from routing.decide import Decision, may_go
from routing.geo import Geo
from routing.snapshot import CutbackMode, Live, Route, Snapshot, Timeouts, Upstream
from routing.weights import Draws

if TYPE_CHECKING:
    from proxy.client import ClientConnection
    from proxy.exchange import Exchange

Dialler = Callable[[Pool, Upstream, ResponseParser], None]
# As Envoy's retry budget: so few retries at a time are always allowed, or a quiet gateway could make none.
MIN_RETRIES = 3
SLOWEST_SWEEP = 0.5
FASTEST_SWEEP = 0.05
# A thousand slow clients that began together end together, and all others would wait for them, 33 µs each: so few of those that are
# due are cut at a time, at least, and the rest a millisecond later, spread so that it is about a fifth of a second's work.
EXPIRED_AT_ONCE = 4
EXPIRY_TURNS = 200
EXPIRY_PAUSE = 0.001


class Plane:
    """One worker's data plane. One event loop owns it; nothing here waits. Of limits that are the whole gateway's it takes an
    equal share of `workers`, at least one."""

    def __init__(
        self,
        snapshot: Snapshot,
        live: dict[str, Live],
        on_error: Callable[[BaseException], None],
        workers: int = 1,
        dialler: Dialler | None = None,
        rates: RateTable | None = None,
        counts: ClientCounts | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        """`rates`, `counts` and `breakers` are the gateway's; without them this worker has its own.
        `on_error` hears of a dial that failed in a way nobody foresaw; `dialler` starts dials in place of `proxy.dial`."""
        self._on_error = on_error
        self._dialler = self._spawn if dialler is None else dialler
        self._workers = workers
        self._clients: set[ClientConnection] = set()
        self._beginning = 0
        self._parting: list[tuple[float, asyncio.Transport]] = []
        self._late: list[ClientConnection] = []
        """Those whose turn to expire has not come yet."""
        self._due = 0
        """How many were late when it was last looked."""
        self.now = monotonic()
        """The time of the last sweep: exact enough for deadlines."""
        self.draining = False
        self.refusing = False
        """Short of memory: no new requests."""
        self.ending = False
        """Short of memory: connections end with their answers."""
        self.retrying = 0
        self.active: set[Exchange] = set()
        self.stats = WorkerStats()
        self.arms = Arms()
        self.tap = Tap(self.stats)
        self.draws = Draws()
        self.rates = RateTable() if rates is None else rates
        self._counts = ClientCounts() if counts is None else counts
        self.breakers = Breakers() if breakers is None else breakers
        self.upstreams = Upstreams(self._start_dial)
        self.request_table = FieldTable(REQUEST_SPECIALS, REQUEST_PREFIXES)
        self.response_table = response_table()
        self.geo = Geo(snapshot.geo)
        self.access_log: AccessLog | None = None
        self.fault: str | None = None
        """Why there is no access log though there should be one: no reason not to serve."""
        try:
            self.access_log = _open_log(snapshot, self.stats)
        except OSError as error:
            self.fault = str(error)
        self.snapshot = snapshot
        self.timeouts: Timeouts = snapshot.timeouts
        self.adopt(snapshot, live)

    # State

    def adopt(self, snapshot: Snapshot, live: dict[str, Live]) -> None:
        """Replace everything. Requests that were sent go on as they were decided, those in line only where they still may."""
        before, snapshot = self.snapshot, snapshot.with_states(live)
        if before.geo != snapshot.geo:
            self.geo = Geo(snapshot.geo)
        if before.access_log != snapshot.access_log:
            log, self.access_log = (
                self.access_log,
                _open_log(snapshot, self.stats),
            )  # if it can't be opened, the old stays
            if log is not None:
                log.close()
        self.timeouts = snapshot.timeouts
        self._take_up(snapshot.upstreams, snapshot.limits.per_endpoint)
        self.request_table.watch(REQUEST_WATCHED | snapshot.wanted)
        self.stats.bind(snapshot)
        self._take_over(snapshot)
        self._choose_again({route.name: route for route in snapshot.routes}, everything=True)

    def apply(self, publish: Publish) -> dict[str, int]:
        """Put changed live state in force. When this returns, no request that was not sent yet will go to an upstream that
        lost its traffic. Returns how many are still out there, by upstream, after `publish.in_flight` was done to them."""
        snapshot = self.snapshot.with_states(publish.live)
        if publish.endpoints:
            snapshot = snapshot.with_endpoints(publish.endpoints)
            self._take_up(snapshot.upstreams, snapshot.limits.per_endpoint)
        self._take_over(snapshot)
        changed = {route.name: route for route in self.snapshot.routes if route.name in publish.live}
        self._choose_again(changed, everything=False)
        if publish.in_flight is not InFlight.FINISH:
            for exchange in [exchange for exchange in self.active if self._lost(exchange, changed)]:
                exchange.cut_back(to_stable=publish.in_flight is InFlight.RETRY)
        left: dict[str, int] = {}
        for exchange in self.active:
            if self._lost(exchange, changed) or (publish.endpoints and _at_retired_endpoint(exchange)):
                name = exchange.upstream_name
                left[name] = left.get(name, 0) + 1
        return left

    def _take_up(self, upstreams: tuple[Upstream, ...], per_endpoint: int) -> None:
        self.upstreams.adopt(upstreams, -(-per_endpoint // self._workers), self.now, self.breakers.adopt(upstreams))

    def _take_over(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.draws.keep(snapshot.splits())

    def _choose_again(self, changed: dict[str, Route], *, everything: bool) -> None:
        """Whoever stands in line where it may not go any more leaves it. `everything`: a route that is not in `changed` is gone."""

        def misplaced(exchange: Exchange) -> bool:
            decision = exchange.decision
            assert decision is not None
            if exchange.in_resting_line:
                return True
            route = changed.get(decision.route.name)
            if route is None:
                return everything
            upstream = self.snapshot.upstream_named(exchange.upstream_name)
            return upstream is None or not may_go(route, upstream.index, decision)

        for exchange in [exchange for exchange in self.active if exchange.waiting and misplaced(exchange)]:
            exchange.reconsider()

    def _lost(self, exchange: Exchange, changed: dict[str, Route]) -> bool:
        """Whether the exchange is at an upstream that its route may no longer use. By names: it may have been decided by a
        snapshot with other indexes."""
        route = changed.get(exchange.decision.route.name) if exchange.decision is not None else None
        if route is None or exchange.waiting:
            return False
        upstream = self.snapshot.upstream_named(exchange.upstream_name)
        return upstream is None or not _open_to(route, upstream.index)

    def open_upstream(self, decision: Decision, upstream_name: str | None) -> int | None:
        """Where one more attempt may go, as an index of the snapshot in force: the upstream, or stable if it is not named,
        gone or closed to it by now; None if that is closed too, or the route is gone."""
        route = self.snapshot.route_named(decision.route.name)
        if route is None:
            return None
        upstream = self.snapshot.upstream_named(upstream_name) if upstream_name is not None else None
        if upstream is not None and may_go(route, upstream.index, decision):
            return upstream.index
        return route.stable if may_go(route, route.stable, decision) else None

    def endpoint_failed(self, pool: Pool | None) -> None:
        """It refused, broke off, did not answer in time, or answered 5xx. If that ejects it, who waits for it goes elsewhere."""
        if pool is None or pool.outlier is None:
            return
        outcome = self.upstreams.failed(pool, self.now)
        if outcome:
            self.stats.count("ejections", outcome)
        if outcome == "made":
            for exchange in list(self.active):
                if exchange.waiting and exchange.pool is pool:
                    exchange.reconsider()

    def has_untried(self, upstream_name: str, tried: tuple[Pool, ...]) -> bool:
        """Whether the upstream has an endpoint that is not among `tried`."""
        upstream = self.snapshot.upstream_named(upstream_name)
        return upstream is not None and self.upstreams.untried(upstream.index, tried)

    def retry_allowed(self, budget: float, *, already: bool) -> bool:
        """Envoy's retry budget: retries under way are at most a share of all requests under way."""
        return already or self.retrying < max(MIN_RETRIES, budget * len(self.active))

    def tally(self, snapshot: Snapshot, route: Route, upstream: int) -> Tally:
        if snapshot is self.snapshot:
            return self.stats.tally(route.index, upstream)
        return self.stats.named(route.name, snapshot.upstreams[upstream].name if upstream >= 0 else "")

    @property
    def shadowing(self) -> bool:
        """Whether any route has a shadow that is to get something."""
        return any(route.shadow is not None and route.shadow.percent > 0 for route in self.snapshot.routes)

    # Connections

    def admit(self, client: ClientConnection) -> ErrorKind | None:
        """Why the connection is to be refused, or None."""
        self._clients.add(client)
        return None if client.admitted else self._count(client)

    def admit_early(self, client: ClientConnection) -> ErrorKind | None:
        """Likewise before its TLS handshake, which may never end; `began` follows in any case."""
        self._beginning += 1
        client.admitted = True
        return self._count(client)

    def began(self, client: ClientConnection) -> None:
        """Its handshake is over, one way or the other."""
        self._beginning -= 1
        if client not in self._clients:
            self.dismiss(client)

    def _count(self, client: ClientConnection) -> ErrorKind | None:
        limits, trusted = self.snapshot.limits, self.snapshot.trusted
        if 0 < -(-limits.connections // self._workers) < self.connections:
            return ErrorKind.CONNECTIONS
        most = limits.connections_per_client
        if most and client.peer and not (trusted and trusted.contain(client.peer)):  # those stand for many clients
            client.place = self._counts.enter(client.peer, most)
            if client.place < 0:
                return ErrorKind.CLIENT_CONNECTIONS
        return None

    def dismiss(self, client: ClientConnection) -> None:
        self._clients.discard(client)
        if client.place >= 0:
            self._counts.leave(client.place)
            client.place = -1

    @property
    def connections(self) -> int:
        """Those in their TLS handshake among them."""
        return len(self._clients) + self._beginning

    def _start_dial(self, pool: Pool, upstream: Upstream) -> None:
        limits = self.snapshot.limits
        response = ResponseParser(self.response_table, limits.response_head, limits.response_headers)
        self._dialler(pool, upstream, response)

    def _spawn(self, pool: Pool, upstream: Upstream, response: ResponseParser) -> None:
        spawn(dial(pool, upstream, response, self.timeouts.connect), f"dial {pool.endpoint.url}", self._on_error)

    def part(self, transport: asyncio.Transport) -> None:
        """Of a connection that is closing: it has the idle timeout to take what was written."""
        self._parting.append((self.now + self.timeouts.idle, transport))

    def under_pressure(self, level: int) -> None:
        """Do without what that level of proxy/pressure.py does without."""
        self.tap.shedding = level >= NO_COPIES
        self.ending = level >= NO_KEEPING
        self.refusing = level >= NO_REQUESTS

    # Time

    def sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire what is past its deadline, clients in turns, and come again: one timer for all connections."""
        waiting = len(self._late) > 0
        self._begin_expiry(monotonic())
        if not waiting:
            self._expire_some(loop)
        timeouts = self.timeouts
        shortest = min(timeouts.connect, timeouts.response, timeouts.idle, timeouts.request_head, timeouts.request_body)
        loop.call_later(min(max(shortest / 8, FASTEST_SWEEP), SLOWEST_SWEEP), self.sweep, loop)

    def _expire_some(self, loop: asyncio.AbstractEventLoop) -> None:
        count = max(EXPIRED_AT_ONCE, self._due // EXPIRY_TURNS)
        some = self._late[-count:]
        del self._late[-count:]
        self._expire_clients(some)
        if self._late:
            loop.call_later(EXPIRY_PAUSE, self._expire_some, loop)

    def expire(self, now: float) -> None:
        """It is `now`: act on every deadline that has passed."""
        self._begin_expiry(now)
        late, self._late = self._late, []
        self._expire_clients(late)

    def _expire_clients(self, late: list[ClientConnection]) -> None:
        for client in late:
            if client.deadline <= self.now and client in self._clients:  # it may have gone on, or left, before its turn
                client.expire(self.now)

    def _begin_expiry(self, now: float) -> None:
        """All but the clients, who are in `_late` then."""
        self.now = now
        if self.rates.forgotten:
            self.stats.count("rate_limit_keys_forgotten", by=self.rates.forgotten)
            self.rates.forgotten = 0
        self.upstreams.expire(now)
        self._late = [client for client in self._clients if client.deadline <= now]
        self._due = len(self._late)
        for pool in self.upstreams.all():
            for connection in pool.expired(now):
                connection.close()
        if self._parting:
            for deadline, transport in self._parting:
                if deadline <= now:
                    transport.abort()
            self._parting = [parting for parting in self._parting if parting[0] > now]

    def drain(self) -> None:
        """Close idle connections now, the others at the end of their exchange."""
        self.draining = True
        for client in list(self._clients):
            client.drain()


def _at_retired_endpoint(exchange: Exchange) -> bool:
    """Whether its request was sent to an endpoint that is drained or removed."""
    return not exchange.waiting and exchange.pool is not None and exchange.pool.retired


def _open_to(route: Route, upstream: int) -> bool:
    """Whether live state lets the route's traffic go to that upstream at all."""
    if upstream == route.stable and route.cutback is not None:
        return True
    return route.cutback is not CutbackMode.CUT and upstream not in route.closed


def _open_log(snapshot: Snapshot, stats: WorkerStats) -> AccessLog | None:
    settings = snapshot.access_log
    return AccessLog(settings.path, settings.sample, stats) if settings.sample > 0 else None
