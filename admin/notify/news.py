"""Where everything that happens to traffic arrives, and is passed on: to the event stream, and to those who are to be told."""

from __future__ import annotations

import asyncio
import re

from admin.api.rollout_shape import rollout_of
from admin.audit import Intent
from admin.clock import utc_now
from admin.events import Feed
from admin.gateway import Gateway, Outcome
from admin.logs import Logger
from admin.notify.message import of_change, of_rollout
from admin.notify.notifier import Notifier
from admin.rollout.actions import Event
from admin.rollout.state import RolloutState

# As a rollout signs its changes; no token and no identity provider's user is called so.
_ROLLOUT = re.compile(r"rollout .+#[0-9]+")
_LAST_CHANCE = 2.0
_OF_UPSTREAMS = frozenset({"endpoints", "endpoint_drain", "endpoint_enable", "drain", "enable"})


class News:
    """`url` is the admin API's, empty until it serves. What is told is told in the loop's next turn, in order: whoever causes it
    feels nothing of what goes wrong here."""

    def __init__(self, gateway: Gateway, log: Logger) -> None:
        self.url = ""
        self.feed = Feed()
        self.notifier = Notifier(log)
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self.notifier.adopt(gateway.config.notifications)
        gateway.changed = self.changed

    def changed(self, outcome: Outcome, intent: Intent) -> None:
        self._loop.call_soon(self._changed, outcome, intent)

    def heard(self, state: RolloutState, event: Event) -> None:
        """Of a rollout, once it has been acted on."""
        self._loop.call_soon(self._heard, state, event)

    def _changed(self, outcome: Outcome, intent: Intent) -> None:
        """By people and by rollouts. What a rollout does is told as its own events, so not twice."""
        self.notifier.adopt(self._gateway.config.notifications)
        of_upstreams = intent.action in _OF_UPSTREAMS
        about = {
            "revision": outcome.revision,
            "action": intent.action,
            "who": intent.who,
            "reason": intent.reason,
            "at": utc_now(),
            "routes": [] if of_upstreams or intent.action == "config" else list(outcome.changed),
            "upstreams": list(outcome.changed) if of_upstreams else [],
        }
        self.feed.publish("change", about)
        if _ROLLOUT.fullmatch(intent.who) is None:
            message = of_change(outcome, intent, self._gateway.node, self.url)
            if message is not None:
                self.notifier.tell(message)

    def _heard(self, state: RolloutState, event: Event) -> None:
        gateway = self._gateway
        message = of_rollout(state, event, gateway.node, gateway.revision, self.url)
        shape = rollout_of(state).model_dump(mode="json")
        self.feed.publish(
            "rollout",
            {
                "route": state.route,
                "event": event.value,
                "sentence": message.sentence,
                "at": message.at,
                "rollout": shape,
            },
        )
        self.notifier.tell(message)

    async def close(self, patience: float) -> None:
        """Streams have ended with the API. `patience` in seconds, of which notifications take few."""
        self._gateway.changed = lambda outcome, intent: None
        await self.notifier.close(min(patience, _LAST_CHANCE))
