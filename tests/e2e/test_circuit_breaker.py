"""A canary that hangs holds so many requests, over all workers, and no more; the others go to stable."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.origin import Conversation, Origin
from tests.support.stage import Stage
from tests.support.wire import Wire, request

MOST = 8


class Hanging:
    """A gateway whose canary answers once it is let."""

    def __init__(self, stage: Stage) -> None:
        self.answers = stage.event()
        self.origin: Origin = stage.origin(self._hang)
        canary = {"endpoints": [self.origin.url], "circuit_breaker": {"requests": MOST}}
        upstreams = {"blue": stage.origin("blue").url, "canary": canary}
        self.gateway = stage.running(upstreams, {"weights": {"canary": 1}}, workers=2)
        self.wires: list[Wire] = []

    def _hang(self, connection: Conversation) -> None:
        while True:
            connection.receive()
            self.answers.wait()
            connection.answer(b"canary", X_Served_By="canary")

    def hold(self, clients: contextlib.ExitStack, count: int) -> None:
        """So many more requests hang at the canary. Their connections are spread over the workers by the kernel."""
        for _ in range(count):
            arrivals = len(self.origin.arrivals)
            wire = clients.enter_context(self.gateway.connect())
            wire.send(request("/"))
            self.origin.wait(arrivals + 1)
            self.wires.append(wire)


@pytest.fixture
def hanging(stage: Stage) -> Hanging:
    return Hanging(stage)


def breaker(gateway: Gateway) -> dict[str, Any]:
    found: list[Any] = gateway.call("GET", "/v1/upstreams")["upstreams"]
    [limits] = [each["circuit_breaker"] for each in found if each["upstream"] == "canary"]
    assert isinstance(limits, dict)
    return limits


def metrics(gateway: Gateway) -> str:
    with gateway.admin() as client:
        return client.exchange("GET", "/metrics")[1].decode()


def served_by(gateway: Gateway, requests: int) -> set[str]:
    answers = [gateway.get() for _ in range(requests)]
    assert {status for status, _, _ in answers} == {200}
    return {fields["X-Served-By"] for _, fields, _ in answers}


def test_requests_beyond_go_to_stable_whichever_worker_gets_them(hanging: Hanging) -> None:
    gateway = hanging.gateway
    with contextlib.ExitStack() as clients:
        hanging.hold(clients, MOST)
        assert served_by(gateway, 30) == {"blue"}
        assert len(hanging.origin.arrivals) == MOST
        gateway.until(lambda: breaker(gateway)["requests"] == {"now": MOST, "limit": MOST}, "both workers have told")
        gateway.until(lambda: 'headgate_circuit_overflow_total{upstream="canary"} 30.0' in metrics(gateway), "counted")
        hanging.answers.set()
        assert {wire.response().head.get("X-Served-By") for wire in hanging.wires} == {"canary"}
        assert served_by(gateway, 10) == {"canary"}
    gateway.until(lambda: breaker(gateway)["requests"]["now"] == 0, "all places are free")


def test_what_a_killed_worker_held_is_free_once_it_is_replaced(hanging: Hanging) -> None:
    gateway = hanging.gateway
    with contextlib.ExitStack() as clients:
        hanging.hold(clients, MOST)
        killed = gateway.worker(0)
        os.kill(killed, signal.SIGKILL)
        gateway.wait_gone(killed)
        gateway.until(lambda: gateway.by_title().get("headgate: worker 0", killed) != killed, "another worker 0")
        left = [wire for wire in hanging.wires if wire.silent]
        gateway.until(lambda: breaker(gateway)["requests"]["now"] == len(left), "the new worker holds none")
        hanging.hold(clients, MOST - len(left))
        assert served_by(gateway, 20) == {"blue"}


def test_stable_that_has_no_room_is_answered_for_at_once(stage: Stage) -> None:
    answers = stage.event()

    def hang(connection: Conversation) -> None:
        connection.receive()
        answers.wait()
        connection.answer(b"late")

    origin = stage.origin(hang)
    blue = {"endpoints": [origin.url], "circuit_breaker": {"requests": 1}}
    gateway = stage.running({"blue": blue}, workers=2)
    with gateway.connect() as first:
        first.send(request("/"))
        origin.wait(1)
        for _ in range(5):
            status, fields, _ = gateway.get()
            assert (status, fields["X-Headgate-Error"], fields["Retry-After"]) == (503, "overloaded", "1")
        answers.set()
        assert first.response().body == b"late"
