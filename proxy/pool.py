"""Connections to one endpoint, decided without I/O.

Rules of this file. A connection is leased (to one exchange), idle, or being dialled; `leased + idle + dialling` never
exceeds the limit. An exchange that finds no idle connection waits in line, and whoever comes free first (a dial that
succeeds, a connection given back) serves the head of the line. Nothing here awaits: `dial` is called to start I/O, and its
driver reports to `dialled` or `failed` exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from proxy.errors import ErrorKind
from routing.snapshot import Endpoint, Outlier

if TYPE_CHECKING:
    from proxy.breaker import Breaker
    from proxy.upstream import UpstreamConnection

# Waiting costs memory and the wait is bounded by the connect timeout anyway; beyond this many it is overload.
MAX_WAITING = 1024
# Shorter than most servers' keep-alive, so that it is us who close first.
IDLE_SECONDS = 30.0
UNLIMITED = 1 << 30
# As Envoy: so much time in rotation, and the next ejection is shorter by one step again.
FORGIVEN_SECONDS = 10.0


class Waiter(Protocol):
    """An exchange in line for a connection."""

    def granted(self, connection: UpstreamConnection) -> None: ...

    def refused(self, kind: ErrorKind) -> None: ...


class Pool:
    """All connections of one worker to one endpoint."""

    __slots__ = (
        "_dial",
        "_dialling",
        "_ejections",
        "_idle",
        "_readmitted",
        "_waiters",
        "breaker",
        "ejected_until",
        "endpoint",
        "failures",
        "leased",
        "limit",
        "outlier",
        "resting",
        "retired",
        "share",
        "unhealthy",
        "warming_since",
    )

    def __init__(self, endpoint: Endpoint, limit: int, dial: Callable[[Pool], None]) -> None:
        self.endpoint = endpoint
        self.leased = 0
        self.retired = False
        """Set when the upstream no longer has the endpoint, and while a person has drained it: what comes back is closed."""
        self.resting = True
        """Out of rotation, for whatever reason. So is one that nobody has put in yet."""
        self.share = 1.0
        """Of what its upstream's endpoints would get if all got the same; less while it warms up."""
        self.warming_since = 0.0
        self.unhealthy = False
        self.breaker: Breaker | None = None
        """Its upstream's."""
        self.outlier: Outlier | None = None
        self.failures = 0
        """Requests in a row that failed here."""
        self.ejected_until = 0.0
        """0 while it is not ejected."""
        self._ejections = 0
        self._readmitted = 0.0
        self.limit = limit or UNLIMITED
        self._dial = dial
        self._dialling = 0
        self._idle: deque[UpstreamConnection] = deque()
        self._waiters: deque[Waiter] = deque()

    def __repr__(self) -> str:
        return (
            f"<Pool {self.endpoint.url} leased={self.leased} idle={len(self._idle)} "
            f"dialling={self._dialling} waiting={len(self._waiters)}>"
        )

    @property
    def load(self) -> int:
        """Requests under way or in line."""
        return self.leased + len(self._waiters)

    @property
    def idles(self) -> bool:
        """Whether a connection can be leased at once."""
        return bool(self._idle)

    def take(self) -> UpstreamConnection | None:
        """Lease the idle connection used last, or None."""
        if self._idle:
            self.leased += 1
            return self._idle.pop()
        return None

    def wait(self, waiter: Waiter) -> bool:
        """Stand in line, dialling if the limit allows. False where the line is too long."""
        if len(self._waiters) >= MAX_WAITING:
            return False
        self._waiters.append(waiter)
        self._dial_if_allowed()
        return True

    def leave(self, waiter: Waiter) -> None:
        """Leave the line. A dial begun for the waiter goes on and serves another, or the pool."""
        self._waiters.remove(waiter)

    def dialled(self, connection: UpstreamConnection) -> None:
        self._dialling -= 1
        self._offer(connection)

    def failed(self, kind: ErrorKind) -> None:
        """A dial failed: the head of the line is told; the next, if the limit left it without one, gets a dial of its own."""
        self._dialling -= 1
        if self._waiters:
            self._waiters.popleft().refused(kind)
            self._dial_if_allowed()

    def give_back(self, connection: UpstreamConnection) -> None:
        """End a lease with the connection fit for another."""
        self.leased -= 1
        self._offer(connection)

    def lost(self) -> None:
        """End a lease whose connection is closed or will be."""
        self.leased -= 1
        self._dial_if_allowed()

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection that nobody leases was closed by its other end, idle or just dialled."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._dial_if_allowed()

    @property
    def barred(self) -> bool:
        """Whether anything keeps it out of rotation."""
        return self.retired or self.unhealthy or self.ejected_until > 0

    def eject(self, outlier: Outlier, now: float) -> None:
        """Each ejection is longer than the one before; time in rotation without one makes up for it."""
        forgiven = int((now - self._readmitted) / FORGIVEN_SECONDS)
        self._ejections = max(0, self._ejections - forgiven) + 1
        self.ejected_until = now + min(outlier.ejection * self._ejections, max(outlier.ejection, outlier.max_ejection))

    def readmit(self, now: float) -> None:
        self.failures = 0
        self.ejected_until = 0.0
        self._readmitted = now

    def expired(self, now: float) -> list[UpstreamConnection]:
        """Take out the connections that have idled too long, or all of a retired pool; the caller closes them."""
        idle = self._idle
        out = []
        while idle and (self.retired or idle[0].idle_since + IDLE_SECONDS <= now):
            out.append(idle.popleft())
        return out

    def _offer(self, connection: UpstreamConnection) -> None:
        if self._waiters:
            self.leased += 1
            self._waiters.popleft().granted(connection)
        elif self.retired:
            connection.close()  # nobody sweeps this pool any more
        else:
            self._idle.append(connection)

    def _dial_if_allowed(self) -> None:
        if self._dialling < len(self._waiters) and self.leased + len(self._idle) + self._dialling < self.limit:
            self._dialling += 1
            self._dial(self)
