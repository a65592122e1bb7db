"""Intervals that hold at every look at once: what people see of the evidence. They lose the true value with probability α at most.

RatioBand is about canary against stable, whatever their common risk does: all ratios m for which the evidence against "the canary's
risk is m times stable's", mixed over all ratios of the grid (admin/rollout/evidence.py), is below 1/α. The intervals of a rate
invert a mixture of likelihood ratios over Beta(½, ½) (Robbins 1970): they suppose a rate that stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, lgamma, log, log1p
from typing import Any

from admin.rollout.evidence import log_mean, numbers

_STEPS_OF_TEN = 20
GRID = tuple(10.0 ** (step / _STEPS_OF_TEN) for step in range(-_STEPS_OF_TEN, 2 * _STEPS_OF_TEN + 1))
"""From 0.1 to 100; ends of a band are rounded outwards to these, 12 % apart."""

_HALVINGS = 60

Interval = tuple[float, float]


class RatioBand:
    """Logarithms of the likelihood of each ratio of GRID against 1. Ticks of one share are put in together."""

    __slots__ = ("_bad", "_logs", "_of_canary", "_share")

    def __init__(self) -> None:
        self._logs = [0.0] * len(GRID)
        self._share = self._bad = self._of_canary = 0.0

    def observe(self, n_c: int, k_c: int, n_s: int, k_s: int, dispersion: float = 1.0) -> None:
        if not n_c or not n_s or not (k_c or k_s):
            return
        share = n_c / (n_c + n_s)
        if share != self._share:
            self._logs = self.logs
            self._share = share
            self._bad = self._of_canary = 0.0
        self._of_canary += k_c / dispersion
        self._bad += (k_c + k_s) / dispersion

    @property
    def logs(self) -> list[float]:
        share, bad, of_canary = self._share, self._bad, self._of_canary
        if not bad:
            return self._logs
        return [
            value + of_canary * gain - bad * log1p(share * (ratio - 1.0))
            for value, (ratio, gain) in zip(self._logs, _LOG_GRID, strict=True)
        ]

    def interval(self, alpha: float) -> Interval:
        """Of the canary's risk as a multiple of stable's: 0 and infinity where nothing is ruled out on that side."""
        logs = self.logs
        least = log_mean(logs) - log(1.0 / alpha)
        kept = [place for place, value in enumerate(logs) if value > least]
        low = 0.0 if kept[0] == 0 else GRID[kept[0] - 1]
        high = inf if kept[-1] == len(GRID) - 1 else GRID[kept[-1] + 1]
        return low, high

    def to_json(self) -> dict[str, Any]:
        return {"logs": list(self.logs)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Raises ValueError for what `to_json` never gave."""
        self._logs = numbers(kept, "logs", len(GRID))
        self._share = self._bad = self._of_canary = 0.0


_LOG_GRID = tuple((ratio, log(ratio)) for ratio in GRID)


def rate_interval(n: int, k: int, alpha: float) -> Interval:
    """Of a rate of which k in n were seen."""
    if not n:
        return 0.0, 1.0
    mixed = _log_beta(k + 0.5, n - k + 0.5) - _log_beta(0.5, 0.5)

    def ruled_out(p: float) -> bool:
        likelihood = (k * log(p) if k else 0.0) + ((n - k) * log1p(-p) if n > k else 0.0)
        return mixed - likelihood >= log(1.0 / alpha)

    seen = k / n
    low = _edge(seen, 0.0, ruled_out) if k else 0.0
    high = _edge(seen, 1.0, ruled_out) if k < n else 1.0
    return low, high


def difference_interval(n_a: int, k_a: int, n_b: int, k_b: int, alpha: float) -> Interval:
    """Of the rate of a less that of b. Each has half of α, so it is wider than it could be, and needs nothing but that."""
    low_a, high_a = rate_interval(n_a, k_a, alpha / 2.0)
    low_b, high_b = rate_interval(n_b, k_b, alpha / 2.0)
    return low_a - high_b, high_a - low_b


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _edge(inside: float, outside: float, ruled_out: Callable[[float], bool]) -> float:
    """Between one that is not ruled out and one that is: the last that is, so that rounding widens."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2.0
        if middle in (inside, outside):
            break
        if ruled_out(middle):
            outside = middle
        else:
            inside = middle
    return outside
