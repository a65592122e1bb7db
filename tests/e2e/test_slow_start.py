"""Slow start in real workers: with a window of a day the share stays at its beginning, a tenth of an equal one."""

from __future__ import annotations

import os
import signal

from tests.support.gateway import Gateway
from tests.support.origin import Origin
from tests.support.stage import Stage

REQUESTS = 400
# Around 20 of 400 (a tenth of a half); further off once in a hundred million runs.
FEW = range(1, 50)


def asked(gateway: Gateway, origin: Origin) -> int:
    """How many of so many requests it gets."""
    before = len(origin.arrivals)
    assert {gateway.get()[0] for _ in range(REQUESTS)} == {200}
    return len(origin.arrivals) - before


def change(gateway: Gateway, how: str, **body: object) -> None:
    method, path = ("PUT", "") if how == "put" else ("POST", f"/{how}")
    assert gateway.call(method, f"/v1/upstreams/blue/endpoints{path}", body)["receipt"]["applied"]


def test_endpoint_enabled_or_added_live_gets_little_at_first_and_no_worker_forgets_it(stage: Stage) -> None:
    old, new, third = stage.origin("old"), stage.origin("new"), stage.origin("third")
    blue = {"endpoints": [old.url, new.url], "slow_start": "1d"}
    gateway = stage.running({"blue": blue}, workers=2)
    assert asked(gateway, new) in range(130, 270)  # nothing warms up at the start
    change(gateway, "drain", endpoint=new.url)
    assert asked(gateway, new) == 0
    change(gateway, "enable", endpoint=new.url)
    assert asked(gateway, new) in FEW
    change(gateway, "put", endpoints=[old.url, new.url, third.url])
    assert asked(gateway, third) in range(1, 36)  # a tenth of a third
    assert asked(gateway, new) in range(1, 36)


def test_worker_that_replaces_another_warms_nothing_up(stage: Stage) -> None:
    old, new = stage.origin("old"), stage.origin("new")
    gateway = stage.running({"blue": {"endpoints": [old.url], "slow_start": "1d"}})
    change(gateway, "put", endpoints=[old.url, new.url])
    assert asked(gateway, new) in FEW
    killed = gateway.worker()
    os.kill(killed, signal.SIGKILL)
    gateway.until(lambda: gateway.by_title().get("headgate: worker 0", killed) != killed, "another worker")
    assert asked(gateway, new) in range(130, 270)
