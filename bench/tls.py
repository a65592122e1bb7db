"""TLS with keep-alive: a worker's processor time for a request, to what it is over the plain listener of the same gateway.

The rounds take turns, so that whatever else the machine does meets both. Handshakes are over before a round is measured.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import trustme

from bench.child import Child
from bench.figures import BenchError, Figure, Finding
from bench.gateway import Gateway, running, shop
from bench.options import Options

ROUNDS = 5
SECONDS = 4.0
WARM_SECONDS = 1.0
CONNECTIONS = 64
# One worker, at work without a pause over the plain listener; TLS to plain.
RATIO = 1.9


def measure(options: Options) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = Path(name)
        authority, files = _certificate(folder)
        plain_listener = {"address": "127.0.0.1:0"}
        listen = [plain_listener, {**plain_listener, "tls": files}]
        with Child("origin", "blue") as blue, Child("origin", "canary") as canary:
            ports = {"blue": int(blue.hello["port"]), "canary": int(canary.hello["port"])}
            with running(shop(ports, workers=1, listen=listen, access_log={"sample": 0})) as gateway:
                rounds = [
                    (_microseconds(gateway, gateway.ports[0]), _microseconds(gateway, gateway.ports[1], authority))
                    for _ in range(ROUNDS)
                ]
    plain, tls = (median(figures) for figures in zip(*rounds, strict=True))
    note = f"{tls:.1f} to {plain:.1f} µs of a worker a request, medians; of {ROUNDS} rounds"
    yield Figure("a request over TLS, to plain", median(tls / plain for plain, tls in rounds), "x", RATIO, note)


def _certificate(folder: Path) -> tuple[str, dict[str, str]]:
    """For localhost, ECDSA with P-256, as most have it. Returns the authority's file, and the listener's."""
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return str(folder / "authority.pem"), {key: str(folder / "server.pem") for key in ("certificate", "key")}


def _microseconds(gateway: Gateway, port: int, *authority: str) -> float:
    """One round: processor time of the worker for each request."""
    (worker,) = gateway.workers()
    with Child("load", str(port), str(CONNECTIONS), "0", *authority) as load:
        time.sleep(WARM_SECONDS)
        load.ask("report")
        begun = _processor_seconds(worker)
        time.sleep(SECONDS)
        used, report = _processor_seconds(worker) - begun, load.ask("report")
    if report["failed"] or report["cut_off"] or not report["requests"]:
        raise BenchError(
            f"of {report['requests']} requests {report['failed']} failed, {report['cut_off']} were cut off"
        )
    return 1e6 * used / float(report["requests"])


def _processor_seconds(pid: int) -> float:
    """Of its one thread that works, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
