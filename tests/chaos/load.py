"""Clients that know what every answer has to be, and remember each that was not."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.origin import body_of

PATIENCE = 30.0
SIZES = (100, 30_000)
REQUESTS_PER_CONNECTION = 25
UPSTREAMS = ("blue", "canary")


@dataclass(frozen=True, slots=True)
class Failure:
    """Times are monotonic; `connected` is when its connection was there. `kind`: a status, `broken` (the connection ended before
    the answer did), `hung`, or `wrong body`: complete, and not what was asked for."""

    connected: float
    began: float
    ended: float
    kind: str


class Load:
    """`clients` connections at a time, each for so many `requests`, one after another; from a thread of its own."""

    def __init__(
        self, address: Callable[[], tuple[str, int]], clients: int, requests: int = REQUESTS_PER_CONNECTION
    ) -> None:
        self._address = address
        self._requests = requests
        self._numbers = itertools.count(1)
        self._stop = False
        self._under_way: dict[int, float] = {}
        self.answered = 0
        self.refused = 0
        """Connections that nobody took: no request was sent."""
        self.served = Counter[str]()
        self.failures: list[Failure] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(clients)), name="load", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop = True
        self._thread.join(PATIENCE + 5)
        assert not self._thread.is_alive()

    def over(self, moment: float) -> bool:
        """Whether all that began up to then (monotonic) has ended."""
        return all(began > moment for began in list(self._under_way.values()))

    async def _run(self, clients: int) -> None:
        await asyncio.gather(*(self._client() for _ in range(clients)))

    async def _client(self) -> None:
        while not self._stop:
            try:
                reader, writer = await asyncio.open_connection(*self._address(), limit=1 << 20)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.02)
                continue
            connected = time.monotonic()
            try:
                for _ in range(self._requests):
                    if self._stop or not await self._request(reader, writer, connected):
                        break
            finally:
                writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connected: float) -> bool:
        """False where the connection is not to be used again."""
        number = next(self._numbers)
        began = self._under_way[number] = time.monotonic()
        try:
            kind, reusable = await self._exchange(reader, writer, number)
        finally:
            del self._under_way[number]
        if kind is not None:
            self.failures.append(Failure(connected, began, time.monotonic(), kind))
        return reusable

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> tuple[str | None, bool]:
        """What failed, and whether the connection can be used again."""
        size = SIZES[number % len(SIZES)]
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(b"GET /%d/%d HTTP/1.1\r\nHost: chaos\r\n\r\n" % (number, size))
                status, head, body = await _answer(reader)
        except TimeoutError:
            return "hung", False
        except (OSError, EOFError):  # IncompleteReadError is an EOFError
            return "broken", False
        reusable = b"connection: close" not in head
        if status != 200:
            return str(status), reusable
        name = body.partition(b":")[0].decode("latin-1")
        if name not in UPSTREAMS or body != body_of(name, number, size):
            return "wrong body", False
        self.answered += 1
        self.served[name] += 1
        return None, reusable


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]), head, await reader.readexactly(length)
