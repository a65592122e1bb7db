"""The supervisor's end of the control socket, for tests of the admin process: a real socket pair, a real process.

Answers each Publish as `workers` workers would, unless told otherwise. What it may differ in from the real supervisor is kept
small on purpose: it speaks `proxy.control` through the same Channel, and keeps what it was sent.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from proxy.control import Channel, Drain, Failed, InForce, Message, Publish, Published, Ready, Workers, WorkerState
from routing.snapshot import Snapshot
from tests.support.wire import PATIENCE

M = TypeVar("M")
ROOT = Path(__file__).resolve().parents[2]


class FakeSupervisor:
    """`answer` makes the Published of a Publish; None leaves it unanswered."""

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.received: list[Message] = []
        self.answer: Callable[[Publish], Published | None] = self.all_acked
        self.on_publish: Callable[[Publish], None] = lambda publish: None
        self.process: asyncio.subprocess.Process | None = None
        self.in_force = InForce(0, {})
        self._channel = Channel(self._on_message, self._on_lost)
        self._news = asyncio.Condition()
        self._lost = False
        self._log: Path | None = None

    def all_acked(self, publish: Publish) -> Published:
        return Published(publish.revision, self.workers, self.workers, 0, 0.001, {})

    async def attach(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: self._channel, sock=sock)

    async def start(self, config: Path, *arguments: str, cwd: Path) -> None:
        """Start a real admin process at the other end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._log = cwd / "admin.log"
        with theirs, self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "admin.process",
                "--control-fd",
                str(theirs.fileno()),
                *arguments,
                str(config),
                pass_fds=[theirs.fileno()],
                cwd=cwd,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        await self.attach(ours)

    async def first(self, kind: type[M], timeout: float = PATIENCE) -> M:
        """The first message of that kind, once it is there. Failed or the end instead of it is an error."""
        await self.until(lambda: self.count(kind) > 0 or self.count(Failed) > 0, timeout)
        for message in self.received:
            if isinstance(message, kind):
                return message
        raise AssertionError([message for message in self.received if isinstance(message, Failed)])

    async def published_after(self, revision: int, timeout: float = PATIENCE) -> Publish:
        """The first publish beyond that revision, once it is there."""
        await self.until(lambda: self.revision > revision, timeout)
        return next(publish for publish in self.published if publish.revision > revision)

    async def until(self, holds: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Looks whenever a message has come. The end of the process before it holds is an error."""
        async with asyncio.timeout(timeout), self._news:
            await self._news.wait_for(lambda: holds() or self._lost)
            if not holds():
                raise AssertionError("the admin process is gone: " + self.log())

    def count(self, kind: type[object]) -> int:
        return sum(isinstance(message, kind) for message in self.received)

    async def ready(self) -> None:
        await self.first(Ready)

    def tell_workers(self, restarts: int = 0) -> None:
        states = tuple(WorkerState(n, 1000 + n, True, self.revision, time.time()) for n in range(self.workers))
        self.send(Workers(states, restarts))

    def send(self, message: Message) -> None:
        self._channel.send(message)

    @property
    def published(self) -> list[Publish]:
        return [message for message in self.received if isinstance(message, Publish)]

    @property
    def revision(self) -> int:
        return self.published[-1].revision if self.published else 0

    def snapshot(self) -> Snapshot:
        """What a worker would have now."""
        snapshot: Snapshot | None = None
        for publish in self.published:
            if publish.snapshot is not None:
                snapshot = pickle.loads(publish.snapshot)
            assert snapshot is not None
            for name, live in publish.live.items():
                snapshot = snapshot.with_live(name, live)
            snapshot = snapshot.with_endpoints(publish.endpoints)
        assert snapshot is not None
        return snapshot

    def log(self) -> str:
        """What the processes started in that folder have written."""
        return self._log.read_text() if self._log else ""

    async def drain(self, seconds: float = 5.0) -> int:
        self.send(Drain(seconds))
        return await self.ended()

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        code = await self.process.wait()
        self._channel.close()
        return code

    def close(self) -> None:
        self._channel.close()

    def _on_message(self, message: Message) -> None:
        if not self.received:
            self._channel.send(self.in_force)
            self.tell_workers()
        self.received.append(message)
        if isinstance(message, Publish):
            self.on_publish(message)
            if (published := self.answer(message)) is not None:
                self._channel.send(published)
        self._wake()

    def _on_lost(self) -> None:
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        async def tell() -> None:
            async with self._news:
                self._news.notify_all()

        self._telling: Any = asyncio.get_running_loop().create_task(tell())
