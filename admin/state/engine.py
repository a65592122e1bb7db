"""All that is particular to the embedded SQLite: where the file is, how it is opened and what its errors mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

FILE = "state.sqlite3"

# WAL: readers never wait for the writer. FULL: a commit is on the disk when it returns, also after a power cut. The busy
# time-out only matters when somebody looks into the file with a tool of their own.
_PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA busy_timeout=1000")


def embedded_engine(folder: Path) -> AsyncEngine:
    """One connection for the one writer. The file is private to the user that runs the gateway."""
    path = folder / FILE
    path.touch(mode=0o600, exist_ok=True)
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", poolclass=StaticPool)

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    return engine
