"""Requests that are sent again: which, where to, how often, and which never."""

from __future__ import annotations

import select
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.origin import Arrival, Conversation, Origin, Scenes
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, Response, Wire, request

ON_EVERYTHING: dict[str, Any] = {"attempts": 1, "on": ["connect", "reset", 503]}


def dropping(connection: Conversation) -> None:
    """Takes the request and hangs up."""
    connection.receive()


def busy(connection: Conversation) -> None:
    while True:
        connection.receive()
        connection.answer(b"busy", "503 Service Unavailable")


@pytest.fixture(scope="module")
def origins(shared: Stage) -> dict[str, Origin]:
    return {
        "blue": shared.origin("blue"),
        "good": shared.origin("good"),
        "drops": shared.origin(dropping),
        "busy": shared.origin(busy),
    }


@pytest.fixture(scope="module")
def gateway(shared: Stage, origins: dict[str, Origin]) -> Gateway:
    """Routes by host: `stable` may fall back on stable, `other` on another endpoint alone, `no` on nothing."""
    good, drops, dead = origins["good"].url, origins["drops"].url, shared.refusing().url
    upstreams: dict[str, Any] = {
        "blue": [origins["blue"].url],
        "drops": [drops],
        "dead": [dead],
        "busy": [origins["busy"].url],
        "half-drops": [good, drops],
        "half-dead": [good, dead],
        "half-busy": [good, origins["busy"].url],
    }
    rules = [{"when": {"path": f"/{name}"}, "send": name} for name in upstreams]
    route: dict[str, Any] = {"stable": "blue", "weights": {"blue": 1}, "rules": rules}
    routes = {
        "stable": {**route, "match": {"hosts": ["stable"]}, "retry": {**ON_EVERYTHING, "budget": "100%"}},
        "other": {**route, "match": {"hosts": ["other"]}, "retry": {**ON_EVERYTHING, "other_upstream": False}},
        "no": {**route, "match": {"hosts": ["no"]}},
    }
    return shared.running(upstreams, routes=routes)


def ask(gateway: Gateway, host: str, upstream: str, method: str = "GET", body: bytes | None = None) -> Response:
    with gateway.connect() as client:
        client.send(request(f"/{upstream}", method=method, fields={"Host": host}, body=body))
        return client.response()


@pytest.mark.parametrize("upstream", ["half-drops", "half-dead", "half-busy"])
@pytest.mark.parametrize("host", ["stable", "other"])
def test_another_endpoint_is_tried_first(gateway: Gateway, host: str, upstream: str) -> None:
    answers = Counter(ask(gateway, host, upstream).get("x-served-by") for _ in range(12))
    assert answers == {"good": 12}


@pytest.mark.parametrize("upstream", ["drops", "dead", "busy"])
def test_stable_is_tried_when_the_upstreams_own_endpoints_failed(gateway: Gateway, upstream: str) -> None:
    assert ask(gateway, "stable", upstream).get("x-served-by") == "blue"
    assert ask(gateway, "stable", upstream, "PUT", b"body").get("x-served-by") == "blue"


@pytest.mark.parametrize(("upstream", "status", "kind"), [("drops", 502, "reset"), ("dead", 502, "connect")])
@pytest.mark.parametrize("host", ["other", "no"])
def test_failure_is_told_where_nothing_else_may_be_tried(
    gateway: Gateway, host: str, upstream: str, status: int, kind: str
) -> None:
    answer = ask(gateway, host, upstream)
    assert (answer.status, answer.get("x-headgate-error")) == (status, kind)


def test_status_of_the_last_attempt_reaches_the_client(gateway: Gateway) -> None:
    answer = ask(gateway, "other", "busy")
    assert (answer.status, answer.body, answer.get("x-headgate-error")) == (503, b"busy", None)


def test_post_is_sent_once_and_only_once(gateway: Gateway, origins: dict[str, Origin]) -> None:
    before = len(origins["drops"].arrivals), len(origins["blue"].arrivals)
    answer = ask(gateway, "stable", "drops", "POST", b"order")
    assert (answer.status, answer.get("x-headgate-error")) == (502, "reset")
    assert (len(origins["drops"].arrivals), len(origins["blue"].arrivals)) == (before[0] + 1, before[1])


def test_body_is_sent_again_whole(gateway: Gateway, origins: dict[str, Origin]) -> None:
    body = bytes(range(256)) * 200
    before = len(origins["blue"].arrivals)
    ask(gateway, "stable", "drops", "PUT", body)
    arrival = origins["blue"].wait(before + 1)[before]
    assert (arrival.method, arrival.body) == ("PUT", body)


def test_request_is_not_sent_again_once_its_answer_has_begun(stage: Stage) -> None:
    def script(connection: Conversation) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    canary = stage.origin(script)
    blue = stage.origin("blue")
    gateway = stage.running(
        {"blue": blue.url, "canary": canary.url}, {"weights": {"canary": 1}, "retry": ON_EVERYTHING}
    )
    with gateway.connect() as client:
        client.send(request())
        client.head()
        client.wait_closed()
    assert (len(canary.arrivals), len(blue.arrivals)) == (1, 0)


def test_retries_stop_at_the_budget(stage: Stage) -> None:
    """So few are always allowed that a quiet gateway can make some; beyond that, a share of the requests under way."""
    scenes = Scenes()
    fail, hung = stage.event(), stage.event()

    def all_at_once(connection: Conversation, arrival: Arrival) -> None:
        assert fail.wait(PATIENCE)
        connection.reset()

    def hanging(connection: Conversation, arrival: Arrival) -> None:
        hung.wait(PATIENCE)
        connection.answer(b"at last")

    target = scenes.play(all_at_once)
    canary = stage.origin(scenes)
    stable = Scenes()
    stable.also(target, hanging)
    blue = stage.origin(stable)
    retry = {**ON_EVERYTHING, "budget": "10%"}
    gateway = stage.running({"blue": blue.url, "canary": canary.url}, {"weights": {"canary": 1}, "retry": retry})
    with ExitStack() as closing:
        clients = [closing.enter_context(gateway.connect()) for _ in range(30)]
        for client in clients:
            client.send(request(target))
        canary.wait(30)
        fail.set()
        refused = answered(clients, 27)
        assert {client.response().status for client in refused} == {502}
        hung.set()
        assert [client.response().status for client in clients if client not in refused] == [200] * 3
    assert len(blue.arrivals) == 3


def answered(clients: list[Wire], number: int) -> list[Wire]:
    """The first so many to which something has come."""
    by_socket = {client.sock: client for client in clients}
    found: list[Wire] = []
    while len(found) < number:
        readable, _, _ = select.select(list(by_socket), [], [], PATIENCE)
        assert readable, f"{len(found)} answers instead of {number}"
        found += [by_socket.pop(sock) for sock in readable]
    return found
