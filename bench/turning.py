"""An upstream that can turn bad: `python -m bench.turning NAME`. While it is, every second answer is a 500. When it turned and when
requests came are CLOCK_MONOTONIC, as in bench/origin.py.
"""

from __future__ import annotations

import asyncio
import sys
from time import monotonic
from typing import Any

import uvloop

from bench.child import answer_stdin
from bench.origin import Arrivals, response_of


class Turning:
    def __init__(self, name: str) -> None:
        self.arrivals = Arrivals()
        self.bad = False
        self.failed = 0
        self._good = response_of(name)
        self._odd = False

    def answer(self) -> bytes:
        self.arrivals.add()
        self._odd = not self._odd
        if not self.bad or self._odd:
            return self._good
        self.failed += 1
        return self._good.replace(b"200 OK", b"500 No", 1)


class Connection(asyncio.Protocol):
    def __init__(self, site: Turning) -> None:
        self._site = site
        self._transport: asyncio.WriteTransport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in heads:
            self._transport.write(self._site.answer())


async def main(name: str) -> None:
    site = Turning(name)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(site), "127.0.0.1", 0, backlog=4096)

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "turn":
            site.bad, site.failed = asked["bad"], 0
            return {"at": monotonic()}
        return {"arrivals": list(site.arrivals.times), "failed": site.failed}

    await answer_stdin({"port": server.sockets[0].getsockname()[1]}, answer)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
