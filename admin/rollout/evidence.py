"""How sure it is that a canary is worse than stable: e-processes, valid however often one looks. No clock, no I/O, no growth.

Theory. In a tick canary and stable complete n_c and n_s requests, k_c and k_s of them bad; w = n_c/(n_c+n_s), N = k_c+k_s. Suppose
the canary is at most m times as likely to be bad as stable (m is the margin, mostly 1). Then for each risk r > m

    log e(r) = k_c·ln(r/m) − N·ln((1+w(r−1)) / (1+w(m−1)))

has E[e] ≤ 1 whatever stable's own risk is in that tick (since 1+x ≤ eˣ), so a product over ticks is a supermartingale: it ever
reaches 1/α with probability α at most (Ville). An outage of both arms, a swing of traffic, another weight move nothing: only whose
the bad results are counts. For r < m the same expression is evidence that the risk is below m: what a promotion asks for.

For m = 1 more is true. Given N, the canary's share of the bad is hypergeometric; its moments are below those of N draws with
chance w, and as well below those of n_c draws with chance p = N/(n_c+n_s) (Hoeffding 1963, theorem 4). Where p > w, as with "slower
than the median", the second bound is the tighter one:  log e(r) = k_c·ln r − min(N·ln(1+w(r−1)), n_c·ln(1+p(r−1))).

An increase d that is allowed (H0: p_c ≤ m·p_s + d) costs n_c·d·(a−1) more, where a is what one bad result of the canary's
multiplies e by.

Mixed over RATIOS, from the start:   E = mean_r exp(Σ log e(r)),            alarm at 2/α
change detector, by t seconds:       S(r) ← (seconds + S(r))·e(r), mean_r,  alarm at 2·T/α, T the planned seconds

so that both together raise a false alarm with probability α at most within T. After T the second threshold grows as
t·(1+ln(t/T))², which adds α/2 at most however long it goes on (Hájek and Rényi). S is there since evidence for "fine" piles up
in E, and a canary that turns bad late would be found late.

Sources: Lindon and Malek 2020 (arXiv 2011.03567), Turner and Grünwald 2023 (2302.11401); Shin, Ramdas and Rinaldo 2022
(2203.03532) for the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, inf, isfinite, log, log1p
from typing import Any

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
LATENCY_RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
BETTER_RATIOS = (0.25, 0.5, 0.75, 1.0)
"""Against which a margin above 1 is ruled out."""

MIN_BAD = 3
BAD_WINDOW = 60.0
"""No alarm without MIN_BAD bad results of the canary within so many seconds."""

SURE_ENOUGH = 0.05
"""β of what is ruled out before a promotion."""

_NEVER = -1e300
"""The logarithm of 0, as a number that JSON has."""
_LARGEST_EXPONENT = 700.0


class EProcess:
    """Logarithms of what each alternative says since the start, and of the change detector. `seconds` is what it has seen."""

    __slots__ = ("_bad_at", "_idle", "_late", "_total", "seconds")

    def __init__(self, alternatives: int) -> None:
        self._total = [0.0] * alternatives
        self._idle = 0.0
        self._late = [_NEVER] * alternatives
        self._bad_at: list[float] = []
        self.seconds = 0.0

    def _add(self, logs: Sequence[float], bad: int, seconds: float) -> None:
        """One tick: log e of each alternative, none where all are 0, and how many of the canary's results were bad."""
        if seconds <= 0.0:
            raise ValueError(f"a tick of {seconds} s")
        self.seconds += seconds
        if bad:
            self._bad_at = (self._bad_at + [self.seconds] * min(bad, MIN_BAD))[-MIN_BAD:]
        self._idle += seconds  # S + seconds, time after time: put in when it is multiplied next
        if logs:
            new = log(self._idle)
            self._idle = 0.0
            self._total = [total + value for total, value in zip(self._total, logs, strict=True)]
            self._late = [_log_add(late, new) + value for late, value in zip(self._late, logs, strict=True)]

    @property
    def log_value(self) -> float:
        """Of E: 0 says nothing."""
        return log_mean(self._total)

    @property
    def log_late(self) -> float:
        """Of S: about the logarithm of `seconds` says nothing."""
        late = log_mean(self._late)
        return _log_add(late, log(self._idle)) if self._idle else late

    @property
    def value(self) -> float:
        return _exp(self.log_value)

    @property
    def late(self) -> float:
        return _exp(self.log_late)

    @property
    def enough_bad(self) -> bool:
        return len(self._bad_at) == MIN_BAD and self._bad_at[0] > self.seconds - BAD_WINDOW

    def alarm(self, alpha: float, planned: float) -> bool:
        """Whether it is sure at 1 - alpha over all of the `planned` seconds."""
        if not self.enough_bad:
            return False
        here, late = log_threshold(alpha), log_late_threshold(alpha, planned, self.seconds)
        # A mean is no more than the largest, which costs less to find; what is idle is far less than a threshold.
        sure = max(self._total) >= here and self.log_value >= here
        return sure or (max(self._late) >= late - 1.0 and self.log_late >= late)

    def to_json(self) -> dict[str, Any]:
        return {
            "total": list(self._total),
            "late": list(self._late),
            "idle": self._idle,
            "bad_at": list(self._bad_at),
            "seconds": self.seconds,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `to_json` gave. Raises ValueError for anything else."""
        total, late = (numbers(kept, name, len(self._total)) for name in ("total", "late"))
        bad_at = numbers(kept, "bad_at")
        times = [kept.get("idle"), kept.get("seconds")]
        idle, seconds = numbers({"times": times}, "times")
        if len(bad_at) > MIN_BAD or not 0.0 <= idle <= seconds:
            raise ValueError("kept evidence: bad_at, idle or seconds is none of ours")
        self._total, self._late, self._idle, self._bad_at, self.seconds = total, late, idle, bad_at, seconds


class RelativeRisk(EProcess):
    """Canary against stable. H0: the canary's risk is at most `margin` times stable's and `increase` more; for `ratios` below
    `margin` it is H0 that it is at least `margin` times, and `increase` has to be 0."""

    __slots__ = ("_increase", "_margin", "_margin_is_one", "_ratios")

    def __init__(self, ratios: Sequence[float] = RATIOS, margin: float = 1.0, increase: float = 0.0) -> None:
        super().__init__(len(ratios))
        self._ratios = tuple((ratio, log(ratio / margin)) for ratio in ratios)
        self._margin = margin
        self._increase = increase
        self._margin_is_one = margin == 1.0 and increase == 0.0 and min(ratios) >= 1.0

    def observe(self, n_c: int, k_c: int, n_s: int, k_s: int, seconds: float = 1.0, dispersion: float = 1.0) -> None:
        """One tick. `dispersion` ≥ 1 is how far bad results come in clusters, known from earlier ticks: the evidence is divided
        by it, which keeps E[e] ≤ 1."""
        if not (0 <= k_c <= n_c and 0 <= k_s <= n_s):
            raise ValueError(f"{k_c} of {n_c} and {k_s} of {n_s} results are bad")
        if dispersion < 1.0:
            raise ValueError(f"a dispersion of {dispersion}")
        if not n_c or not n_s or not (k_c or k_s or self._increase):
            self._add((), k_c, seconds)  # nothing to compare with, or nothing to compare
            return
        logs = self._logs(n_c, k_c, n_s, k_s)
        self._add([value / dispersion for value in logs] if dispersion > 1.0 else logs, k_c, seconds)

    def _logs(self, n_c: int, k_c: int, n_s: int, k_s: int) -> list[float]:
        bad, total, margin = k_c + k_s, n_c + n_s, self._margin
        share = n_c / total
        risk = bad / total
        at_margin = log1p(share * (margin - 1.0))
        by_draws = self._margin_is_one and risk > share
        logs = []
        for ratio, gain in self._ratios:
            cost = log1p(share * (ratio - 1.0)) - at_margin
            value = k_c * gain - (n_c * log1p(risk * (ratio - 1.0)) if by_draws else bad * cost)
            if self._increase:
                value -= n_c * self._increase * max(0.0, exp(gain - cost) - 1.0)
            logs.append(value)
        return logs


class AbsoluteRisk(EProcess):
    """The canary alone. H0: its risk is at most `limit`.  log e(f) = k·ln f − n·ln(1+limit·(f−1)) is the likelihood of odds f times
    as high against those of `limit`."""

    __slots__ = ("_factors",)

    def __init__(self, limit: float, factors: Sequence[float] = RATIOS) -> None:
        """Raises ValueError for a limit that is no share."""
        super().__init__(len(factors))
        if not 0.0 <= limit <= 1.0:
            raise ValueError(f"{limit} is no share")
        self._factors = tuple((log(factor), log1p(limit * (factor - 1.0))) for factor in factors)

    def observe(self, n: int, k: int, seconds: float = 1.0, dispersion: float = 1.0) -> None:
        if not 0 <= k <= n:
            raise ValueError(f"{k} of {n} results are bad")
        self._add([(k * gain - n * cost) / dispersion for gain, cost in self._factors], k, seconds)


class LatencyRisk:
    """For each quantile a RelativeRisk of being slower than stable's own quantile of the minute before. Of e-values of one
    hypothesis the mean is one, whatever they share."""

    __slots__ = ("quantiles",)

    def __init__(self, quantiles: Iterable[float]) -> None:
        self.quantiles = {quantile: RelativeRisk(LATENCY_RATIOS) for quantile in quantiles}

    def observe(
        self,
        canary: Mapping[int, int],
        stable: Mapping[int, int],
        edges: Mapping[float, int],
        tolerance: int,
        seconds: float = 1.0,
        dispersion: float = 1.0,
    ) -> None:
        """Buckets of both in one tick; `edges`: the bucket in which stable's quantile was before the tick; for the canary it is
        `tolerance` buckets further up."""
        n_c, n_s = sum(canary.values()), sum(stable.values())
        for quantile, risk in self.quantiles.items():
            edge = edges[quantile]
            k_c, k_s = _above(canary, edge + tolerance), _above(stable, edge)
            risk.observe(n_c, k_c, n_s, k_s, seconds, dispersion)

    @property
    def seconds(self) -> float:
        return max(risk.seconds for risk in self.quantiles.values())

    @property
    def log_value(self) -> float:
        return log_mean([risk.log_value for risk in self.quantiles.values()])

    @property
    def log_late(self) -> float:
        return log_mean([risk.log_late for risk in self.quantiles.values()])

    def alarm(self, alpha: float, planned: float) -> bool:
        if not any(risk.enough_bad for risk in self.quantiles.values()):
            return False
        sure = self.log_value >= log_threshold(alpha)
        return sure or self.log_late >= log_late_threshold(alpha, planned, self.seconds)

    def to_json(self) -> dict[str, Any]:
        return {str(quantile): risk.to_json() for quantile, risk in self.quantiles.items()}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Raises ValueError for what `to_json` never gave."""
        if set(kept) != {str(quantile) for quantile in self.quantiles}:
            raise ValueError(f"kept evidence: quantiles {', '.join(kept)}")
        for quantile, risk in self.quantiles.items():
            risk.restore(kept[str(quantile)])


class Dispersion:
    """Whether stable's bad results come in clusters: the index of dispersion φ, 1 where each comes alone.

    Of two blocks of BLOCK seconds side by side, with a and b bad results, (a−b)²/(a+b) has mean 1 if each came alone, however the
    risk drifts. Their mean estimates φ. It counts only where it is above 1 by more than chance; one pair counts CAP at most, so
    that the edges of an outage don't make it blind.
    """

    __slots__ = ("_bad", "_before", "_pairs", "_seconds", "_sum")

    BLOCK = 10.0
    CAP = 25.0
    _FEWEST = 8

    def __init__(self) -> None:
        self._bad = 0
        self._seconds = 0.0
        self._before = -1
        self._pairs = 0
        self._sum = 0.0

    def observe(self, bad: int, seconds: float = 1.0) -> None:
        self._bad += bad
        self._seconds += seconds
        if self._seconds < self.BLOCK:
            return
        if self._before < 0:
            self._before = self._bad
        else:
            if both := self._before + self._bad:
                self._pairs += 1
                self._sum += min((self._before - self._bad) ** 2 / both, self.CAP)
            self._before = -1
        self._bad, self._seconds = 0, 0.0

    @property
    def value(self) -> float:
        """1 or more."""
        if self._pairs < self._FEWEST:
            return 1.0
        mean = self._sum / self._pairs
        return mean if mean > 1.0 + 3.0 * (2.0 / self._pairs) ** 0.5 else 1.0

    def to_json(self) -> list[float]:
        return [self._bad, self._seconds, self._before, self._pairs, self._sum]

    def restore(self, kept: Sequence[float]) -> None:
        """Raises ValueError for what `to_json` never gave."""
        bad, seconds, before, pairs, total = numbers({"dispersion": kept}, "dispersion", 5)
        self._bad, self._seconds, self._before = int(bad), seconds, int(before)
        self._pairs, self._sum = int(pairs), total


def log_threshold(alpha: float) -> float:
    """Of E."""
    return log(2.0 / alpha)


def log_late_threshold(alpha: float, planned: float, seconds: float) -> float:
    """Of S, after so many seconds."""
    if seconds <= planned:
        return log(2.0 * planned / alpha)
    return log(2.0 * seconds / alpha) + 2.0 * log1p(log(seconds / planned))


def log_mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of those whose logarithms these are."""
    largest = max(logs)
    if largest <= _NEVER:
        return _NEVER
    return largest + log(sum(exp(one - largest) for one in logs) / len(logs))


def numbers(kept: Mapping[str, Any], name: str, length: int | None = None) -> list[float]:
    """The list of finite numbers under that name, as JSON gives them. Raises ValueError for anything else."""
    values = kept.get(name)
    if not isinstance(values, list) or (length is not None and len(values) != length):
        raise ValueError(f"kept evidence: {name} is no list of {length or 'some'} numbers")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValueError(f"kept evidence: {name} holds {value!r}")
    return [float(value) for value in values]


def _log_add(a: float, b: float) -> float:
    """The logarithm of the sum."""
    larger, smaller = (a, b) if a >= b else (b, a)
    return larger + log1p(exp(smaller - larger))


def _exp(logarithm: float) -> float:
    return exp(logarithm) if logarithm < _LARGEST_EXPONENT else inf


def _above(buckets: Mapping[int, int], edge: int) -> int:
    return sum(count for bucket, count in buckets.items() if bucket > edge)
