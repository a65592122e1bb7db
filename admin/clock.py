"""Times as the API and the audit log write them, and as people do."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from routing.notation import positive_duration

_BARE_NUMBER = re.compile(r"\s*[0-9.]+\s*")


def utc_now() -> str:
    """Now in UTC, ISO 8601 with milliseconds: `2026-03-01T09:30:00.123Z`."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_of(unix: float) -> str:
    return iso(datetime.fromtimestamp(unix, UTC))


def today() -> date:
    return datetime.now(UTC).date()


def moment_of(text: str, forms: str, at: time, away: Callable[[timedelta], datetime]) -> datetime:
    """Of a duration, that which is so far `away`; of a date, the one `at` that time in UTC; of a time with its offset, itself.
    Raises ValueError, which says `forms` of what is none of them."""
    try:
        return datetime.combine(date.fromisoformat(text), at, UTC)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        if _BARE_NUMBER.fullmatch(text):  # seconds elsewhere; days, as people mean it here
            raise ValueError(forms) from None
        try:
            return away(timedelta(seconds=positive_duration(text)))
        except (ValueError, OverflowError):
            raise ValueError(forms) from None
    if moment.tzinfo is None:
        raise ValueError("needs its offset from UTC: a Z at the end, or +01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(forms) from error
