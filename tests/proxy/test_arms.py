"""What a rollout is judged by: which requests count, for which upstream, and as what."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.arms import MAX_KEYS
from proxy.control import Arm, InFlight, Publish
from proxy.errors import ErrorKind
from proxy.stats import EDGES
from routing.snapshot import CutbackMode, Endpoints, Live
from tests.proxy.fakes import BLUE, CANARY, GET, OK, Scene, request, status

TO_CANARY: dict[str, Any] = {"weights": {"canary": 1}}
RETRYING: dict[str, Any] = {**TO_CANARY, "retry": {"attempts": 2, "on": ["connect", "reset", 503]}}
JUDGED = Live(judged=True)
FAILED = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"
BY_HEADER: dict[str, Any] = {"weights": {"blue": 1, "canary": 1}, "sticky": {"header": "X-User"}}


def judged(route: dict[str, Any] | None = None, **settings: Any) -> Scene:
    scene = Scene(route=TO_CANARY if route is None else route, **settings)
    scene.publish(JUDGED)
    return scene


def arms(scene: Scene) -> dict[str, Arm]:
    """By upstream, since the last call."""
    return {arm.upstream: arm for arm in scene.plane.arms.take()}


def told(scene: Scene) -> dict[str, tuple[int, int]]:
    """(requests, bad) by upstream."""
    return {name: (arm.requests, arm.bad) for name, arm in arms(scene).items()}


def test_request_counts_at_its_end_with_its_latency() -> None:
    scene = judged()
    _, origin = scene.ask()
    assert arms(scene) == {}
    origin.send(OK)
    arm = arms(scene)["canary"]
    assert (arm.route, arm.requests, arm.bad, arm.keys, arm.unlisted) == ("shop", 1, 0, (), 0)
    [(bucket, count)] = arm.buckets.items()
    assert count == 1
    assert EDGES[bucket] < 60
    assert arms(scene) == {}


def test_nothing_is_counted_of_a_route_that_is_not_judged() -> None:
    scene = Scene(route=TO_CANARY)
    scene.ask()[1].send(FAILED)
    scene.publish(JUDGED)
    scene.publish(Live())
    scene.ask()[1].send(OK)
    assert arms(scene) == {}


def test_what_the_upstream_answers_with_5xx_is_bad_and_what_it_answers_with_4xx_is_not() -> None:
    scene = judged()
    for code, bad in ((500, 1), (503, 1), (404, 0), (429, 0), (200, 0)):
        scene.ask()[1].send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code)
        assert told(scene) == {"canary": (1, bad)}, code


def test_tunnel_counts_without_a_latency() -> None:
    scene = judged()
    client, origin = scene.ask(request(b"Connection: upgrade", b"Upgrade: websocket"))
    origin.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.reset()
    arm = arms(scene)["canary"]
    assert (arm.requests, arm.bad, arm.buckets) == (1, 0, {})


# What is the upstream's failure


def refuse(scene: Scene) -> None:
    scene.hold = True
    scene.client().send(GET)
    scene.connect(ErrorKind.CONNECT)


def reset(scene: Scene) -> None:
    scene.ask()[1].reset()


def break_off(scene: Scene) -> None:
    scene.ask()[1].send(BEGUN).reset()


def fall_silent(scene: Scene) -> None:
    scene.ask()
    scene.pass_time(40)


def fall_silent_half_way(scene: Scene) -> None:
    scene.ask()[1].send(BEGUN)
    scene.pass_time(100)


def talk_rubbish(scene: Scene) -> None:
    scene.ask()[1].send(b"\x00\x00\r\n\r\n")


def have_no_room(scene: Scene) -> None:
    scene.hold = True
    scene.client().send(GET)
    scene.pass_time(40)


def be_left_in_the_middle_of_a_5xx(scene: Scene) -> None:
    client, origin = scene.ask()
    origin.send(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\na")
    client.reset()


def be_ill(scene: Scene) -> None:
    scene.plane.apply(Publish(3, {}, endpoints={"canary": Endpoints(unhealthy=frozenset({CANARY}))}))
    assert status(scene.answered(OK)) == 200  # by stable, where it does not count


@pytest.mark.parametrize(
    "happens",
    [
        refuse,
        reset,
        break_off,
        fall_silent,
        fall_silent_half_way,
        talk_rubbish,
        have_no_room,
        be_left_in_the_middle_of_a_5xx,
        be_ill,
    ],
)
def test_failure_of_the_upstream_is_bad(happens: Any) -> None:
    scene = judged()
    happens(scene)
    [arm] = scene.plane.arms.take()
    assert (arm.upstream, arm.requests, arm.bad, arm.buckets) == ("canary", 1, 1, {})
    assert (arm.keys, arm.unlisted) == ((), 0)


# What says nothing of the upstream


def leave_early(scene: Scene) -> None:
    scene.ask()[0].reset()


def leave_half_way(scene: Scene) -> None:
    client, origin = scene.ask()
    origin.send(BEGUN)
    client.reset()


def leave_the_line(scene: Scene) -> None:
    scene.hold = True
    scene.client().send(GET).reset()
    scene.connect()


def send_half_a_body(scene: Scene) -> None:
    scene.ask(request(b"Content-Length: 9", method=b"POST", body=b"x"))
    scene.pass_time(100)


def break_the_body(scene: Scene) -> None:
    client, _ = scene.ask(request(b"Transfer-Encoding: chunked", method=b"POST", body=b"1\r\nx\r\n"))
    client.send(b"zz\r\n")


def take_nothing(scene: Scene) -> None:
    client, origin = scene.ask()
    client.transport.stuck = True
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 200_000)
    scene.pass_time(100)  # so much is in its buffer,
    scene.pass_time(200)  # and it is as much as before
    assert client.transport.aborted


def be_cut_back(scene: Scene) -> None:
    scene.ask()
    scene.publish(Live(cutback=CutbackMode.CUT, judged=True), InFlight.ABORT)


def be_taken_to_stable(scene: Scene) -> None:
    client, _ = scene.ask()
    scene.publish(Live(cutback=CutbackMode.CUT, judged=True), InFlight.RETRY)
    scene.origin.send(OK)
    assert status(client.received()) == 200


def be_drained(scene: Scene) -> None:
    drain(scene, "canary", "blue")
    assert status(scene.client().send(GET).received()) == 503


@pytest.mark.parametrize(
    "happens",
    [
        leave_early,
        leave_half_way,
        leave_the_line,
        send_half_a_body,
        break_the_body,
        take_nothing,
        be_cut_back,
        be_taken_to_stable,
        be_drained,
    ],
)
def test_what_says_nothing_of_the_upstream_counts_nowhere(happens: Any) -> None:
    scene = judged()
    happens(scene)
    assert scene.at_rest
    assert told(scene) == {}


# Where it counts


def test_retried_request_counts_against_the_upstream_that_failed_it_first_and_at_once() -> None:
    scene = judged(RETRYING)
    client, origin = scene.ask()
    origin.send(FAILED)
    assert told(scene) == {"canary": (1, 1)}
    assert scene.origin.url == BLUE
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert told(scene) == {}


def test_stale_connection_is_nobodys_failure() -> None:
    scene = judged()
    client, origin = scene.ask()
    origin.send(OK)
    client.received()
    client.send(GET)
    origin.finish()
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert told(scene) == {"canary": (2, 0)}


def test_request_that_a_rule_a_cutback_or_a_limit_decided_does_not_count() -> None:
    rule = {"when": {"header": {"x-beta": "1"}}, "send": "canary"}
    scene = judged({"rules": [rule], "rate_limit": {"rate": "2/h"}})
    scene.ask(request(b"X-Beta: 1"))[1].send(FAILED)
    scene.publish(Live(cutback=CutbackMode.CUT, judged=True))
    scene.ask()[1].send(FAILED)
    assert status(scene.client().send(GET).received()) == 429
    assert told(scene) == {}


@pytest.mark.parametrize("how", ["weights", "cutback", "drained"])
def test_request_decided_again_before_it_was_sent_counts_where_it_went(how: str) -> None:
    scene = judged(hold=True)
    client = scene.client().send(GET)
    if how == "weights":
        scene.publish(Live((("blue", 1.0), ("canary", 0.0)), judged=True))
    elif how == "cutback":
        scene.publish(Live(cutback=CutbackMode.CUT, judged=True))
    else:
        drain(scene, "canary")
    while scene.dials:
        scene.connect()
    scene.origin.send(OK)
    assert status(client.received()) == 200
    assert told(scene) == ({} if how == "cutback" else {"blue": (1, 0)})


def drain(scene: Scene, *names: str) -> None:
    urls = {"canary": CANARY, "blue": BLUE}
    scene.plane.apply(Publish(3, {}, endpoints={name: Endpoints(drained=frozenset({urls[name]})) for name in names}))
    scene.settle()


# Sticky clients


def fail_for(scene: Scene, user: bytes) -> None:
    scene.ask(request(b"X-User: " + user))[1].send(FAILED)


def test_clients_behind_failures_are_named_once_each() -> None:
    scene = judged(BY_HEADER)
    for user in (b"ann", b"ann", b"bob", b"ann"):
        fail_for(scene, user)
    found = scene.plane.arms.take()
    assert sum(arm.bad for arm in found) == 4
    assert sum(arm.unlisted for arm in found) == 0
    assert len({key for arm in found for key in arm.keys}) == sum(len(arm.keys) for arm in found) == 2


def test_client_is_the_same_one_where_weights_leave_no_choice() -> None:
    scene = judged(BY_HEADER)
    fail_for(scene, b"ann")
    [before] = scene.plane.arms.take()
    scene.publish(Live((("canary", 1.0), ("blue", 0.0)), judged=True))
    fail_for(scene, b"ann")
    assert arms(scene)["canary"].keys == before.keys


def test_client_without_a_mark_is_somebody_new_each_time() -> None:
    scene = judged(BY_HEADER)
    for _ in range(4):
        scene.ask()[1].send(FAILED)
    assert sum(len(arm.keys) for arm in scene.plane.arms.take()) == 4


def test_keys_are_bounded_and_what_is_beyond_is_counted() -> None:
    scene = judged({**TO_CANARY, "sticky": {"header": "X-User"}}, limits={"requests_per_connection": 0})
    client = scene.client()
    for user in (*range(MAX_KEYS + 5), 0):  # the last one is known
        client.send(request(b"X-User: %d" % user))
        scene.origin.send(FAILED)
    arm = arms(scene)["canary"]
    assert (arm.bad, len(arm.keys), arm.unlisted) == (MAX_KEYS + 6, MAX_KEYS, 5)
