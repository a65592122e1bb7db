"""What a rollout lays over its route's live state, and whether that is still its own to change. Pure.

What somebody else has set since is theirs: weights that the rollout did not set end it (`meddled`), and what it takes back is only
what it had set itself. What was there before it comes back as far as the configuration still has it: a reload meanwhile may have
dropped what it was laid over.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import assert_never

from admin.document import fingerprint
from admin.live import (
    TAKEN_OVER_BY,
    RouteState,
    Stamp,
    carry_over,
    carry_shadow_over,
    cut_back,
    set_shadow,
    set_weights,
    shadow_in_force,
)
from admin.rollout.actions import Copy, CutBack, GoBack, Move, StopCopies
from admin.rollout.plan import Shadowed
from admin.rollout.state import Phase, RolloutState
from routing.config import Route
from routing.document import ConfigError
from routing.snapshot import CutbackMode

# What a Copy sets of a shadow.
_COPIED = ("upstream", "percent")

RouteAction = Move | CutBack | GoBack | Copy | StopCopies


@dataclass(frozen=True, slots=True)
class Ground:
    """What is laid over: the route's state now and when the rollout began, as declared, and the revision it will have."""

    live: RouteState
    before: RouteState
    route: Route
    upstreams: Collection[str]
    revision: int


def laid(on: Ground, action: RouteAction, state: RolloutState, stamp: Stamp) -> RouteState:
    """Raises ConfigError where a shadow can't be what the plan wants it to be."""
    live = on.live
    match action:
        case Move(weights):
            return replace(set_weights(live, weights, fingerprint(on.route), stamp), judged=True)
        case CutBack():
            if live.cutback is not None and live.cutback.stamp.by == TAKEN_OVER_BY:
                live = replace(live, cutback=None)  # its own, whose signature was lost with the process
            return cut_back(replace(_gone_back(on, state, live), judged=False), CutbackMode.CUT, stamp)
        case GoBack():
            return _gone_back(on, state, live)
        case Copy(upstream, percent):
            given = {"upstream": upstream, "percent": percent}
            return set_shadow(live, given, on.route, on.upstreams, stamp, on.revision)
        case StopCopies():
            return _without_copies(on, state, stamp)
        case _:
            assert_never(action)


def _gone_back(on: Ground, state: RolloutState, live: RouteState) -> RouteState:
    if not _mine(live, state):
        return live
    return replace(live, weights=carry_over(on.before, fingerprint(on.route), on.upstreams)[0].weights)


def _without_copies(on: Ground, state: RolloutState, stamp: Stamp) -> RouteState:
    """Upstream and percent as before; other keys that people have set meanwhile stay, as far as there is still a shadow."""
    live = on.live
    stage = next(each for each in state.plan.stages if isinstance(each, Shadowed))  # the state may be at the next one
    if not copies(live, on.route, stage):
        return live
    assert live.shadow is not None
    before = carry_shadow_over(on.before, on.route, on.upstreams)[0]
    there = shadow_in_force(before, on.route)
    since = live.since if there is None or there.upstream == stage.upstream else on.revision
    if there is None or live.shadow.stamp.by == state.name:
        return replace(live, shadow=before.shadow, since=since)
    theirs = {key: value for key, value in live.shadow.given.items() if key not in _COPIED}
    was = {} if before.shadow is None else {key: v for key, v in before.shadow.given.items() if key in _COPIED}
    try:
        kept = set_shadow(replace(live, shadow=None), theirs | was, on.route, on.upstreams, stamp, on.revision)
    except ConfigError:  # what they set goes with this shadow alone
        kept = replace(live, shadow=before.shadow)
    return replace(kept, since=since)


def copies(live: RouteState, route: Route, stage: Shadowed) -> bool:
    """Whether the shadow in force is the one that the stage has set."""
    shadow = shadow_in_force(live, route)
    return shadow is not None and live.shadow is not None and (shadow.upstream, shadow.percent) == (
        stage.upstream,
        stage.percent,
    )  # fmt: skip


def meddled(on: Ground, state: RolloutState) -> str:
    """What somebody else has changed of what is the rollout's; empty where nothing."""
    live, stage = on.live, state.current
    if live.cutback is not None:
        why = f": {live.cutback.stamp.reason}" if live.cutback.stamp.reason else ""
        return f"cut back by {live.cutback.stamp.by}{why}"
    if state.plan.replaces:
        return ""
    if isinstance(stage, Shadowed) and state.phase is Phase.HOLDING and not copies(live, on.route, stage):
        by = f"{live.shadow.stamp.by} has changed" if live.shadow is not None else "somebody has ended"
        return f"{by} the shadow that was to be compared"
    if _mine(live, state) or (not state.moved and same_weights(live, on.before)):
        return ""
    if live.weights is None:
        return "the configuration's own weights for this route changed"
    return f"{live.weights.stamp.by} has set the weights"


def _mine(live: RouteState, state: RolloutState) -> bool:
    if live.weights is None or live.weights.stamp.by not in (state.name, TAKEN_OVER_BY):
        return False
    return live.weights.stamp.by == state.name or dict(live.weights.weights) == state.plan.weights(state.weight)


def same_weights(one: RouteState, other: RouteState) -> bool:
    """Set by the same person at the same time, or both as declared."""
    if one.weights is None or other.weights is None:
        return one.weights is other.weights
    return (one.weights.weights, one.weights.stamp) == (other.weights.weights, other.weights.stamp)
