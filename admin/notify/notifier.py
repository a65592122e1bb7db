"""All receivers of notifications: those of the configuration in force, each with a sender of its own."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Sequence

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from admin.logs import Logger
from admin.notify.message import Message
from admin.notify.policy import Attempt, Fate, Pace
from admin.notify.posting import Delivery, post
from admin.notify.sender import Sender
from admin.notify.shapes import body_of
from routing.config_notifications import Notification

# A receiver: its address, and which of those with that address it is.
_Key = tuple[str, int]


class Notifier:
    """`fates` counts what became of notifications, one for each receiver of a message."""

    def __init__(self, log: Logger, pace: Pace | None = None) -> None:
        self.fates: Counter[Fate] = Counter()
        self._log = log
        self._pace = pace or Pace()
        self._draw = random.SystemRandom().random
        self._adopted: Sequence[Notification] = ()
        self._senders: dict[_Key, Sender] = {}
        self._session: ClientSession | None = None

    @property
    def pending(self) -> int:
        return sum(sender.pending for sender in self._senders.values())

    def adopt(self, targets: Sequence[Notification]) -> None:
        """What is queued for an address that stays is sent there, as it was written; the next messages go by the new keys."""
        if targets == self._adopted:
            return
        self._adopted = targets
        senders: dict[_Key, Sender] = {}
        seen: Counter[str] = Counter()
        for target in targets:
            key = (target.url, seen[target.url])
            seen[target.url] += 1
            sender = self._senders.pop(key, None)
            if sender is None:
                sender = Sender(target, self._post, self.fates, self._log, self._draw, self._pace)
            sender.target = target
            senders[key] = sender
        gone, self._senders = self._senders, senders
        if left := sum(sender.close(Fate.REMOVED) for sender in gone.values()):
            self._log.warning("notifications dropped: the configuration no longer has their receiver", dropped=left)

    def tell(self, message: Message) -> None:
        """Never waits, and never raises."""
        now = asyncio.get_running_loop().time()
        for sender in self._senders.values():
            target = sender.target
            if message.event in target.events and _about(target, message):
                delivery = secrets.token_hex(16)
                body = body_of(target.kind, message, delivery, target.template)
                sender.send(Delivery(delivery, message.event, body, now))

    async def _post(self, target: Notification, delivery: Delivery) -> Attempt:
        if self._session is None:
            # A connection each: seldom enough, and none that was closed meanwhile looks like a failure.
            self._session = ClientSession(
                connector=TCPConnector(force_close=True),
                cookie_jar=DummyCookieJar(),
                headers={"User-Agent": "headgate-notify"},
            )
        return await post(self._session, target, delivery)

    async def close(self, patience: float) -> None:
        """What was not tried yet gets that many seconds; what has failed and waits gets none."""
        senders = list(self._senders.values())
        try:
            async with asyncio.timeout(patience):
                for sender in senders:
                    await sender.rest()
        except TimeoutError:
            pass
        self._senders, self._adopted = {}, ()
        if left := sum(sender.close(Fate.STOPPED) for sender in senders):
            self._log.warning("notifications dropped at the end", dropped=left)
        if self._session is not None:
            await self._session.close()


def _about(target: Notification, message: Message) -> bool:
    """What is about no route is for those who hear of all."""
    return target.routes is None or not set(target.routes).isdisjoint(message.routes)
