"""Signals that an operator sends: SIGTERM drains, SIGHUP takes up the file, and neither harms a request."""

from __future__ import annotations

import json
import signal
import socket
import threading

import pytest

from tests.support.gateway import Gateway, document
from tests.support.load import Load, Meter
from tests.support.origin import Conversation
from tests.support.processes import all_end, children, watched
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, ClosedError, request


class Slow:
    """An upstream that answers half, and the rest when it is told to."""

    def __init__(self, stage: Stage) -> None:
        self.go_on = stage.event()

    def __call__(self, connection: Conversation) -> None:
        while True:
            if connection.receive().target != "/slow":
                connection.answer(b"quick")
                continue
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            assert self.go_on.wait(PATIENCE)
            connection.send(b"rest")


@pytest.fixture
def slow(stage: Stage) -> Slow:
    return Slow(stage)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_answer_under_way_is_completed_before_the_gateway_ends(
    stage: Stage, slow: Slow, number: signal.Signals
) -> None:
    gateway = stage.running({"blue": stage.origin(slow).url}, workers=2)
    own = [gateway.pid, *children(gateway.pid)]
    with gateway.connect() as busy, gateway.connect() as idle, watched(*own) as ends:
        idle.send(request())
        assert idle.response().body == b"quick"
        busy.send(request("/slow"))
        busy.head()
        gateway.signal(number)
        idle.wait_closed()
        refuse_connections(gateway)
        slow.go_on.set()
        assert busy.exactly(8) == b"halfrest"
        busy.wait_closed()
        assert all_end(ends)
    assert gateway.end() == 0


def refuse_connections(gateway: Gateway) -> None:
    """Waits until nobody listens any more."""

    def refused() -> bool:
        try:
            socket.create_connection(gateway.addresses[0], PATIENCE).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was in line to be accepted
            return False
        return False

    gateway.until(refused, "new connections are refused")


def test_answers_that_begin_during_the_drain_say_that_the_connection_ends(stage: Stage) -> None:
    arrived, go_on = threading.Event(), stage.event()

    def script(connection: Conversation) -> None:
        connection.receive()
        arrived.set()
        assert go_on.wait(PATIENCE)
        connection.answer(b"done")

    gateway = stage.running({"blue": stage.origin(script).url})
    with gateway.connect() as client:
        client.send(request())
        assert arrived.wait(PATIENCE)
        gateway.signal(signal.SIGTERM)
        refuse_connections(gateway)
        go_on.set()
        answer = client.response()
    assert (answer.status, answer.get("connection")) == (200, "close")
    assert gateway.end() == 0


def test_drain_ends_in_time_whatever_is_under_way(stage: Stage, slow: Slow) -> None:
    gateway = stage.running({"blue": stage.origin(slow).url}, timeouts={"drain": "200ms"})
    with gateway.connect() as client:
        client.send(request("/slow"))
        client.head()
        gateway.signal(signal.SIGTERM)
        with pytest.raises(ClosedError):
            client.exactly(8)
    assert gateway.end() == 0


def test_second_signal_does_not_wait(stage: Stage, slow: Slow) -> None:
    gateway = stage.running({"blue": stage.origin(slow).url})
    with gateway.connect() as client:
        client.send(request("/slow"))
        client.head()
        gateway.signal(signal.SIGTERM)
        gateway.logged("draining")
        gateway.signal(signal.SIGTERM)
        with pytest.raises(ClosedError):
            client.exactly(8)
    gateway.end()


def test_reload_takes_up_the_file_and_harms_no_request_under_way(stage: Stage, slow: Slow) -> None:
    blue, green = stage.origin(slow), stage.origin("green")
    gateway = stage.running({"blue": blue.url}, workers=2)
    before = set(gateway.workers())
    with gateway.connect() as busy, gateway.connect() as kept:
        kept.send(request())
        assert kept.response().body == b"quick"
        busy.send(request("/slow"))
        busy.head()
        revision = gateway.status()["revision"]
        gateway.write(document({"green": green.url}))
        gateway.signal(signal.SIGHUP)
        gateway.until(lambda: gateway.status()["revision"] > revision, "the new file is in force")
        kept.send(request())
        assert kept.response().get("x-served-by") == "green"
        slow.go_on.set()
        assert busy.exactly(8) == b"halfrest"
    assert set(gateway.workers()) == before


@pytest.mark.parametrize("content", ["routes: [", "listen: []", '{"listen": [], "routs": {}}'])
def test_reload_of_a_bad_file_changes_nothing_and_says_so(stage: Stage, content: str) -> None:
    gateway = stage.running({"blue": stage.origin("blue").url})
    before = gateway.status()
    good = gateway.config.read_text()
    gateway.config.write_text(content)
    gateway.signal(signal.SIGHUP)
    gateway.until(lambda: gateway.status()["config"]["error"] is not None, "the mistake is told")
    after = gateway.status()
    assert (after["revision"], after["config"]["sha256"]) == (before["revision"], before["config"]["sha256"])
    assert gateway.get()[1]["X-Served-By"] == "blue"
    gateway.config.write_text(good)
    gateway.signal(signal.SIGHUP)
    gateway.until(lambda: gateway.status()["config"]["error"] is None, "the mended file is accepted")


def test_reload_keeps_live_weights_until_the_files_own_change(stage: Stage) -> None:
    upstreams = {name: stage.origin(name).url for name in ("blue", "canary")}
    gateway = stage.running(upstreams, {"weights": {"blue": 90, "canary": 10}})
    gateway.weights(canary=1)
    revision = gateway.status()["revision"]
    gateway.write(document(upstreams, {"weights": {"blue": 90, "canary": 10}, "expose_upstream": True}))
    gateway.signal(signal.SIGHUP)
    gateway.until(lambda: gateway.status()["revision"] > revision, "the new file is in force")
    assert gateway.get()[1]["X-Headgate-Upstream"] == "canary"
    revision = gateway.status()["revision"]
    gateway.write(document(upstreams, {"weights": {"blue": 1, "canary": 0}, "expose_upstream": True}))
    gateway.signal(signal.SIGHUP)
    gateway.until(lambda: gateway.status()["revision"] > revision, "the new weights are in force")
    assert gateway.get()[1]["X-Headgate-Upstream"] == "blue"


def test_reloads_under_load_cost_no_request(stage: Stage) -> None:
    meters = {name: Meter(name) for name in ("blue", "green")}
    for meter in meters.values():
        stage.closing.callback(meter.close)
    settings = [document({name: meter.url}) for name, meter in meters.items()]
    gateway = stage.gateway({**settings[0], "workers": 2}).start()
    with Load(gateway, [{}] * 8) as load:
        for number in range(1, 7):
            revision = gateway.status()["revision"]
            gateway.write({**settings[number % 2], "workers": 2})
            gateway.signal(signal.SIGHUP)
            gateway.until(lambda: gateway.status()["revision"] > revision, "the file is in force")  # noqa: B023
            load.wait(100)
    assert set(load.statuses) == {200}
    assert load.broken == 0
    assert min(len(meter.arrived) for meter in meters.values()) > 100


def test_access_log_is_complete_when_the_gateway_has_ended(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin("blue").url}, workers=2)
    for number in range(30):
        gateway.get(f"/page?number={number}", X_Request_Id=f"r{number}")
    assert gateway.stop() == 0
    lines = [json.loads(line) for line in gateway.access_log.read_text().splitlines()]
    assert {line["request_id"] for line in lines} == {f"r{number}" for number in range(30)}
    assert len(lines) == 30
    assert {(line["route"], line["upstream"], line["status"], line["path"]) for line in lines} == {
        ("shop", "blue", 200, "/page")
    }
