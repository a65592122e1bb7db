"""Slow loris: how long other clients wait for their answers beside 10,000 connections whose heads come byte by byte, to how long
they wait without them.

The rounds take turns. The others are a closed loop with think time, so that there is processor time left and the figures are the
gateway's. The attackers' process runs where nobody else wants to (SCHED_IDLE): what is measured is the gateway, not their share
of the machine.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterator
from statistics import median

from bench.child import Child
from bench.figures import BenchError, Figure, Finding, NotMeasured
from bench.gateway import running, shop
from bench.loris_clients import SPARE_FILES
from bench.options import Options

SLOW = 10_000
ROUNDS = 3
SECONDS = 10.0
# Two deadlines of a head: every connection is cut and comes again while this lasts.
SECONDS_BESIDE = 20.0
CONNECTIONS = 64
THINK_SECONDS = 0.05
RATIO = 1.5
# Of the slow ones, at the end of each round: the rest is between its end and its next connection.
LEAST_OPEN = 0.9


def measure(options: Options) -> Iterator[Finding]:
    what = f"p99 beside {SLOW:,} slow heads"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SLOW + SPARE_FILES:
        yield NotMeasured(what, f"only {hard} files may be open here")
        return
    with Child("origin", "blue") as blue, Child("origin", "canary") as canary:
        ports = {"blue": int(blue.hello["port"]), "canary": int(canary.hello["port"])}
        config = shop(ports, workers=1, access_log={"sample": 0})
        config["limits"]["connections"] = 0  # as many more are let in, or nobody but them would be
        with (
            running(config) as gateway,
            Child("load", str(gateway.port), str(CONNECTIONS), str(THINK_SECONDS)) as load,
            Child("loris_clients", str(gateway.port)) as slow,
        ):
            rounds = [_round(load, slow) for _ in range(ROUNDS)]
    alone, beside = (median(figures) for figures in list(zip(*rounds, strict=True))[:2])
    ended = sum((ends for _, _, ends in rounds), Counter[str]())
    note = f"{beside:.1f} to {alone:.1f} ms, medians; of {ROUNDS} rounds"
    yield Figure(what, median(beside / alone for alone, beside, _ in rounds), "x", RATIO, note)
    others = sum(count for end, count in ended.items() if end != "408")
    note = f"{ended['408']:,} ended with 408"
    yield Figure("slow heads that ended otherwise", others, "", 0, note)


def _round(load: Child, slow: Child) -> tuple[float, float, Counter[str]]:
    """The p99 in ms without them and beside them, and how those ended that did."""
    alone = _p99(load, SECONDS)
    slow.ask("open", count=SLOW)
    beside = _p99(load, SECONDS_BESIDE)
    report = slow.ask("close")
    if report["open"] < LEAST_OPEN * SLOW:
        raise BenchError(f"only {report['open']} slow connections were open")
    return alone, beside, Counter(report["ended"])


def _p99(load: Child, seconds: float) -> float:
    load.ask("report")
    time.sleep(seconds)
    report = load.ask("report")
    if report["failed"] or report["cut_off"]:
        raise BenchError(
            f"of {report['requests']} requests {report['failed']} failed, {report['cut_off']} were cut off"
        )
    return float(report["p99_ms"])
