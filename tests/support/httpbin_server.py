"""httpbin on a threaded server at a port that the system chooses: prints the port, serves until standard input ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from httpbin import app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive

    def log(self, type: str, message: str, *args: object) -> None:
        pass


def with_chunks(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """httpbin refuses chunked uploads unless the server is gunicorn; Werkzeug's server decodes them as well."""
    environ["SERVER_SOFTWARE"] = "gunicorn/none"
    answer: Iterable[bytes] = app(environ, start)
    return answer


def main() -> None:
    server = make_server("127.0.0.1", 0, with_chunks, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
