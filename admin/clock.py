"""Times as the API and the audit log write them."""

from __future__ import annotations

from datetime import UTC, date, datetime


def utc_now() -> str:
    """Now in UTC, ISO 8601 with milliseconds: `2026-03-01T09:30:00.123Z`."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_of(unix: float) -> str:
    return iso(datetime.fromtimestamp(unix, UTC))


def today() -> date:
    return datetime.now(UTC).date()
