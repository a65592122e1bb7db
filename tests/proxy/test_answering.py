"""The response on its way back: re-framed for the client, interim responses, and what an incomplete one looks like."""

from __future__ import annotations

import pytest

from tests.proxy.fakes import GET, OK, Scene, error_of, request, status

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_END = b"HTTP/1.1 200 OK\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n"
GET_10 = request(version=b"1.0")


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    ("response", "to_11", "to_10"),
    [
        (OK, b"ok", b"ok"),
        (
            CHUNKED + b"2;x=y\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n",
            b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
            b"ok",
        ),
        (CHUNKED + b"0\r\n\r\n", b"0\r\n\r\n", b""),
        (TO_END + b"ok", b"2\r\nok\r\n0\r\n\r\n", b"ok"),
    ],
)
def test_body_is_framed_as_the_version_of_the_client_needs(response: bytes, to_11: bytes, to_10: bytes) -> None:
    head, body = split(Scene().answered(response))
    assert body == to_11
    assert (b"chunked" in head) == (response is not OK)
    head, body = split(Scene().answered(response, GET_10))
    assert body == to_10
    assert b"chunked" not in head


def test_unframed_body_to_http10_ends_with_the_connection_even_if_the_client_would_keep_it() -> None:
    scene = Scene()
    client, origin = scene.ask(request(b"Connection: keep-alive", version=b"1.0"))
    origin.send(CHUNKED + b"2\r\nok\r\n")
    assert b"Connection: close" in client.received()
    assert not client.closed
    origin.send(b"0\r\n\r\n")
    assert client.closed
    assert not client.transport.aborted
    assert not origin.closed


def test_body_goes_on_as_it_comes() -> None:
    client, origin = Scene().ask()
    origin.send(CHUNKED)
    assert b"chunked" in client.received()
    origin.send(b"5\r\nev")
    assert client.received() == b"2\r\nev\r\n"
    origin.send(b"ent\r\n")
    assert client.received() == b"3\r\nent\r\n"
    origin.send(b"0\r\n\r\n")
    assert client.received() == b"0\r\n\r\n"
    assert not client.closed


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_body_where_none_may_be_is_dropped_with_its_connection(method: bytes) -> None:
    scene = Scene()
    client, origin = scene.ask(request(method=method))
    line = b"200 OK" if method == b"HEAD" else b"304 Not Modified"
    origin.send(b"HTTP/1.1 " + line + b"\r\nContent-Length: 2\r\n\r\nok")
    head, body = split(client.received())
    assert (head.count(b"\r\nContent-Length: 2"), body) == (1, b"")
    assert origin.transport.aborted
    assert not client.closed


SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"


@pytest.mark.parametrize("parts", [(OK + SECOND,), (OK, SECOND), (OK + b"x",), (OK, b"x")])
def test_surplus_bytes_reach_nobody(parts: tuple[bytes, ...]) -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(*parts)
    assert split(client.received())[1] == b"ok"
    assert origin.closed
    client.send(GET)
    assert scene.origin is not origin
    scene.origin.send(OK)
    assert split(client.received())[1] == b"ok"


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",),
        (CHUNKED + b"5\r\nok",),
        (CHUNKED + b"2\r\nok\r\n",),
        (CHUNKED + b"2\r\nok\r\n", b"zz\r\n"),
        (CHUNKED + b"2\r\nok\r\n0\r\n" + b"X-A: b\r\n",),
    ],
)
@pytest.mark.parametrize("raw", [GET, GET_10])
def test_response_cut_short_looks_cut_short(parts: tuple[bytes, ...], raw: bytes) -> None:
    scene = Scene()
    client, origin = scene.ask(raw)
    origin.send(*parts).finish()
    answer = client.received()
    assert status(answer) == 200
    assert not answer.endswith(b"0\r\n\r\n")
    assert client.transport.aborted
    assert scene.at_rest
    assert scene.codes() == {("shop", "blue"): {200: 1}}


def test_response_that_only_its_end_frames_is_cut_short_by_a_reset() -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(TO_END + b"ok").reset()
    assert client.transport.aborted
    assert not client.received().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "response",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 S\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_response_that_is_none_becomes_a_502(response: bytes) -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(response)
    answer = client.received()
    assert (status(answer), error_of(answer)) == (502, "bad_response")
    assert origin.transport.aborted
    assert not client.closed
    assert scene.at_rest


def test_interim_response_is_relayed_at_once() -> None:
    client, origin = Scene().ask()
    origin.send(EARLY)
    assert client.received() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    origin.send(EARLY + OK)
    assert client.received().count(b"HTTP/1.1 ") == 2


def test_interim_response_is_kept_from_http10() -> None:
    client, origin = Scene().ask(GET_10)
    origin.send(EARLY)
    assert client.received() == b""
    origin.send(EARLY + OK)
    assert status(client.received()) == 200


@pytest.mark.parametrize("apart", [False, True])
def test_flood_of_interim_responses_becomes_a_502(apart: bool) -> None:
    client, origin = Scene().ask()
    origin.send(*([EARLY] * 17 if apart else [EARLY * 17]))
    answer = client.received()
    assert answer.count(b"103 Early Hints") == (16 if apart else 0)
    assert b"\r\n\r\nHTTP/1.1 502 " in b"\r\n\r\n" + answer
    assert origin.transport.aborted


def test_client_that_does_not_read_holds_the_upstream_back() -> None:
    scene = Scene()
    client, origin = scene.ask()
    client.transport.stuck = True
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
    for _ in range(20):
        origin.send(b"b" * 50_000)
    assert origin.transport.paused
    assert client.transport.most_buffered < 150_000
    client.take()
    assert client.transport.most_buffered < 150_000
    assert origin.transport.paused
    client.transport.stuck = False
    client.take()
    assert not origin.transport.paused
    assert len(split(client.received())[1]) == 1_000_000


def test_connection_held_back_at_the_end_of_a_response_reads_again_for_the_next() -> None:
    scene = Scene()
    client, origin = scene.ask()
    client.transport.stuck = True
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"b" * 100_000)
    assert scene.at_rest
    assert not origin.transport.paused
    other, again = scene.ask()
    assert again is origin
    again.send(OK)
    assert status(other.received()) == 200


def test_answer_during_the_upload_ends_both_connections() -> None:
    """RFC 9112 section 9.6: the client is read on for a moment, so that a reset does not destroy the answer."""
    scene = Scene()
    client, origin = scene.ask(request(b"Content-Length: 9000000", method=b"POST", body=b"a"))
    origin.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
    answer = client.received()
    assert status(answer) == 413
    assert b"Connection: close" in answer
    assert origin.transport.aborted
    assert client.transport.half_closed
    client.send(b"b" * 3_000_000)
    assert not client.closed
    client.finish()
    assert client.closed
    assert scene.at_rest


def test_answer_begun_during_the_upload_may_end_after_it() -> None:
    scene = Scene()
    client, origin = scene.ask(request(b"Content-Length: 6", method=b"POST", body=b"abc"))
    origin.send(CHUNKED + b"3\r\nabc\r\n")
    assert b"Connection: close" in client.received()
    client.send(b"def")
    assert origin.received().endswith(b"def")
    origin.send(b"3\r\ndef\r\n0\r\n\r\n")
    assert client.received() == b"3\r\ndef\r\n0\r\n\r\n"
    assert client.closed
    assert not client.transport.aborted
