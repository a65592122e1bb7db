"""So many at once, then one each so many seconds: the generic cell rate algorithm."""

from __future__ import annotations


class Allowance:
    __slots__ = ("_ahead", "_free_at", "_seconds")

    def __init__(self, burst: int, seconds: float) -> None:
        self._seconds = seconds
        self._ahead = (burst - 1) * seconds
        self._free_at = float("-inf")

    def left(self, now: float) -> bool:
        return self._free_at - now <= self._ahead

    def take(self, now: float) -> None:
        self._free_at = max(self._free_at, now) + self._seconds
