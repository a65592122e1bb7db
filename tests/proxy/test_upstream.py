"""One connection to an endpoint: when it is used again, and what it does with bytes that nobody asked for."""

from __future__ import annotations

import pytest

from tests.proxy.fakes import BLUE, GET, OK, Scene, request, status


def test_connection_serves_one_request_after_another() -> None:
    scene = Scene()
    for _ in range(3):
        client, origin = scene.ask()
        origin.send(OK)
        assert status(client.received()) == 200
    assert len(scene.origins) == 1


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"surplus",
    ],
)
def test_connection_that_is_not_to_be_kept_is_closed_and_its_client_is_not(response: bytes) -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(response)
    assert status(client.received()) == 200
    assert origin.closed
    assert not client.closed
    assert scene.at_rest


@pytest.mark.parametrize("how", ["bytes", "end", "reset"])
def test_idle_connection_that_says_anything_is_never_leased_again(how: str) -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(OK)
    client.received()
    if how == "bytes":
        origin.send(b"HTTP/1.1 408 Timeout\r\n\r\n")
    elif how == "end":
        origin.finish()
    else:
        origin.reset()
    assert origin.closed
    client.send(GET)
    assert scene.origin is not origin
    assert scene.count("stale_connections") == 0


def test_end_of_an_idle_connection_counts_from_its_first_sign() -> None:
    """Between the end of file and the loss of the connection a loop may serve other clients."""
    scene = Scene()
    client, origin = scene.ask()
    origin.send(OK)
    client.received()
    origin.transport.protocol.eof_received()
    client.send(request(method=b"POST"))
    assert scene.origin is not origin
    scene.origin.send(OK)
    assert status(client.received()) == 200


def test_server_that_speaks_first_gets_no_request() -> None:
    scene = Scene(hold=True)
    scene.client().send(GET).reset()
    scene.connect()
    scene.origin.send(b"220 mail.example ESMTP\r\n")
    assert scene.origin.closed
    assert repr(scene.pools[BLUE]).endswith("leased=0 idle=0 dialling=0 waiting=0>")


def test_bytes_after_a_response_was_given_up_are_dropped() -> None:
    scene = Scene()
    client, origin = scene.ask()
    protocol = origin.transport.protocol
    client.reset()
    protocol.data_received(OK)
    assert scene.at_rest
