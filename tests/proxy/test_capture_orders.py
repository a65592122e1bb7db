"""Whatever happens to a copied request, in whatever order: the client and the upstreams get what they would get without a shadow,
the shadow process hears of each capture's end once, and nothing of it is left over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.capture import MAX_UNSENT, Outbox
from proxy.capture_frames import Frames
from routing.snapshot import Live
from tests.proxy.fakes import OK, Scene, Transport, request
from tests.proxy.test_capture import UPSTREAMS, Copied, Gone, Tapped, read
from tests.proxy.test_exchange_orders import act
from tests.support.wire import parse_head

SHADOW: dict[str, Any] = {"upstream": "next", "percent": 100, "methods": ["GET", "PUT", "POST"], "max_body": 10}
# With both, the gateway makes up nothing of its own: two runs can be compared.
NAMED = (b"X-Request-Id: 1", b"traceparent: 00-1-1-00")


def put(*parts: bytes, framing: bytes = b"Transfer-Encoding: chunked") -> tuple[bytes, ...]:
    return (request(framing, *NAMED, method=b"PUT") + parts[0], *parts[1:])


@pytest.mark.parametrize(
    "parts",
    [
        put(b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"),
        put(b"2\r\nab\r\n1\r\nc\r\n", b"0\r\n\r\n"),
        put(b"ab", b"c", framing=b"Content-Length: 3"),
    ],
)
def test_body_whose_first_part_came_with_its_head_is_copied_once(parts: tuple[bytes, ...]) -> None:
    scene = Tapped(shadow=SHADOW)
    client, _ = scene.ask(parts[0])
    client.send(*parts[1:])
    [copied] = scene.copies()
    assert isinstance(copied, Copied)
    assert copied.body == b"abc"


def test_request_that_grew_too_large_while_it_waited_for_a_connection_is_refused_and_not_copied() -> None:
    scene = Tapped(shadow=SHADOW)
    scene.adopt(route={"shadow": SHADOW}, upstreams=UPSTREAMS, limits={"body": 3})
    scene.hold = True
    client = scene.client().send(put(b"2\r\nab\r\n")[0])
    client.send(b"2\r\ncd\r\n0\r\n\r\n")
    scene.connect()
    assert b" 413 " in client.received()
    assert scene.origin.received() == b""
    assert scene.copies() == []
    assert scene.dropped() == {}
    assert not scene.plane.active


def test_request_that_the_gateway_refuses_half_way_is_not_copied() -> None:
    scene = Tapped(shadow=SHADOW)
    scene.adopt(route={"shadow": SHADOW}, upstreams=UPSTREAMS, limits={"body": 3})
    client, _ = scene.ask(put(b"2\r\nab\r\n")[0])
    client.send(b"2\r\ncd\r\n0\r\n\r\n")
    assert b" 413 " in client.received()
    assert scene.copies() == []
    assert scene.dropped() == {"no_primary": 1}


def test_shadow_process_that_stops_reading_costs_no_more_than_the_bound() -> None:
    """Captures begun before it stopped end as well, each with an answer."""
    size = 64 * 1024
    scene = Tapped(shadow={**SHADOW, "max_body": size})
    asked = [scene.ask(request(*NAMED)) for _ in range(200)]
    scene.pipe.stuck = True
    scene.pipe.protocol = asyncio.Protocol()
    body = b"x" * size
    for client, origin in asked:
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, body)
        assert client.received().endswith(body)
    assert scene.pipe.buffered < MAX_UNSENT + 2 * size
    gone = [copy for copy in scene.copies() if isinstance(copy, Gone)]
    assert {each.why for each in gone} == {"queue_full"}
    assert scene.plane.tap.held == 0


def test_bodies_that_end_when_the_shadow_process_has_stopped_reading_are_not_sent() -> None:
    scene = Tapped(credits=1, shadow=SHADOW)
    client, origin = scene.ask(put(b"2\r\nab\r\n")[0])
    scene.pipe.buffered = MAX_UNSENT + 1
    client.send(b"0\r\n\r\n")
    origin.send(OK)
    assert client.received().endswith(b"ok")
    assert scene.copies() == []
    assert scene.dropped() == {"queue_full": 1}
    scene.pipe.buffered = 0
    scene.ask(put(b"0\r\n\r\n")[0])
    assert len(scene.copies()) == 1  # the credit came back


def test_host_of_any_length_is_copied() -> None:
    scene = Tapped()
    scene.adopt(route={"shadow": SHADOW}, upstreams=UPSTREAMS, limits={"request_head": 200_000})
    host = b"a" * 70_000
    client, origin = scene.ask(request(b"Host: " + host))
    origin.send(OK)
    assert client.received().endswith(b"ok")
    copied = scene.copies()[0]
    assert isinstance(copied, Copied)
    assert copied.host == host


@pytest.mark.parametrize("method", [b"PUT", b"GET"])
@pytest.mark.parametrize("role", ["upstream", "control"])
def test_write_is_not_done_twice_by_an_upstream_that_serves_and_is_a_shadow(method: bytes, role: str) -> None:
    """Reading twice does no harm, and keeps the shadow's load what it was."""
    shadow = {**SHADOW, "upstream": "canary"} if role == "upstream" else {**SHADOW, "control": "canary"}
    scene = Tapped(shadow=shadow, weights={"canary": 1})
    _, origin = scene.ask(request(method=method))
    assert origin.url.endswith("8002")
    assert len(scene.copies()) == (method == b"GET")
    assert scene.dropped() == ({"unsafe_method": 1} if method == b"PUT" else {})


def test_frames_not_written_yet_are_forgotten_with_the_connection() -> None:
    """uvloop raises where something is written to a connection that is gone."""
    scene = Tapped()
    flushes: list[Any] = []
    scene.plane.tap.opened(Outbox(scene.pipe, flushes.append))
    scene.plane.tap.credited("shop", 1, False)
    scene.ask()
    scene.plane.tap.lost()
    for flush in flushes:
        flush()
    assert scene.copies() == []


RAWS = [
    (request(*NAMED),),
    (request(*NAMED) * 3,),
    (request(*NAMED, method=b"HEAD") + request(*NAMED),),
    (request(*NAMED, version=b"1.0"),),
    (request(b"Content-Length: 1", *NAMED, method=b"POST", body=b"x") + request(*NAMED),),
    (request(b"Content-Length: 11", *NAMED, method=b"PUT", body=b"x" * 11),),
    put(b"", b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"),
    put(b"2\r\nab\r\n", b"9\r\n123456789\r\n", b"0\r\n\r\n" + request(*NAMED)),
    put(b"ab", b"c", framing=b"Content-Length: 3"),
    (request(b"Connection: upgrade", b"Upgrade: websocket", *NAMED),),
    (request(b"X-Headgate-Shadow: 1", *NAMED),),
]
OF_EXCHANGE = [
    *("connect", "refuse", "client sends", "client breaks", "client leaves", "client resets", "client stuck"),
    *("client reads", "head", "part", "end", "garbage", "interim", "upstream closes", "upstream resets"),
    *("upstream stuck", "upstream reads", "time", "cut", "cut retry", "cut abort", "restore", "drain"),
]
MORE = [
    "more of the request",
    "more of the request",
    "continue",
    "big answer",
    "whole answer",
    "unavailable",
    "other stable",
    "route gone",
]
OF_SHADOW = ["lost", "back", "credit", "credit taken", "through", "stuck", "reads"]
CHANGES: dict[str, dict[str, Any]] = {
    "small": {"max_body": 1},
    "large": {"max_body": 1000},
    "off": {"percent": 0.0},
    "reads only": {"methods": frozenset({b"GET"})},
}
EVENTS = st.lists(
    st.sampled_from(MORE) | st.sampled_from(OF_EXCHANGE) | st.sampled_from([*OF_SHADOW, *CHANGES, "no shadow"]),
    max_size=16,
)
UPSTREAM_SAYS = {
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "whole answer": OK,
    "big answer": b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + b"0123456789ab",
    "unavailable": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
}


def sent_as(copied: Copied, sent: bytes) -> bool:
    """Whether an upstream got just that request, head and body."""
    _, head, rest = sent.partition(copied.head)
    if b"Transfer-Encoding" not in head:
        length = int(parse_head(copied.head).get("Content-Length") or 0)
        return head != b"" and len(copied.body) == length and rest.startswith(copied.body)
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            return body == copied.body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return False


class World:
    """A gateway, a client, and what there is of a shadow process: `shadowed` tells whether the route has a shadow at all."""

    def __init__(self, raw: tuple[bytes, ...], first: str, hold: bool, shadowed: bool) -> None:
        self.route = {"weights": {first: 1}, "retry": {"attempts": 1, "on": ["connect", "reset", 503]}}
        if shadowed:
            self.route["shadow"] = SHADOW
        self.scene = Scene(route=self.route, upstreams=UPSTREAMS, hold=hold, limits={"per_endpoint": 2, "body": 12})
        self.shadowed = shadowed
        self.clock = [0.0]
        self.sessions: list[tuple[Transport, Frames]] = []
        self.up = False
        self.ended: set[tuple[int, int]] = set()
        self.requests: dict[tuple[int, int], Copied] = {}
        self.given = self.copied = 0
        if shadowed:
            self.act("back")
        self.client = self.scene.client().send(raw[0])
        self.rest = list(raw[1:])

    def act(self, event: str) -> None:
        scene = self.scene
        if event in OF_SHADOW:
            if self.shadowed:
                self.act_of_shadow(event)
        elif event in CHANGES or event == "no shadow":
            self.change(event)
        elif event in UPSTREAM_SAYS:
            if scene.origins:
                scene.origin.send(UPSTREAM_SAYS[event])
        elif event == "more of the request":
            if self.rest:
                self.client.send(self.rest.pop(0))
        elif event == "other stable":
            scene.adopt(route={**self.route, "stable": "canary"}, revision=3)
        elif event == "route gone":
            scene.adopt(route={**self.route, "match": {"hosts": ["elsewhere.example"]}}, revision=4)
        else:
            act(scene, self.client, event, self.clock)
        self.hear()

    def act_of_shadow(self, event: str) -> None:
        tap = self.scene.plane.tap
        if event == "back" and not self.up:
            pipe = Transport(self.scene.later, ("", 0))
            pipe.protocol = asyncio.Protocol()
            self.sessions.append((pipe, Frames()))
            self.up, self.given = True, 4
            tap.opened(Outbox(pipe, self.scene.later))
            tap.credited("shop", 4, False)
        elif event == "lost" and self.up:
            self.hear()
            self.up = False
            tap.lost()
            self.sessions[-1][0].closed = True
        elif event in ("credit", "credit taken") and self.up:
            more = 2 if event == "credit" else -3
            self.given += more
            tap.credited("shop", more, more < 0)
        elif event == "through" and self.up:
            session = len(self.sessions)
            done = [key for key in self.requests if key[0] == session and (key in self.ended or not self.compared(key))]
            for key in done:
                del self.requests[key]
            self.given -= len(done)
            tap.through("shop", len(done))
        elif event in ("stuck", "reads") and self.up:
            self.sessions[-1][0].buffered = MAX_UNSENT + 1 if event == "stuck" else 0
        self.scene.settle()

    def change(self, event: str) -> None:
        route = self.scene.plane.snapshot.routes[0]
        if event == "no shadow":
            self.scene.adopt(route={**self.route, "shadow": None})
        else:
            shadow = None if route.shadow is None else replace(route.shadow, **CHANGES[event])
            self.scene.publish(Live(cutback=route.cutback, shadow=shadow))

    def compared(self, key: tuple[int, int]) -> bool:
        return self.requests[key].compared

    def hear(self) -> None:
        """What the shadow process got: requests before their ends, each end once and only of what is compared."""
        for session, (pipe, frames) in enumerate(self.sessions, 1):
            out = bytes(pipe.out)
            pipe.out.clear()
            assert not (out and pipe.closed), "written to a connection that is gone"
            for frame in read(frames.feed(out)):
                key = (session, frame.number)
                if isinstance(frame, Copied):
                    assert key not in self.requests
                    self.requests[key] = frame
                    self.copied += 1
                    assert any(sent_as(frame, bytes(end.transport.out)) for end in self.scene.origins)
                    assert b"x-headgate-shadow" not in frame.head.lower()
                else:
                    assert key not in self.ended
                    assert self.compared(key)
                    self.ended.add(key)


@settings(max_examples=600)
@given(st.sampled_from(RAWS), EVENTS, st.booleans(), st.sampled_from(["blue", "canary"]))
def test_every_capture_ends_once_and_nobody_notices(
    raw: tuple[bytes, ...], events: list[str], hold: bool, first: str
) -> None:
    world, without = World(raw, first, hold, shadowed=True), World(raw, first, hold, shadowed=False)
    for event in events:
        world.act(event)
        without.act(event)
        assert bytes(world.client.transport.out) == bytes(without.client.transport.out)
        assert world.scene.dialled == without.scene.dialled
        sent = [[bytes(end.transport.out) for end in each.scene.origins] for each in (world, without)]
        assert sent[0] == sent[1]
    for each in (world, without):
        each.client.reset()
        while each.scene.dials:
            each.scene.connect()
    world.hear()
    tap = world.scene.plane.tap
    assert world.scene.at_rest
    assert tap.held == 0
    if world.up:
        session = len(world.sessions)
        for key, request_copied in world.requests.items():
            assert key[0] != session or key in world.ended or not request_copied.compared, "its end was never told"
        world.act("through")
        assert tap._under_way.get("shop", 0) == 0
        assert tap._rooms["shop"].credits == world.given
    copied, not_copied = world.scene.plane.stats.take_copies()
    assert copied.get("shop", 0) == world.copied
    if world.up and len(world.sessions) == 1:
        assert ("shop", "shadow_down") not in not_copied
