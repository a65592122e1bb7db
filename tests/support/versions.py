"""One endpoint of a service as a process that is replaced by its next version on the same port: `python -m tests.support.versions
PORT VERSION` serves until its input ends."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Endpoint:
    """`version` 1 runs when this returns."""

    def __init__(self) -> None:
        self.version = 0
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.replace()
        self.url = f"http://127.0.0.1:{self.port}"

    def replace(self) -> None:
        """The next version serves when this returns."""
        self.close()
        self.version += 1
        command = [sys.executable, "-m", "tests.support.versions", str(self.port), str(self.version)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=PATIENCE)


class Deployer:
    """The webhook that a rollout calls with drained endpoints: replaces each. `broken` answers 500 instead."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self.calls: list[list[str]] = []
        self.broken = False
        by_url = {endpoint.url: endpoint for endpoint in endpoints}
        deployer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                deployer.calls.append(asked["endpoints"])
                if not deployer.broken:
                    for url in asked["endpoints"]:
                        by_url[url].replace()
                self.send_response(500 if deployer.broken else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/deploy"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def serve(port: int, version: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(version)))
            self.send_header("X-Version", version)
            self.end_headers()
            self.wfile.write(version.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
