"""Explanations: the outcome of decide() itself, and every reason for it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.decide import decide
from routing.explain import explain, request_of
from routing.geo import Geo, GeoSource
from routing.request import NOWHERE, Place, Request
from routing.snapshot import CutbackMode, Endpoints, Live, Snapshot
from routing.weights import Draws
from tests.routing.samples import document, get, snapshot, snapshot_of

TO_CANARY = {"when": {"header": {"x-canary": "1"}, "method": "GET"}, "send": "canary"}
TO_GREEN = {"when": {"geo": {"country": "DE"}}, "send": {"green": 75, "canary": 25}}
SHOP = snapshot(weights={"blue": 95, "canary": 5}, rules=[TO_CANARY, TO_GREEN], sticky={"cookie": "hg"})
GERMAN = Place(country="DE")


def explained(compiled: Snapshot, request: Request) -> dict[str, Any]:
    answer = explain(compiled, request, Draws(random.Random(1)))
    return json.loads(json.dumps(answer))  # type: ignore[no-any-return]  # it must be ready for JSON


def signed(compiled: Snapshot, bucket: int) -> str:
    sticky = compiled.routes[0].sticky
    assert sticky is not None
    return f"hg={sticky.sign(bucket).decode()}"


def test_explain_by_rule_names_the_rule_and_what_its_conditions_saw() -> None:
    answer = explained(SHOP, get("/cart", x_canary="1"))
    assert (answer["route"], answer["upstream"], answer["reason"], answer["random"]) == (
        "shop",
        "canary",
        "rule",
        False,
    )
    assert answer["shares"] == {"canary": 1.0}
    assert answer["reasons"] == [
        "route 'shop' takes path /cart (path_prefix /)",
        "rules[0]: method is 'GET': holds",
        "rules[0]: header x-canary is '1': holds",
        "rules[0] holds and sends to canary",
    ]
    assert [rule["outcome"] for rule in answer["rules"]] == ["chosen", "not reached"]
    assert answer["rules"][0]["conditions"][1] == {"condition": "header x-canary", "actual": "'1'", "holds": True}


def test_explain_of_a_new_sticky_client_gives_the_likeliest_upstream_as_random() -> None:
    answer = explained(SHOP, get())
    assert (answer["upstream"], answer["random"], answer["bucket"]) == ("blue", True, None)
    assert answer["shares"] == {"blue": 0.95, "canary": 0.05}
    assert "rules[0]: header x-canary is absent: does not hold" in answer["reasons"]
    assert "shares: blue 95 %, canary 5 %" in answer["reasons"]
    assert answer["reasons"][-1].endswith("drawn by weight")


def test_explain_speaks_of_a_signature_only_where_there_could_be_one() -> None:
    by_header = snapshot(weights={"blue": 95, "canary": 5}, sticky={"header": "x-user-id"})
    assert "signature" in explained(SHOP, get())["reasons"][-1]
    assert "signature" not in explained(by_header, get())["reasons"][-1]


def test_explain_of_a_known_sticky_client_gives_the_bucket() -> None:
    answer = explained(SHOP, get(cookie=signed(SHOP, 0xABC)))
    assert (answer["reason"], answer["random"], answer["bucket"]) == ("sticky", False, "0000000000000abc")
    assert "bucket 0000000000000abc" in answer["reasons"][-1]


def test_explain_of_an_unsticky_split_says_that_each_request_is_drawn_anew() -> None:
    answer = explained(snapshot(weights={"blue": 1, "canary": 3}), get())
    assert (answer["upstream"], answer["random"], answer["reason"]) == ("canary", True, "weight")
    assert answer["shares"] == {"blue": 0.25, "canary": 0.75}
    assert "drawn anew" in answer["reasons"][-1]


def test_explain_of_a_rule_with_weights_gives_the_rules_shares() -> None:
    answer = explained(SHOP, get(place=GERMAN))
    assert (answer["upstream"], answer["reason"], answer["random"]) == ("green", "rule", True)
    assert answer["shares"] == {"green": 0.75, "canary": 0.25}
    assert answer["place"] == {"country": "DE"}
    assert [rule["outcome"] for rule in answer["rules"]] == ["not held", "chosen"]


def test_explain_under_cutback_says_that_nothing_else_counts() -> None:
    cut = SHOP.with_live("shop", Live(None, CutbackMode.CUT))
    answer = explained(cut, get(x_canary="1"))
    assert (answer["upstream"], answer["reason"], answer["shares"]) == ("blue", "cutback", {"blue": 1.0})
    assert any(line.startswith("a cutback is in force") for line in answer["reasons"])
    assert [rule["outcome"] for rule in answer["rules"]] == ["not reached", "not reached"]


def test_explain_under_drain_tells_clients_with_a_cookie_from_others() -> None:
    draining = SHOP.with_live("shop", Live(None, CutbackMode.DRAIN))
    assert explained(draining, get())["reason"] == "cutback"
    answer = explained(draining, get(cookie=signed(SHOP, 5)))
    assert answer["reason"] == "sticky"
    assert any(line.startswith("a draining cutback is in force") for line in answer["reasons"])


def test_explain_names_rules_that_a_live_weight_of_zero_passes_over() -> None:
    closed = SHOP.with_live("shop", Live((("blue", 100.0), ("canary", 0.0)), None))
    answer = explained(closed, get(x_canary="1"))
    assert (answer["upstream"], answer["rules"][0]["outcome"]) == ("blue", "closed")
    assert "rules[0] is passed over: the weight of canary was set to 0 live" in answer["reasons"]
    assert answer["reasons"][-1] == "'blue' is the only upstream with weight"
    partly = explained(closed, get(place=GERMAN))
    assert (partly["upstream"], partly["shares"], partly["random"]) == ("green", {"green": 1.0}, False)
    assert any("less canary, whose weight was set to 0 live" in line for line in partly["reasons"])


def test_explain_tells_why_each_flag_is_on_or_off() -> None:
    flags = {
        "on": {"percent": 100},
        "off": {"percent": 0},
        "picky": {"percent": 100, "when": {"header": {"x-beta": "1"}}},
    }
    answer = explained(snapshot(flags=flags), get())
    assert {flag["flag"]: flag["on"] for flag in answer["flags"]} == {"on": True, "off": False, "picky": False}
    assert answer["reasons"][-3:] == [
        "flag on is on: the client is in its slice of 100 %",
        "flag off is off: the client is not in its slice of 0 %",
        "flag picky is off: header x-beta is absent",
    ]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (get("/shop", host="shop.example.com", method="PUT"), "but not the method PUT"),
        (get("/other", host="shop.example.com"), "host 'shop.example.com' is known (route 'shop'), but no route takes"),
        (get("/shop", host="other.org"), "no route takes the host 'other.org'"),
    ],
)
def test_explain_without_route_gives_the_nearest_miss(request_: Request, said: str) -> None:
    match = {"hosts": ["shop.example.com"], "path_prefix": "/shop", "methods": ["GET"]}
    answer = explained(snapshot(match=match), request_)
    assert (answer["route"], answer["upstream"], answer["reason"]) == (None, None, None)
    (reason,) = answer["reasons"]
    assert said in reason
    assert answer["client_ip"] == "192.0.2.1"


def test_explain_among_several_routes_names_the_one_that_nearly_took_it() -> None:
    compiled = snapshot_of(
        document(
            one={"stable": "blue", "match": {"hosts": ["a.com"], "path": "/x"}},
            two={"stable": "blue", "match": {"hosts": ["*.b.com"], "path_regex": "^/y", "methods": ["POST"]}},
        )
    )
    assert "route 'two' takes this host and path" in explained(compiled, get("/y", host="c.b.com"))["reasons"][0]


@given(st.integers(0, 2**64 - 1), st.booleans(), st.booleans(), st.sampled_from([None, *CutbackMode]))
def test_explain_agrees_with_decide_wherever_nothing_is_random(
    bucket: int, canary: bool, german: bool, cutback: CutbackMode | None
) -> None:
    compiled = SHOP.with_live("shop", Live(None, cutback))
    request = get(place=GERMAN if german else NOWHERE, cookie=signed(SHOP, bucket), x_canary="1" if canary else "0")
    answer, decision = explain(compiled, request, Draws()), decide(compiled, request, Draws())
    assert decision is not None
    assert answer["random"] is False
    assert (answer["upstream"], answer["reason"]) == (
        compiled.upstreams[decision.upstream].name,
        decision.reason.value,
    )


@pytest.mark.parametrize(
    ("url", "headers", "host", "path", "query"),
    [
        ("https://Shop.Example.com:8443/a/b?x=1&y=2", {}, b"shop.example.com", b"/a/b", b"x=1&y=2"),
        ("http://shop.example.com", {}, b"shop.example.com", b"/", b""),
        ("/a?x", {"Host": "SHOP.example.com:80"}, b"shop.example.com", b"/a", b"x"),
        ("http://a.com/", {"host": "b.com"}, b"b.com", b"/", b""),
        ("http://[::1]:8080/", {}, b"[::1]", b"/", b""),
        ("http://[::1]/", {}, b"[::1]", b"/", b""),
        ("http://a.com.:80/", {}, b"a.com", b"/", b""),
        ("http://u:p@a.com/", {}, b"a.com", b"/", b""),
        ("/café?q=ü", {}, b"", b"/caf%C3%A9", b"q=%C3%BC"),
        ("/a%20b", {}, b"", b"/a%20b", b""),
    ],
)
def test_request_of_a_url_is_what_the_data_plane_would_see(
    url: str, headers: dict[str, str], host: bytes, path: bytes, query: bytes
) -> None:
    request = request_of("get", url, headers, "192.0.2.1", None)
    assert (request.method, request.host, request.path, request.query) == (b"GET", host, path, query)


def test_request_of_headers_joins_those_of_one_name() -> None:
    headers = [("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("cookie", "b=2")]
    request = request_of("GET", "/", headers, "", None)
    assert request.fields[b"x-a"] == b"1, 2"
    assert request.cookie(b"b") == b"2"


def test_request_of_an_address_has_its_place() -> None:
    geo = Geo(GeoSource(None, (("192.0.2.0/24", GERMAN),)))
    assert request_of("GET", "/", {}, "192.0.2.1", geo).place == GERMAN


@pytest.mark.parametrize("url", ["shop.example.com/", "ftp://a/", "", "http:///x", "//["])
def test_request_of_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        request_of("GET", url, {}, "", None)


@pytest.mark.parametrize(
    ("shadow", "method", "copied", "why"),
    [
        ({"percent": 100}, "GET", True, "every request is copied"),
        ({"percent": 0}, "GET", False, "no request is copied"),
        ({"percent": 25}, "GET", None, "each request is drawn: 25 % are copied"),
        ({"percent": 100}, "POST", False, "POST is not among its methods"),
    ],
)
def test_explain_says_whether_a_request_is_copied_to_the_shadow(
    shadow: dict[str, Any], method: str, copied: bool | None, why: str
) -> None:
    compiled = snapshot(shadow={"upstream": "canary", **shadow})
    answer = explained(compiled, request_of(method, "http://a/", {}, "10.0.0.1", None))
    assert answer["shadow"] == {"upstream": "canary", "control": None, "copied": copied, "why": why}
    assert answer["reasons"][-1] == f"shadow 'canary': {why}"


def test_explain_knows_which_clients_are_copied_by_client() -> None:
    compiled = snapshot(shadow={"upstream": "canary", "percent": 50, "by": "client"})
    answers = [
        explained(compiled, request_of("GET", "http://a/", {}, f"10.0.0.{n}", None))["shadow"]["copied"]
        for n in range(60)
    ]
    assert {True, False} == set(answers)


@pytest.mark.parametrize("drained", [False, True])
def test_explain_of_an_upstream_without_endpoints_in_rotation_says_where_its_requests_go(drained: bool) -> None:
    def out(name: str) -> Endpoints:
        urls = frozenset(endpoint.url for endpoint in SHOP.endpoints_of(name))
        return Endpoints(drained=urls if drained else frozenset(), unhealthy=urls)

    asked = get("/cart", x_canary="1")
    answer = explained(SHOP.with_endpoints({"canary": out("canary")}), asked)
    assert (answer["upstream"], answer["reason"]) == ("blue", "rule")
    assert "'canary' has no endpoint in rotation, so stable 'blue' takes its requests" in answer["reasons"]
    answer = explained(SHOP.with_endpoints({"blue": out("blue")}), get("/cart", cookie=signed(SHOP, 0)))
    [said] = [line for line in answer["reasons"] if "in rotation" in line]
    assert said.endswith("so the answer is 503" if drained else "are used all the same")
