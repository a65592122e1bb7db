"""A gateway with all its processes, upstreams of which one can be made to misbehave, and what of it can be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.breakable import Clock, Disk
from tests.chaos.load import Load
from tests.chaos.origin import Mood
from tests.support.gateway import Gateway, document
from tests.support.processes import descendants, title

ROOT = Path(__file__).parents[2]
WORKERS = 2
# More than any process waits for its turn on a machine that does other things too.
RESPONSE_SECONDS = 3.0
ROLES = ("supervisor", "admin", "shadow", "differ 0", *(f"worker {number}" for number in range(WORKERS)))
# Processes that start while others do, all under load.
PATIENCE = 120.0


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
        """Returns once it is."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(mood.value.encode() + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().decode().strip() == mood.value


class Scene:
    """With a `folder` whose surroundings are `breakable` if faults are to break them, too."""

    def __init__(self, folder: Path, clients: int = 8, *, breakable: bool = False) -> None:
        self.closing = contextlib.ExitStack()
        self._clients = clients
        self._turns = 0
        self.clock: Clock | None = Clock(folder) if breakable else None
        self.disk: Disk | None = Disk(folder / "state") if breakable else None
        if self.disk is not None:
            self.closing.callback(self.disk.close)
        self.origins: dict[str, Upstream] = {}
        for name in ("blue", "canary", "next"):
            self.origins[name] = origin = Upstream(name)
            self.closing.callback(origin.kill)
        self.settings = document(
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
            timeouts={"connect": "2s", "response": f"{RESPONSE_SECONDS}s", "drain": "20s"},
        )
        self.gateway = Gateway(folder, self.settings, {} if self.clock is None else self.clock.environ)
        self.closing.callback(self.gateway.close)

    def __enter__(self) -> Scene:
        try:
            self.gateway.start()
            self.load = Load(lambda: self.gateway.addresses[0], self._clients)
            self.closing.callback(self.load.close)
            self.whole()
        except BaseException:
            self.closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    @property
    def canary(self) -> Upstream:
        return self.origins["canary"]

    @property
    def compiled(self) -> bool:
        """Whether the workers run their code compiled."""
        return "headgate-compiled" in Path(f"/proc/{self.pid('worker 0')}/maps").read_text()

    def whole(self) -> None:
        """Waits until every process is there and serves, and no other is left."""

        def there() -> bool:
            titles = {pid: title(pid) for pid in (self.gateway.pid, *descendants(self.gateway.pid))}
            workers = {pid for pid, own in titles.items() if own.startswith("headgate: worker ")}
            if not {f"headgate: {role}" for role in ROLES} <= set(titles.values()) or len(workers) != WORKERS:
                return False
            try:
                status = self.gateway.status()
            except Exception:  # the admin process is on its way
                return False
            return {worker["pid"] for worker in status["workers"] if worker["ready"]} == workers

        self.gateway.until(there, f"all of {ROLES} are there", PATIENCE)

    def memory(self) -> int:
        """Bytes that all processes of the gateway have in memory (VmRSS)."""
        return sum(_resident(pid) for pid in (self.gateway.pid, *descendants(self.gateway.pid)))

    def pid(self, role: str) -> int:
        return self.gateway.by_title()[f"headgate: {role}"]

    def pids(self) -> dict[str, int]:
        """Of those that are always there."""
        return {role: self.pid(role) for role in ROLES}

    def next_worker(self) -> str:
        """One after another."""
        self._turns += 1
        return f"worker {self._turns % WORKERS}"

    def answers(self, more: int, upstream: str | None = None) -> None:
        """Waits for so many more, of this upstream."""

        def count() -> int:
            return self.load.answered if upstream is None else self.load.served[upstream]

        goal = count() + more
        self.gateway.until(lambda: count() >= goal, f"{more} more answers of {upstream or 'any upstream'}", PATIENCE)

    def failures(self, more: int) -> None:
        """Waits for so many more."""
        goal = len(self.load.failures) + more
        self.gateway.until(lambda: len(self.load.failures) >= goal, f"{more} more failures", PATIENCE)

    def settled(self) -> None:
        """Waits until all that is under way now has ended."""
        now = time.monotonic()
        self.gateway.until(lambda: self.load.over(now), "what was under way ends", PATIENCE)

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
