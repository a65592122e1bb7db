"""The tap, by frames: what is copied, what is not and why, and that nothing of it shows to the client."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.capture import MAX_UNSENT, Outbox
from proxy.capture_frames import (
    ANSWER,
    ANSWER_HEAD,
    DROPS,
    GONE,
    GONE_FRAME,
    KIND_AT,
    REQUEST,
    REQUEST_HEAD,
    Frames,
    answer_frame,
    credit_frame,
    gone_frame,
    request_frame,
)
from routing.snapshot import Live
from tests.proxy.fakes import GET, OK, Scene, Transport, request

UPSTREAMS = {
    "blue": {"endpoints": ["http://10.0.0.1:8001"]},
    "canary": {"endpoints": ["http://10.0.0.2:8002"]},
    "next": {"endpoints": ["http://10.0.0.3:8003"]},
}
POST = request(b"Content-Length: 3", method=b"POST", body=b"abc")


@dataclass
class Copied:
    number: int
    compared: bool
    route: str
    host: bytes
    head: bytes
    body: bytes


@dataclass
class Answered:
    number: int
    status: int
    lines: list[bytes]
    body: bytes


@dataclass
class Gone:
    number: int
    why: str


def read(frames: list[bytes]) -> list[Copied | Answered | Gone]:
    found: list[Copied | Answered | Gone] = []
    for frame in frames:
        if frame[KIND_AT] == REQUEST:
            _, _, number, compared, route, host, head = REQUEST_HEAD.unpack_from(frame)
            at = [REQUEST_HEAD.size, route, host, head]
            ends = [sum(at[:i]) for i in range(1, 5)]
            parts = [frame[ends[i] : ends[i + 1]] for i in range(3)]
            found.append(Copied(number, bool(compared), parts[0].decode(), parts[1], parts[2], frame[ends[3] :]))
        elif frame[KIND_AT] == ANSWER:
            _, _, number, status, _, head = ANSWER_HEAD.unpack_from(frame)
            body_at = ANSWER_HEAD.size + head
            found.append(Answered(number, status, frame[ANSWER_HEAD.size : body_at].split(b"\r\n"), frame[body_at:]))
        else:
            assert frame[KIND_AT] == GONE
            _, _, number, why = GONE_FRAME.unpack(frame)
            found.append(Gone(number, DROPS[why].value))
    return found


class Tapped(Scene):
    """A scene whose tap leads to a fake shadow process with plenty of credit."""

    def __init__(self, credits: int = 1000, shadow: dict[str, Any] | None = None, **route: Any) -> None:
        shadow = {"upstream": "next", "percent": 100, **(shadow or {})}
        super().__init__(route={"shadow": shadow, **route}, upstreams=UPSTREAMS)
        self.pipe = Transport(self.later, ("", 0))
        self.plane.tap.opened(Outbox(self.pipe, self.later))
        if credits:
            self.plane.tap.credited("shop", credits, False)
        self._frames = Frames()

    def copies(self) -> list[Copied | Answered | Gone]:
        out = bytes(self.pipe.out)
        self.pipe.out.clear()
        return read(self._frames.feed(out))

    def dropped(self) -> dict[str, int]:
        return {reason: count for (_, reason), count in self.plane.stats.take_copies()[1].items()}


def test_request_and_answer_are_copied_as_the_primary_has_them() -> None:
    scene = Tapped()
    client, origin = scene.ask(POST[:-3].replace(b"POST", b"GET").replace(b"Content-Length: 3\r\n", b""))
    [copied] = scene.copies()
    assert isinstance(copied, Copied)
    assert copied.head == origin.received()
    assert (copied.compared, copied.route, copied.host, copied.body) == (True, "shop", b"shop.example", b"")
    origin.send(b"HTTP/1.1 203 Fine\r\nContent-Length: 4\r\nX-A: 1\r\n\r\n", b"bo", b"dy")
    assert scene.copies() == [Answered(copied.number, 203, [b"X-A: 1"], b"body")]
    assert client.received().endswith(b"body")


def test_host_is_the_clients_whatever_the_primary_gets() -> None:
    scene = Tapped()
    scene.adopt(
        route={"shadow": {"upstream": "next", "percent": 100}},
        upstreams={**UPSTREAMS, "blue": {**UPSTREAMS["blue"], "host": "upstream"}},
    )
    _, origin = scene.ask()
    [copied] = scene.copies()
    assert isinstance(copied, Copied)
    assert copied.host == b"shop.example"
    assert origin.head().get("Host") == "10.0.0.1:8001"


@pytest.mark.parametrize(
    "parts",
    [
        (POST,),
        (POST[:-3], b"a", b"bc"),
        (
            request(b"Transfer-Encoding: chunked", method=b"POST"),
            b"1\r\na\r\n2\r\nbc\r\n",
            b"0\r\n\r\n",
        ),
    ],
)
def test_body_is_copied_whole_once_it_is_there(parts: tuple[bytes, ...]) -> None:
    scene = Tapped(shadow={"methods": ["POST"]})
    client, origin = scene.ask(parts[0])
    client.send(*parts[1:])
    origin.send(OK)
    copied, answered = scene.copies()
    assert isinstance(copied, Copied)
    assert copied.body == b"abc"
    assert isinstance(answered, Answered)
    assert answered.number == copied.number


def test_answer_in_chunks_is_copied_without_its_framing() -> None:
    scene = Tapped()
    _, origin = scene.ask()
    origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n")
    assert scene.copies()[1:] == [Answered(1, 200, [b""], b"abc")]


@pytest.mark.parametrize(
    ("shadow", "sent", "reason"),
    [
        ({}, POST, "unsafe_method"),
        ({}, request(b"X-Headgate-Shadow: 1"), "shadowed"),
        ({}, request(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x"), "upgrade"),
        ({"methods": ["POST"], "max_body": 2}, POST, "body_too_large"),
    ],
)
def test_what_may_not_be_copied_is_counted_by_its_reason(shadow: dict[str, Any], sent: bytes, reason: str) -> None:
    scene = Tapped(shadow=shadow)
    _, origin = scene.ask(sent)
    assert origin.received()
    assert scene.copies() == []
    assert scene.dropped() == {reason: 1}


def test_without_credit_nothing_is_copied() -> None:
    scene = Tapped(credits=2)
    for _ in range(5):
        scene.ask()[1].send(OK)
    assert len([copy for copy in scene.copies() if isinstance(copy, Copied)]) == 2
    assert scene.dropped() == {"queue_full": 3}
    scene.plane.tap.credited("shop", 0, True)
    scene.ask()
    assert scene.dropped() == {"backoff": 1}
    scene.plane.tap.credited("shop", 1, False)
    scene.ask()
    assert len(scene.copies()) == 1


def test_credit_taken_back_is_not_used() -> None:
    scene = Tapped(credits=2)
    scene.plane.tap.credited("shop", -5, True)
    scene.plane.tap.credited("shop", 3, True)
    scene.ask()
    assert scene.dropped() == {"backoff": 1}


def test_without_a_shadow_process_nothing_is_copied_and_clients_do_not_notice() -> None:
    scene = Tapped()
    client, origin = scene.ask()
    scene.plane.tap.lost()
    origin.send(OK)
    assert client.received().endswith(b"ok")
    assert scene.dropped() == {"shadow_down": 1}  # the one under way
    client.send(GET)
    scene.origin.send(OK)
    assert client.received().endswith(b"ok")
    assert scene.dropped() == {"shadow_down": 1}  # the next


def test_capture_begun_before_a_restart_of_the_shadow_process_does_not_reach_the_new_one() -> None:
    scene = Tapped(shadow={"methods": ["POST"]})
    client, origin = scene.ask(POST[:-3])
    scene.plane.tap.lost()
    scene.plane.tap.opened(Outbox(scene.pipe, scene.later))
    scene.plane.tap.credited("shop", 10, False)
    client.send(b"abc")
    origin.send(OK)
    assert scene.copies() == []
    assert scene.dropped() == {"shadow_down": 1}


def test_socket_that_is_not_read_from_drops_and_never_grows() -> None:
    scene = Tapped()
    scene.pipe.buffered = MAX_UNSENT + 1
    client, origin = scene.ask()
    origin.send(OK)
    assert client.received().endswith(b"ok")
    assert scene.dropped() == {"queue_full": 1}


@pytest.mark.parametrize("announced", [True, False])
def test_answer_beyond_the_bound_is_given_up_and_its_memory_with_it(announced: bool) -> None:
    scene = Tapped(shadow={"max_body": 10})
    client, origin = scene.ask()
    framing = b"Content-Length: 20" if announced else b"Connection: close"
    origin.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n", b"0123456", b"7890123", b"456789").finish()
    assert b"0123456" in client.received()
    copied, gone = scene.copies()
    assert isinstance(copied, Copied)
    assert gone == Gone(copied.number, "body_too_large")
    assert scene.plane.tap.held == 0


def test_request_body_beyond_the_bound_is_given_up_before_anything_was_copied() -> None:
    scene = Tapped(credits=1, shadow={"max_body": 2, "methods": ["POST"]})
    client, _ = scene.ask(request(b"Transfer-Encoding: chunked", method=b"POST"))
    client.send(b"2\r\nab\r\n", b"2\r\ncd\r\n", b"0\r\n\r\n")
    scene.origin.send(OK)
    assert scene.copies() == []
    assert scene.dropped() == {"body_too_large": 1}
    assert scene.plane.tap.held == 0
    scene.ask(request(b"Content-Length: 1", method=b"POST", body=b"x"))
    assert len(scene.copies()) == 1  # the credit came back


@pytest.mark.parametrize("how", ["client leaves", "upstream resets", "never answered"])
def test_primary_without_a_whole_answer_ends_the_capture(how: str) -> None:
    scene = Tapped()
    client, origin = scene.ask()
    if how == "client leaves":
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        client.reset()
    elif how == "upstream resets":
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").reset()
    else:
        scene.pass_time(3600)
    copied, gone = scene.copies()
    assert isinstance(copied, Copied)
    assert gone == Gone(copied.number, "no_primary")
    assert scene.plane.tap.held == 0


def test_answers_of_others_than_stable_are_not_compared_but_requests_are_copied() -> None:
    scene = Tapped(weights={"canary": 1})
    scene.ask()[1].send(OK)
    [copied] = scene.copies()
    assert isinstance(copied, Copied)
    assert not copied.compared


def test_retried_request_is_copied_once() -> None:
    scene = Tapped(retry={"attempts": 2})
    client, origin = scene.ask()
    origin.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    scene.origins[-1].send(OK)
    assert client.received().endswith(b"ok")
    copied, answered = scene.copies()
    assert isinstance(copied, Copied)
    assert isinstance(answered, Answered)
    assert answered.status == 200


def test_percent_changes_with_one_message_of_live_state() -> None:
    scene = Tapped()
    shadow = scene.plane.snapshot.routes[0].shadow
    assert shadow is not None
    scene.publish(Live(shadow=replace(shadow, percent=0.0)))
    scene.ask()
    assert scene.copies() == []
    scene.publish(Live(shadow=replace(shadow, percent=100.0)))
    scene.ask()
    assert len(scene.copies()) == 1


def test_sample_by_request_is_of_the_size_asked_for() -> None:
    scene = Tapped(shadow={"percent": 25})
    for _ in range(2):
        client = scene.client()
        for _ in range(1000):  # as many as a connection may bring
            client.send(GET)
            scene.origin.send(OK)
    copies = [copy for copy in scene.copies() if isinstance(copy, Copied)]
    assert 400 < len(copies) < 600  # 500, standard deviation 19


def test_sample_by_client_is_the_same_clients_every_time() -> None:
    scene = Tapped(shadow={"percent": 50, "by": "client"})
    rounds = []
    for _ in range(3):
        sampled = set()
        for number in range(40):
            scene.ask(peer=f"198.51.100.{number}")[1].send(OK)
            if scene.copies():
                sampled.add(number)
        rounds.append(sampled)
    assert rounds[0] == rounds[1] == rounds[2]
    assert 5 < len(rounds[0]) < 35


@given(st.data())
def test_frames_are_the_same_however_the_bytes_are_split(data: st.DataObject) -> None:
    stream = b"".join(
        [
            request_frame(1, True, b"shop", b"h", b"head", [b"bo", b"dy"]),
            answer_frame(1, 200, 0.5, [b"A: 1", b"B: 2"], [b"x"]),
            gone_frame(2, DROPS[0]),
            credit_frame(b"shop", -3, 2, True),
        ]
    )
    whole = Frames().feed(stream)
    assert len(whole) == 4
    frames, found, at = Frames(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        found += frames.feed(stream[at : at + size])
        at += size
    assert found == whole
