"""The demo's own traffic: a dozen clients who differ in what rules look at, about 20 requests a second in all."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

# Seconds between two requests of one client; with twelve clients, 20 requests a second.
_PAUSE = 0.6
_PATHS = ("/", "/", "/api/products", "/api/products?page=2", "/about", "/new/arrivals", "/?preview=green")


@dataclass(frozen=True, slots=True)
class Client:
    """One visitor. `address` is where it claims to come from; `returning` ones keep their cookies."""

    address: str
    returning: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    orders: bool = False
    listens: bool = False


CLIENTS = (
    Client("192.0.2.10", returning=True),  # Berlin
    Client("198.51.100.20", returning=True),  # New York
    Client("198.51.100.21", returning=True, orders=True),
    Client("203.0.113.30", returning=True),  # Austria
    Client("203.0.113.200"),  # the office that a rule names by its network
    Client("192.0.2.11"),
    Client("198.51.100.22"),
    Client("198.51.100.23"),
    Client("198.51.100.24", headers={"X-Canary": "true"}),
    Client("198.51.100.25", cookies={"beta": "1"}),
    Client("198.51.100.26", headers={"User-Agent": "examplebot/2.1"}),
    Client("198.51.100.27", listens=True),
)


class Trickle:
    """Sends until cancelled; counts what it sent and what failed."""

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0

    async def run(self, gateway: str) -> None:
        async with asyncio.TaskGroup() as group:
            for client in CLIENTS:
                group.create_task(self._play(client, gateway))

    async def _play(self, client: Client, gateway: str) -> None:
        jar = aiohttp.CookieJar(unsafe=True) if client.returning else aiohttp.DummyCookieJar()
        headers = {"X-Forwarded-For": client.address, "User-Agent": "headgate-demo", **client.headers}
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(
            URL(gateway), cookie_jar=jar, headers=headers, cookies=client.cookies, timeout=timeout
        ) as session:
            while True:
                await asyncio.sleep(random.uniform(0.5, 1.5) * _PAUSE)  # noqa: S311 - when, not what
                await self._send(client, session)

    async def _send(self, client: Client, session: aiohttp.ClientSession) -> None:
        method, path = "GET", random.choice(_PATHS)  # noqa: S311
        if client.orders:
            method, path = "POST", "/api/orders"
        elif client.listens:
            path = "/api/events?count=20&every=250"
        self.sent += 1
        try:
            async with session.request(method, path, json={"product": 1} if client.orders else None) as response:
                await response.read()
                self.failed += response.status >= 500
        except (aiohttp.ClientError, TimeoutError):
            self.failed += 1
