"""Rollouts on a whole gateway: begun, waited for, and upstreams that turn bad when they are told."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from tests.support.gateway import START_PATIENCE, Gateway
from tests.support.origin import Conversation

ROLLOUT = "/v1/routes/shop/rollout"
# A rollout waits for requests, and those for a busy machine.
ROLLOUT_PATIENCE = 2 * START_PATIENCE
RETRY = {"on": ["connect", "reset", 500, 502, 503, 504], "other_upstream": True, "budget": "100%"}


class Turning:
    """Answers with its name; while `bad`, every second request with 500."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bad = False
        self.answered = self.failed = 0
        self.smoked: list[dict[str, str]] = []
        """Requests for /ready, as they arrived."""
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def __call__(self, connection: Conversation) -> None:
        while True:
            arrival = connection.receive()
            if arrival.target == "/ready":
                self.smoked.append({name.lower(): value for name, value in arrival.head.fields})
            failing = self.bad and next(self._numbers) % 2 == 0
            with self._lock:
                self.answered += 1
                self.failed += failing
            body = json.dumps({"upstream": self.name}).encode()
            connection.answer(body, "500 No" if failing else "200 OK", X_Served_By=self.name)


def kill_admin(gateway: Gateway) -> None:
    """kill -9 of the admin process alone; returns when the next one serves the API."""
    mark, pid = gateway.mark, gateway.admin_pid
    os.kill(pid, signal.SIGKILL)
    gateway.logged("the admin API serves", after=mark, patience=START_PATIENCE)


def begin(gateway: Gateway, **plan: Any) -> Any:
    """The route's own plan where none is given."""
    return gateway.call("POST", ROLLOUT, plan or None)


def tell(gateway: Gateway, what: str, **body: Any) -> Any:
    return gateway.call("POST", f"{ROLLOUT}/{what}", body or None)


def shown(gateway: Gateway) -> Any:
    return gateway.call("GET", ROLLOUT)


def until(gateway: Gateway, holds: Callable[[Any], bool], what: str) -> Any:
    """The rollout, once that holds of it."""
    last: list[Any] = []

    def look() -> bool:
        last[:] = [shown(gateway)]
        return holds(last[0])

    try:
        gateway.until(look, what, ROLLOUT_PATIENCE)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from None
    return last[0]


def until_state(gateway: Gateway, state: str) -> Any:
    return until(gateway, lambda rollout: rollout["state"] == state, state)


def until_step(gateway: Gateway, step: int, phase: str = "holding") -> Any:
    return until(gateway, lambda each: (each["step"], each["phase"]) == (step, phase), f"step {step}, {phase}")
