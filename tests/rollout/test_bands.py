"""Bands lose the true value with probability α at most, over all looks, and become narrow."""

from __future__ import annotations

import json
import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.rollout.bands import GRID, RatioBand, difference_interval, rate_interval

ALPHA = 0.05


def test_nothing_seen_rules_nothing_out() -> None:
    assert rate_interval(0, 0, 0.01) == (0.0, 1.0)
    assert RatioBand().interval(0.01) == (0.0, inf)
    assert difference_interval(0, 0, 0, 0, 0.01) == (-1.0, 1.0)


@given(st.integers(1, 10_000), st.data())
def test_interval_of_a_rate_has_the_rate_in_it_and_mirrors(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = rate_interval(n, k, 0.01)
    assert 0.0 <= low <= k / n <= high <= 1.0
    mirrored = rate_interval(n, n - k, 0.01)
    assert (1.0 - mirrored[1], 1.0 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


def test_interval_of_a_rate_narrows() -> None:
    widths = [high - low for low, high in (rate_interval(10**size, 10 ** (size - 1), 0.01) for size in range(1, 7))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.003


@pytest.mark.parametrize("risk", [0.02, 0.3])
def test_interval_of_a_rate_loses_it_as_seldom_as_it_says_at_any_look(risk: float) -> None:
    chances = random.Random(7)
    lost = 0
    for _ in range(200):
        n = k = 0
        for _ in range(60):
            n += 20
            k += sum(chances.random() < risk for _ in range(20))
            low, high = rate_interval(n, k, ALPHA)
            if not low <= risk <= high:
                lost += 1
                break
    assert lost <= 200 * ALPHA


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_band_of_the_ratio_loses_it_as_seldom_as_it_says_whatever_the_risk_does(ratio: float) -> None:
    chances = random.Random(8)
    lost = 0
    for _ in range(100):
        band = RatioBand()
        for second in range(60):
            risk = 0.2 if 20 <= second < 30 else 0.01
            k_c = sum(chances.random() < risk * ratio for _ in range(20))
            k_s = sum(chances.random() < risk for _ in range(40))
            band.observe(20, k_c, 40, k_s)
            low, high = band.interval(ALPHA)
            if not low <= ratio <= high:
                lost += 1
                break
    assert lost <= 100 * ALPHA


def test_band_of_the_ratio_closes_in_on_it() -> None:
    band = RatioBand()
    for _ in range(1000):
        band.observe(50, 1, 950, 4)
    low, high = band.interval(0.01)
    assert 3.5 < low < 4.75 < high < 6.5
    assert low in GRID


def test_band_goes_on_from_json() -> None:
    band, again = RatioBand(), RatioBand()
    band.observe(50, 1, 950, 4)
    again.restore(json.loads(json.dumps(band.to_json(), allow_nan=False)))
    assert again.logs == band.logs
    with pytest.raises(ValueError, match="kept evidence"):
        again.restore({"logs": [0.0]})


def test_difference_of_two_equal_arms_has_zero_in_it_and_of_unequal_ones_not() -> None:
    low, high = difference_interval(10_000, 500, 10_000, 500, 0.01)
    assert low < 0.0 < high
    assert low == pytest.approx(-high)
    assert difference_interval(10_000, 800, 10_000, 500, 0.01)[0] > 0.0
