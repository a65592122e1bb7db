"""Bytes to requests: any cut of the bytes gives the same requests, and nothing grows without a bound."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ErrorKind
from proxy.fields import MAX_CHUNK_EXCESS, MAX_TRAILERS
from proxy.request_head import examine
from proxy.request_parser import MAX_PIPELINED, STRETCH
from tests.proxy.fakes import GET, request
from tests.proxy.streams import REQUESTS, Sent, Taken, cuts, parse, request_parser, request_table

CHUNKED = request(b"Transfer-Encoding: chunked", method=b"POST")
UPGRADE = (b"Connection: upgrade", b"Upgrade: h2c")


@given(st.data(), REQUESTS)
def test_requests_cut_anywhere_are_the_same(data: st.DataObject, sent: list[Sent]) -> None:
    raw = b"".join(one.raw for one in sent)
    whole, error = parse(raw)
    assert error is None
    assert [(one.start, one.body, one.trailers, one.complete) for one in whole] == [
        (one.start, one.body, one.trailers, True) for one in sent
    ]
    assert parse(*data.draw(cuts(raw))) == (whole, None)


@given(
    st.data(), REQUESTS, st.sampled_from([b"GET / HTTP/1.1 x\r\n\r\n", b"BAD\x00", b"GET / HTTP/1.1\r\na b: c\r\n\r\n"])
)
def test_broken_request_behind_others_leaves_them_whole(data: st.DataObject, sent: list[Sent], broken: bytes) -> None:
    raw = b"".join(one.raw for one in sent)
    taken, error = parse(*data.draw(cuts(raw + broken)))
    assert error is ErrorKind.BAD_REQUEST
    assert taken == parse(raw)[0]


@pytest.mark.parametrize(
    "raw",
    [
        request(b"Content-Length: 3", b"Transfer-Encoding: chunked", method=b"POST", body=b"0\r\n\r\n"),
        request(b"Content-Length: +3", method=b"POST", body=b"abc"),
        request(b"Content-Length: 0x3", method=b"POST", body=b"abc"),
        request(b"Content-Length: 3, 3", method=b"POST", body=b"abc"),
        request(b"Content-Length: 3", b"Content-Length: 3", method=b"POST", body=b"abc"),
        request(b"Content-Length:", method=b"POST"),
        request(b"Content-Length: 99999999999999999999", method=b"POST"),
        request(b"Content-Length : 3", method=b"POST", body=b"abc"),
        request(b"X-A: b\r\n folded"),
        request(b"X-A: b\nX-B: c"),
        request(b"X-A: b\rX-B: c"),
        request(b"X-A: b\x00c"),
        request(b"X-\x00A: b"),
        request(b"no colon"),
        request(b": no name"),
        b"GET / HTTP/1.1\n\nHost: a\n\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1 x\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
        b"POST  /a  RTSP/1.0\r\nHost: a\r\n\r\n",
        b"GET / RTSP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    ],
)
def test_request_not_of_the_grammar_is_refused(raw: bytes) -> None:
    assert parse(raw) == ([], ErrorKind.BAD_REQUEST)
    assert parse(*(raw[at : at + 1] for at in range(len(raw)))) == ([], ErrorKind.BAD_REQUEST)


@pytest.mark.parametrize(
    "body",
    [
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3;a\x00b\r\nabc\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"10000000000000000\r\n",
        b"-1\r\n",
    ],
)
def test_chunked_body_not_of_the_grammar_leaves_the_request_incomplete(body: bytes) -> None:
    [taken], error = parse(CHUNKED + body)
    assert not taken.complete
    assert error is ErrorKind.BAD_REQUEST
    assert not parse(CHUNKED, *(body[at : at + 1] for at in range(len(body))))[0][0].complete


@pytest.mark.parametrize("coding", [b"gzip", b"chunked, gzip", b"identity", b"xchunked", b"chunked;q=1"])
def test_request_whose_last_coding_is_not_chunked_is_never_complete(coding: bytes) -> None:
    """RFC 9112 section 6.3: its length cannot be determined."""
    taken, error = parse(request(b"Transfer-Encoding: " + coding, method=b"POST", body=b"abc"))
    assert not any(one.complete for one in taken)
    assert error is ErrorKind.BAD_REQUEST


LONG = b"x" * 5000


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (request(target=b"/" + b"a" * 8192), ErrorKind.TARGET_TOO_LONG),
        (request(*[b"X-A: " + LONG] * 7), ErrorKind.HEAD_TOO_LARGE),
        (request(*[b"Cookie: " + LONG] * 7), ErrorKind.HEAD_TOO_LARGE),
        (request(*[b"X-Forwarded-For: " + LONG] * 7), ErrorKind.HEAD_TOO_LARGE),
        (request(b"X-A: " + LONG * 7), ErrorKind.HEAD_TOO_LARGE),
        (request(*[b"X-A: b"] * 100), ErrorKind.HEAD_TOO_LARGE),
    ],
)
def test_head_beyond_a_limit_is_refused_however_it_is_cut(raw: bytes, kind: ErrorKind) -> None:
    assert parse(raw) == ([], kind)
    assert parse(GET + raw)[1] is kind
    for size in (1, 100, 8000):
        assert parse(*(raw[at : at + size] for at in range(0, len(raw), size))) == ([], kind)


@pytest.mark.parametrize("line", [b"X-A: ", b"Cookie: ", b"Via: "])
def test_head_just_within_the_limit_is_taken_however_it_is_cut(line: bytes) -> None:
    raw = request(*[line + LONG] * 6)
    for before in (b"", GET * 300):
        whole = before + raw
        for size in (len(whole), 20_000, 7_000):
            taken, error = parse(*(whole[at : at + size] for at in range(0, len(whole), size)))
            assert error is None
            assert taken[-1].complete


def test_head_that_begins_in_a_large_read_counts_only_its_own_bytes() -> None:
    """A pipelining client fills a read; that the last request in it is cut off says nothing of its size."""
    behind = request(b"X-A: " + b"b" * 2000)
    for before in (
        GET * 1500,
        request(b"Content-Length: 60000", method=b"PUT", body=b"b" * 60_000),
        CHUNKED + b"ea60\r\n" + b"b" * 60_000 + b"\r\n0\r\n\r\n",
    ):
        taken, error = parse(before + behind[:1000], behind[1000:])
        assert error is None
        assert taken[-1] == parse(behind)[0][0]


def test_head_that_never_ends_is_refused_at_the_limit() -> None:
    parser = request_parser()
    parser.feed(GET * 100 + b"GET / HTTP/1.1\r\nX-A: ")
    for _ in range(40):
        parser.feed(b"a" * 1000)
    assert parser.error is ErrorKind.HEAD_TOO_LARGE


def test_chunk_extensions_without_end_are_refused() -> None:
    parser = request_parser()
    parser.feed(CHUNKED)
    parser.feed(b"1;a=")
    for _ in range(20):
        assert parser.error is None
        parser.feed(b"b" * 1024)
        if parser.error is not None:
            break
    assert parser.error is ErrorKind.BAD_REQUEST
    assert not parser.requests[0].complete


def test_tiny_chunks_with_long_extensions_are_refused_and_tiny_chunks_alone_are_not() -> None:
    for line, kind in ((b"1;" + b"a" * 200 + b"\r\nx\r\n", ErrorKind.BAD_REQUEST), (b"1\r\nx\r\n", None)):
        parser = request_parser()
        parser.feed(CHUNKED)
        for _ in range(5000):
            parser.feed(line)
        assert parser.error is kind


@pytest.mark.parametrize(
    "trailers",
    [
        [b"X-A: b\r\n"] * (MAX_TRAILERS + 1),
        [b"X-A: " + b"b" * 1000 + b"\r\n"] * 9,
        [b"X-A: " + b"b" * (MAX_CHUNK_EXCESS + 2000) + b"\r\n"],
    ],
)
def test_trailers_beyond_the_limits_leave_the_request_incomplete(trailers: list[bytes]) -> None:
    body = b"0\r\n" + b"".join(trailers) + b"\r\n"
    for parts in (
        [CHUNKED + body],
        [CHUNKED, body],
        [CHUNKED, *(body[at : at + 100] for at in range(0, len(body), 100))],
    ):
        [taken], error = parse(*parts)
        assert not taken.complete
        assert error in (ErrorKind.HEAD_TOO_LARGE, ErrorKind.BAD_REQUEST)


def test_trailers_that_never_end_are_refused_before_they_have_grown() -> None:
    parser = request_parser()
    parser.feed(CHUNKED)
    parser.feed(b"0\r\n")
    for _ in range(3000):
        parser.feed(b"X-A: bcdefghijklmnop\r\n")
    assert parser.error is ErrorKind.BAD_REQUEST
    assert len(parser.requests[0].trailers) < 1500


def test_body_of_known_length_is_counted_past_the_parser() -> None:
    parser = request_parser()
    parser.feed(request(b"Content-Length: 10", method=b"PUT", body=b"abc"))
    assert parser.requests[0].left == 7
    parser.feed(b"defghij" + GET)
    assert [b"".join(one.body) for one in parser.requests] == [b"abcdefghij", b""]
    assert [one.complete for one in parser.requests] == [True, True]


def _upgrading(*lines: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    return request(*UPGRADE, *lines, method=method, body=body)


def test_bytes_behind_an_upgrade_are_kept_until_it_is_known() -> None:
    parser = request_parser()
    parser.feed(_upgrading() + b"ear")
    parser.feed(b"ly")
    assert parser.upgraded == b"early"
    assert len(parser.requests) == 1


def test_requests_behind_a_refused_upgrade_are_parsed() -> None:
    parser = request_parser()
    parser.feed(_upgrading() + GET[:10])
    parser.feed(GET[10:])
    parser.requests.clear()
    parser.resume()
    assert [one.target for one in parser.requests] == [b"/"]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("line", "body"),
    [(b"Content-Length: 3", b"abc"), (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\nX-A: b\r\n\r\n")],
)
def test_body_of_a_request_that_asks_for_an_upgrade_is_its_body(line: bytes, body: bytes, size: int) -> None:
    """llhttp takes what follows such a head for another protocol; clients that offer h2c send bodies all the same."""
    raw = _upgrading(line, method=b"POST", body=body) + GET
    taken, error = parse(*(raw[at : at + size] for at in range(0, len(raw), size)))
    assert error is None
    assert [(one.body, one.complete) for one in taken] == [(b"abc", True), (b"", True)]


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    expected = Taken(
        b"GET / HTTP/1.1", (b"Cookie: a=b",), ((b"host", b"a.example"), (b"cookie", b"a=b")), b"", (), True
    )
    assert parse(b"GET / HTTP/1.1\r\nHost: \t a.example \t\r\nCookie:a=b \r\n\r\n") == ([expected], None)


@pytest.mark.parametrize("size", [1, 7, 5000])
@pytest.mark.parametrize("before", [GET, GET.replace(b" /", b" /b"), CHUNKED + b"6\r\nGET /a\r\n0\r\n\r\n"])
def test_other_protocol_behind_another_request_or_before_a_long_head_is_refused(before: bytes, size: int) -> None:
    raw = before + b"GET /a RTSP/1.0\r\nHost: a\r\n" + (b"X-A: " + LONG + b"\r\n") * 3 + b"\r\n"
    taken, error = parse(*(raw[at : at + size] for at in range(0, len(raw), size)))
    assert (len(taken), error) == (1, ErrorKind.BAD_REQUEST)


@pytest.mark.parametrize("first", [GET, request(b"Content-Length: 3", method=b"PUT", body=b"abc")])
def test_other_protocol_behind_a_request_of_the_same_shape_is_refused(first: bytes) -> None:
    """The first line of the read says HTTP at the same place."""
    taken, error = parse(first + b"GET / RTSP/1.0\r\nHost: a\r\n\r\n")
    assert (len(taken), error) == (1, ErrorKind.BAD_REQUEST)


def test_word_that_names_another_protocol_is_no_matter_elsewhere() -> None:
    raw = request(b"User-Agent: x RTSP/1.0", b"Content-Length: 16", method=b"PUT", body=b"GET / RTSP/1.0\r\n")
    taken, error = parse(raw, GET)
    assert ([one.complete for one in taken], error) == ([True, True], None)


def test_empty_lines_before_a_request_are_passed_over() -> None:
    assert parse(b"\r\n\r\n" + GET) == parse(GET)


def test_parser_after_an_error_reads_nothing_more() -> None:
    parser = request_parser()
    parser.feed(b"BAD\r\n\r\n")
    parser.feed(GET)
    assert parser.error is ErrorKind.BAD_REQUEST
    assert not parser.requests


def test_one_read_of_many_requests_is_parsed_as_they_are_taken() -> None:
    """Ten thousand fit into a read, and each takes 27 times its bytes once it is parsed."""
    parser = request_parser()
    parser.feed(GET * 5000 + GET[:10])
    parser.feed(GET[10:])
    most = MAX_PIPELINED + 1 + STRETCH // len(GET)
    for _ in range(5001):
        assert 0 < len(parser.requests) <= most
        assert parser.take().complete
    assert not parser.requests
    assert not parser.in_head


@pytest.mark.parametrize(
    ("line", "body"), [(b"Content-Length: 1", b"x"), (b"Transfer-Encoding: chunked", b"1\r\nx\r\n0\r\n\r\n")]
)
def test_many_offers_to_upgrade_with_bodies_in_one_read_are_requests(line: bytes, body: bytes) -> None:
    """llhttp stops at each of them, and none may wait on the stack for those behind it."""
    taken, error = parse(_upgrading(line, method=b"POST", body=body) * 2000 + GET)
    assert error is None
    assert [(one.body, one.complete) for one in taken] == [(b"x", True)] * 2000 + [(b"", True)]


def test_words_that_name_another_protocol_are_looked_for_once_a_stretch() -> None:
    words = b" RTSP/" * 600
    raw = request(b"Content-Length: %d" % len(words), method=b"PATCH", body=words) + GET * 100
    assert len(raw) < STRETCH
    parser, calls = request_parser(), 0

    def count(_frame: object, event: str, _what: object) -> None:
        nonlocal calls
        calls += event == "c_call"

    sys.setprofile(count)
    try:
        parser.feed(raw)
    finally:
        sys.setprofile(None)
    assert len(parser.requests) == 101
    assert calls < len(raw)


@pytest.mark.parametrize("body", [b"abc", b"ab"])
def test_length_with_any_number_of_zeros_before_it_is_that_length(body: bytes) -> None:
    parser = request_parser()
    parser.feed(request(b"Content-Length: " + b"0" * 5000 + b"3", method=b"PUT", body=body))
    message = parser.take()
    assert examine(message, request_table()) is None
    assert (message.content_length, message.complete) == (3, len(body) == 3)
