"""What the two arms of a rollout did: reports of workers added up to ticks, bad results of one client counted once.

On a sticky route a client that meets an error and tries again meets it again, in the same arm: no independent draws. There a bad
result counts once per client (sticky key) and DEDUPLICATED seconds, over all workers; requests all count, of both arms. On other
routes each request is drawn anew, so there is nothing to count once.

All is bounded: so many keys in a worker's report (proxy/arms.py), MOST_KEYS remembered here. Bad results beyond are `unlisted`.
They count as bad of stable's and not of the canary's, which can delay an alarm and not raise a false one; a tick that has any is no
evidence for a promotion.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from proxy.control import Arm

DEDUPLICATED = 10.0
MOST_KEYS = 50_000
"""Of an arm, remembered at a time."""

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Counts:
    """One arm in one tick. `bad` is after deduplication, without `unlisted`; `failed` are all bad results, as people count them;
    `buckets` (indexes of `proxy.stats.EDGES`) has the latencies of the others."""

    requests: int = 0
    bad: int = 0
    buckets: Mapping[int, int] = field(default_factory=dict)
    unlisted: int = 0
    failed: int = 0


NONE = Counts()


@dataclass(frozen=True, slots=True)
class Pairs:
    """What the shadow's comparison says of one tick: pairs compared, those that differ in a finding; of pairs with a second answer
    of stable, those in which the shadow alone was odd, or stable alone."""

    compared: int = 0
    differing: int = 0
    shadow_odd: int = 0
    stable_odd: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    canary: Counts = NONE
    stable: Counts = NONE
    seconds: float = 1.0
    pairs: Pairs | None = None


class ArmCounts:
    """One arm of a judged route: what its workers report, until it is taken as a tick's counts."""

    __slots__ = ("_bad", "_buckets", "_failed", "_order", "_remembered", "_requests", "_unlisted")

    def __init__(self) -> None:
        self._requests = self._bad = self._failed = self._unlisted = 0
        self._buckets: dict[int, int] = {}
        self._remembered: set[int] = set()
        self._order: deque[tuple[float, int]] = deque()

    def add(self, arm: Arm, now: float) -> None:
        """A worker's report. `now` is any clock that does not jump."""
        self._requests += arm.requests
        self._failed += arm.bad
        for bucket, count in arm.buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        if not arm.keys and not arm.unlisted:
            self._bad += arm.bad  # of an unsticky route
            return
        self._unlisted += arm.unlisted
        self._forget(now)
        remembered = self._remembered
        for key in arm.keys:
            if key in remembered:
                continue
            if len(remembered) >= MOST_KEYS:
                self._unlisted += 1
                continue
            remembered.add(key)
            self._order.append((now, key))
            self._bad += 1

    def _forget(self, now: float) -> None:
        order = self._order
        while order and order[0][0] <= now - DEDUPLICATED:
            self._remembered.discard(order.popleft()[1])

    def take(self) -> Counts:
        """What came since the last call."""
        taken = Counts(self._requests, self._bad, self._buckets, self._unlisted, self._failed)
        self._requests = self._bad = self._failed = self._unlisted = 0
        self._buckets = {}
        return taken


class LastMinute:
    """Latency buckets of the last 60 seconds, by second: what is older goes."""

    __slots__ = ("_seconds", "_total")

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, dict[int, int]]] = deque()
        self._total: dict[int, int] = {}

    def add(self, buckets: Mapping[int, int], now: float) -> None:
        second = int(now)
        self._forget(second)
        if not buckets:
            return
        if self._seconds and self._seconds[-1][0] >= second:
            of_second = self._seconds[-1][1]
        else:
            of_second = {}
            self._seconds.append((second, of_second))
        for bucket, count in buckets.items():
            of_second[bucket] = of_second.get(bucket, 0) + count
            self._total[bucket] = self._total.get(bucket, 0) + count

    def _forget(self, second: int) -> None:
        total = self._total
        while self._seconds and self._seconds[0][0] <= second - MINUTE:
            for bucket, count in self._seconds.popleft()[1].items():
                total[bucket] -= count
                if not total[bucket]:
                    del total[bucket]

    @property
    def known(self) -> bool:
        """Whether there is anything."""
        return bool(self._total)

    def edge(self, quantile: float) -> int | None:
        """The bucket in which that quantile lies; None where there is nothing."""
        if not self._total:
            return None
        indexes = sorted(self._total)
        seen = list(accumulate(self._total[index] for index in indexes))
        return indexes[min(bisect_left(seen, quantile * seen[-1]), len(indexes) - 1)]
