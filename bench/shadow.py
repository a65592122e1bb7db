"""Shadowing as a whole, with real processes: what the diffs say of a shadow that is sound, how soon they name a defect, and that no
client notices a shadow that hangs, fails or dies (bench/shadow_faults.py).

Nothing is told to the gateway about its noise: no path is ignored, no list unordered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from time import monotonic
from typing import Any

from bench import shadow_faults
from bench.figures import BenchError, Figure, Finding
from bench.options import Options
from bench.shop_answers import DEFECTIVE, DEFECTS, Defect
from bench.shop_gateway import ROUTE, Shop, shop

CONNECTIONS = 16
PER_SECOND = 500
"""Requests of all clients: what one differ can look at, since no two answers are alike."""

SLOWER = 250
"""While a defect is looked for: what is found is told once a second, so this is how exact the count of pairs is."""

LOOK_SECONDS = 0.25
STALLED_SECONDS = 15.0


def measure(options: Options) -> Iterator[Finding]:
    parts: dict[str, Callable[[Options], Iterator[Finding]]] = {
        "sound": _sound,
        "defects": _defects,
        "hang": shadow_faults.measure_hanging,
        "faults": shadow_faults.measure_faults,
    }
    if unknown := set(options.parts) - parts.keys():
        raise BenchError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    for name, part in parts.items():
        if not options.parts or name in options.parts:
            yield from part(options)


# A shadow that is sound


def _sound(options: Options) -> Iterator[Finding]:
    for control in (True, False):
        how = "with control" if control else "without"
        with shop(CONNECTIONS, control=control) as running_shop:
            yield from _sound_figures(running_shop, options.pairs, how)


def _sound_figures(shop: Shop, pairs: int, how: str) -> Iterator[Finding]:
    shop.begin(1)
    begun = monotonic()
    shop.load.ask("go", prefix=f"/{ROUTE}", think=CONNECTIONS / PER_SECOND)
    wrong: dict[str, str] = {}
    diffs: dict[str, Any] = {}
    for diffs in _looks(shop):
        for finding in diffs["findings"]:
            wrong.setdefault(f"{finding['endpoint']} {finding['field']}", f"{finding['kind']}: {finding['why']}")
        if diffs["compared"] >= pairs:
            break
    seconds = monotonic() - begun
    report, stable = shop.load.ask("stand"), shop.stable.ask("tell")
    note = "; ".join(f"{name} ({why})" for name, why in wrong.items())
    note = note or f"{diffs['compared']:,} compared in {seconds:.0f} s, looked at {1 / LOOK_SECONDS:.0f} times a second"
    yield Figure(f"A/A {how}: fields reported over {pairs:,} pairs", len(wrong), "", 0, note)
    yield Figure(
        f"A/A {how}: pairs of which nothing is known", diffs["unknown"], "", 0, _reasons(diffs["unknown_reasons"])
    )
    dropped = sum(diffs["dropped"].values())
    note = f"{_reasons(diffs['dropped'])}; {report['requests']:,} requests, {report['per_second']:,.0f}/s"
    yield Figure(f"A/A {how}: dropped", 100 * dropped / report["requests"], "%", None, note)
    share = 100 * stable["again"] / max(diffs["compared"], 1)
    if shop.control is None:
        yield Figure(f"A/A {how}: stable asked a second time", share, "% of the pairs", None, _fields(diffs))
    yield Figure(f"A/A {how}: answers not as the primary's", report["wrong"] + report["cut_off"], "", 0)


def _looks(shop: Shop) -> Iterator[dict[str, Any]]:
    """The diffs, again and again. Raises BenchError where no pair is added for long."""
    compared, at = 0, monotonic()
    while True:
        diffs = shop.diffs()
        if diffs["compared"] > compared:
            compared, at = diffs["compared"], monotonic()
        elif monotonic() - at > STALLED_SECONDS:
            raise BenchError(f"no pair was compared for {STALLED_SECONDS:.0f} s; dropped: {_reasons(diffs['dropped'])}")
        yield diffs
        time.sleep(LOOK_SECONDS)


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _fields(diffs: dict[str, Any]) -> str:
    return f"{len(diffs['noise'])} fields explained as noise, {len(diffs['watching'])} still watched"


# A shadow with a defect


@dataclass(frozen=True, slots=True)
class Search:
    """How long a defect went unnamed: pairs of its endpoint, defective answers. `others` were named without cause."""

    pairs: int
    wrong: int
    others: frozenset[str]


def _defects(options: Options) -> Iterator[Finding]:
    for control in (True, False):
        how = "with control" if control else "without"
        with shop(CONNECTIONS, control=control) as running_shop:
            for defect in DEFECTS:
                searches = [_search(running_shop, defect, 1 + seed) for seed in range(options.seeds)]
                yield _figure(defect, how, searches)


def _search(shop: Shop, defect: Defect, seed: int) -> Search:
    """Ends at four times the limit."""
    shop.begin(seed, defect.name)
    shop.load.ask("go", prefix=f"/{ROUTE}", think=CONNECTIONS / SLOWER)
    others: set[str] = set()
    pairs = 0
    for diffs in _looks(shop):
        pairs = sum(one["compared"] for one in diffs["endpoints"] if one["endpoint"] == DEFECTIVE)
        named = {(finding["endpoint"], finding["field"]) for finding in diffs["findings"]}
        others |= {f"{endpoint} {field}" for endpoint, field in named if (endpoint, field) != (DEFECTIVE, defect.field)}
        if (DEFECTIVE, defect.field) in named or pairs >= 4 * defect.within:
            break
    shop.load.ask("stand")
    return Search(pairs, shop.shadow.ask("tell")["wrong"], frozenset(others))


def _figure(defect: Defect, how: str, searches: list[Search]) -> Finding:
    late = sum(search.pairs > defect.within for search in searches)
    pairs = [search.pairs for search in searches]
    note = (
        f"of {len(searches)}, in 1 % of the answers of {DEFECTIVE}; named after {median(pairs):,.0f} pairs of it, the last "
        f"after {max(pairs):,}, with {', '.join(str(search.wrong) for search in searches)} defective answers"
    )
    if others := {name for search in searches for name in search.others}:
        note += f"; named besides: {', '.join(sorted(others))}"
    return Figure(f"{defect.name} {how}: not within {defect.within:,}", late, "seeds", 0, note)
