"""Exchanges fed with bytes through transports that are none: `python -m bench.hot_path` prints one line of JSON.

Real are the client's connection, the plane with its snapshot, pools and counts, and the upstream's connection. The loop is
asyncio's with one change: connecting gives a transport at once.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from statistics import median
from time import perf_counter
from typing import Any, cast

from bench.gateway import shop
from bench.origin import response_of
from proxy import client as client_module
from proxy.client import ClientConnection
from proxy.plane import Plane
from routing.compile import compile_snapshot
from routing.load import load_tree

ROUNDS = 7
EXCHANGES = 5_000
THOUSAND = 1_000
REQUEST = (
    b"GET /catalog/shoes?size=42 HTTP/1.1\r\nHost: shop.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Referer: https://shop.example.com/catalog\r\n"
    b"Cookie: session=8f14e45fceea167a5a36dedd4bea2543; tier=premium; ab=B; consent=1%b\r\n"
    b"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    b"X-Request-ID: 6f1b7c2a-3f5e-4a57-9c0e-2f8f5bb1a001\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n\r\n"
)


class Wire(asyncio.Transport):
    """Keeps the last thing written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000)})
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


class Loop(asyncio.SelectorEventLoop):
    """Connections to endpoints are `Wire`s; `upstream` becomes the protocol of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.upstream: asyncio.Future[asyncio.Protocol] = self.create_future()

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        protocol: asyncio.Protocol = protocol_factory()
        wire = Wire()
        protocol.connection_made(wire)
        self.upstream.set_result(protocol)
        return wire, protocol


class Pair:
    """One client's connection, and the upstream's connection that its exchanges use."""

    def __init__(self) -> None:
        config = load_tree(
            shop({"blue": 9, "canary": 9}, listen=[{"address": "127.0.0.1:8080"}], access_log={"sample": 0})
        )
        plane = Plane(compile_snapshot(config, revision=1, secret=bytes(32)), {}, _fail)
        self._wire = Wire()
        self._client = cast(asyncio.Protocol, ClientConnection(plane, False, b""))
        self._client.connection_made(self._wire)
        self._response = response_of("blue")
        self._upstream: asyncio.Protocol

    async def open(self, loop: Loop) -> None:
        """The first exchange: it has the upstream's connection made, and brings the client its cookie."""
        self._client.data_received(REQUEST % b"")
        self._upstream = await loop.upstream
        await asyncio.sleep(0)  # the dial goes on, and sends the request
        self._upstream.data_received(self._response)
        _, _, behind = self._wire.written.partition(b"Set-Cookie: hg_bucket=")
        assert behind, f"the exchange went wrong: {self._wire.written!r}"
        self._request = REQUEST % (b"; hg_bucket=" + behind.partition(b";")[0])
        self.whole()
        assert self._wire.written.endswith(self._response[-900:])

    def whole(self) -> None:
        self._client.data_received(self._request)
        self._upstream.data_received(self._response)


def _fail(error: BaseException) -> None:
    raise SystemExit(f"a task failed: {error!r}")


def microseconds(pair: Pair) -> float:
    begun = perf_counter()
    for _ in range(EXCHANGES):
        pair.whole()
    return 1e6 * (perf_counter() - begun) / EXCHANGES


def peak_bytes(pair: Pair) -> int:
    """What an exchange needs at most, above what its connections hold between two."""
    tracemalloc.start()
    pair.whole()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    pair.whole()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def leftovers(pair: Pair) -> tuple[int, int]:
    """Of a thousand exchanges: objects that only the collector can free, and blocks that stay."""
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(THOUSAND):
        pair.whole()
    left = sys.getallocatedblocks() - before
    return gc.collect(), left


def main() -> None:
    loop = Loop()
    asyncio.set_event_loop(loop)
    pair = Pair()
    loop.run_until_complete(pair.open(loop))
    for _ in range(THOUSAND):
        pair.whole()
    gc.collect()
    gc.freeze()
    gc.disable()
    times = [microseconds(pair) for _ in range(ROUNDS)]
    cycles, left = leftovers(pair)
    found = {
        "compiled": not client_module.__file__.endswith(".py"),
        "exchanges": EXCHANGES,
        "rounds": ROUNDS,
        "best": min(times),
        "median": median(times),
        "peak_bytes": peak_bytes(pair),
        "cycles": cycles,
        "left": left,
    }
    print(json.dumps(found))
    loop.close()


if __name__ == "__main__":
    main()
