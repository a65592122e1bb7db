"""A sample upstream of the shadow bench: `python -m bench.shop_origin NAME`. Answers like `bench.shop_answers.Shop`, or not at
all, or badly, as it is asked to: a shadow in all its moods.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import time
from typing import Any

import uvloop

from bench.child import answer_stdin
from bench.shop_answers import NUMBER, Shop

HUGE = 10 * 1024 * 1024
_HALF = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"half":'
_NO_LINGER = struct.pack("ii", 1, 0)


class Origin:
    """`again` counts requests that stable was asked a second time."""

    def __init__(self, name: str) -> None:
        self.shop = Shop(name, 0)
        self.mood = "sound"
        self.again = 0
        self.connections: set[Connection] = set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._huge = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (HUGE, bytes(HUGE))
        self._garbage = os.urandom(2000)

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def turn(self, mood: str) -> None:
        """Connections that it has had till now are closed."""
        self.mood = mood
        if mood == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif mood != "refuse" and self._server is None:
            await self.listen()
        for connection in list(self.connections):
            connection.transport.abort()

    def act(self, transport: asyncio.Transport, path: bytes, number: bytes) -> None:
        match self.mood:
            case "sound":
                answer = self.shop.answer(path, number, time.time())
                if answer:
                    transport.write(answer)
                else:
                    _break_off(transport)
            case "reset":
                _break_off(transport)
            case "huge":
                transport.write(self._huge)
            case "garbage":
                transport.write(self._garbage)


def _break_off(transport: asyncio.Transport) -> None:
    """Amid a body, with a RST."""
    transport.write(_HALF)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class Connection(asyncio.Protocol):
    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._rest = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._origin.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._origin.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            at = head.find(NUMBER) + len(NUMBER)
            end = head.find(b"\r\n", at)
            number = head[at:] if end < 0 else head[at:end]
            self._origin.again += b"\r\nX-Headgate-Shadow: " in head
            self._origin.act(self.transport, head[head.index(b" ") + 1 : head.index(b" HTTP/")], number)


async def main(name: str) -> None:
    origin = Origin(name)
    await origin.listen()

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "begin":
            origin.shop.begin(asked["seed"], asked.get("defect", ""))
            origin.again = 0
        elif asked["do"] == "turn":
            await origin.turn(asked["mood"])
        return {"served": origin.shop.served, "again": origin.again, "wrong": origin.shop.wrong}

    await answer_stdin({"port": origin.port}, answer)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
