"""The audit log's chain: each entry carries the SHA-256 over the hash before it and itself, the first over GENESIS.

The rule is frozen: what was ever written is verified by it, and so are the entries that migration 0004 put into the chain. The
head is what the last entry left behind; it is kept apart from the log, so that a log cut short shows. Ids are given here and not
by the database, since they are hashed too; the chain has them without gaps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

GENESIS = "0" * 64
HEAD = "audit_head"
"""Its name among the facts of the store."""

_HASHED = ("id", "at", "revision", "who", "action", "route", "reason", "before", "after", "receipt", "node")
WRITTEN = (*_HASHED, "hash")
"""An entry as it is in the log."""


def link(before: str, entry: Mapping[str, Any]) -> str:
    """The entry's hash, in hex: over the hash before it, in hex, and the entry as JSON with sorted keys, in ASCII and without
    spaces. Raises TypeError for what JSON does not have."""
    text = json.dumps({name: entry[name] for name in _HASHED}, sort_keys=True, separators=(",", ":"))
    return sha256(f"{before}{text}".encode()).hexdigest()


def as_read(value: object) -> Any:
    """JSON as the database will give it back: its keys are texts, its tuples lists."""
    return json.loads(json.dumps(value))


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries there are, the newest one's id, and its hash."""

    entries: int = 0
    id: int = 0
    hash: str = GENESIS

    def text(self) -> str:
        return f"{self.entries} {self.id} {self.hash}"

    @classmethod
    def of_text(cls, text: str | None) -> Head:
        """Without one that can be read the chain begins anew: should there be entries, the next one will not fit them."""
        try:
            entries, number, at = (text or "").split(" ")
            return cls(int(entries), int(number), at)
        except ValueError:
            return cls()


def chained(head: Head, newest: int, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], Head]:
    """The rows with id and hash, and the head after them. `newest` is the highest id in the log: what others have written beyond
    the head keeps no entry from being written."""
    entries: list[dict[str, Any]] = []
    for row in rows:
        number = max(head.id, newest) + 1
        at = link(head.hash, {**row, "id": number})
        entries.append({**row, "id": number, "hash": at})
        head = Head(head.entries + 1, number, at)
    return entries, head


@dataclass(frozen=True, slots=True)
class Misfit:
    """The first entry that does not fit, and why. `id` is None where it is none that is there."""

    id: int | None
    why: str


@dataclass(slots=True)
class Walk:
    """Along the chain, entry by entry as written, in the order of their ids."""

    at: Head = Head()

    def take(self, entry: Mapping[str, Any]) -> Misfit | None:
        here, number = self.at, entry["id"]
        try:
            fits = entry["hash"] == link(here.hash, entry)
        except TypeError:
            fits = False
        if fits:
            self.at = Head(here.entries + 1, number, entry["hash"])
            return None
        missing = number - here.id - 1
        if missing > 0:
            return Misfit(number, f"{missing} before it {'is' if missing == 1 else 'are'} missing")
        return Misfit(number, "it was changed or inserted")

    def end(self, head: Head, beyond: int | None) -> Misfit | None:
        """At the end of the log, by its head. `beyond` is the first entry that is not in it."""
        if head == self.at:
            return None if beyond is None else Misfit(beyond, "it is beyond the log's end, by the head kept apart")
        if head.id > self.at.id:
            return Misfit(self.at.id + 1, f"the log ends before it; by the head kept apart it ends with {head.id}")
        return Misfit(self.at.id or None, "the chain was made anew: the head kept apart is another")
