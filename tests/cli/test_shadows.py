"""`shadow`, `diffs`: what they ask of the API, what they print, and the exit code that gates a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import RECEIPT, FakeAdmin, problem

SHADOW = "/v1/routes/shop/shadow"
DIFFS = "/v1/routes/shop/diffs"


def changed(**shadow: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"revision": 8, "route": "shop", "shadow": shadow, "receipt": RECEIPT}


def finding(field: str = "$.price", excess: float = 0.01, **more: Any) -> dict[str, Any]:
    return {
        "endpoint": "/orders/{id}",
        "field": field,
        "kind": "changed",
        "count": 20,
        "rate": excess,
        "noise": 0.0,
        "excess": excess,
        "why": "differs in 1 % of the pairs, never when stable is asked twice",
        "examples": [{"id": "a-1", "primary": "12", "shadow": "x" * 40}],
        **more,
    }


def found(*findings: dict[str, Any], compared: int = 2000, **more: Any) -> tuple[int, dict[str, Any]]:
    return 200, {
        "route": "shop",
        "upstream": "next",
        "compared": compared,
        "matched": compared - 20,
        "mismatched": 20,
        "unknown": 0,
        "dropped": {"queue_full": 3, "timeout": 0},
        "findings": list(findings),
        "watching": [],
        "noise": [],
        **more,
    }


@pytest.mark.parametrize(
    ("typed", "method", "body"),
    [
        (["--percent", "10"], "PUT", {"percent": 10.0}),
        (["--off", "--reason", "slow"], "PUT", {"percent": 0, "reason": "slow"}),
        (["--percent", "5", "--upstream", "next"], "PUT", {"percent": 5.0, "upstream": "next"}),
        (["--as-declared"], "DELETE", None),
    ],
)
def test_shadow_asks_for_what_was_typed(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str], method: str, body: Any
) -> None:
    admin.answers[f"{method} {SHADOW}"] = changed(percent=10, upstream="next")
    result = headgate("shadow", "shop", *typed, "--state", str(state))
    assert (result.code, result.out) == (0, "shop: 10 % copied to next: 4 of 4 workers in 2.8 ms\n")
    assert [(call.method, call.path, call.body) for call in admin.calls] == [(method, SHADOW, body)]


@pytest.mark.parametrize(
    "typed", [[], ["--percent", "101"], ["--percent", "1", "--off"], ["--off", "--upstream", "next"]]
)
def test_shadow_that_cannot_be_meant_is_a_usage_error(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str]
) -> None:
    assert headgate("shadow", "shop", *typed, "--state", str(state)).code == 2
    assert admin.calls == []


def test_shadow_that_is_refused_names_the_field(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers[f"PUT {SHADOW}"] = problem(422, "no", ("upstream", "is required"))
    result = headgate("shadow", "shop", "--percent", "1", "--state", str(state))
    assert (result.code, "upstream: is required" in result.err) == (1, True)


def test_diffs_are_a_table_of_the_worst_with_an_example_and_why(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    noise, watched = finding("$.at"), finding("status")
    admin.answers[f"GET {DIFFS}"] = found(finding(), noise=[noise], watching=[watched])
    result = headgate("diffs", "shop", "--state", str(state))
    assert result.code == 0
    cut = "x" * 31 + "…"
    assert result.out.splitlines() == [
        "shop: 2000 pairs compared with next: 1980 matched, 20 mismatched, 0 unknown",
        "dropped, so not compared: queue_full 3",
        "1 finding:",
        f"endpoint      field    kind     count  rate  noise  excess  primary  {'shadow':32}  example",
        f"/orders/{{id}}  $.price  changed  20     1 %   0 %    1 %     12       {cut}  a-1",
        "/orders/{id} $.price: differs in 1 % of the pairs, never when stable is asked twice",
        "not yet proven either way: /orders/{id} status",
        "explained away as noise: /orders/{id} $.at",
    ]


def test_diffs_without_a_finding_say_so(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers[f"GET {DIFFS}"] = found()
    assert "0 findings\n" in headgate("diffs", "shop", "--state", str(state)).out


@pytest.mark.parametrize(
    ("answer", "typed", "code", "says"),
    [
        (found(finding(excess=0.011)), ["1%"], 1, "$.price differs in 1.1 % of its answers beyond noise"),
        (found(finding(excess=0.01)), ["1%"], 0, ""),
        (found(finding(excess=0.01)), ["0.5"], 1, "above 0.5 %"),
        (found(finding(excess=0.001)), ["0%"], 1, "above 0 %"),
        (found(), ["0%"], 0, ""),
        (found(compared=0), ["1%"], 1, "nothing has been compared"),
        (found(compared=99), ["1%", "--min-compared", "100"], 1, "only 99 pairs compared"),
        (found(compared=100), ["1%", "--min-compared", "100"], 0, ""),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_fail_over_is_a_gate_by_exit_code(
    headgate: Headgate,
    admin: FakeAdmin,
    state: Path,
    answer: Any,
    typed: list[str],
    code: int,
    says: str,
    as_json: bool,
) -> None:
    admin.answers[f"GET {DIFFS}"] = answer
    result = headgate("diffs", "shop", "--fail-over", *typed, *(["--json"] * as_json), "--state", str(state))
    assert result.code == code
    assert says in result.err
    assert bool(result.err) is bool(says)
    if as_json:
        assert json.loads(result.out) == answer[1]


@pytest.mark.parametrize("typed", ["one", "-1%", "101%", "nan"])
def test_fail_over_that_is_no_percentage_is_a_usage_error(headgate: Headgate, state: Path, typed: str) -> None:
    assert headgate("diffs", "shop", f"--fail-over={typed}", "--state", str(state)).code == 2


def test_diffs_ignore_and_clear_are_changes_with_a_receipt(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers[f"POST {DIFFS}/ignore"] = admin.answers[f"DELETE {DIFFS}"] = changed()
    result = headgate("diffs", "shop", "--ignore", "$.at", "--clear", "--reason", "time", "--state", str(state))
    assert result.out == "shop: $.at is ignored, diffs start afresh: 4 of 4 workers in 2.8 ms\n"
    assert [(call.line, call.body) for call in admin.calls] == [
        (f"POST {DIFFS}/ignore", {"field": "$.at", "reason": "time"}),
        (f"DELETE {DIFFS}", {"reason": "time"}),
    ]


def test_diffs_example_is_one_diff_whole(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers[f"GET {DIFFS}/a-1"] = (200, {"id": "a-1", "path": "/orders/7"})
    result = headgate("diffs", "shop", "--example", "a-1", "--state", str(state))
    assert json.loads(result.out) == {"id": "a-1", "path": "/orders/7"}
