"""An upstream in a process of its own, which misbehaves as it is told: `python -m tests.chaos.origin NAME [PORT]`.

It prints its port. Lines on standard input set how it behaves from then on, and are repeated once they do; the
end of standard input ends it.
"""

from __future__ import annotations

import asyncio
import sys
from enum import Enum

HEAD_END = b"\r\n\r\n"
DRIP_SECONDS = 0.002


class Mood(Enum):
    WELL = "well"
    HANGING = "hanging"
    """Takes requests and answers none."""
    CUTTING = "cutting"
    """Resets the connection in the middle of each body."""
    DRIPPING = "dripping"
    """Sends each body byte by byte."""
    CLOSING = "closing"
    """Closes a kept connection when the next request comes over it, unanswered."""


def body_of(name: str, number: int, size: int) -> bytes:
    """What that request gets: every byte of it can be told from any other request's."""
    start = b"%b:%d:" % (name.encode(), number)
    unit = b"%d," % number
    return start + (unit * (size // len(unit) + 1))[:size]


class Upstream(asyncio.Protocol):
    mood = Mood.WELL
    name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""
        self._served = 0

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while HEAD_END in self._buffer:
            head, _, self._buffer = self._buffer.partition(HEAD_END)
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if self.mood is Mood.HANGING:
            return
        if self.mood is Mood.CLOSING and self._served:
            self._transport.close()
            return
        self._served += 1
        target = head.split(b" ", 2)[1].decode()
        number, size = (int(part) for part in target.strip("/").split("/"))
        body = body_of(self.name, number, size)
        start = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
        if self.mood is Mood.CUTTING:
            self._transport.write(start + body[: len(body) // 2])
            asyncio.get_running_loop().call_later(0.01, self._transport.abort)
        elif self.mood is Mood.DRIPPING:
            self._transport.write(start)
            self._drip(body[:400], body[400:])
        else:
            self._transport.write(start + body)

    def _drip(self, slowly: bytes, rest: bytes) -> None:
        if not slowly:
            self._transport.write(rest)
        elif not self._transport.is_closing():
            self._transport.write(slowly[:1])
            asyncio.get_running_loop().call_later(DRIP_SECONDS, self._drip, slowly[1:], rest)


async def serve(name: str, port: int) -> None:
    Upstream.name = name
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=512, reuse_address=True)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        Upstream.mood = Mood(line.decode().strip())
        print(Upstream.mood.value, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
