"""One rollout judged: what the verdict is, what the sentence says, what survives a restart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from admin.rollout.counts import Counts, Pairs, Tick
from admin.rollout.judging import QUIET, WARM_UP, Judging
from admin.rollout.plan import plan_of
from admin.rollout.rules import DIFFS, ERRORS, LATENCY, LIMIT, METRICS, Rules, rules_of, shares_of
from admin.rollout.verdict import Kind
from routing.config_rollout import Rollout

RULES = Rules({ERRORS: 0.005, LIMIT: 0.001, LATENCY: 0.002, DIFFS: 0.002})


def tick(k_c: int = 0, k_s: int = 1, n_c: int = 50, n_s: int = 950, seconds: float = 1.0) -> Tick:
    return Tick(Counts(n_c, k_c), Counts(n_s, k_s), seconds)


def fed(judging: Judging, ticks: Iterable[Tick], start: float = 0.0) -> Judging:
    now = start
    for one in ticks:
        now += one.seconds
        judging.observe(one, now)
    return judging


# The verdict


def test_nothing_seen_is_unknown_and_says_so() -> None:
    verdict = Judging(RULES).verdict
    assert verdict.kind is Kind.UNKNOWN
    assert verdict.sentence == "no request of the canary to judge by yet"
    json.dumps(verdict.numbers, allow_nan=False)


def test_no_traffic_of_the_canary_is_unknown_however_long_stable_has_some() -> None:
    assert fed(Judging(RULES), [tick(n_c=0)] * 300).kind is Kind.UNKNOWN


def test_traffic_of_the_canary_that_ends_is_unknown_after_a_minute() -> None:
    judging = fed(Judging(RULES), [tick()] * 100)
    assert judging.kind is Kind.OK
    fed(judging, [tick(n_c=0)] * (int(QUIET) - 1), 100.0)
    assert judging.kind is Kind.OK
    verdict = fed(judging, [tick(n_c=0)], 159.0).verdict
    assert verdict.kind is Kind.UNKNOWN
    assert verdict.sentence == "no request of the canary in the last minute"


def test_too_few_requests_are_unknown() -> None:
    judging = fed(Judging(RULES), [tick(n_c=1)] * 19)
    assert judging.verdict.sentence == "19 of 20 requests of the canary to judge by"
    assert fed(judging, [tick(n_c=1)]).kind is Kind.OK


def test_three_of_three_errors_are_no_regression_before_there_are_enough_requests() -> None:
    judging = Judging(RULES)
    judging.begin(max_error_rate=0.01)
    fed(judging, [tick(k_c=1, n_c=1)] * 3)
    assert judging.kind is Kind.UNKNOWN
    assert fed(judging, [tick(n_c=1)] * 17).verdict.kind is Kind.REGRESSION


def test_errors_of_the_canary_are_a_regression_in_one_sentence() -> None:
    judging = fed(Judging(RULES), [tick(k_c=10, k_s=20, n_c=1000, n_s=19000)])
    verdict = judging.verdict
    assert verdict.kind is Kind.REGRESSION
    assert verdict.sentence == "canary errors 1 % against 0.11 %: 9.5×, sure at 99 %"
    assert verdict.numbers["canary"]["bad"] == 10
    assert verdict.numbers["evidence"][ERRORS]["alarm"] is True
    assert verdict.numbers["evidence"][ERRORS]["value"] >= verdict.numbers["evidence"][ERRORS]["needed"] == 400.0


def test_numbers_have_the_rate_of_each_arm_and_their_difference_with_bands() -> None:
    numbers = fed(Judging(RULES), [tick(1, 1, 500, 500)] * 100).verdict.numbers
    for arm in ("canary", "stable"):
        assert numbers[arm]["low"] < numbers[arm]["rate"] == 0.002 < numbers[arm]["high"]
    assert numbers["difference"]["low"] < numbers["difference"]["value"] == 0.0 < numbers["difference"]["high"] < 0.003
    assert numbers["relative_risk"]["low"] < numbers["relative_risk"]["value"] == 1.0 < numbers["relative_risk"]["high"]


def test_errors_beside_a_stable_without_any_are_counted_out() -> None:
    sentence = fed(Judging(RULES), [tick(k_c=6, k_s=0)]).verdict.sentence
    assert sentence == "canary errors 12 % against 0 % (6 of 50 against none of 950), sure at 99 %"


def test_a_late_regression_is_told_by_the_last_minute() -> None:
    judging = fed(Judging(RULES), [tick()] * 3000)
    assert judging.kind is Kind.OK
    fed(judging, [tick(k_c=1)] * 20, 3000.0)
    assert judging.verdict.sentence == "canary errors 0.67 % against 0.11 % in the last minute: 6.3×, sure at 99 %"


def test_an_outage_of_both_arms_is_none() -> None:
    judging = fed(Judging(RULES), [tick()] * 100 + [tick(10, 190)] * 60 + [tick()] * 100)
    assert judging.kind is Kind.OK


def test_an_alarm_stays_until_the_next_stage_begins_everything_anew() -> None:
    judging = fed(Judging(RULES), [tick(k_c=5)])
    assert fed(judging, [tick()] * 500).kind is Kind.REGRESSION
    judging.begin()
    assert judging.kind is Kind.UNKNOWN
    assert fed(judging, [tick()] * 60).kind is Kind.OK


def test_evidence_of_errors_goes_on_from_stage_to_stage() -> None:
    """So that a false alarm is as rare over all of them."""
    judging = fed(Judging(RULES), [tick(k_c=1, k_s=0)] * 2)
    before = judging.errors.value
    judging.begin()
    assert judging.errors.value == before > 10.0
    assert judging.stage.n_c == 0


# Limits of a stage, and no stable


def test_limit_of_the_stage_judges_where_stable_has_no_traffic() -> None:
    judging = Judging(RULES)
    judging.begin(max_error_rate=0.01)
    fed(judging, [tick(0, 0, 1000, 0)] * 50)
    verdict = judging.verdict
    assert verdict.kind is Kind.OK
    assert verdict.sentence == "canary errors 0 % of 50,000 requests; stable has no traffic: judged by 1 % alone"
    fed(judging, [tick(50, 0, 1000, 0)] * 2)
    verdict = judging.verdict
    assert verdict.kind is Kind.REGRESSION
    assert "above the step's 1 %, sure at 99 %" in verdict.sentence


def test_without_stable_and_limit_nothing_judges() -> None:
    judging = fed(Judging(RULES), [tick(500, 0, 1000, 0)] * 50)
    assert judging.kind is Kind.OK
    assert judging.verdict.sentence.endswith("stable has no traffic: nothing to judge by")


def test_limit_is_of_its_stage_alone() -> None:
    judging = Judging(RULES)
    judging.begin(max_error_rate=0.01)
    fed(judging, [tick(2, 38)] * 10)
    judging.begin(max_error_rate=0.2)
    assert judging.guard is not None
    assert judging.guard.value == 1.0
    assert judging.verdict.numbers["max_error_rate"] == 0.2


def test_an_allowed_increase_is_no_regression() -> None:
    ticks = [tick(1, 1, 100, 900)] * 300  # 1 % against 0.1 %
    assert fed(Judging(RULES), ticks).kind is Kind.REGRESSION
    assert fed(Judging(replace(RULES, max_increase=0.01)), ticks).kind is Kind.OK


# What is ruled out


def test_what_the_plan_asks_to_be_ruled_out_is_watched_for() -> None:
    judging = fed(Judging(replace(RULES, rule_out=3.0)), [tick(n_c=250, n_s=750)] * 4)
    verdict = judging.verdict
    assert verdict.kind is Kind.WATCHING
    assert verdict.sentence.startswith("4,000 of about ")
    assert verdict.sentence.endswith(" requests to rule out 3× worse")
    fed(judging, [tick(k_c=one % 4 == 0, n_c=250, n_s=750) for one in range(100)], 4.0)
    assert judging.verdict.sentence == "canary errors 0.096 % against 0.13 % in 104k requests: 3× worse is ruled out"
    assert judging.kind is Kind.OK


def test_number_of_requests_that_is_announced_is_about_what_it_takes() -> None:
    judging = Judging(replace(RULES, rule_out=3.0))
    pattern = [tick(one % 20 == 0, 1 - (one % 20 == 0)) for one in range(20)]
    fed(judging, pattern)
    announced = judging.verdict.numbers["promotion"]["of_about"]
    while judging.kind is not Kind.OK:
        fed(judging, pattern, judging.seconds)
    assert 0.6 * announced < judging.stage.n_c + judging.stage.n_s < 1.4 * announced


def test_errors_too_rare_to_rule_anything_out_are_told() -> None:
    judging = fed(Judging(replace(RULES, rule_out=3.0)), [tick(0, 0)] * 100)
    assert judging.verdict.sentence == (
        "100k requests to rule out 3× worse; errors are too rare to say how many it takes"
    )


def test_without_anything_to_rule_out_no_alarm_is_enough() -> None:
    judging = fed(Judging(RULES), [tick()] * 15)
    assert judging.verdict.sentence == "canary errors 0 % against 0.11 % in 15k requests: no sign of a regression"


# Latency


def slow_tick(canary: int, stable: int) -> Tick:
    """Buckets that far up for all of them."""
    below, at, above = (Counts(2, 0, {}), 25, 24)
    counts = [
        Counts(below.requests + at + above + 1, 0, {base: 25, base + 4: 24, base + 20: 3}) for base in (canary, stable)
    ]
    return Tick(counts[0], replace(counts[1], requests=520, buckets={k: 10 * v for k, v in counts[1].buckets.items()}))


def test_a_slower_canary_is_a_regression_after_the_warm_up_and_none_within_the_tolerance() -> None:
    assert fed(Judging(RULES), [slow_tick(100, 100)] * 300).kind is Kind.OK
    assert fed(Judging(RULES), [slow_tick(101, 100)] * 300).kind is Kind.OK
    judging = fed(Judging(RULES), [slow_tick(105, 100)] * int(WARM_UP))
    assert judging.kind is Kind.OK
    fed(judging, [slow_tick(105, 100)] * 20, WARM_UP)
    verdict = judging.verdict
    assert verdict.kind is Kind.REGRESSION
    assert verdict.sentence.startswith("canary is slower: p")
    assert verdict.sentence.endswith("in the last minute, sure at 99 %")


def test_latency_is_shown_where_stable_has_none_to_compare_with() -> None:
    judging = fed(Judging(RULES), [replace(slow_tick(100, 100), stable=Counts())] * 50)
    assert judging.verdict.numbers["latency"]["p50"] == {"canary_ms": pytest.approx(740.0, rel=0.05), "stable_ms": None}
    assert judging.latency.log_value == 0.0


def test_latency_after_a_restart_waits_for_the_last_minute_and_keeps_its_evidence() -> None:
    judging = fed(Judging(RULES), [slow_tick(105, 100)] * 33)
    kept = judging.latency.log_value
    assert kept > 0.0
    again = Judging.from_json(RULES, json.loads(json.dumps(judging.to_json(), allow_nan=False)))
    fed(again, [slow_tick(100, 100)] * int(WARM_UP - 1), 1e6)
    assert again.latency.log_value == kept
    fed(again, [slow_tick(105, 100)] * 20, 1e6 + WARM_UP)
    assert again.kind is Kind.REGRESSION


# Copies


def pairs_tick(differing: int = 0, shadow_odd: int = 0, stable_odd: int = 0) -> Tick:
    return Tick(pairs=Pairs(100, differing, shadow_odd, stable_odd))


def test_stage_of_copies_is_left_once_the_pairs_are_compared() -> None:
    judging = Judging(RULES)
    judging.begin(pairs=1000)
    fed(judging, [pairs_tick()] * 9)
    assert judging.kind is Kind.UNKNOWN
    assert judging.verdict.sentence == "900 of 1,000 pairs compared"
    assert fed(judging, [pairs_tick()]).kind is Kind.OK


def test_diffs_above_their_limit_are_a_regression() -> None:
    judging = Judging(replace(RULES, max_diff_rate=0.005))
    judging.begin(pairs=10_000)
    fed(judging, [pairs_tick()] * 3 + [pairs_tick(5)] * 3)
    assert judging.verdict.sentence == "2.5 % of 600 pairs differ, above 0.5 %, sure at 99 %"


def test_diffs_in_which_the_shadow_alone_is_odd_are_a_regression() -> None:
    fair = Judging(RULES)
    fair.begin(pairs=100)
    assert fed(fair, [pairs_tick(4, 2, 2)] * 100).kind is Kind.OK
    judging = Judging(RULES)
    judging.begin(pairs=100)
    fed(judging, [pairs_tick(4, 4, 1)] * 20)
    sentence = judging.verdict.sentence
    assert sentence == "the shadow alone was odd in 80 pairs, stable alone in 20, sure at 99 %"


# Unlisted


def test_unlisted_failures_raise_no_alarm_and_rule_nothing_out() -> None:
    judging = Judging(replace(RULES, rule_out=3.0))
    crowded = Tick(Counts(5000, 1000, {}, 1000, 2000), Counts(95000, 1000, {}, 18000, 20000))
    fed(judging, [crowded] * 10)
    assert judging.kind is Kind.WATCHING
    assert judging.better.value == 1.0
    assert judging.verdict.numbers["unlisted"] == 190_000


# Kept


def test_evidence_goes_on_from_json_as_if_nothing_had_been() -> None:
    straight, through = Judging(RULES), Judging(RULES)
    for judging in (straight, through):
        judging.begin(max_error_rate=0.05, pairs=0)
    for number in range(60):
        one = replace(slow_tick(103, 100), pairs=Pairs(10, 1, 1, 0))
        one = replace(one, canary=replace(one.canary, bad=number % 7 == 0))
        kept = json.dumps(through.to_json(), allow_nan=False)
        if number < 25:
            through = Judging.from_json(RULES, json.loads(kept))
        straight.observe(one, float(number))
        through.observe(one, float(number))
    assert through.kind is straight.kind
    assert through.errors.to_json() == straight.errors.to_json()
    assert through.guard is not None
    assert straight.guard is not None
    assert through.guard.to_json() == straight.guard.to_json()
    assert through.to_json()["times"] == straight.to_json()["times"]


def test_kept_evidence_does_not_grow() -> None:
    judging = fed(Judging(RULES), [tick(1, 1)] * 100)
    before = len(json.dumps(judging.to_json()))
    fed(judging, [replace(slow_tick(100, 100), pairs=Pairs(10, 1, 1, 1))] * 5000)
    assert len(json.dumps(judging.to_json())) < max(2 * before, 10_000)


@pytest.mark.parametrize("missing", sorted(Judging(RULES).to_json()))
def test_damaged_evidence_is_refused(missing: str) -> None:
    kept = fed(Judging(RULES), [tick()] * 5).to_json()
    del kept[missing]
    with pytest.raises(ValueError, match="kept evidence"):
        Judging.from_json(RULES, kept)
    with pytest.raises(ValueError, match="kept evidence"):
        Judging.from_json(RULES, {**kept, missing: "x"})


# Rules


def canary(**more: object) -> Rules:
    steps = [{"weight": 5, "hold": "5m", "max_error_rate": "1%"}, {"weight": 50, "hold": "15m", "max_error_rate": "2%"}]
    declared = Rollout.model_validate({"to": "canary", "steps": steps, **more})
    return rules_of(plan_of(declared, "blue", ()), sticky=False)


def test_alpha_is_shared_by_the_metrics_that_are_judged() -> None:
    assert shares_of(set(METRICS)) == pytest.approx({ERRORS: 0.5, LIMIT: 0.1, LATENCY: 0.2, DIFFS: 0.2})
    assert shares_of({ERRORS}) == {ERRORS: 1.0}
    rules = canary(shadow={"pairs": 100}, analysis={"false_alarm": "2%"})
    assert rules.alphas == pytest.approx({ERRORS: 0.01, LIMIT: 0.001, LATENCY: 0.004, DIFFS: 0.004})


def test_canaries_share_alpha() -> None:
    declared = {"to": ["a", "b"], "analysis": {"false_alarm": "1%"}}
    assert canary(**declared).false_alarm == pytest.approx(0.005)


def test_rules_are_those_of_the_plan() -> None:
    rules = canary()
    assert rules.planned == 1200.0
    assert (rules.quantiles, rules.max_ratio) == ((0.5, 0.95, 0.99), 1.10)
    analysis = {
        "error_rate": {"max_increase": "1%"},
        "latency": {"quantile": 0.9, "max_ratio": 1.2},
        "diff_rate": {"max": "0.5%"},
        "min_requests": 7,
        "rule_out": 2,
    }
    rules = canary(analysis=analysis)
    assert (rules.quantiles, rules.max_ratio, rules.max_increase) == ((0.9,), 1.2, 0.01)
    assert (rules.max_diff_rate, rules.min_requests, rules.rule_out) == (0.005, 7, 2.0)
    assert Judging(rules).tolerance == 2  # buckets of 9 %


def test_a_plan_that_wants_no_false_alarm_at_all_is_judged_still() -> None:
    judging = Judging(canary(analysis={"false_alarm": "0%"}))
    assert fed(judging, [tick(k_c=50)] * 3).kind is Kind.REGRESSION
