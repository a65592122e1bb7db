"""How sure it is that a field differs because of the shadow: a paired e-process, valid whenever one looks.

Theory. Two answers of stable and one of the shadow are given to the same request. If the shadow behaves as stable does, the three
are exchangeable: where just one of shadow and stable is the odd one out in a field, each is so with probability 1/2. Only such
discordant events count (McNemar's test as an e-process). For a relative risk r > 1 an event in which the shadow is the odd one
multiplies the evidence by 2r/(1+r), one in which stable is by 2/(1+r): a martingale of mean 1 where nothing is wrong, mixed over
RATIOS because r is not known, half of it on the largest, since most fields never differ between two answers of stable. By
Ville's inequality it ever exceeds 1/α with probability α at most, however often one looks.

Evidence for "fine" piles up as well, so that a change after a million good pairs would show late. Nine tenths of the stake
therefore start at the first event, and one tenth is spread over all later ones: with a stake of w(n) put in at event n the sum
follows S ← (S + w(n))·e(n), the recursion of Shiryaev and Roberts, and since the w(n) add up to 1 it is an e-process too.
The stakes are even over the first HORIZON events and fall with 1/n² after them, so it holds without an end.

Sources: Lindon and Malek 2020 (arXiv 2011.03567), Turner and Grünwald 2023 (2302.11401), Shin, Ramdas and Rinaldo 2022
(2203.03532) for the change; Wang and Ramdas 2022 (2009.02824) for e-BH.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, inf, log

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
ALPHA = 0.025
"""With 5 %, 2 of 200 sound shadows were reported once within 20,000 pairs; with this 1 of 400, and defects are found as soon, as
half of the stake is on the largest ratio (`python -m bench noise`, and as many other seeds)."""

HORIZON = 10_000
"""Discordant events over which the stakes for a late change are even."""

CEILING = 1e12
"""More evidence than this is kept as this, which can only understate it."""

_FROM_THE_START = 0.9
_SHARES = (*(0.5 / (len(RATIOS) - 1) for _ in RATIOS[1:]), 0.5)
_SHADOW_ODD = tuple(2.0 * r / (1.0 + r) for r in RATIOS)
_STABLE_ODD = tuple(2.0 / (1.0 + r) for r in RATIOS)
_LOG_RATIOS = tuple(log(r) for r in RATIOS)
_LOG_MEANS = tuple(log((1.0 + r) / 2.0) for r in RATIOS)
_LOG_CEILING = log(CEILING)


class Evidence:
    """`shadow_odd` and `stable_odd` count discordant events; `late` is the change detector's sum for each of RATIOS."""

    __slots__ = ("late", "shadow_odd", "stable_odd")

    def __init__(self, shadow_odd: int = 0, stable_odd: int = 0, late: Sequence[float] = ()) -> None:
        self.shadow_odd = shadow_odd
        self.stable_odd = stable_odd
        self.late = list(late) or [0.0] * len(RATIOS)

    def shadow_was_odd(self) -> None:
        self.shadow_odd += 1
        self._stake(_SHADOW_ODD)

    def stable_was_odd(self) -> None:
        self.stable_odd += 1
        self._stake(_STABLE_ODD)

    def _stake(self, factors: tuple[float, ...]) -> None:
        stake = _stake(self.shadow_odd + self.stable_odd)
        self.late = [min((s + stake) * factor, CEILING) for s, factor in zip(self.late, factors, strict=True)]

    @property
    def value(self) -> float:
        """The e-value: 1 says nothing, 1/α or more that it is sure at 1 - α (for one field; for several see `e_bh`)."""
        k, n = self.shadow_odd, self.shadow_odd + self.stable_odd
        mixed = sum(
            share * exp(min(k * log_ratio - n * log_mean, _LOG_CEILING))
            for share, log_ratio, log_mean in zip(_SHARES, _LOG_RATIOS, _LOG_MEANS, strict=True)
        )
        late = sum(share * s for share, s in zip(_SHARES, self.late, strict=True))
        return min(_FROM_THE_START * mixed + (1.0 - _FROM_THE_START) * late, CEILING)

    def to_json(self) -> list[float]:
        if not self.shadow_odd and not self.stable_odd:
            return []
        return [self.shadow_odd, self.stable_odd, *(float(f"{late:.6g}") for late in self.late)]

    @classmethod
    def from_json(cls, kept: Sequence[float]) -> Evidence:
        return cls(int(kept[0]), int(kept[1]), kept[2:]) if kept else cls()


def _stake(event: int) -> float:
    """Of the n-th event. Half the stakes up to HORIZON, half after it: the sum of 1/(n(n-1)) over all n > T is 1/T."""
    return 0.5 / HORIZON if event <= HORIZON else 0.5 * HORIZON / (event * (event - 1))


def together(parts: Iterable[Evidence]) -> Evidence:
    """Of one field seen as several till now. Counts add up, as they are sums over events; of e-processes that ran beside each
    other the mean is one, whatever they share."""
    known = [part for part in parts if part.shadow_odd or part.stable_odd]
    if not known:
        return Evidence()
    late = [sum(column) / len(known) for column in zip(*(part.late for part in known), strict=True)]
    return Evidence(sum(part.shadow_odd for part in known), sum(part.stable_odd for part in known), late)


def e_bh(values: Iterable[float], alpha: float = ALPHA) -> float:
    """The least of these e-values, one a hypothesis, that counts as a discovery; infinity where none does. Of all discoveries
    a share of `alpha` is false at most, whatever the hypotheses have to do with each other."""
    ordered = sorted(values, reverse=True)
    least = inf
    for rank, value in enumerate(ordered, 1):
        if value * rank * alpha >= len(ordered):
            least = value
    return least


def needed(hypotheses: int, alpha: float = ALPHA) -> float:
    """The e-value that is a discovery whatever the others are."""
    return max(hypotheses, 1) / alpha
