"""What the gateway answers by itself: a status, its kind, a body for machines, and a connection that is still in step."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

import pytest

from tests.support.gateway import Gateway
from tests.support.origin import Arrival, Conversation, Scene, Scenes
from tests.support.stage import Stage
from tests.support.wire import ClosedError, Response, request

HOST = "Host: shop.example\r\n"


@dataclass(slots=True)
class Theatre:
    gateway: Gateway
    scenes: Scenes

    def answer(self, data: bytes, *, usable: bool) -> Response:
        """To these bytes; and whether the connection takes another request afterwards is as it should be."""
        with self.gateway.connect() as client:
            client.send(data)
            answer = client.response()
            if usable:
                client.send(request("/ok"))
                assert client.response().body == b"ok"
            else:
                assert answer.get("connection") == "close"
                client.wait_closed()
        return answer


@pytest.fixture(scope="module")
def theatre(shared: Stage) -> Theatre:
    scenes = Scenes()
    scenes.also("/ok", lambda connection, arrival: connection.answer(b"ok"))
    scenes.also("/read", lambda connection, arrival: connection.answer(connection.receive_body(arrival).body))
    rules = [{"when": {"path": f"/{name}"}, "send": name} for name in ("refusing", "deaf")]
    gateway = shared.running(
        {"blue": shared.origin(scenes).url, "refusing": shared.refusing().url, "deaf": shared.deaf().url},
        {"match": {"hosts": ["shop.example"]}, "rules": rules},
        timeouts={
            "connect": "1s",
            "response": "1s",
            "request_head": "300ms",
            "request_body": "300ms",
            "idle": "2s",
        },
        limits={"body": 1000, "headers": 20, "request_head": "4KiB"},
    )
    return Theatre(gateway, scenes)


def assert_is(answer: Response, status: int, kind: str) -> None:
    assert (answer.status, answer.get("x-headgate-error")) == (status, kind)
    assert answer.get("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["kind"]) == (status, kind)
    assert problem["title"]
    assert problem["detail"]


REFUSED: dict[str, tuple[bytes, int | None, str | None, bool]] = {
    "no such host": (request("/", fields={"Host": "other.example"}), 404, "no_route", True),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request", False),
    "two hosts": (f"GET / HTTP/1.1\r\n{HOST}{HOST}\r\n".encode(), 400, "bad_request", False),
    "space in a name": (f"GET / HTTP/1.1\r\n{HOST}A b : c\r\n\r\n".encode(), 400, "bad_request", False),
    "both framings": (
        request("/read", method="POST", fields={"Content-Length": "3", "Transfer-Encoding": "chunked"}) + b"0\r\n\r\n",
        400,
        "bad_request",
        False,
    ),
    "chunk without a size": (
        request("/read", method="POST", fields={"Transfer-Encoding": "chunked"}) + b"zz\r\n",
        400,
        "bad_request",
        False,
    ),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", 400, "bad_request", False),
    "CONNECT": (f"CONNECT shop.example:443 HTTP/1.1\r\n{HOST}\r\n".encode(), 405, "method_not_allowed", False),
    "TRACE": (request(method="TRACE"), 405, "method_not_allowed", False),
    "announced body": (request("/read", method="POST", body=b"x" * 1001), 413, "body_too_large", False),
    "chunked body": (
        request("/read", method="POST", fields={"Transfer-Encoding": "chunked"}) + b"7d0\r\n" + b"x" * 2000,
        413,
        "body_too_large",
        False,
    ),
    "long target": (request("/" + "x" * 9000), 414, "target_too_long", False),
    "long field": (request(fields={"X-Long": "x" * 5000}), 431, "head_too_large", False),
    "many fields": (request(fields={f"X-{number}": "1" for number in range(20)}), 431, "head_too_large", False),
    "head that stops": (f"GET / HTTP/1.1\r\n{HOST}X-Ha".encode(), 408, "request_timeout", False),
    "body that stops": (
        request("/read", method="POST", fields={"Content-Length": "10"}) + b"five.",
        408,
        "request_timeout",
        False,
    ),
    "unknown coding": (
        request("/read", method="POST", fields={"Transfer-Encoding": "gzip, chunked"}),
        501,
        None,
        False,
    ),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None, None, False),
    "nobody listens": (request("/refusing"), 502, "connect", True),
    "nobody accepts": (request("/deaf"), 504, "connect_timeout", True),
}


@pytest.mark.parametrize("case", REFUSED)
def test_request_that_cannot_be_served_gets_its_kind_of_answer(theatre: Theatre, case: str) -> None:
    data, status, kind, usable = REFUSED[case]
    answer = theatre.answer(data, usable=usable)
    if kind is not None and status is not None:
        assert_is(answer, status, kind)
    else:  # which of the two it is, is nobody's promise
        assert answer.status in (400, 501, 505)


def hang(connection: Conversation, arrival: Arrival) -> None:
    connection.wait_closed()


def close(connection: Conversation, arrival: Arrival) -> None:
    connection.close()


def reset(connection: Conversation, arrival: Arrival) -> None:
    connection.reset()


def half_a_head(connection: Conversation, arrival: Arrival) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    connection.close()


def saying(data: bytes) -> Scene:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(data)
        connection.wait_closed()

    return scene


FAILED: dict[str, tuple[Scene, int, str]] = {
    "hangs": (hang, 504, "response_timeout"),
    "closes": (close, 502, "reset"),
    "resets": (reset, 502, "reset"),
    "closes in the head": (half_a_head, 502, "reset"),
    "speaks something else": (saying(b"220 mail.example ESMTP\r\n"), 502, "bad_response"),
    "has two lengths": (
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        502,
        "bad_response",
    ),
    "has both framings": (
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        502,
        "bad_response",
    ),
    "has an endless head": (saying(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000), 502, "bad_response"),
    "never stops with 1xx": (saying(b"HTTP/1.1 102 Processing\r\n\r\n" * 100), 502, "bad_response"),
}


@pytest.mark.parametrize("case", FAILED)
def test_upstream_that_fails_is_answered_for(theatre: Theatre, case: str) -> None:
    scene, status, kind = FAILED[case]
    target = theatre.scenes.play(scene)
    with theatre.gateway.connect() as client:
        client.send(request(target))
        assert_is(client.response(), status, kind)
        client.send(request("/ok"))
        assert client.response().body == b"ok"


def test_error_answer_to_head_has_no_body(theatre: Theatre) -> None:
    with theatre.gateway.connect() as client:
        client.send(request("/refusing", method="HEAD") + request("/ok"))
        assert client.response(head_request=True).get("x-headgate-error") == "connect"
        assert client.response().body == b"ok"


def test_answer_that_stops_moving_is_cut_and_seen_to_be_incomplete(theatre: Theatre) -> None:
    target = theatre.scenes.play(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
    with theatre.gateway.connect() as client:
        client.send(request(target))
        client.head()
        with pytest.raises(ClosedError, match="half"):
            client.exactly(100)


def test_connection_that_idles_is_closed_without_a_word(theatre: Theatre) -> None:
    with theatre.gateway.connect() as client:
        client.send(request("/ok"))
        assert client.response().body == b"ok"
        assert client.to_end() == b""


def test_answer_in_pieces_may_take_longer_than_the_response_timeout(theatre: Theatre) -> None:
    """`response` bounds the wait for the head, `idle` each wait after it, nothing the whole."""

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            pause.wait(0.1)  # more than the timeout in all
            connection.send(b".")

    pause = threading.Event()
    with theatre.gateway.connect() as client:
        client.send(request(theatre.scenes.play(scene)))
        assert client.response().body == b"." * 12


def test_requests_beyond_the_limit_of_an_endpoint_wait_and_then_get_503(stage: Stage) -> None:
    scenes = Scenes()
    entered, leave = threading.Event(), stage.event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        entered.set()
        leave.wait(30.0)
        connection.answer(b"first")

    target = scenes.play(scene)
    scenes.also("/ok", lambda connection, arrival: connection.answer(b"ok"))
    origin = stage.origin(scenes)
    gateway = stage.running({"blue": origin.url}, limits={"per_endpoint": 1}, timeouts={"connect": "500ms"})
    with gateway.connect() as first, gateway.connect() as second, gateway.connect() as third:
        first.send(request(target))
        assert entered.wait(30.0)
        second.send(request("/ok"))
        assert_is(second.response(), 503, "overloaded")
        third.send(request("/ok"))
        leave.set()
        assert first.response().body == b"first"
        assert third.response().body == b"ok"
    assert origin.connections == 1


def test_connections_beyond_the_limit_are_told_so(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin().url}, limits={"connections": 2})
    with gateway.connect() as first, gateway.connect() as second, gateway.connect() as third:
        for client in (first, second):
            client.send(request())
            assert client.response().status == 200
        assert_is(third.response(), 503, "connections")
        third.wait_closed()
        first.send(request())
        assert first.response().status == 200
