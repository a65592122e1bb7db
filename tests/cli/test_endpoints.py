"""`endpoints`: what it asks of the API, what it prints, how it exits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Headgate
from tests.cli.fake_admin import RECEIPT, FakeAdmin, problem

BLUE = "/v1/upstreams/blue/endpoints"
ONE, TWO = "http://10.0.0.1:80", "http://10.0.0.2:80"
CHANGED: tuple[int, dict[str, Any]] = (200, {"revision": 8, "upstream": "blue", "endpoints": [], "receipt": RECEIPT})


@pytest.fixture
def known(admin: FakeAdmin) -> None:
    blue = {"upstream": "blue", "revision": 7, "endpoints": [{"endpoint": ONE}]}
    admin.answers["GET /v1/upstreams"] = (200, {"revision": 9, "upstreams": [blue]})


@pytest.mark.parametrize("action", ["drain", "enable"])
def test_drain_and_enable_ask_for_what_was_typed(
    headgate: Headgate, admin: FakeAdmin, state: Path, action: str
) -> None:
    admin.answers[f"POST {BLUE}/{action}"] = CHANGED
    result = headgate("endpoints", action, "blue", ONE, "--reason", "deploy", "--state", str(state))
    assert (result.code, result.out) == (0, f"{ONE} {action}{'ed' if action == 'drain' else 'd'} in blue: {RECEIVED}")
    assert [(call.line, call.body) for call in admin.calls] == [
        (f"POST {BLUE}/{action}", {"endpoint": ONE, "reason": "deploy"})
    ]


RECEIVED = "4 of 4 workers in 2.8 ms\n"


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("action", "url", "said", "urls"), [("add", TWO, "added to", [ONE, TWO]), ("remove", ONE + "/", "removed from", [])]
)
def test_add_and_remove_set_the_list_that_was_seen_less_or_more_one(
    headgate: Headgate, admin: FakeAdmin, state: Path, action: str, url: str, said: str, urls: list[str]
) -> None:
    admin.answers[f"PUT {BLUE}"] = CHANGED
    result = headgate("endpoints", action, "blue", url, "--state", str(state))
    assert (result.code, result.out) == (0, f"{url} {said} blue: {RECEIVED}")
    assert [(call.line, call.body, call.if_match) for call in admin.calls[1:]] == [
        (f"PUT {BLUE}", {"endpoints": urls}, '"7"')
    ]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["add", "blue", ONE], "is an endpoint of it already"),
        (["remove", "blue", TWO], f"these are: {ONE}"),
        (["add", "green", TWO], "there is no upstream 'green'"),
    ],
)
def test_change_that_makes_no_sense_asks_for_nothing(
    headgate: Headgate, admin: FakeAdmin, state: Path, typed: list[str], said: str
) -> None:
    result = headgate("endpoints", *typed, "--state", str(state))
    assert (result.code, said in result.err, len(admin.calls)) == (1, True, 1)


def test_refusal_and_usage(headgate: Headgate, admin: FakeAdmin, state: Path) -> None:
    admin.answers[f"POST {BLUE}/drain"] = problem(422, "no", ("endpoint", "is no endpoint of this upstream"))
    result = headgate("endpoints", "drain", "blue", TWO, "--state", str(state))
    assert (result.code, "endpoint: is no endpoint of this upstream" in result.err) == (1, True)
    assert headgate("endpoints", "stop", "blue", ONE, "--state", str(state)).code == 2
