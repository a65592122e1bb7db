"""A rollout whose canary turns bad under load: how long until it gets nothing any more, and what clients noticed.

Two workers, about 400 requests a second that are retried elsewhere (`retry.other_upstream`); from one moment on the canary answers
every second request with 500. The time is from that moment to the last request that reached it. Load, upstreams and the caller
are processes of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from admin.client import AdminClient
from bench.child import Child
from bench.figures import BenchError, Figure, Finding, quantile
from bench.gateway import ROUTE, Gateway, running
from bench.options import Options

WORKERS = 2
CONNECTIONS = 40
THINK_SECONDS = 0.1
ROUNDS = 10
WEIGHTS = (5, 25)
WITHIN_SECONDS = 1.5
# Requests of the canary that a rollout has seen before it turns.
WARM = 50
LONGEST = 60.0
# How long the canary is watched after the cutback.
WATCHED_SECONDS = 0.3
LOOK_SECONDS = 0.05
PATH = f"/v1/routes/{ROUTE}/rollout"


@dataclass(slots=True)
class Rounds:
    """Seconds to the last request, and answers of the canary that had failed; `late` came after the rollout had cut back."""

    seconds: list[float] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    late: int = 0


def measure(options: Options) -> Iterator[Finding]:
    with Child("origin", "blue") as blue, Child("turning", "canary") as canary:
        ports = {"blue": int(blue.hello["port"]), "canary": int(canary.hello["port"])}
        with (
            running(_shop(ports)) as gateway,
            Child("load", str(gateway.port), str(CONNECTIONS), str(THINK_SECONDS)) as load,
        ):
            for weight in WEIGHTS:
                load.ask("report")
                rounds = _rounds(gateway, canary, weight)
                yield from _findings(weight, rounds, load.ask("report"))


def _shop(ports: dict[str, int]) -> dict[str, Any]:
    retry = {"on": ["connect", "reset", 500, 502, 503, 504], "other_upstream": True, "budget": "100%"}
    return {
        "limits": {"requests_per_connection": 0},
        "workers": WORKERS,
        "upstreams": {name: {"endpoints": [f"http://127.0.0.1:{port}"]} for name, port in ports.items()},
        "routes": {ROUTE: {"stable": "blue", "weights": {"blue": 1}, "retry": retry}},
    }


def _rounds(gateway: Gateway, canary: Child, weight: int) -> Rounds:
    rounds = Rounds()
    with gateway.api() as api:
        for _ in range(ROUNDS):
            api.call("POST", PATH, {"to": "canary", "steps": [{"weight": weight, "hold": "1h"}]})
            _until(api, lambda each: each["verdict"] == "ok" and each["evidence"]["canary"]["requests"] >= WARM)
            turned = canary.ask("turn", bad=True)["at"]
            _until(api, lambda each: each["state"] == "cut_back")
            ended = monotonic()
            time.sleep(WATCHED_SECONDS)
            report = canary.ask("report")
            canary.ask("turn", bad=False)
            rounds.seconds.append(report["arrivals"][-1] - turned)
            rounds.failed.append(report["failed"])
            rounds.late += sum(at > ended for at in report["arrivals"])
            api.call("DELETE", f"/v1/routes/{ROUTE}/cutback", {"reason": "bench"})
    return rounds


def _until(api: AdminClient, holds: Any) -> None:
    deadline = monotonic() + LONGEST
    while not holds(rollout := api.get(PATH)):
        if monotonic() > deadline:
            raise BenchError(f"in vain after {LONGEST:g} s: {rollout}")
        time.sleep(LOOK_SECONDS)


def _findings(weight: int, rounds: Rounds, report: dict[str, Any]) -> Iterator[Finding]:
    arm = f"canary {weight} %"
    load = f"{report['per_second']:,.0f} requests/s, p99 {report['p99_ms']:.1f} ms; {len(rounds.seconds)} rounds"
    note = f"median {quantile(rounds.seconds, 0.5):.2f} s; {load}"
    yield Figure(f"{arm}: 50 % errors to weight 0, slowest", max(rounds.seconds), "s", WITHIN_SECONDS, note)
    note = f"median; {max(rounds.failed)} in the worst round"
    yield Figure(f"{arm}: answered with 500 by the canary", quantile(rounds.failed, 0.5), "", None, note)
    note = f"of {report['requests']:,}"
    yield Figure(f"{arm}: failed client requests", report["failed"] + report["cut_off"], "", 0, note)
    yield Figure(f"{arm}: requests to it after the cutback", rounds.late, "", 0)
