"""A worker's connection to the shadow process: made when a route has a shadow, made again when it is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import cast

from proxy.capture import FLUSH_SECONDS, Outbox, Tap
from proxy.capture_frames import CREDIT, CREDIT_HEAD, SOCKET, Frames
from proxy.tasks import spawn

RETRY_SECONDS = 0.1


class CaptureLink(asyncio.Protocol):
    """The far end only gives credit."""

    def __init__(self, tap: Tap, on_lost: Callable[[], None]) -> None:
        self._tap = tap
        self._on_lost = on_lost
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self._tap.opened(Outbox(self._transport, lambda flush: loop.call_later(FLUSH_SECONDS, flush)))

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            _, kind, _, credits, through, backed_off, length = CREDIT_HEAD.unpack_from(frame)
            assert kind == CREDIT
            route = frame[CREDIT_HEAD.size :].decode()
            assert len(route) == length
            self._tap.through(route, through)
            self._tap.credited(route, credits, bool(backed_off))

    def connection_lost(self, exc: Exception | None) -> None:
        self._tap.lost()
        self._on_lost()


def socket_path(folder: int) -> str:
    """Of the shadow process's socket; `folder` is a descriptor of the state folder, whose own path may be too long for a
    socket's address (108 bytes)."""
    return f"/proc/self/fd/{folder}/{SOCKET}"


class CaptureLinks:
    """Keeps one link up for as long as it is wanted. `state` is the state folder."""

    def __init__(
        self, tap: Tap, state: str, wanted: Callable[[], bool], on_error: Callable[[BaseException], None]
    ) -> None:
        self._tap = tap
        self._folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._wanted = wanted
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._look()

    def _look(self) -> None:
        if self._wanted():
            spawn(self._connect(), "connect to the shadow process", self._on_error)
        else:
            self._later()

    def _later(self) -> None:
        self._loop.call_later(RETRY_SECONDS, self._look)

    async def _connect(self) -> None:
        try:
            await self._loop.create_unix_connection(
                lambda: CaptureLink(self._tap, self._later), socket_path(self._folder)
            )
        except OSError:
            self._later()  # not there yet, or being started again
