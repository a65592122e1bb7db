"""Limits of the whole gateway, with real processes."""

from __future__ import annotations

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
    clients = [gateway.connect() for _ in range(12)]
    for client in clients:
        client.send(request("/"))
        assert client.response().status == 200
    with gateway.connect() as one_more:
        assert one_more.response().head.get("X-Headgate-Error") == "client_connections"
    clients.pop().close()
    gateway.until(lambda: gateway.get()[0] == 200, "room for another")
    for client in clients:
        client.close()


SLOW_READERS = 400
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
    readers = [gateway.connect(receive_buffer=4096) for _ in range(SLOW_READERS)]
    for reader in readers:
        reader.send(request("/large"))
    gateway.logged("memory pressure", level="error")
    gateway.until(lambda: gateway.get()[0] == 503, "a refusal")
    status, fields, _ = gateway.get()
    assert (status, fields["X-Headgate-Error"], fields["Retry-After"]) == (503, "memory", "1")
    assert fields["Connection"] == "close"
    mark = gateway.mark
    for reader in readers:
        reader.close()
    gateway.logged("memory pressure", after=mark, level="info")
    gateway.until(lambda: gateway.get()[0] == 200, "an end of the refusals")
    assert gateway.worker() == pid
