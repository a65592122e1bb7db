"""One request from its head to its one end: retries, cutbacks, failures, in any order."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.control import InFlight
from proxy.errors import ErrorKind
from routing.snapshot import CutbackMode, Live
from tests.proxy.fakes import BLUE, CANARY, GET, OK, End, Scene, error_of, request, status

TO_CANARY: dict[str, Any] = {"weights": {"canary": 1}}
TWO = {
    "blue": {"endpoints": [BLUE]},
    "canary": {"endpoints": ["http://10.0.0.2:1", "http://10.0.0.2:2"]},
}
CANARIES = {"http://10.0.0.2:1", "http://10.0.0.2:2"}
POST = request(b"Content-Length: 1", method=b"POST", body=b"x")
PUT = request(b"Content-Length: 1", method=b"PUT", body=b"x")
LARGE_PUT = request(b"Content-Length: 70000", method=b"PUT", body=b"x" * 70_000)
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"
FAILED = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
CUT, OPEN = Live(cutback=CutbackMode.CUT), Live()


def retrying(**policy: Any) -> dict[str, Any]:
    return {**TO_CANARY, "retry": {"attempts": 1, "on": ["connect", "reset", 503], **policy}}


# Retries


def fail(scene: Scene, how: str) -> None:
    """The newest attempt fails."""
    if how == "connect":
        scene.connect(ErrorKind.CONNECT)
        return
    if scene.dials:
        scene.connect()
    if how == "reset":
        scene.origin.reset()
    else:
        scene.origin.send(FAILED)


@pytest.mark.parametrize("how", ["connect", "reset", "status"])
@pytest.mark.parametrize(
    ("raw", "again"), [(GET, True), (PUT, True), (request(method=b"DELETE"), True), (POST, False), (LARGE_PUT, None)]
)
def test_retry_is_made_for_an_idempotent_request_that_can_be_replayed(how: str, raw: bytes, again: bool | None) -> None:
    scene = Scene(route=retrying(), upstreams=TWO, hold=True)
    client = scene.client().send(raw)
    fail(scene, how)
    if again or (again is None and how == "connect"):  # nothing of it had been sent
        assert scene.count("retries", "made") == 1
        scene.connect()
        scene.origin.send(OK)
        assert status(client.received()) == 200
        assert set(scene.dialled) == CANARIES
    else:
        assert status(client.received()) == (503 if how == "status" else 502)
        assert len(scene.dialled) == 1
    assert scene.at_rest
    assert sum(scene.codes()["shop", "canary"].values()) == 1


def test_retry_goes_to_another_endpoint_first_and_then_to_stable() -> None:
    scene = Scene(route=retrying(attempts=3), upstreams=TWO, hold=True)
    client = scene.client().send(GET)
    for _ in range(3):
        fail(scene, "connect")
    assert set(scene.dialled[:2]) == CANARIES
    assert scene.dialled[2:] == [BLUE, BLUE]
    fail(scene, "connect")
    assert error_of(client.received()) == "connect"
    assert scene.at_rest
    assert scene.codes() == {("shop", "blue"): {502: 1}}


def test_retry_stays_with_its_upstream_where_no_other_is_wanted() -> None:
    scene = Scene(route=retrying(attempts=2, other_upstream=False), upstreams=TWO, hold=True)
    scene.client().send(GET)
    for _ in range(3):
        fail(scene, "connect")
    assert set(scene.dialled) == CANARIES
    assert len(scene.dialled) == 3


@pytest.mark.parametrize(("on", "how"), [(["reset"], "connect"), (["connect"], "reset"), ([502], "status")])
def test_retry_is_made_only_for_what_the_policy_lists(on: list[object], how: str) -> None:
    scene = Scene(route=retrying(on=on), upstreams=TWO, hold=True)
    client = scene.client().send(GET)
    fail(scene, how)
    assert status(client.received()) == (503 if how == "status" else 502)
    assert scene.at_rest


def test_retries_under_way_have_a_budget() -> None:
    scene = Scene(route=retrying(budget="20%"), upstreams=TWO, hold=True)
    clients = [scene.client().send(GET) for _ in range(5)]
    for _ in clients:
        scene.connect(ErrorKind.CONNECT)
    assert scene.count("retries", "made") == 3
    assert scene.count("retries", "over_budget") == 2
    assert sorted(len(client.received()) > 0 for client in clients) == [False, False, False, True, True]
    while scene.dials:
        scene.connect()
    while asked := [origin for origin in scene.origins if origin.received()]:
        for origin in asked:
            origin.send(OK)
    assert scene.at_rest


def test_failure_after_the_response_began_is_never_retried() -> None:
    scene = Scene(route=retrying(), upstreams=TWO)
    client, origin = scene.ask()
    origin.send(BEGUN).reset()
    assert client.transport.aborted
    assert len(scene.origins) == 1


def test_answer_that_is_retried_never_shows() -> None:
    scene = Scene(route=retrying(), upstreams=TWO)
    client, origin = scene.ask()
    origin.send(b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\na")
    assert origin.transport.aborted
    scene.origin.send(OK)
    assert client.received().count(b"HTTP/1.1 ") == 1


# A kept connection that its server closed just now


def kept(scene: Scene) -> End:
    """An upstream's end that has served a request and is idle."""
    client, origin = scene.ask()
    origin.send(OK)
    client.finish()
    origin.received()
    return origin


@pytest.mark.parametrize(("raw", "again"), [(GET, True), (PUT, True), (POST, False), (LARGE_PUT, False)])
def test_stale_connection_costs_an_idempotent_request_nothing(raw: bytes, again: bool) -> None:
    scene = Scene()
    origin = kept(scene)
    client, same = scene.ask(raw)
    assert same is origin
    origin.finish()
    if again:
        assert scene.count("stale_connections") == 1
        assert scene.count("retries", "made") == 0
        assert scene.origin is not origin
        scene.origin.send(OK)
        assert status(client.received()) == 200
    else:
        assert error_of(client.received()) == "reset"
    assert scene.at_rest


def test_fresh_connection_that_turns_out_to_be_a_kept_one_may_be_stale_too() -> None:
    scene = Scene(upstreams={"blue": {"endpoints": [BLUE]}}, limits={"per_endpoint": 2})
    first, other = scene.client(), scene.client()
    first.send(GET)
    other.send(GET)
    kept_one, busy = scene.origins
    kept_one.send(OK)
    first.received()
    first.send(GET)  # over the kept connection,
    scene.hold = True
    kept_one.finish()  # which closes as it is used; in line for a fresh one
    busy.send(OK)  # it gets this one,
    busy.finish()  # and that closes too
    scene.connect()
    scene.origin.received()
    scene.origin.send(OK)
    assert status(first.received()) == 200
    assert scene.count("stale_connections") == 2
    assert scene.count("retries", "made") == 0


def test_stale_connection_is_made_up_for_only_once() -> None:
    scene = Scene()
    origin = kept(scene)
    client, _ = scene.ask()
    origin.finish()
    scene.origin.finish()
    assert error_of(client.received()) == "reset"
    assert len(scene.origins) == 2


@pytest.mark.parametrize("begun", [b"HTTP/1.1 2", b"HTTP/1.1 103 E\r\n\r\n"])
def test_connection_that_has_begun_to_answer_is_not_stale(begun: bytes) -> None:
    scene = Scene()
    origin = kept(scene)
    client, _ = scene.ask()
    origin.send(begun).finish()
    assert b" 502 " in client.received()
    assert len(scene.origins) == 1


def test_first_request_of_a_connection_is_not_sent_again() -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.finish()
    assert error_of(client.received()) == "reset"
    assert len(scene.origins) == 1


# Cutbacks


@pytest.mark.parametrize("live", [CUT, Live(weights=(("blue", 1.0), ("canary", 0.0)))])
def test_request_in_line_at_a_cutback_is_decided_again(live: Live) -> None:
    scene = Scene(route=TO_CANARY, hold=True)
    client = scene.client().send(GET)
    assert scene.publish(live) == {}
    assert scene.dialled == [CANARY, BLUE]
    scene.connect()
    scene.connect()
    assert scene.origins[0].received() == b""
    scene.origins[1].send(OK)
    assert status(client.received()) == 200
    assert scene.at_rest
    assert scene.codes() == {("shop", "blue"): {200: 1}}


@pytest.mark.parametrize(
    ("in_flight", "raw", "response", "becomes"),
    [
        (InFlight.FINISH, GET, b"", "finished"),
        (InFlight.RETRY, GET, b"", "moved"),
        (InFlight.RETRY, PUT, b"HTTP/1.1 103 E\r\n\r\n", "moved"),
        (InFlight.RETRY, POST, b"", "finished"),
        (InFlight.RETRY, LARGE_PUT, b"", "finished"),
        (InFlight.RETRY, GET, BEGUN, "finished"),
        (InFlight.ABORT, GET, b"", "answered"),
        (InFlight.ABORT, POST, b"", "answered"),
        (InFlight.ABORT, GET, BEGUN, "cut"),
    ],
)
def test_request_sent_before_a_cutback_is_treated_as_asked(
    in_flight: InFlight, raw: bytes, response: bytes, becomes: str
) -> None:
    scene = Scene(route=TO_CANARY)
    client, origin = scene.ask(raw)
    origin.send(response)
    left = scene.publish(CUT, in_flight)
    assert left == ({"canary": 1} if becomes == "finished" else {})
    if becomes == "finished":
        origin.send(OK if not response else b"bcdefghi")
        assert status(client.received()) == 200
    elif becomes == "moved":
        assert origin.transport.aborted
        assert scene.origin.url == BLUE
        scene.origin.send(OK)
        assert client.received().endswith(b"ok")
    elif becomes == "answered":
        assert error_of(client.received()) == "cut_back"
        assert not client.closed
    else:
        assert client.transport.aborted
    assert scene.at_rest
    assert sum(sum(codes.values()) for codes in scene.codes().values()) == 1


@pytest.mark.parametrize("how", ["reset", "status", "stale"])
def test_request_that_fails_after_a_cutback_never_goes_back_to_what_was_cut(how: str) -> None:
    scene = Scene(route=retrying(), upstreams=TWO)
    if how == "stale":
        kept(scene)
    client, _ = scene.ask()
    scene.publish(CUT)
    fail(scene, "reset" if how == "stale" else how)
    assert scene.origin.url == BLUE
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert scene.at_rest


def test_stable_itself_closed_leaves_nowhere_to_retry() -> None:
    scene = Scene(route=retrying(), upstreams=TWO)
    client, origin = scene.ask()
    scene.publish(Live(weights=(("blue", 0.0), ("canary", 0.0))))
    origin.reset()
    assert error_of(client.received()) == "no_endpoint"
    assert scene.at_rest


# A configuration that changes under requests


def test_request_that_fails_after_a_reload_is_retried_and_counted_by_the_new_one() -> None:
    """Indexes of routes and upstreams mean other things there."""
    first = {"match": {"path": "/first"}, "stable": "blue", "weights": {"blue": 1}}
    shop = {"stable": "blue", **retrying()}
    scene = Scene(routes={"first": first, "shop": shop}, upstreams=TWO)
    client, origin = scene.ask()
    scene.adopt(routes={"shop": shop}, upstreams={"canary": TWO["canary"], "blue": TWO["blue"]})
    origin.reset()
    assert {origin.url, scene.origin.url} == CANARIES
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert scene.at_rest
    assert scene.codes() == {("shop", "canary"): {200: 1}}


def test_request_whose_route_a_reload_removed_is_not_retried() -> None:
    scene = Scene(route=retrying(), upstreams=TWO)
    client, origin = scene.ask()
    scene.adopt(routes={"other": {"stable": "blue", "weights": {"blue": 1}}}, upstreams={"blue": TWO["blue"]})
    origin.reset()
    assert error_of(client.received()) == "no_endpoint"
    assert scene.at_rest
    assert scene.codes() == {("shop", "canary"): {503: 1}}


def test_request_in_line_for_an_endpoint_that_a_reload_removed_is_decided_again() -> None:
    scene = Scene(hold=True)
    client = scene.client().send(GET)
    scene.adopt(upstreams={"blue": {"endpoints": ["http://10.0.0.9:9"]}})
    scene.connect()
    scene.connect()
    assert [origin.closed for origin in scene.origins] == [True, False]
    assert scene.origins[0].received() == b""
    scene.origins[1].send(OK)
    assert status(client.received()) == 200
    assert scene.at_rest


def test_request_in_line_whose_route_is_gone_gets_no_route() -> None:
    scene = Scene(hold=True)
    client = scene.client().send(GET)
    scene.adopt(route={"match": {"path": "/other"}}, upstreams={"blue": {"endpoints": ["http://10.0.0.9:9"]}})
    assert error_of(client.received()) == "no_route"
    assert scene.at_rest
