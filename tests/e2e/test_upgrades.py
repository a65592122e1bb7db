"""WebSockets through the gateway, with the `websockets` library on both sides, and upgrades that do not come about."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.support.gateway import Gateway
from tests.support.origin import Arrival, Conversation, Scenes
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, request

LARGE = 4 * 1024 * 1024
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def echo(connection: ServerConnection) -> None:
    """`bye CODE REASON` closes; everything else comes back."""
    for message in connection:
        if isinstance(message, str) and message.startswith("bye "):
            _, code, reason = message.split(" ", 2)
            connection.close(int(code), reason)
            return
        connection.send(message)


@contextmanager
def echo_server() -> Iterator[str]:
    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes()


@pytest.fixture(scope="module")
def gateway(shared: Stage, scenes: Scenes) -> Gateway:
    url = shared.closing.enter_context(echo_server())
    other = shared.origin(scenes)
    rule = {"when": {"path": {"prefix": "/scene/"}}, "send": "raw"}
    return shared.running({"echo": url, "raw": other.url}, {"rules": [rule]})


@pytest.fixture
def socket(gateway: Gateway) -> Iterator[ClientConnection]:
    with connect(gateway.url.replace("http", "ws") + "/chat", proxy=None, max_size=None, open_timeout=PATIENCE) as own:
        yield own


def test_text_and_binary_messages_come_back_in_order(socket: ClientConnection) -> None:
    messages: list[str | bytes] = ["hello", b"\x00\xff", "grün", b"", "", "last"]
    for message in messages:
        socket.send(message)
    assert [socket.recv(PATIENCE) for _ in messages] == messages


def test_large_message_and_its_fragments_come_back_whole(socket: ClientConnection) -> None:
    large = bytes(range(256)) * (LARGE // 256)
    socket.send(large)
    assert socket.recv(PATIENCE) == large
    socket.send(["one ", "two ", "three"])
    assert socket.recv(PATIENCE) == "one two three"


def test_ping_is_answered_by_the_upstream(socket: ClientConnection) -> None:
    assert socket.ping().wait(PATIENCE)


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1001, "moving on"), (4321, "own code")])
def test_close_code_of_the_upstream_reaches_the_client(socket: ClientConnection, code: int, reason: str) -> None:
    socket.send(f"bye {code} {reason}")
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)


def test_several_sockets_at_once_do_not_mix(gateway: Gateway) -> None:
    url = gateway.url.replace("http", "ws")
    with ExitStack() as closing:
        sockets = [closing.enter_context(connect(url, proxy=None, open_timeout=PATIENCE)) for _ in range(10)]
        for number, own in enumerate(sockets):
            own.send(str(number))
        assert [own.recv(PATIENCE) for own in sockets] == [str(number) for number in range(10)]


@pytest.mark.parametrize("status", ["401 Unauthorized", "200 OK"])
def test_upstream_that_refuses_the_upgrade_answers_itself(gateway: Gateway, scenes: Scenes, status: str) -> None:
    target = scenes.play(lambda connection, arrival: connection.answer(b"not here", status))
    url = gateway.url.replace("http", "ws") + target
    with pytest.raises(InvalidStatus) as refused, connect(url, proxy=None, open_timeout=PATIENCE):
        pass
    assert refused.value.response.status_code == int(status[:3])
    with gateway.connect() as client:  # and the connection goes on with ordinary requests
        client.send(request(target, fields=UPGRADE) + request(target))
        answers = [client.response() for _ in range(2)]
    assert [(answer.head.start, answer.body) for answer in answers] == [(f"HTTP/1.1 {status}", b"not here")] * 2


def test_other_protocols_are_not_offered_to_the_upstream(gateway: Gateway, scenes: Scenes) -> None:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.answer(str((arrival.get("upgrade"), arrival.get("connection"))).encode())

    with gateway.connect() as client:
        fields = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
        client.send(request(scenes.play(scene), fields=fields))
        assert client.response().body == b"(None, None)"


def test_switch_that_nobody_asked_for_is_a_bad_response(gateway: Gateway, scenes: Scenes) -> None:
    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        connection.wait_closed()

    with gateway.connect() as client:
        client.send(request(scenes.play(scene)))
        answer = client.response()
    assert (answer.status, answer.get("x-headgate-error")) == (502, "bad_response")


@pytest.mark.parametrize("leaves", ["client", "upstream"])
def test_tunnel_ends_on_both_sides_when_one_leaves(gateway: Gateway, scenes: Scenes, leaves: str) -> None:
    let_go = threading.Event()

    def scene(connection: Conversation, arrival: Arrival) -> None:
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert connection.exactly(4) == b"ping"
        connection.send(b"pong")
        if leaves == "upstream":
            connection.close()
        else:
            connection.wait_closed()
            let_go.set()

    with gateway.connect() as client:
        client.send(request(scenes.play(scene), fields=UPGRADE) + b"ping")  # the first bytes may come with the request
        assert client.response().status == 101
        assert client.exactly(4) == b"pong"
        if leaves == "upstream":
            client.wait_closed()
    assert leaves == "upstream" or let_go.wait(PATIENCE)
