"""Side by side with other proxies: the script beside the repository, where it is, and the ratios that are asked of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, Finding, NotMeasured
from bench.gateway import COMMAND
from bench.options import Options

SCRIPT = Path(__file__).resolve().parents[2] / "shared" / "bench" / "compare.py"
# (scenario, peer, the most times its processor time a request)
ASKED = (
    ("plain", "envoy", 0.8),
    ("plain", "nginx", 2.0),
    ("large", "envoy", 1.2),
    ("upload", "envoy", 1.2),
)
RULES_TO_PLAIN = 1.2
# Of the same run's `plain`: a worker, and all processes together, where everything is copied and compared.
MIRROR_WORKER, MIRROR_ALL = 1.3, 2.5
# Requests/s: where all answers differ, to where none does; beside a shadow that hangs, to none.
DIFF_RATE, HANG_RATE, HANG_P99 = 0.9, 0.95, 1.1
SCENARIOS = ("plain", "mirror", "mirror-diff", "mirror-hang", "large", "upload", "rules")

Results = dict[str, dict[str, list[dict[str, Any]]]]


def measure(options: Options) -> Iterator[Finding]:
    if not SCRIPT.is_file():
        yield NotMeasured("side by side", "shared/bench/compare.py is not there, beside the repository")
        return
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        kept = Path(folder, "figures.json")
        command = [sys.executable, str(SCRIPT), "--headgate", COMMAND, "--json", str(kept)]
        command += ["--rounds", str(options.rounds), *(["--peers", options.peers] if options.peers else [])]
        subprocess.run([*command, *SCENARIOS], check=True, stdout=sys.stderr)
        results: Results = json.loads(kept.read_text())
    for scenario, peer, limit in ASKED:
        yield _ratio(results, scenario, peer, limit)
    plain, rules = _microseconds(results, "plain", "headgate"), _microseconds(results, "rules", "headgate")
    if plain is None or rules is None:
        yield NotMeasured("rules to plain", "no requests were counted")
    else:
        yield Figure("rules to plain", rules / plain, "x", RULES_TO_PLAIN, f"{rules:.1f} to {plain:.1f} µs a request")
    yield from _mirror(results)


def _mirror(results: Results) -> Iterator[Finding]:
    def own(scenario: str, key: str, role: str = "") -> float | None:
        rounds = results.get(scenario, {}).get("headgate", [])
        return median(one[key][role] if role else one[key] for one in rounds) if rounds else None

    for what, mine, base, bound in (
        (
            "mirror: a worker to plain",
            own("mirror", "roles_us", "worker"),
            own("plain", "roles_us", "worker"),
            MIRROR_WORKER,
        ),
        ("mirror: all processes to plain", own("mirror", "cpu_us"), own("plain", "cpu_us"), MIRROR_ALL),
        ("mirror-hang: p99 to plain", own("mirror-hang", "p99_ms"), own("plain", "p99_ms"), HANG_P99),
        # Rates turned about, since a bound is the most that is allowed.
        ("mirror to mirror-diff: requests/s", own("mirror", "rps"), own("mirror-diff", "rps"), 1 / DIFF_RATE),
        ("plain to mirror-hang: requests/s", own("plain", "rps"), own("mirror-hang", "rps"), 1 / HANG_RATE),
    ):
        if mine is None or not base:
            yield NotMeasured(what, "the gateway did not run")
        else:
            yield Figure(what, mine / base, "x", round(bound, 3), f"{mine:.1f} to {base:.1f}")


def _ratio(results: Results, scenario: str, peer: str, limit: float) -> Finding:
    what = f"{scenario}, to {peer}"
    own, other = _microseconds(results, scenario, "headgate"), _microseconds(results, scenario, peer)
    if own is None:
        return NotMeasured(what, "the gateway did not run")
    if other is None:
        return NotMeasured(what, f"{peer} is not installed")
    return Figure(what, own / other, "x", limit, f"{own:.1f} to {other:.1f} µs of processor time a request")


def _microseconds(results: Results, scenario: str, name: str) -> float | None:
    rounds = results.get(scenario, {}).get(name, [])
    return median(one["cpu_us"] for one in rounds) if rounds else None
