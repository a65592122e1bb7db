"""One worker's link: frames in, however the bytes are split; credits and counts out."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.capture_frames import MAX_FRAME, Drop, Frames, answer_frame, gone_frame, request_frame
from shadow.answer import Answer
from shadow.intake import Link
from shadow.pair import Pair
from tests.shadow.fakes import HEAD, OK, Shadows


class Heard:
    """A mirror that keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def joined(self, link: Link) -> None:
        pass

    def request(self, link: Link, number: int, *parts: Any) -> None:
        link.pairs[number] = cast(Pair, number)
        self.heard.append((number, *parts))

    def answered(self, pair: Pair, answer: Answer) -> None:
        self.heard.append((pair, answer.status, answer.lines, answer.body, answer.seconds))

    def gone(self, pair: Pair, why: str) -> None:
        self.heard.append((pair, why))


@given(st.data())
def test_frames_say_the_same_however_their_bytes_are_split(data: st.DataObject) -> None:
    stream = b"".join(
        [
            request_frame(1, True, b"shop", b"h", b"head", [b"bo", b"dy"]),
            request_frame(2, False, "café".encode(), b"", b"head", []),
            answer_frame(1, 200, 0.5, [b"A: 1", b"B: 2"], [b"x"]),
            gone_frame(2, Drop.NO_PRIMARY),
            answer_frame(1, 204, 0.25, [], []),
        ]
    )
    mirror = Heard()
    link = Link(cast(Any, mirror))
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        link.data_received(stream[:size])
        stream = stream[size:]
    assert mirror.heard == [
        (1, True, "shop", b"h", b"head", b"body"),
        (2, False, "café", b"", b"head", b""),
        (1, 200, [b"A: 1", b"B: 2"], b"x", 0.5),
        (2, "no_primary"),
        (1, 204, [], b"", 0.25),
    ]


def test_what_is_said_of_a_capture_that_is_not_known_is_passed_over() -> None:
    mirror = Heard()
    Link(cast(Any, mirror)).data_received(answer_frame(7, 200, 0.1, [], []) + gone_frame(8, Drop.NO_PRIMARY))
    assert mirror.heard == []


def test_stream_that_is_out_of_step_raises() -> None:
    with pytest.raises(ValueError, match="capture frame"):
        Frames().feed((MAX_FRAME + 1).to_bytes(4, "little"))


def test_credits_out_are_brought_to_what_is_wanted() -> None:
    worker = Shadows().worker()
    first = worker.credits()
    assert first > 0
    for wanted in (first + 5, 3, 0, first):
        worker.link.give("shop", wanted, False)
        assert worker.credits() == wanted


def test_nothing_is_written_where_nothing_is_new() -> None:
    worker = Shadows().worker()
    worker.credits()
    worker.link.give("shop", 32, False)
    assert worker.transport.out == b""


def test_capture_is_through_for_the_worker_only_when_a_report_has_told_of_it() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.answer(worker.request())
    scene.origins[0].send(OK)
    assert (worker.credits(), worker.through()) == (33, 0)
    scene.mirror.reports(0.0)
    scene.settle()
    assert worker.through() == 0  # not out yet
    worker.answer(worker.request())
    scene.origins[0].send(OK)
    scene.mirror.reported()
    assert worker.through() == 1
    scene.mirror.reports(0.0)
    scene.mirror.reported()
    assert worker.through() == 2


def test_link_that_is_closed_is_not_written_to() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.request()
    link, transport = worker.link, worker.transport
    worker.lose()
    transport.out.clear()
    scene.origins[0].send(OK)
    link.give("shop", 5, False)
    assert transport.out == b""


def test_head_is_parted_from_host_and_body() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.request(HEAD.replace(b"GET", b"POST").replace(b"Accept: */*", b"Content-Length: 4"), b"body", host=b"a.b")
    assert scene.origins[0].received() == (
        b"POST /orders/17 HTTP/1.1\r\nHost: a.b\r\nContent-Length: 4\r\nX-Headgate-Shadow: 1\r\n\r\nbody"
    )


def test_through_counts_are_by_route() -> None:
    scene = Shadows()
    worker = scene.worker()
    worker.request(route="unknown")
    scene.mirror.reports(0.0)
    scene.mirror.reported()
    assert (worker.through("unknown"), worker.through()) == (1, 0)


def test_pair_knows_its_path_without_the_query() -> None:
    scene = Shadows()
    worker = scene.worker()
    number = worker.request(HEAD.replace(b"/orders/17", b"/a%2Fb?c=d?e"))
    pair = worker.link.pairs[number]
    assert (pair.method, pair.target, pair.path) == (b"GET", b"/a%2Fb?c=d?e", b"/a%2Fb")
