"""Examples: whole pairs to look at. The admin process stores them; a field keeps which ones, and its own two values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from routing.shadowing import Redacting
from shadow.answer import Answer
from shadow.redaction import redact_text
from shadow.verdict import Compared, Difference, Third

FIRST = 3
RECENT = 5
BETWEEN = 10.0
"""Seconds between two recent examples of a field: one that always differs must not make each pair an example."""

LONGEST_VALUE = 120
"""Characters of a value that a field keeps; the example itself has what the comparison gave."""

MOST_DIFFERENCES = 100
_LOOKED_AT = 1024
"""Bytes of a target; less of it is shown."""
_LONGEST_REQUEST_ID = 128
_NONE = Redacting()
_REQUEST_ID = re.compile(rb"(?im)^x-request-id:[ \t]*([^\r\n]*)")
_SECRET = re.compile(r"(?i)([?&;][^=&;]*(?:token|key|secret|passw|pwd|auth|sign|code|session|sid|jwt)[^=&;]*=)[^&;]*")


class PairFacts:
    """A request and its two answers, as far as people are told. Rendered only where it becomes an example."""

    __slots__ = ("head", "method", "primary", "redacting", "shadow", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        head: bytes,
        primary: Answer,
        shadow: Answer,
        redacting: Redacting = _NONE,
    ) -> None:
        self.method = method
        self.target = target
        self.head = head
        self.primary = primary
        self.shadow = shadow
        self.redacting = redacting

    def to_json(self) -> dict[str, Any]:
        """An example is stored: addresses in the path are hidden, and values of query parameters that are to be redacted, or
        whose names look secret."""
        request_id = _REQUEST_ID.search(self.head)
        path = _SECRET.sub(r"\1…", self.target[:_LOOKED_AT].decode("latin-1"))
        return {
            "method": self.method.decode("latin-1"),
            "path": redact_text(path, self.redacting),
            "request_id": "" if request_id is None else request_id[1][:_LONGEST_REQUEST_ID].decode("latin-1").strip(),
            "primary": _answer(self.primary),
            "shadow": _answer(self.shadow),
        }


def _answer(answer: Answer) -> dict[str, Any]:
    shown = {"status": answer.status, "ms": milliseconds(answer.seconds), "bytes": len(answer.body)}
    return {**shown, "failure": answer.failure} if answer.failure else shown


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000.0, 3)


def example(name: str, endpoint: str, compared: Compared, third: Third, pair: PairFacts, now: float) -> dict[str, Any]:
    """One pair whole, as `GET /diffs/{id}` answers. `name` is its id."""
    return {
        "id": name,
        "at": now,
        "endpoint": endpoint,
        **pair.to_json(),
        "third": third.value,
        "notes": list(compared.notes),
        "differences": _differences(compared.shadow, "shadow"),
        "noise": _differences(compared.third or (), "third"),
    }


def _differences(differences: Sequence[Difference], other: str) -> list[dict[str, Any]]:
    return [
        {"field": found.field, "kind": found.kind, "primary": found.primary, other: found.other}
        for found in differences[:MOST_DIFFERENCES]
    ]


class Kept:
    """The examples of one field: the first ones, and the most recent."""

    __slots__ = ("first", "last_at", "recent")

    def __init__(self) -> None:
        self.first: list[dict[str, Any]] = []
        self.recent: list[dict[str, Any]] = []
        self.last_at = 0.0

    def wanted(self, now: float) -> bool:
        return len(self.first) < FIRST or now - self.last_at >= BETWEEN

    def add(self, name: str, difference: Difference, pair: PairFacts, now: float) -> None:
        reference = {
            "id": name,
            "at": now,
            "primary": difference.primary[:LONGEST_VALUE],
            "shadow": difference.other[:LONGEST_VALUE],
            "primary_ms": milliseconds(pair.primary.seconds),
            "shadow_ms": milliseconds(pair.shadow.seconds),
        }
        if len(self.first) < FIRST:
            self.first.append(reference)
        else:
            self.recent = [*self.recent[1 - RECENT :], reference]
        self.last_at = now

    def merge(self, other: Kept) -> None:
        """Of the same field, seen as another till now."""
        everything = sorted([*self.first, *self.recent, *other.first, *other.recent], key=lambda kept: kept["at"])
        self.first, rest = everything[:FIRST], everything[FIRST:]
        self.recent = rest[-RECENT:]
        self.last_at = max(self.last_at, other.last_at)

    def to_json(self) -> list[list[dict[str, Any]]]:
        return [list(self.first), list(self.recent)]

    @classmethod
    def from_json(cls, lists: list[list[dict[str, Any]]]) -> Kept:
        kept = cls()
        kept.first, kept.recent = list(lists[0]), list(lists[1])
        kept.last_at = max((one["at"] for one in [*kept.first, *kept.recent]), default=0.0)
        return kept
