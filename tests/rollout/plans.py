"""Plans and states for the tests of rollouts."""

from __future__ import annotations

from typing import Any

from admin.rollout.actions import Action
from admin.rollout.machine import Answer, Seen, begin, step
from admin.rollout.plan import Plan, plan_of
from admin.rollout.state import RolloutState
from admin.rollout.verdict import Kind, Verdict
from routing.config_rollout import Rollout

OK = Verdict(Kind.OK, "as stable")
UNKNOWN = Verdict(Kind.UNKNOWN, "too few requests")
WATCHING = Verdict(Kind.WATCHING, "10 of about 100 requests to rule out 3x worse")
WORSE = Verdict(Kind.REGRESSION, "canary 5xx 50 % against 0.1 %: 500x, sure at 99 %")

ENDPOINTS = ("http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80")


def plan(stable: str = "blue", **declared: Any) -> Plan:
    return plan_of(Rollout.model_validate({"to": "canary", **declared}), stable, ENDPOINTS)


def canary(**declared: Any) -> Plan:
    """5 % for 60 s, 25 % for 60 s, 100 % for 60 s."""
    return plan(steps=[{"weight": weight, "hold": 60} for weight in (5, 25, 100)], **declared)


class Driven:
    """A rollout, one observation a second."""

    def __init__(self, of: Plan) -> None:
        self.state, first = begin(of, "shop", 1, "ann", "2026-03-01T09:00:00.000Z")
        self.actions: list[Action] = list(first)
        self.now = 1000.0

    def see(self, verdict: Verdict = OK, *answers: Answer, **seen: Any) -> list[Action]:
        """One step; returns the actions it asks for."""
        self.now += 1.0
        self.state, actions = step(self.state, Seen(verdict, answers, **seen), self.now)
        self.actions += actions
        return list(actions)

    def run(self, seconds: int, verdict: Verdict = OK) -> list[Action]:
        """The actions of so many steps."""
        return [action for _ in range(seconds) for action in self.see(verdict)]

    def kept(self) -> None:
        """Through the store and back, as when the process was killed."""
        self.state = RolloutState.from_json("shop", self.state.plan, self.state.to_json())
