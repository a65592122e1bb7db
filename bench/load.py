"""A load generator: `python -m bench.load PORT CONNECTIONS THINK [CA]`; with the file of an authority, over TLS. A closed loop:
each connection sends a request, reads the answer, thinks for THINK seconds on average, and sends the next. Every other one is a
sticky client (it keeps the cookie it gets), the others send the header that a rule takes.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import uvloop

from bench.child import answer_stdin
from bench.figures import quantile

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
_COOKIE = re.compile(rb"\r\nSet-Cookie: (hg_bucket=[^;\r]+)", re.IGNORECASE)
_SERVED_BY = re.compile(rb"\r\nX-Served-By: ([^\r]+)", re.IGNORECASE)
_RECONNECT_SECONDS = 0.01
BROWSER = (
    b"Host: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
    b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip\r\n"
)


@dataclass(slots=True)
class Tally:
    seconds: list[float] = field(default_factory=list)
    by_upstream: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    cut_off: int = 0
    since: float = field(default_factory=monotonic)

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": len(self.seconds),
            "per_second": len(self.seconds) / max(monotonic() - self.since, 1e-9),
            "p50_ms": 1000 * quantile(self.seconds, 0.5),
            "p99_ms": 1000 * quantile(self.seconds, 0.99),
            "by_upstream": self.by_upstream,
            "failed": self.failed,
            "cut_off": self.cut_off,
        }


class Load:
    def __init__(self, port: int, think: float, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        self.think = think
        self.tally = Tally()

    async def connect(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                name = None if self._tls is None else "localhost"
                await loop.create_connection(
                    lambda: client, "127.0.0.1", self._port, ssl=self._tls, server_hostname=name
                )
                return
            except OSError:
                self.tally.cut_off += 1
                await asyncio.sleep(_RECONNECT_SECONDS)


class Client(asyncio.Protocol):
    """One keep-alive connection; when it is lost, another takes its place."""

    def __init__(self, load: Load, *, sticky: bool) -> None:
        self._load = load
        self._sticky = sticky
        self._cookie = b""
        self._transport: asyncio.WriteTransport
        self._answer = b""
        self._sent = 0.0
        self._reconnecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._answer = b""
        self._later()

    def _later(self) -> None:
        think = self._load.think
        self._sent = 0.0
        if think:
            asyncio.get_running_loop().call_later(random.uniform(0.5, 1.5) * think, self._send, self._transport)
        else:
            self._send(self._transport)

    def _send(self, transport: asyncio.WriteTransport) -> None:
        if transport is not self._transport or transport.is_closing():
            return
        own = (b"Cookie: %b\r\n" % self._cookie if self._cookie else b"") if self._sticky else b"x-canary: true\r\n"
        self._sent = monotonic()
        transport.write(b"GET /catalog/shoes HTTP/1.1\r\n" + BROWSER + own + b"\r\n")

    def data_received(self, data: bytes) -> None:
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        length = _LENGTH.search(self._answer, 0, end + 2) if end >= 0 else None
        if length is None or len(self._answer) < end + 4 + int(length[1]):
            return
        tally, head = self._load.tally, self._answer[: end + 2]
        tally.seconds.append(monotonic() - self._sent)
        tally.failed += not head.startswith(b"HTTP/1.1 200 ")
        served_by = _SERVED_BY.search(head)
        name = served_by[1].decode() if served_by else "gateway"
        tally.by_upstream[name] = tally.by_upstream.get(name, 0) + 1
        cookie = _COOKIE.search(head)
        if cookie is not None:
            self._cookie = cookie[1]
        self._answer = b""
        self._later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.tally.cut_off += self._sent > 0
        loop = asyncio.get_running_loop()
        self._reconnecting = loop.create_task(self._load.connect(self))  # kept: a bare task may be collected


async def main(port: int, connections: int, think: float, authority: str | None = None) -> None:
    load = Load(port, think, ssl.create_default_context(cafile=authority) if authority else None)
    await asyncio.gather(*(load.connect(Client(load, sticky=number % 2 == 0)) for number in range(connections)))

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "think":
            load.think = asked["seconds"]
        report, load.tally = load.tally.to_json(), Tally()
        return report

    await answer_stdin({"connections": connections}, answer)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
