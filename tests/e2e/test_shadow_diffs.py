"""From a shadow's answers to what people read: the changed field and not the noise, kept over whatever dies, and nothing secret."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import uuid
from typing import Any

import pytest

from tests.support.origin import Arrival, Conversation, Script
from tests.support.shadows import Shadowed, copies
from tests.support.stage import Stage
from tests.support.wire import request

PRICE = "$.items[*].price"
ENOUGH = 30
EVERYTHING = {"upstream": "next", "percent": 100}
_instants = itertools.count()


def order(arrival: Arrival, price: int) -> dict[str, Any]:
    """An answer with noise in it."""
    return {
        "order": arrival.target,
        "request_id": str(uuid.uuid4()),
        "at": f"2026-11-20T10:{next(_instants) % 3600 // 60:02}:{next(_instants) % 60:02}Z",
        "items": [{"sku": "lamp", "price": 10}, {"sku": "desk", "price": price}],
    }


def shop(price: int = 20) -> Script:
    def script(connection: Conversation) -> None:
        while True:
            arrival = connection.receive()
            connection.answer(json.dumps(order(arrival, price)).encode(), Content_Type="application/json")

    return script


def answers(body: bytes, **fields: str) -> Script:
    def script(connection: Conversation) -> None:
        while True:
            connection.receive()
            connection.answer(body, **fields)

    return script


class Shop:
    """A shadow that charges more, beside noise; with a control, or with stable asked again."""

    def __init__(self, stage: Stage, *, control: bool, **shadow: Any) -> None:
        self.blue, self.next, self.same = stage.origin(shop()), stage.origin(shop(21)), stage.origin(shop())
        urls = {"blue": self.blue.url, "next": self.next.url, "same": self.same.url}
        section = {**EVERYTHING, **shadow, **({"control": "same"} if control else {})}
        self.shadowed = Shadowed(stage, urls, {"shop": section})
        self.sent = 0

    def ask(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            assert self.shadowed.ask(f"/orders/{self.sent}")[0] == 200

    def send(self, count: int = ENOUGH) -> Any:
        """The diffs once all are counted."""
        self.ask(count)
        return self.shadowed.counted(self.sent)


def names(found: list[Any]) -> list[str]:
    return sorted(each["field"] for each in found)


@pytest.fixture(params=[True, False], ids=["control", "stable asked again"], scope="module")
def seen(shared: Stage, request: pytest.FixtureRequest) -> Shop:
    """What was found after ENOUGH requests."""
    own = Shop(shared, control=request.param)
    own.send()
    return own


def test_changed_field_is_named_and_noise_is_not(seen: Shop) -> None:
    diffs = seen.shadowed.diffs()
    [finding] = diffs["findings"]
    assert (finding["endpoint"], finding["field"], finding["kind"]) == ("/orders/{id}", PRICE, "changed")
    assert (finding["count"], finding["rate"], finding["noise"]) == (ENOUGH, 1.0, 0.0)
    assert finding["first_seen"] <= finding["last_seen"]
    assert {(each["primary"], each["shadow"]) for each in finding["examples"]} == {("20", "21")}
    assert names(diffs["noise"]) == ["$.at", "$.request_id"]
    assert diffs["watching"] == []
    assert (diffs["compared"], diffs["mismatched"], diffs["dropped"]) == (ENOUGH, ENOUGH, {})
    assert seen.shadowed.metrics("headgate_diffs_total")["mismatched"] == ENOUGH


def test_example_is_one_pair_whole(seen: Shop) -> None:
    [finding] = seen.shadowed.diffs()["findings"]
    example = seen.shadowed.gateway.call("GET", f"/v1/routes/shop/diffs/{finding['examples'][0]['id']}")
    assert (example["endpoint"], example["method"]) == ("/orders/{id}", "GET")
    assert example["path"].startswith("/orders/")
    assert example["request_id"]
    assert example["primary"]["status"] == example["shadow"]["status"] == 200
    assert names(example["differences"]) == ["$.at", PRICE, "$.request_id"]


def test_second_questions_go_to_stable_marked_and_only_without_a_control(seen: Shop) -> None:
    asked = copies(seen.blue)
    if seen.same.arrivals:
        assert asked == []
    else:
        assert 0 < len(asked) <= ENOUGH
        assert {arrival.get("x-headgate-shadow") for arrival in asked} == {"1"}


def test_ignored_field_is_judged_anew_at_once(seen: Shop) -> None:
    def ignore(field: str, *, ignored: bool) -> Any:
        seen.shadowed.gateway.call("POST", "/v1/routes/shop/diffs/ignore", {"field": field, "ignored": ignored})
        return seen.shadowed.diffs()

    assert ignore(PRICE, ignored=True)["findings"] == []
    ignore("$.at", ignored=True)
    diffs = ignore("$.request_id", ignored=True)
    assert (diffs["matched"], diffs["mismatched"], diffs["noise"]) == (ENOUGH, 0, [])
    for field in ("$.at", "$.request_id"):
        ignore(field, ignored=False)
    assert names(ignore(PRICE, ignored=False)["findings"]) == [PRICE]


def test_what_was_found_outlives_whatever_dies_and_starts_afresh_when_told(stage: Stage) -> None:
    own = Shop(stage, control=True)
    gateway = own.shadowed.gateway
    found = own.send()
    assert names(found["findings"]) == [PRICE]

    os.kill(own.shadowed.shadow_pid, signal.SIGKILL)
    own.shadowed.wait_copying()
    own.ask(5)
    mark, admin = gateway.mark, gateway.admin_pid
    os.kill(admin, signal.SIGKILL)
    gateway.logged("the admin API serves", after=mark)
    assert own.send(5)["findings"][0]["count"] == ENOUGH + 10

    gateway.stop()
    own.shadowed.start()
    after = own.shadowed.diffs()
    assert after["findings"][0]["count"] == after["compared"] == ENOUGH + 10
    assert after["findings"][0]["first_seen"] == found["findings"][0]["first_seen"]
    assert names(after["noise"]) == names(found["noise"])

    gateway.call("DELETE", "/v1/routes/shop/diffs")
    fresh = own.shadowed.diffs()
    assert (fresh["compared"], fresh["findings"], fresh["dropped"]) == (0, [], {})
    own.sent = 0
    assert own.send(1)["mismatched"] == 1


CASES: dict[str, tuple[Script, Script]] = {
    "claims": (
        answers(b'{"a": 1', Content_Type="application/json"),
        answers(b'{"a": 2', Content_Type="application/json"),
    ),
    "bomb": (
        answers(gzip.compress(bytes(20_000_000)), Content_Encoding="gzip"),
        answers(gzip.compress(b"1" * 20_000_000), Content_Encoding="gzip"),
    ),
    "reordered": (
        answers(b'{"a": 1, "b": [1, 2]}', Content_Type="application/json"),
        answers(b'{ "b": [1, 2], "a": 1}', Content_Type="application/json"),
    ),
}


class Cases(Shadowed):
    """A route for each kind of answers, asked five times, and one that copies writes."""

    def __init__(self, stage: Stage) -> None:
        self.orders = stage.origin(shop())
        upstreams = {"orders": self.orders.url, "orders-next": stage.origin(shop(21)).url}
        routes = {}
        for name, (primary, shadow) in CASES.items():
            upstreams[name], upstreams[f"{name}-next"] = stage.origin(primary).url, stage.origin(shadow).url
            routes[name] = {"upstream": f"{name}-next", "percent": 100, "noise_sample": "0%"}
        writes = {"upstream": "orders-next", "percent": 100, "methods": ["POST"], "noise_sample": "100%"}
        super().__init__(stage, upstreams, {**routes, "orders": writes})
        for name in [*CASES] * 5:
            self.ask("/x", name)


@pytest.fixture(scope="module")
def cases(shared: Stage) -> Cases:
    return Cases(shared)


def test_json_in_another_order_of_members_is_the_same(cases: Cases) -> None:
    assert cases.counted(5, "reordered")["matched"] == 5


def test_what_claims_json_and_is_not_is_compared_as_text_and_noted(cases: Cases) -> None:
    diffs = cases.counted(5, "claims")
    assert diffs["mismatched"] == 5
    assert names(diffs["watching"] + diffs["findings"]) == ["body"]
    assert [(note["note"], note["count"]) for note in diffs["notes"]] == [
        ("primary claims JSON and is not; compared as text", 5),
        ("shadow claims JSON and is not; compared as text", 5),
    ]


def test_bomb_is_unknown_and_never_equal(cases: Cases) -> None:
    diffs = cases.counted(5, "bomb")
    assert (diffs["unknown"], diffs["unknown_reasons"]) == (5, {"bomb": 5})


def test_writes_are_compared_and_never_sent_to_stable_again(cases: Cases) -> None:
    for number in range(10):
        with cases.gateway.connect() as client:
            client.send(request("/orders", method="POST", fields={"Host": "orders.example"}, body=b"%d" % number))
            assert client.response().status == 200
    diffs = cases.counted(10, "orders")
    assert [each["endpoint"] for each in diffs["endpoints"]] == ["POST /orders"]
    assert PRICE in names(diffs["watching"])
    assert copies(cases.orders) == []


SECRETS = [f"hush-{number}-{uuid.uuid4().hex}" for number in range(8)]


def test_secrets_never_reach_the_state_folder(stage: Stage) -> None:
    """In fields and headers that are to be redacted, in addresses, in the query, in the request's own head and body."""

    def secretive(plain: str, *secrets: str) -> Script:
        body = {
            "token": secrets[0],
            "user": {"Email": secrets[1], "note": f"write to {secrets[2]}@example.com", "name": plain},
        }
        return answers(json.dumps(body).encode(), Content_Type="application/json", Set_Cookie=f"sid={secrets[3]}")

    upstreams = {
        "blue": stage.origin(secretive("plain-one", *SECRETS[:4])).url,
        "next": stage.origin(secretive("plain-two", *SECRETS[2:6])).url,
    }
    section = {**EVERYTHING, "headers": {"remove": []}, "compare": {"headers": ["set-cookie"]}}
    shadowed = Shadowed(stage, upstreams, {"shop": section})
    for _ in range(ENOUGH):
        shadowed.ask(f"/orders/1?access_token={SECRETS[6]}", Authorization=f"Bearer {SECRETS[7]}", Cookie=SECRETS[7])
    diffs = shadowed.counted(ENOUGH)
    expected = ["$.token", "$.user.Email", "$.user.name", "$.user.note", "header:set-cookie"]
    assert names(diffs["findings"]) == expected
    assert shadowed.gateway.stop() == 0
    stored = b"".join(path.read_bytes() for path in shadowed.gateway.state.rglob("*") if path.is_file())
    assert b"plain-two" in stored
    assert [secret for secret in SECRETS if secret.encode() in stored] == []
