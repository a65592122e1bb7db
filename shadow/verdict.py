"""What comparing two answers finds: the words that differ process, findings and reports share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """How a field differs."""

    CHANGED = "changed"
    TYPE = "type"
    MISSING = "missing"
    """The primary has it, the other answer has not."""
    EXTRA = "extra"
    ORDER = "order"
    TEXT = "text"
    BYTES = "bytes"
    NO_ANSWER = "no_answer"


class Difference(NamedTuple):
    """One field that differs between two answers. `field` is `status`, `header:name`, `body`, or a path with indexes left out
    (`$.items[*].price`). `primary` and `other` are shown to people: redacted, at most 256 characters. The classes say what kind
    of value stands there (shadow/profile.py), the numbers are its values where it is one; None where there is no value."""

    field: str
    kind: str
    primary: str
    other: str
    primary_class: str
    other_class: str
    primary_number: float | None
    other_number: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Primary and shadow, and where there was a third answer (control, or stable once more) that too.

    `reason` is why nothing can be said (a closed set: shadow/compare.py), empty where something can. `shadow` are the
    differences of primary and shadow; `third` those of primary and third answer, None without one; `shadow_third` the fields in
    which shadow and third differ. `notes` are remarks such as `claims JSON and is not`.
    """

    reason: str
    shadow: tuple[Difference, ...] = ()
    third: tuple[Difference, ...] | None = None
    shadow_third: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
