"""Evidence is an e-process: of mean 1 at most under fair coins, whatever one looks at and when."""

from __future__ import annotations

import random
from itertools import product
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.evidence import ALPHA, CEILING, HORIZON, Evidence, _stake, e_bh, needed, together


def after(events: str) -> Evidence:
    """x: the shadow was odd; o: stable was."""
    evidence = Evidence()
    for event in events:
        (evidence.shadow_was_odd if event == "x" else evidence.stable_was_odd)()
    return evidence


@pytest.mark.parametrize("events", [0, 1, 5, 12])
def test_mean_over_all_outcomes_of_fair_coins_is_what_was_staked(events: int) -> None:
    outcomes = [after("".join(outcome)).value for outcome in product("xo", repeat=events)]
    staked = 0.9 + 0.1 * sum(map(_stake, range(1, events + 1)))
    assert sum(outcomes) / len(outcomes) == pytest.approx(staked)


def test_stakes_add_up_to_one_without_an_end() -> None:
    first = sum(map(_stake, range(1, HORIZON + 1)))
    until = 20 * HORIZON
    rest = sum(map(_stake, range(HORIZON + 1, until + 1)))
    assert first == pytest.approx(0.5)
    assert rest == pytest.approx(0.5 * (1 - HORIZON / until))


@pytest.mark.parametrize(("alone", "fields"), [(6, 1), (10, 15), (13, 100), (17, 1000)])
def test_so_many_differences_of_the_shadow_alone_are_a_finding_among_so_many_fields(alone: int, fields: int) -> None:
    assert after("x" * alone).value >= needed(fields)


def test_four_differences_are_never_a_finding() -> None:
    assert after("x" * 4).value < needed(1)


def test_a_change_after_ten_thousand_fair_events_shows_within_thirty() -> None:
    evidence = after("xo" * 5_000)
    for _ in range(30):
        evidence.shadow_was_odd()
    assert evidence.value >= needed(20)


def test_evidence_of_a_change_that_ended_fades() -> None:
    evidence = after("x" * 100 + "o" * 200)
    assert evidence.value < 1


def test_evidence_is_bounded() -> None:
    evidence = after("x" * 5_000)
    assert evidence.value <= CEILING
    assert max(evidence.late) <= CEILING


def test_fair_coins_seldom_ever_look_sure() -> None:
    draw = random.Random(7)
    ever = 0
    for _ in range(200):
        evidence = Evidence()
        sure = False
        for _ in range(500):
            (evidence.shadow_was_odd if draw.random() < 0.5 else evidence.stable_was_odd)()
            sure = sure or evidence.value >= 1 / ALPHA
        ever += sure
    assert ever <= 200 * ALPHA


def test_parts_together_have_the_sum_of_the_counts_and_the_mean_of_what_came_late() -> None:
    one, other = after("xxxo"), after("xx")
    both = together((one, Evidence(), other))
    assert (both.shadow_odd, both.stable_odd) == (5, 1)
    assert both.late == [(a + b) / 2 for a, b in zip(one.late, other.late, strict=True)]
    assert together((Evidence(),)).value == Evidence().value


@given(st.text("xo", max_size=60))
def test_evidence_survives_json(events: str) -> None:
    evidence = after(events)
    assert Evidence.from_json(evidence.to_json()).value == pytest.approx(evidence.value, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "least"),
    [
        ([], inf),
        ([39.9], inf),
        ([40.0], 40.0),
        ([79.9, 1.0], inf),
        ([80.0, 1.0], 80.0),
        ([40.0, 40.0], 40.0),
        ([120.0, 60.0, 40.0], 40.0),
        ([120.0, 59.0, 1.0], 120.0),
    ],
)
def test_e_bh_asks_for_less_the_more_there_is(values: list[float], least: float) -> None:
    assert e_bh(values) == least


@given(st.lists(st.floats(0, 1e4), max_size=12))
def test_e_bh_rejects_the_largest_set_that_supports_itself(values: list[float]) -> None:
    ordered = sorted(values, reverse=True)
    most = max((j for j in range(1, len(ordered) + 1) if ordered[j - 1] >= len(ordered) / (j * ALPHA)), default=0)
    assert e_bh(values) == (ordered[most - 1] if most else inf)
