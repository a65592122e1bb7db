"""Endpoints in rotation and out of it: what is sent where, from the moment a change of them is acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.control import Publish
from routing.notation import endpoint
from routing.snapshot import CutbackMode, Endpoints, Live
from tests.proxy.fakes import BLUE, CANARY, GET, OK, Scene, error_of, snapshot_of, status

BLUE_2 = "http://10.0.0.3:8003"
TWO: dict[str, Any] = {"blue": {"endpoints": [BLUE, BLUE_2]}, "canary": {"endpoints": [CANARY]}}
TO_CANARY = {"weights": {"canary": 1}}


def rest(scene: Scene, upstream: str = "blue", *, drained: Any = (), unhealthy: Any = (), listed: Any = None) -> Any:
    """Publish live endpoints; what the worker's acknowledgement says is still out there."""
    of_upstream = Endpoints(
        None if listed is None else tuple(map(endpoint, listed)), frozenset(drained), frozenset(unhealthy)
    )
    left = scene.plane.apply(Publish(2, {}, endpoints={upstream: of_upstream}))
    scene.settle()
    return left


def urls(scene: Scene, requests: int = 30) -> set[str]:
    """Where so many requests go, each answered."""
    client, found = scene.client(), set()
    for _ in range(requests):
        client.send(GET)
        [asked] = [origin for origin in scene.origins if origin.received()]
        found.add(asked.url)
        asked.send(OK)
    assert client.received().count(b" 200 ") == requests
    return found


@pytest.mark.parametrize("how", ["drained", "unhealthy"])
def test_endpoint_out_of_rotation_gets_nothing_until_it_is_back(how: str) -> None:
    change: dict[str, Any] = {how: [BLUE]}
    scene = Scene(upstreams=TWO)
    assert urls(scene) == {BLUE, BLUE_2}
    rest(scene, **change)
    assert urls(scene) == {BLUE_2}
    rest(scene)
    assert urls(scene) == {BLUE, BLUE_2}
    assert scene.at_rest


@pytest.mark.parametrize("change", [{"drained": [BLUE]}, {"unhealthy": [BLUE]}, {"listed": [BLUE_2]}])
def test_request_in_line_for_an_endpoint_that_leaves_goes_to_another(change: dict[str, Any]) -> None:
    scene = Scene(upstreams=TWO, hold=True)
    rest(scene, drained=[BLUE_2])
    client = scene.client().send(GET)
    assert scene.dialled == [BLUE]
    rest(scene, **change)
    assert scene.dialled == [BLUE, BLUE_2]
    scene.connect()  # the dial begun before serves nobody
    scene.connect()
    assert [origin.url for origin in scene.origins if origin.received()] == [BLUE_2]
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert scene.at_rest


@pytest.mark.parametrize("change", [{"drained": [BLUE]}, {"listed": [BLUE_2]}])
def test_request_at_an_endpoint_that_is_drained_is_finished_and_its_connection_closed(change: dict[str, Any]) -> None:
    scene = Scene(upstreams=TWO)
    rest(scene, drained=[BLUE_2])
    client, origin = scene.ask()
    assert rest(scene, **change) == {"blue": 1}
    assert not origin.closed
    origin.send(OK)
    assert status(client.received()) == 200
    assert origin.closed


def test_idle_connections_of_an_endpoint_are_closed_when_it_is_drained_and_made_anew_when_it_is_back() -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(OK)
    assert rest(scene, drained=[BLUE]) == {}
    assert origin.closed
    rest(scene)
    client.send(GET)
    assert scene.origin is not origin
    scene.origin.send(OK)
    assert client.received().count(b" 200 ") == 2


def test_request_at_an_endpoint_that_is_unhealthy_is_finished_and_its_connection_kept() -> None:
    scene = Scene(upstreams=TWO)
    rest(scene, drained=[BLUE_2])
    client, origin = scene.ask()
    assert rest(scene, unhealthy=[BLUE]) == {}
    origin.send(OK)
    assert status(client.received()) == 200
    assert not origin.closed


def test_endpoint_added_live_gets_its_share_and_one_removed_none() -> None:
    scene = Scene()
    rest(scene, listed=[BLUE, BLUE_2])
    assert urls(scene) == {BLUE, BLUE_2}
    rest(scene, listed=[BLUE_2])
    assert urls(scene) == {BLUE_2}
    rest(scene)
    assert urls(scene) == {BLUE}


def test_upstream_without_endpoints_in_rotation_fails_over_to_stable_and_is_counted() -> None:
    scene = Scene(route={**TO_CANARY, "rules": [{"when": {"path": "/x"}, "send": "canary"}]})
    rest(scene, "canary", unhealthy=[CANARY])
    assert urls(scene, 3) == {BLUE}
    assert scene.count("failovers", "shop") == 3
    assert scene.codes() == {("shop", "blue"): {200: 3}}
    rest(scene, "canary")
    assert urls(scene, 3) == {CANARY}
    assert scene.count("failovers", "shop") == 0  # since they were taken


def test_request_in_line_fails_over_too() -> None:
    scene = Scene(route=TO_CANARY, hold=True)
    client = scene.client().send(GET)
    rest(scene, "canary", drained=[CANARY])
    assert scene.dialled == [CANARY, BLUE]
    scene.connect()
    scene.connect()
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert scene.at_rest


@pytest.mark.parametrize("route", [{}, TO_CANARY])
def test_stable_without_endpoints_in_rotation_uses_all_that_are_not_drained(route: dict[str, Any]) -> None:
    scene = Scene(upstreams=TWO, route=route)
    rest(scene, "canary", unhealthy=[CANARY])
    rest(scene, unhealthy=[BLUE, BLUE_2])
    assert urls(scene) == {BLUE, BLUE_2}
    rest(scene, unhealthy=[BLUE, BLUE_2], drained=[BLUE])
    assert urls(scene) == {BLUE_2}


def test_all_endpoints_drained_are_answered_503() -> None:
    scene = Scene(upstreams=TWO)
    rest(scene, drained=[BLUE, BLUE_2])
    answer = scene.client().send(GET).received()
    assert (status(answer), error_of(answer), scene.dialled) == (503, "no_endpoint", [])
    assert scene.at_rest


def test_stable_that_is_not_to_fail_open_answers_503() -> None:
    scene = Scene(upstreams={"blue": {**TWO["blue"], "no_endpoints": "unavailable"}})
    rest(scene, unhealthy=[BLUE, BLUE_2])
    answer = scene.client().send(GET).received()
    assert (status(answer), error_of(answer)) == (503, "no_endpoint")
    rest(scene, unhealthy=[BLUE])
    assert urls(scene) == {BLUE_2}


def test_upstream_without_endpoints_does_not_fail_over_to_a_stable_that_a_person_has_closed() -> None:
    scene = Scene(route=TO_CANARY)
    scene.publish(Live(weights=(("canary", 1.0), ("blue", 0.0))))
    rest(scene, "canary", unhealthy=[CANARY])
    assert urls(scene, 3) == {CANARY}
    rest(scene, "canary", drained=[CANARY])
    assert status(scene.client().send(GET).received()) == 503
    assert scene.count("failovers", "shop") == 0


def test_retry_goes_to_no_endpoint_out_of_rotation() -> None:
    scene = Scene(upstreams=TWO, route={**TO_CANARY, "retry": {"attempts": 1, "on": [503]}})
    rest(scene, unhealthy=[BLUE])
    client, origin = scene.ask()
    assert origin.url == CANARY
    origin.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    assert scene.origin.url == BLUE_2
    scene.origin.send(OK)
    assert status(client.received()) == 200


def test_cutback_goes_to_no_endpoint_out_of_rotation() -> None:
    scene = Scene(upstreams=TWO, route=TO_CANARY)
    rest(scene, drained=[BLUE])
    scene.publish(Live(cutback=CutbackMode.CUT))
    assert urls(scene) == {BLUE_2}


def test_endpoints_of_an_adopted_snapshot_are_in_force_at_once() -> None:
    scene = Scene(upstreams=TWO)
    live = {"blue": Endpoints(drained=frozenset({BLUE})), "gone": Endpoints()}
    scene.plane.adopt(snapshot_of(upstreams=TWO).with_endpoints(live), {})
    assert urls(scene) == {BLUE_2}


def test_live_endpoints_outlast_changes_of_weights() -> None:
    scene = Scene(upstreams=TWO)
    rest(scene, drained=[BLUE])
    scene.publish(Live(weights=(("blue", 1.0),)))
    assert urls(scene) == {BLUE_2}
