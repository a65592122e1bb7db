"""What the evidence says of a rollout at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Kind(Enum):
    """UNKNOWN holds: there is too little to say anything by. WATCHING holds too: nothing is proven, but what is needed to go on is
    not there yet."""

    OK = "ok"
    WATCHING = "watching"
    REGRESSION = "regression"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`sentence` is for people, `numbers` are what it was made from, as JSON."""

    kind: Kind
    sentence: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


NOTHING_SEEN = Verdict(Kind.UNKNOWN, "no request was judged yet")
