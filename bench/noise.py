"""Noise told from news: the findings engine on made-up traffic, over a hundred seeds.

Answers of two endpoints are drawn at random: `/orders/{id}` is never twice the same, `/stock` mostly is. A defect changes one
answer of the shadow in a hundred. Who is asked what follows shadow/comparisons.py, with a control and without.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any
from uuid import UUID

from bench.figures import Figure, Finding
from bench.options import Options
from shadow.answer import Answer
from shadow.findings import PairFacts, RouteFindings, Third
from shadow.judging import judge
from shadow.profile import ABSENT, class_of, number_of
from shadow.verdict import Compared, Difference, Kind

SEEDS = 100
PAIRS = 20_000
LOOK_EVERY = 250
SAMPLE = 0.01
SHARE = 0.01

Document = dict[str, Any]
ORDERS, STOCK = b"/orders/17", b"/stock"


def order(draw: random.Random) -> Document:
    """Noise of every kind, and fields that are steady."""
    tags = ["new", "sale", "blue", "large", "cotton"]
    draw.shuffle(tags)
    return {
        "status": 200,
        "$.id": str(UUID(int=draw.getrandbits(128), version=4)),
        "$.at": f"2026-03-01T09:{draw.randrange(60):02}:{draw.randrange(60):02}.{draw.randrange(1000):03}Z",
        "$.score": draw.random() * 100.0,
        "$.tags": tags,
        "$.promoted": draw.random() < 0.1,
        "$.price": 1999,
        "$.currency": "EUR",
        "$.items[*].sku": "SKU-1042",
        "$.items[*].count": 3,
    }


def stock(draw: random.Random) -> Document:
    """One boolean that is mostly false, one number that seldom lags behind."""
    return {
        "status": 200,
        "$.low": draw.random() < 0.1,
        "$.left": 41 if draw.random() < 0.005 else 42,
        "$.warehouse": "HAM",
    }


ENDPOINTS: tuple[tuple[bytes, Callable[[random.Random], Document]], ...] = ((ORDERS, order), (STOCK, stock))


@dataclass(frozen=True, slots=True)
class Defect:
    """What the shadow does wrong, to which field of an order, and within how many pairs it is to be found."""

    name: str
    field: str
    value: object
    within: int


DEFECTS = (
    Defect("value changed", "$.price", 1998, 2_000),
    Defect("field missing", "$.items[*].sku", ABSENT, 2_000),
    Defect("status changed", "status", 500, 2_000),
    Defect("id null", "$.id", None, 5_000),
    Defect("id without its format", "$.id", "order 17", 5_000),
    Defect("number out of range", "$.score", -250.0, 5_000),
)


class Traffic:
    """Pairs told to a `RouteFindings`. `defect` begins after `sound` pairs."""

    def __init__(self, seed: int, control: bool, defect: Defect | None = None, sound: int = 0) -> None:
        self.findings = RouteFindings("shop", 0)
        self.asked = 0
        self.told = 0
        self._draw = random.Random(seed)
        self._control = control
        self._defect = defect
        self._sound = sound

    def pair(self) -> None:
        """Orders and stock by turns; only orders are defective, so `told` counts their pairs."""
        for path, make in ENDPOINTS:
            primary, shadow = make(self._draw), make(self._draw)
            if path == ORDERS:
                self.told += 1
                if self._defect is not None and self.told > self._sound and self._draw.random() < SHARE:
                    shadow[self._defect.field] = self._defect.value
            self._tell(self.findings.endpoint(b"GET", path), primary, shadow, partial(make, self._draw))

    def _tell(self, endpoint: str, primary: Document, shadow: Document, again: Callable[[], Document]) -> None:
        findings, third, kind = self.findings, None, Third.NONE
        if self._control:
            third, kind = again(), Third.CONTROL
        elif primary == shadow:
            if self._draw.random() < SAMPLE:
                third, kind = again(), Third.SAMPLED
        elif findings.wants_third(endpoint, differences(primary, shadow)):
            third, kind = again(), Third.TRIGGERED
        self.asked += kind in (Third.SAMPLED, Third.TRIGGERED)
        if primary == shadow and (third is None or third == primary):
            findings.matched(endpoint, 0.010, 0.012, third is not None)
        else:
            findings.compared(endpoint, compared(primary, shadow, third), kind, FACTS, self.told / 10.0)

    def report(self) -> dict[str, Any]:
        self.findings.resend()
        report = self.findings.take_report(self.told / 10.0)
        assert report is not None
        return judge(report.state)

    def found(self) -> set[str]:
        return {finding["field"] for finding in self.report()["findings"]}


FACTS = PairFacts(b"GET", ORDERS, b"", Answer(200, [], b"", 0.010), Answer(200, [], b"", 0.012))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    if one["status"] != other["status"]:
        return (_difference("status", one["status"], other["status"]),)
    return tuple(_difference(name, one[name], other[name]) for name in one if one[name] != other[name])


def _difference(name: str, one: object, other: object) -> Difference:
    kind = Kind.MISSING if other is ABSENT else Kind.ORDER if isinstance(one, list) else Kind.CHANGED
    classes, numbers = [class_of(value) for value in (one, other)], [number_of(value) for value in (one, other)]
    return Difference(name, kind.value, str(one), str(other), classes[0], classes[1], numbers[0], numbers[1])


def compared(primary: Document, shadow: Document, third: Document | None) -> Compared:
    by_shadow = differences(primary, shadow)
    if third is None:
        return Compared("", by_shadow)
    between = frozenset(difference.field for difference in differences(shadow, third))
    return Compared("", by_shadow, differences(primary, third), between)


def measure(options: Options) -> Iterator[Finding]:
    with ProcessPoolExecutor() as pool:
        for control in (True, False):
            yield from _figures(pool, control, "with control" if control else "without")


def _figures(pool: Executor, control: bool, how: str) -> Iterator[Finding]:
    sound = list(pool.map(partial(_sound, control), range(SEEDS)))
    asked = sum(asked for _, asked in sound) / (2 * PAIRS * SEEDS)
    note = f"{SEEDS} seeds, looked at every {LOOK_EVERY} pairs; stable asked again for {asked:.1%} of the pairs"
    yield Figure(f"A/A {how}: fields reported over {PAIRS:,} pairs", sum(wrong for wrong, _ in sound), "", 0, note)
    for defect in DEFECTS:
        pairs = list(pool.map(partial(_until_found, control, defect, 0), range(SEEDS)))
        late = sum(count > defect.within for count in pairs)
        note = (
            f"in 1 % of answers, {SEEDS} seeds; found after {median(pairs):,.0f} pairs, the last after {max(pairs):,}"
        )
        yield Figure(f"{defect.name} {how}: not within {defect.within:,}", late, "seeds", 1, note)
    pairs = list(pool.map(partial(_until_found, control, DEFECTS[0], PAIRS), range(SEEDS // 5)))
    note = f"{SEEDS // 5} seeds; the last after {max(pairs):,} pairs"
    yield Figure(f"{DEFECTS[0].name} {how} after {PAIRS:,} sound pairs", median(pairs), "pairs", None, note)


def _sound(control: bool, seed: int) -> tuple[int, int]:
    """Fields ever reported of a shadow that does what stable does, and how often stable was asked again."""
    traffic, wrong = Traffic(seed, control), set[str]()
    for count in range(1, PAIRS + 1):
        traffic.pair()
        if count % LOOK_EVERY == 0:
            wrong |= traffic.found()
    return len(wrong), traffic.asked


def _until_found(control: bool, defect: Defect, sound: int, seed: int) -> int:
    """Pairs of the endpoint after the sound ones, a multiple of 50; four times the limit where it is not found by then."""
    traffic, most = Traffic(seed, control, defect, sound), 4 * defect.within
    while traffic.told < sound + most:
        traffic.pair()
        if traffic.told > sound and traffic.told % 50 == 0 and defect.field in traffic.found():
            return traffic.told - sound
    return most
