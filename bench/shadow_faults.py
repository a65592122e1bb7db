"""A shadow that hangs, refuses, resets, floods, babbles, and a shadow process that is killed each second: what clients notice of
it, which is to be nothing, and what it costs the gateway.

Rounds over a route with a shadow and one without follow each other in the same gateway, so that the ratio holds on a machine that
is busy too.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from bench.figures import Figure, Finding
from bench.gateway import Gateway, children
from bench.options import Options
from bench.shop_gateway import PLAIN, ROUTE, Shop, shop

CONNECTIONS = 64
ROUND_SECONDS = 5.0
WARM_SECONDS = 2.0
FAULT_SECONDS = 5.0
FAULTS = {
    "refuse": "refuses",
    "reset": "resets amid a body",
    "huge": "answers 10 MB",
    "garbage": "answers garbage",
}
LOOK_SECONDS = 0.5
GROWTH_MB = 60
LEAST_RATE = 0.95
MOST_P99 = 1.1


@dataclass(slots=True)
class Rounds:
    """Reports of the load, a round each."""

    reports: list[dict[str, Any]] = field(default_factory=list)

    def median(self, key: str) -> float:
        return float(median(report[key] for report in self.reports))

    def total(self, key: str) -> int:
        return sum(int(report[key]) for report in self.reports)

    @property
    def unlike(self) -> int:
        """Answers that were not what the primary sent, or never came."""
        return self.total("wrong") + self.total("cut_off")


def measure_hanging(options: Options) -> Iterator[Finding]:
    with shop(CONNECTIONS, control=False, workers=1) as running_shop:
        _warm(running_shop)
        before = megabytes(running_shop.gateway)
        running_shop.shadow.ask("turn", mood="hang")
        most = before
        plain, copied = Rounds(), Rounds()
        seconds = 0.0
        while seconds < options.seconds:
            plain.reports.append(_round(running_shop, PLAIN, ROUND_SECONDS)[0])
            length = min(ROUND_SECONDS, options.seconds - seconds)
            report, grown = _round(running_shop, ROUTE, length)
            copied.reports.append(report)
            most, seconds = max(most, grown), seconds + length
        diffs = running_shop.diffs()
    yield from _figures("hangs", plain, copied)
    note = f"{before:.0f} MB before; the most in {seconds:.0f} s of copying"
    yield Figure("shadow hangs: growth of all processes", most - before, "MB", GROWTH_MB, note)
    yield Figure("shadow hangs: copies sent", sum(diffs["outcomes"].values()), "", None, _counts(diffs))


def measure_faults(options: Options) -> Iterator[Finding]:
    length = min(FAULT_SECONDS, options.seconds)
    with shop(CONNECTIONS, control=False, workers=1) as running_shop:
        _warm(running_shop)
        for mood, what in FAULTS.items():
            plain = Rounds([_round(running_shop, PLAIN, length)[0]])
            running_shop.shadow.ask("turn", mood=mood)
            before = megabytes(running_shop.gateway)
            report, most = _round(running_shop, ROUTE, length)
            running_shop.shadow.ask("turn", mood="sound")
            yield _unlike(what, Rounds([report]), _ratio(plain, Rounds([report])) + f"; grew {most - before:.0f} MB")
        plain = Rounds([_round(running_shop, PLAIN, length)[0]])
        running_shop.load.ask("go", prefix=f"/{ROUTE}", think=0)
        killed = _kill_each_second(running_shop.gateway, length)
        report = running_shop.load.ask("stand")
        note = f"{killed} times; {_ratio(plain, Rounds([report]))}; {_counts(running_shop.diffs())}"
        yield _unlike("process is killed each second", Rounds([report]), note)


def _warm(shop: Shop) -> None:
    """All processes are there and have what they need: also the differ, which starts with the first pair."""
    for prefix in (PLAIN, ROUTE):
        _round(shop, prefix, WARM_SECONDS)


def _round(shop: Shop, prefix: str, seconds: float) -> tuple[dict[str, Any], float]:
    """The load's report, and the most memory of all processes."""
    shop.load.ask("go", prefix=f"/{prefix}", think=0)
    most, deadline = 0.0, monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        time.sleep(min(LOOK_SECONDS, left))
        most = max(most, megabytes(shop.gateway))
    return shop.load.ask("stand"), most


def _kill_each_second(gateway: Gateway, seconds: float) -> int:
    killed, deadline = 0, monotonic() + seconds
    while monotonic() < deadline:
        time.sleep(1.0)
        pid = gateway.shadow_process()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def megabytes(gateway: Gateway) -> float:
    """RSS of the gateway's whole tree; pages that processes share count for each."""
    pids, total = [gateway.process.pid], 0
    while pids:
        pid = pids.pop()
        pids += children(pid)
        try:
            match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        except OSError:
            continue
        total += int(match[1]) if match else 0
    return total / 1024


def _figures(what: str, plain: Rounds, copied: Rounds) -> Iterator[Finding]:
    yield _unlike(what, copied, f"of {copied.total('requests'):,}")
    rate = copied.median("per_second") / plain.median("per_second")
    note = (
        f"{copied.median('per_second'):,.0f} to {plain.median('per_second'):,.0f} requests/s, "
        f"medians of {len(plain.reports)} rounds each"
    )
    yield Figure(f"shadow {what}: time of a request", 1 / rate, "x", 1 / LEAST_RATE, f"{rate:.3f} x the rate; {note}")
    slower = copied.median("p99_ms") / plain.median("p99_ms")
    note = f"{copied.median('p99_ms'):.1f} to {plain.median('p99_ms'):.1f} ms"
    yield Figure(f"shadow {what}: p99", slower, "x", MOST_P99, note)


def _unlike(what: str, rounds: Rounds, note: str) -> Finding:
    shown = next((text for report in rounds.reports for text in report["shown"]), "")
    note += f"; for one: {shown!r}" if shown else ""
    return Figure(f"shadow {what}: answers not as the primary's", rounds.unlike, "", 0, note)


def _ratio(plain: Rounds, copied: Rounds) -> str:
    rate, p99 = (copied.median(key) / plain.median(key) for key in ("per_second", "p99_ms"))
    return f"{copied.total('requests'):,} requests, {rate:.2f} x the rate without, {p99:.2f} x the p99"


def _counts(diffs: dict[str, Any]) -> str:
    counts = {**diffs["outcomes"], **{f"dropped {name}": count for name, count in diffs["dropped"].items()}}
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
