"""`weights`, `cutback`, `restore`: what they ask of the API, what they print, how they exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import RECEIPT, FakeAdmin, problem, route

STAMP = {"by": "token:admin", "at": "2026-01-01T00:00:00Z", "reason": ""}


def changed(**more: Any) -> dict[str, Any]:
    """What the API answers to a change of one route."""
    weights = {"blue": 90, "canary": 10}
    return {
        "revision": 8,
        "route": "shop",
        "weights": weights,
        "effective": weights,
        "cutback": None,
        "receipt": RECEIPT,
    } | more


def cut_back(**receipt: Any) -> dict[str, Any]:
    effective = {"canary": 0, "blue": 100}
    return changed(effective=effective, cutback={"mode": "cut", **STAMP}, receipt=RECEIPT | receipt)


WEIGHTS = [
    # (as the route is, what is typed, what is set)
    (route(), ["canary=10"], {"blue": 90, "canary": 10}),
    (route(), ["canary=0"], {"blue": 100, "canary": 0}),
    (route(), ["canary=12.5"], {"blue": 87.5, "canary": 12.5}),
    (route(), ["canary=10%"], {"blue": 90, "canary": 10}),
    # nothing is left for stable: it gets no weight, and no 0 that would close it to rules
    (route(), ["canary=100"], {"canary": 100}),
    (route(), ["green=20"], {"blue": 75, "canary": 5, "green": 20}),
    (route(weights={"blue": 7, "green": 2, "canary": 1}), ["canary=30"], {"blue": 50, "green": 20, "canary": 30}),
    (route(weights={"blue": 1, "green": 2}), ["canary=10"], {"blue": 23.33333, "green": 66.666667, "canary": 10}),
    # a 0 that the file declares closes nothing, so it must not come back as one that does
    (route(weights={"blue": 1, "green": 0}), ["canary=10"], {"blue": 90, "canary": 10}),
    # a 0 that was set by hand closed green, and it stays closed
    (route(weights={"blue": 1, "green": 0}, live=STAMP), ["canary=10"], {"blue": 90, "green": 0, "canary": 10}),
    (route(), ["blue=9", "canary=1"], {"blue": 9, "canary": 1}),
    (route(), ["blue=100"], {"blue": 100}),
]


@pytest.mark.parametrize(("before", "typed", "expected"), WEIGHTS, ids=lambda value: str(value)[:40])
def test_weights_of_some_upstreams_leave_the_rest_to_stable(
    headgate: Headgate,
    admin: FakeAdmin,
    state: Path,
    before: dict[str, Any],
    typed: list[str],
    expected: dict[str, float],
) -> None:
    admin.answers = {"GET /v1/routes/shop": (200, before), "PUT /v1/routes/shop/weights": (200, changed())}
    result = headgate("weights", "shop", *typed, "--state", str(state))
    assert (result.code, result.err) == (0, "")
    assert admin.calls[-1].body == {"weights": expected}


def test_weights_derived_from_the_route_are_bound_to_its_revision(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    admin.answers = {"GET /v1/routes/shop": (200, route()), "PUT /v1/routes/shop/weights": (200, changed())}
    headgate("weights", "shop", "canary=10", "--state", str(state))
    headgate("weights", "shop", "blue=90", "canary=10", "--state", str(state))
    assert [call.if_match for call in admin.calls if call.method == "PUT"] == ['"7"', None]


def test_weights_above_100_percent_are_refused_before_anything_is_asked(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    admin.answers = {"GET /v1/routes/shop": (200, route(weights={"blue": 1, "green": 1}))}
    result = headgate("weights", "shop", "canary=60", "--state", str(state))
    assert result.code == 1
    assert result.err.startswith("headgate: green=50 + canary=60 is more than 100 percent")
    assert [call.method for call in admin.calls] == ["GET"]


def test_weights_print_shares_and_receipt(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/routes/shop": (200, route()), "PUT /v1/routes/shop/weights": (200, changed())}
    result = headgate("weights", "shop", "canary=10", "--reason", "looks good", "--state", str(state))
    assert result.out == "shop: blue 90 %, canary 10 %: 4 of 4 workers in 2.8 ms\n"
    assert admin.calls[-1].body["reason"] == "looks good"


def test_weights_while_cut_back_say_that_they_wait(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/routes/shop": (200, route()), "PUT /v1/routes/shop/weights": (200, cut_back())}
    result = headgate("weights", "shop", "canary=10", "--state", str(state))
    assert "in force after `headgate restore shop`: it is cut back to blue" in result.out


@pytest.mark.parametrize(
    "typed", [["canary"], ["canary=much"], ["=5"], ["canary=nan"], ["canary=-1"], ["a=1", "a=2"], []]
)
def test_weights_that_are_none_are_a_usage_error(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str]
) -> None:
    result = headgate("weights", "shop", *typed, "--state", str(state))
    assert result.code == 2
    assert admin.calls == []


IN_FLIGHT = {"in_flight": {"canary": 3, "green": 0}}
RECEIPTS = [
    ({}, "cut back shop to blue: 4 of 4 workers in 2.8 ms"),
    (IN_FLIGHT, "cut back shop to blue: 4 of 4 workers in 2.8 ms; 3 requests still in flight at canary"),
    (
        {"workers": {"acked": 3, "total": 4, "replaced": 1}, "ms": 1020.04},
        "cut back shop to blue: 3 of 4 workers in 1020.0 ms; 1 worker replaced",
    ),
    (
        {"persisted": False, "in_flight": {"canary": 1}},
        "cut back shop to blue: 4 of 4 workers in 2.8 ms; not stored, so a restart forgets it; "
        "1 request still in flight at canary",
    ),
]


@pytest.mark.parametrize(("receipt", "line"), RECEIPTS)
def test_cutback_applied_prints_the_receipt_in_one_line(
    headgate: Headgate, admin: FakeAdmin, state: Path, receipt: dict[str, Any], line: str
) -> None:
    admin.answers = {"POST /v1/routes/shop/cutback": (200, cut_back(**receipt))}
    result = headgate("cutback", "shop", "--state", str(state))
    assert (result.code, result.out, result.err) == (0, f"{line}\n", "")


def test_cutback_not_applied_exits_with_1_and_says_so_on_stderr(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    answer = cut_back(applied=False, workers={"acked": 1, "total": 2, "replaced": 0}, errors=["worker 1 did not start"])
    admin.answers = {"POST /v1/routes/shop/cutback": (200, answer)}
    result = headgate("cutback", "shop", "--state", str(state))
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "headgate: NOT in force everywhere: cut back shop to blue: 1 of 2 workers in 2.8 ms; worker 1 did not start\n"
    )


def test_cutback_options_go_into_the_body(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"POST /v1/routes/shop/cutback": (200, cut_back())}
    options = ("--mode", "drain", "--in-flight", "retry", "--reason", "orders fail")
    assert headgate("cutback", "shop", *options, "--state", str(state)).code == 0
    assert admin.calls[-1].body == {"mode": "drain", "in_flight": "retry", "reason": "orders fail"}


def test_cutback_of_a_name_with_a_slash_stays_one_segment(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    headgate("cutback", "../cutback", "--state", str(state))
    assert admin.calls[-1].line == "POST /v1/routes/..%2Fcutback/cutback"


def test_cutback_of_all_routes_names_them(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"POST /v1/cutback": (200, {"revision": 8, "routes": ["shop", "search"], "receipt": RECEIPT})}
    result = headgate("cutback", "--all", "--state", str(state))
    assert result.out == "cut back shop, search, each to its stable upstream: 4 of 4 workers in 2.8 ms\n"


@pytest.mark.parametrize("command", ["cutback", "restore"])
@pytest.mark.parametrize("arguments", [(), ("shop", "--all"), ("--mode", "cat", "shop"), ("--no-such", "shop")])
def test_cutback_and_restore_with_wrong_arguments_are_usage_errors(
    headgate: Headgate, admin: FakeAdmin, state: Path, command: str, arguments: tuple[str, ...]
) -> None:
    assert headgate(command, *arguments, "--state", str(state)).code == 2
    assert admin.calls == []


def test_restore_prints_the_receipt(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"DELETE /v1/routes/shop/cutback": (200, changed())}
    result = headgate("restore", "shop", "--reason", "fixed", "--state", str(state))
    assert (result.code, result.out) == (0, "restored shop: 4 of 4 workers in 2.8 ms\n")
    assert admin.calls[-1].body == {"reason": "fixed"}


def test_restore_of_all_routes_names_those_that_were_cut_back(
    headgate: Headgate, admin: FakeAdmin, state: Path
) -> None:
    admin.answers = {"DELETE /v1/cutback": (200, {"revision": 8, "routes": ["shop", "search"], "receipt": RECEIPT})}
    result = headgate("restore", "--all", "--state", str(state))
    assert (result.code, result.out) == (0, "restored shop, search: 4 of 4 workers in 2.8 ms\n")


def test_restore_of_a_route_that_is_not_cut_back_is_refused(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"DELETE /v1/routes/shop/cutback": problem(409, "route 'shop' is not cut back")}
    result = headgate("restore", "shop", "--state", str(state))
    assert (result.code, result.err) == (1, "headgate: refused (409): route 'shop' is not cut back\n")


def test_changes_with_json_print_the_answer_as_it_is(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    answer = cut_back(applied=False)
    admin.answers = {"POST /v1/routes/shop/cutback": (200, answer)}
    result = headgate("cutback", "shop", "--json", "--state", str(state))
    assert result.code == 1
    assert json.loads(result.out) == answer
