"""`python -m tests.chaos [--slots 24] [--seconds 5]`: faults in rotation, each slot so long at least; a table in Markdown.
Exit code 1 where a request failed that should not have, or memory grew by more than a tenth."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.scene import Scene

MOST_GROWTH = 0.10


@dataclass(frozen=True, slots=True)
class Outcome:
    fault: Fault
    seconds: float
    answered: int
    excused: int
    """In flight on what was killed."""
    failed: dict[str, int]
    """By kind: those without an excuse."""


def play(scene: Scene, fault: Fault, seconds: float) -> Outcome:
    began, answered, failures = time.monotonic(), scene.load.answered, len(scene.load.failures)
    excuses = fault.play(scene)
    recovered = time.monotonic() - began
    scene.rest(began + seconds)
    found = scene.load.failures[failures:]
    failed = [each for each in found if not any(excuse.covers(each) for excuse in excuses)]
    return Outcome(
        fault,
        recovered,
        scene.load.answered - answered,
        len(found) - len(failed),
        dict(Counter(each.kind for each in failed)),
    )


def row(outcome: Outcome) -> str:
    failed = ", ".join(f"{count} {kind}" for kind, count in outcome.failed.items()) or "0"
    cells = (outcome.fault.name, outcome.fault.promise, outcome.answered, outcome.excused, failed)
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--slots", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    print("| fault | promise | answered | failed in flight on it | failed otherwise |\n|---|---|---|---|---|")
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, Scene(Path(folder), options.clients) as scene:
        scene.rest(time.monotonic() + options.seconds)
        before = scene.memory()
        repeated, last = FAULTS[:-2], FAULTS[-2:]  # the last two take all processes with them, and their memory
        for slot in range(max(options.slots - len(last), 0)):
            outcomes.append(play(scene, repeated[slot % len(repeated)], options.seconds))
            print(row(outcomes[-1]), flush=True)
        after = scene.memory()
        for fault in last:
            outcomes.append(play(scene, fault, options.seconds))
            print(row(outcomes[-1]), flush=True)
    failed = sum(sum(outcome.failed.values()) for outcome in outcomes)
    wrong = sum(outcome.failed.get("wrong body", 0) for outcome in outcomes)
    growth = after / before - 1
    answered, excused = (sum(each.answered for each in outcomes), sum(each.excused for each in outcomes))
    print(
        f"\n{answered} answered, {excused} failed in flight on what was killed, {failed} failed otherwise, {wrong} wrong bodies; "
        f"memory {before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after ({growth:+.1%})"
    )
    return int(failed > 0 or growth > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
