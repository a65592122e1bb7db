"""What a change does to a route's live state. Pure: no store, no clock, no network.

A route's live state has five independent parts, all absent at first:

    weights   set by `PUT …/weights`; replaced by the next; dropped when the file's own weights or stable change,
              or when they name an upstream that is gone
    cutback   set by `POST …/cutback`; ended by `DELETE …/cutback` and by nothing else: no weights, no reload lifts it
    shadow    set key by key by `PUT …/shadow`; ended by `DELETE …/shadow`; dropped when the file's own shadow changes, or when
              the configuration no longer allows it
    since     the revision at which the route's diffs were last started afresh: by `DELETE …/diffs`, and by another shadow
              upstream, whose answers have nothing to do with those of the one before
    judged    set where a rollout begins, ended with it: workers then count what it is judged by

Setting weights while cut back is accepted and changes nothing in force until the cutback ends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from admin.document import shadow_fingerprint
from routing.check import shadow_problems, stable_of, weight_problems
from routing.compile import shadowing
from routing.config import Route as DeclaredRoute
from routing.config import Shadow
from routing.document import path_text
from routing.load import load_shadow
from routing.shadowing import Shadowing
from routing.snapshot import CutbackMode, Live, Route, Snapshot

# Beyond any weight that is accepted, and still a number that a float holds exactly.
_TOO_MUCH = 10**15


TAKEN_OVER_BY = "unknown"
"""Who signs what the workers had and the store had not when the admin process ended."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changed it, when (UTC, ISO 8601) and why."""

    by: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class LiveWeights:
    """`declared` is the fingerprint of the declared value that these weights were laid over."""

    weights: tuple[tuple[str, float], ...]
    declared: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class LiveCutback:
    mode: CutbackMode
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class LiveShadow:
    """`given` are the document's keys that were set live, `shadow` what they make of the declared ones, whose fingerprint is
    `declared`."""

    given: dict[str, Any]
    shadow: Shadow
    declared: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class RouteState:
    """One route's live state, by names, as it is kept and published."""

    weights: LiveWeights | None = None
    cutback: LiveCutback | None = None
    shadow: LiveShadow | None = None
    since: int = 0
    judged: bool = False
    smoke: tuple[str, bytes] | None = None
    """Not kept: smoke tests that were under way when the process died begin anew."""

    def overlay(self, route: str) -> Live:
        """What a worker needs of it: neither stamps nor fingerprints."""
        return Live(
            weights=None if self.weights is None else self.weights.weights,
            cutback=None if self.cutback is None else self.cutback.mode,
            shadow=None if self.shadow is None else shadowing(route, self.shadow.shadow),
            since=self.since,
            judged=self.judged,
            smoke=self.smoke,
        )

    def to_json(self) -> dict[str, Any]:
        weights, cutback, shadow = self.weights, self.cutback, self.shadow
        return {
            "weights": None
            if weights is None
            else {"weights": dict(weights.weights), "declared": weights.declared, **stamp_to_json(weights.stamp)},
            "cutback": None if cutback is None else {"mode": cutback.mode.value, **stamp_to_json(cutback.stamp)},
            "shadow": None
            if shadow is None
            else {
                "given": shadow.given,
                "shadow": written(shadow.shadow),
                "declared": shadow.declared,
                **stamp_to_json(shadow.stamp),
            },
            "since": self.since,
            "judged": self.judged,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RouteState:
        """Raises KeyError, ValueError or TypeError for what `to_json` never wrote."""
        weights, cutback, shadow = value["weights"], value["cutback"], value.get("shadow")
        return cls(
            None
            if weights is None
            else LiveWeights(tuple(weights["weights"].items()), weights["declared"], stamp_from_json(weights)),
            None if cutback is None else LiveCutback(CutbackMode(cutback["mode"]), stamp_from_json(cutback)),
            None
            if shadow is None
            else LiveShadow(
                shadow["given"], Shadow.model_validate(shadow["shadow"]), shadow["declared"], stamp_from_json(shadow)
            ),
            value.get("since", 0),  # a row of 0.1 has none of these
            bool(value.get("judged", False)),
        )


UNCHANGED = RouteState()


def stamp_to_json(stamp: Stamp) -> dict[str, str]:
    return {"by": stamp.by, "at": stamp.at, "reason": stamp.reason}


def stamp_from_json(value: Mapping[str, Any]) -> Stamp:
    return Stamp(value["by"], value["at"], value["reason"])


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request, by its path in the body."""

    field: str
    message: str


class NotCutBackError(Exception):
    """A restore of a route that is not cut back."""


class NotShadowedLiveError(Exception):
    """An end of live keys of a shadow that has none."""


def check_weights(weights: Mapping[str, object], upstreams: Collection[str]) -> list[FieldError]:
    """All that is wrong with the weights of a request; empty where they can be applied."""
    numbers: dict[str, float] = {}
    errors: list[FieldError] = []
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            errors.append(FieldError(f"weights.{name}", "a weight must be a number"))
            weight = 1
        elif isinstance(weight, int) and abs(weight) > _TOO_MUCH:  # may be too long for a float
            weight = _TOO_MUCH if weight > 0 else -_TOO_MUCH
        numbers[name] = weight
    errors += [
        FieldError(f"weights.{name}" if name else "weights", message)
        for name, message in weight_problems(numbers, upstreams)
    ]
    return errors


def set_weights(state: RouteState, weights: Mapping[str, float], declared: str, stamp: Stamp) -> RouteState:
    """`weights` has passed `check_weights`. A cutback stays in force."""
    return replace(state, weights=LiveWeights(tuple(weights.items()), declared, stamp))


def cut_back(state: RouteState, mode: CutbackMode, stamp: Stamp) -> RouteState:
    """Cutting back what is cut back the same way keeps who began it, when and why."""
    if state.cutback is not None and state.cutback.mode is mode:
        return state
    return replace(state, cutback=LiveCutback(mode, stamp))


def restore(state: RouteState) -> RouteState:
    """Raises NotCutBackError."""
    if state.cutback is None:
        raise NotCutBackError
    return replace(state, cutback=None)


def set_shadow(
    state: RouteState,
    given: Mapping[str, Any],
    route: DeclaredRoute,
    upstreams: Collection[str],
    stamp: Stamp,
    since: int,
) -> RouteState:
    """Lays more keys over what holds. `since` is where diffs begin anew if this names another shadow upstream. Raises
    ConfigError."""
    before = shadow_in_force(state, route)
    keys = _over(state.shadow.given if state.shadow is not None else {}, given)
    declared = {} if route.shadow is None else written(route.shadow)
    shadow = load_shadow(_over(declared, keys), stable_of(route), upstreams)
    if before is not None and before.upstream != shadow.upstream:
        state = replace(state, since=since)
    return replace(state, shadow=LiveShadow(keys, shadow, shadow_fingerprint(route), stamp))


def unset_shadow(state: RouteState, route: DeclaredRoute, since: int) -> RouteState:
    """As declared again. Raises NotShadowedLiveError."""
    if state.shadow is None:
        raise NotShadowedLiveError
    if route.shadow is None or route.shadow.upstream != state.shadow.shadow.upstream:
        state = replace(state, since=since)
    return replace(state, shadow=None)


def afresh(state: RouteState, since: int) -> RouteState:
    """With diffs that begin at that revision."""
    return replace(state, since=since)


def shadow_in_force(state: RouteState, route: DeclaredRoute) -> Shadow | None:
    return route.shadow if state.shadow is None else state.shadow.shadow


# The keys of a shadow that have keys of their own, which are laid over one by one too.
_SECTIONS = frozenset({"headers", "redact", "compare"})


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = (
            {**under, **value} if key in _SECTIONS and isinstance(under, dict) and isinstance(value, dict) else value
        )
    return merged


def written(shadow: Shadow) -> dict[str, Any]:
    """Under the document's own keys, only those that were given."""
    return shadow.model_dump(mode="json", by_alias=True, exclude_unset=True)


def of_overlay(state: RouteState, live: Live, stamp: Stamp, route: str) -> RouteState:
    """The state that has that overlay; `stamp` goes on the parts that differ from `state`."""
    weights, cutback, shadow = state.weights, state.cutback, state.shadow
    if live.weights != (None if weights is None else weights.weights):
        weights = None if live.weights is None else LiveWeights(live.weights, "", stamp)
    if live.cutback is not (None if cutback is None else cutback.mode):
        cutback = None if live.cutback is None else LiveCutback(live.cutback, stamp)
    if live.shadow != state.overlay(route).shadow:
        shadow = None
        if live.shadow is not None:
            keys = _document_of(live.shadow)
            shadow = LiveShadow(keys, Shadow.model_validate(keys), "", stamp)
    return RouteState(weights, cutback, shadow, live.since, live.judged)


def _document_of(shadow: Shadowing) -> dict[str, Any]:
    """The document's keys that compile to it."""
    comparing, redacting = shadow.comparing, shadow.redacting
    return {
        "upstream": shadow.upstream,
        "control": shadow.control,
        "percent": shadow.percent,
        "by": "client" if shadow.by_client else "request",
        "methods": sorted(method.decode() for method in shadow.methods),
        "max_body": shadow.max_body,
        "timeout": shadow.timeout,
        "noise_sample": f"{shadow.noise_sample * 100:.10g}%",
        "endpoints": list(shadow.endpoints),
        "headers": {
            "set": {name.decode(): value.decode() for name, value in shadow.set_headers},
            "remove": sorted(name.decode() for name in shadow.remove_headers),
        },
        "redact": {"headers": list(redacting.headers), "paths": list(redacting.paths)},
        "compare": {
            "headers": list(comparing.headers),
            "ignore": list(comparing.ignore),
            "unordered": list(comparing.unordered),
            "keyed": dict(comparing.keyed),
            "number_tolerance": comparing.number_tolerance,
            "mask": list(comparing.mask),
        },
    }


def carry_over(state: RouteState, declared: str, upstreams: Collection[str]) -> tuple[RouteState, str]:
    """The state under another configuration, and why its weights were dropped (empty where they were not)."""
    weights = state.weights
    if weights is None:
        return state, ""
    gone = sorted(name for name, _ in weights.weights if name not in upstreams)
    if gone:
        return replace(state, weights=None), f"the configuration no longer has {', '.join(gone)}"
    if not weights.declared:  # taken over from the workers, who know no fingerprint
        return replace(state, weights=replace(weights, declared=declared)), ""
    if weights.declared != declared:
        return replace(state, weights=None), "the configuration's own weights or stable for this route changed"
    return state, ""


def carry_shadow_over(state: RouteState, route: DeclaredRoute, upstreams: Collection[str]) -> tuple[RouteState, str]:
    """Likewise for the live shadow."""
    shadow = state.shadow
    if shadow is None:
        return state, ""
    declared = shadow_fingerprint(route)
    if shadow.declared not in ("", declared):  # "": taken over from the workers
        return replace(state, shadow=None), "the configuration's own shadow for this route changed"
    for loc, message in shadow_problems(shadow.shadow, stable_of(route), upstreams):
        return replace(
            state, shadow=None
        ), f"the live shadow no longer fits the configuration: {path_text(loc)}: {message}"
    return replace(state, shadow=replace(shadow, declared=declared)), ""


def effective(snapshot: Snapshot, route: Route) -> dict[str, float]:
    """Per cent of the traffic that neither a rule nor, while draining, an old cookie sends elsewhere."""
    if route.cutback is not None:
        return {snapshot.upstreams[route.stable].name: 100.0}
    total = sum(route.split.weights)
    return {
        snapshot.upstreams[index].name: round(100.0 * weight / total, 6)
        for index, weight in zip(route.split.upstreams, route.split.weights, strict=True)
    }
