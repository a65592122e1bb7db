"""Limits of the whole gateway, with real processes."""

from __future__ import annotations

import os
import signal

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
