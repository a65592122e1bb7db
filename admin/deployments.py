"""Deployments, from the audit log alone: what was rolled out, how often, how long it took, how it ended. Pure.

A rollout is one from its `rollout_started` to its first end: promoted, cut back by what was judged, aborted by people. A *manual*
deployment is a change of weights by a person that leaves one upstream all of a route's weight, where the route is not cut back and
the log does not say that it had all of it before. What a document declares is no deployment here: it says nothing of a route's
traffic while live weights are in force.

A recovery is the time from a cutback that is in force, a rollout's or a person's, to its restore or to the next rollout that is
promoted, whichever is first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from statistics import median
from typing import Any, Literal

from admin.clock import moment_of
from admin.state.store import AuditEntry

Outcome = Literal["promoted", "cut_back", "aborted"]
ENDS: Mapping[str, Outcome] = {
    "rollout_promoted": "promoted",
    "rollout_cut_back": "cut_back",
    "rollout_aborted": "aborted",
}
# What is read of the log.
ACTIONS = frozenset(
    {"rollout_started", *ENDS, "weights", "cutback", "restore", "taken_over", "live_state_dropped"},
)
_BY_A_ROLLOUT = re.compile(r"rollout .+#\d+")
_FORMS = "must be how far back, such as 30d or 12h, a date such as 2027-01-31, or a time with its offset from UTC"


@dataclass(frozen=True, slots=True)
class Deployment:
    """`number`, `pattern` and `seconds` are a rollout's; of a manual deployment `to` is the upstream that got everything. `outcome`
    is None while it is under way, or where the log has no end of it."""

    kind: Literal["rollout", "manual"]
    route: str
    number: int | None
    to: tuple[str, ...]
    pattern: str | None
    started_at: str
    ended_at: str | None
    seconds: float | None
    outcome: Outcome | None
    started_by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Over `days`. `per_day` is of rollouts promoted and manual deployments; durations are of rollouts promoted, the 90th
    percentile by nearest rank; `success_rate` is of rollouts promoted or cut back, and None where there are none of these."""

    days: float
    promoted: int
    cut_back: int
    aborted: int
    manual: int
    per_day: float
    median_seconds: float | None
    p90_seconds: float | None
    success_rate: float | None
    recovered: int
    not_recovered: int
    median_seconds_to_recover: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The deployments are the newest first."""

    deployments: tuple[Deployment, ...]
    figures: Figures


def deployments(entries: Iterable[AuditEntry], since: datetime, until: datetime) -> Report:
    """From entries of these actions, oldest first, since `since`."""
    tally = Tally()
    for entry in entries:
        tally.take(entry)
    return tally.report(since, until)


def since_of(text: str, now: datetime) -> datetime:
    """The moment that `30d`, `2027-01-31` (its beginning in UTC) or `2027-01-31T12:00:00+01:00` means. Raises ValueError."""
    moment = moment_of(text, _FORMS, time(), lambda span: now - span)
    if moment >= now:
        raise ValueError("is not over yet")
    return moment


Key = tuple[str, int | None, str]
"""Route, number, when it began: numbers begin anew with the store."""


class Tally:
    """Entries are taken one by one, oldest first. A rollout's that is in the log twice counts once; others are there once."""

    def __init__(self) -> None:
        self._found: dict[Key, Deployment] = {}
        self._cut_back: dict[str, str] = {}
        """Since when, by route."""
        self._whole: dict[str, str | None] = {}
        """The upstream that has all of a route's live weight; None where several share it."""
        self._recoveries: list[float] = []

    def take(self, entry: AuditEntry) -> None:
        after = entry.after
        if entry.route is None or not isinstance(after, dict):
            return
        if entry.action == "rollout_started" or entry.action in ENDS:
            self._rollout(entry, entry.route, after)
        elif entry.action == "weights":
            self._weights(entry, entry.route, after)
        else:
            self._cutback(entry, entry.route, after)

    def _rollout(self, entry: AuditEntry, route: str, after: Mapping[str, Any]) -> None:
        started_at = str(after.get("started_at", entry.at))
        key = route, after.get("number"), started_at
        known = self._found.get(key)
        if known is None:
            known = self._found[key] = Deployment(
                "rollout",
                route,
                after.get("number"),
                tuple(after.get("to", ())),
                after.get("pattern"),
                started_at,
                None,
                None,
                None,
                after.get("started_by"),
                "",
            )
        outcome = ENDS.get(entry.action)
        if outcome is None or known.outcome is not None:
            return
        seconds = _between(started_at, entry.at)
        self._found[key] = replace(known, ended_at=entry.at, seconds=seconds, outcome=outcome, reason=entry.reason)
        if outcome == "promoted":
            self._recovered(route, entry.at)

    def _weights(self, entry: AuditEntry, route: str, after: Mapping[str, Any]) -> None:
        before = entry.before if isinstance(entry.before, dict) else {}
        had = _whole(before) if before.get("weights") else self._whole.get(route)
        has = self._whole[route] = _whole(after)
        by_a_rollout = _BY_A_ROLLOUT.fullmatch(entry.who) is not None
        if has is None or has == had or by_a_rollout or after.get("cutback") is not None:
            return
        self._found[route, None, f"{entry.id}"] = Deployment(
            "manual", route, None, (has,), None, entry.at, entry.at, None, "promoted", entry.who, entry.reason
        )

    def _cutback(self, entry: AuditEntry, route: str, after: Mapping[str, Any]) -> None:
        if after.get("cutback") is not None:
            self._cut_back.setdefault(route, entry.at)
        elif entry.action == "restore":
            self._recovered(route, entry.at)
        else:  # the route is gone, or nobody knows when it ended
            self._cut_back.pop(route, None)
        if entry.action in ("taken_over", "live_state_dropped"):
            self._whole[route] = _whole(after)

    def _recovered(self, route: str, at: str) -> None:
        since = self._cut_back.pop(route, None)
        if since is not None:
            self._recoveries.append(_between(since, at))

    def report(self, since: datetime, until: datetime) -> Report:
        found = tuple(self._found.values())
        ended = {
            kind: [each for each in found if each.outcome == kind and each.kind == "rollout"] for kind in ENDS.values()
        }
        promoted, cut_back = ended["promoted"], ended["cut_back"]
        manual = sum(each.kind == "manual" for each in found)
        durations = sorted(each.seconds for each in promoted if each.seconds is not None)
        judged = len(promoted) + len(cut_back)
        days = max(until - since, timedelta(seconds=1)) / timedelta(days=1)  # the clock may have been put back
        figures = Figures(
            days=round(days, 3),
            promoted=len(promoted),
            cut_back=len(cut_back),
            aborted=len(ended["aborted"]),
            manual=manual,
            per_day=round((len(promoted) + manual) / days, 3),
            median_seconds=_median(durations),
            p90_seconds=durations[math.ceil(0.9 * len(durations)) - 1] if durations else None,
            success_rate=round(len(promoted) / judged, 4) if judged else None,
            recovered=len(self._recoveries),
            not_recovered=len(self._cut_back),
            median_seconds_to_recover=_median(self._recoveries),
        )
        return Report(tuple(reversed(found)), figures)


def _whole(state: Mapping[str, Any]) -> str | None:
    """The one upstream that has any of the live weights."""
    weights = state.get("weights")
    if not isinstance(weights, dict):
        return None
    having = [name for name, weight in weights["weights"].items() if weight > 0]
    return having[0] if len(having) == 1 else None


def _median(seconds: list[float]) -> float | None:
    return round(median(seconds), 3) if seconds else None


def _between(start: str, end: str) -> float:
    """Seconds. The clock may have been put back meanwhile."""
    return max(0.0, round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3))
