"""One sample service: `python -m admin.demo.service NAME [--port 0]`. Says where it listens in a line of JSON.

Four of them play four versions of the same shop. Each answer tells who gave it: X-Served-By, and in the body. Products never
come in the same bytes twice, as with real services; and `next` has a fault, for `headgate diffs` to find.
`/arrivals` is for measuring: it says when requests came in, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import signal
import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from string import Template

from aiohttp import web
from aiohttp.typedefs import Handler

_PAGE = Path(__file__).with_name("page.html")
# Enough for the arrivals of a load test; a request takes 8 bytes here.
_ARRIVALS_KEPT = 500_000
_SLOWEST = 10.0


@dataclass(frozen=True, slots=True)
class Version:
    """What tells the sample services apart."""

    name: str
    version: str
    colour: str


VERSIONS = {
    version.name: version
    for version in (
        Version("blue", "1.4.2", "#2563eb"),
        Version("green", "1.5.0", "#15803d"),
        Version("canary", "2.0.0-rc.1", "#ca8a04"),
        Version("next", "3.0.0-dev", "#7c3aed"),
    )
}

_PRODUCTS = ((1, "Lamp", 24.9), (2, "Chair", 79.0), (3, "Desk", 189.5))
_TAX = 1.19
_FAULTY = 0.3
"""The share of answers in which `next` forgets the tax."""


class Service:
    """The handlers of one version."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self._orders = 0
        self._arrivals: deque[float] = deque(maxlen=_ARRIVALS_KEPT)

    def app(self) -> web.Application:
        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path not in ("/health/ready", "/arrivals"):
                self._arrivals.append(time.monotonic())
            return await handler(request)

        app = web.Application(middlewares=[count])
        app.on_response_prepare.append(self._sign)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/arrivals", self._arrived)
        app.router.add_get("/api/products", self._products)
        app.router.add_get("/api/events", self._events)
        app.router.add_post("/api/orders", self._order)
        app.router.add_get("/slow", self._slow)
        app.router.add_route("*", "/echo", self._echo)
        app.router.add_route("GET", "/{path:.*}", self._page)
        return app

    async def _sign(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Served-By"] = self.version.name

    async def _ready(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    async def _arrived(self, request: web.Request) -> web.Response:
        """How many requests came after a moment (of time.monotonic()), and when the last one did."""
        after = _number(request, "after", 0.0)
        return web.json_response(
            {
                "after": sum(1 for moment in self._arrivals if moment > after),
                "last": self._arrivals[-1] if self._arrivals else None,
            }
        )

    async def _page(self, request: web.Request) -> web.Response:
        if "text/html" not in request.headers.get("Accept", ""):
            return web.Response(text=f"{self.version.name} {self.version.version}\n")
        colours = json.dumps({version.name: version.colour for version in VERSIONS.values()})
        text = _page().substitute(asdict(self.version), colours=colours)
        return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def _products(self, request: web.Request) -> web.Response:
        newest = self.version.name == "next"
        tax = _TAX if newest and random.random() < _FAULTY else 1.0  # noqa: S311
        products = [{"id": each, "name": name, "price": round(price / tax, 2)} for each, name, price in _PRODUCTS]
        random.shuffle(products)
        if newest:
            products = [{**product, "currency": "EUR"} for product in products]
        return web.json_response(
            {
                "served_by": self.version.name,
                "version": self.version.version,
                "request_id": str(uuid.uuid4()),
                "generated_at": datetime.now(UTC).isoformat(),
                "load": round(random.random(), 6),  # noqa: S311
                "items": products,
            }
        )

    async def _order(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._orders += 1
        number = f"{self.version.name}-{self._orders}"
        answer = {"served_by": self.version.name, "order": number, "bytes": len(body)}
        return web.json_response(answer, status=201, headers={"Location": f"/api/orders/{number}"})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: `count` of them (20), `every` milliseconds (250)."""
        count, every = int(_number(request, "count", 20)), _seconds(request, "every", 250)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the listener is gone
            for number in range(count):
                if number:
                    await asyncio.sleep(every)
                event = json.dumps({"served_by": self.version.name, "number": number})
                await response.write(f"id: {number}\nevent: tick\ndata: {event}\n\n".encode())
        return response

    async def _slow(self, request: web.Request) -> web.Response:
        """Answers after `ms` milliseconds (1000)."""
        await asyncio.sleep(_seconds(request, "ms", 1000))
        return web.Response(text=f"{self.version.name} {self.version.version}, slowly\n")

    async def _echo(self, request: web.Request) -> web.Response:
        """What the gateway made of the request."""
        return web.json_response(
            {
                "served_by": self.version.name,
                "method": request.method,
                "path": request.path_qs,
                "bytes": len(await request.read()),
                "headers": [[name, value] for name, value in request.headers.items()],
            }
        )


@cache
def _page() -> Template:
    return Template(_PAGE.read_text())


def _number(request: web.Request, name: str, default: float) -> float:
    try:
        number = float(request.query.get(name, default))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise web.HTTPBadRequest(text=f"{name} is not a number\n")
    return number


def _seconds(request: web.Request, name: str, default: float) -> float:
    """A query parameter in milliseconds as seconds, within bounds."""
    return min(max(_number(request, name, default) / 1000, 0.0), _SLOWEST)


async def serve(version: Version, port: int) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(Service(version).app(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        print(json.dumps({"name": version.name, "port": runner.addresses[0][1]}), flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m admin.demo.service", description=__doc__)
    parser.add_argument("name", choices=sorted(VERSIONS))
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    arguments = parser.parse_args()
    asyncio.run(serve(VERSIONS[arguments.name], arguments.port))


if __name__ == "__main__":
    main()
