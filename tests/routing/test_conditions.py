"""What holds for a request: every kind of `when`, every form of value."""

from __future__ import annotations

from typing import Any

import pytest

from routing.compile import conditions
from routing.config import When
from routing.request import NOWHERE, Place, Request
from tests.routing.samples import get

NEW_YORK = Place("NA", "US", "US-NY", "New York", 64500)
BERLIN = Place("EU", "DE", "DE-BE", "Berlin", 3320)


def holds(when: dict[str, Any], request: Request) -> bool:
    return all(condition.holds(request) for condition in conditions(When.model_validate(when)))


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("true", "true", True),
        ("true", "True", False),
        ("true", None, False),
        ("", "", True),
        ("", None, False),
        (True, "true", True),
        (42, "42", True),
        (["a", "b"], "b", True),
        (["a", "b"], "c", False),
        (["a", "b"], None, False),
        (["a", {"prefix": "b"}], "bc", True),
        (["a", {"prefix": "b"}], "a", True),
        (["a", {"prefix": "b"}], "c", False),
        ({"prefix": "ab"}, "abc", True),
        ({"prefix": "ab"}, "xab", False),
        ({"suffix": "bc"}, "abc", True),
        ({"suffix": "bc"}, "abcd", False),
        ({"contains": "b"}, "abc", True),
        ({"contains": "x"}, "abc", False),
        ({"contains": ""}, None, False),
        ({"regex": "b+"}, "abbc", True),
        ({"regex": "^b+$"}, "abbc", False),
        ({"regex": "(?i)^ABC$"}, "abc", True),
        ({"regex": ".*"}, None, False),
        ({"present": True}, "", True),
        ({"present": True}, None, False),
        ({"present": False}, None, True),
        ({"present": False}, "x", False),
        ({"not": "a"}, "b", True),
        ({"not": "a"}, "a", False),
        ({"not": "a"}, None, True),
        ({"not": ["a", "b"]}, "b", False),
        ({"not": {"prefix": "a"}}, "ab", False),
        ({"not": {"not": "a"}}, "a", True),
        ({"present": True, "not": "a"}, None, False),
        ({"prefix": "a", "suffix": "c"}, "abc", True),
        ({"prefix": "a", "suffix": "c"}, "ab", False),
        ("münchen", "münchen", True),
    ],
)
def test_header_value_form_accepts_as_documented(form: object, value: str | None, expected: bool) -> None:
    request = get() if value is None else get(x_test=value)
    assert holds({"header": {"X-Test": form}}, request) is expected


@pytest.mark.parametrize(
    ("when", "request_", "expected"),
    [
        ({"header": {"user-agent": {"contains": "curl/"}}}, get(user_agent="curl/8.1"), True),
        ({"cookie": {"beta": "1"}}, get(cookie="a=b; beta=1"), True),
        ({"cookie": {"beta": {"present": True}}}, get(cookie="a=b"), False),
        ({"cookie": {"Beta": "1"}}, get(cookie="beta=1"), False),  # names of cookies have case
        ({"query": {"v": "2"}}, get(query="v=2"), True),
        ({"query": {"v": "2"}}, get(query="v=1&v=2"), True),
        ({"query": {"v": "2"}}, get(query="V=2"), False),
        ({"query": {"v": "a b"}}, get(query="v=a+b"), True),
        ({"query": {"v": "a b"}}, get(query="v=a%20b"), True),
        ({"query": {"v": {"present": True}}}, get(query="v"), True),
        ({"query": {"v": {"present": False}}}, get(query="w=1"), True),
        ({"query": {"v": {"not": "1"}}}, get(query=""), True),
        ({"query": {"größe": "xl"}}, get(query="gr%C3%B6%C3%9Fe=xl"), True),
        ({"method": ["GET", "HEAD"]}, get(method="HEAD"), True),
        ({"method": "post"}, get(method="POST"), True),
        ({"method": {"not": "GET"}}, get(), False),
        ({"path": {"prefix": "/beta"}}, get("/beta/x"), True),
        ({"path": "/beta"}, get("/beta/x"), False),
        ({"path": {"regex": r"\.(png|jpg)$"}}, get("/a.png"), True),
        ({"client_ip": "192.0.2.0/24"}, get(), True),
        ({"client_ip": ["10.0.0.0/8", "192.0.2.1"]}, get(), True),
        ({"client_ip": "2001:db8::/32"}, get(client_ip="2001:db8::1"), True),
        ({"client_ip": {"not": "192.0.2.0/24"}}, get(), False),
        ({"client_ip": {"not": ["10.0.0.0/8"]}}, get(), True),
        ({"client_ip": "192.0.2.0/24"}, get(client_ip=""), False),
        ({"geo": {"country": ["DE", "AT"]}}, get(place=BERLIN), True),
        ({"geo": {"country": "de"}}, get(place=BERLIN), True),
        ({"geo": {"country": "NO"}}, get(place=BERLIN), False),
        ({"geo": {"country": {"not": "US"}}}, get(place=BERLIN), True),
        ({"geo": {"country": {"not": "US"}}}, get(place=NOWHERE), True),
        ({"geo": {"country": {"present": True}}}, get(place=NOWHERE), False),
        ({"geo": {"continent": "EU"}}, get(place=BERLIN), True),
        ({"geo": {"subdivision": "US-NY"}}, get(place=NEW_YORK), True),
        ({"geo": {"subdivision": {"prefix": "us-"}}}, get(place=NEW_YORK), True),
        ({"geo": {"city": "New York"}}, get(place=NEW_YORK), True),
        ({"geo": {"asn": 64500}}, get(place=NEW_YORK), True),
        ({"geo": {"asn": ["AS64500"]}}, get(place=NEW_YORK), True),
        ({"geo": {"asn": 0}}, get(place=NOWHERE), False),
        ({"geo": {"country": "US", "subdivision": "US-CA"}}, get(place=NEW_YORK), False),
        ({"header": {"x-a": "1"}, "method": "GET"}, get(x_a="1"), True),
        ({"header": {"x-a": "1"}, "method": "PUT"}, get(x_a="1"), False),
        ({"header": {"x-a": "1", "x-b": "2"}}, get(x_a="1"), False),
    ],
)
def test_when_holds_only_if_each_of_its_conditions_does(
    when: dict[str, Any], request_: Request, expected: bool
) -> None:
    assert holds(when, request_) is expected


@pytest.mark.parametrize(
    ("when", "label", "actual"),
    [
        ({"header": {"X-A": "1"}}, "header x-a", "'one'"),
        ({"cookie": {"c": "1"}}, "cookie c", "'two'"),
        ({"query": {"q": "1"}}, "query q", "'3', '4'"),
        ({"query": {"z": "1"}}, "query z", "absent"),
        ({"method": "PUT"}, "method", "'GET'"),
        ({"path": "/x"}, "path", "'/y'"),
        ({"client_ip": "10.0.0.1"}, "client_ip", "192.0.2.1"),
        ({"geo": {"country": "DE"}}, "geo country", "'US'"),
    ],
)
def test_condition_tells_its_label_and_what_the_request_has(when: dict[str, Any], label: str, actual: str) -> None:
    (condition,) = conditions(When.model_validate(when))
    request = get("/y", query="q=3&q=4", x_a="one", cookie="c=two", place=NEW_YORK)
    assert (condition.label, condition.actual(request)) == (label, actual)
