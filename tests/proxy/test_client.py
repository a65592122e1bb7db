"""One client's connection: requests in order, keep-alive, deadlines, and the way it ends."""

from __future__ import annotations

import pytest

from proxy.client import LINGER_BYTES
from proxy.request_parser import MAX_PIPELINED
from tests.proxy.fakes import GET, OK, Scene, error_of, request, status

TIMEOUTS = {"connect": "2s", "response": "30s", "idle": "60s", "request_head": "10s", "request_body": "20s"}
POST = request(b"Content-Length: 10", method=b"POST", body=b"abc")


def targets(*names: bytes) -> bytes:
    return b"".join(request(target=b"/" + name) for name in names)


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


# Requests in order


def test_pipelined_requests_are_sent_and_answered_one_after_another() -> None:
    scene = Scene()
    client, origin = scene.ask(targets(b"a", b"b", b"c"))
    for name in ("a", "b", "c"):
        assert origin.head().start == f"GET /{name} HTTP/1.1"
        assert client.received() == b""
        origin.send(answer(name.encode()))
        assert client.received().endswith(name.encode())
    assert len(scene.origins) == 1
    assert scene.at_rest


def test_pipelined_requests_refused_on_the_spot_are_answered_in_order() -> None:
    client = Scene(route={"match": {"path": "/none"}}).client().send(targets(b"a", b"b", b"c"))
    assert client.received().count(b"HTTP/1.1 404 ") == 3


def test_pipelining_beyond_the_bound_is_not_read() -> None:
    client, origin = Scene().ask(targets(*[b"a"] * MAX_PIPELINED))
    client.send(GET)
    assert not client.transport.paused
    client.send(GET)
    assert client.transport.paused
    for _ in range(MAX_PIPELINED + 2):
        origin.send(OK)
    assert client.received().count(b"HTTP/1.1 200 ") == MAX_PIPELINED + 2
    assert not client.transport.paused


def test_body_of_a_pipelined_request_waits_outside_until_its_turn() -> None:
    """A slow first request would otherwise let the second's body fill the memory."""
    scene = Scene()
    client, origin = scene.ask(GET)
    client.send(request(b"Content-Length: 3000000", method=b"POST"))
    for _ in range(30):
        client.send(b"b" * 100_000)
    assert client.transport.paused
    assert len(client.transport.waiting) >= 29
    origin.send(OK)
    assert not client.transport.paused
    assert origin.received().count(b"b" * 100_000) == 30
    origin.send(OK)
    assert client.received().count(b"HTTP/1.1 200 ") == 2


def test_next_request_waits_for_room_for_its_response() -> None:
    scene = Scene()
    client, origin = scene.ask(targets(b"a", b"b"))
    client.transport.stuck = True
    origin.received()
    origin.send(answer(b"b" * 100_000))
    assert origin.received() == b""
    client.take()
    assert origin.head().start == "GET /b HTTP/1.1"


def test_request_behind_one_that_closes_is_not_sent() -> None:
    scene = Scene()
    client, origin = scene.ask(request(b"Connection: close") + targets(b"b"))
    origin.received()
    origin.send(OK)
    assert client.closed
    assert origin.received() == b""


def test_broken_request_behind_a_good_one_is_refused_after_its_answer() -> None:
    scene = Scene()
    client, origin = scene.ask(GET + b"BROKEN\r\n\r\n")
    origin.send(OK)
    out = client.received()
    assert [status(out), out.count(b"HTTP/1.1 400 ")] == [200, 1]
    assert client.closed


def test_broken_request_is_counted_once() -> None:
    scene = Scene()
    scene.client().send(b"BROKEN\r\n\r\n")
    assert scene.count("gateway_errors", "bad_request") == 1
    assert scene.codes() == {("", ""): {400: 1}}


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (GET, True),
        (request(b"Connection: keep-alive"), True),
        (request(b"Connection: close"), False),
        (request(b"Connection: keep-alive, close"), False),
        (request(version=b"1.0"), False),
        (request(b"Connection: Keep-Alive", version=b"1.0"), True),
    ],
)
def test_connection_is_kept_as_version_and_connection_field_say(raw: bytes, kept: bool) -> None:
    client, origin = Scene().ask(raw)
    origin.send(OK)
    assert client.closed is not kept
    if kept:
        client.send(GET)
        origin.send(OK)
        assert client.received().count(b"HTTP/1.1 200 ") == 2


def test_last_request_that_a_connection_may_bring_closes_it() -> None:
    scene = Scene(limits={"requests_per_connection": 3})
    client, origin = scene.ask(targets(b"a", b"b"))
    origin.send(OK).send(OK)
    assert b"Connection" not in client.received()
    client.send(targets(b"c", b"d"))
    origin.received()
    origin.send(OK)
    assert client.head().get("Connection") == "close"
    assert client.transport.half_closed  # what is behind is read on for a moment, and not answered
    assert origin.received() == b""
    client.send(targets(b"e")).finish()
    assert client.closed
    assert scene.at_rest


def test_connection_without_a_limit_brings_any_number_of_requests() -> None:
    scene = Scene(limits={"requests_per_connection": 0})
    client, origin = scene.ask(GET)
    for _ in range(1100):
        origin.send(OK)
        client.send(GET)
    assert b"Connection" not in client.received()


def test_upgrade_that_is_refused_is_followed_by_ordinary_requests() -> None:
    upgrade = request(b"Connection: upgrade", b"Upgrade: websocket")
    scene = Scene()
    client, origin = scene.ask(upgrade + targets(b"b"))
    client.send(targets(b"c"))
    for name in ("/", "/b", "/c"):
        assert origin.head().start == f"GET {name} HTTP/1.1"
        origin.send(answer(name.encode()))
        assert client.received().endswith(name.encode())


def test_bytes_behind_an_upgrade_have_a_bound() -> None:
    client, _ = Scene().ask(request(b"Connection: upgrade", b"Upgrade: websocket"))
    client.send(b"b" * 10_000)
    assert not client.transport.paused
    client.send(b"b" * 10_000)
    assert client.transport.paused


def test_body_of_a_request_that_offers_h2c_is_forwarded_and_the_connection_kept() -> None:
    """As Java's HttpClient sends it."""
    offer = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: x",
        b"Transfer-Encoding: chunked",
    )
    client, origin = Scene().ask(request(*offer, method=b"POST", body=b"3\r\nabc\r\n0\r\n\r\n"))
    assert origin.received().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    origin.send(OK)
    assert status(client.received()) == 200
    assert not client.closed


# Ends


def test_client_that_leaves_lets_the_upstream_go_at_once() -> None:
    for raw, response in ((GET, b""), (POST, b""), (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")):
        scene = Scene()
        client, origin = scene.ask(raw)
        origin.send(response)
        client.finish()
        assert origin.transport.aborted
        assert client.closed
        assert scene.at_rest
        assert scene.plane.connections == 0
        assert scene.count("client_disconnects") == 1
        assert scene.codes() == {("shop", "blue"): {200 if response else 499: 1}}


def test_client_that_leaves_the_line_leaves_its_place() -> None:
    scene = Scene(hold=True)
    client = scene.client().send(GET)
    client.reset()
    assert scene.at_rest
    scene.connect()
    assert scene.origin.received() == b""
    assert not scene.origin.closed


def test_connection_beyond_the_limit_is_answered_and_closed() -> None:
    scene = Scene(limits={"connections": 2})
    kept = [scene.client(), scene.client()]
    third = scene.client()
    assert (status(third.received()), third.closed) == (503, True)
    assert scene.plane.connections == 2
    kept[0].finish()
    assert not scene.client().closed


@pytest.mark.parametrize("tls", [False, True])
def test_unread_body_is_read_on_for_a_moment_and_then_cut(tls: bool) -> None:
    scene = Scene(limits={"body": 5}, timeouts=TIMEOUTS)
    client = scene.client(tls=tls).send(POST)
    assert status(client.received()) == 413
    assert client.transport.half_closed is not tls
    assert not client.closed
    scene.pass_time(0.9)
    assert not client.closed
    scene.pass_time(1.1)
    assert client.transport.aborted
    assert scene.plane.connections == 0


@pytest.mark.parametrize(("raw", "code"), [(b"GET / HTTP/1.1\r\nX: ", 431), (b"GET /", 414)])
def test_head_that_is_too_large_is_read_on_for_a_moment(raw: bytes, code: int) -> None:
    """Failed: closed with bytes unread, which resets the connection and may destroy the answer."""
    client = Scene().client().send(raw + b"x" * 64_000)
    assert status(client.received()) == code
    assert (client.transport.half_closed, client.closed) == (True, False)
    client.send(b"x" * 64_000).finish()
    assert client.closed
    assert client.received() == b""


def test_unread_body_that_goes_on_and_on_is_cut() -> None:
    client = Scene(limits={"body": 5}).client().send(request(b"Content-Length: 99999999999", method=b"POST"))
    block = b"b" * (1 << 20)
    for _ in range(LINGER_BYTES >> 20):
        client.send(block)
    assert not client.closed
    client.send(b"b")
    assert client.transport.aborted


def test_drain_closes_idle_connections_now_and_the_others_after_their_answer() -> None:
    scene = Scene()
    idle, begun = scene.client(), scene.client().send(GET[:10])
    busy, origin = scene.ask()
    scene.plane.drain()
    scene.settle()
    assert [idle.closed, begun.closed, busy.closed] == [True, False, False]
    origin.send(OK)
    assert b"Connection: close" in busy.received()
    assert busy.closed
    begun.send(GET[10:])
    scene.origin.send(OK)
    assert b"Connection: close" in begun.received()
    assert begun.closed
    assert scene.plane.connections == 0


# Deadlines


def test_head_has_its_time_from_its_first_byte_on_however_it_drips() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    client = scene.client()
    scene.pass_time(5)
    client.send(GET[:4])
    for second in range(9):
        scene.pass_time(second)
        client.send(GET[4 + second : 5 + second])
    scene.pass_time(9.9)
    assert client.received() == b""
    scene.pass_time(10.5)
    out = client.received()
    assert (status(out), error_of(out), client.closed) == (408, "request_timeout", True)


def test_head_that_began_behind_another_request_has_no_more_time() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    client, origin = scene.ask(GET + GET[:10])
    origin.send(OK)
    client.received()
    scene.pass_time(10.5)
    assert status(client.received()) == 408


def test_idle_connection_is_closed_without_a_word() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    fresh = scene.client()
    used, origin = scene.ask()
    origin.send(OK)
    used.received()
    scene.pass_time(59)
    assert [fresh.closed, used.closed] == [False, False]
    scene.pass_time(61)
    assert [fresh.closed, used.closed] == [True, True]
    assert [fresh.received(), used.received()] == [b"", b""]
    assert not used.transport.aborted


def test_empty_lines_do_not_keep_a_connection() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    client = scene.client()
    for second in range(0, 60, 5):
        scene.pass_time(second)
        client.send(b"\r\n")
    scene.pass_time(61)
    assert client.closed


def test_body_that_stops_coming_times_out() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits={"body_rate": 0})
    client, origin = scene.ask(POST)
    scene.pass_time(15)
    client.send(b"d")
    scene.pass_time(34)
    assert client.received() == b""
    scene.pass_time(36)
    out = client.received()
    assert (status(out), error_of(out)) == (408, "request_timeout")
    assert origin.transport.aborted
    assert scene.at_rest


def test_body_that_the_upstream_does_not_take_is_its_timeout() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    client, origin = scene.ask(request(b"Content-Length: 999999", method=b"POST"))
    origin.transport.stuck = True
    client.send(b"b" * 100_000)
    scene.pass_time(21)
    assert error_of(client.received()) == "response_timeout"


def test_response_that_does_not_begin_times_out() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    client, origin = scene.ask()
    origin.send(b"HTTP/1.1 103 Early\r\n\r\n")
    client.received()
    scene.pass_time(29)
    assert client.received() == b""
    scene.pass_time(31)
    out = client.received()
    assert (status(out), error_of(out)) == (504, "response_timeout")
    assert origin.transport.aborted
    assert not client.closed
    assert scene.at_rest


def test_response_that_stops_coming_is_cut() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    client, origin = scene.ask()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
    scene.pass_time(50)
    origin.send(b"b")
    scene.pass_time(109)
    assert not client.closed
    scene.pass_time(111)
    assert client.transport.aborted
    assert origin.transport.aborted
    assert scene.at_rest


def test_reader_that_reads_slowly_is_kept_and_one_that_stops_is_cut() -> None:
    scene = Scene(timeouts=TIMEOUTS)
    client, origin = scene.ask()
    client.transport.stuck = True
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"b" * 100_000)
    for second in (61, 122, 183):
        scene.pass_time(second)
        assert not client.closed
        client.take(10_000)
    scene.pass_time(244)
    assert not client.closed
    scene.pass_time(305)
    assert client.transport.aborted
    assert scene.plane.connections == 0


def test_line_for_a_connection_has_its_time() -> None:
    scene = Scene(timeouts=TIMEOUTS, hold=True)
    client = scene.client().send(GET)
    scene.pass_time(2.9)
    assert client.received() == b""
    scene.pass_time(3.1)
    out = client.received()
    assert (status(out), error_of(out)) == (503, "overloaded")
    assert b"Retry-After: 1" in out
    assert scene.at_rest
