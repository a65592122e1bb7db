"""A verdict as people read it: one plain sentence, and the numbers behind it as JSON."""

from __future__ import annotations

from math import exp, isfinite, log, sqrt
from typing import TYPE_CHECKING, Any

from admin.rollout.bands import difference_interval, rate_interval
from admin.rollout.evidence import SURE_ENOUGH, AbsoluteRisk, RelativeRisk, log_late_threshold, log_threshold
from admin.rollout.rules import DIFFS, ERRORS, LATENCY, LIMIT, RULE_OUT
from admin.rollout.verdict import Kind, Verdict
from proxy.stats import EDGE_RATIO, EDGES

if TYPE_CHECKING:
    from admin.rollout.judging import Judging, Totals

_HALF_A_BUCKET = sqrt(EDGE_RATIO)
_MOST = 1e12
"""More evidence than this is shown as this."""


def verdict_of(judging: Judging) -> Verdict:
    kind = judging.kind
    match kind:
        case Kind.REGRESSION:
            sentence = "; ".join(_regression(judging, metric) for metric in judging.alarms)
            sentence = f"{sentence}, sure at {percent(1.0 - judging.rules.false_alarm)}"
        case Kind.UNKNOWN:
            sentence = _unknown(judging)
        case Kind.WATCHING:
            sentence = _watching(judging)
        case Kind.OK:
            sentence = _ok(judging)
    return Verdict(kind, sentence, numbers_of(judging))


# Sentences


def _regression(judging: Judging, metric: str) -> str:
    if metric == LATENCY:
        quantile = max(judging.latency.quantiles, key=lambda one: _strength(judging.latency.quantiles[one]))
        canary, stable = (milliseconds(judging, arm, quantile) for arm in ("canary", "stable"))
        return f"canary is slower: p{100 * quantile:g} {_ms(canary)} against {_ms(stable)} in the last minute"
    if metric == LIMIT:
        stage = judging.stage
        rate = percent(stage.failed_c / max(stage.n_c, 1))
        return f"canary errors {rate} of {_count(stage.n_c)} requests, above the step's {percent(judging.limit or 0.0)}"
    if metric == DIFFS:
        stage = judging.stage
        if isinstance(judging.diffs, AbsoluteRisk):
            differing = percent(stage.differing / max(stage.pairs, 1))
            limit = percent(judging.rules.max_diff_rate or 0.0)
            return f"{differing} of {_count(stage.pairs)} pairs differ, above {limit}"
        return (
            f"the shadow alone was odd in {_count(stage.shadow_odd)} pairs, stable alone in {_count(stage.stable_odd)}"
        )
    late = judging.errors.log_value < log_threshold(judging.rules.alphas[ERRORS])
    totals = judging.last_minute() if late else judging.whole
    where = " in the last minute" if late else ""
    return f"{_arms(totals)}{where}{_times(totals)}"


def _strength(process: RelativeRisk) -> float:
    return max(process.log_value, process.log_late - log(max(process.seconds, 1.0)))


def _unknown(judging: Judging) -> str:
    stage = judging.stage
    if judging.asked_pairs:
        return f"{_count(stage.pairs)} of {_count(judging.asked_pairs)} pairs compared"
    if not stage.n_c:
        return "no request of the canary to judge by yet"
    if not judging.canary_seen:
        return "no request of the canary in the last minute"
    return f"{_count(stage.n_c)} of {_count(judging.rules.min_requests)} requests of the canary to judge by"


def _watching(judging: Judging) -> str:
    stage = judging.stage
    needed = requests_to_rule_out(judging)
    of = (
        f"{_short(stage.n_c + stage.n_s)} requests"
        if needed is None
        else (f"{_short(stage.n_c + stage.n_s)} of about {_short(needed)} requests")
    )
    rarely = "; errors are too rare to say how many it takes" if needed is None else ""
    return f"{of} to rule out {_ratio(judging.rules.rule_out or RULE_OUT)} worse{rarely}"


def _ok(judging: Judging) -> str:
    stage = judging.stage
    if judging.asked_pairs:
        return f"{_count(stage.pairs)} pairs compared: no sign of a regression"
    if not judging.stable_seen:
        limit = "nothing to judge by" if judging.limit is None else f"judged by {percent(judging.limit)} alone"
        rate = percent(stage.failed_c / stage.n_c)
        return f"canary errors {rate} of {_count(stage.n_c)} requests; stable has no traffic: {limit}"
    if judging.ruled_out:
        worse = _ratio(judging.rules.rule_out or RULE_OUT)
        return f"{_arms(stage)} in {_short(stage.n_c + stage.n_s)} requests: {worse} worse is ruled out"
    return f"{_arms(stage)} in {_short(stage.n_c + stage.n_s)} requests: no sign of a regression"


def _arms(totals: Totals) -> str:
    canary = totals.failed_c / max(totals.n_c, 1)
    stable = totals.failed_s / max(totals.n_s, 1)
    return f"canary errors {percent(canary)} against {percent(stable)}"


def _times(totals: Totals) -> str:
    if not totals.failed_s:
        return f" ({_count(totals.failed_c)} of {_count(totals.n_c)} against none of {_count(totals.n_s)})"
    return f": {_ratio(_risk(totals) or 0.0)}"


# Numbers


def numbers_of(judging: Judging) -> dict[str, Any]:
    """What a verdict is made from. `requests`, `bad` and rates are the stage's; evidence of errors and latency is the whole
    rollout's. Nothing that JSON lacks: None for what has no bound or is not known."""
    rules, stage = judging.rules, judging.stage
    low, high = judging.band.interval(rules.false_alarm)
    found: dict[str, Any] = {
        "seconds": round(judging.seconds, 3),
        "canary": _arm(stage.n_c, stage.failed_c, stage.k_c, rules.false_alarm),
        "stable": _arm(stage.n_s, stage.failed_s, stage.k_s, rules.false_alarm),
        "evidence": {metric: _evidence(judging, metric) for metric in rules.alphas if judging.process(metric)},
        "difference": _difference(stage, rules.false_alarm),
        "relative_risk": {"value": _risk(stage), "low": _significant(low), "high": _significant(high)},
        "promotion": {
            "rule_out": rules.rule_out or RULE_OUT,
            "asked": rules.rule_out is not None,
            "value": _significant(judging.better.value),
            "needed": 1.0 / SURE_ENOUGH,
            "requests": stage.n_c + stage.n_s,
            "of_about": requests_to_rule_out(judging),
        },
        "latency": {
            f"p{100 * quantile:g}": {
                "canary_ms": milliseconds(judging, "canary", quantile),
                "stable_ms": milliseconds(judging, "stable", quantile),
            }
            for quantile in rules.quantiles
        },
        "unlisted": stage.unlisted,
    }
    if rules.sticky:
        found["dispersion"] = round(judging.dispersion.value, 3)
    if judging.limit is not None:
        found["max_error_rate"] = judging.limit
    if stage.pairs:
        found["pairs"] = {
            "compared": stage.pairs,
            "differing": stage.differing,
            "shadow_odd": stage.shadow_odd,
            "stable_odd": stage.stable_odd,
        }
    return found


def _arm(requests: int, failed: int, counted: int, alpha: float) -> dict[str, Any]:
    """`counted` is what the evidence counts of `failed`: each client once where they are sticky."""
    low, high = rate_interval(requests, counted, alpha)
    return {
        "requests": requests,
        "bad": failed,
        "counted": counted,
        "rate": round(failed / requests, 6) if requests else None,
        "low": round(low, 6),
        "high": round(high, 6),
    }


def _difference(totals: Totals, alpha: float) -> dict[str, Any]:
    """Of the canary's rate of errors to stable's."""
    low, high = difference_interval(totals.n_c, totals.k_c, totals.n_s, totals.k_s, alpha)
    value = totals.failed_c / totals.n_c - totals.failed_s / totals.n_s if totals.n_c and totals.n_s else None
    return {"value": None if value is None else round(value, 6), "low": round(low, 6), "high": round(high, 6)}


def _risk(totals: Totals) -> float | None:
    if not totals.n_c or not totals.failed_s:
        return None
    return _significant((totals.failed_c / totals.n_c) / (totals.failed_s / totals.n_s))


def _evidence(judging: Judging, metric: str) -> dict[str, Any]:
    process, alpha = judging.process(metric), judging.rules.alphas[metric]
    assert process is not None
    late = log_late_threshold(alpha, judging.rules.planned, process.seconds)
    return {
        "value": _significant(_exp(process.log_value)),
        "needed": _significant(_exp(log_threshold(alpha))),
        "late": _significant(_exp(process.log_late)),
        "late_needed": _significant(_exp(late)),
        "alarm": metric in judging.alarms,
    }


def requests_to_rule_out(judging: Judging) -> int | None:
    """About how many of both arms this stage needs in all, if the canary is like stable; None where errors are too rare to say."""
    stage, margin = judging.stage, judging.rules.rule_out or RULE_OUT
    total = stage.n_c + stage.n_s
    if not stage.n_c or not stage.n_s or not stage.k_s:
        return None
    share, risk = stage.n_c / total, stage.k_s / stage.n_s
    gain = risk * (log(1.0 + share * (margin - 1.0)) - share * log(margin))
    missing = log(1.0 / SURE_ENOUGH) - judging.better.log_value
    return total + max(0, round(missing / gain))


def milliseconds(judging: Judging, arm: str, quantile: float) -> float | None:
    """The middle of the bucket in which the last minute's quantile lies."""
    edge = judging.minutes[arm].edge(quantile)
    return None if edge is None else round(1000.0 * EDGES[min(edge, len(EDGES) - 1)] / _HALF_A_BUCKET, 3)


# Figures


def percent(share: float) -> str:
    """With two digits that mean something, and never 100 % for less."""
    value = 100.0 * share
    if value >= 99.5:
        return f"{value:.6g} %"
    return f"{value:.2g} %" if value < 10.0 else f"{value:.0f} %"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2g}×" if ratio < 10.0 else f"{ratio:.0f}×"


def _count(count: int) -> str:
    return f"{count:,}"


def _short(count: int) -> str:
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1000:,.0f}k" if count < 10_000_000 else f"{count / 1e6:,.0f}M"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g} ms"


def _exp(logarithm: float) -> float:
    return exp(min(logarithm, log(_MOST)))


def _significant(value: float) -> float | None:
    """Four digits of it; None for infinity."""
    return float(f"{min(value, _MOST):.4g}") if isfinite(value) else None
