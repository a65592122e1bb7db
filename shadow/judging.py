"""The answer to "what does the shadow do differently?": a route's state and the fields to ignore in, the report out.

Nothing here is kept: whoever asks judges the state anew, so ignoring a field re-judges all that was found. Every field that was
ever seen to differ is one hypothesis; which of them are findings says e-BH (shadow/evidence.py), so the more fields there are the
more each must show. What is left is noise where stable was seen to differ from itself, and else still watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from math import sqrt
from typing import Any

from proxy.stats import EDGE_RATIO, EDGES
from shadow import wording
from shadow.endpoint_state import STATUS, EndpointState, Room, endpoints_of
from shadow.evidence import ALPHA, e_bh, needed
from shadow.examples import Kept
from shadow.field_state import FieldState
from shadow.ignoring import Ignoring

_HALF_A_BUCKET = sqrt(EDGE_RATIO)
PROFILE = "profile"
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_EXPLAINED = 3
"""Answers of stable that differ from its own, after which a field without an excess is noise."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One field that is not ignored. `by_profile` is true of one that is always noisy; `value` is its e-value."""

    endpoint: str
    state: EndpointState
    field: FieldState
    by_profile: bool
    value: float

    @property
    def explained(self) -> bool:
        seen = self.field.asked_noisy + self.field.third_only
        return self.by_profile or (seen >= _EXPLAINED and self.value < 2.0)

    @property
    def rate(self) -> float:
        return self.state.rate(self.field.differs)

    @property
    def noise(self) -> float:
        return self.state.noise(self.field) or 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """All fields that are not ignored, apart by what is known of them."""

    findings: tuple[Judged, ...]
    noise: tuple[Judged, ...]
    watching: tuple[Judged, ...]

    @property
    def hypotheses(self) -> int:
        return len(self.findings) + len(self.noise) + len(self.watching)


def judge(state: Mapping[str, Any], ignore: Sequence[str] = (), alpha: float = ALPHA) -> dict[str, Any]:
    """`state` is a `DiffReport.state`, empty for a route of which nothing is known; `ignore` as `Shadowing.comparing.ignore`.
    The contract's shape of `GET /diffs`."""
    endpoints = _endpoints(state)
    ignoring = Ignoring(ignore)
    verdict = _verdict(endpoints, ignoring, alpha)
    unknown: dict[str, int] = {}
    for endpoint in endpoints.values():
        for reason, count in endpoint.unknown.items():
            unknown[reason] = unknown.get(reason, 0) + count
    by_endpoint = [_endpoint(name, endpoint, ignoring) for name, endpoint in endpoints.items()]
    by_endpoint.sort(key=lambda one: -one["compared"])
    counts = {key: sum(one[key] for one in by_endpoint) for key in ("compared", "matched", "mismatched", "unknown")}
    shown = (verdict, alpha)
    return {
        **counts,
        "unknown_reasons": unknown,
        "dropped": dict(state.get("dropped", {})),
        "outcomes": dict(state.get("outcomes", {})),
        "diff_rate": round(_diff_rate(endpoints, verdict), 6),
        "findings": sorted((_finding(one, *shown) for one in verdict.findings), key=lambda one: -one["excess"]),
        "noise": sorted((_noise(one, *shown) for one in verdict.noise if one.field.differs), key=_by_rate),
        "watching": sorted((_watched(one, *shown) for one in verdict.watching if one.field.differs), key=_by_evidence),
        "endpoints": by_endpoint,
        "latency": [_latency(name, endpoint) for name, endpoint in endpoints.items()],
        "notes": [note for name, endpoint in endpoints.items() for note in _notes(name, endpoint, ignoring)],
    }


def diff_rate(state: Mapping[str, Any], ignore: Sequence[str] = (), alpha: float = ALPHA) -> float:
    """The share of pairs in which some field differs that is a finding: what a gate or a rollout looks at."""
    endpoints = _endpoints(state)
    return _diff_rate(endpoints, _verdict(endpoints, Ignoring(ignore), alpha))


def _endpoints(state: Mapping[str, Any]) -> dict[str, EndpointState]:
    return endpoints_of(state, Room()) if state else {}


def _verdict(endpoints: Mapping[str, EndpointState], ignoring: Ignoring, alpha: float) -> Verdict:
    judged = []
    for name, state in endpoints.items():
        for field in state.fields:
            if field.name not in ignoring:
                by_profile = state.noisy(field)
                evidence = field.profile_evidence if by_profile else field.raw_evidence
                judged.append(Judged(name, state, field, by_profile, evidence.value))
    least = e_bh((one.value for one in judged), alpha)
    rest = [one for one in judged if one.value < least]
    return Verdict(
        tuple(one for one in judged if one.value >= least),
        tuple(one for one in rest if one.explained),
        tuple(one for one in rest if not one.explained),
    )


def _diff_rate(endpoints: Mapping[str, EndpointState], verdict: Verdict) -> float:
    differing = total = 0.0
    for name, state in endpoints.items():
        mine = [one for one in verdict.findings if one.endpoint == name]
        total += state.pairs
        if mine:
            differing += state.rate(_pairs_with(state, mine)) * state.pairs
    return differing / total if total else 0.0


def _pairs_with(state: EndpointState, findings: Iterable[Judged]) -> int:
    """Examined pairs that show one of the findings. Exact but for the pairs whose sets of fields had no room: of those, at
    least as many as show the most frequent finding."""
    raw: set[int] = set()
    odd: set[int] = set()
    most = 0
    for one in findings:
        place = state.places[one.field.name]
        (odd if one.by_profile else raw).add(place)
        shows = {2 * place + 1} if one.by_profile else {2 * place, 2 * place + 1}
        counted = sum(pairs for members, pairs in state.sets.items() if not members.isdisjoint(shows))
        every = one.field.profile_evidence.shadow_odd if one.by_profile else one.field.differs
        most = max(most, every - counted)
    shows = {2 * place + 1 for place in raw | odd} | {2 * place for place in raw}
    return most + sum(pairs for members, pairs in state.sets.items() if not members.isdisjoint(shows))


# Words and shapes


def _finding(one: Judged, verdict: Verdict, alpha: float) -> dict[str, Any]:
    field, state = one.field, one.state
    shown = _shown(one, verdict, alpha)
    sure = wording.sureness(one.value, verdict.hypotheses, alpha)
    if not one.by_profile:
        return shown | {"why": wording.finding(state, field, one.rate, state.noise(field), sure)}
    rate, noise = state.rate(field.shadow_strange), state.rate(field.primary_strange)
    return shown | {
        "kind": PROFILE,
        "count": field.shadow_strange,
        "rate": round(rate, 6),
        "noise": round(noise, 6),
        "excess": round(max(0.0, rate - noise), 6),
        "first_seen": _time(field.odd_first_seen),
        "last_seen": _time(field.odd_last_seen),
        "examples": _examples(field.odd_examples),
        "why": wording.strange(state, field, sure),
    }


def _noise(one: Judged, verdict: Verdict, alpha: float) -> dict[str, Any]:
    explained = wording.explained(one.state, one.field, one.rate, one.noise, one.by_profile)
    return _shown(one, verdict, alpha) | {"why": explained, "explained": explained}


def _watched(one: Judged, verdict: Verdict, alpha: float) -> dict[str, Any]:
    shown = _shown(one, verdict, alpha)
    return shown | {"why": wording.watched(one.state, one.field, one.rate, one.value, shown["needed"])}


def _shown(one: Judged, verdict: Verdict, alpha: float) -> dict[str, Any]:
    """The shape that findings, noise and what is watched share. `evidence` is the e-value, `needed` the one that would do
    whatever the other fields show."""
    field = one.field
    return {
        "endpoint": one.endpoint,
        "field": field.name,
        "kind": max(field.kinds, key=lambda kind: field.kinds[kind], default=""),
        "count": field.differs,
        "rate": round(one.rate, 6),
        "noise": round(one.noise, 6),
        "excess": round(max(0.0, one.rate - one.noise), 6),
        "evidence": float(f"{one.value:.4g}"),
        "needed": needed(verdict.hypotheses, alpha),
        "pairs": one.state.pairs,
        "second_answers": one.state.thirds if one.state.asked_always or not field.asked else field.asked,
        "first_seen": _time(field.first_seen),
        "last_seen": _time(field.last_seen),
        "examples": _examples(field.examples),
    }


def _examples(kept: Kept) -> list[dict[str, Any]]:
    return [dict(one, at=_time(one["at"])) for one in [*reversed(kept.recent), *kept.first]]


def _endpoint(name: str, state: EndpointState, ignoring: Ignoring) -> dict[str, Any]:
    ignored = frozenset(place for place, field in enumerate(state.fields) if field.name in ignoring)
    matched, unknown = state.matches(ignored), sum(state.unknown.values())
    return {
        "endpoint": name,
        "compared": state.compared,
        "matched": matched,
        "mismatched": state.compared - matched - unknown,
        "unknown": unknown,
    }


def _latency(name: str, state: EndpointState) -> dict[str, Any]:
    """Milliseconds; the ratio is shadow to primary."""
    primary, shadow = _quantiles(state.primary_latency), _quantiles(state.shadow_latency)
    ratio = {key: round(shadow[key] / value, 3) if value else 0.0 for key, value in primary.items()}
    return {"endpoint": name, "primary": primary, "shadow": shadow, "ratio": ratio}


def _quantiles(buckets: Sequence[int]) -> dict[str, float]:
    """The middle of the bucket that holds it: wrong by 4.5 % at most."""
    count = sum(buckets)
    return {f"{key}_ms": _milliseconds(buckets, share * count) if count else 0.0 for key, share in QUANTILES.items()}


def _milliseconds(buckets: Sequence[int], rank: float) -> float:
    place = next(place for place, seen in enumerate(accumulate(buckets)) if seen >= rank)
    return round(EDGES[min(place, len(EDGES) - 1)] / _HALF_A_BUCKET * 1000.0, 3)


def _notes(name: str, state: EndpointState, ignoring: Ignoring) -> Iterable[dict[str, Any]]:
    for note, count in state.notes.items():
        yield {"endpoint": name, "note": note, "count": count}
    place = state.places.get(STATUS)
    if place is not None and STATUS not in ignoring and state.noisy(state.fields[place]):
        yield {"endpoint": name, "note": wording.STATUS_IS_NOISE, "count": state.fields[place].differs}


def _by_rate(shown: Mapping[str, Any]) -> float:
    return -float(shown["rate"])


def _by_evidence(shown: Mapping[str, Any]) -> float:
    return -float(shown["evidence"])


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
