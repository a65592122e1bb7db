"""The clients of the shadow bench: `python -m bench.shop_load PORT CONNECTIONS`. Each connection sends a request, looks whether it
gets what the primary sent for it, thinks, and sends the next. They stand still until they are asked to go.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

import uvloop

from bench.child import answer_stdin
from bench.figures import quantile
from bench.load import BROWSER
from bench.shop_answers import NUMBER, digest

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_SENT = re.compile(rb"\r\nX-Served-By: stable\r\nX-Digest: ([0-9a-f]{8})\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
_RECONNECT_SECONDS = 0.01
_SHOWN = 3


def paths(seed: int, count: int = 2_000) -> list[bytes]:
    """Half of them orders, the others of three more endpoints, with ids."""
    draw = random.Random(seed)
    uuid = UUID(int=draw.getrandbits(128), version=4)
    others: list[Callable[[], str]] = [
        lambda: f"/products/SKU-{draw.randrange(10_000):04}",
        lambda: f"/users/{uuid}/orders/{draw.randrange(100_000)}",
        lambda: "/stock",
    ]
    chosen = []
    for _ in range(count // 2):
        chosen += [f"/orders/{draw.randrange(1_000_000)}", draw.choice(others)()]
    return [path.encode() for path in chosen]


def is_as_sent(head: bytes, body: bytes, number: int) -> bool:
    """Whether an answer is the one that stable gave to this request: its status, its body."""
    status, sent = _STATUS.match(head), _SENT.search(head)
    if status is None or sent is None:
        return False
    return int(sent[1], 16) == digest(b"%d" % number, int(status[1]), body)


@dataclass(slots=True)
class Tally:
    """`wrong` answers are not what the primary sent; `cut_off` are requests whose connection was lost."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    cut_off: int = 0
    shown: list[str] = field(default_factory=list)
    since: float = field(default_factory=monotonic)

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": len(self.seconds),
            "per_second": len(self.seconds) / max(monotonic() - self.since, 1e-9),
            "p99_ms": 1000 * quantile(self.seconds, 0.99),
            "wrong": self.wrong,
            "cut_off": self.cut_off,
            "shown": self.shown,
        }


class Load:
    """`prefix` is of the paths: the route. `think` is None while they stand still."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._paths = paths(1)
        self._number = 0
        self.prefix = b""
        self.think: float | None = None
        self.tally = Tally()
        self.standing: set[Client] = set()

    def next(self) -> tuple[int, bytes]:
        self._number += 1
        return self._number, self.prefix + self._paths[self._number % len(self._paths)]

    def go(self, prefix: str, think: float) -> None:
        self.prefix, self.think = prefix.encode(), think
        standing, self.standing = self.standing, set()
        for client in standing:
            client.later()

    async def connect(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: client, "127.0.0.1", self._port)
                return
            except OSError:
                self.tally.cut_off += 1
                await asyncio.sleep(_RECONNECT_SECONDS)


class Client(asyncio.Protocol):
    """One keep-alive connection; when it is lost, another takes its place."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.WriteTransport
        self._answer = b""
        self._number = 0
        self._sent = 0.0
        self._reconnecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._answer = b""
        self.later()

    def later(self) -> None:
        think = self._load.think
        self._sent = 0.0
        if think:
            asyncio.get_running_loop().call_later(random.uniform(0.5, 1.5) * think, self._send, self._transport)
        else:
            self._send(self._transport)

    def _send(self, transport: asyncio.WriteTransport) -> None:
        if transport is not self._transport or transport.is_closing():
            return
        if self._load.think is None:
            self._load.standing.add(self)
            return
        self._number, path = self._load.next()
        self._sent = monotonic()
        transport.write(b"GET %b HTTP/1.1\r\n%b%b%d\r\n\r\n" % (path, BROWSER, NUMBER, self._number))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        length = _LENGTH.search(self._answer, 0, end + 2) if end >= 0 else None
        if length is None or len(self._answer) < end + 4 + int(length[1]):
            return
        tally = self._load.tally
        tally.seconds.append(monotonic() - self._sent)
        if not self._sent or not is_as_sent(self._answer[: end + 2], self._answer[end + 4 :], self._number):
            tally.wrong += 1
            if len(tally.shown) < _SHOWN:
                tally.shown.append(self._answer[:200].decode("latin-1"))
        self._answer = b""
        self.later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.standing.discard(self)
        self._load.tally.cut_off += self._sent > 0
        loop = asyncio.get_running_loop()
        self._reconnecting = loop.create_task(self._load.connect(self))  # kept: a bare task may be collected


async def main(port: int, connections: int) -> None:
    load = Load(port)
    await asyncio.gather(*(load.connect(Client(load)) for _ in range(connections)))

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "go":
            load.go(asked["prefix"], asked["think"])
        elif asked["do"] == "stand":
            load.think = None
        report, load.tally = load.tally.to_json(), Tally()
        return report

    await answer_stdin({"connections": connections}, answer)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
