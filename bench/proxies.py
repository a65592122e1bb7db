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


def measure(options: Options) -> Iterator[Finding]:
    if not SCRIPT.is_file():
        yield NotMeasured("side by side", "shared/bench/compare.py is not there, beside the repository")
        return
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        kept = Path(folder, "figures.json")
        command = [sys.executable, str(SCRIPT), "--headgate", COMMAND, "--json", str(kept)]
        command += ["--rounds", str(options.rounds), *(["--peers", options.peers] if options.peers else [])]
        subprocess.run([*command, "plain", "large", "upload", "rules"], check=True, stdout=sys.stderr)
        results: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(kept.read_text())
    for scenario, peer, limit in ASKED:
        yield _ratio(results, scenario, peer, limit)
    plain, rules = _microseconds(results, "plain", "headgate"), _microseconds(results, "rules", "headgate")
    if plain is None or rules is None:
        yield NotMeasured("rules to plain", "no requests were counted")
    else:
        yield Figure("rules to plain", rules / plain, "x", RULES_TO_PLAIN, f"{rules:.1f} to {plain:.1f} µs a request")


def _ratio(results: dict[str, dict[str, list[dict[str, Any]]]], scenario: str, peer: str, limit: float) -> Finding:
    what = f"{scenario}, to {peer}"
    own, other = _microseconds(results, scenario, "headgate"), _microseconds(results, scenario, peer)
    if own is None:
        return NotMeasured(what, "the gateway did not run")
    if other is None:
        return NotMeasured(what, f"{peer} is not installed")
    return Figure(what, own / other, "x", limit, f"{own:.1f} to {other:.1f} µs of processor time a request")


def _microseconds(results: dict[str, dict[str, list[dict[str, Any]]]], scenario: str, name: str) -> float | None:
    rounds = results.get(scenario, {}).get(name, [])
    return median(one["cpu_us"] for one in rounds) if rounds else None
