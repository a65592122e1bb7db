"""The rollout as a state machine: `step(state, seen, now) -> (state, actions)`. Pure: no clock, no I/O, no statistics.

    RUNNING -> AWAITING_APPROVAL -> RUNNING        a stage that a person has to release
    RUNNING | AWAITING_APPROVAL <-> PAUSED         by a person, or by a failure under `on_failure: pause`
    any of these -> PROMOTED | CUT_BACK | ABORTED  the ends; nothing leaves them

Within RUNNING a stage goes ENTERING -> HOLDING (a Replace by way of DRAINING, UPDATING and CHECKING), and is left for the next when
its time is over, the verdict is OK and every gate has passed. A verdict UNKNOWN holds: no traffic never promotes. Only a schedule
keeps a stage from being entered; nothing keeps a failure from being acted on, a pause or an approval included.

`now` is in seconds on any clock that does not jump; it is compared with itself only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from admin.rollout.actions import (
    Action,
    Ask,
    Copy,
    CutBack,
    Drain,
    Enable,
    Event,
    GoBack,
    Judge,
    Move,
    StopCopies,
    Tell,
)
from admin.rollout.gates import SMOKE, UPDATE, asked, prometheus_of, webhooks_of
from admin.rollout.plan import Approval, Plan, Replace, Shadowed, Smoke, Traffic
from admin.rollout.state import Gate, Phase, RolloutState, Status
from admin.rollout.verdict import NOTHING_SEEN, Kind, Verdict
from routing.config_rollout import PrometheusCheck, Webhook

# Longer than any tick: what passed while nobody watched (a dead admin process) is not counted as held.
LONGEST_GAP = 2.0  # seconds

# Between two tries, where the tests could not be made.
SMOKE_AGAIN = 1.0

# The stage before is judged on until the next is entered.
_JUDGED = (Phase.ENTERING, Phase.HOLDING)

Outcome = tuple[RolloutState, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a gate. `passed` None: it could not be asked, which holds and fails nothing."""

    gate: str
    passed: bool | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What has become known since the last step. `failed` counts the client requests that its upstreams have failed so far;
    `closed` says why the schedule lets no stage begin now. For a Replace: `idle`, whether no request is under way at its endpoints,
    and `healthy`, whether all of them pass their checks."""

    verdict: Verdict = NOTHING_SEEN
    answers: tuple[Answer, ...] = ()
    failed: int = 0
    closed: str = ""
    idle: bool = False
    healthy: bool = False


def begin(plan: Plan, route: str, number: int, by: str, at: str) -> Outcome:
    """`at` is the time as people read it."""
    return RolloutState(route, number, plan, by, at), (Tell(Event.STARTED),)


def step(state: RolloutState, seen: Seen, now: float) -> Outcome:
    """The state after what was seen, and what is to be done about it."""
    if state.status.ended:
        return state, ()
    elapsed = min(now - state.at, LONGEST_GAP) if state.at else 0.0
    state = replace(state, at=now, verdict=seen.verdict, failed=seen.failed, gates=_answered(state.gates, seen.answers))
    if seen.verdict.kind is Kind.REGRESSION and not state.excused and state.phase in _JUDGED:
        return _fail(state, seen.verdict.sentence)
    if state.status is not Status.RUNNING:
        return state, ()
    if state.phase is Phase.ENTERING:
        return _enter(state, seen)
    match stage := state.current:
        case Smoke():
            return _smoke(state)
        case Approval():
            return _await_approval(state, f"{stage.what}: waiting for a person")
        case Shadowed() | Traffic():
            return _hold(replace(state, held=state.held + elapsed), stage.hold)
        case Replace():
            return _replace(state, stage, seen, elapsed)
        case _:
            assert_never(stage)


# Stages


def _enter(state: RolloutState, seen: Seen) -> Outcome:
    if seen.closed:
        return replace(state, reason=f"waiting: {seen.closed}"), ()
    stage = state.current
    state = replace(state, reason="", held=0.0, phase=Phase.HOLDING, excused=False, verdict=NOTHING_SEEN)
    match stage:
        case Smoke() | Approval():
            return state, (Tell(Event.STEP),)
        case Shadowed():
            return state, (Copy(stage.upstream, stage.percent), Judge(), Tell(Event.STEP))
        case Traffic():
            state = replace(state, weight=stage.weight, moved=True)
            return state, (Move(state.plan.weights(stage.weight)), Judge(), Tell(Event.STEP))
        case Replace():
            state = replace(state, phase=Phase.DRAINING)
            return state, (Drain(stage.upstream, stage.endpoints), Tell(Event.STEP))
        case _:
            assert_never(stage)


def _smoke(state: RolloutState) -> Outcome:
    gate = state.gates.get(SMOKE, Gate())
    if gate.passed or (gate.passed is False and state.excused):
        return leave(state)
    if gate.passed is False:
        return _fail(state, f"smoke test: {gate.message}")
    reason = f"holding: {gate.message}" if gate.message else "smoke tests are under way"
    return _ask(replace(state, reason=reason), {SMOKE: SMOKE_AGAIN})


def _hold(state: RolloutState, hold: float) -> Outcome:
    """Judged for so many seconds; then what may be asked only at the end."""
    analysis = state.plan.declared.analysis
    gates: dict[str, PrometheusCheck | Webhook] = {**prometheus_of(analysis), **webhooks_of(analysis)}
    failed = [name for name, gate in gates.items() if state.gates.get(name, Gate()).failures >= gate.failures]
    if failed and not state.excused:
        return _fail(state, state.gates[failed[0]].message)
    every = {name: check.interval for name, check in prometheus_of(analysis).items()}
    state, asks = _ask(state, every)
    if state.held < hold:
        return replace(state, reason=""), asks
    if state.verdict.kind is not Kind.OK and not _told(state):
        return replace(state, reason=f"holding: {state.verdict.sentence}"), asks
    hooks = webhooks_of(analysis)
    state, more = _ask(
        state, {name: hook.interval for name, hook in hooks.items() if not state.gates.get(name, Gate()).passed}
    )
    for name in (*every, *hooks):
        gate = state.gates.get(name, Gate())
        if not gate.passed and name not in failed:
            return replace(state, reason=f"holding: {gate.message or f'{name} has not answered yet'}"), asks + more
    stage = state.current
    if isinstance(stage, Traffic) and stage.approval and not state.approved and not chosen_from(state):
        awaiting, told = _await_approval(state, f"{stage.title} has held: waiting for a person")
        return awaiting, asks + more + told
    left, done = leave(state)
    return left, asks + more + done


def _told(state: RolloutState) -> bool:
    """Of a regression that only had to be told of (`on_failure: notify`)."""
    return state.excused and state.verdict.kind is Kind.REGRESSION


def _replace(state: RolloutState, stage: Replace, seen: Seen, elapsed: float) -> Outcome:
    if state.phase is Phase.DRAINING:
        if not seen.idle:
            return replace(state, reason="draining: requests are still under way there"), ()
        state = replace(state, phase=Phase.UPDATING)
    if state.phase is Phase.UPDATING:
        gate = state.gates.get(UPDATE, Gate())
        if state.plan.declared.update is None:
            if not state.approved:
                where = ", ".join(stage.endpoints)
                return _await_approval(state, f"{where}: drained; approve when the new version is there")
        elif gate.passed is False and not state.excused:
            return _fail(state, f"update: {gate.message}")
        elif gate.passed is None:
            return _ask(replace(state, reason="updating"), {UPDATE: 0.0})
        state = replace(state, phase=Phase.CHECKING)
    if state.phase is Phase.CHECKING:
        if not seen.healthy:
            return replace(state, reason="waiting for the endpoints to pass their checks"), ()
        state = replace(state, phase=Phase.HOLDING, moved=True, reason="")
        return state, (Enable(stage.upstream, stage.endpoints), Judge())
    return _hold(replace(state, held=state.held + elapsed), stage.hold)


def leave(state: RolloutState) -> Outcome:
    """For the next stage, or the end."""
    actions = undone(state)
    if state.stage + 1 < len(state.plan.stages):
        return replace(
            state,
            status=Status.RUNNING,
            stage=state.stage + 1,
            phase=Phase.ENTERING,
            approved=False,
            gates={},
            reason="",
        ), actions
    if chosen_from(state):
        which = " or ".join(state.plan.to)
        ended, told = _await_approval(state, f"all steps have held: promote {which}, or abort")
        return ended, actions + told
    ended, done = promote(state, state.plan.to[0], "every step has held")
    return ended, actions + done


def chosen_from(state: RolloutState) -> bool:
    """Whether a person says which upstream is promoted when this stage is over."""
    last = state.stage + 1 == len(state.plan.stages)
    return last and (len(state.plan.to) > 1 or state.plan.declared.pattern == "ab")


def undone(state: RolloutState) -> tuple[Action, ...]:
    """What ends with the stage, wherever in it the rollout is."""
    stage = state.current
    if isinstance(stage, Shadowed) and state.phase is not Phase.ENTERING:
        return (StopCopies(),)
    if isinstance(stage, Replace) and state.phase not in _JUDGED:
        return (Enable(stage.upstream, stage.endpoints),)
    return ()


def _await_approval(state: RolloutState, why: str) -> Outcome:
    return replace(state, status=Status.AWAITING_APPROVAL, reason=why), (Tell(Event.AWAITING_APPROVAL),)


# Ends


def promote(state: RolloutState, upstream: str, why: str) -> Outcome:
    actions = undone(state)
    if not state.plan.replaces:
        actions += (Move({upstream: 100.0}),)
        state = replace(state, weight=100.0, moved=True)
    return replace(state, status=Status.PROMOTED, reason=why), (*actions, Tell(Event.PROMOTED))


def _fail(state: RolloutState, why: str) -> Outcome:
    """As `on_failure` says. There is nothing to cut back to where endpoints of one upstream are replaced: that pauses."""
    policy = state.plan.declared.on_failure
    if policy == "notify":
        return replace(state, excused=True, reason=why), (Tell(Event.REGRESSION),)
    if policy == "pause" or state.plan.replaces:
        paused = replace(state, status=Status.PAUSED, excused=True, reason=why)
        return paused, (Tell(Event.PAUSED),)
    if state.moved:
        failures = f"{state.failed} client request{' had' if state.failed == 1 else 's had'} failed there"
        why = f"{why}; cut back {state.held:.0f} s after the step began; {failures}"
    ended = replace(state, status=Status.CUT_BACK, reason=why, weight=0.0)
    back: Action = CutBack() if state.moved else GoBack()
    return ended, (*undone(state), back, Tell(Event.CUT_BACK))


def interfered(state: RolloutState, what: str) -> Outcome:
    """Somebody else has changed what the rollout had set: it lets go, and takes no weights back. Copies that nobody would end, and
    endpoints that nobody would enable, are no part of what others want."""
    return replace(state, status=Status.ABORTED, reason=what), (*undone(state), Tell(Event.ABORTED))


# Gates


def _answered(gates: Mapping[str, Gate], answers: tuple[Answer, ...]) -> Mapping[str, Gate]:
    if not answers:
        return gates
    after = dict(gates)
    for answer in answers:
        gate = after.get(answer.gate)
        if gate is not None and gate.asked:
            failures = gate.failures
            if answer.passed is not None:
                failures = 0 if answer.passed else failures + 1
            after[answer.gate] = Gate(answer.passed, failures, answer.message, False, gate.due)
    return after


def _ask(state: RolloutState, every: Mapping[str, float]) -> Outcome:
    """Those whose time has come, each again after so many seconds."""
    due = [name for name in every if asked(state.gates.get(name, Gate()), state.at)]
    if not due:
        return state, ()
    gates = dict(state.gates)
    for name in due:
        gates[name] = replace(gates.get(name, Gate()), asked=True, due=state.at + every[name])
    return replace(state, gates=gates), tuple(Ask(name) for name in due)
