"""Whatever happens to requests, in whatever order: each counts in one circuit breaker at most, and its place is free again once."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import shared
from proxy.breaker import Breakers
from proxy.control import Publish
from routing.snapshot import Endpoints
from tests.proxy.fakes import BLUE, Scene
from tests.proxy.test_exchange_orders import CANARIES, EVENTS, RAWS, act

REQUESTS, WAITING = 2, 1
BREAKER = {"requests": REQUESTS, "waiting": WAITING}
UPSTREAMS: dict[str, Any] = {
    "blue": {"endpoints": [BLUE], "circuit_breaker": BREAKER},
    "canary": {**CANARIES, "circuit_breaker": BREAKER},
}
# Another order, and the canary has none: what is under way there counts no more.
OTHERS: dict[str, Any] = {"canary": CANARIES, "blue": UPSTREAMS["blue"]}
DRAINED = Endpoints(drained=frozenset(CANARIES["endpoints"]))
OURS = st.sampled_from(["with", "without", "drained", "enabled"])


def change(scene: Scene, event: str) -> None:
    if event in ("with", "without"):
        scene.adopt(upstreams=UPSTREAMS if event == "with" else OTHERS)
    else:
        live = DRAINED if event == "drained" else Endpoints()
        scene.plane.apply(Publish(2, {}, endpoints={"canary": live}))
        scene.settle()


def check(scene: Scene) -> None:
    """Each breaker counts exactly those that hold a place in it, and never too many."""
    for breaker in scene.plane.breakers.by_upstream.values():
        held = [exchange for exchange in scene.plane.active if exchange.breaker is breaker]
        assert (breaker.requests, breaker.waiting) == (len(held), sum(exchange.waiting for exchange in held))
        assert breaker.requests <= REQUESTS
        assert breaker.waiting <= WAITING


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(RAWS), min_size=3, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.one_of(EVENTS.map(lambda events: events[:4]), OURS)), max_size=12),
    st.booleans(),
)
def test_every_place_is_free_again_once_whatever_happens_in_whatever_order(
    raws: list[bytes], steps: list[tuple[int, list[str] | str]], slow: bool
) -> None:
    fd = shared.create(2)
    scene = Scene(
        route={"weights": {"canary": 1}, "retry": {"attempts": 1, "on": ["connect", "reset", 503]}},
        upstreams=UPSTREAMS,
        hold=slow,
        limits={"per_endpoint": 2},
        breakers=Breakers(fd, 0, 2),
    )
    other = Breakers(fd, 1, 2)
    os.close(fd)
    clients, clock = [scene.client().send(raw) for raw in raws], [0.0]
    check(scene)
    for at, events in steps:
        for event in [events] if isinstance(events, str) else events:
            if isinstance(events, str):
                change(scene, event)
            else:
                act(scene, clients[at % len(clients)], event, clock)
            check(scene)
    for client in clients:
        client.transport.stuck = False
        client.take()
        client.reset()
    while scene.dials:
        scene.connect()
    assert scene.at_rest
    check(scene)
    scene.adopt(upstreams=UPSTREAMS)
    for breaker in other.adopt(scene.plane.snapshot.upstreams).values():
        assert [breaker.enter(in_line=False) for _ in range(REQUESTS + 1)] == [True] * REQUESTS + [False]
