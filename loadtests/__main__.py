"""`make loadtest`: the demo's gateway under a minute of load, while weights change twice and one cutback happens.

Prints the observed split of each phase beside the configured one, failures and latencies. Exit code 1 where a request
failed, a sticky client moved while weights stayed, a split strayed beyond chance, or the canary got a request after the
cutback's answer. Locust patches the standard library (gevent), so it runs in a process of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from admin.client import AdminClient, find_target
from loadtests.report import Outcome, Phase, judge, table
from loadtests.samples import Sample, read_samples

ROUTE = "shop"
# The demo declares 70 : 20 : 10.
DECLARED = {"blue": 70.0, "green": 20.0, "canary": 10.0}
CHANGES = ({"blue": 55.0, "green": 20.0, "canary": 25.0}, {"blue": 40.0, "green": 10.0, "canary": 50.0})
_START = 60.0
# A request that was sent before the answer may still wait for its turn in the canary's event loop on a busy machine.
_ON_ITS_WAY = 0.1


@dataclass(frozen=True, slots=True)
class Change:
    """`asked` and `answered` are Unix time, `answered_clock` is time.monotonic()."""

    asked: float
    answered: float
    answered_clock: float
    receipt: dict[str, Any]

    def __str__(self) -> str:
        workers = self.receipt["workers"]
        applied = "applied" if self.receipt["applied"] else "NOT applied"
        took = 1000 * (self.answered - self.asked)
        return f"{applied} by {workers['acked']} of {workers['total']} workers; the call took {took:.1f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the load lasts (60)")
    parser.add_argument("--users", type=int, default=80, help="users at the same time (80)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headgate-loadtest-") as folder, _demo() as demo:
        samples_path, log = Path(folder, "samples"), Path(folder, "locust.log")
        samples_path.touch()
        with _locust(demo["gateway"], arguments, samples_path, log) as locust:
            _until_traffic(locust, samples_path, log)
            begin = time.time()
            changes = _make_changes(demo, begin, arguments.seconds)
            time.sleep(max(0.0, begin + arguments.seconds - time.time()))
            locust.terminate()  # not its --run-time: that would count its own start, which takes seconds on a busy machine
            locust.wait()
        end = time.time()
        shadow = _shadow(demo)
        samples = list(read_samples(samples_path))
        late = _get(demo["services"]["canary"], f"/arrivals?after={changes[-1].answered_clock + _ON_ITS_WAY}")
    phases = _phases(changes, begin, end)
    return _report([judge(phase, samples) for phase in phases], changes, samples, late, shadow)


@contextmanager
def _demo() -> Iterator[dict[str, Any]]:
    """A demo on free ports without traffic of its own: what it says of itself."""
    command = ("demo", "--port", "0", "--admin-port", "0", "--no-traffic", "--json")
    process = subprocess.Popen([sys.executable, "-m", "admin.cli", *command], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the demo ended with exit code {process.wait()}")
        yield json.loads(line)
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def _locust(host: str, arguments: argparse.Namespace, samples: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    locustfile = Path(__file__).with_name("locustfile.py")
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--host", host]
    command += ["--users", str(arguments.users), "--spawn-rate", str(arguments.users)]
    command += ["--stop-timeout", "10", "--only-summary", "--weights-change", "--samples", str(samples)]
    print(f"{arguments.users} users for {arguments.seconds:g} s at {host}", flush=True)
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()


def _until_traffic(locust: subprocess.Popen[bytes], samples: Path, log: Path) -> None:
    """Until the first samples are there: locust takes a while to start."""
    deadline = time.monotonic() + _START
    while not samples.stat().st_size:
        if locust.poll() is not None or time.monotonic() > deadline:
            print(log.read_text(errors="replace"), file=sys.stderr)
            raise SystemExit("locust sent no request")
        time.sleep(0.05)


def _make_changes(demo: dict[str, Any], begin: float, seconds: float) -> list[Change]:
    """Weights after one and two quarters, a cutback after three."""
    target = find_target(demo["admin"], None, demo["state"], {})
    path = f"/v1/routes/{ROUTE}"
    calls: list[tuple[str, str, dict[str, object]]] = [
        ("PUT", f"{path}/weights", {"weights": weights, "reason": "load test"}) for weights in CHANGES
    ]
    calls.append(("POST", f"{path}/cutback", {"mode": "cut", "in_flight": "finish", "reason": "load test"}))
    changes = []
    for number, (method, call, body) in enumerate(calls, start=1):
        time.sleep(max(0.0, begin + number * seconds / 4 - time.time()))
        with AdminClient(target) as api:  # a connection each: the pauses are longer than idle ones are kept
            asked = time.time()
            answer = api.call(method, call, body)
            changes.append(Change(asked, time.time(), time.monotonic(), answer["receipt"]))
        print(f"{method} {call} {json.dumps(body)}: {changes[-1]}", flush=True)
    return changes


def _get(service: str, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(service).netloc, timeout=10)
    connection.request("GET", path)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def _shadow(demo: dict[str, Any]) -> str:
    """What became of the copies: all GETs are copied, as fast as the shadow takes them."""
    with AdminClient(find_target(demo["admin"], None, demo["state"], {})) as api:
        found = api.get(f"/v1/routes/{ROUTE}/diffs")
    dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(found["dropped"].items())) or "none"
    fields = ", ".join(f"{each['endpoint']} {each['field']}" for each in found["findings"]) or "none"
    return f"shadow: {found['compared']} pairs compared; not compared: {dropped}; findings: {fields}"


def _phases(changes: list[Change], begin: float, end: float) -> list[Phase]:
    first, second, cutback = changes
    return [
        Phase("declared", DECLARED, begin, first.asked),
        Phase("first change", CHANGES[0], first.answered, second.asked),
        Phase("second change", CHANGES[1], second.answered, cutback.asked),
        Phase("cutback", {"blue": 100.0}, cutback.answered, end),
    ]


def _report(
    outcomes: list[Outcome], changes: list[Change], samples: list[Sample], late: dict[str, Any], shadow: str
) -> int:
    failures = sum(not sample.ok for sample in samples)
    answered = changes[-1]
    asked_after = sum(sample.started >= answered.answered and sample.upstream == "canary" for sample in samples)
    last = "never" if late["last"] is None else f"{1000 * (late['last'] - answered.answered_clock):+.1f} ms"
    print()
    print(table(outcomes))
    print()
    print(f"requests: {len(samples)}, failed: {failures}")
    print(f"after the cutback's answer: {asked_after} requests that clients began then went to canary;")
    print(f"    the last request reached canary {last} from it; {late['after']} came more than 100 ms after it")
    print(shadow)
    faults = [
        *(["requests failed"] if failures else []),
        *(["a change was not applied"] if not all(change.receipt["applied"] for change in changes) else []),
        *(["canary got requests after the cutback"] if asked_after or late["after"] else []),
        *(f"{o.phase.title}: {o.moved} sticky clients moved while weights stayed" for o in outcomes if o.moved),
        *(f"{o.phase.title}: the share of {', '.join(o.off)} is off by more than chance" for o in outcomes if o.off),
        *(f"{o.phase.title}: no requests" for o in outcomes if not o.requests),
    ]
    for fault in faults:
        print(f"FAILED: {fault}")
    if not faults:
        print("All held.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
