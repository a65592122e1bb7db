"""What people are told: findings, noise and what is watched, in the contract's shape and in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from shadow.findings import RouteFindings
from shadow.judging import diff_rate, judge
from shadow.verdict import Compared, Third
from shadow.wording import percent
from tests.shadow.pairs import compared, difference, facts

ORDERS = "/orders/{id}"


def state_of(findings: RouteFindings) -> dict[str, Any]:
    findings.resend()
    report = findings.take_report(0.0)
    assert report is not None
    return report.state


def regressed(pairs: int = 2_000, differing: int = 20) -> RouteFindings:
    """With a control: `$.price` differs for the shadow alone, `$.at` always and for stable too."""
    findings = RouteFindings("shop", 0)
    for pair in range(pairs):
        price = ["$.price"] * (pair % (pairs // differing) == 0)
        findings.compared(
            ORDERS, compared([*price, "$.at"], ["$.at"], ["$.price", "$.at"]), Third.CONTROL, facts(), float(pair)
        )
    return findings


def test_finding_and_noise_are_told_apart() -> None:
    report = judge(state_of(regressed()))
    (found,), (noise,) = report["findings"], report["noise"]
    assert report["watching"] == []
    assert (
        found["why"]
        == "differs in 1.0 % of 2,000 pairs, in 0 % between two answers of stable (2,000 asked); sure at 99.9 %"
    )
    assert noise["why"] == noise["explained"]
    assert (
        noise["why"]
        == "differs as often between two answers of stable (100 %); judged by what its values look like, mostly int"
    )
    shown = {key: found[key] for key in ("endpoint", "field", "kind", "count", "rate", "noise", "excess")}
    assert shown == {
        "endpoint": ORDERS,
        "field": "$.price",
        "kind": "changed",
        "count": 20,
        "rate": 0.01,
        "noise": 0.0,
        "excess": 0.01,
    }
    assert (found["first_seen"], found["last_seen"]) == ("1970-01-01T00:00:00.000Z", "1970-01-01T00:31:40.000Z")
    assert found["evidence"] > found["needed"] == 80.0
    assert {"id", "primary", "shadow", "primary_ms", "shadow_ms"} <= found["examples"][0].keys()


def test_ignored_fields_are_gone_and_their_pairs_match() -> None:
    state = state_of(regressed())
    assert judge(state)["matched"] == 0
    report = judge(state, ["$.at"])
    assert (report["compared"], report["matched"], report["mismatched"]) == (2_000, 1_980, 20)
    assert (len(report["findings"]), report["noise"]) == (1, [])
    report = judge(state, ["$.price"])
    assert (report["findings"], report["matched"], report["diff_rate"]) == ([], 0, 0.0)


def test_diff_rate_is_the_share_of_pairs_with_a_finding() -> None:
    state = state_of(regressed())
    assert diff_rate(state) == pytest.approx(0.01)
    assert judge(state)["diff_rate"] == pytest.approx(0.01)
    assert diff_rate(state, ["$..price"]) == 0.0


def test_diff_rate_counts_a_pair_once_and_all_pairs_of_the_route() -> None:
    findings = RouteFindings("shop", 0)
    for pair in range(100):
        both = ["$.a", "$.b"] if pair % 2 else ["$.a"]
        findings.compared(ORDERS, compared(both, [], both), Third.CONTROL, facts(), 1.0)
        findings.matched("/other", 0.01, 0.01, True)
    assert diff_rate(state_of(findings)) == pytest.approx(0.5)


def test_diff_rate_of_a_noisy_field_counts_its_strange_values() -> None:
    findings = RouteFindings("shop", 0)
    for pair in range(1_000):
        other = None if pair % 50 == 49 else "word"
        found = Compared(
            "", (difference("$.id", "text", other),), (difference("$.id", "text", "word"),), frozenset({"$.id"})
        )
        findings.compared(ORDERS, found, Third.CONTROL, facts(), float(pair))
    report = judge(state_of(findings))
    (found_one,) = report["findings"]
    assert (found_one["kind"], found_one["count"], found_one["noise"]) == ("profile", 20, 0.0)
    assert found_one["why"] == "null in 2.0 %, never before (1,000 pairs); sure at 99.9 %"
    assert {example["shadow"] for example in found_one["examples"]} == {"None"}
    assert report["diff_rate"] == pytest.approx(0.02)
    assert report["noise"] == []


def test_number_out_of_range_is_told_with_the_range() -> None:
    findings = RouteFindings("shop", 0)
    for pair in range(1_000):
        other = 900.0 if pair % 50 == 49 else 50.5
        found = Compared(
            "",
            (difference("$.n", float(pair % 100), other),),
            (difference("$.n", float(pair % 100), 50.5),),
            frozenset({"$.n"}),
        )
        findings.compared(ORDERS, found, Third.CONTROL, facts(), float(pair))
    (found_one,) = judge(state_of(findings))["findings"]
    assert found_one["why"].startswith("outside the range of stable's, 0 to 99, in 2.0 % (1,000 pairs)")


def test_what_differs_too_seldom_to_be_sure_is_watched() -> None:
    report = judge(state_of(regressed(differing=4)), ["$.at"])
    (watched,) = report["watching"]
    assert report["findings"] == []
    assert watched["why"] == (
        "differs in 0.2 % of 2,000 pairs, in 0 % between two answers of stable (2,000 asked); not sure yet (evidence 11.3 of 40)"
    )


def test_where_stable_is_never_asked_twice_nothing_is_claimed() -> None:
    findings = RouteFindings("shop", 0)
    for _ in range(100):
        findings.compared("POST /orders", compared(["$.a"]), Third.NONE, facts(), 1.0)
    report = judge(state_of(findings))
    (watched,) = report["watching"]
    assert (report["findings"], report["noise"]) == ([], [])
    assert watched["why"] == (
        "differs in 100 % of 100 pairs, and stable was never asked twice, so nobody can say whose doing it is"
    )


def test_status_that_is_noise_is_pointed_out() -> None:
    findings = RouteFindings("shop", 0)
    for _ in range(10):
        findings.compared(ORDERS, compared(["status"], ["status"]), Third.TRIGGERED, facts(), 1.0)
    (note,) = judge(state_of(findings))["notes"]
    assert "authorization" in note["note"]
    assert judge(state_of(findings), ["status"])["notes"] == []


def test_notes_of_comparisons_are_counted() -> None:
    findings = RouteFindings("shop", 0)
    for _ in range(3):
        findings.compared(ORDERS, Compared("", notes=("shadow claims JSON and is not",)), Third.NONE, facts(), 1.0)
    assert judge(state_of(findings))["notes"] == [
        {"endpoint": ORDERS, "note": "shadow claims JSON and is not", "count": 3}
    ]


def test_latency_is_told_by_endpoint() -> None:
    findings = RouteFindings("shop", 0)
    for pair in range(100):
        findings.matched(ORDERS, 0.010, 0.030 if pair < 98 else 0.5, False)
    (latency,) = judge(state_of(findings))["latency"]
    assert latency["primary"]["p50_ms"] == pytest.approx(10, rel=0.045)
    assert latency["shadow"]["p95_ms"] == pytest.approx(30, rel=0.045)
    assert latency["shadow"]["p99_ms"] == pytest.approx(500, rel=0.045)
    assert latency["ratio"]["p50_ms"] == pytest.approx(3, rel=0.09)


def test_nothing_known_is_an_answer() -> None:
    report = judge({})
    assert (report["compared"], report["findings"], report["diff_rate"], report["dropped"]) == (0, [], 0.0, {})
    assert judge(state_of(RouteFindings("shop", 0))).keys() == report.keys()


def test_unknown_and_dropped_are_told_by_reason() -> None:
    findings = RouteFindings("shop", 0)
    findings.unknown(ORDERS, "deadline")
    findings.unknown("/other", "deadline")
    findings.dropped("timeout", 5)
    findings.outcome("ok", 7)
    report = judge(state_of(findings))
    assert report["unknown_reasons"] == {"deadline": 2}
    assert (report["dropped"], report["outcomes"]) == ({"timeout": 5}, {"ok": 7})


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.0111, "1.1 %"), (0.00042, "0.042 %"), (0.9999, "99.99 %"), (0.5, "50.0 %")],
)
def test_shares_as_people_read_them(share: float, text: str) -> None:
    assert percent(share) == text
