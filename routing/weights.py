"""Weighted choice that holds exactly, not only on average.

Unsticky traffic is drawn from a low-discrepancy sequence, one per split and worker: after any N draws since the
weights were set each upstream has been drawn within one of its share. Two upstreams use Bresenham's line with a
random start, so that many workers with little traffic do not all begin with the same upstream. More use the quota
method (Balinski and Young, "The quota method of apportionment", 1975): among those that may take the next seat
without passing their upper quota, the one with the earliest deadline for its next seat takes it; no house size ever
violates either quota.

Sticky traffic is placed by weighted rendezvous hashing (Thaler and Ravishankar 1998; the logarithmic form is that of
Schindelhauer and Schomaker 2005): each upstream's score is an exponential race at a rate of its weight, so raising
one weight only lowers that upstream's score and moves nobody between the others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm, log

from xxhash import xxh3_64_intdigest

_INVERSE_2_64 = 2.0**-64


def whole_shares(weights: dict[str, float]) -> dict[str, int]:
    """The weights as the smallest whole numbers in the same ratio. `weights` are finite, >= 0, with a positive sum."""
    exact = {name: Fraction(repr(weight)) for name, weight in weights.items()}
    scale = lcm(*(share.denominator for share in exact.values()))
    whole = {name: int(share * scale) for name, share in exact.items()}
    divisor = gcd(*whole.values())
    return {name: share // divisor for name, share in whole.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Upstreams (dense indexes into `Snapshot.upstreams`) and their positive whole weights.

    Compared by identity: a worker keeps a `Draw` for each split it has met, and a split that replaces another starts
    anew.
    """

    upstreams: tuple[int, ...]
    weights: tuple[int, ...]
    salts: tuple[int, ...]
    """One 64-bit seed an upstream, made of the names of route and upstream, so that two routes favour different
    clients.
    """

    only: int = field(init=False)
    """The one upstream where there is no choice, else -1."""

    _race: tuple[tuple[int, int, int], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        assert self.upstreams
        assert all(weight > 0 for weight in self.weights)
        object.__setattr__(self, "only", self.upstreams[0] if len(self.upstreams) == 1 else -1)
        object.__setattr__(self, "_race", tuple(zip(self.upstreams, self.weights, self.salts, strict=True)))

    def place(self, bucket: int) -> int:
        """The upstream of a sticky client, by its 64-bit bucket."""
        key = bucket.to_bytes(8, "big")
        best, best_score = -1, float("inf")
        for upstream, weight, salt in self._race:
            score = -log((xxh3_64_intdigest(key, salt) + 1) * _INVERSE_2_64) / weight
            if score < best_score:
                best, best_score = upstream, score
        return best


def salt(route: str, upstream: str) -> int:
    """The seed of an upstream in a route's splits: stable over restarts and configuration changes."""
    return xxh3_64_intdigest(f"{route}\0{upstream}".encode())


class LineDraw:
    """Two upstreams: Bresenham's line. State: how far the second upstream is through to its next turn."""

    __slots__ = ("_first", "_second", "_share", "_through", "_total")

    def __init__(self, split: Split, rng: random.Random) -> None:
        self._first, self._second = split.upstreams
        self._share = split.weights[1]
        self._total = sum(split.weights)
        self._through = rng.randrange(self._total)

    def next(self) -> int:
        through = self._through + self._share
        if through >= self._total:
            self._through = through - self._total
            return self._second
        self._through = through
        return self._first


class QuotaDraw:
    """Three and more upstreams: the quota method. State: seats given so far, which start anew after a whole period."""

    __slots__ = ("_drawn", "_order", "_seats", "_total", "_upstreams", "_weights")

    def __init__(self, split: Split, rng: random.Random) -> None:
        order = list(range(len(split.upstreams)))
        rng.shuffle(order)  # who wins a tie differs between workers
        self._upstreams = tuple(split.upstreams[i] for i in order)
        self._weights = tuple(split.weights[i] for i in order)
        self._total = sum(split.weights)
        self._order = range(len(order))
        self._seats = [0] * len(order)
        self._drawn = 0

    def next(self) -> int:
        self._drawn += 1
        seats, weights, total = self._seats, self._weights, self._total
        best, best_seat, best_weight = -1, 0, 0
        for i in self._order:
            weight = weights[i]
            if seats[i] * total < self._drawn * weight:  # a further seat stays below the upper quota
                seat = seats[i] + 1  # its deadline is seat * total / weight draws
                if best < 0 or seat * best_weight < best_seat * weight:
                    best, best_seat, best_weight = i, seat, weight
        seats[best] += 1
        if self._drawn == total:
            self._drawn = 0
            self._seats = [0] * len(seats)
        return self._upstreams[best]


class Draws:
    """One worker's sequences and its randomness. Not shared, not locked: one event loop owns it."""

    __slots__ = ("_draws", "_rng")

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.SystemRandom()
        self._draws: dict[Split, LineDraw | QuotaDraw] = {}
        if rng is None:
            # Bucket bits must be unpredictable only in so far as clients can't steer them; a cookie is signed anyway.
            self._rng = random.Random(self._rng.getrandbits(256))  # noqa: S311

    def next(self, split: Split) -> int:
        """The upstream of the next unsticky request of a split with at least two upstreams."""
        draw = self._draws.get(split)
        if draw is None:
            draw = (LineDraw if len(split.upstreams) == 2 else QuotaDraw)(split, self._rng)
            self._draws[split] = draw
        return draw.next()

    def bucket(self) -> int:
        """A fresh 64-bit bucket for a sticky client that brought none."""
        return self._rng.getrandbits(64)

    def percent(self) -> float:
        """Anything from 0 to below 100."""
        return self._rng.random() * 100.0

    def keep(self, splits: set[Split]) -> None:
        """Forget the sequences of splits that are gone; to be called when a snapshot is adopted."""
        self._draws = {split: draw for split, draw in self._draws.items() if split in splits}
