"""What a rollout does, stage after stage. Each pattern of deployment is a way to write these few stages down.

    canary      [smoke] [shadow] weight …                     each step's weight, held and judged
    ab          [smoke] [shadow] weight, then a person
    blue_green  [smoke] [shadow] [a person] 100 %, watched
    rolling     so many endpoints at a time: drained, updated, checked, enabled, judged
    recreate    all of them at once; routes answer their `maintenance` meanwhile

The last weight of all is what a promoted rollout leaves behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from routing.config_rollout import Rollout, Step
from routing.config_rollout import Smoke as SmokeCheck

MAX_ERROR_RATE = 0.05
"""Where stable has no traffic to compare with, and the plan says nothing."""


@dataclass(frozen=True, slots=True)
class Smoke:
    """Every check has to pass before anybody's traffic moves."""

    checks: tuple[SmokeCheck, ...]

    @property
    def title(self) -> str:
        return "smoke tests"


@dataclass(frozen=True, slots=True)
class Shadowed:
    """The new upstream gets copies; as many pairs are compared. `hold` in seconds."""

    upstream: str
    percent: float
    pairs: int
    hold: float

    @property
    def title(self) -> str:
        return f"shadow {self.percent:g} %"


@dataclass(frozen=True, slots=True)
class Approval:
    """A person says when."""

    what: str

    @property
    def title(self) -> str:
        return f"approval: {self.what}"


@dataclass(frozen=True, slots=True)
class Traffic:
    """`weight` per cent for each upstream of the plan's `to`, for `hold` seconds; then a person, if `approval`."""

    weight: float
    hold: float
    max_error_rate: float | None
    approval: bool = False

    @property
    def title(self) -> str:
        return f"weight {self.weight:g} %"


@dataclass(frozen=True, slots=True)
class Replace:
    """These endpoints get the new version while none of them serves, then serve for `hold` seconds."""

    upstream: str
    endpoints: tuple[str, ...]
    hold: float
    max_error_rate: float | None

    @property
    def title(self) -> str:
        return f"replace {', '.join(self.endpoints)}"


Stage = Smoke | Shadowed | Approval | Traffic | Replace


@dataclass(frozen=True, slots=True)
class Plan:
    """`declared` is what it was made of. Weights of the upstreams in `to` rise, `stable` has the rest."""

    declared: Rollout
    stable: str
    to: tuple[str, ...]
    stages: tuple[Stage, ...]

    def weights(self, weight: float) -> dict[str, float]:
        """Of all upstreams, in per cent, where each in `to` has that much. Who has none is left out: a weight of 0 would close it,
        and stable has to be open to retries and fail-over."""
        rest = round(100.0 - weight * len(self.to), 6)
        wanted = {self.stable: rest, **dict.fromkeys(self.to, weight)}
        return {name: share for name, share in wanted.items() if share > 0.0}

    @property
    def replaces(self) -> bool:
        """Whether it moves endpoints rather than weights."""
        return self.declared.pattern in ("rolling", "recreate")


def plan_of(declared: Rollout, stable: str, endpoints: Sequence[str]) -> Plan:
    """`declared` has passed check_rollout. `endpoints` are those in force of the upstream it is about."""
    stages: list[Stage] = []
    if declared.smoke:
        stages.append(Smoke(declared.smoke))
    if declared.shadow is not None:
        gate = declared.shadow
        stages.append(Shadowed(declared.to[0], gate.percent, gate.pairs, gate.hold))
    match declared.pattern:
        case "canary":
            stages += [_traffic(step, len(declared.to), step.approval) for step in declared.steps]
        case "ab":
            stages += [_traffic(step, len(declared.to), approval=True) for step in declared.steps]
        case "blue_green":
            if declared.approval:
                stages.append(Approval(f"switch to {declared.to[0]}"))
            stages.append(Traffic(100.0, declared.watch, declared.max_error_rate or MAX_ERROR_RATE))
        case "rolling" | "recreate":
            size = declared.batch if declared.pattern == "rolling" else len(endpoints)
            for start in range(0, len(endpoints), size):
                batch = tuple(endpoints[start : start + size])
                limit = declared.max_error_rate or MAX_ERROR_RATE
                stages.append(Replace(declared.to[0], batch, declared.watch, limit))
        case _:
            assert_never(declared.pattern)
    return Plan(declared, stable, declared.to, tuple(stages))


def _traffic(step: Step, upstreams: int, approval: bool) -> Traffic:
    limit = step.max_error_rate
    if limit is None and step.weight * upstreams >= 100.0:
        limit = MAX_ERROR_RATE
    return Traffic(step.weight, step.hold, limit, approval)
