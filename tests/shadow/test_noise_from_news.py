"""Noise is told from news: on made-up traffic (bench/noise.py does it over a hundred seeds), and through the real comparison."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import orjson
import pytest

from bench.noise import DEFECTS, FACTS, Defect, Traffic
from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.compare import Comparer
from shadow.findings import RouteFindings
from shadow.judging import judge
from shadow.verdict import Third

WITH_AND_WITHOUT = pytest.mark.parametrize("control", [True, False], ids=["control", "no control"])


@WITH_AND_WITHOUT
@pytest.mark.parametrize("seed", range(2))
def test_shadow_that_does_what_stable_does_is_never_reported(seed: int, control: bool) -> None:
    traffic = Traffic(seed, control)
    for count in range(4_000):
        traffic.pair()
        if count % 250 == 0:
            assert traffic.found() == set()
    report = traffic.report()
    assert report["watching"] == []
    assert {"$.id", "$.at", "$.score", "$.tags", "$.promoted"} <= {field["field"] for field in report["noise"]}
    assert traffic.asked < 0.1 * 2 * traffic.told


@WITH_AND_WITHOUT
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect_in_one_answer_of_a_hundred_is_found(defect: Defect, control: bool) -> None:
    traffic = Traffic(3, control, defect)
    while traffic.told < defect.within:
        traffic.pair()
    assert traffic.found() == {defect.field}


@WITH_AND_WITHOUT
def test_defect_that_begins_late_is_found_as_well(control: bool) -> None:
    traffic = Traffic(1, control, DEFECTS[0], sound=5_000)
    while traffic.told < 7_500:
        traffic.pair()
    assert traffic.found() == {DEFECTS[0].field}


# Through the real comparison


def document(draw: random.Random) -> dict[str, Any]:
    items = [
        {"sku": f"SKU-{number}", "price": 19.99, "id": str(UUID(int=draw.getrandbits(128), version=4))}
        for number in range(5)
    ]
    related = [101, 102, 103, 104, 105]
    draw.shuffle(related)
    return {
        "request_id": f"{draw.getrandbits(128):032x}",
        "at": f"2026-03-01T09:{draw.randrange(60):02}:{draw.randrange(60):02}Z",
        "score": draw.random(),
        "promoted": draw.random() < 0.1,
        "items": items,
        "related": related,
        "currency": "EUR",
    }


def null_id(wrong: dict[str, Any]) -> None:
    wrong["items"][3]["id"] = None


def other_price(wrong: dict[str, Any]) -> None:
    wrong["items"][2]["price"] = 17.99


def no_currency(wrong: dict[str, Any]) -> None:
    del wrong["currency"]


def answer(body: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, [b"Content-Type: application/json"], orjson.dumps(body), 0.01)


def told(control: bool, pairs: int, wrong: Any, tolerance: float = 0.0) -> dict[str, Any]:
    """One answer of the shadow in a hundred is made `wrong`."""
    draw, findings = random.Random(5), RouteFindings("shop", 0)
    comparer = Comparer(Comparing(number_tolerance=tolerance), Redacting())
    for pair in range(pairs):
        endpoint = findings.endpoint(b"GET", b"/orders/%d" % pair)
        primary, shadow = answer(document(draw)), document(draw)
        if wrong is not None and draw.random() < 0.01:
            wrong(shadow)
        third, kind = (answer(document(draw)), Third.CONTROL) if control else (None, Third.NONE)
        found = comparer.compare(primary, answer(shadow), third)
        if not control and findings.wants_third(endpoint, found.shadow):
            kind = Third.TRIGGERED
            found = comparer.compare(primary, answer(shadow), answer(document(draw)))
        findings.compared(endpoint, found, kind, FACTS, float(pair))
    findings.resend()
    report = findings.take_report(0.0)
    assert report is not None
    return judge(report.state)


@WITH_AND_WITHOUT
@pytest.mark.parametrize(
    ("wrong", "field", "kind"),
    [
        (other_price, "$.items[*].price", "changed"),
        (no_currency, "$.currency", "missing"),
        (null_id, "$.items[*].id", "profile"),
    ],
)
def test_real_comparison_finds_what_is_wrong_and_nothing_else(control: bool, wrong: Any, field: str, kind: str) -> None:
    report = told(control, 1_500, wrong)
    assert [(found["field"], found["kind"]) for found in report["findings"]] == [(field, kind)]
    assert 0.005 < report["diff_rate"] < 0.02


@WITH_AND_WITHOUT
@pytest.mark.parametrize("tolerance", [0.0, 0.3])
def test_real_comparison_of_what_is_sound_finds_nothing(control: bool, tolerance: float) -> None:
    """A tolerance as wide as the numbers scatter is where near-equality favours one order of three answers."""
    report = told(control, 1_000, None, tolerance)
    assert report["findings"] == []
