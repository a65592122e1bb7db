"""A whole gateway as a test has it: real processes on ports that the system chooses, its log, its admin API, its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from admin.client import AdminClient, Target
from tests.support.processes import all_end, children, descendants, title, watched
from tests.support.wire import PATIENCE, Wire, connect

# Importing everything in several processes while others do the same.
START_PATIENCE = 60.0

Document = dict[str, Any]


class NotServingError(Exception):
    """The gateway ended, or said nothing in time; the text is what it wrote."""


def document(upstreams: Mapping[str, Any], route: Mapping[str, Any] | None = None, **top: Any) -> Document:
    """A configuration with one route, `shop`, whose stable is the first upstream. Upstreams are URLs, or whole sections."""
    sections = {
        name: section
        if isinstance(section, dict)
        else {"endpoints": [section] if isinstance(section, str) else section}
        for name, section in upstreams.items()
    }
    stable = next(iter(sections))
    return {
        "listen": [{"address": "127.0.0.1:0"}],
        "workers": 1,
        "admin": {"address": "127.0.0.1:0"},
        "upstreams": sections,
        "routes": {"shop": {"stable": stable, "weights": {stable: 1}, **(route or {})}},
        **top,
    }


class Gateway:
    """`folder` keeps configuration, state and access log, and outlives the processes: `start` again finds them there."""

    def __init__(self, folder: Path, settings: Document, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = folder / "headgate.json"
        self.access_log = folder / "access.log"
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = threading.Condition()
        self._reader: threading.Thread | None = None
        self._ended = False
        self.prefix: list[str] = []
        """What to run it by, as with `env` or `nice`."""
        self.pass_fds: tuple[int, ...] = ()
        self.lines: list[str] = []
        """All that the processes wrote."""
        self.addresses: list[tuple[str, int]] = []
        self.write(settings)

    def write(self, settings: Document) -> None:
        """The configuration file; a gateway that runs takes it at a reload."""
        full = {"state": str(self.state), "access_log": {"path": str(self.access_log)}, **settings}
        self.config.write_text(json.dumps(full, indent=1))

    # Life

    def launch(self) -> None:
        """Start the processes without waiting for anything."""
        assert self._process is None
        self._ended = False
        self._process = subprocess.Popen(
            [*self.prefix, sys.executable, "-P", "-m", "admin.cli", "run", str(self.config)],
            pass_fds=self.pass_fds,
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the whole tree, and nothing else, can be signalled as one
        )
        self._reader = threading.Thread(target=self._read, name="gateway log", daemon=True)
        self._reader.start()

    def start(self) -> Gateway:
        """Start and wait until it serves. Raises NotServingError."""
        mark = len(self.lines)
        self.launch()
        serving = self.logged("serving", after=mark, patience=START_PATIENCE)
        self.addresses = [_address(text) for text in serving["addresses"]]
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._heard:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._heard.notify_all()
        with self._heard:  # nobody holds the other end any more: all processes are gone
            self._ended = True
            self._heard.notify_all()

    def end(self) -> int:
        """Wait for the end of the supervisor, without asking for it. Returns its exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._reader is not None
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "processes of the gateway are still there"
        self._process.stdout.close()
        self._process = None
        return code

    def stop(self) -> int:
        """SIGTERM, as an operator would. Returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.end()

    def kill(self) -> None:
        """kill -9 of every process at once."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.end()

    @property
    def running(self) -> bool:
        return self._process is not None

    def close(self) -> None:
        """For fixtures: leave nothing behind, whatever state it is in."""
        if self._process is not None:
            self.kill()

    # Processes

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def by_title(self) -> dict[str, int]:
        """What `ps` calls each process of the gateway, and its id."""
        return {title(pid): pid for pid in (self.pid, *descendants(self.pid))}

    def worker(self, number: int = 0) -> int:
        return self.by_title()[f"headgate: worker {number}"]

    def workers(self) -> list[int]:
        return [pid for pid in children(self.pid) if title(pid).startswith("headgate: worker ")]

    @property
    def admin_pid(self) -> int:
        return self.by_title()["headgate: admin"]

    def wait_gone(self, *pids: int) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError), watched(pid) as ends:  # that is: it has gone
                assert all_end(ends), "a process did not end"

    # Log

    def logged(self, event: str, *, after: int = 0, patience: float = PATIENCE, **fields: object) -> dict[str, Any]:
        """The first log line from number `after` on with this event and these fields, waited for."""
        deadline = time.monotonic() + patience
        seen = after
        with self._heard:
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    entry = _entry(line)
                    if entry.get("event") == event and fields.items() <= entry.items():
                        return entry
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise NotServingError("\n".join(self.lines))
                self._heard.wait(left)

    @property
    def mark(self) -> int:
        """Where the log is now, for `logged(after=…)`."""
        return len(self.lines)

    def until(self, holds: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """For what the gateway shows and does not announce: asked again after each log line, or 20 ms."""
        deadline = time.monotonic() + patience
        while not holds():
            assert time.monotonic() < deadline, f"in vain: {what}"
            with self._heard:
                self._heard.wait(0.02)

    # Clients

    @property
    def url(self) -> str:
        host, port = self.addresses[0]
        return f"http://{host}:{port}"

    def connect(self, listener: int = 0, *, receive_buffer: int = 0) -> Wire:
        return connect(self.addresses[listener], receive_buffer=receive_buffer)

    def get(self, target: str = "/", **fields: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request over a connection of its own. Underscores in names of fields stand for hyphens."""
        connection = http.client.HTTPConnection(*self.addresses[0], timeout=PATIENCE)
        try:
            connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in fields.items()})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    # Admin API

    def admin(self) -> AdminClient:
        token = (self.state / "admin.token").read_text().strip()
        url = (self.state / "admin.url").read_text().strip()
        return AdminClient(Target(url, "the test", token))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Raises CommandError for any status but 2xx."""
        with self.admin() as client:
            return client.call(method, path, body)

    def cutback(self, route: str = "shop", **body: str) -> Any:
        return self._applied(self.call("POST", f"/v1/routes/{route}/cutback", body))

    def restore(self, route: str = "shop") -> Any:
        return self._applied(self.call("DELETE", f"/v1/routes/{route}/cutback"))

    def weights(self, route: str = "shop", **weights: float) -> Any:
        return self._applied(self.call("PUT", f"/v1/routes/{route}/weights", {"weights": weights}))

    @staticmethod
    def _applied(answer: Any) -> Any:
        assert answer["receipt"]["applied"], answer
        return answer

    def status(self) -> Any:
        return self.call("GET", "/v1/status")

    def route(self, name: str = "shop") -> Any:
        return self.call("GET", f"/v1/routes/{name}")


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
