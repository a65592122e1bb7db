"""Circuit breakers: how many requests an upstream may have under way and in line at one time, over all workers of a gateway.

Rules of this file. An exchange that has chosen an upstream enters its breaker, and leaves it when it ends or goes elsewhere; one
that has to wait for a connection counts as in line too, until it has one. Each worker writes a row of its own in the gateway's
shared memory (proxy/shared.py) and sums all of them when it asks, so nothing is lost between two of them, and a worker that takes
the place of a dead one begins by clearing the row. A row is written before the sum is taken: of two workers that ask for the last
place at the same moment rather both are refused than both let in.

A breaker's column in the rows is its place among those of the snapshot. While workers take up a configuration that has others,
one after another, they may read a neighbour's count for some milliseconds; what each of them has entered goes with its breaker.
"""

from __future__ import annotations

from mmap import mmap

from proxy import gcra
from routing.snapshot import MOST_BREAKERS, Upstream

_REQUESTS, _WAITING = 0, 1
_COLUMNS = MOST_BREAKERS * 2
ROW_BYTES = _COLUMNS * 4


class Breaker:
    """One upstream's, as one worker has it."""

    __slots__ = (
        "_counts",
        "_most_requests",
        "_most_waiting",
        "_own",
        "_rows",
        "requests",
        "upstream",
        "waiting",
    )

    def __init__(self, upstream: str, counts: memoryview[int]) -> None:
        self.upstream = upstream
        self.requests = 0
        """Of this worker, like `waiting`."""
        self.waiting = 0
        self._counts = counts
        self._rows = range(0)
        self._own = -1
        self._most_requests = 0
        self._most_waiting = 0

    def put(self, requests: int, waiting: int, rows: range, own: int) -> None:
        """Set its limits (0 is none) and where it is counted: its column in each row and in our own, -1 for nowhere any more."""
        self._most_requests, self._most_waiting = requests, waiting
        self._rows, self._own = rows, own
        self._write()

    def enter(self, in_line: bool) -> bool:
        """Whether there is room for one more, which then counts; `in_line`: it has to wait for a connection."""
        self.requests += 1
        self.waiting += in_line
        self._write()
        if self._over(_REQUESTS, self._most_requests) or (in_line and self._over(_WAITING, self._most_waiting)):
            self.requests -= 1
            self.waiting -= in_line
            self._write()
            return False
        return True

    def served(self) -> None:
        """One in line is that no more."""
        self.waiting -= 1
        self._write()

    def leave(self) -> None:
        """One that is not in line goes."""
        self.requests -= 1
        self._write()

    def _over(self, which: int, most: int) -> bool:
        if most == 0:
            return False
        total, counts = 0, self._counts
        for row in self._rows:
            total += counts[row + which]
        return total > most

    def _write(self) -> None:
        if self._own >= 0:
            self._counts[self._own + _REQUESTS] = self.requests
            self._counts[self._own + _WAITING] = self.waiting


class Breakers:
    """Those of one worker among `workers`. `fd` is what `shared.create` returned; without it they are this process's own."""

    __slots__ = ("_counts", "_memory", "_own", "_workers", "by_upstream")

    def __init__(self, fd: int = -1, worker: int = 0, workers: int = 1) -> None:
        self._memory = mmap(fd, gcra.SIZE + workers * ROW_BYTES)
        self._counts: memoryview[int] = memoryview(self._memory)[gcra.SIZE :].cast("I")
        self._own = worker * _COLUMNS
        self._workers = workers
        self.by_upstream: dict[str, Breaker] = {}
        self._clear()

    def adopt(self, upstreams: tuple[Upstream, ...]) -> dict[str, Breaker]:
        """Those of a snapshot, by upstream. What is under way goes on counting where a breaker stays; where one is new it does not
        begin to."""
        before, self.by_upstream = self.by_upstream, {}
        having = [upstream for upstream in upstreams if upstream.circuit_breaker is not None]
        if [upstream.name for upstream in having] != list(before):
            self._clear()
        for place, upstream in enumerate(having):
            limits, name, column = upstream.circuit_breaker, upstream.name, place * 2
            assert limits is not None
            rows = range(column, self._workers * _COLUMNS, _COLUMNS)
            breaker = before.pop(name, None) or Breaker(name, self._counts)
            breaker.put(limits.requests, limits.waiting, rows, self._own + column)
            self.by_upstream[name] = breaker
        for gone in before.values():
            gone.put(0, 0, range(0), -1)
        return self.by_upstream

    def _clear(self) -> None:
        first = gcra.SIZE + self._own * 4
        self._memory[first : first + ROW_BYTES] = bytes(ROW_BYTES)
