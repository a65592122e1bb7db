"""The gateway of the shadow bench with all around it: clients, stable, the shadow, and a control where there is to be one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from admin.client import AdminClient
from bench.child import Child
from bench.figures import BenchError
from bench.gateway import Gateway, running

ROUTE, PLAIN = "shop", "plain"
DIFFS = f"/v1/routes/{ROUTE}/diffs"
READY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Shop:
    """A running gateway with all around it. `control` is None where the route has none."""

    gateway: Gateway
    api: AdminClient
    load: Child
    stable: Child
    shadow: Child
    control: Child | None

    def begin(self, seed: int, defect: str = "") -> None:
        """Other answers from here on, and diffs that know nothing yet."""
        for number, origin in enumerate((self.stable, self.shadow, self.control)):
            if origin is not None:
                origin.ask("begin", seed=3 * seed + number, defect=defect if origin is self.shadow else "")
        self.api.call("DELETE", DIFFS)

    def diffs(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.api.get(DIFFS)
        return answer


@contextmanager
def shop(connections: int, *, control: bool, workers: int = 2) -> Iterator[Shop]:
    """Two routes: `shop` is copied in full, `plain` is not and has nothing else that differs."""
    with ExitStack() as stack:
        names = ("stable", "shadow", "control") if control else ("stable", "shadow")
        origins = {name: stack.enter_context(Child("shop_origin", name)) for name in names}
        shadow = {"upstream": "shadow", "percent": 100, **({"control": "control"} if control else {})}
        config = {
            "workers": workers,
            "upstreams": {
                name: {"endpoints": [f"http://127.0.0.1:{origin.hello['port']}"]} for name, origin in origins.items()
            },
            "routes": {
                ROUTE: {"match": {"path_prefix": f"/{ROUTE}"}, "stable": "stable", "shadow": shadow},
                PLAIN: {"match": {"path_prefix": f"/{PLAIN}"}, "stable": "stable"},
            },
        }
        gateway = stack.enter_context(running(config))
        api = stack.enter_context(gateway.api())
        load = stack.enter_context(Child("shop_load", str(gateway.port), str(connections)))
        _until(lambda: (api.get("/v1/status")["shadow"] or {}).get("ready"), READY_SECONDS, "no shadow process")
        yield Shop(gateway, api, load, origins["stable"], origins["shadow"], origins.get("control"))


def _until(there: Callable[[], Any], seconds: float, otherwise: str) -> None:
    deadline = monotonic() + seconds
    while not there():
        if monotonic() > deadline:
            raise BenchError(otherwise)
        time.sleep(0.1)
