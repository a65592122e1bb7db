"""What a worker counts: plain integers, added up elsewhere.

One `Tally` per (route, upstream), found by dense index. Latency goes into fixed logarithmic buckets, so that quantiles can be
read from sums over workers and time with an error below half a bucket (4.5 %).
"""

from __future__ import annotations

from bisect import bisect_left

from proxy.control import Cell
from routing.snapshot import Snapshot

EDGE_RATIO = 1.09
# Seconds, from 0.1 ms to about 6,000 s: 208 edges; bucket i holds (EDGES[i-1], EDGES[i]], the last one what is slower.
EDGES: tuple[float, ...] = tuple(0.0001 * EDGE_RATIO**i for i in range(208))

NO_UPSTREAM = -1


class Tally:
    """Counts of one (route, upstream) since the last report."""

    __slots__ = ("buckets", "codes", "seconds")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.buckets: dict[int, int] = {}
        self.seconds = 0.0

    def add(self, code: int, seconds: float) -> None:
        codes = self.codes
        codes[code] = codes.get(code, 0) + 1
        bucket = bisect_left(EDGES, seconds)
        buckets = self.buckets
        buckets[bucket] = buckets.get(bucket, 0) + 1
        self.seconds += seconds


class WorkerStats:
    """All counts of one worker. Rows are made on first use and follow names, so they survive a change of snapshot."""

    __slots__ = ("_copied", "_not_copied", "_rows", "_tallies", "counters")

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._rows: list[list[Tally]] = []
        self.counters: dict[tuple[str, str], int] = {}
        self._copied: dict[str, int] = {}
        self._not_copied: dict[tuple[str, str], int] = {}

    def bind(self, snapshot: Snapshot) -> None:
        """Make rows for the routes and upstreams of a snapshot; the last of each row is for requests without an upstream."""
        names = [*(upstream.name for upstream in snapshot.upstreams), ""]
        self._rows = [[self.named(route.name, name) for name in names] for route in snapshot.routes]

    def tally(self, route: int, upstream: int) -> Tally:
        """By dense indexes of the bound snapshot; `upstream` may be NO_UPSTREAM."""
        return self._rows[route][upstream]

    def named(self, route: str, upstream: str) -> Tally:
        """By name: for a request that began under another snapshot, or that no route took (both empty)."""
        return self._tallies.setdefault((route, upstream), Tally())

    def count(self, metric: str, label: str = "", by: int = 1) -> None:
        """Add to a counter. `label` is one of a closed set: it becomes a label value of the metric."""
        key = (metric, label)
        self.counters[key] = self.counters.get(key, 0) + by

    def copied(self, route: str) -> None:
        """A request was copied to the route's shadow."""
        self._copied[route] = self._copied.get(route, 0) + 1

    def not_copied(self, route: str, reason: str, by: int) -> None:
        """Requests in the sample were not; `reason` is a `Drop`'s value."""
        key = (route, reason)
        self._not_copied[key] = self._not_copied.get(key, 0) + by

    def take_copies(self) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
        """(copied, not copied) since the last call."""
        taken = self._copied, self._not_copied
        self._copied, self._not_copied = {}, {}
        return taken

    def take(self) -> tuple[list[Cell], dict[tuple[str, str], int]]:
        """What was counted since the last call; begins anew."""
        cells = []
        for (route, upstream), tally in self._tallies.items():
            if tally.codes:
                cells.append(Cell(route, upstream, tally.codes, tally.buckets, tally.seconds))
                tally.codes, tally.buckets, tally.seconds = {}, {}, 0.0
        counters, self.counters = self.counters, {}
        return cells, counters
