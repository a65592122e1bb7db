"""The cutback promise: once it is answered, not one more request goes to the upstream that lost its traffic."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.load import Load, Meter, late
from tests.support.origin import Arrival, Conversation, Scenes
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, Response, Wire, request

TESTER = {"X-Canary": "true"}
RULE = {"when": {"header": {"x-canary": "true"}}, "send": "canary"}
# From the answer until what was sent before it has certainly been seen by the upstream.
ON_ITS_WAY = 0.020


def meters(stage: Stage) -> tuple[Meter, Meter]:
    pair = Meter("blue"), Meter("canary")
    for meter in pair:
        stage.closing.callback(meter.close)
    return pair


def both_ways(gateway: Gateway) -> list[Mapping[str, str]]:
    """Clients that are sent to canary: half by their cookie, half by a rule."""
    sticky: list[Mapping[str, str]] = []
    while len(sticky) < 6:
        with gateway.connect() as wire:
            wire.send(request())
            answer = wire.response()
        if answer.get("x-served-by") == "canary":
            sticky.append({"Cookie": (answer.get("set-cookie") or "").split(";")[0]})
    return [*sticky, *[TESTER] * 6]


ROUTE: dict[str, Any] = {"weights": {"blue": 50, "canary": 50}, "sticky": {"cookie": "hg"}, "rules": [RULE]}


@pytest.mark.parametrize("change", ["cutback", "weight of 0"])
def test_after_the_answer_no_request_of_a_busy_gateway_reaches_canary(stage: Stage, change: str) -> None:
    blue, canary = meters(stage)
    gateway = stage.running({"blue": blue.url, "canary": canary.url}, ROUTE, workers=2)
    with Load(gateway, both_ways(gateway)) as load:
        for _ in range(5):
            canary.wait(len(canary.arrived) + 200)
            answer = gateway.cutback() if change == "cutback" else gateway.weights(blue=100, canary=0)
            answered, number = time.monotonic(), load.next_number()
            assert answer["receipt"]["workers"] == {"acked": 2, "total": 2, "replaced": 0}
            load.wait(200)
            assert [one for one in canary.arrived if one.number >= number] == []
            assert late(canary, answered, ON_ITS_WAY) == []
            if change == "cutback":
                gateway.restore()
            else:
                gateway.weights(blue=50, canary=50)
    assert set(load.statuses) == {200}
    assert load.broken == 0


def test_frozen_worker_is_replaced_before_the_answer(stage: Stage) -> None:
    blue, canary = meters(stage)
    gateway = stage.running({"blue": blue.url, "canary": canary.url}, ROUTE, workers=2)
    with Load(gateway, both_ways(gateway)) as load:
        canary.wait(200)
        frozen = gateway.worker(0)
        os.kill(frozen, signal.SIGSTOP)
        answer = gateway.cutback()
        answered, number = time.monotonic(), load.next_number()
        assert answer["receipt"]["workers"] == {"acked": 1, "total": 2, "replaced": 1}
        assert frozen not in gateway.workers()
        load.wait(400)
        gateway.until(lambda: len(gateway.workers()) == 2, "the frozen worker's replacement")
        load.wait(400)
    assert [one for one in canary.arrived if one.number >= number] == []
    assert late(canary, answered, ON_ITS_WAY) == []
    assert set(load.statuses) == {200}


def test_request_that_waits_for_a_dial_is_decided_again(stage: Stage) -> None:
    blue, deaf = stage.origin("blue"), stage.deaf()
    gateway = stage.running({"blue": blue.url, "canary": deaf.url}, {"rules": [RULE]}, timeouts={"connect": "30s"})
    with gateway.connect() as client:
        client.send(request(fields=TESTER))
        gateway.until(lambda: under_way(gateway, "canary") == 1, "the request stands in line")
        answer = gateway.cutback()
        assert answer["receipt"]["in_flight"] == {}
        assert client.response().get("x-served-by") == "blue"


def under_way(gateway: Gateway, upstream: str) -> int:
    upstreams = gateway.call("GET", "/v1/upstreams")["upstreams"]
    return int(next(each["in_flight"] for each in upstreams if each["upstream"] == upstream))


class Held:
    """A canary that keeps each request until it is told to go on, and a gateway that has sent it one."""

    def __init__(self, stage: Stage, endpoints: int = 1, **top: Any) -> None:
        self.arrived = threading.Semaphore(0)
        self.go_on = stage.event()
        self.reset = False
        self.blue = stage.origin("blue")
        self.canaries = [stage.origin(self._script) for _ in range(endpoints)]
        route = {"rules": [RULE], "retry": {"attempts": 2, "on": ["reset"], "budget": "100%"}}
        upstreams = {"blue": self.blue.url, "canary": {"endpoints": [canary.url for canary in self.canaries]}}
        self.gateway = stage.running(upstreams, route, **top)

    @property
    def arrivals(self) -> int:
        return sum(len(canary.arrivals) for canary in self.canaries)

    def _script(self, connection: Conversation) -> None:
        while True:
            connection.receive()
            self.arrived.release()
            assert self.go_on.wait(PATIENCE)
            if self.reset:
                connection.reset()
                return
            connection.answer(b"late", X_Served_By="canary")

    def send(self, wire: Wire, method: str = "GET") -> None:
        """Returns once canary has it."""
        wire.send(request(method=method, fields=TESTER, body=None if method == "GET" else b"order"))
        assert self.arrived.acquire(timeout=PATIENCE)


def test_request_that_waits_for_a_free_connection_is_decided_again(stage: Stage) -> None:
    held = Held(stage, limits={"per_endpoint": 1}, timeouts={"connect": "30s"})
    with held.gateway.connect() as first, held.gateway.connect() as second:
        held.send(first)
        second.send(request(fields=TESTER))
        held.gateway.until(lambda: under_way(held.gateway, "canary") == 2, "the second stands in line")
        answer = held.gateway.cutback()
        assert answer["receipt"]["in_flight"] == {"canary": 1}
        assert second.response().get("x-served-by") == "blue"
        held.go_on.set()
        assert first.response().get("x-served-by") == "canary"
    assert held.arrivals == 1


def cut_back_with_two_under_way(held: Held, in_flight: str) -> tuple[Any, list[Response]]:
    """A GET and a POST. The receipt, and their answers, in this order; canary goes on once the cutback is answered."""
    with held.gateway.connect() as reading, held.gateway.connect() as ordering:
        held.send(reading)
        held.send(ordering, "POST")
        answer = held.gateway.cutback(in_flight=in_flight)
        held.go_on.set()
        return answer["receipt"], [reading.response(), ordering.response()]


def test_requests_under_way_finish_where_they_are(stage: Stage) -> None:
    receipt, answers = cut_back_with_two_under_way(Held(stage), "finish")
    assert receipt["in_flight"] == {"canary": 2}
    assert [answer.get("x-served-by") for answer in answers] == ["canary", "canary"]


def test_requests_under_way_are_sent_to_stable_where_that_is_safe(stage: Stage) -> None:
    receipt, answers = cut_back_with_two_under_way(Held(stage), "retry")
    assert receipt["in_flight"] == {"canary": 1}
    assert [answer.get("x-served-by") for answer in answers] == ["blue", "canary"]


def test_requests_under_way_are_aborted(stage: Stage) -> None:
    receipt, answers = cut_back_with_two_under_way(Held(stage), "abort")
    assert receipt["in_flight"] == {}
    assert [(answer.status, answer.get("x-headgate-error")) for answer in answers] == [(503, "cut_back")] * 2


def test_answer_that_has_begun_is_cut_by_an_abort_and_left_alone_by_a_retry(stage: Stage) -> None:
    begun, go_on = threading.Semaphore(0), stage.event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        begun.release()
        assert go_on.wait(PATIENCE)
        connection.send(b"rest")

    scenes = Scenes()
    scenes.also("/", scene)
    blue, canary = stage.origin("blue"), stage.origin(scenes)
    gateway = stage.running({"blue": blue.url, "canary": canary.url}, {"rules": [RULE]})
    with gateway.connect() as kept, gateway.connect() as cut:
        kept.send(request(fields=TESTER))
        assert begun.acquire(timeout=PATIENCE)
        gateway.cutback(in_flight="retry")
        gateway.restore()
        cut.send(request(fields=TESTER))
        assert begun.acquire(timeout=PATIENCE)
        for client in (kept, cut):
            client.head()
            assert client.exactly(4) == b"half"
        gateway.cutback(in_flight="abort")
        for client in (kept, cut):
            client.wait_closed()
        go_on.set()
    assert blue.arrivals == []


def test_retry_after_a_cutback_goes_to_stable(stage: Stage) -> None:
    """Not to another endpoint of the upstream that lost its traffic, however the first attempt ends."""
    held = Held(stage, endpoints=2)
    held.reset = True
    with held.gateway.connect() as client:
        held.send(client)
        held.gateway.cutback()
        held.go_on.set()
        assert client.response().get("x-served-by") == "blue"
    assert held.arrivals == 1


def test_tunnels_are_counted_and_cut_only_by_an_abort(stage: Stage) -> None:
    def script(connection: Conversation) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while True:
            connection.send(connection.some())

    gateway = stage.running({"blue": stage.origin().url, "canary": stage.origin(script).url}, {"rules": [RULE]})
    with gateway.connect() as client:
        client.send(request(fields={**TESTER, "Connection": "Upgrade", "Upgrade": "websocket"}))
        assert client.response().status == 101
        assert gateway.cutback()["receipt"]["in_flight"] == {"canary": 1}
        client.send(b"still here")
        assert client.exactly(10) == b"still here"
        assert gateway.cutback(in_flight="abort")["receipt"]["in_flight"] == {}
        client.wait_closed()


def test_pipelined_requests_behind_one_under_way_are_decided_when_their_turn_comes(stage: Stage) -> None:
    held = Held(stage)
    with held.gateway.connect() as client:
        client.send(request(fields=TESTER) * 3)
        assert held.arrived.acquire(timeout=PATIENCE)
        held.gateway.cutback()
        held.go_on.set()
        assert [client.response().get("x-served-by") for _ in range(3)] == ["canary", "blue", "blue"]
    assert held.arrivals == 1
