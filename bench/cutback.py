"""Cutback under load: how long the call takes, and whether the canary gets a request after it has answered.

The load, the upstreams and the caller (this process) are processes of their own. The load is a closed loop with think time,
so that there is processor time left and the figures are the gateway's; what it came to is in the note. A last part takes the
think time away: every core is busy then, and the figures say what an overloaded machine does.
"""

from __future__ import annotations

import os
import signal
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from bench.child import Child
from bench.figures import Figure, Finding, quantile
from bench.gateway import ROUTE, Gateway, running, shop
from bench.options import Options

WORKERS = 4
CONNECTIONS = 256
THINK_SECONDS = 0.1
ROUNDS = 50
ROUNDS_BUSY = 10
LATE_SECONDS = 0.02
# How long arrivals are watched after an answer, and how many must come to the canary after a restore.
WATCHED_SECONDS = 0.15
WATCHED_FROZEN_SECONDS = 0.5
BACK_AGAIN = 100
PATH = f"/v1/routes/{ROUTE}/cutback"


@dataclass(slots=True)
class Calls:
    """Seconds of each call, and the spans in which the canary must get nothing: from an answer to the restore."""

    cutbacks: list[float] = field(default_factory=list)
    restores: list[float] = field(default_factory=list)
    quiet: list[tuple[float, float]] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)

    def late(self, arrivals: list[float], by: float) -> int:
        """Arrivals more than `by` seconds after an answer, and before the restore that followed."""
        return sum(
            bisect_right(arrivals, end) - bisect_right(arrivals, min(begin + by, end)) for begin, end in self.quiet
        )

    def latest(self, arrivals: list[float]) -> float:
        """The longest time after an answer at which a request still arrived; 0 where none did."""
        last = 0.0
        for begin, end in self.quiet:
            at = bisect_right(arrivals, end) - 1
            if at >= 0 and arrivals[at] > begin:
                last = max(last, arrivals[at] - begin)
        return last

    def receipt_ms(self) -> float:
        """The median of what receipts say: from the change to the last worker's acknowledgement, the store not counted."""
        return quantile((receipt["ms"] for receipt in self.receipts), 0.5)

    def applied(self) -> bool:
        return all(receipt["applied"] for receipt in self.receipts)


def measure(options: Options) -> Iterator[Finding]:
    with Child("origin", "blue") as blue, Child("origin", "canary") as canary:
        ports = {"blue": int(blue.hello["port"]), "canary": int(canary.hello["port"])}
        with (
            running(shop(ports, workers=WORKERS)) as gateway,
            Child("load", str(gateway.port), str(CONNECTIONS), str(THINK_SECONDS)) as load,
        ):
            yield from _under_load(gateway, load, canary)
            yield from _frozen(gateway, load, canary)
            yield from _busy(gateway, load, canary)


def _under_load(gateway: Gateway, load: Child, canary: Child) -> Iterator[Finding]:
    canary.ask("more", count=BACK_AGAIN, timeout=10)
    load.ask("report")
    idle, calls = _idle_ticks(), _rounds(gateway, canary, ROUNDS, WATCHED_SECONDS)
    report, free = load.ask("report"), 1 - _busy_share(idle)
    arrivals: list[float] = canary.ask("arrivals")["arrivals"]
    yield Figure("call, p99", 1000 * quantile(calls.cutbacks, 0.99), "ms", 50, _load_note(report, free))
    p50 = 1000 * quantile(calls.cutbacks, 0.5)
    note = (
        f"{calls.receipt_ms():.1f} ms of it by the receipt; restore p50 {1000 * quantile(calls.restores, 0.5):.1f} ms"
    )
    yield Figure("call, p50", p50, "ms", None, note)
    note = f"of {len(arrivals):,} arrivals in {ROUNDS} rounds; applied by all: {'yes' if calls.applied() else 'NO'}"
    yield Figure("arrivals later than 20 ms", calls.late(arrivals, LATE_SECONDS), "", 0, note)
    note = f"the last {1000 * calls.latest(arrivals):.1f} ms after an answer"
    yield Figure("arrivals later than 0 ms", calls.late(arrivals, 0.0), "", None, note)
    yield Figure("failed requests", report["failed"] + report["cut_off"], "", 0)


def _frozen(gateway: Gateway, load: Child, canary: Child) -> Iterator[Finding]:
    """One worker is stopped just before the call, in the middle of its work."""
    load.ask("report")
    os.kill(gateway.workers()[0], signal.SIGSTOP)
    calls = _rounds(gateway, canary, 1, WATCHED_FROZEN_SECONDS)
    report = load.ask("report")
    replaced = calls.receipts[0]["workers"]["replaced"]
    arrivals: list[float] = canary.ask("arrivals")["arrivals"]
    note = f"applied by all: {'yes' if calls.applied() else 'NO'}"
    yield Figure("one worker frozen: call", calls.cutbacks[0], "s", 2.5, note)
    yield Figure("one worker frozen: workers replaced", replaced, "", 1, least=1)
    note = f"connections cut off with their request: {report['cut_off']}"
    yield Figure("one worker frozen: later than 20 ms", calls.late(arrivals, LATE_SECONDS), "", 0, note)
    yield Figure("one worker frozen: later than 0 ms", calls.late(arrivals, 0.0), "")


def _busy(gateway: Gateway, load: Child, canary: Child) -> Iterator[Finding]:
    load.ask("think", seconds=0)
    canary.ask("more", count=1000, timeout=10)
    load.ask("report")
    idle, calls = _idle_ticks(), _rounds(gateway, canary, ROUNDS_BUSY, WATCHED_SECONDS)
    report, free = load.ask("report"), 1 - _busy_share(idle)
    arrivals: list[float] = canary.ask("arrivals")["arrivals"]
    slowest = 1000 * max(calls.cutbacks)
    note = f"slowest {slowest:.1f} ms, {calls.receipt_ms():.1f} ms by the receipt; {_load_note(report, free)}"
    yield Figure("no think time: call, p50", 1000 * quantile(calls.cutbacks, 0.5), "ms", None, note)
    note = f"the last {1000 * calls.latest(arrivals):.1f} ms after an answer"
    yield Figure("no think time: later than 20 ms", calls.late(arrivals, LATE_SECONDS), "", None, note)


def _rounds(gateway: Gateway, canary: Child, count: int, watched: float) -> Calls:
    calls = Calls()
    with gateway.api() as api:
        for _ in range(count):
            asked = monotonic()
            answer = api.call("POST", PATH, {"mode": "cut", "in_flight": "finish", "reason": "bench"})
            answered = monotonic()
            time.sleep(watched)
            restore = monotonic()
            api.call("DELETE", PATH, {"reason": "bench"})
            calls.cutbacks.append(answered - asked)
            calls.restores.append(monotonic() - restore)
            calls.quiet.append((answered, restore))
            calls.receipts.append(answer["receipt"])
            canary.ask("more", count=BACK_AGAIN, timeout=10)
    return calls


def _load_note(report: dict[str, Any], free: float) -> str:
    to_canary = report["by_upstream"].get("canary", 0) / max(report["requests"], 1)
    return (
        f"{report['per_second']:,.0f} requests/s over {CONNECTIONS} connections ({to_canary:.0%} canary), "
        f"p99 {report['p99_ms']:.1f} ms, {free:.0%} of {os.cpu_count()} cores idle"
    )


def _idle_ticks() -> tuple[float, float]:
    """Now, and the time that all cores have idled so far, in seconds."""
    with open("/proc/stat") as file:
        fields = file.readline().split()
    return monotonic(), (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _busy_share(since: tuple[float, float]) -> float:
    now, idle = _idle_ticks()
    return max(0.0, 1 - (idle - since[1]) / ((now - since[0]) * (os.cpu_count() or 1)))
