"""Bytes that nearly are HTTP/1.1: messages of the grammar with dangerous words in dangerous places, then damaged byte by byte."""

from __future__ import annotations

from hypothesis import strategies as st

# What has made two parsers disagree somewhere: names, values, targets, chunk lines.
NAMES = [
    *(b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"TE", b"Trailer", b"Expect"),
    *(b"Cookie", b"Accept", b"X-A", b"x_a", b"content-length", b"TRANSFER-ENCODING", b"Content_Length", b"Via"),
    *(
        b"X-Forwarded-For",
        b"Keep-Alive",
        b"!#$%&'*+-.^_`|~",
        b"Content-Length ",
        b" X-A",
        b"X A",
        b"",
        b"X-\x80",
        b"X\x00",
    ),
]
VALUES = [
    *(b"a", b"", b"0", b"3", b"5", b"+3", b"-1", b"0x3", b"3, 3", b"3,4", b"03", b"3 ", b"\t3", b"\xd9\xa3", b"1_0"),
    *(
        b"9" * 19,
        b"18446744073709551617",
        b"chunked",
        b"Chunked",
        b"chunked ",
        b" chunked\t",
        b"xchunked",
        b"chunked;a",
    ),
    *(b"chunked, chunked", b",chunked", b"chunked,", b"gzip, chunked", b"chunked, gzip", b"identity", b"\x0bchunked"),
    *(b"close", b"keep-alive", b"upgrade", b"Content-Length", b"x-a, close", b"websocket", b"h2c", b"100-continue"),
    *(
        b"shop.example",
        b"a b",
        b"a@b",
        b"a:80",
        b"[::1]",
        b"a,b",
        b"a\x00b",
        b"a\rb",
        b"a\nb",
        b"a\x7f",
        b"a\x01",
        b"\xff",
    ),
    *(b"a\r\n b", b"a\r\n\tb", b"a  b\t c", b"trailers", b'"a;b"', b"x" * 300),
]
TARGETS = [
    *(b"/", b"/a?b=c", b"*", b"http://b/x", b"https://b", b"http://a@b/", b"a:80", b"/a#b", b"/\x80", b"/a b", b"/%00"),
    *(b"/a/../b", b"//a", b"/\x00", b"", b"/\t", b"ftp://a/", b"http://b?x", b"/\x7f", b"?a", b"http://[::1]:80/"),
]
METHODS = [
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"get",
    b"PRI",
    b"SOURCE",
    b"X",
    b"G\x00T",
    b"",
]
VERSIONS = [
    *[b"HTTP/1.1"] * 8,
    b"HTTP/1.0",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/1.2",
    b"http/1.1",
    b"HTTP/1.1 ",
]
VERSIONS += [b"HTTP/01.1", b"ICE/1.0", b"RTSP/1.0", b"HTTP/11", b""]
STATUSES = [
    *[b"200 OK"] * 4,
    b"204 No Content",
    b"304 Not Modified",
    b"100 Continue",
    b"103 Early Hints",
    b"101 Switching",
]
STATUSES += [
    b"200",
    b"200 ",
    b"20 OK",
    b"2000 OK",
    b"099 A",
    b"600 A",
    b"999 A",
    b"200\tOK",
    b"200 O\rK",
    b"200 \x00",
    b"+20 A",
]
STATUSES += [b"200  two", b"200 \xff", b"200 \x0b", b"200 \x7f", b"2 0 OK", b"000 A"]
SIZES = [
    b"0",
    b"1",
    b"2",
    b"3",
    b"A",
    b"a",
    b"03",
    b"0" * 30 + b"3",
    b"+3",
    b"0x3",
    b"3 ",
    b" 3",
    b"",
    b"g",
    b"3_",
    b"-1",
]
SIZES += [
    b"3;a=b",
    b'3;a="b"',
    b"3;",
    b"3 ;a",
    b"3;a\x00",
    b"3;a\nb",
    b"3;a\rb",
    b"3\t;a",
    b"3; a",
    b"3;\xff",
    b"1" + b"0" * 16,
]
SIZES += [b"3;a=", b"3;=b", b'3;a="', b'3;a="\\""', b'3;a="b"c', b"3,a", b"0;a", b"000"]
ENDS = [*[b"\r\n"] * 60, b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b" \r\n", b"\x00\r\n", b""]
DAMAGE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\x0b",
    b"\x0c",
    b"\x1f",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"0",
]
DAMAGE += [
    b"\r\n ",
    b"\r\n\r\n",
    b"Host: b\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"GET / HTTP/1.1\r\n",
]

_end = st.sampled_from(ENDS)
_name = st.one_of(st.sampled_from(NAMES), st.binary(min_size=1, max_size=6))
_value = st.one_of(st.sampled_from(VALUES), st.binary(max_size=8))
_colon = st.sampled_from([*[b": "] * 12, b":", b" :", b":\t", b":  ", b""])
_line = st.tuples(_name, _colon, _value, _end).map(b"".join)
_good_line = st.sampled_from(
    [b"X-A: b\r\n", b"Accept: */*\r\n", b"Cookie: a=b\r\n", b"Connection: close\r\n", b"Expect:\r\n"]
)
_size = st.one_of(st.sampled_from(SIZES), st.sampled_from(SIZES[:4]))
_host = st.sampled_from([*[b"Host: shop.example\r\n"] * 8, b"", b"Host: a\r\nHost: a\r\n", b"host:a:8080\r\n"])
_framing = st.sampled_from(
    [b"", b"Content-Length: 0\r\n", b"Content-Length: 3\r\n", *[b"Transfer-Encoding: chunked\r\n"] * 3]
)


@st.composite
def _chunked(draw: st.DrawFn) -> bytes:
    out = []
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.integers(0, 3)):
            part = draw(st.binary(min_size=1, max_size=20))
            out.append(b"%x\r\n%b\r\n" % (len(part), part))
        else:
            out += [draw(_size), draw(_end), b"abc", draw(_end)]
    if draw(st.integers(0, 5)):
        out.append(b"0\r\n")
        out += draw(st.lists(_line, max_size=2))
        out.append(b"\r\n")
    return b"".join(out)


def _message(start: st.SearchStrategy[bytes], host: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    lines = st.lists(st.one_of(_good_line, _good_line, _line), max_size=4).map(b"".join)
    body = st.one_of(st.just(b""), st.just(b"abc"), st.binary(max_size=12), _chunked(), _chunked())
    end = st.sampled_from([*[b"\r\n"] * 12, b"\n", b"\r", b""])
    return st.tuples(start, host, lines, _framing, end, body).map(b"".join)


_requests = st.lists(
    _message(
        st.tuples(
            st.one_of(st.sampled_from(METHODS[:3]), st.sampled_from(METHODS)),
            st.sampled_from([*[b" "] * 20, b"  ", b"\t"]),
            st.one_of(st.just(b"/"), st.sampled_from(TARGETS)),
            st.sampled_from([*[b" "] * 20, b"  ", b"\t", b""]),
            st.sampled_from(VERSIONS),
            _end,
        ).map(b"".join),
        _host,
    ),
    min_size=1,
    max_size=3,
).map(b"".join)
_response = _message(
    st.tuples(
        st.sampled_from(VERSIONS),
        st.sampled_from([*[b" "] * 20, b"  ", b"\t", b""]),
        st.sampled_from(STATUSES),
        _end,
    ).map(b"".join),
    st.just(b""),
)


@st.composite
def _damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """Up to four bytes replaced, taken out or put in, or a stretch doubled."""
    data = bytearray(draw(sound))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 4]))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.integers(0, 3))
        if how == 0:
            data[at : at + 1] = draw(st.sampled_from(DAMAGE))
        elif how == 1:
            data[at:at] = draw(st.sampled_from(DAMAGE))
        elif how == 2:
            del data[at : at + draw(st.integers(1, 3))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 20))]
    return bytes(data)


WILD_REQUESTS = _damaged(_requests)
WILD_RESPONSES = _damaged(st.one_of(_response, st.tuples(_response, _response).map(b"".join)))
WILD_CHUNKS = _damaged(_chunked())
