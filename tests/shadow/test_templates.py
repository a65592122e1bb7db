"""Endpoints learned from paths: few, stable, and safe whatever a client asks for."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.path_words import MOST_SEGMENTS
from shadow.templates import MOST_NODES, MOST_WORDS, OTHER_ENDPOINT, Templates


@pytest.mark.parametrize(
    ("path", "template"),
    [
        (b"/", "/"),
        (b"/orders", "/orders"),
        (b"/orders/", "/orders/"),
        (b"/orders/17", "/orders/{id}"),
        (b"/orders/-17/items/3", "/orders/{id}/items/{id}"),
        (b"/v1/users", "/v1/users"),
        (b"/a/123e4567-e89b-12d3-a456-426614174000", "/a/{id}"),
        (b"/a/3f9a01c2", "/a/{id}"),
        (b"/a/deadbeef", "/a/deadbeef"),
        (b"/a/app-3f9a01c2.js", "/a/{id}.js"),
        (b"/a/2026-03-01", "/a/{id}"),
        (b"/a/2026-03-01T09:30:00Z", "/a/{id}"),
        (b"/a/52.5,13.4", "/a/{id}"),
        (b"/a/order-1234", "/a/{id}"),
        (b"/a/cus_9s6XKzk2", "/a/{id}"),
        (b"/a/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/a/{id}"),
        (b"/a/someone@example.com", "/a/{id}"),
        (b"/a/someone%40example.com", "/a/{id}"),
        (b"/a/17.json", "/a/{id}.json"),
        (b"/a/getUserAccountSettings", "/a/getUserAccountSettings"),
        (b"/a;jsessionid=1/b", "/a/b"),
        (b"/caf%c3%a9", "/caf%C3%A9"),
        ("/café".encode(), "/caf%C3%A9"),
        (b"/%6frders", "/orders"),
        (b"/a%2Fb", "/a%2Fb"),
        (b"/{id}", "/%7Bid%7D"),
        (b"/\xff\x00\x1b[2J", "/%FF%00%1B%5B2J"),
        (b"/" + b"x" * 8192, "/{id}"),
        (b"/" + b"a/" * 4096, "/" + "a/" * MOST_SEGMENTS + "{…}"),
        (b"*", OTHER_ENDPOINT),
        (b"", OTHER_ENDPOINT),
    ],
)
def test_path_becomes_a_template(path: bytes, template: str) -> None:
    assert Templates().endpoint(b"GET", path) == template


def test_methods_that_write_have_endpoints_of_their_own() -> None:
    templates = Templates()
    names = [templates.endpoint(method, b"/orders") for method in (b"GET", b"HEAD", b"POST", b"DELETE")]
    assert names == ["/orders", "/orders", "POST /orders", "DELETE /orders"]


def test_declared_templates_come_first() -> None:
    templates = Templates(["/shops/{shop}/items", "/files/{name}.pdf"])
    assert templates.endpoint(b"GET", b"/shops/berlin/items") == "/shops/{shop}/items"
    assert templates.endpoint(b"PUT", b"/shops/berlin/items") == "PUT /shops/{shop}/items"
    assert templates.endpoint(b"GET", b"/files/report.pdf") == "/files/{name}.pdf"
    assert templates.endpoint(b"GET", b"/shops/berlin") == "/shops/berlin"


def test_templates_declared_later_hold_from_then_on() -> None:
    templates = Templates()
    assert templates.endpoint(b"GET", b"/shops/berlin") == "/shops/berlin"
    templates.declare(["/shops/{shop}"])
    assert templates.endpoint(b"GET", b"/shops/berlin") == "/shops/{shop}"


def test_more_words_than_there_may_be_below_a_parent_are_ids() -> None:
    templates = Templates()
    for word in range(MOST_WORDS):
        assert templates.endpoint(b"GET", b"/blog/w" + bytes([97 + word // 26, 97 + word % 26])).startswith("/blog/w")
    assert not templates.moved
    assert templates.endpoint(b"GET", b"/blog/another") == "/blog/{id}"
    moved = templates.take_moved()
    assert len(moved) == MOST_WORDS
    assert {after for _, after in moved} == {"/blog/{id}"}
    assert templates.endpoint(b"GET", b"/blog/waa") == "/blog/{id}"
    assert templates.endpoint(b"GET", b"/blog") == "/blog"


def test_words_fall_together_with_all_beneath_them() -> None:
    templates = Templates()
    for word in range(40):
        name = b"/u/" + b"abcdefghijklmnopqrstuvwxyz"[word % 26 : word % 26 + 1] * (1 + word // 26)
        templates.endpoint(b"GET", name + b"/posts")
        templates.endpoint(b"GET", name + b"/likes/17")
    assert templates.endpoint(b"GET", b"/u/new/posts") == "/u/{id}/posts"
    assert templates.endpoint(b"GET", b"/u/new/likes/18") == "/u/{id}/likes/{id}"
    assert {after for _, after in templates.take_moved()} == {"/u/{id}/posts", "/u/{id}/likes/{id}"}


def test_flood_of_unknown_paths_leaves_busy_endpoints_alone() -> None:
    templates = Templates()
    for _ in range(500):
        templates.endpoint(b"GET", b"/orders/17")
        templates.endpoint(b"GET", b"/users")
    draw = random.Random(1)
    for _ in range(2_000):
        templates.endpoint(b"GET", b"/" + bytes(draw.choices(b"abcdefgh", k=8)))
    assert templates.endpoint(b"GET", b"/orders/18") == "/orders/{id}"
    assert templates.endpoint(b"GET", b"/users") == "/users"
    assert "/orders/{id}" not in dict(templates.take_moved())


def test_endpoints_are_bounded_and_room_comes_back_where_some_fall_together() -> None:
    templates = Templates(most=20)
    words = [bytes([97 + word // 26, 97 + word % 26]) for word in range(33)]
    names = {templates.endpoint(b"GET", b"/a/" + word) for word in words[:32]}
    assert len(names - {OTHER_ENDPOINT}) == 20
    assert templates.endpoint(b"GET", b"/b") == OTHER_ENDPOINT
    assert templates.endpoint(b"GET", b"/a/" + words[32]) == "/a/{id}"
    assert templates.endpoint(b"GET", b"/b") == "/b"


def test_any_number_of_hostile_paths_leaves_bounded_state() -> None:
    templates, draw = Templates(), random.Random(2)
    names = set()
    for _ in range(3_000):
        depth = draw.randrange(1, 20)
        path = b"".join(b"/" + bytes(draw.choices(range(256), k=draw.randrange(6))) for _ in range(depth))
        names.add(templates.endpoint(draw.choice([b"GET", b"POST", bytes(draw.choices(b"ABC", k=4))]), path))
        templates.take_moved()
    kept = templates.to_json()
    assert len(kept["endpoints"]) <= templates.most
    assert templates._nodes <= MOST_NODES + MOST_SEGMENTS + 1
    assert all(name.isprintable() for name in names)


def test_moved_endpoints_lead_to_names_that_are_given_now() -> None:
    """Whoever follows each move in order ends with just the names in use."""
    templates, draw = Templates(), random.Random(3)
    seen: set[str] = set()
    for _ in range(3_000):
        path = b"".join(b"/" + bytes(draw.choices(b"abcde", k=3)) for _ in range(draw.randrange(1, 4)))
        name = templates.endpoint(b"GET", path)
        for before, after in templates.take_moved():
            seen.discard(before)
            seen.add(after)
        seen.add(name)
    in_use = {method + "/" + "/".join(words) for method, words, _ in templates.to_json()["endpoints"]}
    assert seen - {OTHER_ENDPOINT} == in_use


def test_templates_survive_a_restart() -> None:
    templates = Templates(["/declared/{x}"])
    for word in range(40):
        templates.endpoint(b"GET", f"/blog/{chr(97 + word % 26) * (1 + word // 26)}".encode())
    templates.endpoint(b"POST", b"/orders/17/items")
    again = Templates(["/declared/{x}"])
    again.restore(json.loads(json.dumps(templates.to_json())))
    assert again.to_json() == templates.to_json()
    assert again.endpoint(b"GET", b"/blog/whatever") == "/blog/{id}"
    assert again.endpoint(b"POST", b"/orders/18/items") == "POST /orders/{id}/items"
    assert not again.moved


@given(st.binary(max_size=300), st.binary(max_size=8))
def test_any_bytes_give_a_printable_name(path: bytes, method: bytes) -> None:
    name = Templates(["/a/{b}"]).endpoint(method, b"/" + path)
    assert name
    assert len(name) <= (MOST_SEGMENTS + 2) * 70 + 16


def test_declared_template_is_matched_in_linear_time() -> None:
    templates = Templates(["/{a}-{b}-{c}-{d}-{e}-{f}/end"])
    assert templates.endpoint(b"GET", b"/" + b"-" * 8000) == "/{id}"
