"""A whole control plane in the test's own loop: the real process class, store and API; a fake supervisor at the other end."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from admin.process import AdminProcess
from admin.startup import Settings
from proxy.tasks import spawn
from tests.support.fake_supervisor import FakeSupervisor

CONFIG = """\
listen: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
state: STATE
upstreams:
  blue: {endpoints: ["http://127.0.0.1:9001", "http://127.0.0.1:9011"]}
  green: {endpoints: ["http://127.0.0.1:9002"]}
  canary: {endpoints: ["http://127.0.0.1:9003"]}
routes:
  shop:
    match: {hosts: [shop.example.com]}
    stable: blue
    weights: {blue: 95, canary: 5}
    rules:
      - {when: {header: {x-canary: "true"}}, send: canary}
    sticky: {cookie: hg_bucket, max_age: 30d}
  api:
    match: {path_prefix: /api}
    stable: blue
    weights: {blue: 50, green: 50}
    sticky: {header: x-user-id}
  rest:
    match: {path_prefix: /}
    stable: green
"""


@dataclass(slots=True)
class Answer:
    status: int
    headers: Any
    json: Any
    text: str


@dataclass(slots=True)
class Plane:
    """A running control plane. `call` sends the admin token unless given other headers."""

    folder: Path
    config: Path
    process: AdminProcess
    supervisor: FakeSupervisor
    session: aiohttp.ClientSession
    url: str
    token: str

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        options.setdefault("headers", {})
        options["headers"] = {"Authorization": f"Bearer {self.token}"} | options["headers"]
        return await self.bare(method, path, **options)

    async def bare(self, method: str, path: str, **options: Any) -> Answer:
        async with self.session.request(method, self.url + path, **options) as response:
            if response.content_type == "text/event-stream":  # has no end
                return Answer(response.status, response.headers, None, "")
            text = await response.text()
            is_json = response.content_type.endswith("json")
            json = await response.json(content_type=None) if is_json and text else None
            return Answer(response.status, response.headers, json, text)

    @property
    def context(self) -> Any:
        assert self.process.server is not None
        return self.process.server.context


Start = Callable[..., Awaitable[Plane]]


def edit(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "headgate.yaml"
    path.write_text(CONFIG.replace("STATE", str(tmp_path / "state")))
    return path


@pytest.fixture
async def start(config: Path, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a control plane; `stop` of what it returned ends it, and so does the end of the test."""
    running: list[tuple[FakeSupervisor, Any, aiohttp.ClientSession]] = []

    def unexpected(error: BaseException) -> None:
        raise error

    async def begin(supervisor: FakeSupervisor | None = None) -> Plane:
        supervisor = supervisor or FakeSupervisor()
        ours, theirs = socket.socketpair()
        await supervisor.attach(ours)
        process = AdminProcess(Settings(config, os.environ, tmp_path / "state"))
        task = spawn(process.run(theirs), "admin under test", unexpected)
        session = aiohttp.ClientSession()
        running.append((supervisor, task, session))
        await supervisor.ready()
        folder = tmp_path / "state"
        url, token = ((folder / name).read_text().strip() for name in ("admin.url", "admin.token"))
        return Plane(folder, config, process, supervisor, session, url, token)

    yield begin
    for supervisor, task, session in running:
        await session.close()
        supervisor.close()
        await task


@pytest.fixture
async def plane(start: Start) -> Plane:
    return await start()
