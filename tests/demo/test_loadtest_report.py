"""The load test's arithmetic: which samples count for a phase, and what is off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadtests.report import Phase, judge, quantile, table
from loadtests.samples import Sample

PHASE = Phase("declared", {"blue": 90.0, "canary": 10.0}, begin=100.0, end=110.0)


def sample(started: float, upstream: str = "blue", **changed: Any) -> Sample:
    return replace(Sample(started, 10.0, "page", upstream, ok=True, drawn=True, client=""), **changed)


def test_phase_counts_what_began_and_was_answered_within_it() -> None:
    outcome = judge(PHASE, [sample(99.999), sample(100.0), sample(109.98), sample(109.995), sample(111.0)])
    assert outcome.requests == 2


def test_split_counts_what_weights_alone_decided() -> None:
    samples = [sample(101.0), sample(101.0, "canary", drawn=False), sample(101.0, "", ok=False)]
    outcome = judge(PHASE, samples)
    assert (outcome.split, outcome.failures, outcome.requests) == ({"blue": 1}, 1, 3)


@pytest.mark.parametrize(
    ("canary", "off"),
    [(100, ()), (130, ()), (60, ()), (160, ("blue", "canary")), (40, ("blue", "canary"))],
)
def test_split_beyond_five_deviations_is_off(canary: int, off: tuple[str, ...]) -> None:
    """1,000 draws at 10 % stray by 9.5."""
    samples = [sample(101.0, "canary")] * canary + [sample(101.0)] * (1000 - canary)
    assert judge(PHASE, samples).off == off


def test_split_of_an_upstream_without_weight_is_off_by_one_request() -> None:
    cutback = Phase("cutback", {"blue": 100.0}, 100.0, 110.0)
    assert judge(cutback, [sample(101.0)] * 999).off == ()
    assert judge(cutback, [*[sample(101.0)] * 999, sample(102.0, "canary")]).off == ("blue", "canary")


def test_sticky_client_on_two_upstreams_within_a_phase_has_moved() -> None:
    samples = [
        sample(99.0, "canary", client="a"),  # before the phase
        sample(101.0, "blue", client="a"),
        sample(101.0, "blue", client="b"),
        sample(102.0, "canary", client="b"),
    ]
    assert judge(PHASE, samples).moved == 1


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)])
def test_quantile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert quantile([float(number) for number in range(1, 101)], share) == expected


def test_table_names_a_phase_once_and_marks_what_is_off() -> None:
    samples = [sample(101.0, "canary")] * 50 + [sample(101.0)] * 50
    lines = table([judge(PHASE, samples)]).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("declared  blue")
    assert "50.0 % !" in lines[1]
    assert lines[2].startswith("          canary")
