"""The store's contract, over the embedded database; another database is to pass the same."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from admin.state.diff_store import DiffStore
from admin.state.engine import FILE, embedded_engine
from admin.state.migrate import known_revisions, upgrade
from admin.state.schema import SCHEMA, metadata
from admin.state.store import (
    AuditEntry,
    Change,
    StaleRevisionError,
    Store,
    StoreUnusableError,
    Token,
)
from tests.support.wire import PATIENCE

ENTRY = AuditEntry(
    1, "2026-03-01T09:30:00.000Z", "ann", "weights", "shop", "why", {"a": 1}, {"a": 2}, {"applied": True}, "node-1"
)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = embedded_engine(tmp_path)
    yield engine
    await engine.dispose()


@pytest.fixture
async def store(engine: AsyncEngine) -> Store:
    store = Store(engine)
    await store.open()
    return store


async def test_a_new_store_is_empty_at_revision_zero(engine: AsyncEngine) -> None:
    loaded = await Store(engine).open()
    assert (loaded.revision, loaded.meta, loaded.states) == (0, {}, {})


async def test_a_change_is_there_after_it_with_its_revision(store: Store) -> None:
    await store.commit(
        0, Change(1, {("route", "shop"): {"weights": {"blue": 1}}, ("route", "api"): {"x": None}}, [ENTRY])
    )
    await store.commit(1, Change(2, {("route", "shop"): {"weights": None}, ("route", "api"): None}))
    loaded = await store.open()
    assert loaded.revision == 2
    assert {key: (kept.revision, kept.value) for key, kept in loaded.states.items()} == {
        ("route", "shop"): (2, {"weights": None})
    }


@pytest.mark.parametrize(("stored", "expected"), [(0, 1), (1, 0), (2, 1)])
async def test_a_change_from_another_revision_is_refused_whole(store: Store, stored: int, expected: int) -> None:
    for revision in range(1, stored + 1):
        await store.commit(revision - 1, Change(revision))
    with pytest.raises(StaleRevisionError) as refused:
        await store.commit(expected, Change(9, {("route", "shop"): {}}, [ENTRY]))
    loaded = await store.open()
    assert (refused.value.stored, loaded.revision, loaded.states) == (stored, stored, {})
    assert await store.entries(route=None, before=None, limit=10) == []


async def test_the_audit_log_pages_newest_first_and_by_route(store: Store) -> None:
    entries = [
        replace(ENTRY, revision=number, route=route) for number, route in enumerate(["shop", "api", "shop", None], 1)
    ]
    await store.commit(0, Change(1, {}, entries))
    newest = await store.entries(route=None, before=None, limit=3)
    assert [entry.revision for entry in newest] == [4, 3, 2]
    assert [entry.revision for entry in await store.entries(route=None, before=newest[-1].id, limit=3)] == [1]
    of_shop = await store.entries(route="shop", before=None, limit=10)
    assert [replace(entry, id=0, hash="") for entry in of_shop] == [entries[2], entries[0]]


async def test_facts_are_made_once(store: Store) -> None:
    assert await store.remember({"secret": "first"}) == {"secret": "first"}
    assert await store.remember({"secret": "second", "node": "n"}) == {"secret": "first", "node": "n"}
    assert (await store.open()).meta == {"secret": "first", "node": "n"}


async def test_a_token_of_the_same_name_replaces_it(store: Store) -> None:
    first, second = Token("admin", "a" * 64, "admin", "t"), Token("admin", "b" * 64, "admin", "t")
    await store.put_token(first)
    await store.put_token(second)
    assert await store.tokens() == [second]


async def test_a_token_is_kept_whole_and_its_use_by_the_day(store: Store) -> None:
    token = Token("ci", "a" * 64, "viewer", "t", "ann", "2027-01-31T23:59:59.000Z")
    await store.commit(0, Change(1, tokens={"ci": token}))
    used = replace(token, last_used="2026-12-01")
    await store.token_used(used)
    assert await store.tokens() == [used]
    await store.token_used(
        replace(used, digest="b" * 64, last_used="2026-12-02")
    )  # another of that name, since replaced
    assert await store.tokens() == [used]
    await store.commit(1, Change(1, tokens={"ci": None}))
    assert await store.tokens() == []


async def test_tokens_of_an_older_database_hold_without_an_end(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, "0002")
        await connection.execute(text("INSERT INTO tokens VALUES ('admin', 'aa', 'admin', 't')"))
    store = Store(engine)
    await store.open()
    assert await store.tokens() == [Token("admin", "aa", "admin", "t")]


async def test_the_file_is_private_and_commits_reach_the_disk(
    engine: AsyncEngine, store: Store, tmp_path: Path
) -> None:
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    async with engine.connect() as connection:
        found = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar() for name in ("journal_mode", "synchronous")
        ]
    assert found == ["wal", 2]


async def test_the_migrations_make_the_tables_that_the_code_names(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[Any]:
        upgrade(connection)
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with engine.begin() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_new_database_is_what_the_migrations_would_have_made(store: Store, tmp_path: Path) -> None:
    (tmp_path / "migrated").mkdir()
    made, migrated = embedded_engine(tmp_path), embedded_engine(tmp_path / "migrated")
    async with migrated.begin() as connection:
        await connection.run_sync(upgrade)
    assert await _laid_out(made) == await _laid_out(migrated)
    await made.dispose()
    await migrated.dispose()


async def _laid_out(engine: AsyncEngine) -> list[tuple[str, ...]]:
    """What the database says that it holds, however it was written down, and the migration it is at."""
    async with engine.connect() as connection:
        sql = await connection.execute(text("SELECT type, name, sql FROM sqlite_master ORDER BY name"))
        found = [(row.type, row.name, re.sub(r"\s*([(),]|\s)\s*", r"\1", row.sql or "")) for row in sql]
        number = await connection.execute(text("SELECT version_num FROM alembic_version"))
        return [*found, (number.scalar_one(),)]


async def test_a_migration_that_is_cut_short_leaves_nothing_behind(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
        await connection.rollback()
        tables = await connection.execute(text("SELECT name FROM sqlite_master"))
        assert tables.all() == []
    assert (await Store(engine).open()).revision == 0


async def test_reading_the_audit_log_disturbs_no_change_under_way(store: Store) -> None:
    async def write() -> None:
        for revision in range(1, 31):
            await store.commit(revision - 1, Change(revision, {("route", "shop"): {"at": revision}}, [ENTRY]))

    async def read() -> None:
        for _ in range(60):
            await store.entries(route=None, before=None, limit=5)

    await asyncio.gather(write(), read(), read())
    assert len(await store.entries(route=None, before=None, limit=100)) == 30
    assert (await store.open()).states["route", "shop"].value == {"at": 30}


async def test_a_connection_that_is_stopped_twice_is_waited_for_once(engine: AsyncEngine) -> None:
    """As where a loop's end cancels a read while the connection of another that was cancelled closes: it hung for good."""
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        driver.stop()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ValueError, match="closed"):
                await driver.close()
        await connection.invalidate()


async def test_a_store_whose_disk_hangs_is_closed_all_the_same(
    engine: AsyncEngine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.state.store._CLOSING", 0.01)
    disk = threading.Event()
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        stuck = driver._tx
    stuck.put_nowait((None, disk.wait))
    async with asyncio.timeout(PATIENCE):
        await store.close()
    disk.set()


def test_the_newest_migration_is_the_schema_of_the_code() -> None:
    assert max(known_revisions()) == SCHEMA


async def test_an_older_database_is_brought_up_to_date_with_what_it_holds(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, "0001")
        await connection.execute(text("INSERT INTO kept VALUES ('route', 'shop', 3, '{\"weights\": null}')"))
        await connection.execute(text("INSERT INTO kept VALUES ('gateway', 'revision', 3, '{}')"))
    loaded = await Store(engine).open()
    assert (loaded.revision, loaded.states["route", "shop"].value) == (3, {"weights": None})
    assert await DiffStore(engine).load() == {}


async def test_a_database_of_a_newer_headgate_is_refused(engine: AsyncEngine, store: Store) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnusableError, match="newer Headgate"):
        await store.open()


@pytest.mark.parametrize("content", [b"this is no database " * 400, b"SQLite format 3\0" + b"\xff" * 8000])
async def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    engine = embedded_engine(tmp_path)
    with pytest.raises(StoreUnusableError) as refused:
        await Store(engine).open()
    await engine.dispose()
    assert "\n" not in str(refused.value)
    assert str(refused.value)
