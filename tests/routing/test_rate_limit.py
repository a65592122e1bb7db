"""`rate_limit` of a route: how it is written, what it compiles to, what `explain` says of it."""

from __future__ import annotations

from typing import Any

import pytest

from routing import notation
from routing.config import Config
from routing.document import ConfigError
from routing.explain import explain
from routing.load import load_tree
from routing.notation import Rate
from routing.rate import RateBy
from routing.weights import Draws
from tests.routing.samples import document, get, snapshot_of


def limited(**limit: Any) -> dict[str, Any]:
    return document(shop={"stable": "blue", "rate_limit": limit})


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("100/s", Rate(100, 1), "100/s"),
        ("600 / m", Rate(600, 60), "600/m"),
        ("1000/h", Rate(1000, 3600), "1000/h"),
        ("1/d", Rate(1, 86400), "1/d"),
        ("5/10s", Rate(5, 10), "5/10s"),
        ("5/60s", Rate(5, 60), "5/m"),
        ("5/90s", Rate(5, 90), "5/90s"),
    ],
)
def test_rate_reads_as_documented_and_back(text: str, expected: Rate, shown: str) -> None:
    assert notation.rate(text) == expected
    assert str(expected) == shown
    assert notation.rate(shown) == expected


@pytest.mark.parametrize(
    "text", ["100", "0/s", "-1/s", "1.5/s", "1/0s", "1/w", "/s", "99999999/s", 100, None, "\uff11/s"]
)
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be a number of requests in a time"):
        notation.rate(text)


@pytest.mark.parametrize(
    ("limit", "by", "name", "burst"),
    [
        ({"rate": "100/s"}, RateBy.CLIENT_IP, b"", 100),
        ({"rate": "30/m"}, RateBy.CLIENT_IP, b"", 1),
        ({"rate": "100/s", "burst": 50, "by": "client_ip"}, RateBy.CLIENT_IP, b"", 50),
        ({"rate": "100/s", "by": {"header": "X-API-Key"}}, RateBy.HEADER, b"x-api-key", 100),
        ({"rate": "100/s", "by": {"cookie": "Session"}}, RateBy.COOKIE, b"Session", 100),
    ],
)
def test_limit_compiles_to_what_it_says(limit: dict[str, Any], by: RateBy, name: bytes, burst: int) -> None:
    found = snapshot_of(limited(**limit)).routes[0].rate_limit
    assert found is not None
    assert (found.by, found.name, found.burst) == (by, name, burst)


def test_fields_that_limits_look_at_are_wanted() -> None:
    assert snapshot_of(limited(rate="1/s", by={"header": "X-API-Key"})).wanted == {b"x-api-key"}
    assert snapshot_of(limited(rate="1/s", by={"cookie": "key"})).wanted == {b"cookie"}
    assert snapshot_of(limited(rate="1/s")).wanted == frozenset()


@pytest.mark.parametrize("by", [{}, {"header": "a", "cookie": "b"}, {"client_ip": False}])
def test_limit_by_anything_but_one_mark_is_refused(by: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs exactly one of client_ip, header: NAME and cookie: NAME"):
        load_tree(limited(rate="1/s", by=by))


def test_document_written_back_means_the_same() -> None:
    config = load_tree(limited(rate="5/10s", burst=3, by={"header": "x-api-key"}))
    again = Config.model_validate(config.model_dump(mode="json"))
    assert again.routes["shop"].rate_limit == config.routes["shop"].rate_limit


def test_explain_says_by_what_a_request_is_limited() -> None:
    snapshot = snapshot_of(limited(rate="5/10s", by={"header": "x-api-key"}))
    own = [
        str(line)
        for request in (get("/", x_api_key="k"), get("/"))
        for line in explain(snapshot, request, Draws())["reasons"]  # type: ignore[attr-defined]
        if "rate limit" in str(line)
    ]
    assert own == [
        "rate limit: 5 in 10 s, 1 at once, by header x-api-key; more get 429",
        "rate limit: 5 in 10 s, 1 at once, by header x-api-key, which this request has not: by client address; more get 429",
    ]
