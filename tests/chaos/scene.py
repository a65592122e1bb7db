"""A gateway with all its processes, upstreams of which one can be made to misbehave, and what of it can be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.load import Load
from tests.chaos.origin import Mood
from tests.support.gateway import Gateway, document
from tests.support.processes import descendants

ROOT = Path(__file__).parents[2]
WORKERS = 2
RESPONSE_SECONDS = 1.0
ROLES = ("supervisor", "admin", "shadow", "differ 0", *(f"worker {number}" for number in range(WORKERS)))


class Upstream:
    """An origin's process; started again, it has the port it had."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.origin", self._name, str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def be(self, mood: Mood) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(mood.value.encode() + b"\n")
        self._process.stdin.flush()


class Scene:
    def __init__(self, folder: Path, clients: int = 8) -> None:
        self.closing = contextlib.ExitStack()
        self._clients = clients
        self.origins: dict[str, Upstream] = {}
        for name in ("blue", "canary", "next"):
            self.origins[name] = origin = Upstream(name)
            self.closing.callback(origin.kill)
        settings = document(
            {name: f"http://127.0.0.1:{origin.port}" for name, origin in self.origins.items()},
            {
                "weights": {"blue": 50, "canary": 50},
                # As many retries as there are requests: half of them meet the fault.
                "retry": {
                    "attempts": 1,
                    "on": ["connect", "reset", 502, 503, 504],
                    "budget": "100%",
                    "other_upstream": True,
                },
                "shadow": {"upstream": "next", "percent": 20},
            },
            workers=WORKERS,
            timeouts={"connect": "500ms", "response": f"{RESPONSE_SECONDS}s", "drain": "5s"},
        )
        self.gateway = Gateway(folder, settings)
        self.closing.callback(self.gateway.close)

    def __enter__(self) -> Scene:
        self.gateway.start()
        self.load = Load(lambda: self.gateway.addresses[0], self._clients)
        self.closing.callback(self.load.close)
        self.whole()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    @property
    def canary(self) -> Upstream:
        return self.origins["canary"]

    def whole(self) -> None:
        """Waits until every process is there and serves."""

        def there() -> bool:
            titles = self.gateway.by_title()
            if any(f"headgate: {role}" not in titles for role in ROLES):
                return False
            try:
                status = self.gateway.status()
            except Exception:  # the admin process is on its way
                return False
            return len(status["workers"]) == WORKERS and all(worker["ready"] for worker in status["workers"])

        self.gateway.until(there, f"all of {ROLES} are there")

    def memory(self) -> int:
        """Bytes that all processes of the gateway have in memory (VmRSS)."""
        return sum(_resident(pid) for pid in (self.gateway.pid, *descendants(self.gateway.pid)))

    def pid(self, role: str) -> int:
        return self.gateway.by_title()[f"headgate: {role}"]

    def answers(self, more: int) -> None:
        """Waits for so many more."""
        goal = self.load.answered + more
        self.gateway.until(lambda: self.load.answered >= goal, f"{more} more answers")

    def rest(self, until: float) -> None:
        """Goes on as it is until then (monotonic), and for some answers at least."""
        self.answers(100)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
