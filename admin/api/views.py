"""The gateway's state as answers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from admin.api.models import (
    ChangedBy,
    CutbackState,
    LiveKeys,
    NoShadow,
    ReceiptAnswer,
    RouteAnswer,
    RouteShadow,
    RouteUpstream,
)
from admin.api.rollout_shape import rollout_of
from admin.context import Context
from admin.diffs import Diffs
from admin.laid import Laid
from admin.live import UNCHANGED, LiveCutback, RouteState, effective, shadow_in_force
from admin.publisher import Receipt
from admin.rates import NO_TRAFFIC, Pair, Rate
from routing import config as declared
from routing.check import stable_of, weights_of
from routing.snapshot import Route, Snapshot


def receipt_of(receipt: Receipt | None) -> ReceiptAnswer | None:
    return None if receipt is None else ReceiptAnswer.model_validate(receipt.to_json())


def cutback_of(cutback: LiveCutback | None) -> CutbackState | None:
    if cutback is None:
        return None
    stamp = cutback.stamp
    return CutbackState(mode=cutback.mode.value, at=stamp.at, by=stamp.by, reason=stamp.reason)


def weights_in(laid: Laid, name: str) -> dict[str, float]:
    """Set live, else declared."""
    state = laid.states.get(name, UNCHANGED)
    if state.weights is not None:
        return dict(state.weights.weights)
    return {upstream: _plain(weight) for upstream, weight in weights_of(laid.document.config.routes[name]).items()}


def effective_in(laid: Laid, name: str) -> dict[str, float]:
    """With the upstreams that have a weight and get nothing at 0."""
    route = laid.snapshot.route_named(name)
    assert route is not None
    zero = dict.fromkeys(weights_in(laid, name), 0.0)
    return {upstream: _plain(share) for upstream, share in (zero | effective(laid.snapshot, route)).items()}


def shadow_in(laid: Laid, name: str, diffs: Diffs) -> RouteShadow | NoShadow:
    state = laid.states.get(name, UNCHANGED)
    shadow = shadow_in_force(state, laid.document.config.routes[name])
    if shadow is None:
        return NoShadow()
    live, found = state.shadow, diffs.judged(name)
    return RouteShadow(
        **shadow.model_dump(mode="json", by_alias=True),
        live=None
        if live is None
        else LiveKeys(by=live.stamp.by, at=live.stamp.at, reason=live.stamp.reason, keys=live.given),
        since=state.since,
        compared=found["compared"],
        matched=found["matched"],
        mismatched=found["mismatched"],
        unknown=found["unknown"],
        dropped=sum(found["dropped"].values()),
        findings=len(found["findings"]),
    )


def route_answer(
    context: Context, name: str, rates: dict[Pair, Rate], ejected: Collection[tuple[str, str]]
) -> RouteAnswer:
    """`rates` and `ejected` as `Rates` has them."""
    gateway = context.gateway
    laid, state = gateway.laid, gateway.state(name)
    route = gateway.config.routes[name]
    compiled = gateway.snapshot.route_named(name)
    assert compiled is not None
    names = _reachable(gateway.snapshot, compiled, route)
    names += [upstream for of_route, upstream in rates if of_route == name and upstream and upstream not in names]
    return RouteAnswer(
        route=name,
        stable=str(stable_of(route)),
        weights=weights_in(laid, name),
        declared={upstream: _plain(weight) for upstream, weight in weights_of(route).items()},
        effective=effective_in(laid, name),
        live=_changed_by(state),
        cutback=cutback_of(state.cutback),
        sticky=None if route.sticky is None else _document(route.sticky),
        rules=[_document(rule) for rule in route.rules],
        shadow=shadow_in(laid, name, context.diffs),
        rollout=None if (rollout := context.rollouts.of(name)) is None else rollout_of(rollout),
        upstreams={
            upstream: _route_upstream(gateway.snapshot, upstream, rates.get((name, upstream), NO_TRAFFIC), ejected)
            for upstream in names
        },
        revision=gateway.route_revision(name),
    )


def _reachable(snapshot: Snapshot, route: Route, document: declared.Route) -> list[str]:
    """Stable first, then by weight, then by rule; each once."""
    indexes = [route.stable, *route.split.upstreams, *route.declared_split.upstreams]
    for rule in route.declared_rules:
        indexes += rule.split.upstreams
    names = [snapshot.upstreams[index].name for index in indexes]
    return list(dict.fromkeys([*names, *(document.weights or {})]))


def _route_upstream(snapshot: Snapshot, name: str, rate: Rate, ejected: Collection[tuple[str, str]]) -> RouteUpstream:
    upstream = snapshot.upstream_named(name)
    in_rotation = [] if upstream is None else upstream.in_rotation()
    return RouteUpstream(
        rps=rate.rps,
        error_rate=rate.error_rate,
        p50_ms=rate.p50_ms,
        p95_ms=rate.p95_ms,
        p99_ms=rate.p99_ms,
        healthy=any((name, endpoint.url) not in ejected for endpoint in in_rotation),
        endpoints=[] if upstream is None else [endpoint.url for endpoint in upstream.endpoints],
    )


def _changed_by(state: RouteState) -> ChangedBy | None:
    if state.weights is None:
        return None
    stamp = state.weights.stamp
    return ChangedBy(by=stamp.by, at=stamp.at, reason=stamp.reason)


def _document(part: declared.Model) -> dict[str, Any]:
    """As declared: only what was written, under the document's own keys."""
    return part.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _plain(number: float) -> float:
    """A plain float or int, whatever subclass the document's reader made; 90 rather than 90.0."""
    return int(number) if number == int(number) else float(number)
