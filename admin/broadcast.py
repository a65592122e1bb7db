"""State on its way from admin to the workers, and the answers on their way back: decided without I/O.

Rules of this file. A worker holds state from the moment any was sent to it. A publish is a round: every holder must acknowledge
it, or leave; a new configuration it may also refuse, and serve on by the one before. Whoever has done neither when `late` is
called may still be sending requests by the old state; it is to be ended, and only then is the round answered. So when a cutback
is answered, no process is left that does not know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from proxy.control import Ack, Message, Nack, Publish, Published


class Round:
    """One publish: who has not answered yet, and what the others said."""

    def __init__(self, revision: int, live_only: bool, waiting: set[int], now: float) -> None:
        self.revision = revision
        self.live_only = live_only
        self.waiting = waiting
        self._total = len(waiting)
        self._started = now
        self._acked = 0
        self._replaced = 0
        self._in_flight: dict[str, int] = {}
        self._errors: list[str] = []

    def answered(self, worker: int, answer: Ack | Nack) -> None:
        self.waiting.discard(worker)
        if isinstance(answer, Nack):
            self._errors.append(f"worker {worker}: {answer.error}")
            return
        self._acked += 1
        for upstream, count in answer.in_flight.items():
            self._in_flight[upstream] = self._in_flight.get(upstream, 0) + count

    def left(self, worker: int) -> None:
        self.waiting.discard(worker)
        self._replaced += 1

    def result(self, now: float) -> Published:
        return Published(
            self.revision,
            self._acked,
            self._total,
            self._replaced,
            now - self._started,
            self._in_flight,
            tuple(self._errors),
        )


class Broadcast:
    """`send` takes a message to a worker, `answer` a round's result to admin."""

    def __init__(self, send: Callable[[int, Message], None], answer: Callable[[Published], None]) -> None:
        self._send = send
        self._answer = answer
        self._rounds: dict[int, Round] = {}
        self.state: Publish | None = None
        """Everything in force: the last snapshot and all live state since; None before the first publish."""
        self.holders: dict[int, int] = {}
        """worker -> the revision it acknowledged last, 0 before its first."""

    def publish(self, publish: Publish, up: set[int], now: float) -> Round | None:
        """Merge and send; `up` are the workers that can be sent to. None for live state without any snapshot."""
        if publish.snapshot is not None:
            self.state = publish
        elif self.state is None:
            return None
        else:
            live = {**self.state.live, **publish.live}
            endpoints = {**self.state.endpoints, **publish.endpoints}
            self.state = replace(
                self.state, revision=publish.revision, live=live, shadowing=publish.shadowing, endpoints=endpoints
            )
        round_ = Round(publish.revision, publish.snapshot is None, set(self.holders), now)
        self._rounds[publish.revision] = round_
        for worker in round_.waiting:
            self._send(worker, publish)
        for worker in up - round_.waiting:
            self.joined(worker)
        self._answer_if_through(round_, now)
        return round_

    def joined(self, worker: int) -> None:
        """A worker came up: it gets all there is before it accepts anything."""
        if self.state is not None:
            self.holders[worker] = 0
            self._send(worker, self.state)

    def left(self, worker: int, now: float) -> None:
        """A worker's process is gone, and with it the state it held."""
        self.holders.pop(worker, None)
        for round_ in [r for r in self._rounds.values() if worker in r.waiting]:
            round_.left(worker)
            self._answer_if_through(round_, now)

    def answered(self, worker: int, answer: Ack | Nack, now: float) -> bool:
        """False where the worker is to be ended: it could not take live state, so it would go on by the old."""
        if isinstance(answer, Ack) and worker in self.holders:
            self.holders[worker] = answer.revision
        round_ = self._rounds.get(answer.revision)
        if round_ is not None and worker in round_.waiting:
            if isinstance(answer, Nack) and round_.live_only:
                return False
            round_.answered(worker, answer)
            self._answer_if_through(round_, now)
        return True

    def late(self, round_: Round) -> list[int]:
        """The workers to be ended now; nothing where the round has been answered."""
        return sorted(round_.waiting) if self._rounds.get(round_.revision) is round_ else []

    def _answer_if_through(self, round_: Round, now: float) -> None:
        if not round_.waiting and self._rounds.pop(round_.revision, None) is not None:
            self._answer(round_.result(now))
