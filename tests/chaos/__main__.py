"""`python -m tests.chaos [--slots N] [--seconds 5]`: faults in rotation, each slot so long at least; a table in Markdown.
Exit code 1 where a request failed that should not have, the gateway did not recover, or memory grew by more than a tenth."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.faults import FAULTS, LAST, Fault
from tests.chaos.scene import Scene
from tests.support.processes import children

MOST_GROWTH = 0.10
LOG_LINES = 60


@dataclass(slots=True)
class Outcome:
    """What became of a fault, each time that it was played."""

    fault: Fault
    times: int = 0
    longest: float = 0.0
    """Seconds from the blow until all was as before."""
    answered: int = 0
    excused: int = 0
    """In flight on what was struck."""
    failed: Counter[str] = field(default_factory=Counter)
    """By kind: those without an excuse."""

    def row(self) -> str:
        failed = ", ".join(f"{count} {kind}" for kind, count in self.failed.items()) or "0"
        cells = (
            self.fault.name,
            self.fault.promise,
            self.times,
            f"{self.longest:.1f} s",
            f"{self.answered:,}",
            f"{self.excused:,}",
            failed,
        )
        return "| " + " | ".join(map(str, cells)) + " |"


def play(scene: Scene, outcome: Outcome, seconds: float) -> None:
    load = scene.load
    began, answered, failures, refused = time.monotonic(), load.answered, len(load.failures), load.refused
    excuses = outcome.fault.play(scene)
    outcome.longest = max(outcome.longest, time.monotonic() - began)
    scene.rest(began + seconds)
    found = load.failures[failures:]
    failed = [each for each in found if not any(excuse.covers(each) for excuse in excuses)]
    outcome.times += 1
    outcome.answered += load.answered - answered
    outcome.excused += len(found) - len(failed)
    kinds = Counter(each.kind for each in failed)
    if not outcome.fault.refuses and load.refused > refused:
        kinds["refused"] = load.refused - refused
    outcome.failed.update(kinds)
    _say(f"{time.monotonic() - began:5.1f} s  {outcome.fault.name}: {dict(kinds) or 'as promised'}")
    for each in failed:
        _say(f"    {each.kind}: {began:.3f} blow, {each}; excuses {excuses}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _form(scene: Scene) -> str:
    return "compiled" if scene.compiled else "not compiled"


def rotation(slots: int) -> list[Fault]:
    repeated = FAULTS[:-LAST]
    return [repeated[slot % len(repeated)] for slot in range(max(slots, len(FAULTS)) - LAST)]


def run(scene: Scene, slots: int, seconds: float, outcomes: dict[str, Outcome]) -> tuple[int, int]:
    """The memory in use before the first fault, and after the last that leaves something of before."""
    _say(f"workers {_form(scene)}")
    scene.rest(time.monotonic() + max(seconds, 5.0))
    before = scene.memory()
    for fault in rotation(slots):
        play(scene, outcomes[fault.name], seconds)
    after = scene.memory()
    for fault in FAULTS[-LAST:]:
        play(scene, outcomes[fault.name], seconds)
    return before, after


def report(scene: Scene, outcomes: list[Outcome], seconds: float, before: int, after: int) -> int:
    """The exit code."""
    print("| fault | promise | times | all as before after | answered | failed in flight on it | failed otherwise |")
    print("|---|---|---|---|---|---|---|")
    for outcome in outcomes:
        print(outcome.row())
    failed = sum(outcome.failed.total() for outcome in outcomes)
    wrong = sum(outcome.failed["wrong body"] for outcome in outcomes)
    answered, excused = sum(outcome.answered for outcome in outcomes), sum(outcome.excused for outcome in outcomes)
    growth = after / before - 1
    print(
        f"\n{sum(outcome.times for outcome in outcomes)} slots in {seconds:.0f} s, workers {_form(scene)}: {answered:,} answered, "
        f"{excused:,} failed in flight on what was struck, {failed} failed otherwise, {wrong} wrong bodies. "
        f"All processes together had {before / 2**20:.0f} MiB in memory (VmRSS) before the first fault and {after / 2**20:.0f} MiB "
        f"after the last but {LAST} ({growth:+.1%})."
    )
    if scene.disk is not None and not scene.disk.own:
        print("No filesystem could be mounted: for a full disk the admin process was kept from writing to files.")
    if scene.clock is not None and not scene.clock.movable:
        print("There is no C compiler: the clock did not jump.")
    if growth > MOST_GROWTH:
        _say(f"memory grew by more than {MOST_GROWTH:.0%}")
    return int(failed > 0 or growth > MOST_GROWTH)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--slots", type=int, default=len(FAULTS), help="each fault comes once at least")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no process is left
    outcomes = {fault.name: Outcome(fault) for fault in FAULTS}
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Scene(Path(folder), options.clients, breakable=True) as scene,
    ):
        try:
            before, after = run(scene, options.slots, options.seconds, outcomes)
            code = report(scene, list(outcomes.values()), time.monotonic() - began, before, after)
        except Exception:
            traceback.print_exc()
            code = 1
        if code:
            _say("\n".join(["The gateway's log, at its end:", *scene.gateway.lines[-LOG_LINES:]]))
    left = children(os.getpid())
    if left:
        _say(f"processes are left: {left}")
    return int(bool(code or left))


if __name__ == "__main__":
    sys.exit(main())
