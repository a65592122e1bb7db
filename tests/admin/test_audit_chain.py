"""The audit log as a chain: what was changed, removed or inserted shows, and where."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from admin import audit as audit_module
from admin.audit import BEFORE_THE_FIRST, note_heads, verify
from admin.state.chain import GENESIS, Head, Misfit, link
from admin.state.engine import embedded_engine
from admin.state.migrate import upgrade
from admin.state.store import AuditEntry, Change, Store

ENTRY = AuditEntry(
    1,
    "2026-03-01T09:30:00.000Z",
    "ann",
    "weights",
    "shop",
    "grüße",
    {"weights": None},
    {"weights": {"blue": 99.5, "canary": 0.5}, 7: (1, 2)},
    {"applied": True},
    "node-1",
)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = embedded_engine(tmp_path)
    yield engine
    await engine.dispose()


async def written(engine: AsyncEngine, count: int) -> Store:
    store = Store(engine)
    await store.open()
    for number in range(1, count + 1):
        await store.commit(number - 1, Change(number, audit=[replace(ENTRY, revision=number)]))
    return store


async def run(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


def test_nothing_in_the_gateway_changes_or_removes_an_entry() -> None:
    admin = Path(audit_module.__file__).parent
    sources = {path: path.read_text() for path in admin.rglob("*.py") if "migrations" not in path.parts}
    assert sum("insert(audit)" in source for source in sources.values()) == 1
    forbidden = re.compile(
        r"\b(update|delete)\(\s*(\w+\.)?audit\b|(update|delete from|drop table)\s+audit\b", re.IGNORECASE
    )
    assert [path.name for path, source in sources.items() if forbidden.search(source)] == []


def test_a_hash_is_what_the_documentation_says() -> None:
    """Made with sha256sum over 64 zeros and the line."""
    entry = {"id": 1, "at": "t", "revision": 2, "who": "ann", "action": "cutback", "route": None, "reason": "ü",
             "before": None, "after": {"b": 1.5, "a": [True]}, "receipt": None, "node": "n", "hash": "not in it"}  # fmt: skip
    assert link(GENESIS, entry) == "815bb1e05f1ef9e387e0760434642b81d8ca1782deefda8b3a565651e0d41418"


async def test_a_new_log_has_no_entries_and_the_first_hash(engine: AsyncEngine) -> None:
    store = await written(engine, 0)
    found = await verify(store, GENESIS)
    assert (found.head, found.misfit, found.expected) == (Head(0, 0, GENESIS), None, 0)


@pytest.mark.parametrize("batch", [1, 2, 100])
async def test_what_was_written_holds(engine: AsyncEngine, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_BATCH", batch)
    store = await written(engine, 4)
    await store.commit(4, Change(5, audit=[ENTRY, ENTRY]))  # as the journal does after a lost answer
    found = await verify(store)
    newest = (await store.entries(route=None, before=None, limit=1))[0]
    assert (found.head, found.misfit) == (Head(6, 6, newest.hash), None)
    assert newest.after == {"weights": {"blue": 99.5, "canary": 0.5}, "7": [1, 2]}


async def test_a_log_that_goes_on_holds_the_heads_of_before(engine: AsyncEngine) -> None:
    store = await written(engine, 2)
    noted = (await verify(store)).head
    await store.commit(2, Change(3, audit=[ENTRY]))
    found = await verify(store, noted.hash)
    assert (found.head.entries, found.misfit, found.expected) == (3, None, 2)


CHANGED = "it was changed or inserted"
MISSING = "1 before it is missing"
BEYOND = "it is beyond the log's end, by the head kept apart"
COPY = (
    "INSERT INTO audit SELECT {}, at, revision, who, action, route, reason, before, after, receipt, node, hash"
    " FROM audit WHERE id = {}"
)
TAMPERED = [
    (["UPDATE audit SET who = 'bob' WHERE id = 3"], Misfit(3, CHANGED)),
    (["UPDATE audit SET reason = '' WHERE id = 1"], Misfit(1, CHANGED)),
    (["UPDATE audit SET at = '2026-03-01T09:30:00.001Z' WHERE id = 5"], Misfit(5, CHANGED)),
    (["UPDATE audit SET after = '{\"weights\": {}}' WHERE id = 2"], Misfit(2, CHANGED)),
    (["UPDATE audit SET receipt = NULL WHERE id = 2"], Misfit(2, CHANGED)),
    (["UPDATE audit SET who = x'00ff' WHERE id = 2"], Misfit(2, CHANGED)),
    (["UPDATE audit SET hash = '' WHERE id = 4"], Misfit(4, CHANGED)),
    (["DELETE FROM audit WHERE id = 3"], Misfit(4, MISSING)),
    (["DELETE FROM audit WHERE id < 3"], Misfit(3, "2 before it are missing")),
    (["DELETE FROM audit WHERE id = 3", "UPDATE audit SET id = id - 1 WHERE id > 3"], Misfit(3, CHANGED)),
    (["UPDATE audit SET id = -id WHERE id IN (2, 3)", "UPDATE audit SET id = 5 + id WHERE id < 0"], Misfit(2, CHANGED)),
    (["UPDATE audit SET id = 10 + id WHERE id > 2", COPY.format(3, 2)], Misfit(3, CHANGED)),
    (["DELETE FROM audit WHERE id = 5"], Misfit(5, "the log ends before it; by the head kept apart it ends with 5")),
    (["DELETE FROM audit"], Misfit(1, "the log ends before it; by the head kept apart it ends with 5")),
    ([COPY.format(6, 5)], Misfit(6, BEYOND)),
    ([COPY.format(0, 5)], Misfit(0, BEFORE_THE_FIRST)),
    ([COPY.format(-(2**63), 5)], Misfit(-(2**63), BEFORE_THE_FIRST)),
    (["DELETE FROM meta WHERE name = 'audit_head'"], Misfit(1, BEYOND)),
    (["UPDATE meta SET value = 'x' WHERE name = 'audit_head'"], Misfit(1, BEYOND)),
    (
        ["UPDATE meta SET value = replace(value, ' 5 ', ' 4 ') WHERE name = 'audit_head'"],
        Misfit(4, "the chain was made anew: the head kept apart is another"),
    ),
]


@pytest.mark.parametrize(("statements", "misfit"), TAMPERED)
@pytest.mark.parametrize("batch", [2, 100])
async def test_what_others_did_to_the_log_shows_at_the_first_entry_that_does_not_fit(
    engine: AsyncEngine, statements: list[str], misfit: Misfit, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "_BATCH", batch)
    store = await written(engine, 5)
    await run(engine, *statements)
    assert (await verify(store)).misfit == misfit


@pytest.mark.parametrize("column", ["before", "receipt"])
async def test_an_entry_that_is_no_json_any_more_is_named(engine: AsyncEngine, column: str) -> None:
    store = await written(engine, 5)
    await run(engine, f"UPDATE audit SET {column} = 'no json' WHERE id = 4")
    found = await verify(store)
    assert found.misfit is not None
    assert (found.head.entries, found.misfit.id) == (3, 4)
    assert "cannot be read" in found.misfit.why


async def test_an_entry_with_a_text_that_is_no_text_is_named(engine: AsyncEngine) -> None:
    store = await written(engine, 5)
    await run(engine, "UPDATE audit SET who = CAST(x'ff' AS TEXT) WHERE id = 4")
    found = await verify(store)
    assert found.misfit == Misfit(4, "an entry of the audit log cannot be read: a text in it is no UTF-8")


@pytest.mark.parametrize(
    ("statements", "first"),
    [
        (["DELETE FROM audit WHERE id > 3"], 6),  # the ids of those that are gone are not given again
        (["DELETE FROM audit WHERE id > 3", "DELETE FROM meta WHERE name = 'audit_head'"], 4),
        ([COPY.format(6, 5)], 6),
        (["DELETE FROM meta WHERE name = 'audit_head'"], 6),
    ],
)
async def test_a_log_that_others_have_touched_takes_further_entries_and_does_not_mend_itself(
    engine: AsyncEngine, statements: list[str], first: int
) -> None:
    store = await written(engine, 5)
    await run(engine, *statements)
    await store.commit(5, Change(6, audit=[ENTRY]))
    await store.commit(6, Change(7, audit=[ENTRY]))
    found = await verify(store)
    assert found.misfit is not None
    assert found.misfit.id == first


async def test_a_chain_that_was_made_anew_shows_against_a_head_noted_elsewhere(engine: AsyncEngine) -> None:
    store = await written(engine, 3)
    noted = (await verify(store)).head.hash
    await run(engine, "DELETE FROM audit", "DELETE FROM meta WHERE name = 'audit_head'")
    for revision in (4, 5, 6):
        await store.commit(revision - 1, Change(revision, audit=[replace(ENTRY, who="bob")]))
    assert (await verify(store)).misfit is None  # who owns the database can do that
    found = await verify(store, noted)
    assert (found.expected, found.misfit) == (None, Misfit(None, "no entry has left the expected hash behind"))


async def test_entries_written_while_it_is_verified_do_no_harm(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "_BATCH", 1)
    store = await written(engine, 5)

    async def write() -> None:
        for revision in range(6, 26):
            await store.commit(revision - 1, Change(revision, audit=[ENTRY]))

    _, *found = await asyncio.gather(write(), verify(store), verify(store))
    assert [each.misfit for each in found] == [None, None]
    assert (await verify(store)).head.entries == 25


async def test_entries_of_an_older_database_are_the_start_of_the_chain(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, "0003")
        row = "(NULL, 't', 1, 'ann', 'weights', 'shop', '', '{\"b\": 1.0, \"a\": 2}', 'null', NULL, 'n')"
        await connection.execute(text(f"INSERT INTO audit VALUES {', '.join([row] * 1203)}".replace(":", r"\:")))
        await connection.execute(text("DELETE FROM audit WHERE id = 7"))  # long ago: nothing says that it was there
        await connection.execute(text("INSERT INTO kept VALUES ('gateway', 'revision', 1, '{}')"))
    store = Store(engine)
    await store.open()
    await store.commit(1, Change(2, audit=[ENTRY]))
    found = await verify(store)
    assert (found.head.entries, found.head.id, found.misfit) == (1203, 1204, None)
    await run(engine, "UPDATE audit SET who = 'bob' WHERE id = 600")
    assert (await verify(store)).misfit == Misfit(600, CHANGED)


async def test_the_head_is_logged_once_and_again_where_it_has_moved(engine: AsyncEngine) -> None:
    store = await written(engine, 1)
    pauses = 0

    async def pause() -> bool:
        nonlocal pauses
        pauses += 1
        if pauses == 2:
            await store.commit(1, Change(2, audit=[ENTRY]))
        return pauses < 4

    with structlog.testing.capture_logs() as lines:
        await note_heads(store, structlog.get_logger(), pause)
    entries: list[Any] = [entry.hash for entry in await store.entries(route=None, before=None, limit=2)]
    assert [(line["event"], line["entries"], line["head"]) for line in lines] == [
        ("audit head", 1, entries[1]),
        ("audit head", 2, entries[0]),
    ]
