"""Who tries tokens that are not known is made to wait: by address, after ten within a minute, until the first of them is a minute
old. A token that is known passes all the same, so nobody can lock out the people who share an address with them.

An episode lasts as long as an address goes on without a minute's pause; it begins with one line in the log.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from routing.addresses import parse_address
from routing.rate import client_network

FAILURES = 10
WINDOW = 60.0  # seconds
# Addresses remembered at a time. Beyond, the one that has been silent for the longest is forgotten.
ADDRESSES = 10_000


@dataclass(slots=True)
class _Source:
    last: float
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=FAILURES))
    told: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """`seconds` is 0 where the caller need not; `begins` an episode."""

    seconds: float = 0.0
    begins: bool = False


class Throttle:
    """`failures` counts all, those made to wait too; `forgotten` the addresses that found no room within their minute."""

    def __init__(self) -> None:
        self._sources: dict[bytes, _Source] = {}  # the one that was heard of last is last
        self.failures = 0
        self.forgotten = 0

    def failed(self, address: str, now: float) -> Wait:
        self.failures += 1
        name = client_network(str(parse_address(address) or address))
        source = self._sources.pop(name, None)
        if source is None or now - source.last >= WINDOW:
            source = _Source(now)
        source.last = now
        self._sources[name] = source
        self._bound(now)
        if len(source.failures) == FAILURES and now - source.failures[0] < WINDOW:
            begins, source.told = not source.told, True
            return Wait(source.failures[0] + WINDOW - now, begins)
        source.failures.append(now)
        return Wait()

    def _bound(self, now: float) -> None:
        while len(self._sources) > ADDRESSES:
            oldest = next(iter(self._sources))
            self.forgotten += now - self._sources.pop(oldest).last < WINDOW
