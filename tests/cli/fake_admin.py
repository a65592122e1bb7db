"""An admin API as the contract describes it, small and real: an HTTP server that records what it is asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "operator-token"

RECEIPT: dict[str, Any] = {
    "applied": True,
    "persisted": True,
    "workers": {"acked": 4, "total": 4, "replaced": 0},
    "nodes": [{"node": "a", "acked": True, "ms": 2.8}],
    "ms": 2.8,
    "in_flight": {},
    "errors": [],
}


def seen(rps: float = 0.0, error_rate: float | None = None, p95_ms: float | None = None) -> dict[str, Any]:
    return {
        "rps": rps,
        "error_rate": error_rate,
        "p50_ms": p95_ms,
        "p95_ms": p95_ms,
        "p99_ms": p95_ms,
        "healthy": True,
        "endpoints": ["http://127.0.0.1:9001"],
    }


def route(**changed: Any) -> dict[str, Any]:
    """A route as the API shows it: blue is stable, nothing was set by hand."""
    return {
        "route": "shop",
        "stable": "blue",
        "weights": {"blue": 95, "canary": 5},
        "declared": {"blue": 95, "canary": 5},
        "effective": {"blue": 95, "canary": 5},
        "live": None,
        "cutback": None,
        "sticky": None,
        "rules": [],
        "shadow": {},
        "rollout": None,
        "upstreams": {"blue": seen(12.5, 0.0, 3.25), "canary": seen()},
        "revision": 7,
        **changed,
    }


def problem(status: int, detail: str, *errors: tuple[str, str]) -> tuple[int, dict[str, Any]]:
    """RFC 9457, with the fields."""
    body: dict[str, Any] = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail}
    if errors:
        body["errors"] = [{"field": name, "message": message} for name, message in errors]
    return status, body


@dataclass(frozen=True, slots=True)
class Call:
    """One request that came in. `body` is None where there was none."""

    method: str
    path: str
    body: Any
    token: str | None
    if_match: str | None

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class FakeAdmin:
    """`answers` maps "METHOD /path" (without query) to (status, body); without an entry it is 404. `in_turn` has several of
    them, one after the other; the last one stays."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    in_turn: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    url: str = ""

    def answer(self, call: Call) -> tuple[int, Any]:
        self.calls.append(call)
        if call.token != TOKEN and not call.path.startswith("/health"):
            return problem(401, "a token is needed")
        if turns := self.in_turn.get(call.line.partition("?")[0]):
            return turns.pop(0) if len(turns) > 1 else turns[0]
        return self.answers.get(call.line.partition("?")[0]) or problem(404, "no such path")

    def serving(self) -> ThreadingHTTPServer:
        """A server on a free port, to be shut down by whoever asked for it."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
                call = Call(
                    self.command,
                    self.path,
                    json.loads(raw) if raw else None,
                    token if scheme == "Bearer" else None,
                    self.headers.get("If-Match"),
                )
                status, body = fake.answer(call)
                payload = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server
