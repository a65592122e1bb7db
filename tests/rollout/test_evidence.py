"""E-processes have a mean of 1 at most where the canary is no worse, and find what is worse."""

from __future__ import annotations

import json
import random
from itertools import product
from math import comb, exp, inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.rollout.evidence import (
    BAD_WINDOW,
    BETTER_RATIOS,
    LATENCY_RATIOS,
    MIN_BAD,
    RATIOS,
    AbsoluteRisk,
    Dispersion,
    EProcess,
    LatencyRisk,
    RelativeRisk,
    log_late_threshold,
    log_mean,
    log_threshold,
)

SMALL = [(1, 1), (1, 4), (2, 2), (2, 7), (5, 3), (6, 6), (7, 1)]
RISKS = [0.001, 0.03, 0.2, 0.5, 0.9]


def chance(n: int, k: int, risk: float) -> float:
    return comb(n, k) * risk**k * (1.0 - risk) ** (n - k)


def mean_of_one_tick(risk: RelativeRisk, n_c: int, p_c: float, n_s: int, p_s: float) -> float:
    """The exact expectation of E after one tick, over all outcomes."""
    kept = risk.to_json()
    total = 0.0
    for k_c, k_s in product(range(n_c + 1), range(n_s + 1)):
        risk.restore(kept)
        risk.observe(n_c, k_c, n_s, k_s)
        total += chance(n_c, k_c, p_c) * chance(n_s, k_s, p_s) * risk.value
    return total


# H0


@pytest.mark.parametrize(("n_c", "n_s"), SMALL)
@pytest.mark.parametrize("risk", RISKS)
def test_mean_is_at_most_one_where_both_arms_have_the_same_risk(n_c: int, n_s: int, risk: float) -> None:
    assert mean_of_one_tick(RelativeRisk(), n_c, risk, n_s, risk) <= 1.0 + 1e-12
    assert mean_of_one_tick(RelativeRisk(LATENCY_RATIOS), n_c, risk, n_s, risk) <= 1.0 + 1e-12


@pytest.mark.parametrize(("n_c", "n_s"), SMALL)
@pytest.mark.parametrize("bad", range(9))
def test_mean_is_at_most_one_given_how_many_were_bad_in_both_arms(n_c: int, n_s: int, bad: int) -> None:
    """However the risk comes about: only the split is chance."""
    total = 0.0
    for k_c in range(max(0, bad - n_s), min(n_c, bad) + 1):
        risk = RelativeRisk()
        risk.observe(n_c, k_c, n_s, bad - k_c)
        total += comb(n_c, k_c) * comb(n_s, bad - k_c) / comb(n_c + n_s, bad) * risk.value
    assert total <= 1.0 + 1e-12


@pytest.mark.parametrize(("n_c", "n_s"), SMALL)
@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize(("margin", "increase"), [(1.5, 0.0), (3.0, 0.0), (1.0, 0.01), (2.0, 0.05)])
def test_mean_is_at_most_one_up_to_the_margin_and_the_increase(
    n_c: int, n_s: int, risk: float, margin: float, increase: float
) -> None:
    worst = min(1.0, margin * risk + increase)
    ratios = [margin * ratio for ratio in RATIOS]
    for p_c in (worst, worst / 2):
        assert mean_of_one_tick(RelativeRisk(ratios, margin, increase), n_c, p_c, n_s, risk) <= 1.0 + 1e-12


@pytest.mark.parametrize(("n_c", "n_s"), SMALL)
@pytest.mark.parametrize("risk", RISKS)
def test_mean_of_what_rules_a_margin_out_is_at_most_one_where_the_canary_is_that_bad(
    n_c: int, n_s: int, risk: float
) -> None:
    for p_c in (3 * risk, 6 * risk):
        if p_c <= 1.0:
            assert mean_of_one_tick(RelativeRisk(BETTER_RATIOS, 3.0), n_c, p_c, n_s, risk) <= 1.0 + 1e-12


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(0.0, 1.0)), min_size=1, max_size=2),
    st.floats(1.0, 4.0),
)
def test_mean_is_at_most_one_over_ticks_of_other_weights_and_risks(
    ticks: list[tuple[int, int, float]], dispersion: float
) -> None:
    outcomes = [[(c, s) for c in range(n_c + 1) for s in range(n_s + 1)] for n_c, n_s, _ in ticks]
    mean = late = 0.0
    for path in product(*outcomes):
        risk, likelihood = RelativeRisk((1.5, 10.0)), 1.0
        for (n_c, n_s, p), (k_c, k_s) in zip(ticks, path, strict=True):
            risk.observe(n_c, k_c, n_s, k_s, dispersion=dispersion)
            likelihood *= chance(n_c, k_c, p) * chance(n_s, k_s, p)
        mean += likelihood * risk.value
        late += likelihood * risk.late
    assert mean <= 1.0 + 1e-9
    assert late <= len(ticks) + 1e-9


@pytest.mark.parametrize("limit", [0.0, 0.01, 0.2, 1.0])
@pytest.mark.parametrize("n", [1, 5, 20])
def test_mean_of_the_absolute_guard_is_at_most_one_up_to_the_limit(limit: float, n: int) -> None:
    for p in (limit, limit / 2):
        total = 0.0
        for k in range(n + 1):
            guard = AbsoluteRisk(limit)
            guard.observe(n, k)
            total += chance(n, k, p) * guard.value
        assert total <= 1.0 + 1e-9


@pytest.mark.parametrize("ticks", [1, 5, 40])
def test_change_detector_without_news_is_the_seconds_it_has_run(ticks: int) -> None:
    risk = RelativeRisk()
    for _ in range(ticks):
        risk.observe(5, 0, 95, 0, seconds=0.25)
    assert risk.value == 1.0
    assert risk.late == pytest.approx(ticks * 0.25)


# The formula


def test_evidence_is_the_published_formula() -> None:
    risk = RelativeRisk()
    risk.observe(50, 2, 950, 1)
    expected = [2 * log(r) - 3 * log(1 + 0.05 * (r - 1)) for r in RATIOS]
    assert risk.log_value == pytest.approx(log(sum(map(exp, expected)) / len(RATIOS)))
    assert risk.late == pytest.approx(risk.value)  # S after one tick of one second


def test_frequent_results_are_bounded_by_draws_of_the_canary() -> None:
    """Half of all requests are slower than the median: the cost of a ratio is then that of 50 draws, not of 500."""
    risk = RelativeRisk(LATENCY_RATIOS)
    risk.observe(50, 35, 950, 465)
    expected = [35 * log(r) - 50 * log(1 + 0.5 * (r - 1)) for r in LATENCY_RATIOS]
    assert risk.log_value == pytest.approx(log_mean(expected))


def test_absolute_guard_is_a_likelihood_ratio() -> None:
    guard = AbsoluteRisk(0.01, factors=(10.0,))
    guard.observe(20, 3)
    p = 0.1 / 1.09  # ten times the odds of 1 %
    assert guard.value == pytest.approx((p / 0.01) ** 3 * ((1 - p) / 0.99) ** 17)


def test_late_threshold_grows_only_after_the_planned_time_and_without_a_step() -> None:
    assert log_late_threshold(0.01, 3600, 1) == log_late_threshold(0.01, 3600, 3600) == pytest.approx(log(720_000))
    assert log_late_threshold(0.01, 3600, 3600.001) == pytest.approx(log(720_000), abs=1e-5)
    spent = sum(1.0 / exp(log_late_threshold(0.01, 600, t)) for t in range(1, 1_000_000))
    assert spent <= 0.01


# What is found


def after(ticks: int, counts: tuple[int, int, int, int], risk: RelativeRisk | None = None) -> RelativeRisk:
    risk = RelativeRisk() if risk is None else risk
    for _ in range(ticks):
        risk.observe(*counts)
    return risk


def test_three_errors_of_the_canary_alone_are_sure_and_two_never_are() -> None:
    assert not after(2, (50, 1, 950, 0)).alarm(0.01, 3600)
    assert after(3, (50, 1, 950, 0)).alarm(0.01, 3600)


def test_errors_further_apart_than_the_window_raise_no_alarm() -> None:
    risk = RelativeRisk()
    for _ in range(20):
        risk.observe(50, 1, 950, 0)
        after(int(BAD_WINDOW / (MIN_BAD - 1)), (50, 0, 950, 0), risk)
    assert risk.value > 1e6
    assert not risk.alarm(0.01, 3600)


def test_outage_of_both_arms_is_no_evidence() -> None:
    assert after(60, (50, 10, 950, 190)).value < 1.0


def test_outage_of_stable_alone_is_none_either() -> None:
    assert after(60, (50, 0, 950, 190)).value < 1e-10


def test_canary_that_turns_bad_after_an_hour_is_found_as_fast_as_the_detector_says() -> None:
    risk = after(3600, (50, 0, 950, 1))
    assert risk.log_value < -50.0
    found = next(second for second in range(1, 60) if after(1, (50, 1, 950, 1), risk).alarm(0.01, 7200))
    assert found <= 12
    assert risk.log_value < log_threshold(0.01)


def test_without_stable_only_the_absolute_guard_judges() -> None:
    assert after(100, (50, 50, 0, 0)).value == 1.0
    assert after(100, (0, 0, 950, 3)).value == 1.0
    assert after(100, (50, 50, 0, 0), RelativeRisk(increase=0.01)).value == 1.0


def test_guard_needs_evidence_and_not_a_share_above_the_limit() -> None:
    guard = AbsoluteRisk(0.01)
    guard.observe(100, 2)
    assert not guard.alarm(0.01, 3600)  # 2 % of them failed
    guard = AbsoluteRisk(0.01)
    guard.observe(25, 12)
    assert guard.alarm(0.01, 3600)


def test_an_allowed_increase_is_no_regression_and_more_is() -> None:
    assert after(600, (100, 1, 900, 0), RelativeRisk(increase=0.01)).value < 1.0
    assert after(600, (100, 3, 900, 0), RelativeRisk(increase=0.01)).alarm(0.01, 3600)


def test_a_canary_like_stable_rules_a_threefold_risk_out() -> None:
    risk = after(200, (250, 1, 750, 3), RelativeRisk(BETTER_RATIOS, 3.0))
    assert risk.value >= 1 / 0.05
    assert after(200, (250, 3, 750, 3), RelativeRisk(BETTER_RATIOS, 3.0)).value < 1.0


# Invariances


@given(st.integers(1, 50), st.integers(1, 200), st.data())
def test_more_bad_results_of_the_canary_are_more_evidence_and_of_stable_less(
    n_c: int, n_s: int, data: st.DataObject
) -> None:
    k_c, k_s = data.draw(st.integers(0, n_c - 1)), data.draw(st.integers(0, n_s - 1))
    here = after(1, (n_c, k_c, n_s, k_s)).log_value
    assert after(1, (n_c, k_c + 1, n_s, k_s)).log_value >= here - 1e-9
    assert after(1, (n_c, k_c, n_s, k_s + 1)).log_value <= here + 1e-9


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 1), st.integers(1, 50), st.integers(0, 1)), max_size=8))
def test_order_of_ticks_makes_no_difference_to_what_is_counted_from_the_start(
    ticks: list[tuple[int, int, int, int]],
) -> None:
    forth, back = RelativeRisk(), RelativeRisk()
    for tick in ticks:
        forth.observe(*tick)
    for tick in reversed(ticks):
        back.observe(*tick)
    assert forth.log_value == pytest.approx(back.log_value)


def test_ticks_may_be_of_any_length() -> None:
    """Four quarters say what their second says, where the weight stays the same."""
    whole, quarters = RelativeRisk(), RelativeRisk()
    for second in range(100):
        whole.observe(200, 4, 1800, 4 * (second % 2))
        for _ in range(4):
            quarters.observe(50, 1, 450, second % 2, seconds=0.25)
    assert quarters.log_value == pytest.approx(whole.log_value)
    assert quarters.log_late == pytest.approx(whole.log_late, rel=0.01)
    assert quarters.seconds == whole.seconds


def test_extreme_counts_stay_finite() -> None:
    risk = after(100, (10**9, 10**9, 10**9, 0))
    assert risk.value == inf
    assert risk.alarm(0.01, 3600)
    after(1000, (10**9, 0, 10**9, 10**9), risk)
    assert risk.value == 0.0
    assert risk.to_json() == json.loads(json.dumps(risk.to_json(), allow_nan=False))


@pytest.mark.parametrize("counts", [(1, 2, 5, 0), (1, 0, 5, 6), (-1, 0, 5, 0), (5, -1, 5, 0)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="are bad"):
        RelativeRisk().observe(*counts)


# Kept as JSON


@given(st.lists(st.tuples(st.integers(3, 50), st.integers(0, 3), st.integers(3, 50), st.integers(0, 3)), max_size=6))
def test_evidence_goes_on_from_json_as_if_nothing_had_been(ticks: list[tuple[int, int, int, int]]) -> None:
    through, straight = RelativeRisk(), RelativeRisk()
    for tick in ticks:
        kept = json.dumps(through.to_json(), allow_nan=False)
        through = RelativeRisk()
        through.restore(json.loads(kept))
        through.observe(*tick)
        straight.observe(*tick)
    assert through.to_json() == straight.to_json()


@pytest.mark.parametrize(
    "damage",
    [
        {"total": None},
        {"total": [0.0]},
        {"total": ["0"] * len(RATIOS)},
        {"late": [float("nan")] * len(RATIOS)},
        {"late": [float("inf")] * len(RATIOS)},
        {"late": [True] * len(RATIOS)},
        {"bad_at": [1.0] * (MIN_BAD + 1)},
        {"seconds": "12"},
        {"seconds": -1.0},
        {"idle": None},
        {"idle": 4.0},
    ],
)
def test_damaged_evidence_is_refused(damage: dict[str, object]) -> None:
    risk = after(3, (50, 1, 950, 1))
    with pytest.raises(ValueError, match="kept evidence"):
        risk.restore({**risk.to_json(), **damage})


def test_whole_numbers_from_json_are_numbers() -> None:
    process: EProcess = RelativeRisk((2.0, 3.0))
    kept = {"total": [0, 1], "late": [2, 3], "idle": 1, "bad_at": [1], "seconds": 4}
    process.restore(kept)
    assert repr(process.to_json()) == repr(
        {"total": [0.0, 1.0], "late": [2.0, 3.0], "idle": 1.0, "bad_at": [1.0], "seconds": 4.0}
    )


# Latency


def test_latency_compares_with_the_quantile_and_the_tolerance() -> None:
    risk = LatencyRisk((0.5, 0.95))
    stable = {100: 50, 110: 45, 120: 5}
    edges = {0.5: 100, 0.95: 110}
    for _ in range(100):  # one bucket slower throughout: within the tolerance
        risk.observe({101: 10, 111: 9, 121: 1}, {place: 10 * count for place, count in stable.items()}, edges, 1)
    assert risk.log_value < 0.0
    for _ in range(100):
        risk.observe({104: 10, 114: 9, 124: 1}, {place: 10 * count for place, count in stable.items()}, edges, 1)
    assert risk.alarm(0.002, 3600)
    kept = json.loads(json.dumps(risk.to_json(), allow_nan=False))
    again = LatencyRisk((0.5, 0.95))
    again.restore(kept)
    assert again.to_json() == risk.to_json()
    with pytest.raises(ValueError, match="quantiles"):
        LatencyRisk((0.5,)).restore(kept)


# Clusters


def dispersion_of(counts: list[int]) -> Dispersion:
    dispersion = Dispersion()
    for count in counts:
        dispersion.observe(count)
    return dispersion


def test_dispersion_is_one_where_bad_results_come_alone_and_more_where_they_come_in_clusters() -> None:
    chances = random.Random(5)
    alone = [sum(chances.random() < 0.01 for _ in range(100)) for _ in range(1200)]
    assert dispersion_of(alone).value == 1.0
    assert 3.5 < dispersion_of([5 * count for count in alone]).value < 6.5


def test_dispersion_is_not_moved_by_an_outage() -> None:
    chances = random.Random(6)
    counts = [chances.randrange(3) for _ in range(1200)]
    counts[605:665] = [190] * 60
    assert dispersion_of(counts).value == 1.0


def test_dispersion_goes_on_from_json() -> None:
    dispersion = dispersion_of([0, 5] * 200 + [3])
    again = Dispersion()
    again.restore(json.loads(json.dumps(dispersion.to_json())))
    assert again.to_json() == dispersion.to_json()
    assert again.value == dispersion.value
