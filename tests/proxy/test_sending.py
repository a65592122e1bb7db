"""The request on its way out: body re-framed, client held back while the upstream is slower, bodies bounded."""

from __future__ import annotations

import pytest

from tests.proxy.fakes import GET, OK, End, Scene, error_of, request, status

CHUNKED = request(b"Transfer-Encoding: chunked", method=b"POST")
MIB = b"m" * (1 << 20)


def body_of(origin: End) -> bytes:
    return origin.received().partition(b"\r\n\r\n")[2]


def lengthy(size: int, body: bytes = b"", method: bytes = b"POST", *lines: bytes) -> bytes:
    return request(b"Content-Length: %d" % size, *lines, method=method, body=body)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (GET, b""),
        (request(method=b"POST"), b""),
        (lengthy(0), b""),
        (lengthy(3, b"abc"), b"abc"),
        (CHUNKED + b"0\r\n\r\n", b"0\r\n\r\n"),
        (CHUNKED + b"0003;ext=1\r\nabc\r\n2 ; x\r\nde\r\n0;y\r\n\r\n", None),
        (CHUNKED + b"0003;ext=1\r\nabc\r\nA\r\n0123456789\r\n00\r\n\r\n", b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"),
        (
            CHUNKED + b"1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nContent-Type: x\r\n\r\n",
            b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        (CHUNKED + b"0\r\nCookie: a=b\r\nauthorization: x\r\n\r\n", b"0\r\n\r\n"),
    ],
)
def test_body_is_framed_anew_and_its_trailers_filtered(raw: bytes, body: bytes | None) -> None:
    scene = Scene()
    scene.client().send(raw)
    if body is None:
        assert not scene.dialled
    else:
        assert body_of(scene.origin) == body


def test_framing_of_the_request_is_exactly_one_field() -> None:
    for raw, framing in (
        (CHUNKED, ("Transfer-Encoding", "chunked")),
        (lengthy(3), ("Content-Length", "3")),
        (lengthy(0), ("Content-Length", "0")),
        (GET, None),
    ):
        head = Scene().forwarded(raw)
        found = [field for field in head.fields if field[0] in ("Content-Length", "Transfer-Encoding")]
        assert found == ([framing] if framing else [])


def test_body_goes_on_as_it_comes() -> None:
    client, origin = Scene().ask(lengthy(6, b"a"))
    assert body_of(origin) == b"a"
    client.send(b"bcd")
    assert origin.received() == b"bcd"
    client.send(b"ef" + GET)
    assert origin.received() == b"ef"


def test_chunks_go_on_as_they_come() -> None:
    client, origin = Scene().ask(CHUNKED)
    assert body_of(origin) == b""
    client.send(b"3\r\nab")
    assert origin.received() == b"2\r\nab\r\n"
    client.send(b"c\r\n0\r\nX-A: ", b"b\r\n\r\n")
    assert origin.received() == b"1\r\nc\r\n0\r\nX-A: b\r\n\r\n"


def test_body_that_came_while_nobody_had_a_connection_is_kept_and_no_more_read() -> None:
    scene = Scene(hold=True)
    client = scene.client().send(lengthy(8, b"ab"))
    client.send(b"cd")
    assert client.transport.paused
    client.send(b"efgh")
    scene.connect()
    assert body_of(scene.origin) == b"abcdefgh"


@pytest.mark.parametrize("apart", [False, True])
def test_upstream_that_does_not_read_holds_the_client_back(apart: bool) -> None:
    """Also where the request begins with more than the buffer takes, after a wait for the connection."""
    scene = Scene(hold=True)
    head = lengthy(1 << 30)
    client = scene.client().send(*((head, MIB[:200_000]) if apart else (head + MIB[:200_000],)))
    scene.stuck = True
    scene.connect()
    for _ in range(20):
        client.send(MIB[:100_000])
    assert client.transport.paused
    assert scene.origin.transport.most_buffered < 400_000


def test_client_held_back_goes_on_when_the_upstream_reads() -> None:
    client, origin = Scene().ask(lengthy(4 << 20))
    origin.transport.stuck = True
    for _ in range(4):
        client.send(MIB)
    assert client.transport.paused
    assert len(body_of(origin)) == 1 << 20
    for _ in range(3):
        origin.take()
        assert len(origin.received()) == 1 << 20
    assert origin.transport.most_buffered == 1 << 20
    origin.send(OK)
    assert status(client.received()) == 200


@pytest.mark.parametrize(
    "raw",
    [
        lengthy(11),
        lengthy(11, b"b" * 11),
        CHUNKED + b"b\r\nbbbbbbbbbbb\r\n0\r\n\r\n",
        CHUNKED + b"b\r\nbbbbbbbbbbb\r\n",
    ],
)
def test_body_beyond_the_limit_known_at_once_is_refused_unsent(raw: bytes) -> None:
    scene = Scene(limits={"body": 10})
    client = scene.client().send(raw)
    answer = client.received()
    assert (status(answer), error_of(answer)) == (413, "body_too_large")
    assert b"Connection: close" in answer or client.transport.half_closed is False
    assert not scene.dialled
    assert scene.at_rest


def test_chunked_body_that_grows_beyond_the_limit_is_refused_and_the_upstream_let_go() -> None:
    scene = Scene(limits={"body": 10})
    client, origin = scene.ask(CHUNKED + b"5\r\nabcde\r\n")
    client.send(b"5\r\nfghij\r\n")
    assert client.received() == b""
    client.send(b"1\r\nk\r\n")
    assert status(client.received()) == 413
    assert origin.transport.aborted
    assert not body_of(origin).endswith(b"0\r\n\r\n")
    assert client.transport.half_closed
    assert scene.at_rest


def test_body_within_the_limit_is_forwarded() -> None:
    client, origin = Scene(limits={"body": 10}).ask(CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n")
    assert body_of(origin) == b"a\r\n0123456789\r\n0\r\n\r\n"
    origin.send(OK)
    assert status(client.received()) == 200


def test_body_that_breaks_ends_incomplete_at_the_upstream() -> None:
    scene = Scene()
    client, origin = scene.ask(CHUNKED + b"3\r\nabc\r\n")
    client.send(b"zz\r\n")
    assert (status(client.received()), origin.transport.aborted) == (400, True)
    assert not origin.received().endswith(b"0\r\n\r\n")
    assert scene.at_rest


def test_body_that_breaks_while_nobody_has_a_connection_is_never_forwarded() -> None:
    scene = Scene(hold=True)
    client = scene.client().send(CHUNKED + b"3\r\nabc\r\n")
    client.send(b"zz\r\n")
    assert status(client.received()) == 400
    assert scene.at_rest
    scene.connect()
    assert scene.origin.received() == b""
    assert scene.at_rest


def test_request_with_too_many_trailers_is_not_completed() -> None:
    scene = Scene()
    client, origin = scene.ask(CHUNKED + b"1\r\na\r\n")
    client.send(b"0\r\n" + b"X-A: b\r\n" * 33 + b"\r\n")
    assert status(client.received()) == 431
    assert origin.transport.aborted


def test_connection_with_a_full_buffer_is_not_used_again() -> None:
    """Its next request could not hold its client back: the transport says once that it is full."""
    scene = Scene()
    client, origin = scene.ask(lengthy(200_000, MIB[:100]))
    origin.transport.stuck = True
    client.send(MIB[:199_900])
    origin.send(OK)
    assert status(client.received()) == 200
    assert origin.transport.aborted
    assert scene.at_rest


def test_request_sent_again_is_the_same_request() -> None:
    scene = Scene(route={"retry": {"attempts": 1, "on": [503]}})
    client, origin = scene.ask(lengthy(3, b"abc", b"PUT"))
    first = origin.received()
    origin.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    assert scene.origin is not origin
    assert scene.origin.received() == first
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert scene.at_rest


def test_expectation_goes_to_the_upstream_and_its_go_ahead_to_the_client() -> None:
    scene = Scene()
    client, origin = scene.ask(lengthy(3, b"", b"POST", b"Expect: 100-continue"))
    assert origin.head().get("Expect") == "100-continue"
    origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert origin.received() == b"abc"
    origin.send(OK)
    assert status(client.received()) == 200
    assert not client.closed
    assert not origin.closed


def test_final_answer_in_place_of_the_go_ahead_ends_both_connections() -> None:
    """Whether the body still comes is for the client to say; nothing after it could be told apart from it."""
    scene = Scene()
    client, origin = scene.ask(lengthy(3, b"", b"POST", b"Expect: 100-continue"))
    origin.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    answer = client.received()
    assert status(answer) == 417
    assert b"Connection: close" in answer
    assert client.transport.half_closed
    assert origin.transport.aborted
    assert client.send(b"abc" + GET).received() == b""
    assert len(scene.origins) == 1
