"""A route's findings: exact counts, bounds, examples, restarts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.endpoint_state import MOST_FIELDS, MOST_SETS, OTHER_FIELD
from shadow.examples import FIRST, RECENT
from shadow.findings import MOST_EXAMPLES, RouteFindings
from shadow.judging import judge
from shadow.verdict import Compared, Third
from tests.shadow.pairs import compared, difference, facts

ORDERS = "/orders/{id}"


def state_of(findings: RouteFindings) -> dict[str, Any]:
    """As it arrives elsewhere, through JSON."""
    findings.resend()
    report = findings.take_report(1000.0)
    assert report is not None
    kept: dict[str, Any] = json.loads(json.dumps(report.state))
    return kept


def differing(findings: RouteFindings, *fields: str, now: float = 1.0, endpoint: str = ORDERS) -> None:
    findings.compared(endpoint, compared(fields), Third.NONE, facts(), now)


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["matched", "unknown", "missed"]),
            st.lists(st.sampled_from(["$.a", "$.b", "$.c"]), unique=True),
        ),
        max_size=40,
    ),
    st.sets(st.sampled_from(["$.a", "$.b", "$.c"])),
)
def test_counts_are_exact_whatever_is_ignored(events: list[str | list[str]], ignored: set[str]) -> None:
    findings = RouteFindings("shop", 0)
    for event in events:
        match event:
            case "matched":
                findings.matched(ORDERS, 0.01, 0.01, False)
            case "unknown":
                findings.unknown(ORDERS, "deadline")
            case "missed":
                findings.differ_dropped(ORDERS)
            case list():
                differing(findings, *event)
    report = judge(state_of(findings), sorted(ignored))
    sets = [set(event) for event in events if isinstance(event, list)]
    assert report["unknown"] == events.count("unknown")
    assert report["matched"] == events.count("matched") + sum(fields <= ignored for fields in sets)
    assert report["mismatched"] == sum(not fields <= ignored for fields in sets)
    assert report["compared"] == report["matched"] + report["mismatched"] + report["unknown"]
    shown = {field["field"] for key in ("findings", "noise", "watching") for field in report[key]}
    assert shown == set().union(*sets) - ignored


def test_nothing_new_is_no_report() -> None:
    findings = RouteFindings("shop", 3)
    first = findings.take_report(1.0)
    assert first is not None
    assert (first.route, first.since) == ("shop", 3)
    assert findings.take_report(2.0) is None
    findings.matched(ORDERS, 0.01, 0.01, False)
    assert findings.take_report(3.0) is not None
    findings.resend()
    assert findings.take_report(4.0) is not None


def test_findings_go_on_after_a_restart() -> None:
    findings = RouteFindings("shop", 3)
    for pair in range(50):
        findings.matched(findings.endpoint(b"GET", b"/orders/17"), 0.01, 0.02, pair % 10 == 0)
        findings.compared(ORDERS, compared(["$.a"], ["$.b"], ["$.a", "$.b"]), Third.CONTROL, facts(), float(pair))
    findings.dropped("timeout", 3)
    findings.outcome("ok")
    findings.unknown(ORDERS, "deadline")
    again = RouteFindings("shop", 0)
    again.restore(state_of(findings))
    assert again.since == 3
    assert state_of(again) == state_of(findings)


def test_state_of_another_version_is_void() -> None:
    findings = RouteFindings("shop", 3)
    findings.restore({"version": 99})
    assert state_of(findings)["endpoints"] == {}


def test_starting_afresh_forgets_what_was_found() -> None:
    findings = RouteFindings("shop", 3)
    differing(findings, "$.a")
    findings.reset(4)
    report = findings.take_report(1.0)
    assert report is not None
    assert (report.since, report.state["endpoints"], report.examples) == (4, {}, ())


def test_fields_without_room_share_one() -> None:
    findings = RouteFindings("shop", 0)
    for place in range(MOST_FIELDS + 50):
        differing(findings, f"$.f{place}")
    (endpoint,) = state_of(findings)["endpoints"].values()
    names = [field["field"] for field in endpoint["fields"]]
    assert len(names) == MOST_FIELDS + 1
    assert endpoint["fields"][names.index(OTHER_FIELD)]["differs"] == 50


def test_status_always_has_room() -> None:
    findings = RouteFindings("shop", 0)
    differing(findings, *(f"$.f{place}" for place in range(MOST_FIELDS + 50)))
    differing(findings, "status")
    (endpoint,) = state_of(findings)["endpoints"].values()
    assert endpoint["fields"][-1]["field"] == "status"


def test_fields_of_a_route_are_bounded() -> None:
    findings = RouteFindings("shop", 0)
    for endpoint in range(10):
        for place in range(MOST_FIELDS):
            differing(findings, f"$.f{place}", endpoint=f"/{endpoint}")
    fields = [len(endpoint["fields"]) for endpoint in state_of(findings)["endpoints"].values()]
    assert sum(fields) <= 1000 + len(fields)


def test_sets_without_room_are_mismatched_for_good() -> None:
    findings = RouteFindings("shop", 0)
    names = [f"$.f{bit}" for bit in range(10)]
    for number in range(1, 1 + MOST_SETS + 100):
        differing(findings, *(name for bit, name in enumerate(names) if number >> bit & 1))
    state = state_of(findings)
    assert len(state["endpoints"][ORDERS]["sets"]) == MOST_SETS
    report = judge(state, ["$"])
    assert (report["matched"], report["mismatched"]) == (MOST_SETS, 100)


def test_first_and_recent_examples_of_a_field_are_kept() -> None:
    findings = RouteFindings("shop", 0)
    for second in range(1000):
        differing(findings, "$.a", now=float(second))
        if second % 100 == 0:
            findings.take_report(float(second))
    (field,) = judge(state_of(findings))["watching"]
    assert len(field["examples"]) == FIRST + RECENT
    assert [example["at"][14:19] for example in field["examples"]] == [
        "16:32", "16:22", "16:12", "16:02", "15:52", "00:00", "00:01", "00:02",
    ]  # fmt: skip
    assert field["examples"][0] | {"id": "", "at": ""} == {
        "id": "", "at": "", "primary": "1", "shadow": "2", "primary_ms": 10.0, "shadow_ms": 20.0,
    }  # fmt: skip


def test_example_is_the_whole_pair() -> None:
    findings = RouteFindings("shop", 0)
    head = b"GET /orders/17 HTTP/1.1\r\nX-Request-Id: abc-1\r\n\r\n"
    found = Compared("", (difference("$.a"),), (difference("$.b"),), frozenset(), ("a note",))
    findings.compared(ORDERS, found, Third.CONTROL, facts(b"/orders/17?page=2&api_key=s3cret", head), 5.0)
    report = findings.take_report(6.0)
    assert report is not None
    (example,) = report.examples
    assert example.pop("id")
    assert example == {
        "at": 5.0,
        "endpoint": ORDERS,
        "method": "GET",
        "path": "/orders/17?page=2&api_key=…",
        "request_id": "abc-1",
        "primary": {"status": 200, "ms": 10.0, "bytes": 3},
        "shadow": {"status": 200, "ms": 20.0, "bytes": 5},
        "third": "control",
        "notes": ["a note"],
        "differences": [{"field": "$.a", "kind": "changed", "primary": "1", "shadow": "2"}],
        "noise": [{"field": "$.b", "kind": "changed", "primary": "1", "third": "2"}],
    }


def test_examples_between_two_reports_are_bounded() -> None:
    findings = RouteFindings("shop", 0)
    for place in range(2 * MOST_EXAMPLES):
        differing(findings, f"$.f{place}")
    report = findings.take_report(1.0)
    assert report is not None
    assert len(report.examples) == MOST_EXAMPLES
    kept = [field["examples"][0] for field in report.state["endpoints"][ORDERS]["fields"]]
    assert sum(len(first) for first in kept) == MOST_EXAMPLES


def test_endpoints_that_fall_together_add_up() -> None:
    findings = RouteFindings("shop", 0)
    for word in range(40):
        endpoint = findings.endpoint(b"GET", b"/blog/" + b"abcdefghijklmnopqrstuvwxyz"[word % 26 :] + b"z" * word)
        findings.matched(endpoint, 0.01, 0.02, True)
        findings.compared(endpoint, compared(["$.a"], [], ["$.a"]), Third.CONTROL, facts(), float(word))
        findings.compared(endpoint, compared(["$.b", f"$.f{word}"]), Third.NONE, facts(), float(word))
    report = judge(state_of(findings))
    assert [one["endpoint"] for one in report["endpoints"]] == ["/blog/{id}"]
    assert (report["compared"], report["matched"], report["mismatched"]) == (120, 40, 80)
    (found,) = report["findings"]
    assert (found["field"], found["count"]) == ("$.a", 40)
    assert judge(state_of(findings), ["$.a"])["matched"] == 80


@pytest.mark.parametrize("third", [Third.CONTROL, Third.TRIGGERED])
def test_stable_is_asked_again_until_a_field_is_known(third: Third) -> None:
    findings = RouteFindings("shop", 0)
    steady, noisy = [difference("$.steady")], [difference("$.noisy")]
    assert findings.wants_third(ORDERS, steady)
    for second in range(30):
        findings.matched(ORDERS, 0.01, 0.01, False)
        for name, noise in (("$.steady", []), ("$.noisy", ["$.noisy"])):
            findings.compared(ORDERS, compared([name], noise, [name]), third, facts(), float(second))
    assert sum(findings.wants_third(ORDERS, steady) for _ in range(100)) == 5
    assert sum(findings.wants_third(ORDERS, noisy) for _ in range(100)) == 1
    assert findings.wants_third(ORDERS, [*noisy, difference("$.new")])
    assert findings.wants_third(ORDERS, [difference("status")])


def test_more_endpoints_than_there_may_be_are_one() -> None:
    findings = RouteFindings("shop", 0)
    for number in range(100):
        findings.matched(f"/made-up/{number}", 0.01, 0.01, False)
    assert len(state_of(findings)["endpoints"]) <= 66
