"""Endpoints of an upstream exchanged one after another under load: no request fails, none comes late."""

from __future__ import annotations

import contextlib
from typing import Any

from tests.support.gateway import Gateway
from tests.support.load import Load, Meter, late, measured
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
                _, at = measured(lambda url=old.url: change(gateway, "POST", "/drain", {"endpoint": url}))
                answered.append((old, at))
                gateway.until(lambda url=old.url: shown(gateway)[url] == "drained", "it is drained")
                load.wait(50)
                change(gateway, "PUT", "", {"endpoints": [url for url in shown(gateway) if url != old.url]})
                load.wait(50)
        assert (set(load.statuses), load.broken) == ({200}, 0)
        assert [late(meter, at, ALLOWED) for meter, at in answered] == [[], []]
        assert shown(gateway) == {meter.url: "in" for meter in meters[2:]}
