"""What people may tell a rollout, as transitions of the machine."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import assert_never

from admin.refusals import OutOfTurnError
from admin.rollout.actions import Action, Event, GoBack, Judge, Tell
from admin.rollout.machine import Outcome, chosen_from, leave, promote, undone
from admin.rollout.plan import Replace
from admin.rollout.state import Phase, RolloutState, Status


class Command(Enum):
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    PROMOTE = "promote"
    SKIP = "skip"
    ABORT = "abort"


def command(state: RolloutState, what: Command, by: str, upstream: str = "") -> Outcome:
    """`upstream` is for a promotion where several are tried. Raises OutOfTurnError."""
    if state.status.ended:
        raise OutOfTurnError(f"the rollout of route {state.route!r} has ended: {state.status.value}")
    match what:
        case Command.PAUSE:
            if state.status is Status.PAUSED:
                raise OutOfTurnError(f"the rollout of route {state.route!r} is paused already")
            return replace(state, status=Status.PAUSED, reason=f"paused by {by}"), (Tell(Event.PAUSED),)
        case Command.RESUME:
            return _resume(state, by)
        case Command.APPROVE:
            return _approve(state)
        case Command.SKIP:
            return leave(state)
        case Command.PROMOTE:
            return _promote(state, by, upstream)
        case Command.ABORT:
            return _abort(state, by)
        case _:
            assert_never(what)


def _resume(state: RolloutState, by: str) -> Outcome:
    if state.status is not Status.PAUSED:
        raise OutOfTurnError(f"the rollout of route {state.route!r} is not paused")
    resumed = replace(state, status=Status.RUNNING, reason=f"resumed by {by}", excused=False, gates={})
    judged: tuple[Action, ...] = (Judge(),) if state.phase is Phase.HOLDING else ()
    return resumed, (*judged, Tell(Event.RESUMED))


def _approve(state: RolloutState) -> Outcome:
    if state.status is not Status.AWAITING_APPROVAL:
        raise OutOfTurnError(f"the rollout of route {state.route!r} asks for no approval")
    if chosen_from(state):
        raise OutOfTurnError("all its steps are over: promote an upstream, or abort")
    if isinstance(state.current, Replace):
        return replace(state, status=Status.RUNNING, approved=True, reason=""), ()
    return leave(replace(state, approved=True))


def _promote(state: RolloutState, by: str, upstream: str) -> Outcome:
    if upstream and upstream not in state.plan.to:
        raise OutOfTurnError(f"{upstream!r} is not in this rollout: {', '.join(state.plan.to)}")
    if not upstream and len(state.plan.to) > 1:
        raise OutOfTurnError(f"say which upstream is promoted: {' or '.join(state.plan.to)}")
    return promote(state, upstream or state.plan.to[0], f"promoted by {by}")


def _abort(state: RolloutState, by: str) -> Outcome:
    back: tuple[Action, ...] = () if state.plan.replaces else (GoBack(),)
    aborted = replace(state, status=Status.ABORTED, reason=f"aborted by {by}", weight=0.0)
    return aborted, (*undone(state), *back, Tell(Event.ABORTED))
