"""A sample upstream: `python -m bench.origin NAME`. Answers any request without a body, and stamps when each came in.

The stamps are CLOCK_MONOTONIC, which all processes of a machine share, taken as soon as the event loop hands over the bytes.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from time import monotonic
from typing import Any

import uvloop

from bench.child import answer_stdin

BODY_BYTES = 950


class Arrivals:
    def __init__(self) -> None:
        self.times = array("d")
        self._wanted = 0
        self._reached = asyncio.Event()

    def add(self) -> None:
        self.times.append(monotonic())
        if self._wanted and len(self.times) >= self._wanted:
            self._reached.set()

    async def more(self, count: int, timeout: float) -> None:
        """Returns when so many have come from now on, or the time is over."""
        self._wanted = len(self.times) + count
        self._reached.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._reached.wait()
        except TimeoutError:
            pass
        self._wanted = 0


class Connection(asyncio.Protocol):
    def __init__(self, response: bytes, arrivals: Arrivals) -> None:
        self._response = response
        self._arrivals = arrivals
        self._transport: asyncio.WriteTransport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in heads:
            self._arrivals.add()
            self._transport.write(self._response)


def response_of(name: str) -> bytes:
    body = (b'{"service":"%b","pad":"' % name.encode()).ljust(BODY_BYTES - 2, b"x") + b'"}'
    return (
        b"HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nCache-Control: private, max-age=0\r\n"
        b'ETag: "abc123"\r\nVary: Accept-Encoding\r\nX-Served-By: %b\r\nSet-Cookie: sid=abc; Path=/; HttpOnly\r\n\r\n%b'
    ) % (len(body), name.encode(), body)


async def main(name: str) -> None:
    arrivals = Arrivals()
    response = response_of(name)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(response, arrivals), "127.0.0.1", 0, backlog=4096)

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "more":
            await arrivals.more(asked["count"], asked["timeout"])
            return {"count": len(arrivals.times)}
        return {"arrivals": list(arrivals.times)}

    await answer_stdin({"port": server.sockets[0].getsockname()[1]}, answer)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
