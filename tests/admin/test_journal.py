"""Changes are kept now, or later, and never twice."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from admin.state import journal as journal_module
from admin.state.engine import FILE, embedded_engine
from admin.state.journal import Journal
from admin.state.store import AuditEntry, Change, Store, StoreError, Token

ENTRY = AuditEntry(1, "t", "ann", "weights", "shop", "", None, None, None, "n")


class FlakyStore(Store):
    """A real store whose next commits fail: before they are written, or only in what they answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(embedded_engine(folder))
        self.fail_before = 0
        self.fail_after = 0

    async def commit(self, expected: int, change: Change) -> None:
        if self.fail_before:
            self.fail_before -= 1
            raise StoreError("disk full")
        await super().commit(expected, change)
        if self.fail_after:
            self.fail_after -= 1
            raise StoreError("the answer was lost")


@pytest.fixture
def store(tmp_path: Path) -> FlakyStore:
    return FlakyStore(tmp_path)


def change(revision: int) -> Change:
    return Change(revision, {("route", f"r{revision}"): {"at": revision}}, [ENTRY])


async def settled(store: Store, journal: Journal) -> tuple[int, int, int]:
    """Revision, states and audit entries after everything was written."""
    await journal.close(5.0)
    loaded = await store.open()
    entries = await store.entries(route=None, before=None, limit=100)
    await store.close()
    return loaded.revision, len(loaded.states), len(entries)


async def test_a_change_is_on_the_disk_when_it_is_said_to_be(store: FlakyStore) -> None:
    await store.open()
    errors: list[BaseException] = []
    journal = Journal(store, 0, errors.append)
    assert await journal.keep(change(1))
    assert (await store.open()).revision == 1
    assert (await settled(store, journal), errors) == ((1, 1, 1), [])


async def test_a_failed_change_is_pending_and_written_with_the_next(store: FlakyStore) -> None:
    await store.open()
    errors: list[BaseException] = []
    journal = Journal(store, 0, errors.append)
    store.fail_before = 1
    assert not await journal.keep(change(1))
    assert (journal.pending, journal.failures, len(errors)) == (1, 1, 1)
    assert await journal.keep(change(2))
    assert journal.pending == 0
    assert await settled(store, journal) == (2, 2, 2)


async def test_a_failed_change_is_tried_again_without_another(
    store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_FIRST_PAUSE", 0.01)
    await store.open()
    journal = Journal(store, 0, lambda error: None)
    store.fail_before = 3
    assert not await journal.keep(change(1))
    assert await settled(store, journal) == (1, 1, 1)


async def test_what_somebody_else_wrote_into_the_log_ends_no_writer(store: FlakyStore, tmp_path: Path) -> None:
    """After the highest id there is, no entry has one; once it is gone, everything is written that waited."""
    await store.open()
    journal = Journal(store, 0, lambda error: None)
    assert await journal.keep(change(1))
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("UPDATE audit SET id = 9223372036854775807")
        database.commit()
        assert not await journal.keep(change(2))
        assert (journal.pending, journal.failures) == (1, 1)
        database.execute("UPDATE audit SET id = 1")
        database.commit()
    assert await journal.keep(change(3))
    assert await settled(store, journal) == (3, 3, 3)


async def test_a_commit_whose_answer_was_lost_is_not_written_twice(store: FlakyStore) -> None:
    await store.open()
    journal = Journal(store, 0, lambda error: None)
    store.fail_after = 1
    assert not await journal.keep(change(1))
    await journal.keep(change(2))
    assert await settled(store, journal) == (2, 2, 2)


def beside(revision: int, token: Token) -> Change:
    """A change that no worker is told, at the revision there is."""
    return Change(revision, {}, [ENTRY], {token.name: token})


CI, CD = Token("ci", "a" * 64, "viewer", "t"), Token("cd", "b" * 64, "viewer", "t")


async def test_a_change_beside_the_revision_is_kept_and_moves_none(store: FlakyStore) -> None:
    await store.open()
    journal = Journal(store, 0, lambda error: None)
    await journal.keep(change(1))
    assert await journal.keep(beside(1, CI))
    assert await journal.keep(Change(1, tokens={"ci": None, "cd": CD}))
    assert (await store.open()).revision == 1
    assert await store.tokens() == [CD]
    assert await journal.keep(change(2))
    assert await settled(store, journal) == (2, 2, 3)


async def test_a_change_beside_the_revision_that_failed_is_not_said_to_be_kept(store: FlakyStore) -> None:
    await store.open()
    journal = Journal(store, 0, lambda error: None)
    await journal.keep(change(1))
    store.fail_before = 1
    assert not await journal.keep(beside(1, CI))
    assert (journal.pending, await store.tokens()) == (1, [])
    assert await journal.keep(change(2))
    assert await store.tokens() == [CI]
    assert await settled(store, journal) == (2, 2, 3)


async def test_what_came_beside_a_change_whose_answer_was_lost_is_still_written(
    store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_FIRST_PAUSE", 0.01)
    await store.open()
    journal = Journal(store, 0, lambda error: None)
    store.fail_after = 1
    assert not await journal.keep(change(1))
    journal.add(beside(1, CI))
    assert await journal.keep(change(2))
    assert await store.tokens() == [CI]
    assert await settled(store, journal) == (2, 2, 3)


async def test_a_store_that_hangs_holds_no_answer_up(store: FlakyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "PATIENCE", 0.05)
    await store.open()
    hanging = asyncio.Event()
    real = Store.commit

    async def commit(expected: int, each: Change) -> None:
        await hanging.wait()
        await real(store, expected, each)

    monkeypatch.setattr(store, "commit", commit)
    journal = Journal(store, 0, lambda error: None)
    assert not await journal.keep(change(1))
    assert journal.pending == 1
    hanging.set()
    assert await settled(store, journal) == (1, 1, 1)


async def test_beyond_the_bound_audit_entries_are_counted_as_lost_and_states_are_not(
    store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MOST_PENDING", 2)
    monkeypatch.setattr(journal_module, "PATIENCE", 0.01)
    await store.open()
    store.fail_before = 1000
    journal = Journal(store, 0, lambda error: None)
    for revision in range(1, 6):
        await journal.keep(change(revision))
    assert (journal.pending, journal.dropped) == (2, 3)
    store.fail_before = 0
    assert await settled(store, journal) == (5, 5, 2)
