"""What is wrong with a plan whose single values are well-formed. The admin API asks the same of a plan that a body brings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from routing.config_rollout import Freeze, Rollout
from routing.document import Loc, suggestion

Finding = tuple[Loc, str]

_REPLACING = ("rolling", "recreate")
# Which patterns a key belongs to; what is not here belongs to all.
_KEYS = {
    "steps": ("canary", "ab"),
    "watch": ("blue_green", *_REPLACING),
    "max_error_rate": ("blue_green", *_REPLACING),
    "approval": ("blue_green",),
    "batch": ("rolling",),
    "update": _REPLACING,
    "smoke": ("canary", "ab", "blue_green"),
    "shadow": ("canary", "ab", "blue_green"),
}


def rollout_problems(rollout: Rollout, stable: str | None, sticky: bool, upstreams: Collection[str]) -> list[Finding]:
    """As (place in the rollout, message). `sticky` is whether the route is."""
    return [
        *_keys(rollout),
        *_targets(rollout, stable, upstreams),
        *_steps(rollout),
        *_gates(rollout),
        *_pattern(rollout, sticky),
        *(
            ((("windows", index, *loc)), message)
            for index, window in enumerate(rollout.windows)
            for loc, message in _zone(window.zone)
        ),
        *(
            ((("windows", index)), "begins and ends at the same time")
            for index, window in enumerate(rollout.windows)
            if window.begin == window.end
        ),
    ]


def freeze_problems(freezes: Sequence[Freeze]) -> list[Finding]:
    found: list[Finding] = []
    for index, freeze in enumerate(freezes):
        if freeze.until < freeze.begin:
            found.append(((index, "until"), f"is before {freeze.begin}"))
        found += [((index, *loc), message) for loc, message in _zone(freeze.zone)]
    return found


def _keys(rollout: Rollout) -> Iterator[Finding]:
    for key, patterns in _KEYS.items():
        if rollout.pattern not in patterns and getattr(rollout, key) != Rollout.model_fields[key].default:
            yield (key,), f"is of the pattern {' or '.join(patterns)}; this one is {rollout.pattern}"


def _targets(rollout: Rollout, stable: str | None, upstreams: Collection[str]) -> Iterator[Finding]:
    if not rollout.to:
        yield ("to",), "names no upstream"
    for name in rollout.to:
        if name not in upstreams:
            yield ("to",), f"unknown upstream {name!r}{suggestion(name, upstreams)}"
        elif name == stable and rollout.pattern not in _REPLACING:
            yield ("to",), f"{name!r} is the stable upstream already"
    if len(set(rollout.to)) < len(rollout.to):
        yield ("to",), "names an upstream twice"
    if len(rollout.to) > 1 and rollout.pattern not in ("canary", "ab"):
        yield ("to",), f"the pattern {rollout.pattern} is about one upstream"


def _steps(rollout: Rollout) -> Iterator[Finding]:
    if rollout.pattern not in ("canary", "ab"):
        return
    if not rollout.steps:
        yield ("steps",), "has no step"
    most = 100.0 / max(len(rollout.to), 1)
    for index, step in enumerate(rollout.steps):
        if step.weight > most:
            yield (
                ("steps", index, "weight"),
                f"{step.weight:g} for each of {len(rollout.to)} upstreams is more than 100",
            )
    for index, (before, after) in enumerate(pairwise(rollout.steps)):
        if after.weight < before.weight:
            yield (
                ("steps", index + 1, "weight"),
                f"falls from {before.weight:g} to {after.weight:g}: a rollout's weights only rise",
            )


def _pattern(rollout: Rollout, sticky: bool) -> Iterator[Finding]:
    if rollout.pattern == "ab" and not sticky:
        yield ("pattern",), "ab needs a sticky route: a client that sees both versions belongs to neither cohort"


def _gates(rollout: Rollout) -> Iterator[Finding]:
    analysis = rollout.analysis
    for index, check in enumerate(analysis.prometheus):
        yield from _url(("analysis", "prometheus", index, "url"), check.url)
        if check.min is None and check.max is None:
            yield ("analysis", "prometheus", index), "needs min or max"
        elif check.min is not None and check.max is not None and check.min > check.max:
            yield ("analysis", "prometheus", index, "min"), f"is more than max, {check.max:g}"
    for key in ("prometheus", "webhooks"):
        names = [each.name for each in getattr(analysis, key) if each.name is not None]
        if len(set(names)) < len(names):
            yield ("analysis", key), "has a name twice"
    for index, hook in enumerate(analysis.webhooks):
        yield from _url(("analysis", "webhooks", index, "url"), hook.url)
    if rollout.update is not None:
        yield from _url(("update", "url"), rollout.update.url)


def _url(loc: Loc, text: str) -> Iterator[Finding]:
    try:
        parts = urlsplit(text)
        well = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        well = False
    if not well:
        yield loc, f"{text!r} is not a URL like https://hooks.example.com/check"


def _zone(name: str) -> Iterator[Finding]:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield ("zone",), f"unknown time zone {name!r}; they are called like Europe/Berlin"
