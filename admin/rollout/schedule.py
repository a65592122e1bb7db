"""When rollouts may start and take steps. Pure: the moment is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from routing.config_rollout import DAYS, Freeze, Window


def closed(moment: datetime, windows: Sequence[Window], freezes: Sequence[Freeze]) -> str:
    """Why no step may be taken at that moment (which knows its zone); empty where one may."""
    for freeze in freezes:
        if freeze.begin <= moment.astimezone(ZoneInfo(freeze.zone)).date() <= freeze.until:
            why = f" ({freeze.reason})" if freeze.reason else ""
            return f"frozen until the end of {freeze.until}{why}"
    if not windows or any(_open(moment, window) for window in windows):
        return ""
    return f"the next window opens {_next(moment, windows)}"


def _open(moment: datetime, window: Window) -> bool:
    local = moment.astimezone(ZoneInfo(window.zone))
    clock = f"{local:%H:%M}"
    today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    if window.begin < window.end:
        return today in window.days and window.begin <= clock < window.end
    return (today in window.days and clock >= window.begin) or (yesterday in window.days and clock < window.end)


def _next(moment: datetime, windows: Sequence[Window]) -> str:
    found: list[tuple[datetime, str]] = []
    for window in windows:
        zone = ZoneInfo(window.zone)
        local = moment.astimezone(zone)
        for ahead in range(8):
            day = local.date() + timedelta(days=ahead)
            at = datetime.combine(day, datetime.strptime(window.begin, "%H:%M").time(), zone)
            if at > moment and DAYS[day.weekday()] in window.days:
                found.append((at, f"{DAYS[day.weekday()]} {window.begin} {window.zone}"))
                break
    return min(found)[1] if found else "never"
