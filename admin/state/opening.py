"""Opening the embedded store, whatever is found in its place.

A database that is damaged is of no use to a gateway that has to serve, and may be of use to people: it is kept aside under a
name with the time, and an empty one begins in its place. One that can't be read for another reason (rights, a full disk, a newer
Headgate's schema) is left alone and refused: that may be mended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from admin.state.engine import FILE, embedded_engine
from admin.state.store import Loaded, Store, StoreCorruptError

_ASIDE = f"{FILE}.corrupt-"


@dataclass(frozen=True, slots=True)
class Opened:
    """`damage` is what was wrong with the database that was there, and None for nothing."""

    engine: AsyncEngine
    store: Store
    loaded: Loaded
    damage: str | None = None


async def open_state(folder: Path) -> Opened:
    """Raises StoreUnusableError, OSError. The caller holds the folder's lock."""
    engine = embedded_engine(folder)
    store = Store(engine)
    try:
        return Opened(engine, store, await store.open())
    except StoreCorruptError as error:
        await store.close()
        _keep_aside(folder, datetime.now(UTC))
        engine = embedded_engine(folder)
        store = Store(engine)
        return Opened(engine, store, await store.open(), str(error))


def kept_aside(folder: Path) -> list[str]:
    """Names of damaged databases that nobody has taken away yet, the oldest first."""
    return sorted(path.name for path in folder.glob(f"{_ASIDE}*") if not path.name.endswith(("-wal", "-shm")))


def _keep_aside(folder: Path, now: datetime) -> None:
    name = f"{_ASIDE}{now:%Y%m%dT%H%M%S.%fZ}"
    for suffix in ("-wal", "-shm", ""):  # the file itself last: until then the next start finds it damaged again
        path = folder / (FILE + suffix)
        if path.exists():
            path.rename(folder / (name + suffix))
