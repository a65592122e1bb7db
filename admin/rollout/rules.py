"""What a plan asks of the evidence: which metrics are judged, and how large a part of the chance of a false alarm each has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from admin.rollout.plan import Plan, Replace, Shadowed, Traffic

ERRORS, LIMIT, LATENCY, DIFFS = "errors", "max_error_rate", "latency", "diffs"
METRICS = (ERRORS, LIMIT, LATENCY, DIFFS)
SHARES = {ERRORS: 0.5, LIMIT: 0.1, LATENCY: 0.2, DIFFS: 0.2}

QUANTILES = (0.5, 0.95, 0.99)
TOLERANCE = 1.10

SHORTEST_PLAN = 600.0
RULE_OUT = 3.0
"""What is shown where the plan asks for nothing to be ruled out."""

_LEAST_ALPHA = 1e-12


@dataclass(frozen=True, slots=True)
class Rules:
    """What a plan asks for. `alphas` has the metrics that are judged; `planned` seconds are the rollout's."""

    alphas: Mapping[str, float]
    false_alarm: float = 0.01
    planned: float = 3600.0
    min_requests: int = 20
    rule_out: float | None = None
    max_increase: float | None = None
    quantiles: tuple[float, ...] = QUANTILES
    max_ratio: float = TOLERANCE
    max_diff_rate: float | None = None
    sticky: bool = False


def rules_of(plan: Plan, *, sticky: bool) -> Rules:
    """For each of the plan's canaries alike: they share `false_alarm`."""
    analysis = plan.declared.analysis
    held = [stage for stage in plan.stages if isinstance(stage, Traffic | Replace | Shadowed)]
    limits = sum(not isinstance(stage, Shadowed) and stage.max_error_rate is not None for stage in held)
    judged = {ERRORS, LATENCY}
    if limits:
        judged.add(LIMIT)
    if any(isinstance(stage, Shadowed) for stage in held):
        judged.add(DIFFS)
    alpha = max(analysis.false_alarm / len(plan.to), _LEAST_ALPHA)
    alphas = {name: alpha * share for name, share in shares_of(judged).items()}
    if limits:
        alphas[LIMIT] /= limits  # each stage has its own
    latency = analysis.latency
    return Rules(
        alphas,
        alpha,
        max(sum(stage.hold for stage in held), SHORTEST_PLAN),
        analysis.min_requests,
        analysis.rule_out,
        None if analysis.error_rate is None else analysis.error_rate.max_increase,
        QUANTILES if latency is None else (latency.quantile,),
        TOLERANCE if latency is None else latency.max_ratio,
        None if analysis.diff_rate is None else analysis.diff_rate.max,
        sticky,
    )


def shares_of(judged: set[str]) -> dict[str, float]:
    """Errors, with a limit of their own among them, have three fifths; latency and diffs one each. What is not judged leaves its
    share to the others."""
    taken = {name: share for name, share in SHARES.items() if name in judged}
    whole = sum(taken.values())
    return {name: share / whole for name, share in taken.items()}
