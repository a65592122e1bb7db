"""Passive ejection: what counts as a failure, when an endpoint goes, for how long, and how many may."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.control import Publish
from proxy.errors import ErrorKind
from routing.snapshot import Endpoints
from tests.proxy.fakes import BLUE, CANARY, GET, OK, End, Scene, request, status

BLUE_2 = "http://10.0.0.3:8003"
BAD = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
OUTLIER = {"consecutive_5xx": 3, "ejection": 30, "max_ejection": 70, "max_ejected": "50%"}


def scene_of(*endpoints: str, outlier: Any = OUTLIER, **settings: Any) -> Scene:
    upstreams = {"blue": {"endpoints": list(endpoints), "outlier": outlier}, "canary": {"endpoints": [CANARY]}}
    return Scene(upstreams=upstreams, **settings)


def asked(scene: Scene, client: End) -> End:
    """The endpoint's end that got the client's next request."""
    client.send(GET)
    [end] = [origin for origin in scene.origins if origin.received()]
    return end


def fail(scene: Scene, times: int = 3, url: str = BLUE) -> None:
    """So many requests in a row that this endpoint answers 500; another answers what it gets."""
    client = scene.client()
    while times:
        end = asked(scene, client)
        times -= end.url == url
        end.send(BAD if end.url == url else OK)
    client.received()


def urls(scene: Scene, requests: int = 30) -> set[str]:
    client, found = scene.client(), set()
    for _ in range(requests):
        end = asked(scene, client)
        found.add(end.url)
        end.send(OK)
    return found


def test_endpoint_that_fails_so_often_in_a_row_is_ejected_for_its_time() -> None:
    scene = scene_of(BLUE, BLUE_2)
    fail(scene, 2)
    assert urls(scene) == {BLUE, BLUE_2}  # a success between them
    fail(scene)
    assert urls(scene) == {BLUE_2}
    assert scene.plane.upstreams.ejected() == [("blue", BLUE)]
    assert scene.count("ejections", "made") == 1
    scene.pass_time(29)
    assert urls(scene) == {BLUE_2}
    scene.pass_time(31)
    assert urls(scene) == {BLUE, BLUE_2}
    assert scene.at_rest


def test_ejection_grows_up_to_its_maximum_and_shrinks_with_time_in_rotation() -> None:
    scene, now = scene_of(BLUE, BLUE_2), 0.0
    for seconds in (30, 60, 70, 70):
        fail(scene)
        scene.pass_time(now + seconds - 1)
        assert urls(scene, 5) == {BLUE_2}
        now += seconds
        scene.pass_time(now)
        assert scene.plane.upstreams.ejected() == []
    now += 30  # three ejections less: the next is the second
    scene.pass_time(now)
    fail(scene)
    scene.pass_time(now + 59)
    assert urls(scene, 5) == {BLUE_2}
    scene.pass_time(now + 60)
    assert scene.plane.upstreams.ejected() == []


@pytest.mark.parametrize("how", ["status", "reset", "bad response", "timeout", "refused", "retried"])
def test_what_counts_as_a_failure(how: str) -> None:
    retry = {"attempts": 1, "on": [500]} if how == "retried" else {"attempts": 0}
    scene = scene_of(BLUE, outlier={"consecutive_5xx": 1}, route={"retry": retry})
    if how == "refused":
        scene.refusing[BLUE] = ErrorKind.CONNECT
        assert status(scene.client().send(GET).received()) == 502
    else:
        _, origin = scene.ask()
        if how in ("status", "retried"):
            origin.send(BAD)
        elif how == "reset":
            origin.reset()
        elif how == "bad response":
            origin.send(b"nonsense\r\n\r\n")
        else:
            scene.pass_time(31)
    assert scene.plane.upstreams.ejected() == [("blue", BLUE)]


def test_what_says_nothing_of_the_endpoint_does_not_count() -> None:
    scene = scene_of(BLUE, outlier={"consecutive_5xx": 1})
    client, origin = scene.ask()
    origin.send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    client.send(GET)
    origin.reset()  # a kept connection, closed as it was used
    scene.origin.send(OK)
    scene.client().send(request(b"Host: a b"))
    client.send(GET).reset()  # the client left
    assert scene.plane.upstreams.ejected() == []


def test_answer_that_breaks_off_does_not_end_a_row() -> None:
    scene = scene_of(BLUE)
    for _ in range(3):
        _, origin = scene.ask()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha").reset()
    assert scene.plane.upstreams.ejected() == [("blue", BLUE)]


def test_no_more_than_max_ejected_are_out() -> None:
    scene = scene_of(BLUE, BLUE_2, "http://10.0.0.4")
    fail(scene)
    fail(scene, url=BLUE_2)
    assert scene.plane.upstreams.ejected() == [("blue", BLUE)]
    assert (scene.count("ejections", "made"), scene.count("ejections", "over_limit")) == (1, 1)


def test_upstream_of_one_endpoint_that_is_ejected_fails_over() -> None:
    scene = scene_of(BLUE, route={"stable": "canary", "weights": {"blue": 1}})
    fail(scene)
    assert urls(scene) == {CANARY}


def test_stable_whose_endpoint_is_ejected_uses_it_all_the_same() -> None:
    scene = scene_of(BLUE)
    fail(scene, 5)
    assert urls(scene) == {BLUE}


def test_request_in_line_for_an_endpoint_that_is_ejected_goes_to_another() -> None:
    outlier = {"consecutive_5xx": 1}
    scene = scene_of(BLUE, BLUE_2, outlier=outlier, hold=True, route={"retry": {"attempts": 1}})
    one = Endpoints(drained=frozenset({BLUE_2}))
    scene.plane.apply(Publish(2, {}, endpoints={"blue": one}))
    clients = [scene.client().send(GET) for _ in range(2)]
    scene.plane.apply(Publish(3, {}, endpoints={"blue": Endpoints()}))
    scene.connect(ErrorKind.CONNECT_TIMEOUT)
    assert scene.dialled == [BLUE, BLUE, BLUE_2, BLUE_2]
    scene.connect(ErrorKind.CONNECT_TIMEOUT)  # which nobody waits for any more
    for _ in clients:
        scene.connect()
    for origin in scene.origins:
        origin.send(OK)
    assert [status(client.received()) for client in clients] == [200, 200]
    assert scene.at_rest


def test_check_that_passes_again_ends_an_ejection() -> None:
    scene = scene_of(BLUE, BLUE_2)
    fail(scene)
    for unhealthy in (frozenset({BLUE}), frozenset[str]()):
        scene.plane.apply(Publish(2, {}, endpoints={"blue": Endpoints(unhealthy=unhealthy)}))
    assert urls(scene) == {BLUE, BLUE_2}


def test_ejection_outlasts_a_change_of_state_and_ends_with_the_setting() -> None:
    scene = scene_of(BLUE, BLUE_2)
    fail(scene)
    scene.adopt()
    assert urls(scene) == {BLUE_2}
    scene.adopt(upstreams={"blue": {"endpoints": [BLUE, BLUE_2]}})
    assert urls(scene) == {BLUE, BLUE_2}


def test_without_the_setting_nothing_is_ejected() -> None:
    scene = Scene(upstreams={"blue": {"endpoints": [BLUE, BLUE_2]}})
    fail(scene, 10)
    assert urls(scene) == {BLUE, BLUE_2}
