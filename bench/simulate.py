"""`make simulate`: how soon rollouts are cut back, and how often for nothing, as tables.

Made-up traffic (bench/simulated.py), 1000 requests/s with the canary at 5 %, goes through the gateway's own judging and state
machine. Seeds are fixed, so the figures are the same each time. Beside it Flagger's rule on the same traffic: a check of the canary
each minute, and the fifth in which less than 99 % succeeded cuts back. Exit code 1 where a figure is worse than asked.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import repeat
from time import monotonic

from bench.figures import quantile
from bench.simulated import Ended, Scene, run

ROLLOUTS = 1000
Runs = Callable[[Scene, int, bool], list[Ended]]

# (the canary's share of failures, asked: most seconds to the cutback, median)
ERRORS = ((0.005, 40.0), (0.01, 14.0), (0.05, 2.5), (0.5, 1.2))
LATE = 1800.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"which: {', '.join(TABLES)}")
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help=f"of each kind ({ROLLOUTS})")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.tables if name not in TABLES]:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    begun = monotonic()
    missed: list[str] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = partial(_runs, pool)
        for name in arguments.tables or TABLES:
            for line in TABLES[name](runs, arguments.rollouts, missed):
                print(line, flush=True)
            print(flush=True)
    print(f"{monotonic() - begun:.0f} s", file=sys.stderr)
    for what in missed:
        print(f"worse than asked: {what}", file=sys.stderr)
    return 1 if missed else 0


def _runs(pool: ProcessPoolExecutor, scene: Scene, count: int, flagger: bool) -> list[Ended]:
    return list(pool.map(run, repeat(scene), range(count), repeat(flagger), chunksize=max(1, min(20, count // 8))))


# Tables


def _errors(runs: Runs, count: int, missed: list[str]) -> Iterator[str]:
    yield from _head(
        "canary fails", "asked", "cut back after, median", "95 % within", "failed until then", "Flagger's rule"
    )
    for share, asked in ERRORS:
        ended = runs(Scene(canary=share), count, False)
        others = runs(Scene(canary=share), max(count // 20, 5), True)
        middle = _median(ended)
        if middle > asked:
            missed.append(f"{share:.1%} errors: {middle} s, not {asked} s")
        failed = quantile([float(one.failed) for one in ended], 0.5)
        yield _row(f"{100 * share:g} %", f"≤ {asked:g} s", *_times(ended), f"{failed:.0f}", _flagger(others))


def _late(runs: Runs, count: int, missed: list[str]) -> Iterator[str]:
    yield from _head(f"canary fails from {LATE:g} s on", "cut back after, median", "95 % within")
    for share, _ in ERRORS:
        ended = runs(Scene(canary=share, changes_at=LATE), max(count // 20, 5), False)
        yield _row(f"{100 * share:g} %", *_times(ended))


def _latency(runs: Runs, count: int, missed: list[str]) -> Iterator[str]:
    yield from _head("canary is slower", "", "asked", "cut back after, median", "95 % within")
    for slower in (1.25, 1.5, 2.0):
        for changes_at, when in ((30.0, "once it is warm"), (600.0, "after ten minutes")):
            scene = Scene(timed=True, slower=slower, changes_at=changes_at, seconds=changes_at + 600.0)
            ended = runs(scene, max(count // 20, 5), False)
            asked = 15.0 if (slower, changes_at) == (1.25, 30.0) else None
            if asked is not None and (middle := _median(ended)) > asked:
                missed.append(f"25 % slower: {middle} s, not {asked} s")
            goal = "" if asked is None else f"≤ {asked:g} s"
            yield _row(f"by {100 * (slower - 1):.0f} %", when, goal, *_times(ended))


def _nothing(runs: Runs, count: int, missed: list[str]) -> Iterator[str]:
    """A second a tick, for time's sake."""
    hour = Scene(tick=1.0)
    outage = replace(hour, outage=0.2)
    scenes = (
        ("no difference, an hour", hour, count, 0.01),
        ("sticky clients that fail 5 times in a row, an hour", replace(hour, tries=5.0), count, 0.02),
        ("both fail by 20 % for a minute of an hour", outage, count, 0.01),
        ("both fail by 20 % for six minutes of an hour", replace(outage, out_for=360.0), count // 10, 0.01),
        ("no difference, latencies too, half an hour", replace(hour, timed=True, seconds=1800.0), count // 10, 0.01),
    )
    yield from _head("no regression", "rollouts", "asked", "cut back", "Flagger's rule")
    for what, scene, rollouts, asked in scenes:
        ended = runs(scene, max(rollouts, 5), True)
        wrong = [one for one in ended if one.seconds is not None]
        if len(wrong) > asked * len(ended):
            missed.append(f"{what}: {len(wrong)} of {len(ended)}, for one: {wrong[0].why}")
        others = sum(one.flagger is not None for one in ended)
        shares = (f"{100 * cut / len(ended):.3g} %" for cut in (len(wrong), others))
        yield _row(what, f"{len(ended):,}", f"≤ {100 * asked:g} %", *shares)


TABLES = {"errors": _errors, "late": _late, "latency": _latency, "nothing": _nothing}


# Cells


def _seconds(ended: Sequence[Ended]) -> list[float]:
    return [float("inf") if one.seconds is None else one.seconds for one in ended]


def _median(ended: Sequence[Ended]) -> float:
    return quantile(_seconds(ended), 0.5)


def _times(ended: Sequence[Ended]) -> tuple[str, str]:
    return _shown(_median(ended)), _shown(quantile(_seconds(ended), 0.95))


def _flagger(ended: Sequence[Ended]) -> str:
    times = [float("inf") if one.flagger is None else one.flagger for one in ended]
    return _shown(quantile(times, 0.5))


def _shown(seconds: float) -> str:
    return "never" if seconds == float("inf") else f"{seconds:.3g} s"


def _head(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield "|" + "---|" * len(cells)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
