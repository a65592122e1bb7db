"""From samples to numbers: split, failures and latencies for each phase. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtests.samples import Sample

# A fair draw strays further than this many standard deviations once in two million.
SIGMAS = 5.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which one set of weights held: from the answer to the change until the next was asked for (Unix)."""

    title: str
    weights: dict[str, float]
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`split` counts what weights alone decided; `moved` are sticky clients seen on two upstreams within the phase."""

    phase: Phase
    requests: int
    failures: int
    split: dict[str, int]
    off: tuple[str, ...]
    moved: int
    latencies: tuple[float, float, float]
    """p50, p95, p99 in milliseconds."""


def judge(phase: Phase, samples: Iterable[Sample]) -> Outcome:
    """Only requests that began and were answered within the phase: others may have been decided before or after it."""
    inside = [sample for sample in samples if phase.begin <= sample.started and sample.ended <= phase.end]
    split = Counter(sample.upstream for sample in inside if sample.drawn and sample.ok)
    homes: dict[str, set[str]] = defaultdict(set)
    for sample in inside:
        if sample.client and sample.ok:
            homes[sample.client].add(sample.upstream)
    times = sorted(sample.milliseconds for sample in inside)
    return Outcome(
        phase,
        requests=len(inside),
        failures=sum(not sample.ok for sample in inside),
        split=dict(split),
        off=tuple(_off(phase.weights, split)),
        moved=sum(len(upstreams) > 1 for upstreams in homes.values()),
        latencies=(quantile(times, 0.5), quantile(times, 0.95), quantile(times, 0.99)),
    )


def _off(weights: dict[str, float], split: Counter[str]) -> Iterable[str]:
    """The upstreams whose share chance does not explain."""
    total, whole = split.total(), sum(weights.values())
    for upstream in sorted({*weights, *split}):
        share = weights.get(upstream, 0.0) / whole
        deviation = math.sqrt(total * share * (1 - share))
        if abs(split[upstream] - total * share) > SIGMAS * deviation:
            yield upstream


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile; NaN of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


_HEAD = ("phase", "upstream", "configured", "observed", "drawn", "requests", "failed", "moved", "p50", "p95", "p99")


def table(outcomes: Sequence[Outcome]) -> str:
    """One row for each phase and upstream."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for outcome in outcomes:
        whole = sum(outcome.phase.weights.values())
        total = sum(outcome.split.values())
        tail = (
            str(outcome.requests),
            str(outcome.failures),
            str(outcome.moved),
            *(f"{milliseconds:.1f} ms" for milliseconds in outcome.latencies),
        )
        title = outcome.phase.title
        for upstream in sorted({*outcome.phase.weights, *outcome.split}):
            count = outcome.split.get(upstream, 0)
            observed = f"{100 * count / total:.1f} %" if total else "-"
            mark = " !" if upstream in outcome.off else ""
            configured = f"{100 * outcome.phase.weights.get(upstream, 0.0) / whole:.1f} %"
            rows.append((title, upstream, configured, observed + mark, str(count), *tail))
            title, tail = "", ("",) * 6
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
