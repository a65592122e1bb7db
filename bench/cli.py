"""The commands that move traffic, as a person or a script waits for them: from the start of the process to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from statistics import median
from time import monotonic

from bench.child import Child
from bench.figures import Figure, Finding
from bench.gateway import COMMAND, ROUTE, Gateway, running, shop
from bench.options import Options

CALLS = 20


def measure(options: Options) -> Iterator[Finding]:
    with Child("origin", "blue") as blue, Child("origin", "canary") as canary:
        ports = {"blue": int(blue.hello["port"]), "canary": int(canary.hello["port"])}
        with running(shop(ports, workers=2)) as gateway:
            weights = [_seconds(gateway, "weights", ROUTE, f"canary={1 + call}") for call in range(CALLS)]
            yield _figure("headgate weights", weights)
            cutbacks = []
            for _ in range(CALLS):
                cutbacks.append(_seconds(gateway, "cutback", ROUTE))
                with gateway.api() as api:
                    api.call("DELETE", f"/v1/routes/{ROUTE}/cutback")
            yield _figure("headgate cutback", cutbacks)


def _figure(what: str, seconds: list[float]) -> Finding:
    return Figure(f"{what}, slowest of {CALLS}", max(seconds), "s", 0.4, f"median {median(seconds):.3f} s")


def _seconds(gateway: Gateway, *command: str) -> float:
    begun = monotonic()
    subprocess.run([COMMAND, *command, "--state", str(gateway.state)], check=True, stdout=subprocess.DEVNULL)
    return monotonic() - begun
