"""Where a rollout is: a value that machine.py makes the next of, and the store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from admin.rollout.plan import Plan, Stage
from admin.rollout.verdict import NOTHING_SEEN, Kind, Verdict


class Status(Enum):
    """RUNNING includes waiting for a window, a gate or evidence. A person or `on_failure: pause` makes it PAUSED."""

    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    PROMOTED = "promoted"
    CUT_BACK = "cut_back"
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        return self in (Status.PROMOTED, Status.CUT_BACK, Status.ABORTED)


class Phase(Enum):
    """Of the stage. ENTERING waits until it may begin; DRAINING, UPDATING and CHECKING are of a Replace."""

    ENTERING = "entering"
    DRAINING = "draining"
    UPDATING = "updating"
    CHECKING = "checking"
    HOLDING = "holding"


@dataclass(frozen=True, slots=True)
class Gate:
    """The last answer of a gate in this stage, None before the first. It is asked again from `due` on (machine time)."""

    passed: bool | None = None
    failures: int = 0
    message: str = ""
    asked: bool = False
    due: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "failures": self.failures, "message": self.message}


@dataclass(frozen=True, slots=True)
class RolloutState:
    """`number` counts the route's rollouts. `at` is the machine time of the last step, 0 where it has just begun or been taken up
    again. `moved` is whether it has moved anybody's traffic, `excused` whether a regression of this stage has been dealt with
    already, `failed` how many client requests its upstreams have failed."""

    route: str
    number: int
    plan: Plan
    started_by: str
    started_at: str
    status: Status = Status.RUNNING
    stage: int = 0
    phase: Phase = Phase.ENTERING
    held: float = 0.0
    failed: int = 0
    at: float = 0.0
    weight: float = 0.0
    moved: bool = False
    approved: bool = False
    excused: bool = False
    gates: Mapping[str, Gate] = field(default_factory=dict)
    verdict: Verdict = NOTHING_SEEN
    reason: str = ""
    ended_at: str = ""

    @property
    def name(self) -> str:
        """As it signs its changes."""
        return f"rollout {self.route}#{self.number}"

    @property
    def current(self) -> Stage:
        return self.plan.stages[self.stage]

    def to_json(self) -> dict[str, Any]:
        """What is kept of it, beside what the plan is made of."""
        return {
            "number": self.number,
            "started_by": self.started_by,
            "started_at": self.started_at,
            "status": self.status.value,
            "stage": self.stage,
            "phase": self.phase.value,
            "held": self.held,
            "failed": self.failed,
            "weight": self.weight,
            "moved": self.moved,
            "approved": self.approved,
            "excused": self.excused,
            "gates": {name: gate.to_json() for name, gate in self.gates.items()},
            "verdict": [self.verdict.kind.value, self.verdict.sentence, dict(self.verdict.numbers)],
            "reason": self.reason,
            "ended_at": self.ended_at,
        }

    @classmethod
    def from_json(cls, route: str, plan: Plan, kept: Mapping[str, Any]) -> RolloutState:
        """Raises KeyError, ValueError or TypeError for what `to_json` never wrote."""
        kind, sentence, numbers = kept["verdict"]
        return cls(
            route,
            kept["number"],
            plan,
            kept["started_by"],
            kept["started_at"],
            Status(kept["status"]),
            min(kept["stage"], len(plan.stages) - 1),
            Phase(kept["phase"]),
            kept["held"],
            kept["failed"],
            0.0,
            kept["weight"],
            kept["moved"],
            kept["approved"],
            kept["excused"],
            {name: Gate(**gate) for name, gate in kept["gates"].items()},
            Verdict(Kind(kind), sentence, numbers),
            kept["reason"],
            kept["ended_at"],
        )
