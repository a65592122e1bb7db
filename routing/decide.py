"""The package's door: a request head and a snapshot in, one decision out. `explain` asks the same question."""

from __future__ import annotations

from enum import Enum

from xxhash import xxh3_64_intdigest

from routing.request import Request
from routing.shadowing import Shadowing
from routing.snapshot import CutbackMode, Route, Snapshot
from routing.sticky import StickyBy
from routing.weights import Draws

_INVERSE_2_64 = 2.0**-64
_COOKIE = StickyBy.COOKIE


class Reason(Enum):
    """Why a request goes where it goes. Only WEIGHT and STICKY are randomised, so only they may judge a canary."""

    CUTBACK = "cutback"
    RULE = "rule"
    STICKY = "sticky"
    WEIGHT = "weight"
    LIMITED = "limited"  # nowhere


class Decision:
    """Where one request goes. `rule` is the rule's number or -1; `bucket` is None where none was needed; `fresh` says
    that the bucket is new and the client has to be told; `flags` is the value of X-Headgate-Flags.
    """

    __slots__ = ("bucket", "flags", "fresh", "reason", "route", "rule", "upstream")

    def __init__(
        self, route: Route, upstream: int, reason: Reason, rule: int, bucket: int | None, fresh: bool, flags: bytes
    ) -> None:
        self.route = route
        self.upstream = upstream
        self.reason = reason
        self.rule = rule
        self.bucket = bucket
        self.fresh = fresh
        self.flags = flags


def decide(snapshot: Snapshot, request: Request, draws: Draws) -> Decision | None:
    """None where no route takes the request."""
    index = snapshot.table.find(request.method, request.host, request.path)
    return None if index < 0 else decide_in(snapshot.routes[index], request, draws)


def limited(route: Route) -> Decision:
    """The decision on a request that its route's rate limit refuses: nothing is drawn for it, so the shares of those that pass
    stay exact."""
    return Decision(route, -1, Reason.LIMITED, -1, None, False, b"")


def decide_in(route: Route, request: Request, draws: Draws) -> Decision:
    """Where a request of that route goes. In order: cutback, rules, stickiness, weights."""
    if route.cutback is not None:
        return _decide_cut_back(route, request, draws)
    reason, number, split = Reason.WEIGHT, -1, route.split
    for rule in route.rules:
        if rule.holds(request):
            reason, number, split = Reason.RULE, rule.number, rule.split
            break
    bucket, fresh = None, False
    if split.only >= 0:
        upstream = split.only
    elif route.sticky is not None:
        bucket = route.sticky.bucket(request)
        if bucket is None and route.sticky.by is _COOKIE:
            bucket, fresh = draws.bucket(), True
        if bucket is None:  # sticky by a header or an address that this request has not
            upstream = draws.next(split)
        else:
            upstream = split.place(bucket)
            if number < 0:
                reason = Reason.STICKY
    else:
        upstream = draws.next(split)
    if route.flags:
        return _with_flags(Decision(route, upstream, reason, number, bucket, fresh, b""), request, draws)
    return Decision(route, upstream, reason, number, bucket, fresh, b"")


def _decide_cut_back(route: Route, request: Request, draws: Draws) -> Decision:
    """`cut`: stable, whatever rules, stickiness and weights say.

    `drain`: a client that shows our signed cookie stays where the weights have it; anyone else is stable's, and gets
    no cookie that would move them once the drain ends. A header or an address shows no earlier visit, so there it is
    a cut.
    """
    if route.cutback is CutbackMode.DRAIN and route.sticky is not None and route.sticky.by is _COOKIE:
        bucket = route.sticky.bucket(request)
        if bucket is not None:
            kept = Decision(route, route.split.place(bucket), Reason.STICKY, -1, bucket, False, b"")
            return _with_flags(kept, request, draws)
    return _with_flags(Decision(route, route.stable, Reason.CUTBACK, -1, None, False, b""), request, draws)


def may_go(route: Route, upstream: int, decision: Decision) -> bool:
    """Whether what was decided by an earlier state, and not sent yet or to be sent again, may go there by the route as it is
    now. A rule that leads there counts as a way, whoever made the decision."""
    if upstream == route.stable:
        return route.cutback is not None or upstream not in route.closed
    if route.cutback is CutbackMode.CUT or upstream in route.closed:
        return False
    if route.cutback is CutbackMode.DRAIN:
        if route.sticky is None or route.sticky.by is not _COOKIE or decision.fresh:
            return False
        return decision.reason is Reason.STICKY and upstream in route.split.upstreams
    return upstream in route.split.upstreams or any(upstream in rule.split.upstreams for rule in route.rules)


def in_sample(shadow: Shadowing, decision: Decision, request: Request, draws: Draws) -> bool:
    """Whether a request is among those that are copied to its route's shadow. By request each is drawn for itself: a sequence
    that counts would fall into step with clients that do."""
    percent = shadow.percent
    if percent >= 100.0:
        return True
    if not shadow.by_client:
        return draws.percent() < percent
    key = _bucket_of(decision, request).to_bytes(8, "big")
    return xxh3_64_intdigest(key, shadow.salt) * _INVERSE_2_64 * 100.0 < percent


def _bucket_of(decision: Decision, request: Request) -> int:
    """The client's bucket; without stickiness, that of its address, so that a slice of clients is stable all the same."""
    bucket = decision.bucket
    if bucket is None and decision.route.sticky is not None:
        bucket = decision.route.sticky.bucket(request)
    return xxh3_64_intdigest(request.client_ip.encode()) if bucket is None else bucket


def _with_flags(decision: Decision, request: Request, draws: Draws) -> Decision:
    """Flags follow the client's bucket."""
    route = decision.route
    if not route.flags:
        return decision
    if decision.bucket is None and route.sticky is not None and route.sticky.by is _COOKIE and route.cutback is None:
        decision.bucket = route.sticky.bucket(request)
        if decision.bucket is None:
            decision.bucket, decision.fresh = draws.bucket(), True
    key = _bucket_of(decision, request).to_bytes(8, "big")
    on = [
        flag.name
        for flag in route.flags
        if xxh3_64_intdigest(key, flag.salt) * _INVERSE_2_64 * 100.0 < flag.percent
        and all(condition.holds(request) for condition in flag.conditions)
    ]
    decision.flags = b", ".join(on)
    return decision
