"""All that is particular to the embedded SQLite: where the file is, how it is opened and how it begins a transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

FILE = "state.sqlite3"

# WAL: readers never wait for the writer. FULL: a commit is on the disk when it returns, also after a power cut. The busy
# time-out only matters when somebody looks into the file with a tool of their own.
_PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA busy_timeout=1000")


def embedded_engine(folder: Path) -> AsyncEngine:
    """The file is private to the user that runs the gateway. One connection writes; another may read the audit log."""
    path = folder / FILE
    path.touch(mode=0o600, exist_ok=True)
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=2, max_overflow=2)

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
