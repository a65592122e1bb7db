"""What the audit log says of a change: who, when, what, why, before, after, and the receipt. And whether it still says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from admin.clock import utc_now
from admin.live import UNCHANGED, RouteState
from admin.logs import Logger
from admin.publisher import Receipt
from admin.state.chain import GENESIS, WRITTEN, Head, Misfit, Walk
from admin.state.store import AuditEntry, Store, StoreError, UnreadableEntryError

# Read at a time while the log is verified: some milliseconds of the loop.
_BATCH = 50
BEFORE_THE_FIRST = "it is before the log's first entry, which has the id 1"
HEADS_EVERY = 3600.0
"""Seconds between two heads in the log."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Who wants what and why. `if_match` holds the revisions that the caller has seen; None where it did not say."""

    who: str
    action: str
    reason: str = ""
    if_match: frozenset[int] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Auditor:
    """Writes entries for one node."""

    node: str

    def entry(
        self, intent: Intent, revision: int, route: str | None, before: object, after: object, receipt: Receipt | None
    ) -> AuditEntry:
        shown = receipt.to_json() if receipt else None
        return AuditEntry(
            revision, utc_now(), intent.who, intent.action, route, intent.reason, before, after, shown, self.node
        )

    def dropped(
        self,
        why: Mapping[str, str],
        before: Mapping[str, RouteState],
        after: Mapping[str, RouteState],
        revision: int,
        receipt: Receipt | None,
    ) -> list[AuditEntry]:
        """Live state that a new document ended, by route."""
        intent = Intent("configuration", "live_state_dropped")
        return [
            self.entry(
                replace(intent, reason=reason),
                revision,
                name,
                before.get(name, UNCHANGED).to_json(),
                after.get(name, UNCHANGED).to_json(),
                receipt,
            )
            for name, reason in why.items()
        ]

    def delisted(self, why: Mapping[str, str], revision: int, receipt: Receipt | None) -> list[AuditEntry]:
        """Live endpoints that a new document ended, by upstream."""
        intent = Intent("configuration", "live_endpoints_dropped")
        return [
            self.entry(replace(intent, reason=reason), revision, None, {"upstream": name}, {"upstream": name}, receipt)
            for name, reason in why.items()
        ]


@dataclass(frozen=True, slots=True)
class Verified:
    """How far the chain holds, with its head there; `misfit` is None where that is to the end. `expected` is the entry that left
    the expected hash behind (0: none had been written yet), None where no entry did or no hash was expected."""

    head: Head
    misfit: Misfit | None
    expected: int | None


async def verify(store: Store, expect: str | None = None) -> Verified:
    """Walk along the chain as it is now; what is written meanwhile is not looked at. Raises StoreError."""
    head, newest = await store.audit_head()
    walk, size = Walk(), _BATCH
    expected = 0 if expect == GENESIS else None
    misfit = None if (first := await store.next_entry(None, upto=0)) is None else Misfit(first, BEFORE_THE_FIRST)
    while misfit is None:
        try:
            entries = await store.entries_after(walk.at.id, limit=size, upto=min(head.id, newest))
        except UnreadableEntryError as error:
            if size == 1:
                misfit = Misfit(await store.next_entry(walk.at.id), str(error))
            size = 1  # up to the very one
            continue
        if not entries:
            break
        for entry in entries:
            misfit = walk.take({name: getattr(entry, name) for name in WRITTEN})
            if misfit is not None:
                break
            if entry.hash == expect:
                expected = entry.id
    if misfit is None:
        misfit = walk.end(head, await store.next_entry(head.id, upto=newest))
    if misfit is None and expect is not None and expected is None:
        misfit = Misfit(None, "no entry has left the expected hash behind")
    return Verified(walk.at, misfit, expected)


async def note_heads(store: Store, log: Logger, pause: Callable[[], Awaitable[bool]]) -> None:
    """The chain's head into the log, for whoever keeps that elsewhere; after each pause again, where it has moved. A pause that
    answers False is the end."""
    noted: Head | None = None
    going_on = True
    while going_on:
        try:
            head, _ = await store.audit_head()
        except StoreError as error:
            log.warning("the audit log's head cannot be read", error=str(error))
        else:
            if head != noted:
                log.info("audit head", entries=head.entries, head=head.hash)
                noted = head
        going_on = await pause()
