"""What the workers and the shadow say of one rollout, turn by turn, until it is a verdict. No clock, no I/O.

Each upstream in `to` is judged on its own against stable; the rollout's verdict is the worst of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admin.rollout.counts import NONE, ArmCounts, Pairs, Tick
from admin.rollout.judging import Judging
from admin.rollout.plan import Plan, Replace, Shadowed, Traffic
from admin.rollout.rules import rules_of
from admin.rollout.state import RolloutState
from admin.rollout.verdict import NOTHING_SEEN, Kind, Verdict
from proxy.control import Arm

_WORST_FIRST = (Kind.REGRESSION, Kind.UNKNOWN, Kind.WATCHING, Kind.OK)


class Observing:
    """`failed` counts the client requests that the upstreams in `to` have failed."""

    def __init__(self, plan: Plan, *, sticky: bool) -> None:
        self._plan = plan
        self._rules = rules_of(plan, sticky=sticky)
        self._judging = {name: Judging(self._rules) for name in plan.to}
        self._arms = {name: ArmCounts() for name in (plan.stable, *plan.to)}
        self._at: float | None = None
        self._pairs: Pairs | None = None
        self.failed = 0

    def add(self, arm: Arm, now: float) -> None:
        """A worker's report. What is of an upstream that is not in the plan says nothing."""
        counts = self._arms.get(arm.upstream)
        if counts is not None:
            counts.add(arm, now)

    def begin(self, state: RolloutState) -> None:
        """A stage begins."""
        stage = state.current
        limit = stage.max_error_rate if isinstance(stage, Traffic | Replace) else None
        pairs = stage.pairs if isinstance(stage, Shadowed) else 0
        self._pairs = None
        for judging in self._judging.values():
            judging.begin(limit, pairs)

    def turn(self, now: float, diffs: Mapping[str, Any] | None) -> Verdict:
        """What is known by `now` (any clock that does not jump). `diffs` as `shadow.judging.judge` gives them, where they are
        part of the stage."""
        before, self._at = self._at, now
        if before is None or now <= before:
            return NOTHING_SEEN
        taken = {name: counts.take() for name, counts in self._arms.items()}
        pairs = None if diffs is None else self._new_pairs(diffs)
        stable = NONE if self._plan.stable in self._plan.to else taken[self._plan.stable]
        for name, judging in self._judging.items():
            self.failed += taken[name].failed
            judging.observe(Tick(taken[name], stable, now - before, pairs), now)
        return self._verdict()

    def _verdict(self) -> Verdict:
        verdicts = {name: judging.verdict for name, judging in self._judging.items()}
        worst = min(verdicts, key=lambda name: _WORST_FIRST.index(verdicts[name].kind))
        verdict = verdicts[worst]
        if len(verdicts) == 1:
            return verdict
        numbers = {name: each.numbers for name, each in verdicts.items()}
        return Verdict(verdict.kind, f"{worst}: {verdict.sentence}", numbers)

    def _new_pairs(self, diffs: Mapping[str, Any]) -> Pairs:
        """Since the turn before. Findings are fields that differ more than noise explains, so a pair that shows one has the
        shadow as the odd one."""
        compared = diffs["compared"]
        differing = round(diffs["diff_rate"] * compared)
        before, self._pairs = self._pairs, Pairs(compared, differing)
        if before is None or compared < before.compared:  # begun anew
            return Pairs()
        more = min(max(0, differing - before.differing), compared - before.compared)
        return Pairs(compared - before.compared, more, more)

    def to_json(self) -> dict[str, Any]:
        return {"failed": self.failed, "judging": {name: judging.to_json() for name, judging in self._judging.items()}}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        self.failed = kept["failed"]
        self._judging = {name: Judging.from_json(self._rules, kept["judging"][name]) for name in self._plan.to}
