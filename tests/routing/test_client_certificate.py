"""Rules that ask who a client has proved to be."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from routing.check import warnings
from routing.compile import conditions
from routing.config import When
from routing.document import ConfigError
from routing.load import load_tree
from routing.request import ClientCertificate, Request
from tests.routing.samples import document

ORDERS = ClientCertificate("orders", ("a.example", "spiffe://shop/orders"))
UNNAMED = ClientCertificate("", ())


@pytest.mark.parametrize(
    ("when", "certificate", "holds"),
    [
        ({"subject": "orders"}, ORDERS, True),
        ({"subject": ["others", {"prefix": "ord"}]}, ORDERS, True),
        ({"subject": "Orders"}, ORDERS, False),
        ({"subject": "orders"}, None, False),
        ({"subject": {"present": True}}, ORDERS, True),
        ({"subject": {"present": True}}, UNNAMED, False),
        ({"subject": {"present": False}}, None, True),
        ({"san": "spiffe://shop/orders"}, ORDERS, True),
        ({"san": {"suffix": ".example"}}, ORDERS, True),
        ({"san": "orders"}, ORDERS, False),
        ({"san": {"present": False}}, UNNAMED, True),
        ({"san": {"not": "a.example"}}, None, True),
        ({"subject": "orders", "san": "a.example"}, ORDERS, True),
        ({"subject": "orders", "san": "b.example"}, ORDERS, False),
    ],
)
def test_condition_holds_for_what_was_proved(
    when: dict[str, Any], certificate: ClientCertificate | None, holds: bool
) -> None:
    request = Request(b"GET", b"shop.example", b"/")
    request.certificate = certificate
    compiled = conditions(When.model_validate({"client_certificate": when}))
    assert all(condition.holds(request) for condition in compiled) is holds


def test_condition_says_what_it_saw() -> None:
    request = Request(b"GET", b"shop.example", b"/")
    (condition,) = conditions(When.model_validate({"client_certificate": {"san": "x"}}))
    assert (condition.label, condition.actual(request)) == ("client_certificate san", "absent")
    request.certificate = ORDERS
    assert condition.actual(request) == "'a.example', 'spiffe://shop/orders'"


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ({}, ": has no condition, so it would hold for every request"),
        ({"san": []}, ".client_certificate.san: lists no value"),
        ({"sna": "a"}, ".client_certificate.sna: unknown key, did you mean 'san'?"),
        ({"subject": {}}, ".client_certificate.subject: needs one of prefix, suffix, contains, regex, present or not"),
    ],
)
def test_mistake_is_named_with_its_place(when: dict[str, Any], problem: str) -> None:
    rule = {"when": {"client_certificate": when}, "send": "canary"}
    with pytest.raises(ConfigError) as caught:
        load_tree(document(shop={"stable": "blue", "rules": [rule]}))
    assert [str(found) for found in caught.value.problems] == [f"routes.shop.rules[0].when{problem}"]


def test_rule_that_nobody_can_meet_is_warned_of() -> None:
    when = {"client_certificate": {"subject": "orders"}}
    route = {
        "stable": "blue",
        "rules": [{"when": when, "send": "canary"}],
        "flags": {"new": {"percent": 1, "when": when}},
    }
    tree = document(shop=route)
    assert [str(found) for found in warnings(load_tree(tree), date(2026, 1, 1))] == [
        f"routes.shop.{place}.when.client_certificate: no listener has tls.client_ca, so nobody shows one"
        for place in ("rules[0]", "flags.new")
    ]
    tree["listen"] = [{"address": ":8443", "tls": {"certificate": "a", "key": "b", "client_ca": "c"}}]
    assert warnings(load_tree(tree), date(2026, 1, 1)) == []
