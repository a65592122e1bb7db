"""Endpoints that come, go and fall ill while real processes serve: no request fails, none comes late."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

from tests.support.gateway import Gateway
from tests.support.load import Load, Meter, late, measured
from tests.support.origin import Conversation, serving
from tests.support.stage import Stage

# From the clock in a meter's thread to the one in the test's: what counts as late is certainly so.
ALLOWED = 0.05


def shown(gateway: Gateway, upstream: str = "blue") -> dict[str, str]:
    """State by endpoint."""
    found: list[Any] = gateway.call("GET", "/v1/upstreams")["upstreams"]
    [own] = [each for each in found if each["upstream"] == upstream]
    return {each["endpoint"]: each["state"] for each in own["endpoints"]}


def change(gateway: Gateway, method: str, path: str, body: object) -> None:
    assert gateway.call(method, f"/v1/upstreams/blue/endpoints{path}", body)["receipt"]["applied"]


def drain(gateway: Gateway, url: str) -> float:
    """When the drain was answered; returns once nothing is there any more."""
    _, answered = measured(lambda: change(gateway, "POST", "/drain", {"endpoint": url}))
    gateway.until(lambda: shown(gateway)[url] == "drained", "nothing is there any more")
    return answered


def test_rolling_update_of_an_upstream_drops_nothing(stage: Stage) -> None:
    with contextlib.ExitStack() as closing:
        meters = [Meter(f"blue {number}") for number in range(4)]
        for meter in meters:
            closing.callback(meter.close)
        gateway = stage.running({"blue": [meter.url for meter in meters[:2]]}, workers=2)
        with Load(gateway, [{} for _ in range(4)]) as load:
            load.wait(100)
            answered: list[tuple[Meter, float]] = []
            for old, new in zip(meters[:2], meters[2:], strict=True):
                change(gateway, "PUT", "", {"endpoints": [*shown(gateway), new.url]})
                new.wait(20)
                answered.append((old, drain(gateway, old.url)))
                load.wait(50)
                change(gateway, "PUT", "", {"endpoints": [url for url in shown(gateway) if url != old.url]})
                load.wait(50)
        assert (set(load.statuses), load.broken) == ({200}, 0)
        assert [late(meter, at, ALLOWED) for meter, at in answered] == [[], []]
        assert shown(gateway) == {meter.url: "in" for meter in meters[2:]}


CHECKED = {"path": "/up", "interval": "50ms", "timeout": "5s", "healthy": 1, "unhealthy": 1}


def test_canary_that_falls_ill_fails_over_to_stable_and_stays_out_while_admin_is_dead(stage: Stage) -> None:
    def canary(connection: Conversation) -> None:
        while True:
            arrival = connection.receive()
            ill = arrival.target == "/up" and down.is_set()
            connection.answer(b"canary", "503 No" if ill else "200 OK", X_Served_By="canary")

    down = threading.Event()
    origin = stage.origin(canary)
    upstreams = {"blue": stage.origin("blue").url, "canary": {"endpoints": [origin.url], "health_check": CHECKED}}
    gateway = stage.running(upstreams, {"weights": {"canary": 1}}, workers=2)
    assert gateway.get()[1]["X-Served-By"] == "canary"
    down.set()
    gateway.logged("endpoint unhealthy", upstream="canary")
    gateway.until(lambda: shown(gateway, "canary") == {origin.url: "unhealthy"}, "it is told to the workers")
    assert {gateway.get()[1]["X-Served-By"] for _ in range(20)} == {"blue"}
    admin, mark = gateway.admin_pid, gateway.mark
    os.kill(admin, signal.SIGKILL)
    gateway.wait_gone(admin)
    assert {gateway.get()[1]["X-Served-By"] for _ in range(20)} == {"blue"}
    down.clear()
    gateway.logged("endpoint healthy", after=mark, upstream="canary")
    gateway.until(lambda: gateway.get()[1]["X-Served-By"] == "canary", "it is back")


def test_endpoint_that_answers_500_is_ejected_by_the_worker_and_shown(stage: Stage) -> None:
    bad, good = stage.origin(serving("bad", "500 No")), stage.origin("good")
    blue = {"endpoints": [bad.url, good.url], "outlier": {"consecutive_5xx": 2, "ejection": "1h"}}
    gateway = stage.running({"blue": blue})
    gateway.until(lambda: gateway.get()[0] == 200 and shown(gateway)[bad.url] == "ejected", "it is ejected")
    assert {gateway.get()[0] for _ in range(20)} == {200}
    assert shown(gateway) == {bad.url: "ejected", good.url: "in"}
