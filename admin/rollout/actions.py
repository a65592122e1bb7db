"""What the machine wants done. The loop does it, in order, and signs with the rollout's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Move:
    """Set these weights, in per cent."""

    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CutBack:
    """All traffic to stable; it stays so until a person restores. The weights under it are those from before the rollout."""


@dataclass(frozen=True, slots=True)
class GoBack:
    """The weights from before the rollout."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy so many per cent to that shadow."""

    upstream: str
    percent: float


@dataclass(frozen=True, slots=True)
class StopCopies:
    """The shadow from before the rollout."""


@dataclass(frozen=True, slots=True)
class Drain:
    upstream: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enable:
    upstream: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Put the question to a gate; its answer comes with a later observation. An answer to an earlier stage is void."""

    gate: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Begin the evidence anew."""


class Event(Enum):
    STARTED = "started"
    STEP = "step"
    AWAITING_APPROVAL = "awaiting_approval"
    PAUSED = "paused"
    RESUMED = "resumed"
    REGRESSION = "regression"
    PROMOTED = "promoted"
    CUT_BACK = "cut_back"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Tell:
    """Notify, and write it down."""

    event: Event


Action = Move | CutBack | GoBack | Copy | StopCopies | Drain | Enable | Ask | Judge | Tell
