"""Publishing to the workers, and the receipt for it.

Workers come first, the store second: a dead database must not stop a cutback. The supervisor answers each `Publish` with
one `Published`, after every worker has acknowledged or was killed and replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from proxy.control import Message, Publish, Published

# The supervisor gives a worker 1 s to acknowledge and then replaces it; the rest is for a machine under load.
DEADLINE = 10.0  # seconds


class SupervisorGoneError(Exception):
    """The control socket is closed: nothing can be published any more."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Who has applied a change. `persisted` is known only after the store was asked."""

    node: str
    published: Published | None
    milliseconds: float
    persisted: bool = True
    errors: tuple[str, ...] = field(default=())

    @property
    def applied(self) -> bool:
        published = self.published
        return (
            published is not None and not published.errors and published.acked + published.replaced >= published.total
        )

    @property
    def refusals(self) -> tuple[str, ...]:
        """What workers said that could not adopt it."""
        return self.published.errors if self.published is not None else ()

    def to_json(self) -> dict[str, object]:
        published = self.published
        milliseconds = round(self.milliseconds, 3)
        answer: dict[str, object] = {
            "applied": self.applied,
            "persisted": self.persisted,
            "workers": {
                "acked": published.acked if published else 0,
                "total": published.total if published else 0,
                "replaced": published.replaced if published else 0,
            },
            "nodes": [{"node": self.node, "acked": self.applied, "ms": milliseconds}],
            "ms": milliseconds,
            "in_flight": dict(published.in_flight) if published else {},
        }
        if self.errors:
            answer["errors"] = list(self.errors)
        return answer


class Publisher:
    """One publish at a time for each revision; the caller serialises changes."""

    def __init__(self, node: str, send: Callable[[Message], None]) -> None:
        self._node = node
        self._send = send
        self._waiting: dict[int, asyncio.Future[Published]] = {}
        self._gone = False

    async def publish(self, publish: Publish) -> Receipt:
        """Raises SupervisorGoneError. A supervisor that does not answer in time gives a receipt that is not applied."""
        if self._gone:
            raise SupervisorGoneError
        loop = asyncio.get_running_loop()
        started = perf_counter()  # uvloop's clock stands still within one turn
        future: asyncio.Future[Published] = loop.create_future()
        self._waiting[publish.revision] = future
        published: Published | None = None
        errors: tuple[str, ...] = ()
        try:
            self._send(publish)
            async with asyncio.timeout(DEADLINE):
                published = await future
            errors = published.errors
        except TimeoutError:
            errors = (f"the supervisor has not confirmed within {DEADLINE:.0f} s",)
        finally:
            del self._waiting[publish.revision]
        return Receipt(self._node, published, (perf_counter() - started) * 1000.0, errors=errors)

    def answered(self, published: Published) -> None:
        future = self._waiting.get(published.revision)
        if future is not None and not future.done():
            future.set_result(published)

    def lost(self) -> None:
        self._gone = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(SupervisorGoneError())
