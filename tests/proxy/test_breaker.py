"""Circuit breakers: limits of an upstream over all workers, where requests beyond them go, and when a place is free again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import shared
from proxy.breaker import Breaker, Breakers
from proxy.control import InFlight, Publish
from proxy.errors import ErrorKind
from proxy.shared import ClientCounts
from routing.snapshot import Endpoints, Live, Upstream
from tests.proxy.fakes import BLUE, CANARY, GET, OK, End, Scene, error_of, request, snapshot_of, status

TO_CANARY = {"weights": {"canary": 1}}
OTHER = "http://10.0.0.3:8003"


def upstreams_of(**limits: dict[str, int] | None) -> tuple[Upstream, ...]:
    upstreams = {
        name: {"endpoints": [BLUE], **({} if limit is None else {"circuit_breaker": limit})}
        for name, limit in limits.items()
    }
    return snapshot_of(upstreams={"blue": {"endpoints": [BLUE]}} | upstreams).upstreams


def gateway_of(workers: int) -> list[Breakers]:
    fd = shared.create(workers)
    breakers = [Breakers(fd, number, workers) for number in range(workers)]
    for number in range(workers):
        ClientCounts(fd, number, workers).enter("192.0.2.1", 5)  # what else is counted there
    os.close(fd)
    return breakers


# Counting


def test_limit_holds_over_all_workers() -> None:
    workers = gateway_of(2)
    one, two = (worker.adopt(upstreams_of(blue={"requests": 3}))["blue"] for worker in workers)
    assert [breaker.enter(in_line=False) for breaker in (one, two, one)] == [True] * 3
    assert [breaker.enter(in_line=False) for breaker in (one, two)] == [False] * 2
    two.leave()
    assert [breaker.enter(in_line=False) for breaker in (one, two)] == [True, False]


def test_those_in_line_have_a_limit_of_their_own_until_they_are_served() -> None:
    one, two = (worker.adopt(upstreams_of(blue={"waiting": 1}))["blue"] for worker in gateway_of(2))
    assert one.enter(in_line=True)
    assert not two.enter(in_line=True)
    assert two.enter(in_line=False)
    one.served()
    assert two.enter(in_line=True)
    assert (one.requests, one.waiting, two.requests, two.waiting) == (1, 0, 2, 1)


def test_worker_that_takes_the_place_of_a_dead_one_begins_with_none() -> None:
    fd = shared.create(2)
    upstreams = upstreams_of(blue={"requests": 2})
    one, dead = (Breakers(fd, number, 2).adopt(upstreams)["blue"] for number in range(2))
    assert dead.enter(in_line=False)
    assert dead.enter(in_line=False)
    assert not one.enter(in_line=False)
    Breakers(fd, 1, 2)
    os.close(fd)
    assert [one.enter(in_line=False) for _ in range(3)] == [True, True, False]


def test_upstreams_are_counted_apart() -> None:
    [worker] = gateway_of(1)
    breakers = worker.adopt(upstreams_of(blue={"requests": 1}, canary=None, green={"requests": 1}))
    assert list(breakers) == ["blue", "green"]
    assert [breaker.enter(in_line=False) for breaker in breakers.values()] == [True, True]


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["enter", "wait", "served", "leave", "adopt", "die"]), st.integers(0, 9)
    ),
    max_size=60,
)
# Upstreams come and go, change their order and their limits.
SNAPSHOTS = [
    upstreams_of(blue={"requests": 2, "waiting": 1}, green={"requests": 3}),
    upstreams_of(green={"requests": 1}, blue={"requests": 4, "waiting": 2}),
    upstreams_of(red={"requests": 1}, blue={"waiting": 1}),
    upstreams_of(),
]


@given(STEPS)
def test_sum_is_what_is_there_and_never_beyond_the_limit_in_whatever_order(steps: list[tuple[int, str, int]]) -> None:
    """Three workers, all of the same configuration: what each has entered, by breaker and whether in line."""
    fd, number = shared.create(3), 0
    workers = [Breakers(fd, each, 3) for each in range(3)]
    held: list[list[list[Any]]] = [[], [], []]
    for worker in workers:
        worker.adopt(SNAPSHOTS[0])
    for at, what, choice in steps:
        breakers = list(workers[at].by_upstream.values())
        if what in ("enter", "wait") and breakers:
            chosen = breakers[choice % len(breakers)]
            limit = next(u.circuit_breaker for u in SNAPSHOTS[number] if u.name == chosen.upstream)
            assert limit is not None
            there = [[one for one in each if one[0] in by_name(workers, chosen.upstream)] for each in held]
            under_way, in_line = sum(map(len, there)), sum(one[1] for each in there for one in each)
            room = not limit.requests or under_way < limit.requests
            room = room and (what == "enter" or not limit.waiting or in_line < limit.waiting)
            assert chosen.enter(in_line=what == "wait") == room
            if room:
                held[at].append([chosen, what == "wait"])
        elif what in ("served", "leave") and held[at]:
            one = held[at][choice % len(held[at])]
            if one[1]:
                one[0].served()
                one[1] = False
            if what == "leave":
                one[0].leave()
                held[at].remove(one)
        elif what == "adopt":
            number = choice % len(SNAPSHOTS)
            for worker in workers:
                worker.adopt(SNAPSHOTS[number])
        elif what == "die":
            workers[at], held[at] = Breakers(fd, at, 3), []
            workers[at].adopt(SNAPSHOTS[number])
        for worker, there_of_it in zip(workers, held, strict=True):
            for breaker in worker.by_upstream.values():
                own = [one for one in there_of_it if one[0] is breaker]
                assert (breaker.requests, breaker.waiting) == (len(own), sum(one[1] for one in own))
    os.close(fd)


def by_name(workers: list[Breakers], name: str) -> Iterator[Breaker]:
    return (worker.by_upstream[name] for worker in workers)


# Requests


def scene_of(limits: dict[str, int], *, stable: dict[str, int] | None = None, **settings: Any) -> Scene:
    """All requests are for a canary with these limits."""
    blue: dict[str, Any] = {"endpoints": [BLUE]}
    if stable is not None:
        blue["circuit_breaker"] = stable
    settings.setdefault("route", TO_CANARY)
    return Scene(
        upstreams={"blue": blue, "canary": {"endpoints": [CANARY], "circuit_breaker": limits}},
        **settings,
    )


def ask(scene: Scene, request: bytes = GET) -> tuple[End, End]:
    """A new client sends a request; it and the upstream's end that got it, over whichever connection."""
    for origin in scene.origins:
        origin.received()
    client = scene.client().send(request)
    [origin] = [origin for origin in scene.origins if origin.received()]
    return client, origin


def place_of(scene: Scene, upstream: str = "canary") -> tuple[int, int]:
    breaker = scene.plane.breakers.by_upstream[upstream]
    return breaker.requests, breaker.waiting


def test_requests_beyond_go_to_stable_and_are_counted() -> None:
    scene = scene_of({"requests": 2})
    asked = [ask(scene) for _ in range(4)]
    assert [origin.url for _, origin in asked] == [CANARY, CANARY, BLUE, BLUE]
    assert (scene.count("circuit_overflow", "canary"), scene.count("failovers", "shop")) == (2, 2)
    client, origin = asked.pop(0)
    origin.send(OK)
    assert status(client.received()) == 200
    asked.append(ask(scene))
    assert asked[-1][1].url == CANARY
    for client, origin in asked:
        origin.send(OK)
        assert status(client.received()) == 200
    assert scene.codes() == {("shop", "canary"): {200: 3}, ("shop", "blue"): {200: 2}}


def test_requests_of_other_workers_count() -> None:
    fd = shared.create(2)
    other = Breakers(fd, 1, 2)
    scene = scene_of({"requests": 1}, breakers=Breakers(fd, 0, 2))
    os.close(fd)
    breaker = other.adopt(scene.plane.snapshot.upstreams)["canary"]
    assert breaker.enter(in_line=False)
    assert ask(scene)[1].url == BLUE
    breaker.leave()
    assert ask(scene)[1].url == CANARY
    assert not breaker.enter(in_line=False)


@pytest.mark.parametrize("how", ["stable", "both", "closed"])
def test_where_there_is_no_way_the_answer_is_503_at_once(how: str) -> None:
    if how == "stable":
        scene = scene_of({"requests": 9}, stable={"requests": 1}, route={})
    else:
        scene = scene_of({"requests": 1}, stable={"requests": 1})
    if how == "closed":
        scene.publish(Live(weights=(("canary", 1.0), ("blue", 0.0))))
    first = ask(scene)
    if how == "both":
        assert ask(scene)[1].url == BLUE
    answer = scene.client().send(GET).received()
    assert (status(answer), error_of(answer)) == (503, "overloaded")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert scene.count("failovers", "shop") == (2 if how == "both" else 0)
    opened = {"stable": (0, 1), "both": (2, 1), "closed": (1, 0)}[how]
    assert (scene.count("circuit_overflow", "canary"), scene.count("circuit_overflow", "blue")) == opened
    first[1].send(OK)
    assert ask(scene)[1].url == first[1].url


def test_upstream_without_endpoints_in_rotation_has_its_limit_all_the_same() -> None:
    """Those of a stable that fails open, and those that come to it from a canary."""
    scene = scene_of({"requests": 9}, stable={"requests": 1})
    gone = {"canary": Endpoints(unhealthy=frozenset({CANARY})), "blue": Endpoints(unhealthy=frozenset({BLUE}))}
    scene.plane.apply(Publish(2, {}, endpoints=gone))
    assert ask(scene)[1].url == BLUE
    assert error_of(scene.client().send(GET).received()) == "overloaded"
    assert (place_of(scene), place_of(scene, "blue")) == ((0, 0), (1, 0))


def test_those_in_line_have_their_own_limit() -> None:
    scene = scene_of({"waiting": 1}, hold=True)
    first, second = scene.client().send(GET), scene.client().send(GET)
    assert (scene.dialled, place_of(scene)) == ([CANARY, BLUE], (1, 1))
    scene.connect()
    assert place_of(scene) == (1, 0)
    scene.connect()
    third = scene.client().send(GET)
    assert (scene.dialled, place_of(scene)) == ([CANARY, BLUE, CANARY], (2, 1))
    scene.connect()
    for origin in scene.origins:
        origin.send(OK)
    assert [status(client.received()) for client in (first, second, third)] == [200] * 3
    fourth = scene.client().send(GET), scene.client().send(GET), scene.client().send(GET)
    assert place_of(scene) == (3, 1)  # two connections idled, one has to be made
    assert fourth[0].received() == b""


ENDS = {
    "answered": lambda scene, client, origin: origin.send(OK),
    "client gone": lambda scene, client, origin: client.reset(),
    "upstream gone": lambda scene, client, origin: origin.reset(),
    "no answer": lambda scene, client, origin: scene.pass_time(31),
    "bad answer": lambda scene, client, origin: origin.send(b"\x00\r\n\r\n"),
    "half an answer": lambda scene, client, origin: origin.send(OK[:-1]).reset(),
    "bad body": lambda scene, client, origin: client.send(b"zz\r\n"),
    "aborted": lambda scene, client, origin: scene.publish(in_flight=InFlight.ABORT),
    "set right": lambda scene, client, origin: scene.publish(in_flight=InFlight.RETRY),
}


@pytest.mark.parametrize("how", ENDS)
def test_place_is_free_again_however_the_request_ends(how: str) -> None:
    scene = scene_of({"requests": 1})
    body = how == "bad body"
    client, origin = ask(
        scene, request(b"Transfer-Encoding: chunked", method=b"POST", body=b"1\r\nx\r\n") if body else GET
    )
    assert place_of(scene) == (1, 0)
    ENDS[how](scene, client, origin)
    assert place_of(scene) == (0, 0)


@pytest.mark.parametrize("how", ["refused", "client gone", "too late", "cut back", "drained"])
def test_place_in_line_is_free_again_however_the_wait_ends(how: str) -> None:
    scene = scene_of({"requests": 1, "waiting": 1}, hold=True)
    client = scene.client().send(GET)
    assert place_of(scene) == (1, 1)
    if how == "refused":
        scene.connect(ErrorKind.CONNECT)
    elif how == "client gone":
        client.reset()
    elif how == "too late":
        scene.pass_time(10)
    elif how == "cut back":
        scene.publish()
    else:
        scene.plane.apply(Publish(2, {}, endpoints={"canary": Endpoints(drained=frozenset({CANARY}))}))
    assert place_of(scene) == (0, 0)


def test_place_is_held_by_an_upgraded_connection_until_it_ends() -> None:
    scene = scene_of({"requests": 1})
    client, origin = ask(scene, request(b"Connection: upgrade", b"Upgrade: websocket"))
    origin.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert place_of(scene) == (1, 0)
    assert ask(scene)[1].url == BLUE
    client.finish()
    assert place_of(scene) == (0, 0)


def retried(scene: Scene) -> tuple[End, End]:
    """A request whose first attempt was answered 503."""
    client, origin = ask(scene)
    origin.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    return client, scene.origin


def test_retry_counts_where_it_goes() -> None:
    retry = {"attempts": 1, "on": [503]}
    two = {"endpoints": [CANARY, OTHER], "circuit_breaker": {"requests": 1}}
    scene = Scene(
        upstreams={"blue": {"endpoints": [BLUE], "circuit_breaker": {"requests": 1}}, "canary": two},
        route={**TO_CANARY, "retry": retry},
    )
    _, second = retried(scene)
    assert second.url in (CANARY, OTHER)
    assert (place_of(scene), place_of(scene, "blue")) == ((1, 0), (0, 0))  # at its other endpoint, once
    second.send(OK)
    scene = scene_of({"requests": 1}, stable={"requests": 1}, route={**TO_CANARY, "retry": retry})
    _, second = retried(scene)
    assert (second.url, place_of(scene), place_of(scene, "blue")) == (BLUE, (0, 0), (1, 0))
    client, origin = ask(scene)
    origin.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")  # and stable has no room for another
    assert error_of(client.received()) == "overloaded"
    assert (place_of(scene), place_of(scene, "blue")) == ((0, 0), (1, 0))


def test_limits_change_with_a_reload_and_requests_from_before_go_on_counting() -> None:
    scene = scene_of({"requests": 2})
    kept = [ask(scene) for _ in range(2)]
    canary = {"endpoints": [CANARY], "circuit_breaker": {"requests": 3}}
    first = {"endpoints": [OTHER], "circuit_breaker": {"requests": 1}}
    scene.adopt(upstreams={"green": first, "blue": {"endpoints": [BLUE]}, "canary": canary})
    assert place_of(scene) == (2, 0)
    assert [ask(scene)[1].url for _ in range(2)] == [CANARY, BLUE]
    for _, origin in kept:
        origin.send(OK)
    assert place_of(scene) == (1, 0)
    scene.adopt(upstreams={"blue": {"endpoints": [BLUE]}, "canary": {"endpoints": [CANARY]}})
    assert [ask(scene)[1].url for _ in range(5)] == [CANARY] * 5
    assert scene.plane.breakers.by_upstream == {}


def test_upstream_without_a_breaker_is_not_limited() -> None:
    scene = Scene(route=TO_CANARY)
    assert {ask(scene)[1].url for _ in range(50)} == {CANARY}


def test_place_is_free_again_where_the_line_for_an_endpoint_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.pool.MAX_WAITING", 1)
    scene = scene_of({"requests": 5}, hold=True)
    first, second = scene.client().send(GET), scene.client().send(GET)
    assert error_of(second.received()) == "overloaded"
    assert place_of(scene) == (1, 1)
    scene.connect()
    scene.origin.send(OK)
    assert status(first.received()) == 200
    assert place_of(scene) == (0, 0)
