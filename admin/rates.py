"""What the workers counted: totals since the start, and the last ten seconds.

A report is added to the totals and put into a queue; windows are summed when somebody asks. Handling one costs some tens
of microseconds, four times a second for each worker that has something to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import TypeVar

from proxy.control import Cell, Stats, Workers
from proxy.stats import EDGE_RATIO, EDGES

# Seconds.
WINDOW = 10.0
K = TypeVar("K")
# (route, upstream)
Pair = tuple[str, str]

_HALF_A_BUCKET = sqrt(EDGE_RATIO)


@dataclass(slots=True)
class Total:
    """One (route, upstream) since the start. `buckets` has one more entry than EDGES: what is slower than all."""

    codes: dict[int, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """The last ten seconds of one (route, upstream). Without requests there is no rate of errors and no latency: None."""

    rps: float = 0.0
    error_rate: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


NO_TRAFFIC = Rate()


def quantile(buckets: dict[int, int], share: float) -> float | None:
    """Seconds below which that share of the requests lies: the middle of its bucket, so wrong by 4.5 % at most."""
    count = sum(buckets.values())
    if not count:
        return None
    rank, seen = share * count, 0
    for index in sorted(buckets):
        seen += buckets[index]
        if seen >= rank:
            break
    return EDGES[min(index, len(EDGES) - 1)] / _HALF_A_BUCKET


def _rate(cells: Iterable[Cell], seconds: float) -> Rate:
    requests = errors = 0
    buckets: dict[int, int] = {}
    for cell in cells:
        for code, count in cell.codes.items():
            requests += count
            if code >= 500:
                errors += count
        for index, count in cell.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
    if not requests:
        return NO_TRAFFIC

    def milliseconds(share: float) -> float | None:
        value = quantile(buckets, share)
        return None if value is None else round(value * 1000.0, 3)

    return Rate(
        round(requests / seconds, 3),
        round(errors / requests, 6),
        milliseconds(0.5),
        milliseconds(0.95),
        milliseconds(0.99),
    )


class Rates:
    """`now` is the loop's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._started = now()
        self._recent: deque[tuple[float, list[Cell]]] = deque()
        self._gauges: dict[int, dict[str, float]] = {}
        self.totals: dict[Pair, Total] = {}
        self.counters: dict[tuple[str, str], int] = {}
        self.workers: Workers = Workers((), 0)

    def add(self, stats: Stats) -> None:
        for cell in stats.cells:
            total = self.totals.get((cell.route, cell.upstream))
            if total is None:
                total = self.totals[cell.route, cell.upstream] = Total()
            codes, buckets = total.codes, total.buckets
            for code, count in cell.codes.items():
                codes[code] = codes.get(code, 0) + count
            for index, count in cell.buckets.items():
                buckets[index] += count
            total.seconds += cell.seconds
        counters = self.counters
        for key, count in stats.counters.items():
            counters[key] = counters.get(key, 0) + count
        self._gauges[stats.worker] = stats.gauges
        now = self._now()
        if stats.cells:
            self._recent.append((now, stats.cells))
        self._forget(now)

    def adopt(self, workers: Workers) -> None:
        """The workers that there are now. Gauges of one that is gone count no more."""
        self.workers = workers
        alive = {worker.number for worker in workers.workers}
        self._gauges = {number: gauges for number, gauges in self._gauges.items() if number in alive}

    def gauges(self) -> dict[str, float]:
        """Summed over the workers."""
        total: dict[str, float] = {}
        for gauges in self._gauges.values():
            for name, value in gauges.items():
                total[name] = total.get(name, 0.0) + value
        return total

    def window(self) -> dict[Pair, Rate]:
        """All that had traffic in the window."""
        return self._window(lambda cell: (cell.route, cell.upstream))

    def by_upstream(self) -> dict[str, Rate]:
        """The window summed over the routes."""
        return self._window(lambda cell: cell.upstream)

    def _window(self, key: Callable[[Cell], K]) -> dict[K, Rate]:
        now = self._now()
        self._forget(now)
        cells: dict[K, list[Cell]] = {}
        for _, report in self._recent:
            for cell in report:
                cells.setdefault(key(cell), []).append(cell)
        seconds = self._seconds(now)
        return {which: _rate(of_it, seconds) for which, of_it in cells.items()}

    def in_flight(self) -> dict[str, int]:
        """Requests under way by upstream, from the gauges `endpoint_in_flight UPSTREAM ENDPOINT`."""
        found: dict[str, int] = {}
        for name, value in self.gauges().items():
            metric, _, labels = name.partition(" ")
            if metric == "endpoint_in_flight":
                upstream = labels.partition(" ")[0]
                found[upstream] = found.get(upstream, 0) + int(value)
        return found

    def in_flight_at(self, upstream: str) -> dict[str, int]:
        """Likewise by endpoint, of one upstream."""
        found: dict[str, int] = {}
        for name, value in self.gauges().items():
            metric, _, labels = name.partition(" ")
            of_upstream, _, endpoint = labels.partition(" ")
            if metric == "endpoint_in_flight" and of_upstream == upstream:
                found[endpoint] = int(value)
        return found

    def ejected(self) -> frozenset[tuple[str, str]]:
        """(upstream, endpoint) of those that every worker has ejected, from the gauges `endpoint_ejected UPSTREAM ENDPOINT`."""
        found = set()
        for name, value in self.gauges().items():
            metric, _, labels = name.partition(" ")
            if metric == "endpoint_ejected" and value >= len(self.workers.workers):
                upstream, _, endpoint = labels.partition(" ")
                found.add((upstream, endpoint))
        return frozenset(found)

    def _seconds(self, now: float) -> float:
        """A young gateway is not averaged with the time before it."""
        return max(1.0, min(WINDOW, now - self._started))

    def _forget(self, now: float) -> None:
        recent = self._recent
        while recent and recent[0][0] <= now - WINDOW:
            recent.popleft()
