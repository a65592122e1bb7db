"""Limits of the whole gateway, with real processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal

from tests.support.gateway import document
from tests.support.origin import Conversation
from tests.support.processes import memory
from tests.support.stage import Stage
from tests.support.wire import request


def test_rate_limit_is_the_same_over_all_workers_and_outlives_them(stage: Stage) -> None:
    """Connections of their own, which the kernel spreads over the workers."""
    gateway = stage.running({"blue": stage.origin().url}, {"rate_limit": {"rate": "20/d", "burst": 20}}, workers=3)
    assert [gateway.get()[0] for _ in range(60)] == [200] * 20 + [429] * 40
    killed = gateway.worker(1)
    os.kill(killed, signal.SIGKILL)
    gateway.until(lambda: gateway.by_title().get("headgate: worker 1", killed) != killed, "another worker 1")
    assert [gateway.get()[0] for _ in range(20)] == [429] * 20


def test_connections_per_client_are_counted_over_all_workers(stage: Stage) -> None:
    gateway = stage.running({"blue": stage.origin().url}, workers=3, limits={"connections_per_client": 12})
    with contextlib.ExitStack() as clients:
        for _ in range(12):
            client = clients.enter_context(gateway.connect())
            client.send(request("/"))
            assert client.response().status == 200
        with gateway.connect() as one_more:
            assert one_more.response().head.get("X-Headgate-Error") == "client_connections"

    def served() -> bool:
        try:
            return gateway.get()[0] == 200
        except ConnectionError:  # refused while the request was on its way
            return False

    gateway.until(served, "the workers have seen them go")


SLOW_READERS = 200
ANSWER = 64 << 20


def test_worker_short_of_memory_refuses_in_words_and_recovers(stage: Stage) -> None:
    """Clients that read nothing fill the worker's buffers up to its budget: requests are refused until they are gone."""

    def serve(connection: Conversation) -> None:
        while True:
            if connection.receive().target == "/large":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ANSWER)
                while True:
                    connection.send(bytes(1 << 20))
            connection.answer(b"small")

    settings = document({"blue": stage.origin(serve).url})
    gateway = stage.gateway(settings).start()
    assert gateway.get()[0] == 200
    pid = gateway.worker()
    gateway.write({**settings, "limits": {"memory": memory(pid) * 5 // 4}})
    gateway.signal(signal.SIGHUP)
    gateway.logged("config", who="SIGHUP")
    assert gateway.get()[0] == 200
    refused: list[http.client.HTTPMessage] = []

    def refuses() -> bool:
        status, fields, _ = gateway.get()
        if status == 503:
            refused.append(fields)
        return status == 503

    with contextlib.ExitStack() as readers:
        for _ in range(SLOW_READERS):
            readers.enter_context(gateway.connect(receive_buffer=4096)).send(request("/large"))
        gateway.until(refuses, "a refusal")
    fields = refused[0]
    assert (fields["X-Headgate-Error"], fields["Retry-After"], fields["Connection"]) == ("memory", "1", "close")
    gateway.until(lambda: gateway.get()[0] == 200, "an end of the refusals")
    gateway.logged("memory pressure", level="error")
    gateway.logged("memory pressure", level="info")
    assert gateway.worker() == pid
