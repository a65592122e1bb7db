"""The page of a route whose endpoints people have all drained: when it is answered, and how."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.control import Publish
from routing.snapshot import Endpoints
from tests.proxy.fakes import BLUE, CANARY, GET, OK, Scene, error_of, request, status
from tests.support.wire import parse_head

PAGE = "<p>Back in a minute \u2615</p>"
SECTION: dict[str, Any] = {"weights": {"canary": 1}, "maintenance": {"body": PAGE, "retry_after": "90s"}}
DRAINED = {
    "blue": Endpoints(drained=frozenset({BLUE})),
    "canary": Endpoints(drained=frozenset({CANARY})),
}


def scene_of(endpoints: dict[str, Endpoints], route: dict[str, Any] | None = None, **settings: Any) -> Scene:
    scene = Scene(route=SECTION if route is None else route, **settings)
    scene.plane.apply(Publish(3, {}, endpoints=endpoints))
    scene.settle()
    return scene


def test_page_is_answered_where_people_have_drained_upstream_and_stable() -> None:
    scene = scene_of(DRAINED)
    head, _, body = scene.client().send(GET).received().partition(b"\r\n\r\n")
    found = parse_head(head)
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert body.decode() == PAGE
    assert found.get("Content-Type") == "text/html; charset=utf-8"
    assert found.get("Content-Length") == str(len(body))
    assert found.get("Retry-After") == "90"
    assert found.get("X-Headgate-Error") == "no_endpoint"
    assert found.get("Cache-Control") == "no-store"
    assert scene.count("gateway_errors", "no_endpoint") == 1
    assert scene.at_rest


def test_head_request_gets_the_pages_length_and_no_page() -> None:
    scene = scene_of(DRAINED)
    client = scene.client().send(request(method=b"HEAD"))
    head, _, body = client.received().partition(b"\r\n\r\n")
    assert parse_head(head).get("Content-Length") == str(len(PAGE.encode()))
    assert body == b""
    assert status(client.send(GET).received()) == 503  # over the same connection


@pytest.mark.parametrize(
    ("code", "line"), [(404, b"404 Not Found"), (599, b"599 "), (500, b"500 Internal Server Error")]
)
def test_page_has_the_status_that_its_route_says(code: int, line: bytes) -> None:
    route = {"weights": {"blue": 1}, "maintenance": {"body": "x", "status": code, "content_type": "text/plain"}}
    scene = scene_of({"blue": DRAINED["blue"]}, route)
    answer = scene.client().send(GET).received()
    assert answer.startswith(b"HTTP/1.1 " + line + b"\r\n")
    assert scene.codes() == {("shop", "blue"): {code: 1}}


@pytest.mark.parametrize("name", ["blue", "canary"])
def test_page_is_not_answered_where_an_endpoint_is_out_for_another_reason(name: str) -> None:
    """Checks that fail are a fault, whoever drained the rest."""
    upstreams = {
        "blue": {"endpoints": [BLUE], "no_endpoints": "unavailable"},
        "canary": {"endpoints": [CANARY], "no_endpoints": "unavailable"},
    }
    ill = {name: Endpoints(unhealthy=frozenset({BLUE, CANARY}))}
    answer = scene_of({**DRAINED, **ill}, upstreams=upstreams).client().send(GET).received()
    assert error_of(answer) == "no_endpoint"
    assert b"application/problem+json" in answer


def test_page_is_not_answered_while_stable_can_be_asked() -> None:
    scene = scene_of({"canary": DRAINED["canary"]})
    assert status(scene.answered(OK)) == 200
    assert scene.origin.url == BLUE


def test_route_without_a_page_answers_the_problem() -> None:
    answer = scene_of(DRAINED, {"weights": {"canary": 1}}).client().send(GET).received()
    assert b"application/problem+json" in answer
