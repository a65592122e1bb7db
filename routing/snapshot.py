"""The compiled configuration: immutable, published as one reference, pickled to the workers.

The document (routing/config.py) declares; `compile` makes a snapshot of it; live state (weights, cutback) is laid
over routes by `Snapshot.with_states`, which shares everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from routing.addresses import Networks
from routing.conditions import Condition, Exact, HeaderCondition
from routing.geo import GeoSource
from routing.maintenance import Maintenance
from routing.match import Match, MatchTable
from routing.rate import RateLimit
from routing.request import Request
from routing.shadowing import Shadowing
from routing.sticky import Sticky
from routing.weights import Split, salt, whole_shares

AUTO = -1


class HostPolicy(Enum):
    """The Host field sent to an upstream: as the client sent it, the endpoint's own, or a literal."""

    PRESERVE = "preserve"
    UPSTREAM = "upstream"
    LITERAL = "literal"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. `host` and `port`, or `unix_path` for a Unix socket. `authority` is its own Host value."""

    url: str
    host: str
    port: int
    unix_path: str
    tls: bool
    authority: bytes


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    verify: bool
    ca: str | None
    server_name: str | None


class NoEndpoints(Enum):
    """What an upstream does whose endpoints are all out of rotation: use those that no person has drained, or answer 503."""

    FAIL_OPEN = "fail_open"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Outlier:
    """When a worker ejects an endpoint: after so many failures in a row, for `ejection` seconds the first time and longer each
    time up to `max_ejection`, while at most `max_ejected` (0..1) of the upstream's endpoints are."""

    consecutive_5xx: int = 5
    ejection: float = 30.0
    max_ejection: float = 300.0
    max_ejected: float = 0.5


# Each has a column in the workers' shared memory.
MOST_BREAKERS = 4096


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """Requests of an upstream at one time, over all workers: under way in any way, and of those in line for a connection. 0 is no
    limit."""

    requests: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """An upstream's live endpoints, laid over the declared ones. `listed` None means the declared ones; `drained` (by a
    person) and `unhealthy` (by active checks) hold URLs of those that are out of rotation."""

    listed: tuple[Endpoint, ...] | None = None
    drained: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()


DECLARED_ENDPOINTS = Endpoints()


@dataclass(frozen=True, slots=True)
class Upstream:
    """`endpoints` are those in force, in rotation or not; `declared` those that the configuration lists. `slow_start` is how many
    seconds an endpoint warms up that comes into rotation; 0 is not at all."""

    index: int
    name: str
    endpoints: tuple[Endpoint, ...]
    host_policy: HostPolicy
    host_literal: bytes
    tls: UpstreamTls | None
    no_endpoints: NoEndpoints = NoEndpoints.FAIL_OPEN
    outlier: Outlier | None = None
    slow_start: float = 0.0
    circuit_breaker: CircuitBreaker | None = None
    declared: tuple[Endpoint, ...] = ()
    drained: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()

    def withdrawn(self) -> bool:
        """Whether people have drained all there is of it."""
        for endpoint in self.endpoints:  # noqa: SIM110 - as in Rule.holds
            if endpoint.url not in self.drained:
                return False
        return True

    def in_rotation(self) -> list[Endpoint]:
        """As far as the whole gateway knows: a worker may have ejected others."""
        out = self.drained | self.unhealthy
        return [endpoint for endpoint in self.endpoints if endpoint.url not in out]


@dataclass(frozen=True, slots=True)
class Rule:
    """`number` counts from 0 in the order of the file. All conditions must hold."""

    number: int
    conditions: tuple[Condition, ...]
    split: Split

    def holds(self, request: Request) -> bool:
        for condition in self.conditions:  # noqa: SIM110 - all() over a generator costs three times as much here
            if not condition.holds(request):
                return False
        return True


class RetryOn(Enum):
    CONNECT = "connect"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` are those beyond the first; `budget` is the share of requests under way that may be retries (0..1)."""

    attempts: int
    on: frozenset[RetryOn]
    statuses: frozenset[int]
    budget: float
    other_upstream: bool


@dataclass(frozen=True, slots=True)
class Flag:
    """A feature flag: on for `percent` of the clients that meet all conditions, always the same clients."""

    name: bytes
    salt: int
    percent: float
    conditions: tuple[Condition, ...]


class CutbackMode(Enum):
    """`cut` sends everything to stable; `drain` leaves clients with a sticky cookie where they are and admits no new
    ones.
    """

    CUT = "cut"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Live:
    """A route's live state, laid over what the configuration declares. Names, not indexes: it outlives a recompile.

    `weights` None means the declared ones. A name given a weight of 0 here is closed: rules don't send there either.
    `shadow` None means the declared shadow, or none; `since` is the revision at which its diffs were last started afresh.
    `judged` while a rollout of the route is under way: workers count what it is judged by (proxy/arms.py). `smoke` is an upstream
    and a secret: requests that show it in SMOKE_FIELD go there, before all rules.
    """

    weights: tuple[tuple[str, float], ...] | None = None
    cutback: CutbackMode | None = None
    shadow: Shadowing | None = None
    since: int = 0
    judged: bool = False
    smoke: tuple[str, bytes] | None = None


AS_DECLARED = Live()
SMOKE_FIELD = b"x-headgate-smoke"
_SMOKE_RULE = -2
"""The number of no rule that is written down."""


@dataclass(frozen=True, slots=True)
class Route:
    """`split`, `rules` and `shadow` are what is in force, `declared_split`, … what the configuration says."""

    index: int
    name: str
    match: Match
    stable: int
    declared_split: Split
    declared_rules: tuple[Rule, ...]
    split: Split
    rules: tuple[Rule, ...]
    sticky: Sticky | None
    retry: RetryPolicy | None
    flags: tuple[Flag, ...]
    expose_upstream: bool
    stable_split: Split
    cutback: CutbackMode | None = None
    closed: frozenset[int] = frozenset()
    declared_shadow: Shadowing | None = None
    shadow: Shadowing | None = None
    rate_limit: RateLimit | None = None
    judged: bool = False
    maintenance: Maintenance | None = None

    def splits(self) -> set[Split]:
        return {self.split, *(rule.split for rule in self.rules)}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes (`body_rate`: a second) and counts; 0 is no limit. `memory` may be AUTO, a share of what the machine has."""

    request_line: int = 8 * 1024
    request_head: int = 32 * 1024
    headers: int = 100
    body: int = 0
    body_rate: int = 500
    connections: int = 10_000
    connections_per_client: int = 0
    requests_per_connection: int = 1000
    per_endpoint: int = 1024
    memory: int = AUTO
    response_head: int = 64 * 1024
    response_headers: int = 256


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 2.0
    response: float = 30.0
    idle: float = 60.0
    request_head: float = 10.0
    request_body: float = 60.0
    drain: float = 30.0


@dataclass(frozen=True, slots=True)
class AccessLog:
    """`path` `-` is standard output; `sample` is the share of requests that get a line (0..1)."""

    path: str = "-"
    sample: float = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the data plane decides by. `wanted` are the lower-case field names that rules and stickiness look
    at.
    """

    revision: int
    upstreams: tuple[Upstream, ...]
    routes: tuple[Route, ...]
    table: MatchTable
    wanted: frozenset[bytes]
    uses_geo: bool
    trusted: Networks
    limits: Limits
    timeouts: Timeouts
    geo: GeoSource = field(default_factory=GeoSource)
    access_log: AccessLog = field(default_factory=AccessLog)

    def route_named(self, name: str) -> Route | None:
        return next((route for route in self.routes if route.name == name), None)

    def upstream_named(self, name: str) -> Upstream | None:
        return next((upstream for upstream in self.upstreams if upstream.name == name), None)

    def endpoints_of(self, name: str) -> tuple[Endpoint, ...]:
        """Of the upstream of that name; none where there is no such upstream."""
        upstream = self.upstream_named(name)
        return () if upstream is None else upstream.endpoints

    def splits(self) -> set[Split]:
        return {split for route in self.routes for split in route.splits()}

    def with_live(self, name: str, live: Live) -> Snapshot:
        """The snapshot with that live state over one route."""
        return self.with_states({name: live})

    def with_states(self, states: Mapping[str, Live]) -> Snapshot:
        """The snapshot with live state over the routes named, in one pass: a cutback of all routes is a change like any
        other. An unknown route or upstream name changes nothing: the configuration may have dropped it since."""
        known = [route for route in self.routes if route.name in states]
        if not known:
            return self
        index_of = {upstream.name: upstream.index for upstream in self.upstreams}
        routes = list(self.routes)
        for route in known:
            routes[route.index] = _lay(index_of, route, states[route.name])
        return replace(self, routes=tuple(routes))

    def with_endpoints(self, overlays: Mapping[str, Endpoints]) -> Snapshot:
        """The snapshot with those live endpoints of the upstreams named. An unknown name changes nothing."""
        if not overlays:
            return self
        upstreams = list(self.upstreams)
        for upstream in self.upstreams:
            live = overlays.get(upstream.name)
            if live is not None:
                upstreams[upstream.index] = replace(
                    upstream,
                    endpoints=upstream.declared if live.listed is None else live.listed,
                    drained=live.drained,
                    unhealthy=live.unhealthy,
                )
        return replace(self, upstreams=tuple(upstreams))


def _lay(index_of: Mapping[str, int], route: Route, live: Live) -> Route:
    split, closed = route.declared_split, frozenset[int]()
    known = {name: weight for name, weight in live.weights or () if name in index_of}
    if known:
        closed = frozenset(index_of[name] for name, weight in known.items() if weight == 0)
        if any(known.values()):
            shares = {name: share for name, share in whole_shares(known).items() if share}
            split = Split(
                tuple(index_of[name] for name in shares),
                tuple(shares.values()),
                tuple(salt(route.name, name) for name in shares),
            )
        else:  # those with weight are gone from the configuration
            split = route.stable_split
    rules = route.declared_rules
    if closed:
        rules = tuple(opened for rule in rules if (opened := _without(rule, closed)) is not None)
    if live.smoke is not None and live.smoke[0] in index_of:
        name, secret = live.smoke
        only = Split((index_of[name],), (1,), (0,))
        rules = (Rule(_SMOKE_RULE, (HeaderCondition(SMOKE_FIELD, Exact(frozenset({secret}))),), only), *rules)
    shadow = route.declared_shadow if live.shadow is None else live.shadow
    if shadow is not None and shadow.since != live.since:
        shadow = replace(shadow, since=live.since)
    return replace(
        route, split=split, rules=rules, cutback=live.cutback, closed=closed, shadow=shadow, judged=live.judged
    )


def _without(rule: Rule, closed: frozenset[int]) -> Rule | None:
    """The rule less the closed upstreams; None where nothing is left, which passes the rule over."""
    if closed.isdisjoint(rule.split.upstreams):
        return rule
    left = [parts for parts in zip(*_parts(rule.split), strict=True) if parts[0] not in closed]
    if not left:
        return None
    upstreams, weights, salts = zip(*left, strict=True)
    return replace(rule, split=Split(upstreams, weights, salts))


def _parts(split: Split) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return split.upstreams, split.weights, split.salts
