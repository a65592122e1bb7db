"""Something that people may want to hear of, and its sentence: what a rollout does, and what people change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from admin.api.rollout_shape import rollout_of
from admin.audit import Intent
from admin.clock import utc_now
from admin.gateway import Outcome
from admin.live import UNCHANGED, effective
from admin.rollout.actions import Event
from admin.rollout.state import RolloutState

# Actions of people, by the event that they are; what is not here is nobody's news.
_EVENTS = {
    "weights": "weights",
    "cutback": "cutback",
    "restore": "restore",
    "shadow": "shadow",
    "shadow_as_declared": "shadow",
    "endpoints": "endpoints",
    "endpoint_drain": "endpoints",
    "endpoint_enable": "endpoints",
    "config": "config",
}
_MOST_NAMES = 5
"""Of routes, in a sentence."""


@dataclass(frozen=True, slots=True)
class Message:
    """`routes` are those it is about, none where it is about no route in particular. `rollout` is as the API has it, `weights` what
    is in force of the one route."""

    event: str
    at: str
    who: str
    reason: str
    sentence: str
    routes: tuple[str, ...]
    node: str
    revision: int
    rollout: Mapping[str, Any] | None = None
    weights: Mapping[str, float] | None = None
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def route(self) -> str | None:
        return self.routes[0] if len(self.routes) == 1 else None


def of_rollout(state: RolloutState, event: Event, node: str, revision: int, url: str) -> Message:
    return Message(
        event=f"rollout.{event.value}",
        at=utc_now(),
        who=state.name,
        reason=state.reason,
        sentence=_of_rollout(state, event),
        routes=(state.route,),
        node=node,
        revision=revision,
        rollout=rollout_of(state).model_dump(mode="json"),
        links=_links(url, state.route, "/rollout"),
    )


def _of_rollout(state: RolloutState, event: Event) -> str:
    steps = len(state.plan.stages)
    step = f"step {state.stage + 1} of {steps} ({state.current.title})"
    match event:
        case Event.STARTED:
            did = f"was started by {state.started_by}: {state.plan.declared.pattern}, {steps} step{'' if steps == 1 else 's'}"
        case Event.STEP:
            did = f"takes {step}"
        case Event.AWAITING_APPROVAL:
            did = f"waits for an approval at {step}"
        case Event.PAUSED:
            did = f"is paused at {step}"
        case Event.RESUMED:
            did = f"goes on at {step}"
        case Event.REGRESSION:
            did = f"shows a regression at {step}, and goes on"
        case Event.PROMOTED:
            did = "is promoted"
        case Event.CUT_BACK:
            did = f"was cut back at {step}"
        case Event.ABORTED:
            did = f"was aborted at {step}"
        case _:
            assert_never(event)
    why = f": {state.reason}" if state.reason else ""
    return f"{state.route}: the rollout to {', '.join(state.plan.to)} {did}{why}"


def of_change(outcome: Outcome, intent: Intent, node: str, url: str) -> Message | None:
    """A change that is in force; None where it is nobody's news."""
    event = _EVENTS.get(intent.action)
    if event is None:
        return None
    routes = () if event in ("config", "endpoints") else outcome.changed
    weights = None
    if len(routes) == 1 and (route := outcome.laid.snapshot.route_named(routes[0])) is not None:
        weights = effective(outcome.laid.snapshot, route)
    partly = "" if outcome.receipt is None or outcome.receipt.applied else "; not every worker has applied it"
    why = f": {intent.reason}" if intent.reason else ""
    return Message(
        event=event,
        at=utc_now(),
        who=intent.who,
        reason=intent.reason,
        sentence=f"{intent.who} {_of_change(outcome, intent, weights)}{partly}{why}",
        routes=routes,
        node=node,
        revision=outcome.revision,
        weights=weights,
        links=_links(url, routes[0] if len(routes) == 1 else None),
    )


def _of_change(outcome: Outcome, intent: Intent, weights: Mapping[str, float] | None) -> str:
    names = _names(outcome.changed)
    match intent.action:
        case "weights":
            live = outcome.laid.states.get(outcome.changed[0], UNCHANGED)
            given = "" if live.weights is None else ", ".join(f"{name} {part:g}" for name, part in live.weights.weights)
            waiting = " (it is cut back: they wait for the restore)" if live.cutback is not None else ""
            return f"set the weights of {names} to {given}{waiting}"
        case "cutback":
            return f"cut back {names}"
        case "restore":
            now = (
                "" if weights is None else ", now " + ", ".join(f"{name} {part:g} %" for name, part in weights.items())
            )
            return f"restored {names}{now}"
        case "shadow" | "shadow_as_declared":
            return f"changed the shadow of {names}"
        case "config":
            return "replaced the configuration"
        case _:
            return f"changed the endpoints of {names}"


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{len(names)} routes ({shown}, …)"


def _links(url: str, route: str | None, more: str = "") -> dict[str, str]:
    if not url:
        return {}
    return {"admin": url} if route is None else {"admin": url, "route": f"{url}/v1/routes/{route}{more}"}
