"""The least rate of a request's body: who is cut and who is not, at given times."""

from __future__ import annotations

import pytest

from tests.proxy.fakes import OK, End, Scene, error_of, request, status

TIMEOUTS = {"connect": "30s", "response": "90s", "idle": "90s", "request_body": "60s"}
RATE = {"body_rate": 500}
POST = request(b"Content-Length: 9999999", method=b"POST")
CHUNKED = request(b"Transfer-Encoding: chunked", method=b"POST")


def drip(scene: Scene, client: End, size: int, times: range) -> int | None:
    """`size` bytes at each of `times`; returns the first of them at which the client had been given up."""
    for second in times:
        scene.pass_time(second)
        if client.closed or client.transport.half_closed:
            return second
        client.send(b"b" * size)
    return None


def test_body_that_drips_gets_408_though_each_read_is_in_time() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, origin = scene.ask(POST)
    assert drip(scene, client, 1, range(1, 30)) == 12  # 10 s from the first byte on, and a moment for each
    out = client.received()
    assert (status(out), error_of(out), b"Connection: close" in out) == (408, "slow_body", True)
    assert origin.transport.aborted
    assert scene.count("gateway_errors", "slow_body") == 1
    assert scene.codes() == {("shop", "blue"): {408: 1}}
    assert scene.at_rest


def test_framing_that_drips_is_a_body_that_drips() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, _ = scene.ask(CHUNKED)
    for second in range(1, 13):
        scene.pass_time(second)
        client.send(b"0")
    assert error_of(client.received()) == "slow_body"


@pytest.mark.parametrize(("size", "given_up"), [(500, False), (250, True)])
def test_rate_is_what_decides(size: int, given_up: bool) -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, _ = scene.ask(POST)
    assert (drip(scene, client, size, range(1, 600)) is not None) is given_up


def test_body_in_bursts_is_judged_by_all_of_it() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, _ = scene.ask(POST)
    assert drip(scene, client, 25_000, range(1, 600, 50)) is None


def test_quick_beginning_buys_no_more_than_a_standstill_may_last() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, _ = scene.ask(POST)
    client.send(b"b" * 1_000_000)
    assert drip(scene, client, 1, range(1, 600)) == 61
    assert error_of(client.received()) == "slow_body"


def test_no_rate_lets_a_body_drip() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits={"body_rate": 0})
    client, _ = scene.ask(POST)
    assert drip(scene, client, 1, range(1, 600)) is None


def test_rate_taken_away_ends_with_the_next_read() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, _ = scene.ask(POST)
    client.send(b"b")
    scene.adopt(limits={"body_rate": 0})
    assert drip(scene, client, 1, range(1, 100)) is None


def test_first_bytes_behind_the_head_start_the_clock() -> None:
    """A client that waits for a 100 sends nothing until the upstream says so."""
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, origin = scene.ask(request(b"Content-Length: 9", b"Expect: 100-continue", method=b"POST"))
    scene.pass_time(50)
    origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send(b"b")
    scene.pass_time(59)
    client.send(b"b" * 8)
    origin.send(OK)
    assert client.received().endswith(OK[-6:])


def test_standstill_of_the_upstream_is_not_the_clients() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, origin = scene.ask(POST)
    origin.transport.stuck = True
    client.send(b"b" * 100)
    scene.pass_time(9)
    client.send(b"b" * 70_000)  # more than is kept for the upstream
    assert client.transport.paused
    client.send(b"b")
    scene.pass_time(68)
    assert client.received() == b""
    origin.take()
    assert not client.transport.paused
    for second in (100, 127):  # 9 s of it, and 60 s in hand, have gone
        scene.pass_time(second)
        assert client.received() == b""
    scene.pass_time(129)
    assert error_of(client.received()) in ("slow_body", "request_timeout")


def test_drip_through_an_upstream_that_stands_still_now_and_then_is_counted_while_it_is_read() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, origin = scene.ask(POST)
    client.send(b"b")
    for second in (3, 56, 109):  # 3 s of each 53 it is read
        scene.pass_time(second)
        assert client.received() == b""
        origin.transport.protocol.pause_writing()
        scene.pass_time(second + 50)
        origin.transport.protocol.resume_writing()
        client.send(b"b")
    scene.pass_time(161)
    assert error_of(client.received()) == "slow_body"
    assert origin.received().endswith(b"bbbb")


def test_wait_for_a_connection_is_not_the_clients() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE, hold=True)
    client = scene.client().send(POST, b"b")
    scene.pass_time(25)
    scene.connect()
    client.send(b"b")
    scene.pass_time(34)
    assert client.received() == b""
    scene.pass_time(36)
    assert error_of(client.received()) == "slow_body"


def test_standstill_of_the_upstream_leaves_the_client_its_time_for_the_next_bytes() -> None:
    """Failed: what was left of `request_body` from before the standstill was all it had."""
    scene = Scene(timeouts=TIMEOUTS, limits={"body_rate": 0})
    client, origin = scene.ask(POST)
    origin.transport.stuck = True
    client.send(b"b" * 100_000)
    scene.pass_time(59)
    origin.take()
    scene.pass_time(118)
    assert client.received() == b""
    scene.pass_time(120)
    assert error_of(client.received()) == "request_timeout"


def test_response_that_has_begun_is_cut() -> None:
    """Each byte of it sets a deadline of its own, and keeps the connection no longer."""
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client, origin = scene.ask(CHUNKED)
    for second in range(1, 14):
        scene.pass_time(second)
        client.send(b"1\r\nb\r\n")
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" if second == 1 else b"b")
    assert client.transport.aborted
    assert scene.count("gateway_errors", "slow_body") == 1
    assert scene.at_rest


def test_record_of_tls_that_comes_at_the_rate_is_not_too_slow() -> None:
    """16 KiB that nobody sees before the last byte is there."""
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    client = scene.client(tls=True).send(POST, b"b")
    for number in range(1, 10):
        scene.pass_time(32 * number)
        assert client.received() == b""
        client.send(b"b" * 16_000)


def test_next_request_of_the_connection_has_a_clock_of_its_own() -> None:
    scene = Scene(timeouts=TIMEOUTS, limits=RATE)
    post = request(b"Content-Length: 3", method=b"POST")
    client, origin = scene.ask(post)
    for begin in (0, 9, 18):
        scene.pass_time(begin)
        client.send(b"b")
        scene.pass_time(begin + 8)
        client.send(b"bb")
        origin.send(OK)
        assert status(client.received()) == 200
        client.send(post)
