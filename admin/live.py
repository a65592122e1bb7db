"""What a change does to a route's live state. Pure: no store, no clock, no network.

A route's live state has two independent parts, both absent at first:

    weights   set by `PUT …/weights`; replaced by the next; dropped when the file's own weights or stable change,
              or when they name an upstream that is gone
    cutback   set by `POST …/cutback`; ended by `DELETE …/cutback` and by nothing else: no weights, no reload lifts it

Setting weights while cut back is accepted and changes nothing in force until the cutback ends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from routing.check import weight_problems
from routing.snapshot import CutbackMode, Live, Route, Snapshot

# Beyond any weight that is accepted, and still a number that a float holds exactly.
_TOO_MUCH = 10**15


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
class RouteState:
    """One route's live state, by names, as it is kept and published."""

    weights: LiveWeights | None = None
    cutback: LiveCutback | None = None

    def overlay(self) -> Live:
        """What a worker needs of it: neither stamps nor fingerprints."""
        return Live(
            weights=None if self.weights is None else self.weights.weights,
            cutback=None if self.cutback is None else self.cutback.mode,
        )

    def to_json(self) -> dict[str, Any]:
        weights, cutback = self.weights, self.cutback
        return {
            "weights": None
            if weights is None
            else {"weights": dict(weights.weights), "declared": weights.declared, **_stamp_to_json(weights.stamp)},
            "cutback": None if cutback is None else {"mode": cutback.mode.value, **_stamp_to_json(cutback.stamp)},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RouteState:
        """Raises KeyError, ValueError or TypeError for what `to_json` never wrote."""
        weights, cutback = value["weights"], value["cutback"]
        return cls(
            None
            if weights is None
            else LiveWeights(tuple(weights["weights"].items()), weights["declared"], _stamp_from_json(weights)),
            None if cutback is None else LiveCutback(CutbackMode(cutback["mode"]), _stamp_from_json(cutback)),
        )


UNCHANGED = RouteState()


def _stamp_to_json(stamp: Stamp) -> dict[str, str]:
    return {"by": stamp.by, "at": stamp.at, "reason": stamp.reason}


def _stamp_from_json(value: Mapping[str, Any]) -> Stamp:
    return Stamp(value["by"], value["at"], value["reason"])


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request, by its path in the body."""

    field: str
    message: str


class NotCutBackError(Exception):
    """A restore of a route that is not cut back."""


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


def of_overlay(state: RouteState, live: Live, stamp: Stamp) -> RouteState:
    """The state that has that overlay; `stamp` goes on the parts that differ from `state`."""
    weights, cutback = state.weights, state.cutback
    if live.weights != (None if weights is None else weights.weights):
        weights = None if live.weights is None else LiveWeights(live.weights, "", stamp)
    if live.cutback is not (None if cutback is None else cutback.mode):
        cutback = None if live.cutback is None else LiveCutback(live.cutback, stamp)
    return RouteState(weights, cutback)


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


def effective(snapshot: Snapshot, route: Route) -> dict[str, float]:
    """Per cent of the traffic that neither a rule nor, while draining, an old cookie sends elsewhere."""
    if route.cutback is not None:
        return {snapshot.upstreams[route.stable].name: 100.0}
    total = sum(route.split.weights)
    return {
        snapshot.upstreams[index].name: round(100.0 * weight / total, 6)
        for index, weight in zip(route.split.upstreams, route.split.weights, strict=True)
    }
