"""Keeps changes: each is written at once if the store can, and otherwise until it can.

A change is in force on the workers before it comes here, so a store that fails does not undo it: what is not yet written
stays pending, later changes join it, and one writer tries again with growing pauses. A retry after an uncertain outcome (a
commit whose answer was lost) is safe: the revision in the store says which changes it already has. Changes that no worker is
told (tokens, refused calls) come at the revision there is: should such an answer be lost, they are written twice, which leaves
the tokens the same and their audit entries twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from admin.state.store import AuditEntry, Change, StaleRevisionError, Store
from proxy.tasks import spawn

# How long an answer waits for the disk. A cutback is in force by then; only `persisted` is still open.
PATIENCE = 2.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# Changes held in memory while the store fails. Changes come at the pace of people and pipelines.
MOST_PENDING = 10_000


class Journal:
    """`on_error` hears of each failed attempt; `dropped` counts audit entries that found no room."""

    def __init__(self, store: Store, stored: int, on_error: Callable[[BaseException], None]) -> None:
        self._store = store
        self._stored = stored
        self._on_error = on_error
        self._pending: list[Change] = []
        self._added = 0
        self._settled_to = 0
        """The numbers of the newest change there is, and of the newest up to which all are on the disk."""
        self._wake = asyncio.Event()
        self._settled = asyncio.Condition()
        self._writer: asyncio.Task[None] | None = None
        self.failures = 0
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Changes that are in force and not yet on the disk."""
        return len(self._pending)

    async def keep(self, change: Change) -> bool:
        self.add(change)
        return await self.kept(change)

    def add(self, change: Change) -> None:
        """In the order of these calls; at once, so that whoever holds a lock for the order need not hold it for the disk."""
        self._added += 1
        change.number = self._added
        self._pending.append(change)
        self._bound()
        self._wake.set()
        if self._writer is None:
            self._writer = spawn(self._write(), "admin journal", self._on_error)

    async def kept(self, change: Change) -> bool:
        """True when the change is on the disk; False when it failed or takes too long, and goes on in the background."""
        failures = self.failures
        try:
            async with asyncio.timeout(PATIENCE), self._settled:
                await self._settled.wait_for(lambda: self._settled_to >= change.number or self.failures > failures)
        except TimeoutError:
            return False
        return self._settled_to >= change.number

    async def close(self, patience: float) -> None:
        """A last chance for what is pending."""
        self._wake.set()
        try:
            async with asyncio.timeout(patience), self._settled:
                await self._settled.wait_for(lambda: not self._pending)
        except TimeoutError:
            pass
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer], timeout=patience)  # it gives its connection back

    def _bound(self) -> None:
        """Beyond the bound a change joins the one before it: its states are kept, its audit entries are counted as lost."""
        if len(self._pending) > MOST_PENDING:
            newest = self._pending.pop()
            self.dropped += len(newest.audit)
            newest.audit.clear()
            self._pending[-1] = _merged([self._pending[-1], newest])

    async def _write(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            if not self._pending:
                self._wake.clear()
                await self._wake.wait()
            try:
                await self._flush()
                pause = _FIRST_PAUSE
            except Exception as error:  # whatever it is: without this task nothing would be stored any more
                self.failures += 1
                self._on_error(error)
                await self._tell()
                self._wake.clear()
                try:  # a new change is a new chance, but one that fails as well costs no more than its own attempt
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pause = min(pause * 2, _LONGEST_PAUSE)

    async def _flush(self) -> None:
        batch = _merged(self._pending)
        try:
            await self._store.commit(self._stored, batch)
        except StaleRevisionError as error:
            # An attempt whose answer was lost had succeeded after all. We hold the folder's lock: nobody else writes.
            if not self._stored < error.stored <= batch.revision:
                raise
            # Which of what came at that revision after the change that made it was in it, nobody knows: it is still owed.
            there = [each.number for each in self._pending if each.revision <= error.stored]
            made = [each.number for each in self._pending if each.revision == error.stored]
            self._settle(error.stored, min(made, default=max(there, default=self._settled_to)))
        else:
            self._settle(batch.revision, batch.number)
        await self._tell()

    def _settle(self, stored: int, number: int) -> None:
        self._stored, self._settled_to = stored, number
        self._pending = [change for change in self._pending if change.number > number]

    async def _tell(self) -> None:
        async with self._settled:
            self._settled.notify_all()


def _merged(changes: list[Change]) -> Change:
    merged = Change(changes[-1].revision, number=changes[-1].number)
    entries: list[AuditEntry] = []
    for change in changes:
        merged.states.update(change.states)
        merged.tokens.update(change.tokens)
        entries.extend(change.audit)
    merged.audit = entries
    return merged
