"""Bytes pass as they come, in both directions, whatever frames them, and what is incomplete looks incomplete."""

from __future__ import annotations

import queue
import socket
import threading
from dataclasses import dataclass

import pytest

from tests.support.gateway import Gateway
from tests.support.origin import Arrival, Conversation, Origin, Scenes
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, ClosedError, request

FRAMINGS = {
    "chunked": b"Transfer-Encoding: chunked\r\n",
    "length": b"Content-Length: 36\r\n",
    "until close": b"Connection: close\r\n",
}


@dataclass(slots=True)
class Theatre:
    gateway: Gateway
    origin: Origin
    scenes: Scenes


@pytest.fixture(scope="module")
def theatre(shared: Stage) -> Theatre:
    scenes = Scenes()
    origin = shared.origin(scenes)
    return Theatre(shared.running({"blue": origin.url}), origin, scenes)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_events_reach_the_client_one_by_one_as_they_are_sent(theatre: Theatre, framing: str, version: str) -> None:
    go_on = threading.Semaphore(0)

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + FRAMINGS[framing] + b"\r\n")
        for number in range(4):
            assert go_on.acquire(timeout=PATIENCE)
            event = b"data: %d\n\n" % number
            connection.send(b"9\r\n%b\r\n" % event if framing == "chunked" else event)
        if framing == "chunked":
            connection.send(b"0\r\n\r\n")
        elif framing == "until close":
            connection.close()

    with theatre.gateway.connect() as client:
        client.send(request(theatre.scenes.play(scene)).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        head = client.head()
        chunked = head.get("transfer-encoding") == "chunked"
        assert chunked == (version == "1.1" and framing != "length")
        for number in range(4):
            go_on.release()  # the next event is sent only when the one before has been read here
            event = client.chunk() if chunked else client.exactly(9)
            assert event == b"data: %d\n\n" % number
        assert client.chunks() == (b"", []) if chunked else True


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_parts_of_an_upload_reach_the_upstream_as_they_are_sent(theatre: Theatre, framing: str) -> None:
    arrived: queue.Queue[bytes] = queue.Queue()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        for _ in range(4):
            arrived.put(connection.chunk() if framing == "chunked" else connection.exactly(4))
        if framing == "chunked":
            assert connection.chunks() == (b"", [])
        connection.answer(b"thanks")

    with theatre.gateway.connect() as client:
        client.send(request(theatre.scenes.play(scene), method="POST")[:-2])
        client.send(b"Transfer-Encoding: chunked\r\n\r\n" if framing == "chunked" else b"Content-Length: 16\r\n\r\n")
        for number in range(4):
            part = b"%04d" % number
            client.send(b"4\r\n%b\r\n" % part if framing == "chunked" else part)
            assert arrived.get(timeout=PATIENCE) == part
        if framing == "chunked":
            client.send(b"0\r\n\r\n")
        assert client.response().body == b"thanks"


def test_trailers_pass_in_both_directions(theatre: Theatre) -> None:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.receive_body(arrival)
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        connection.send(b"2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")

    target = theatre.scenes.play(scene)
    with theatre.gateway.connect() as client:
        client.send(request(target, method="POST", fields={"Transfer-Encoding": "chunked", "TE": "trailers"}))
        client.send(b"3\r\nabc\r\n0\r\nX-Check: 42\r\n\r\n")
        answer = client.response()
    assert (answer.body, answer.trailers, answer.get("trailer")) == (b"ok", [("X-Sum", "7")], "X-Sum")
    arrival = next(arrival for arrival in theatre.origin.arrivals if arrival.target == target)
    assert (arrival.body, arrival.trailers) == (b"abc", (("X-Check", "42"),))


def test_100_continue_comes_from_the_upstream_and_only_from_there(theatre: Theatre) -> None:
    asked, allow = threading.Event(), threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        assert arrival.get("expect") == "100-continue"
        asked.set()
        assert allow.wait(PATIENCE)
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert connection.exactly(4) == b"body"
        connection.answer(b"done")

    with theatre.gateway.connect() as client:
        fields = {"Expect": "100-continue", "Content-Length": "4"}
        client.send(request(theatre.scenes.play(scene), method="PUT", fields=fields))
        assert asked.wait(PATIENCE)
        assert client.silent
        allow.set()
        assert client.head().start == "HTTP/1.1 100 Continue"
        client.send(b"body")
        answer = client.response()
    assert (answer.body, answer.interim) == (b"done", [])


def test_refused_expectation_is_answered_without_the_body(theatre: Theatre) -> None:
    target = theatre.scenes.play(lambda connection, arrival: connection.answer(b"no", "417 Expectation Failed"))
    with theatre.gateway.connect() as client:
        fields = {"Expect": "100-continue", "Content-Length": "1000000"}
        client.send(request(target, method="PUT", fields=fields))
        answer = client.response()
        assert (answer.status, answer.body, answer.interim) == (417, b"no", [])
        client.wait_closed()  # nobody will read the body, so the connection can't be used again


def test_early_hints_come_before_the_answer(theatre: Theatre) -> None:
    hinted = threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        assert hinted.wait(PATIENCE) or arrival.get("x-old")
        connection.answer(b"page")

    target = theatre.scenes.play(scene)
    with theatre.gateway.connect() as client:
        client.send(request(target))
        hints = client.head()
        assert (hints.start, hints.get("link")) == ("HTTP/1.1 103 Early Hints", "</a.css>; rel=preload")
        hinted.set()
        assert client.response().body == b"page"
    with theatre.gateway.connect() as old:
        old.send(request(target).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = old.response()
    assert (answer.status, answer.interim) == (200, [])  # RFC 9110 section 15.2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answer_without_a_body_leaves_the_connection_usable(theatre: Theatre, status: str) -> None:
    target = theatre.scenes.play(lambda connection, arrival: connection.answer(b"", status, ETag='"a"'))
    with theatre.gateway.connect() as client:
        for _ in range(3):
            client.send(request(target))
            answer = client.response()
            assert (answer.head.start, answer.get("etag")) == (f"HTTP/1.1 {status}", '"a"')
        assert client.silent


def test_answer_to_head_keeps_its_length_and_has_no_body(theatre: Theatre) -> None:
    target = theatre.scenes.play(
        lambda connection, arrival: connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    )
    with theatre.gateway.connect() as client:
        for _ in range(2):
            client.send(request(target, method="HEAD"))
            assert client.response(head_request=True).get("content-length") == "1234"
        assert client.silent


def test_early_answer_reaches_a_client_that_is_still_uploading(theatre: Theatre) -> None:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.answer(b"too much", "403 Forbidden")
        connection.wait_closed()

    target = theatre.scenes.play(scene)
    with theatre.gateway.connect() as client:
        client.send(request(target, method="POST", fields={"Content-Length": "100000000"}) + b"x" * 100_000)
        answer = client.response()
        assert (answer.status, answer.body) == (403, b"too much")
        client.wait_closed()
    with theatre.gateway.connect() as client:  # the connection with the unfinished request has not been used again
        client.send(request(theatre.scenes.play(lambda connection, arrival: connection.answer(b"next"))))
        assert client.response().body == b"next"


@pytest.mark.parametrize("moment", ["before the answer", "during the answer", "during the upload"])
def test_client_that_leaves_ends_the_connection_to_the_upstream(theatre: Theatre, moment: str) -> None:
    reached, let_go = threading.Event(), threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        if moment == "during the answer":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
        reached.set()
        connection.wait_closed()
        let_go.set()

    with theatre.gateway.connect() as client:
        fields = {"Content-Length": "1000"} if moment == "during the upload" else {}
        client.send(request(theatre.scenes.play(scene), method="POST", fields=fields))
        assert reached.wait(PATIENCE)
        if moment == "during the answer":
            client.head()
    assert let_go.wait(5.0)


def test_pipelined_requests_are_answered_in_order_wherever_reads_cut_them(theatre: Theatre) -> None:
    target = theatre.scenes.play(lambda connection, arrival: connection.answer(arrival.target.encode()))
    number = 900  # below limits.requests_per_connection
    with theatre.gateway.connect() as client:
        data = b"".join(request(f"{target}?{each}", fields={"X-Filling": "x" * 100}) for each in range(number))
        sending = threading.Thread(target=client.send, args=(data,))
        sending.start()
        answers = [client.response().body for _ in range(number)]
        sending.join()
    assert answers == [f"{target}?{each}".encode() for each in range(number)]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_answer_cut_short_by_the_upstream_is_seen_to_be_incomplete(theatre: Theatre, framing: str) -> None:
    read = threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n" + FRAMINGS[framing] + b"\r\n")
        connection.send(b"9\r\nbeginning\r\n" if framing == "chunked" else b"beginning")
        assert read.wait(PATIENCE)
        connection.reset()

    with theatre.gateway.connect() as client:
        client.send(request(theatre.scenes.play(scene)))
        head = client.head()
        assert (client.exactly(9) if framing == "length" else client.chunk()) == b"beginning"
        read.set()
        with pytest.raises(ClosedError):
            client.exactly(1000) if head.get("content-length") else client.chunks()


def test_read_to_close_answer_that_ends_in_order_is_complete(theatre: Theatre) -> None:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        connection.close()

    with theatre.gateway.connect() as client:
        for _ in range(2):
            client.send(request(theatre.scenes.play(scene)))
            assert client.response().body == b"all of it"


def test_upstream_connection_is_used_again_and_its_end_harms_nobody(theatre: Theatre) -> None:
    target = theatre.scenes.play(lambda connection, arrival: connection.answer(b"%d" % connection.number))
    with theatre.gateway.connect() as client:
        client.send(request(target))
        first = client.response().body
        client.send(request(target))
        assert client.response().body == first
        theatre.origin.hang_up()
        client.send(request(target))
        answer = client.response()
        assert answer.status == 200
        assert answer.body != first


def test_answer_that_nobody_asked_for_is_given_to_nobody(theatre: Theatre) -> None:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown" * 2)

    target = theatre.scenes.play(scene)
    other = theatre.scenes.play(lambda connection, arrival: connection.answer(b"other"))
    for _ in range(5):
        with theatre.gateway.connect() as client:
            client.send(request(target) + request(other))
            assert [client.response().body for _ in range(2)] == [b"own", b"other"]
            assert client.silent


def test_client_that_stops_sending_has_left(theatre: Theatre) -> None:
    """Half a close is a whole one, so that a client that went away is noticed while its answer is made."""
    let_go = threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.wait_closed()
        let_go.set()

    with theatre.gateway.connect() as client:
        client.send(request(theatre.scenes.play(scene)))
        client.sock.shutdown(socket.SHUT_WR)
        assert let_go.wait(PATIENCE)
