"""All that is particular to the embedded SQLite: where the file is, how it is opened and how it begins a transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

FILE = "state.sqlite3"

# WAL: readers never wait for the writer. FULL: a commit is on the disk when it returns, also after a power cut. The busy
# time-out only matters when somebody looks into the file with a tool of their own.
_PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA busy_timeout=1000")


class _Connection(aiosqlite.Connection):
    """Its thread ends with the first stop, and a second one would be waited for without end: at the end of a loop, which cancels a
    read and the closing of its connection together, both stop it."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda: sqlite3.connect(path, check_same_thread=False), iter_chunk_size=64)
        self._thread.daemon = True
        self._stopped: asyncio.Future[Any] | None = None

    def stop(self) -> asyncio.Future[Any] | None:
        if self._stopped is None:
            self._stopped = super().stop()
        return self._stopped


def embedded_engine(folder: Path) -> AsyncEngine:
    """The file is private to the user that runs the gateway. One connection writes; another may read the audit log."""
    path = folder / FILE
    path.touch(mode=0o600, exist_ok=True)
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", async_creator=lambda: _Connection(path), pool_size=2, max_overflow=2
    )

    def prepare(connection: Any, _record: object) -> None:
        # The driver would begin transactions by itself, but not before DDL: a migration that is killed would be half done.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin)
    return engine
