"""The workers' code runs as it is written and compiled: each form that is there serves a little of everything."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from admin.compiled import compiled_path
from tests.support.gateway import Gateway, document
from tests.support.origin import Conversation
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, Response, Wire, request


def mixed(connection: Conversation) -> None:
    """/chunks, /close and /gone behave as they are called; everything else is answered with its own body."""
    while True:
        arrival = connection.receive()
        if arrival.target == "/chunks":
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        elif arrival.target == "/close":
            connection.send(b"HTTP/1.0 200 OK\r\n\r\nto the end")
            return
        elif arrival.target == "/gone":
            return
        else:
            connection.answer(arrival.body, X_Served_By="canary")


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture(params=["source", "compiled"])
def form(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "compiled" and compiled_path() is None:
        pytest.skip("the workers' code is not compiled here: `python -m admin.compiled`")
    return name


@pytest.fixture
def gateway(stage: Stage, form: str) -> Gateway:
    server = stage.closing.enter_context(serve(echo, "127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    stage.closing.callback(thread.join)
    stage.closing.callback(server.shutdown)
    upstreams = {
        "blue": stage.origin("blue").url,
        "canary": stage.origin(mixed).url,
        "echo": f"http://127.0.0.1:{server.socket.getsockname()[1]}",
    }
    route = {
        "weights": {"blue": 75, "canary": 25},
        "sticky": {"header": "x-user"},
        "retry": {"attempts": 1, "on": ["reset"]},
        "rules": [
            {"when": {"header": {"x-canary": "true"}}, "send": "canary"},
            {"when": {"path": "/echo"}, "send": "echo"},
        ],
    }
    environ = {"HEADGATE_COMPILED": "0"} if form == "source" else {"HEADGATE_COMPILED": "1"}
    return stage.gateway(document(upstreams, route, workers=2), environ).start()


def ask(client: Wire, target: str, method: str = "GET", body: bytes | None = None, **fields: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    client.send(request(target, method=method, fields=named, body=body))
    return client.response()


def test_form_serves_a_little_of_everything(gateway: Gateway, form: str) -> None:
    loaded = Path(f"/proc/{gateway.worker()}/maps").read_text()
    assert ("headgate-compiled" in loaded) == (form == "compiled")
    with gateway.connect() as client:
        served = [ask(client, "/").get("x-served-by") for _ in range(40)]
        assert 9 <= served.count("canary") <= 11
        homes = {user: {ask(client, "/", X_User=user).get("x-served-by") for _ in range(3)} for user in "abcdefgh"}
        assert all(len(home) == 1 for home in homes.values())
        body = bytes(range(256)) * 1000
        assert ask(client, "/", "POST", body, X_Canary="true").body == body
        chunks = ask(client, "/chunks", X_Canary="true")
        assert (chunks.body, chunks.trailers) == (b"abc", [("X-Sum", "1")])
        assert ask(client, "/close", X_Canary="true").body == b"to the end"
        assert ask(client, "/gone", X_Canary="true").get("x-served-by") == "blue"
        assert ask(client, "/gone", "POST", b"", X_Canary="true").status == 502
        gateway.cutback()
        assert ask(client, "/", X_Canary="true").get("x-served-by") == "blue"
        gateway.restore()
        assert ask(client, "/", X_Canary="true").get("x-served-by") == "canary"
    with gateway.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.response().status == 400
    with connect(gateway.url.replace("http", "ws") + "/echo", proxy=None, open_timeout=PATIENCE) as socket:
        socket.send("hello")
        assert socket.recv(PATIENCE) == "hello"
    assert gateway.stop() == 0
