"""One rollout as answers show it, of a route and by itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from admin.rollout.state import RolloutState


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GateShape(Shape):
    passed: bool | None = Field(description="null before the first answer, and where it could not be asked")
    failures: int = Field(description="in a row")
    message: str


class StepShape(Shape):
    title: str
    hold: float | None = Field(description="seconds; null for what is over when it is over")


class RolloutShape(Shape):
    """One rollout, under way or ended."""

    number: int = Field(description="of the route's rollouts, from 1")
    state: Literal["running", "paused", "awaiting_approval", "promoted", "cut_back", "aborted"]
    pattern: str
    to: list[str]
    stable: str
    step: int = Field(description="from 1")
    steps: int
    plan: list[StepShape] = Field(description="all steps, in order")
    phase: str = Field(description="of the step: entering, draining, updating, checking, holding")
    held: float = Field(description="seconds of this step that count")
    weight: float = Field(description="per cent of each upstream in `to`")
    verdict: Literal["ok", "watching", "regression", "unknown"]
    sentence: str = Field(description="the verdict for people")
    evidence: dict[str, Any] = Field(description="the numbers that the verdict is made from")
    gates: dict[str, GateShape]
    failed: int = Field(description="client requests that the upstreams in `to` have failed")
    reason: str = Field(description="why it is in this state, or what it waits for")
    started_at: str
    started_by: str
    ended_at: str | None


def rollout_of(state: RolloutState) -> RolloutShape:
    plan, verdict = state.plan, state.verdict
    return RolloutShape(
        number=state.number,
        state=state.status.value,
        pattern=plan.declared.pattern,
        to=list(plan.to),
        stable=plan.stable,
        step=state.stage + 1,
        steps=len(plan.stages),
        plan=[StepShape(title=stage.title, hold=getattr(stage, "hold", None)) for stage in plan.stages],
        phase=state.phase.value,
        held=round(state.held, 3),
        weight=state.weight,
        verdict=verdict.kind.value,
        sentence=verdict.sentence,
        evidence=dict(verdict.numbers),
        gates={
            name: GateShape(passed=gate.passed, failures=gate.failures, message=gate.message)
            for name, gate in state.gates.items()
        },
        failed=state.failed,
        reason=state.reason,
        started_at=state.started_at,
        started_by=state.started_by,
        ended_at=state.ended_at or None,
    )
