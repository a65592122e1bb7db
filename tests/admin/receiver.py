"""A receiver of notifications: a real HTTP server in the test's loop that keeps what it gets and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.wire import PATIENCE


@dataclass(frozen=True, slots=True)
class Got:
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Receiver:
    """`answers` are given in turn, 200 once there are none; `hold` keeps every answer back while it is not set."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: deque[web.Response | int] = field(default_factory=deque)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._news:
            self.got.append(Got({name.lower(): value for name, value in request.headers.items()}, body))
            self._news.notify_all()
        await self.hold.wait()
        answer = self.answers.popleft() if self.answers else 200
        if answer == 0:  # no answer at all
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=answer) if isinstance(answer, int) else answer

    async def wait(self, count: int) -> list[Got]:
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: len(self.got) >= count)
        return self.got

    @property
    def sentences(self) -> list[str]:
        return [got.json["sentence"] for got in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.hold.set()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hooks/very-secret"
    yield receiver
    receiver.hold.set()
    await runner.cleanup()


async def until(holds: Callable[[], bool]) -> None:
    """The loop goes on until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0)
