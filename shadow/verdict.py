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


class Reason(Enum):
    """Why nothing can be said of a pair. It is counted so, and never taken for equal."""

    UNDECODABLE = "undecodable"
    """A Content-Encoding that is broken, or none we know."""
    BOMB = "bomb"
    """It would decode to more than is read, and to over ten times its size."""
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    DEADLINE = "deadline"
    CRASHED = "crashed"
    """The differ process died over it."""
    FAILED = "failed"
    """Comparing raised: a bug of ours, told to the owner of the differs."""
    GONE = "gone"
    """The route had lost its shadow before the pair's turn came."""


class UndecidedError(Exception):
    """Raised while comparing, where a reason is the only answer."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Third(Enum):
    """What the third answer of a pair is, and so what may be concluded from it: shadow/field_state.py."""

    NONE = "none"
    CONTROL = "control"
    SAMPLED = "sampled"
    """Stable asked a second time, chosen before anything was known of the pair."""
    TRIGGERED = "triggered"
    """Stable asked a second time because primary and shadow differ."""


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

    `reason` is why nothing can be said (a value of `Reason`), empty where something can. `shadow` are the
    differences of primary and shadow; `third` those of primary and third answer, None without one; `shadow_third` the fields in
    which shadow and third differ. `notes` are remarks such as `claims JSON and is not`.
    """

    reason: str
    shadow: tuple[Difference, ...] = ()
    third: tuple[Difference, ...] | None = None
    shadow_third: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
