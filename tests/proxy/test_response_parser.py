"""An upstream's bytes to responses: how each ends, and whether the connection may be used again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.response_head import response_table
from proxy.response_parser import MAX_INTERIM, ResponseParser
from tests.proxy.streams import RESPONSE, Sent, cuts

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def parser(head: int = 64 * 1024, fields: int = 256) -> ResponseParser:
    return ResponseParser(response_table(), head, fields)


def parse(*parts: bytes, to_head: bool = False) -> ResponseParser:
    response = parser()
    response.begin(to_head)
    for part in parts:
        response.feed(part)
    return response


def seen(response: ResponseParser) -> tuple[object, ...]:
    return (
        response.status,
        response.reason,
        response.lines,
        response.noted,
        b"".join(response.body),
        response.trailers,
        response.complete,
        response.reusable,
        response.error,
    )


@given(st.data(), st.lists(RESPONSE, min_size=1, max_size=3))
def test_responses_of_a_connection_cut_anywhere_are_the_same(data: st.DataObject, sent: list[Sent]) -> None:
    """One parser for all of them, as a kept connection has it."""
    kept = parser()
    for one in sent:
        kept.begin(False)
        for part in data.draw(cuts(one.raw)):
            kept.feed(part)
        assert seen(kept) == seen(parse(one.raw))
        assert (b"".join(kept.body), tuple(kept.trailers)) == (one.body, one.trailers)
        assert (kept.complete, kept.reusable, kept.error) == (True, True, False)


@given(st.data(), RESPONSE)
def test_interim_responses_cut_anywhere_are_the_same(data: st.DataObject, sent: Sent) -> None:
    response = parse(*data.draw(cuts(INTERIM + b"HTTP/1.1 100 Continue\r\n\r\n" + sent.raw)))
    assert [(one.status, one.reason, one.lines) for one in response.interim] == [
        (103, b"Early Hints", [b"Link: </a>"]),
        (100, b"Continue", []),
    ]
    assert seen(response) == seen(parse(sent.raw))


@given(st.data(), RESPONSE, st.integers(1, 40))
def test_response_cut_short_is_never_complete(data: st.DataObject, sent: Sent, missing: int) -> None:
    raw = sent.raw[: max(0, len(sent.raw) - missing)]
    response = parse(*data.draw(cuts(raw)))
    response.end()
    assert response.error
    assert not response.complete


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A : b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\nX-A: b\n\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        INTERIM + b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        INTERIM + INTERIM + b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 \x0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 \x7f\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: gzip\r\n\r\nsurplus",
        b"<html>no head at all</html>",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"0\r\ntransfer-ENCODING: a\r\n\r\n",
        CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n",
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
        CHUNKED + b"0\r\n" + b"X-A: b\r\n" * 33 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 257 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + (b"X-A: " + b"b" * 900 + b"\r\n") * 80 + b"\r\n",
    ],
)
def test_response_not_of_the_grammar_or_beyond_a_limit_is_an_error(raw: bytes) -> None:
    assert parse(raw).error
    for size in (1, 1000):
        assert parse(*(raw[at : at + size] for at in range(0, len(raw), size))).error


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_response_without_body_ends_with_its_head(status: bytes, framing: bytes) -> None:
    """RFC 9112 section 6.3, first case."""
    raw = b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n"
    response = parse(raw, to_head=True)
    assert (response.complete, response.body, response.error) == (True, [], False)
    if not status.startswith(b"200"):
        assert parse(raw).complete


def test_second_response_after_one_to_head_is_read_afresh() -> None:
    response = parser()
    response.begin(True)
    response.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert response.reusable
    response.begin(False)
    response.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (response.complete, response.body, response.reusable) == (True, [b"ok"], True)


SURPLUS = [b"x", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize(
    ("raw", "to_head"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True),
    ],
)
def test_bytes_behind_a_response_forbid_another_use(raw: bytes, to_head: bool, surplus: bytes) -> None:
    for response in (parse(raw + surplus, to_head=to_head), parse(raw, surplus, to_head=to_head)):
        assert response.complete
        assert not response.error
        assert not response.reusable


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_connection_is_reusable_as_version_and_connection_field_say(head: bytes, reusable: bool) -> None:
    assert parse(head + b"Content-Length: 0\r\n\r\n").reusable is reusable


def test_chunked_response_of_http10_is_read_and_its_connection_not_used_again() -> None:
    """RFC 9112 section 6.1: faulty framing."""
    head = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = parse(head + b"2\r\nok\r\n0\r\n\r\n")
    assert (response.complete, response.body, response.reusable) == (True, [b"ok"], False)


def test_body_without_framing_ends_with_the_connection() -> None:
    response = parse(b"HTTP/1.1 200 OK\r\n\r\nab", b"cd")
    assert not response.complete
    response.end()
    assert (response.complete, b"".join(response.body), response.reusable) == (True, b"abcd", False)


def test_white_space_behind_a_length_is_no_part_of_it() -> None:
    assert parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2 \r\n\r\nok").complete


def test_reason_may_hold_any_visible_or_opaque_byte() -> None:
    assert parse(b"HTTP/1.1 200 Alles \t\xfcber 2!\r\nContent-Length: 0\r\n\r\n").reason == b"Alles \t\xfcber 2!"


@pytest.mark.parametrize("apart", [False, True])
def test_interim_responses_beyond_the_limit_are_an_error(apart: bool) -> None:
    flood = [INTERIM] * (MAX_INTERIM + 1)
    response = parser()
    for part in flood if apart else [b"".join(flood)]:
        assert not response.error
        response.feed(part)
        response.interim = []  # as the exchange does
    assert response.error


@pytest.mark.parametrize("piece", [b"1;" + b"a" * 200 + b"\r\nx\r\n", b"0\r\n" + b"X-A: b\r\n" * 30, b"1;a="])
def test_overhead_of_a_chunked_body_has_a_bound(piece: bytes) -> None:
    response = parse(CHUNKED)
    response.feed(piece)
    for _ in range(3000):
        response.feed(b"b" * 20 if piece.endswith(b"=") else piece if piece.startswith(b"1") else b"X-A: b\r\n")
    assert response.error


@pytest.mark.parametrize(
    ("raw", "upgraded"),
    [
        (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nab", b"ab"),
        (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", b""),
        (b"HTTP/1.1 101 S\r\n\r\nab", None),
        (b"HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab", None),
    ],
)
def test_upgrade_is_seen_only_in_a_101_that_says_so(raw: bytes, upgraded: bytes | None) -> None:
    assert parse(raw).upgraded == upgraded
