"""The one place that starts a task: named, kept alive, and its failure delivered to an owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, T], name: str, on_error: Callable[[BaseException], None]) -> asyncio.Task[T]:
    """Run a coroutine in the running loop. `on_error` gets what it raises; cancellation is no error."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)

    def done(finished: asyncio.Task[T]) -> None:
        _running.discard(finished)
        if not finished.cancelled() and (error := finished.exception()) is not None:
            on_error(error)

    task.add_done_callback(done)
    return task
