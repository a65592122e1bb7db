"""Whether a delivery is worth another attempt, and when. Without I/O and without a clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum


class Fate(Enum):
    """What becomes of a notification: one of these, once."""

    SENT = "sent"
    REFUSED = "refused"
    EXPIRED = "expired"
    QUEUE_FULL = "queue_full"
    REMOVED = "removed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`status` is 0 where no answer came, `why` says it for people; `retry_after` in seconds."""

    status: int
    why: str = ""
    retry_after: float = 0.0

    @property
    def fate(self) -> Fate | None:
        """None: worth another attempt."""
        if 200 <= self.status < 300:
            return Fate.SENT
        if self.status == 0 or self.status in (408, 429) or self.status >= 500:
            return None
        return Fate.REFUSED


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds; the pauses double from `first` to `longest`."""

    first: float = 1.0
    longest: float = 300.0
    attempts: int = 20
    age: float = 3600.0

    def pause(self, made: int, age: float, attempt: Attempt, draw: float) -> float | None:
        """Until the next attempt, after `made` of them; None where there is none. `draw`, from 0 to 1, takes up to half of the
        pause away, so that gateways that failed together don't come back together."""
        if made >= self.attempts:
            return None
        whole = min(self.longest, self.first * 2.0 ** (made - 1))
        pause = max(whole * (1.0 - draw / 2), attempt.retry_after)
        return pause if age + pause <= self.age else None


def retry_after(text: str | None, now: float) -> float:
    """RFC 9110 section 10.2.3: seconds, or a date; 0 for what is neither. `now` is Unix time."""
    if text is None:
        return 0.0
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year or an offset of twenty digits
        return 0.0
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
