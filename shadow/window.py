"""How many copies of a route may be under way, so that a shadow that is slow or failing gets less by itself, and more again when
it has recovered. Pure.

Additive increase, multiplicative decrease (Jacobson, "Congestion avoidance and control", 1988): the window doubles with each round
of answers until the first failure, then grows by one a round; a failure halves it, once for each HOLD_SECONDS, since those that
come together have one cause. What fails at a window of one is left alone for a pause that doubles. A shadow that is merely
slow needs no rule: a fixed number under way is a lower rate.
"""

from __future__ import annotations

FIRST = 32.0
MOST = 512.0
HOLD_SECONDS = 0.1
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0


class Window:
    """`limit` copies at most. Times are monotonic seconds."""

    __slots__ = ("_closed_until", "_halved_at", "_pause", "_threshold", "limit")

    def __init__(self) -> None:
        self.limit = FIRST
        self._threshold = MOST
        self._halved_at = -HOLD_SECONDS
        self._pause = FIRST_PAUSE
        self._closed_until = 0.0

    def succeeded(self) -> None:
        limit = self.limit
        if limit < MOST:
            self.limit = min(MOST, limit + (1.0 if limit < self._threshold else 1.0 / limit))
        self._pause = FIRST_PAUSE

    def failed(self, now: float) -> None:
        if now - self._halved_at < HOLD_SECONDS:
            return
        self._halved_at = now
        if self.limit > 1.0:
            self.limit = self._threshold = max(1.0, self.limit / 2)
        else:
            self._closed_until = now + self._pause
            self._pause = min(LONGEST_PAUSE, self._pause * 2)

    def room(self, now: float) -> int:
        """Copies that may be under way now."""
        return 0 if now < self._closed_until else int(self.limit)

    @property
    def backed_off(self) -> bool:
        """Whether it is this window, rather than the load, that keeps copies away."""
        return self.limit < FIRST


def share(room: int, links: int, position: int) -> int:
    """Of a room divided among so many links, what the link at `position` gets: the parts differ by one at most."""
    return room // links + (1 if position < room % links else 0)
