"""How fast the gateway is there, and what it weighs: process start to the first answer, memory of workers, idle connections."""

from __future__ import annotations

import re
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import monotonic

from bench.child import Child
from bench.figures import BenchError, Figure, Finding, NotMeasured
from bench.gateway import Gateway, running, shop
from bench.options import Options

STARTS = 5
WORKERS = 2
IDLE = 10_000
# Files besides those connections: the gateway's other sockets, the bench's own.
SPARE_FILES = 500
PER_ADDRESS = 1_000
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"


def measure(options: Options) -> Iterator[Finding]:
    with Child("origin", "blue") as blue, Child("origin", "canary") as canary:
        ports = {"blue": int(blue.hello["port"]), "canary": int(canary.hello["port"])}
        config = shop(ports, workers=WORKERS, timeouts={"idle": "300s"}, limits={"connections": 0})
        starts, weights = [], []
        for _ in range(STARTS):
            with running(config) as gateway:
                with socket.create_connection(("127.0.0.1", gateway.port)) as client:
                    _ask(client)
                    starts.append(monotonic() - gateway.begun)
                weights.append(max(map(_megabytes, gateway.workers())))
        note = f"median of {STARTS}, slowest {max(starts):.2f} s; {WORKERS} workers"
        yield Figure("start to first answer", median(starts), "s", 1.5, note)
        yield Figure("memory of a worker, idle", median(weights), "MB", 45, "the larger worker's RSS")
        yield _idle_connections(config)


def _idle_connections(config: dict[str, object]) -> Finding:
    what = f"{IDLE:,} idle connections, growth"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + SPARE_FILES:
        return NotMeasured(what, f"the limit of open files is {hard:,} here, {IDLE + SPARE_FILES:,} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + SPARE_FILES), hard))
    kept: list[socket.socket] = []
    try:
        with running(config) as gateway:  # inherits the limit
            _open(gateway, 100, kept)
            before = sum(map(_megabytes, gateway.workers()))
            _open(gateway, IDLE, kept)
            after = sum(map(_megabytes, gateway.workers()))
    finally:
        for client in kept:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    grown = after - before
    note = f"all workers' RSS together, one request each; {1024 * grown / IDLE:.1f} KB a connection"
    return Figure(what, grown, "MB", 120, note)


def _open(gateway: Gateway, count: int, kept: list[socket.socket]) -> None:
    """Connections that have had one answer. Several client addresses: one would run out of ports."""
    for number in range(count):
        client = socket.socket()
        kept.append(client)
        client.settimeout(30)
        client.bind((f"127.0.0.{2 + number // PER_ADDRESS}", 0))
        client.connect(("127.0.0.1", gateway.port))
        _ask(client)


def _ask(client: socket.socket) -> None:
    client.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b'"}'):
        data = client.recv(65536)
        if not data:
            raise BenchError(f"the gateway closed the connection after {answer[:200]!r}")
        answer += data
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the gateway answered {answer[:200]!r}")


def _megabytes(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024
