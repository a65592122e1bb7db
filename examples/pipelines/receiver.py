"""Plays what a rollout asks of others, to try `gates.yaml` and `update` with: python examples/pipelines/receiver.py

POST anything            prints the JSON that came and answers 200: the gate is open, the endpoints are updated
GET  /api/v1/query       as Prometheus answers an instant query: one value, 42
PUT  /answers/503        from now on every POST is answered with this status, as by a gate that is closed
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VALUE = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, "42"]}]}}


class Receiver(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        print(self.path, self._body().decode(errors="replace"), flush=True)
        self._answer({"open": Receiver.status == 200}, Receiver.status)

    def do_GET(self) -> None:
        self._answer(VALUE, 200)

    def do_PUT(self) -> None:
        self._body()
        Receiver.status = int(self.path.rpartition("/")[2])
        self._answer({"from now on": Receiver.status}, 200)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, value: object, status: int) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9010)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Receiver)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
