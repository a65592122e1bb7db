"""The gateway under measurement: the real command, in a folder of its own, on ports that the system chooses."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Any

from admin.client import AdminClient, find_target
from bench.figures import BenchError

COMMAND = str(Path(sys.executable).with_name("headgate"))
ROUTE = "shop"
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """`ports` are its listeners', `begun` is when its process was started (monotonic)."""

    process: subprocess.Popen[bytes]
    state: Path
    ports: tuple[int, ...]
    begun: float

    @property
    def port(self) -> int:
        """The first listener's."""
        return self.ports[0]

    def api(self) -> AdminClient:
        return AdminClient(find_target(None, None, str(self.state), {}))

    def workers(self) -> list[int]:
        """Their process ids, in the order of their numbers."""
        found: dict[int, int] = {}
        for pid in children(self.process.pid):
            if match := re.match(r"headgate: worker (\d+)", _title(pid)):
                found[int(match[1])] = pid
        return [found[number] for number in sorted(found)]

    def shadow_process(self) -> int | None:
        """Its process id, None where there is none."""
        for pid in children(self.process.pid):
            if _title(pid).startswith("headgate: shadow"):
                return pid
        return None


def children(pid: int) -> list[int]:
    """Of a process that may have ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("latin-1")
    except OSError:
        return ""


def shop(ports: Mapping[str, int], **more: object) -> dict[str, Any]:
    """A configuration with one route that has what a real one has: two rules, sticky clients, retries. `ports` are those of
    upstreams on loopback; blue is stable, canary has half of the traffic."""
    return {
        "limits": {"requests_per_connection": 0},  # their clients keep connections for as long as they run
        "geo": {"ranges": {"127.0.0.0/8": {"country": "US", "subdivision": "US-NY"}}},
        "upstreams": {name: {"endpoints": [f"http://127.0.0.1:{port}"]} for name, port in ports.items()},
        "routes": {
            ROUTE: {
                "match": {"path_prefix": "/"},
                "stable": "blue",
                "weights": {"blue": 50, "canary": 50},
                "rules": [
                    {"when": {"header": {"x-canary": "true"}}, "send": "canary"},
                    {"when": {"geo": {"country": ["DE", "AT"]}}, "send": "canary"},
                ],
                "sticky": {"cookie": "hg_bucket"},
                "retry": {"attempts": 1, "on": ["connect", "reset", 502, 503, 504], "budget": "20%"},
            }
        },
        **more,
    }


@contextmanager
def running(config: Mapping[str, Any]) -> Iterator[Gateway]:
    """Serving when this enters; ended, with all its processes, when it leaves. One plain listener, unless `config` says
    otherwise."""
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = Path(name)
        path = folder / "gateway.json"
        state = folder / "state"
        own = {"admin": {"address": "127.0.0.1:0"}, "state": str(state)}
        path.write_text(json.dumps({"listen": [{"address": "127.0.0.1:0"}], **config, **own}))
        begun = monotonic()
        process = subprocess.Popen(
            [COMMAND, "run", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder
        )
        try:
            yield Gateway(process, state, _ports(process), begun)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.terminate()  # the second time it kills what is left, and ends
                process.wait()


def _ports(process: subprocess.Popen[bytes]) -> tuple[int, ...]:
    """From the line that says that it serves. What it writes later is read too, and dropped: a full pipe would stop it."""
    lines: queue.Queue[bytes] = queue.Queue()
    assert process.stderr is not None
    threading.Thread(target=_read, args=(process.stderr, lines), daemon=True).start()
    said: list[bytes] = []
    deadline = monotonic() + _START_SECONDS
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - monotonic()))
        except queue.Empty:
            raise BenchError(f"the gateway did not start:\n{b''.join(said).decode()}") from None
        said.append(line)
        if not line:
            raise BenchError(f"the gateway ended with exit code {process.wait()}:\n{b''.join(said).decode()}")
        if b'"event":"serving"' in line:
            return tuple(int(address.rpartition(":")[2]) for address in json.loads(line)["addresses"])


def _read(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(b"")
