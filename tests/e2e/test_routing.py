"""Where requests go, seen from both ends of a gateway: weights, stickiness, rules, flags, and what the API lays over them.

One gateway, a route of its own for each test that changes live state; routes are told apart by host.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.stage import Stage
from tests.support.wire import Response, request

TESTER = {"X-Canary": "true"}
ROUTES: dict[str, dict[str, Any]] = {
    "split": {"weights": {"blue": 95, "canary": 5}},
    "reweighted": {"weights": {"blue": 1}},
    "sticky": {"weights": {"blue": 50, "canary": 50}, "sticky": {"cookie": "hg", "max_age": "30d"}},
    "raised": {"weights": {"blue": 80, "green": 10, "canary": 10}, "sticky": {"header": "x-user"}},
    "ruled": {
        "rules": [
            {"when": {"header": {"x-canary": "true"}}, "send": "canary"},
            {"when": {"cookie": {"beta": {"present": True}}}, "send": "canary"},
            {"when": {"query": {"preview": ["green", "emerald"]}}, "send": "green"},
            {"when": {"geo": {"country": "DE", "subdivision": "DE-BE"}}, "send": "green"},
            {"when": {"client_ip": "203.0.113.0/24"}, "send": "canary"},
            {"when": {"method": "DELETE", "path": {"prefix": "/old/"}}, "send": "green"},
        ]
    },
    "flagged": {
        "flags": {
            "new-checkout": {"percent": 100},
            "dark": {"percent": 100, "when": {"query": {"d": "1"}}},
            "off": {"percent": 0},
        }
    },
    "cut": {
        "weights": {"blue": 0, "canary": 100},
        "sticky": {"cookie": "hg"},
        "rules": [{"when": {"header": {"x-canary": "true"}}, "send": "canary"}],
    },
    "closed": {
        "weights": {"blue": 50, "canary": 50},
        "rules": [{"when": {"header": {"x-canary": "true"}}, "send": "canary"}],
    },
    "drained": {
        "weights": {"blue": 50, "canary": 50},
        "sticky": {"cookie": "hg"},
        "rules": [{"when": {"header": {"x-canary": "true"}}, "send": "canary"}],
    },
}


@pytest.fixture(scope="module")
def gateway(shared: Stage) -> Gateway:
    upstreams = {name: shared.origin(name).url for name in ("blue", "green", "canary")}
    routes = {
        name: {"stable": "blue", "weights": {"blue": 1}, "match": {"hosts": [name]}, **route}
        for name, route in ROUTES.items()
    }
    geo = {"ranges": {"198.51.100.0/24": {"country": "DE", "subdivision": "DE-BE"}, "198.51.0.0/16": {"country": "DE"}}}
    return shared.running(upstreams, routes=routes, geo=geo, trusted_proxies=["127.0.0.1"])


class Client:
    """Sends requests to one route over one connection, and remembers cookies where it is told to."""

    def __init__(self, gateway: Gateway, route: str) -> None:
        self._gateway = gateway
        self._route = route
        self.cookie = ""

    def ask(self, number: int = 1, target: str = "/", method: str = "GET", **fields: str) -> list[Response]:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        answers = []
        with self._gateway.connect() as wire:
            for _ in range(number):
                cookie = {"Cookie": self.cookie} if self.cookie else {}
                wire.send(request(target, method=method, fields={"Host": self._route, **cookie, **named}))
                answers.append(answer := wire.response())
                if given := answer.get("set-cookie"):
                    self.cookie = given.split(";")[0]
        return answers

    def served(self, number: int = 1, target: str = "/", method: str = "GET", **fields: str) -> Counter[str | None]:
        return Counter(answer.get("x-served-by") for answer in self.ask(number, target, method, **fields))


def newcomers(gateway: Gateway, route: str, number: int) -> list[Client]:
    """Clients that have been there once."""
    clients = [Client(gateway, route) for _ in range(number)]
    for client in clients:
        client.ask()
    return clients


def test_weights_hold_to_within_one_request(gateway: Gateway) -> None:
    served = Client(gateway, "split").served(200)
    assert served.total() == 200
    assert abs(served["canary"] - 10) <= 1


def test_new_weights_hold_from_the_answer_on(gateway: Gateway) -> None:
    client = Client(gateway, "reweighted")
    assert client.served(20) == {"blue": 20}
    gateway.weights("reweighted", blue=50, green=25, canary=25)
    served = client.served(100)
    assert all(abs(served[name] - share) <= 1 for name, share in {"blue": 50, "green": 25, "canary": 25}.items())
    gateway.weights("reweighted", green=1)
    assert client.served(20) == {"green": 20}


def test_cookie_keeps_each_client_where_it_is(gateway: Gateway) -> None:
    clients = newcomers(gateway, "sticky", 24)
    homes = [client.served(10) for client in clients]
    assert all(len(home) == 1 for home in homes)
    assert set().union(*homes) == {"blue", "canary"}


def test_cookie_is_signed_and_set_once(gateway: Gateway) -> None:
    client = Client(gateway, "sticky")
    first, second = client.ask(2)
    assert re.fullmatch(r"hg=[^;]+; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax", first.get("set-cookie") or "")
    assert second.get("set-cookie") is None
    own, client.cookie = client.cookie, client.cookie[:-1] + ("0" if client.cookie[-1] != "0" else "1")
    assert client.ask()[0].get("set-cookie")  # a forged one counts as none
    assert client.cookie != own


def test_raised_weight_moves_clients_to_that_upstream_and_nobody_else(gateway: Gateway) -> None:
    def homes() -> list[str | None]:
        client = Client(gateway, "raised")
        return [client.ask(x_user=f"user{number}")[0].get("x-served-by") for number in range(120)]

    before = homes()
    gateway.weights("raised", blue=80, green=10, canary=60)
    moved = [(old, new) for old, new in zip(before, homes(), strict=True) if old != new]
    assert moved
    assert {new for _, new in moved} == {"canary"}


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        ({}, "blue"),
        ({"X_Canary": "true"}, "canary"),
        ({"x_canary": "false"}, "blue"),
        ({"Cookie": "a=b; beta=1"}, "canary"),
        ({"target": "/?preview=green"}, "green"),
        ({"target": "/?preview=em%65rald"}, "green"),
        ({"target": "/?preview=red"}, "blue"),
        ({"X_Forwarded_For": "198.51.100.7"}, "green"),
        ({"X_Forwarded_For": "198.51.7.7"}, "blue"),
        ({"X_Forwarded_For": "1.2.3.4, 203.0.113.9"}, "canary"),
        ({"X_Forwarded_For": "203.0.113.9, 1.2.3.4"}, "blue"),
        ({"target": "/old/thing", "method": "DELETE"}, "green"),
        ({"target": "/old/thing"}, "blue"),
    ],
)
def test_rule_decides_where_its_conditions_hold(gateway: Gateway, ask: dict[str, str], expected: str) -> None:
    assert Client(gateway, "ruled").served(2, **ask) == {expected: 2}


def test_flags_that_are_on_are_named_to_the_upstream(gateway: Gateway) -> None:
    def flags(target: str) -> str | None:
        fields = json.loads(Client(gateway, "flagged").ask(target=target, X_Headgate_Flags="forged")[0].body)["fields"]
        return dict(fields).get("X-Headgate-Flags")

    assert flags("/") == "new-checkout"
    assert flags("/?d=1") == "new-checkout, dark"


def test_cutback_beats_rule_stickiness_and_weights_and_restore_brings_them_back(gateway: Gateway) -> None:
    sticky = newcomers(gateway, "cut", 4)
    stranger = Client(gateway, "cut")

    def served() -> list[Counter[str | None]]:
        return [stranger.served(5, X_Canary="true"), stranger.served(5), *(client.served(5) for client in sticky)]

    assert served() == [{"canary": 5}] * 6
    answer = gateway.cutback("cut", reason="orders fail")
    assert answer["receipt"]["workers"] == {"acked": 1, "total": 1, "replaced": 0}
    assert served() == [{"blue": 5}] * 6
    route = gateway.route("cut")
    assert route["effective"] == {"blue": 100, "canary": 0}
    assert (route["cutback"]["mode"], route["cutback"]["reason"]) == ("cut", "orders fail")
    gateway.weights("cut", canary=1)  # does not end the cutback
    assert served() == [{"blue": 5}] * 6
    gateway.restore("cut")
    assert served() == [{"canary": 5}] * 6
    assert gateway.route("cut")["cutback"] is None


def test_weight_of_0_through_the_api_closes_an_upstream_to_rules(gateway: Gateway) -> None:
    client = Client(gateway, "closed")
    assert client.served(5, X_Canary="true") == {"canary": 5}
    gateway.weights("closed", blue=100, canary=0)
    assert client.served(5, X_Canary="true") == {"blue": 5}
    gateway.weights("closed", blue=100)
    assert client.served(5, X_Canary="true") == {"canary": 5}


def test_drain_keeps_sticky_clients_and_admits_no_new_ones(gateway: Gateway) -> None:
    clients = newcomers(gateway, "drained", 24)
    homes = [client.served() for client in clients]
    assert {"canary": 1} in homes
    gateway.cutback("drained", mode="drain")
    assert [client.served() for client in clients] == homes
    for _ in range(24):
        stranger = Client(gateway, "drained")
        assert stranger.served() == {"blue": 1}
        assert stranger.cookie == ""
    assert Client(gateway, "drained").served(X_Canary="true") == {"blue": 1}
    gateway.cutback("drained", mode="cut")
    assert sum((client.served() for client in clients), Counter[str | None]()) == {"blue": 24}


def test_explain_says_where_requests_really_go(gateway: Gateway) -> None:
    for ask, expected in (({"x-canary": "true"}, "canary"), ({"cookie": "beta=1"}, "canary"), ({"a": "b"}, "blue")):
        question = {"method": "GET", "url": "http://ruled/", "headers": ask, "client_ip": "192.0.2.1"}
        assert gateway.call("POST", "/v1/explain", question)["upstream"] == expected
        fields = {name.replace("-", "_"): value for name, value in ask.items()}
        assert Client(gateway, "ruled").served(1, **fields) == {expected: 1}
