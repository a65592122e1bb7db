"""The demo's own traffic: clients who differ in what rules look at, about 20 requests a second in all."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

_PATHS = ("/", "/about", "/terms", "/api/products", "/api/products?page=2")
_RULED = ("/new/arrivals", "/?preview=green")
_RULED_SHARE = 0.04


@dataclass(frozen=True, slots=True)
class Client:
    """One visitor. `address` is where it claims to come from, `pause` the mean time between its requests in seconds;
    `returning` ones keep their cookies, the others are new each time."""

    address: str
    pause: float
    returning: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    orders: bool = False
    listens: bool = False


CLIENTS = (
    *(Client(f"198.51.100.{number}", 0.4) for number in range(10, 15)),  # new visitors from New York: 12.5 a second
    *(Client(f"198.51.100.{number}", 2.0, returning=True) for number in range(20, 26)),
    Client("198.51.100.30", 1.0, orders=True),
    Client("192.0.2.10", 1.0),  # Berlin: a rule looks at the country
    Client("203.0.113.40", 2.0),  # Austria
    Client("203.0.113.200", 4.0),  # the office that a rule names by its network
    Client("198.51.100.40", 4.0, headers={"X-Canary": "true"}),
    Client("198.51.100.41", 4.0, cookies={"beta": "1"}),
    Client("198.51.100.42", 2.0, headers={"User-Agent": "examplebot/2.1"}),
    Client("198.51.100.43", 1.0, listens=True),
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
                await asyncio.sleep(random.uniform(0.5, 1.5) * client.pause)  # noqa: S311 - when, not what
                await self._send(client, session)

    async def _send(self, client: Client, session: aiohttp.ClientSession) -> None:
        paths = _RULED if random.random() < _RULED_SHARE else _PATHS  # noqa: S311
        method, path = "GET", random.choice(paths)  # noqa: S311
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
