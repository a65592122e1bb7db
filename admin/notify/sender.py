"""One receiver's queue and the one that sends from it.

The first of the queue is under way until it has a fate; the others wait behind it, so their order is kept. A queue that is full
loses the oldest that waits: what comes last says best how things are.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from admin.logs import Logger
from admin.notify.policy import Attempt, Fate, Pace
from admin.notify.posting import Delivery, label
from proxy.tasks import spawn
from routing.config_notifications import Notification

MOST_QUEUED = 256

Post = Callable[[Notification, Delivery], Awaitable[Attempt]]


class Sender:
    """`draw` gives numbers from 0 to 1. `fates` is where it counts."""

    def __init__(
        self,
        target: Notification,
        post: Post,
        fates: Counter[Fate],
        log: Logger,
        draw: Callable[[], float],
        pace: Pace,
    ) -> None:
        self.target = target
        """May be replaced by another for the same address, from the next attempt on."""
        self._post = post
        self._fates = fates
        self._log = log
        self._draw = draw
        self._pace = pace
        self._clock = asyncio.get_running_loop().time
        self._queue: deque[Delivery] = deque()
        self._filled = asyncio.Event()
        self._resting = asyncio.Event()
        """Set while there is nothing to send, or an attempt has failed and the next one is not due."""
        self._resting.set()
        self._failing = False
        self._task = spawn(
            self._run(), "notifications", lambda error: log.error("notifications stand still", error=repr(error))
        )

    @property
    def pending(self) -> int:
        return len(self._queue)

    def send(self, delivery: Delivery) -> None:
        """Later; at once it is only queued."""
        if len(self._queue) >= MOST_QUEUED:
            del self._queue[1]
            self._fates[Fate.QUEUE_FULL] += 1
        self._queue.append(delivery)
        if len(self._queue) == 1:
            self._filled.set()
            self._resting.clear()

    async def rest(self) -> None:
        """Until everything has been tried."""
        await self._resting.wait()

    def close(self, fate: Fate) -> int:
        """How many are left, which have that fate."""
        self._task.cancel()
        left = len(self._queue)
        self._fates[fate] += left
        self._queue.clear()
        return left

    async def _run(self) -> None:
        while True:
            while not self._queue:
                self._filled.clear()
                self._resting.set()
                await self._filled.wait()
            fate = await self._deliver(self._queue[0])
            self._queue.popleft()
            self._fates[fate] += 1

    async def _deliver(self, delivery: Delivery) -> Fate:
        made = 0
        while True:
            self._resting.clear()
            attempt = await self._attempt(delivery)
            made += 1
            fate = attempt.fate
            self._note(attempt, failed=fate is not Fate.SENT)
            if fate is not None:
                return fate
            pause = self._pace.pause(made, self._clock() - delivery.since, attempt, self._draw())
            if pause is None:
                return Fate.EXPIRED
            self._resting.set()
            await asyncio.sleep(pause)

    async def _attempt(self, delivery: Delivery) -> Attempt:
        """Whatever goes wrong in it, the queue goes on."""
        try:
            return await self._post(self.target, delivery)
        except Exception as error:
            return Attempt(0, type(error).__name__)

    def _note(self, attempt: Attempt, *, failed: bool) -> None:
        """A line where it begins to fail, and one where it works again."""
        if failed and not self._failing:
            self._log.warning("notifications cannot be delivered", to=label(self.target), why=attempt.why)
        elif self._failing and not failed:
            self._log.info("notifications are delivered again", to=label(self.target), waiting=len(self._queue) - 1)
        self._failing = failed
