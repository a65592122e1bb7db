"""SIGTERM under load: readiness goes first, and nobody who was let in is turned away."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections import Counter

import httpx

from tests.support.gateway import Gateway
from tests.support.load import Meter
from tests.support.origin import Conversation
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, ClosedError, Wire, request

CLIENTS = 16


class Newcomers:
    """Clients that open one connection after another, each for one request, until nobody listens any more."""

    def __init__(self, gateway: Gateway) -> None:
        self._address = gateway.addresses[0]
        self._lock = threading.Condition()
        self.outcomes = Counter[str]()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        outcome = "answered"
        while outcome == "answered":
            outcome = self._visit()
            with self._lock:
                self.outcomes[outcome] += 1
                self._lock.notify_all()

    def _visit(self) -> str:
        try:
            sock = socket.create_connection(self._address, PATIENCE)
        except ConnectionRefusedError:
            return "refused"
        with contextlib.closing(sock):
            wire = Wire(sock)
            try:
                wire.send(request())
                return "answered" if wire.response().status == 200 else "another status"
            except (OSError, ClosedError) as error:
                return f"broken: {type(error).__name__}"

    def wait(self, answers: int) -> None:
        with self._lock:
            assert self._lock.wait_for(lambda: self.outcomes["answered"] >= answers, PATIENCE)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)


def test_no_connection_that_was_let_in_is_reset_at_sigterm(stage: Stage) -> None:
    blue = Meter("blue")
    stage.closing.callback(blue.close)
    gateway = stage.running({"blue": blue.url}, workers=2)
    newcomers = Newcomers(gateway)
    newcomers.wait(500)
    gateway.signal(signal.SIGTERM)
    newcomers.join()
    assert newcomers.outcomes.keys() == {"answered", "refused"}, newcomers.outcomes
    assert gateway.end() == 0


def test_connections_in_the_accept_queue_at_sigterm_are_served(stage: Stage) -> None:
    """The worker is stopped while they connect, so it has accepted none of them when it learns that it is to end."""
    gateway = stage.running({"blue": stage.origin().url})
    worker = gateway.worker()
    os.kill(worker, signal.SIGSTOP)
    clients = [gateway.connect() for _ in range(50)]
    for client in clients:
        client.send(request())
    gateway.signal(signal.SIGTERM)
    gateway.logged("draining")
    os.kill(worker, signal.SIGCONT)
    for client in clients:
        answer = client.response()
        assert (answer.status, answer.get("connection")) == (200, "close")
        client.close()
    assert gateway.end() == 0


def test_readiness_goes_first_and_liveness_stays(stage: Stage) -> None:
    arrived, go_on = threading.Event(), stage.event()

    def script(connection: Conversation) -> None:
        connection.receive()
        arrived.set()
        assert go_on.wait(PATIENCE)
        connection.answer(b"done")

    gateway = stage.running({"blue": stage.origin(script).url})
    admin = (gateway.state / "admin.url").read_text().strip()
    with gateway.connect() as busy, httpx.Client(base_url=admin) as client:
        busy.send(request())
        assert arrived.wait(PATIENCE)
        assert client.get("/health/ready").status_code == 200
        gateway.signal(signal.SIGTERM)
        gateway.until(lambda: client.get("/health/ready").status_code == 503, "it is not ready any more")
        assert client.get("/health/live").status_code == 200
        assert gateway.status()["draining"]
        go_on.set()
        assert busy.response().body == b"done"
    assert gateway.end() == 0


def test_kept_connection_learns_from_its_next_answer_that_the_gateway_ends(stage: Stage) -> None:
    """It is not closed while the client may be sending."""
    gateway = stage.running({"blue": stage.origin().url})
    with gateway.connect() as client:
        client.send(request())
        assert client.response().get("connection") is None
        gateway.signal(signal.SIGTERM)
        said: str | None = None
        while said is None:  # until the worker has heard of it
            client.send(request())
            answer = client.response()
            assert answer.status == 200
            said = answer.get("connection")
        assert said == "close"
        client.wait_closed()
    assert gateway.end() == 0


def test_idle_connections_do_not_hold_up_the_end(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin().url}, timeouts={"drain": "60s"})
    with gateway.connect() as client:
        client.send(request())
        client.response()
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        client.wait_closed()
    assert gateway.end() == 0
    assert time.monotonic() - began < PATIENCE


def test_gateway_that_is_not_ready_any_more_serves_newcomers_until_the_delay_is_over(stage: Stage) -> None:
    """A worker that dies meanwhile is replaced, too. The second signal ends a delay that would take an hour."""
    gateway = stage.running({"blue": stage.origin().url}, timeouts={"drain_delay": "1h"})
    admin = (gateway.state / "admin.url").read_text().strip()
    with httpx.Client(base_url=admin) as client:
        gateway.signal(signal.SIGTERM)
        gateway.until(lambda: client.get("/health/ready").status_code == 503, "it is not ready any more")
        assert client.get("/health/live").status_code == 200
    status, head, _ = gateway.get()
    assert (status, head["Connection"]) == (200, None)
    worker = gateway.worker()
    os.kill(worker, signal.SIGKILL)
    gateway.until(lambda: gateway.workers() not in ([], [worker]), "the worker is replaced")
    assert gateway.get()[0] == 200
    gateway.signal(signal.SIGTERM)
    gateway.end()


def test_drain_begins_when_the_delay_is_over(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin().url}, timeouts={"drain_delay": "100ms"})
    gateway.signal(signal.SIGTERM)
    gateway.logged("leaving")
    gateway.logged("draining")
    assert gateway.end() == 0
