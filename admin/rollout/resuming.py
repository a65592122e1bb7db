"""Where a rollout goes on after the admin process was killed. Pure.

What is done is done at the workers first and kept afterwards, so the route may be a step ahead of the record. The step is signed by
the rollout itself or, where not even the route's state was stored any more, by nobody (TAKEN_OVER_BY).
"""

from __future__ import annotations

from dataclasses import replace

from admin.live import TAKEN_OVER_BY, RouteState
from admin.rollout.actions import Action, Copy, CutBack, Event, Judge, Move, Tell
from admin.rollout.laying import same_weights
from admin.rollout.machine import Outcome
from admin.rollout.plan import Shadowed, Traffic
from admin.rollout.state import Phase, RolloutState, Status
from admin.rollout.verdict import Kind

_LOST = "a regression, whose numbers were lost when the admin process ended"


def resumed(state: RolloutState, live: RouteState, before: RouteState) -> Outcome:
    """The state that fits what is in force, and what is still to be done for it."""
    if state.status.ended:
        return state, ()
    if (cutback := live.cutback) is not None:
        # A person's leaves the route judged until the rollout has let go.
        if cutback.stamp.by == state.name or (cutback.stamp.by == TAKEN_OVER_BY and not live.judged):
            return _cut_back(state, cutback.stamp.reason if cutback.stamp.by == state.name else "")
        return state, ()
    if state.plan.replaces:
        return state, ()
    if state.moved and _as_before(live, before):
        why = "the weights from before it, or the configuration's own, are in force again"
        gone = replace(state, status=Status.ABORTED, reason=why, weight=0.0)
        return gone, (Tell(Event.ABORTED),)
    weights = live.weights
    if weights is not None and weights.stamp.by in (state.name, TAKEN_OVER_BY) and not same_weights(live, before):
        return _ahead(state, dict(weights.weights))
    if isinstance(state.current, Shadowed) and state.phase is Phase.HOLDING:
        return state, (Copy(state.current.upstream, state.current.percent),)
    return state, ()


def _as_before(live: RouteState, before: RouteState) -> bool:
    if same_weights(live, before):
        return True
    if live.weights is None or before.weights is None:
        return False
    return live.weights.stamp.by == TAKEN_OVER_BY and dict(live.weights.weights) == dict(before.weights.weights)


def _cut_back(state: RolloutState, reason: str) -> Outcome:
    if not reason:
        reason = state.verdict.sentence if state.verdict.kind is Kind.REGRESSION else _LOST
    ended = replace(state, status=Status.CUT_BACK, reason=reason, weight=0.0)
    return ended, (CutBack(), Tell(Event.CUT_BACK))


def _ahead(state: RolloutState, in_force: dict[str, float]) -> Outcome:
    for number in (state.stage, state.stage + 1):
        stage = state.plan.stages[number] if number < len(state.plan.stages) else None
        if not isinstance(stage, Traffic) or state.plan.weights(stage.weight) != in_force:
            continue
        actions: tuple[Action, ...] = (Move(in_force),)
        if number > state.stage or state.phase is Phase.ENTERING:
            state = replace(
                state,
                stage=number,
                phase=Phase.HOLDING,
                weight=stage.weight,
                moved=True,
                approved=False,
                excused=False,
                held=0.0,
                gates={},
            )
            actions += (Judge(),)
            if state.status is Status.AWAITING_APPROVAL:
                state = replace(state, status=Status.RUNNING, reason="")
        return state, actions
    if len(in_force) == 1 and in_force.keys() <= set(state.plan.to):
        why = "promoted as the admin process ended"
        promoted = replace(state, status=Status.PROMOTED, reason=why, weight=100.0, moved=True)
        return promoted, (Move(in_force), Tell(Event.PROMOTED))
    return state, ()
