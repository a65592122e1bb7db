"""Events for those who follow the API's stream: kept for a while, so that who comes back misses nothing, and passed on.

Everything has a bound: events that are kept (by number and bytes), followers, and what waits for one of them. A follower that
takes too little is cut off and counted; it may come back with the last id that it saw.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import orjson

MOST_KEPT = 1000
MOST_KEPT_BYTES = 4 * 1024 * 1024
MOST_WAITING = 256
MOST_FOLLOWERS = 64


class Drop(Enum):
    """Of followers: cut off, or not let in."""

    SLOW = "slow"
    FULL = "full"


class Follower:
    """One stream. `alive` says whether its connection is, `cut` breaks it."""

    def __init__(self, begin: bytes, alive: Callable[[], bool], cut: Callable[[], None]) -> None:
        self.alive = alive
        self._cut = cut
        self._waiting: deque[bytes] = deque([begin])
        self._wake = asyncio.Event()
        self._wake.set()
        self._over = False

    def offer(self, event: bytes) -> bool:
        """False where there is no room."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append(event)
        self._wake.set()
        return True

    def end(self) -> None:
        """After what waits."""
        self._over = True
        self._wake.set()

    def cut(self) -> None:
        self._waiting.clear()
        self.end()
        self._cut()

    async def next(self, timeout: float) -> bytes | None:
        """What has come, or nothing within so many seconds (empty); None at the end."""
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return b""
        if not self._waiting:
            return None
        found = b"".join(self._waiting)
        self._waiting.clear()
        if not self._over:
            self._wake.clear()
        return found


class Feed:
    """`drops` counts followers. An id is `epoch-number`: those of another admin process mean nothing here."""

    def __init__(self) -> None:
        self.drops: dict[Drop, int] = dict.fromkeys(Drop, 0)
        self.heartbeat = 10.0
        """Seconds."""
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._followers: set[Follower] = set()
        self._closed = False

    @property
    def followers(self) -> int:
        return len(self._followers)

    def publish(self, kind: str, about: Mapping[str, Any]) -> None:
        """Never waits."""
        self._number += 1
        event = b"id: %s\nevent: %s\ndata: %s\n\n" % (self._id(), kind.encode(), orjson.dumps(about))
        self._keep(event)
        for follower in [each for each in self._followers if not each.offer(event)]:
            self.cut(follower)

    def _id(self) -> bytes:
        return f"{self._epoch}-{self._number}".encode()

    def _keep(self, event: bytes) -> None:
        self._kept.append(event)
        self._kept_bytes += len(event)
        while len(self._kept) > MOST_KEPT or self._kept_bytes > MOST_KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft())

    def follow(self, last: str | None, alive: Callable[[], bool], cut: Callable[[], None]) -> Follower | None:
        """From after the event with that id on, or from now on. None where there is no room."""
        if len(self._followers) >= MOST_FOLLOWERS:
            self._followers = {each for each in self._followers if each.alive()}
        if len(self._followers) >= MOST_FOLLOWERS or self._closed:
            self.drops[Drop.FULL] += 1
            return None
        follower = Follower(self._begin(last), alive, cut)
        self._followers.add(follower)
        return follower

    def _begin(self, last: str | None) -> bytes:
        """What a stream begins with: the id to come back with, and what was missed, or that nobody knows what was."""
        begin = b"retry: 2000\nid: %s\n\n" % self._id()
        if not last:
            return begin
        missed = self._since(last)
        if missed is None:
            return begin + b"id: %s\nevent: reset\ndata: {}\n\n" % self._id()
        return b"".join((begin, *missed)) if not missed else b"".join((b"retry: 2000\n\n", *missed))

    def _since(self, last: str) -> list[bytes] | None:
        """The events after that one, as far as they are all there."""
        epoch, _, number = last.rpartition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        missed = self._number - int(number)
        if not 0 <= missed <= len(self._kept):
            return None
        return [self._kept[index] for index in range(len(self._kept) - missed, len(self._kept))]

    def cut(self, follower: Follower) -> None:
        """It takes too little."""
        if follower in self._followers:
            self._followers.discard(follower)
            self.drops[Drop.SLOW] += 1
        follower.cut()

    def leave(self, follower: Follower) -> None:
        self._followers.discard(follower)

    def close(self) -> None:
        """Ends every stream; nobody is let in any more."""
        self._closed = True
        for follower in self._followers:
            follower.end()
