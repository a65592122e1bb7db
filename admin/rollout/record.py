"""A rollout as it is kept: all that a process needs to go on with it, after a kill too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from admin.live import RouteState
from admin.rollout.plan import plan_of
from admin.rollout.state import RolloutState
from admin.state.store import ROLLOUT, Key
from routing.config_rollout import Rollout

VERSION = 1


def key_of(route: str) -> Key:
    return ROLLOUT, route


@dataclass(frozen=True, slots=True)
class Record:
    """`endpoints` are those that the plan was made for, `before` the route's live state when it began, `evidence` what
    `Observing` gave."""

    state: RolloutState
    endpoints: tuple[str, ...]
    before: RouteState
    evidence: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        plan = self.state.plan
        return {
            "version": VERSION,
            "plan": plan.declared.model_dump(mode="json", by_alias=True),
            "stable": plan.stable,
            "endpoints": list(self.endpoints),
            "before": self.before.to_json(),
            "state": self.state.to_json(),
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_json(cls, route: str, kept: Mapping[str, Any]) -> Record:
        """Raises KeyError, ValueError or TypeError for what `to_json` never wrote."""
        if kept["version"] != VERSION:
            raise ValueError(f"version {kept['version']}")
        endpoints = tuple(kept["endpoints"])
        plan = plan_of(Rollout.model_validate(kept["plan"]), kept["stable"], endpoints)
        state = RolloutState.from_json(route, plan, kept["state"])
        return cls(state, endpoints, RouteState.from_json(kept["before"]), kept["evidence"])
